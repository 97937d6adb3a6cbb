"""What an experiment's design can't answer: replicates without a partner, batches that stand for conditions.

A batch (day, dish, microscope) that holds one condition only can't be told from it, whatever the test says. Where batches cross conditions,
an additive model of the replicates' means shows which of the two explains more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.compare import ReplicateMean, natural_key, replicate_means
from smlmbatch.analyse.effects import constant
from smlmbatch.analyse.grouping import ColumnName, group_rois, labels_of, resolved_columns
from smlmbatch.analyse.statistics import COMPARED, condition_pairs, too_many
from smlmbatch.config import CompareConfig

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpaired:
    """Blocks of a pair of conditions that lack one side and so did not enter; "" = replicates whose block is empty."""

    channel: int | None
    reference: str
    condition: str
    only_reference: tuple[str, ...]
    only_condition: tuple[str, ...]


def unpaired_blocks(rois: "pa.Table", fields: "pa.Table", *, config: CompareConfig, min_locs: int) -> list[Unpaired]:
    """What pairing left out; pairs of conditions with nothing left out are passed over. Empty where values are not paired."""
    if not config.paired:
        return []
    means = replicate_means(group_rois(rois, fields, config=config), min_locs=min_locs, descriptors=["n_locs"])
    found = [
        _unpaired(channel, pair, *(own[condition] for condition in pair))
        for channel, own in _blocks(means).items()
        for pair in condition_pairs(own, reference=config.reference)
    ]
    return [one for one in found if one.only_reference or one.only_condition]


def _blocks(means: Sequence[ReplicateMean]) -> dict[int | None, dict[str, set[str]]]:
    """Channel → condition → blocks."""
    found: dict[int | None, dict[str, set[str]]] = {}
    for mean in means:
        found.setdefault(mean.channel, {}).setdefault(mean.condition, set()).add(mean.block or "")
    return found


def _unpaired(channel: int | None, pair: tuple[str, str], of_reference: set[str], of_condition: set[str]) -> Unpaired:
    shared = (of_reference & of_condition) - {""}
    lacking = [tuple(sorted(own - shared, key=natural_key)) for own in (of_reference, of_condition)]
    return Unpaired(channel=channel, reference=pair[0], condition=pair[1], only_reference=lacking[0], only_condition=lacking[1])


# ---- batches


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchWarning:
    """Batches that cast doubt on comparisons.

    Attributes
    ----------
    kind : "confounded": the two conditions share no batch; "larger": batches differ, and by more than conditions do
    descriptor : None for "confounded"
    conditions : those compared
    batches : those of `conditions`
    batch_share, condition_share : for "larger", mean square of batches and of conditions, each beside the other, over the residual's
    """

    kind: Literal["confounded", "larger"]
    channel: int | None
    descriptor: str | None
    conditions: tuple[str, ...]
    batches: tuple[str, ...]
    batch_share: float = np.nan
    condition_share: float = np.nan


def batch_warnings(rois: "pa.Table", fields: "pa.Table", *, config: CompareConfig, min_locs: int) -> list[BatchWarning]:
    """What to doubt because of batches; empty where the sheet names none, or conditions are batches.

    Parameters
    ----------
    rois, fields : as `tables.read_tables` gives them
    """
    if ColumnName("batch") in resolved_columns(labels_of(fields), config=config):
        return []
    grouped = group_rois(rois, fields, config=replace(config, paired="batch"))
    means = [mean for mean in replicate_means(grouped, min_locs=min_locs, descriptors=COMPARED) if mean.block]
    found = []
    for channel, batches in _blocks(means).items():
        if too_many(batches, reference=config.reference):  # nothing is compared
            continue
        own = [mean for mean in means if mean.channel == channel]
        found += _confounded(channel, batches, reference=config.reference)
        found += _larger(channel, own, alpha=config.alpha)
    return found


def _confounded(channel: int | None, batches: dict[str, set[str]], *, reference: str) -> list[BatchWarning]:
    pairs = [pair for pair in condition_pairs(batches, reference=reference) if not batches[pair[0]] & batches[pair[1]]]
    return [
        BatchWarning(
            kind="confounded",
            channel=channel,
            descriptor=None,
            conditions=pair,
            batches=tuple(sorted(batches[pair[0]] | batches[pair[1]], key=natural_key)),
        )
        for pair in pairs
    ]


def _larger(channel: int | None, means: Sequence[ReplicateMean], *, alpha: float) -> list[BatchWarning]:
    """Descriptors in which batches differ (F test, Bonferroni over descriptors) by more than conditions do."""
    found = []
    for descriptor in COMPARED:
        members = [mean for mean in means if mean.descriptor == descriptor and mean.n_rois]
        shares = _shares(members)
        if shares is not None and shares.p_batch * len(COMPARED) < alpha and shares.batch > shares.condition:
            warning = BatchWarning(
                kind="larger",
                channel=channel,
                descriptor=descriptor,
                conditions=tuple(sorted({mean.condition for mean in members}, key=natural_key)),
                batches=tuple(sorted({mean.block or "" for mean in members}, key=natural_key)),
                batch_share=shares.batch,
                condition_share=shares.condition,
            )
            found.append(warning)
    return found


@dataclass(frozen=True, slots=True)
class _Shares:
    batch: float
    condition: float
    p_batch: float


def _shares(members: Sequence[ReplicateMean]) -> _Shares | None:
    """F of batches beside conditions and of conditions beside batches (type II); None where the design can't tell them apart."""
    from scipy import stats

    values = np.array([mean.mean for mean in members], dtype=np.float64)
    batch, condition = (_indicators([str(getattr(mean, name)) for mean in members]) for name in ("block", "condition"))
    if not len(values) or constant(values):
        return None
    both, of_batch, of_condition = (_residual(columns, values) for columns in (np.hstack([batch, condition]), batch, condition))
    freedom = len(values) - both[1]
    n_batch, n_condition = both[1] - of_condition[1], both[1] - of_batch[1]
    if min(freedom, n_batch, n_condition) < 1 or both[0] <= 1e-20 * float(values @ values):
        return None
    residual = both[0] / freedom
    f_batch = (of_condition[0] - both[0]) / n_batch / residual
    return _Shares(f_batch, (of_batch[0] - both[0]) / n_condition / residual, float(stats.f.sf(f_batch, n_batch, freedom)))


def _indicators(names: Sequence[str]) -> NDArray[np.float64]:
    """(n, k) 1 where a row is of the k-th name."""
    values, code = np.unique(np.array(names, dtype=object), return_inverse=True)
    return np.eye(len(values))[code]


def _residual(columns: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, int]:
    """Residual sum of squares of a least-squares fit, and its rank."""
    fit, _, rank, _ = np.linalg.lstsq(columns, values, rcond=None)
    return float(((values - columns @ fit) ** 2).sum()), int(rank)
