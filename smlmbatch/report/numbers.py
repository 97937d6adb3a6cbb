"""The numbers that the page's part on descriptors shows, gathered once.

Conditions are those that are compared (`analyse.grouping`), so that what a plot shows is what a test was made of.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from smlmbatch.analyse.columns import DESCRIPTORS
from smlmbatch.analyse.compare import ConditionMean, ReplicateMean, RipleyCurve, condition_means, described, natural_key, replicate_means
from smlmbatch.analyse.results import Comparison
from smlmbatch.report.figures import Look, look_of

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ("key", "condition", "channel", "replicate", "block", "kept")
_MOST_DOTS, _DOTS_OF_ALL, _FEWEST_DOTS = 400, 2400, 60  # ROIs drawn: of one condition, of all, of one of many conditions
_DOTS = 1  # what a random draw is for: first number of its key
COUNTS = "density, locs per ROI and clusters per ROI"  # `compare.COUNTED` in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """All that the part on descriptors shows, by condition, channel and replicate.

    Attributes
    ----------
    sampled : by condition and channel, the ROIs that are drawn, as `compare.described` gives them; never the whole table
    comparisons : of all channels
    min_locs : fewest locs of a channel for the descriptors of its pattern
    n_sparse : kept ROIs with fewer, by condition and channel
    paired : whether replicates are paired across conditions
    counts : what such ROIs enter nevertheless, in words
    single : what a row stands for
    """

    sampled: Mapping[tuple[str, int | None], "pa.Table"]
    replicates: Sequence[ReplicateMean]
    conditions: Sequence[ConditionMean]
    curves: Sequence[RipleyCurve]
    comparisons: Sequence[Comparison]
    min_locs: int
    n_sparse: Mapping[tuple[str, int | None], int]
    paired: bool
    counts: str = COUNTS
    single: str = "ROI"

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
    grouped: "pa.Table",
    curves: Sequence[RipleyCurve],
    comparisons: Sequence[Comparison],
    *,
    min_locs: int,
    paired: bool = False,
    descriptors: Sequence[str] = DESCRIPTORS,
    counts: str = COUNTS,
    single: str = "ROI",
) -> Numbers:
    """Means of the descriptors of ROIs, as `grouping.group_rois` gives them."""
    import pyarrow.compute as pc

    wanted = dict.fromkeys((*_COLUMNS, *DESCRIPTORS, *descriptors))
    grouped = grouped.select([name for name in wanted if name in grouped.column_names])
    replicates = replicate_means(grouped, min_locs=min_locs, descriptors=descriptors)
    kept = described(grouped, min_locs=min_locs)
    sparse = kept.filter(pc.field("n_locs") < min_locs).select(["condition", "channel"]).to_pydict()
    groups = list(dict.fromkeys((r.condition, r.channel) for r in replicates))
    return Numbers(
        sampled={group: _sample(kept, *group, number=i, most=most_dots(len(groups))) for i, group in enumerate(groups)},
        replicates=replicates,
        conditions=condition_means(replicates),
        curves=curves,
        comparisons=comparisons,
        min_locs=min_locs,
        n_sparse=Counter(zip(sparse["condition"], sparse["channel"], strict=True)),
        paired=paired,
        counts=counts,
        single=single,
    )


def most_dots(n_groups: int) -> int:
    """ROIs drawn of one condition and channel, the fewer the more of these there are."""
    return max(_FEWEST_DOTS, min(_MOST_DOTS, _DOTS_OF_ALL // max(1, n_groups)))


def _sample(kept: "pa.Table", condition: str, channel: int | None, *, number: int, most: int) -> "pa.Table":
    """At most so many ROIs of one condition and channel, evenly drawn."""
    import pyarrow.compute as pc

    of_channel = pc.field("channel").is_null() if channel is None else pc.field("channel") == channel
    members = kept.filter((pc.field("condition") == condition) & of_channel)
    if len(members) > most:
        rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(_DOTS, number)))
        members = members.take(np.sort(rng.choice(len(members), most, replace=False)))
    return members


def file_suffix(channel: int | None) -> str:
    """End of the names of one channel's files.

    >>> file_suffix(1), file_suffix(None)
    ('_c1', '')
    """
    return "" if channel is None else f"_c{channel}"
