"""Traffic lights as marks: a colour, a sign and a word, so that no colour has to be seen.

The worse, the darker the ground: the order holds on a greyscale print too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from smlmbatch.analyse.results import Light
from smlmbatch.report.page import Markup, element


@dataclass(frozen=True, slots=True)
class Mark:
    """Sign, and word for one thing in this state."""

    sign: str
    word: str


MARKS: Mapping[Light, Mark] = MappingProxyType(
    {
        "green": Mark("\u2713", "good"),
        "amber": Mark("!", "worth a look"),
        "red": Mark("\u2715", "in doubt"),
        "grey": Mark("?", "not judged"),
    }
)


def light_mark(light: Light, text: str = "", *, title: str | None = None) -> Markup:
    """The light's sign on its ground, with a short text (a value) behind it; `title` is shown where the pointer rests.

    >>> light_mark("amber", "23 nm")
    '<span class="light amber" title="worth a look"><i>!</i> 23 nm</span>'
    """
    mark = MARKS[light]
    return element("span", element("i", mark.sign), f" {text}" if text else None, class_=f"light {light}", title=title or mark.word)


def light_key() -> Markup:
    """What the marks mean, for below a table of them."""
    order: tuple[Light, ...] = ("green", "amber", "red", "grey")
    return element("p", *(element("span", light_mark(light), f" {MARKS[light].word}") for light in order), class_="lightkey note")
