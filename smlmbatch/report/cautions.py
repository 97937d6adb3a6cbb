"""What an experiment's design leaves open, in sentences for the top of the page: batches that stand for conditions, lost partners."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smlmbatch.analyse.design import BatchWarning, Unpaired, batch_warnings, unpaired_blocks
from smlmbatch.config import Config
from smlmbatch.report.wording import counted, in_sentence, titles

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_PAIRS = 3  # named
_MOST_BLOCKS = 6


def design_cautions(rois: "pa.Table", fields: "pa.Table", *, config: Config) -> list[str]:
    """Sentences, the gravest first; none where nothing stands against the comparisons.

    Parameters
    ----------
    rois, fields : as `tables.read_tables` gives them
    """
    settings, min_locs = config.compare, config.tile.min_locs
    batches = batch_warnings(rois, fields, config=settings, min_locs=min_locs)
    unpaired = unpaired_blocks(rois, fields, config=settings, min_locs=min_locs)
    return [*_confounded(batches), *_larger(batches), *_unpaired(unpaired)]


def is_confounded(cautions: Sequence[str]) -> bool:
    """Whether one of them says that conditions can't be told from batches."""
    return any(_CONFOUNDED in caution for caution in cautions)


_CONFOUNDED = "can\u2019t be told from a difference between the batches"


def _confounded(warnings: Sequence[BatchWarning]) -> list[str]:
    pairs = list(dict.fromkeys(warning.conditions for warning in warnings if warning.kind == "confounded"))
    if not pairs:
        return []
    named = "; ".join(f"{condition} and {reference}" for reference, condition in pairs[:_MOST_PAIRS])
    more = f" and {counted(len(pairs) - _MOST_PAIRS, 'other pair')}" if len(pairs) > _MOST_PAIRS else ""
    return [
        f"No batch holds both conditions: {named}{more}. A difference between them {_CONFOUNDED} (day, dish, microscope). "
        "Measure both conditions in every batch."
    ]


def _larger(warnings: Sequence[BatchWarning]) -> list[str]:
    hit = [warning for warning in warnings if warning.kind == "larger" and warning.descriptor is not None]
    names = [in_sentence(title.name) for title in titles(str(warning.descriptor) for warning in hit).values()]
    if not names:
        return []
    return [
        f"Batches differ more than conditions do, in {', '.join(names)}. "
        "Look for a cause (staining, settings, drift), or pair by batch (compare.paired)."
    ]


def _unpaired(found: Sequence[Unpaired]) -> list[str]:
    blocks = {block for one in found for block in (*one.only_reference, *one.only_condition)}
    named = sorted(blocks - {""})
    if not blocks:
        return []
    some = ", ".join(named[:_MOST_BLOCKS]) + (" \u2026" if len(named) > _MOST_BLOCKS else "")
    empty = " Some fields have no entry in the column they are paired by." if "" in blocks else ""
    lost = f"Without a partner in the other condition, so left out of a comparison: {some}." if named else ""
    return [f"{lost}{empty}".strip()]
