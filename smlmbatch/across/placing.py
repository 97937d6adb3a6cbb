"""Where the conditions and fields of one campaign lie among those of others, in the embedding that all share.

Three numbers side by side, as none says all: the distance of centroids (means over replicates' means) with an interval over replicates;
the share of each condition among the nearest neighbours of the ROIs (15), which sees mixtures that a centroid hides; and the ratio of
localisations per ROI, as the embedding sees density too. Every condition of the others enters with at most 2,000 ROIs, drawn at random,
and beside a share stands what chance would give. What was never measured can't be near: the nearest condition is the nearest of those
there are, and `within` says how far a condition's own ROIs lie from its centroid.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from smlmbatch.across.stored import Stored
from smlmbatch.analyse.compare import natural_key
from smlmbatch.analyse.embedding_distances import Centre, centre_of, true_distance
from smlmbatch.analyse.embedding_draw import DISTANCE, SAMPLE, generator
from smlmbatch.analyse.grouping import EMPTY, JOINT
from smlmbatch.analyse.neighbours import nearest

NEIGHBOURS, FEWEST_NEIGHBOURS = 15, 5
_MOST_ROIS: Final = 2000  # of a condition
_DRAWS: Final = 4000  # of the bootstrap over replicates

Scope = Literal["condition", "field"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One condition (or field) of a campaign held against one condition of another; a line of the CSV.

    Attributes
    ----------
    scope : what `name` is: a condition of the campaign, or one of its fields
    rank : 1 = the nearest of all, by distance
    distance, low, high : of the centroids, with the 95 % interval of the true distance (see `analyse.embedding_distances`); NaN where
        one of the two has one replicate
    within : root mean square distance of the other condition's ROIs from its centroid
    share, share_by_chance, neighbours : of so many nearest ROIs of all others: 15, or as many as the smallest condition has (but 5)
    locs_ratio : geometric mean of locs per ROI over the other's (means over replicates of the logarithm)
    """

    scope: Scope
    name: str
    channel: int
    n_rois: int
    n_replicates: int
    rank: int
    campaign: str
    condition: str
    other_channel: int
    other_n_rois: int
    other_n_replicates: int
    distance: float
    low: float
    high: float
    within: float
    share: float
    share_by_chance: float
    neighbours: int
    locs_ratio: float


@dataclass(frozen=True, slots=True)
class _Group:
    """ROIs of one name and channel."""

    campaign: str
    name: str
    channel: int
    vectors: NDArray[np.floating]
    centre: Centre
    log_n: float  # mean over replicates

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self.vectors), len(self.centre.replicates)


def place(campaign: Stored, others: Sequence[Stored], *, seed: int = 0) -> list[Placement]:
    """Every condition and field of the campaign against every condition of the others, the nearest first.

    Parameters
    ----------
    campaign, others : as `read_campaigns` gives them
    seed : of the draws

    Returns
    -------
    list of Placement
        conditions first, then fields, each in natural order by channel
    """
    there = [group for other in others for group in _groups(other, other.condition) if EMPTY not in group.name.split(JOINT)]
    if not there:
        return []
    pool = [_drawn(group, seed) for group in there]
    known = np.concatenate(pool)
    owner = np.repeat(np.arange(len(there)), list(map(len, pool)))
    chance = np.bincount(owner) / len(owner)
    k = min(NEIGHBOURS, max(FEWEST_NEIGHBOURS, min(map(len, pool))))
    found: list[Placement] = []
    scopes: Mapping[Scope, NDArray[np.object_]] = {"condition": campaign.condition, "field": campaign.field}
    for scope, names in scopes.items():
        for group in _groups(campaign, names):
            if scope == "condition" and EMPTY in group.name.split(JOINT):
                continue
            near = nearest(_drawn(group, seed), known, k=k)
            share = np.bincount(owner[near].ravel(), minlength=len(there)) / near.size
            found += _ranked(scope, group, there, share, chance, near.shape[1], seed=seed)
    return found


def _groups(campaign: Stored, names: NDArray[np.object_]) -> Iterator[_Group]:
    """ROIs of each channel and name, in order."""
    for channel in np.unique(campaign.channel).tolist():
        of_channel = campaign.channel == channel
        for name in sorted(set(names[of_channel].tolist()), key=natural_key):
            rows = np.flatnonzero(of_channel & (names == name))
            _, replicate = np.unique(campaign.replicate[rows], return_inverse=True)
            log_n = np.bincount(replicate, np.log(campaign.n_locs[rows])) / np.bincount(replicate)
            vectors = campaign.vectors[rows]
            yield _Group(campaign.name, str(name), int(channel), vectors, centre_of(vectors, replicate), float(log_n.mean()))


def _drawn(group: _Group, seed: int) -> NDArray[np.floating]:
    """At most so many of a group's ROIs; keyed by what the group is called, never by where it lies."""
    if len(group.vectors) <= _MOST_ROIS:
        return group.vectors
    rng = generator(seed, SAMPLE, group.channel, group.name)
    return group.vectors[np.sort(rng.permutation(len(group.vectors))[:_MOST_ROIS])]


def _ranked(
    scope: Scope,
    group: _Group,
    there: Sequence[_Group],
    share: NDArray[np.float64],
    chance: NDArray[np.float64],
    neighbours: int,
    *,
    seed: int,
) -> list[Placement]:
    distance = np.array([np.linalg.norm(group.centre.centroid - other.centre.centroid) for other in there])
    rows = []
    for rank, i in enumerate(np.argsort(distance, kind="stable").tolist(), start=1):
        other = there[i]
        rng = generator(seed, DISTANCE, group.channel, group.name, other.channel, other.name)
        low, high = true_distance(group.centre.replicates, other.centre.replicates, draws=_DRAWS, rng=rng)
        rows.append(
            Placement(
                scope=scope,
                name=group.name,
                channel=group.channel,
                n_rois=group.sizes[0],
                n_replicates=group.sizes[1],
                rank=rank,
                campaign=other.campaign,
                condition=other.name,
                other_channel=other.channel,
                other_n_rois=other.sizes[0],
                other_n_replicates=other.sizes[1],
                distance=float(distance[i]),
                low=low,
                high=high,
                within=float(np.sqrt(other.centre.mean_square)),
                share=float(share[i]),
                share_by_chance=float(chance[i]),
                neighbours=neighbours,
                locs_ratio=float(np.exp(group.log_n - other.log_n)),
            )
        )
    return rows
