"""The numbers that the page's part on descriptors shows, gathered once.

Conditions are those that are compared (`analyse.grouping`), so that what a plot shows is what a test was made of.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smlmbatch.analyse.compare import ConditionMean, ReplicateMean, RipleyCurve, condition_means, described, natural_key, replicate_means
from smlmbatch.analyse.results import Comparison
from smlmbatch.report.figures import Look, look_of

if TYPE_CHECKING:
    import pyarrow as pa

COUNTS = "density, locs per ROI and clusters per ROI"  # `compare.COUNTED` in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """All that the part on descriptors shows, by condition, channel and replicate.

    Attributes
    ----------
    rois : kept ROIs, as `compare.described` gives them
    comparisons : of all channels
    min_locs : fewest locs of a channel for the descriptors of its pattern
    n_sparse : kept ROIs with fewer, by condition and channel
    paired : whether replicates are paired across conditions
    """

    rois: "pa.Table"
    replicates: Sequence[ReplicateMean]
    conditions: Sequence[ConditionMean]
    curves: Sequence[RipleyCurve]
    comparisons: Sequence[Comparison]
    min_locs: int
    n_sparse: Mapping[tuple[str, int | None], int]
    paired: bool

    @property
    def channels(self) -> list[int | None]:
        """In order; None alone where channels are part of the condition."""
        return sorted({c.channel for c in self.conditions}, key=lambda channel: -1 if channel is None else channel)

    @property
    def names(self) -> list[str]:
        """Conditions, in the order in which they are shown."""
        return sorted({c.condition for c in self.conditions}, key=natural_key)

    @property
    def looks(self) -> dict[str, Look]:
        """One look per condition, the same in every channel and figure."""
        return {name: look_of(i) for i, name in enumerate(self.names)}


def gather(
    grouped: "pa.Table", curves: Sequence[RipleyCurve], comparisons: Sequence[Comparison], *, min_locs: int, paired: bool = False
) -> Numbers:
    """Means of the descriptors of ROIs, as `grouping.group_rois` gives them."""
    import pyarrow.compute as pc

    kept = described(grouped, min_locs=min_locs)
    replicates = replicate_means(grouped, min_locs=min_locs)
    sparse = kept.filter(pc.field("n_locs") < min_locs).select(["condition", "channel"]).to_pydict()
    return Numbers(
        rois=kept,
        replicates=replicates,
        conditions=condition_means(replicates),
        curves=curves,
        comparisons=comparisons,
        min_locs=min_locs,
        n_sparse=Counter(zip(sparse["condition"], sparse["channel"], strict=True)),
        paired=paired,
    )


def file_suffix(channel: int | None) -> str:
    """End of the names of one channel's files.

    >>> file_suffix(1), file_suffix(None)
    ('_c1', '')
    """
    return "" if channel is None else f"_c{channel}"
