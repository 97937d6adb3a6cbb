"""A campaign's embeddings in memory: units of the stage embed joined with the rows of the table of ROIs.

About 700 bytes a ROI at 128 features: 10^6 ROIs are below 1 GiB, held as float32 once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.columns import DESCRIPTORS
from smlmbatch.analyse.compare import natural_key
from smlmbatch.analyse.embedding_baselines import DESCRIBED
from smlmbatch.analyse.grouping import EMPTY, JOINT, channels_joined, group_rois, labels_of
from smlmbatch.config import CompareConfig
from smlmbatch.errors import SmlmbatchError
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign

if TYPE_CHECKING:
    import pyarrow as pa

STAGE: Final = "embed"
READ: Final = (
    *("key", "field", "roi", "cell", "region", "condition", "replicate", "batch", "kept", "distance_to_edge_nm", "channel", "n_locs"),
    *DESCRIBED,
)  # columns of the table of ROIs
assert set(DESCRIBED) < set(DESCRIPTORS)

Names = NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the campaign's units were embedded: the attributes of the stage's units, equal in all. `model` "" = with none."""

    model: str = ""
    model_sha256: str = ""
    why_none: str = ""
    side_px: int = 0
    turned: bool = False
    n_locs: int = 0
    features: int = 0
    device: str = ""


