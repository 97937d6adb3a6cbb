"""What a model was made from, as its folder tells: its settings say whether it was tuned to marked clusters, its card to which.

A card is Markdown for readers, but one line of it has a fixed form (`train.card`, `miro.tuning`): what the model was trained on, and at its
end the conditions of the marked clusters, as far as whoever marked them gave them.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smlmbatch.errors import InputError
from smlmbatch.methods.folders import CARD, stated_settings

_CONDITIONS: Final = "; conditions of the marked clusters: "
_LINE: Final = re.compile(r"^- trained on (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Origin:
    """What one model learned from.

    Attributes
    ----------
    tuned : whether it was tuned to clusters that a user marked
    material : the card's words, without the conditions; "" = there is no card
    conditions : of the marked clusters; empty = not known
    """

    tuned: bool
    material: str = ""
    conditions: tuple[str, ...] = ()


def conditions_said(conditions: Sequence[str]) -> str:
    """The end of a card's line that `read_origin` reads; "" where no condition is known.

    >>> conditions_said(["ctrl", "EGF"])
    '; conditions of the marked clusters: ["ctrl", "EGF"]'
    """
    return _CONDITIONS + json.dumps(list(conditions), ensure_ascii=False) if conditions else ""


def read_origin(folder: Path) -> Origin:
    """What a model's folder tells; a card that is missing, or was written by hand, tells less.

    Raises
    ------
    InputError
        the settings can't be read
    """
    settings = stated_settings(folder)
    own = settings.get(str(settings.get("method")), {})
    found = _LINE.search(_card(folder))
    material, _, listed = found[1].partition(_CONDITIONS) if found else ("", "", "")
    return Origin(tuned=bool(own.get("templates")), material=material, conditions=_conditions(listed))


def _card(folder: Path) -> str:
    try:
        return (folder / CARD).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputError(folder / CARD, f"can't be read ({error.strerror})", "a model's card", "copy the model's folder again") from error


def _conditions(listed: str) -> tuple[str, ...]:
    try:
        values = json.loads(listed or "[]")
    except ValueError:
        return ()
    return tuple(str(value) for value in values) if isinstance(values, list) else ()