@dataclass(frozen=True, kw_only=True)
class EmbeddedRois:
    """All embedded ROIs, row by row in the order of the table of ROIs.

    Attributes
    ----------
    rows : the table of ROIs, these rows of it
    grouped : the same with the conditions compared (`grouping.group_rois`): `channel` null where channels are part of them
    vectors : (n, f) f4
    n_locs : (n,) i8, locs embedded; `rows["n_locs"]` are all that the ROI has
    joined : whether channels are part of the condition
    skipped, beyond : channel → kept ROIs too empty to embed; embedded ones beyond the densities the model learned from
    """

    rows: "pa.Table"
    grouped: "pa.Table"
    vectors: NDArray[np.float32]
    n_locs: NDArray[np.int64]
    settings: Settings
    joined: bool
    skipped: Mapping[int, int] = field(default_factory=dict)
    beyond: Mapping[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def families(self) -> "list[Family]":
        """ROIs that are compared with each other: those of a channel, or all where channels are part of the condition.

        One of no ROI where all that were kept are too empty; none where there were none.
        """
        condition = _names(self.grouped["condition"])
        channel = self.rows["channel"].to_numpy()
        usable = np.isfinite(self.vectors).all(axis=1) & _stated(condition)
        numbers = sorted({*channel.tolist(), *(number for number, n in self.skipped.items() if n)})
        if self.joined:
            return [self._family(None, np.flatnonzero(usable), condition)] if numbers else []
        return [self._family(number, np.flatnonzero(usable & (channel == number)), condition) for number in numbers]

    def of_channel(self, counts: Mapping[int, int], channel: int | None) -> int:
        """`skipped` or `beyond` of a family."""
        return sum(counts.values()) if channel is None else counts.get(channel, 0)

    def _family(self, channel: int | None, rows: NDArray[np.intp], condition: Names) -> "Family":
        own = condition[rows]
        names = tuple(sorted(set(own.tolist()), key=natural_key))
        number = {name: i for i, name in enumerate(names)}
        code = np.array([number[name] for name in own.tolist()], dtype=np.intp)
        return Family(channel=channel, rows=rows, names=names, code=code, replicate=_names(self.grouped["replicate"].take(rows)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Which rows are compared with each other, and by what.

    Attributes
    ----------
    channel : None where channels are part of the condition
    rows : (m,) rows of `EmbeddedRois` that have a condition
    names : conditions in natural order
    code : (m,) condition of each, index into `names`
    replicate : (m,) names
    """

    channel: int | None
    rows: NDArray[np.intp]
    names: tuple[str, ...]
    code: NDArray[np.intp]
    replicate: Names

    @property
    def condition(self) -> Names:
        return np.array(self.names, dtype=object)[self.code] if self.names else np.empty(0, dtype=object)


def _stated(condition: Names) -> NDArray[np.bool_]:
    """Whether a condition has a value of every column; what has none is compared with nothing, as in comparisons."""
    stated = {name: EMPTY not in name.split(JOINT) for name in set(condition.tolist())}
    return np.array([stated[name] for name in condition.tolist()], dtype=bool)


def _names(column: "pa.ChunkedArray") -> Names:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)


# ---- reading


def read_embedded(campaign: Campaign, rois: "pa.Table", fields: "pa.Table", *, config: CompareConfig) -> EmbeddedRois:
    """Join the campaign's embed units with the tables; fields without such a unit, or with one that failed, have no rows.

    Parameters
    ----------
    rois, fields : the tables, `rois` at least the columns of `READ`

    Raises
    ------
    SmlmbatchError
        a unit is damaged, or has ROIs that the table doesn't
    ConfigError
        a column of `compare.conditions` that there is not
    """
    bounds = _bounds_of_fields(rois)
    parts = [
        _read_unit(result.units[STAGE], rois, *bounds[result.field.key])
        for result in campaign.fields
        if STAGE in result.units and result.field.key in bounds
    ]
    skipped, beyond = Counter[int](), Counter[int]()
    for part in parts:
        skipped.update(part.skipped)
        beyond.update(part.beyond)
    settings = _settings(campaign, [part.settings for part in parts])
    rows = rois.take(_joined([part.rows for part in parts], np.int64))
    vectors = np.concatenate([part.vectors for part in parts]) if parts else np.empty((0, settings.features), np.float32)
    return EmbeddedRois(
        rows=rows,
        grouped=group_rois(rows, fields, config=config),
        vectors=vectors,
        n_locs=_joined([part.n_locs for part in parts], np.int64),
        settings=settings,
        joined=channels_joined(labels_of(fields), config=config),
        skipped=dict(skipped),
        beyond=dict(beyond),
    )


def _settings(campaign: Campaign, found: Sequence[Settings]) -> Settings:
    """Those of the first unit that has rows or a model; of any where none has."""
    if found:
        return next((one for one in found if one.model), found[0])
    for result in campaign.fields:
        if STAGE in result.units:
            with UnitReader(result.units[STAGE]) as unit:
                return _settings_of(unit)
    return Settings(why_none="No field is embedded yet.")


def _settings_of(unit: UnitReader) -> Settings:
    return Settings(**{name: unit.attrs[name] for name in Settings.__dataclass_fields__})


def _bounds_of_fields(rois: "pa.Table") -> dict[str, tuple[int, int]]:
    """First row of each field, and the row after its last: its rows follow each other."""
    keys = _names(rois["key"])
    if not len(keys):
        return {}
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return {keys[start]: (int(start), int(stop)) for start, stop in zip(first, [*first[1:], len(keys)], strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    n_locs: NDArray[np.int64]
    settings: Settings
    skipped: dict[int, int]
    beyond: dict[int, int]


def _read_unit(path: Any, rois: "pa.Table", start: int, stop: int) -> _Part:
    """One field's embeddings, sorted by their row in the table of ROIs."""
    with UnitReader(path) as unit:
        wanted = unit.read("roi").astype(np.int64) * 256 + unit.read("channel")
        vectors, n_locs, attrs = unit.read("embedding"), unit.read("n_locs"), unit.attrs
        settings = _settings_of(unit)
    own = rois.slice(start, stop - start)
    there = own["roi"].to_numpy().astype(np.int64) * 256 + own["channel"].to_numpy()
    sorter = np.argsort(there, kind="stable")
    place = sorter[np.minimum(np.searchsorted(there, wanted, sorter=sorter), len(there) - 1)]
    if not np.array_equal(there[place], wanted):
        raise SmlmbatchError(f"{path}: has ROIs that the table of ROIs doesn't; run again with --force")
    order = np.argsort(place, kind="stable")
    counts = {name: dict(zip(attrs["channels"], attrs[name], strict=True)) for name in ("n_skipped", "n_beyond")}
    return _Part(
        rows=start + place[order],
        vectors=np.ascontiguousarray(vectors[order], dtype=np.float32),
        n_locs=n_locs[order].astype(np.int64),
        settings=settings,
        skipped={int(c): int(n) for c, n in counts["n_skipped"].items()},
        beyond={int(c): int(n) for c, n in counts["n_beyond"].items()},
    )


def _joined(parts: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(parts).astype(dtype) if parts else np.empty(0, dtype)
