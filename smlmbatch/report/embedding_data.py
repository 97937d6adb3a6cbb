"""The embedding of a campaign, gathered once for its page, its part of the campaign's page and the verdict.

Tables say what was found, units what it was made with. A campaign without a model, or whose tables were made before there was an
embedding, has no channels and a sentence that says why.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.fingerprint import table_path
from smlmbatch.analyse.results import EmbeddingCluster, EmbeddingDistance, EmbeddingFlag, EmbeddingScore
from smlmbatch.report.figures import Look, look_of
from smlmbatch.report.wording import counted
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign

if TYPE_CHECKING:
    import pyarrow as pa

EMBEDDING, LOG_N, DESCRIPTORS, RANDOM = "embedding", "log N", "descriptors", "random encoder"  # representations of ROIs
CELLS, CELLS_OF_ALL = "cell means", "cell means of all channels"  # and of cells
K_MEANS, WARD, NEAREST, LOGISTIC = "ARI k-means", "ARI Ward", "accuracy nearest", "accuracy logistic"  # measures
CONDITION = "condition"  # label of the scores that are about conditions
_STAGE = "embed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the units say they were embedded with."""

    name: str
    sha256: str
    side_px: int
    pixel_nm: float
    features: int
    turned: bool
    n_locs: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """One channel (None: channels are part of the condition).

    Attributes
    ----------
    rows : of embeddings.parquet, one per embedded ROI
    n_locs : locs of each ROI that were embedded; 0 = all it has
    """

    channel: int | None
    rows: "pa.Table"
    scores: Sequence[EmbeddingScore]
    clusters: Sequence[EmbeddingCluster]
    distances: Sequence[EmbeddingDistance]
    flags: Sequence[EmbeddingFlag]
    n_locs: int = 0

    @property
    def suffix(self) -> str:
        """End of the names of its files."""
        return "" if self.channel is None else f"_c{self.channel}"

    def title(self, titles: Mapping[int, str]) -> str:
        """What its channel is called; "" where there is one only."""
        return "" if self.channel is None else titles.get(self.channel, "")

    def score(self, representation: str, measure: str, *, n_locs: int | None = None) -> EmbeddingScore | None:
        """The score of one representation, of the ROIs as they were embedded unless `n_locs` is given; None where it was not made."""
        as_embedded = 0 if representation == DESCRIPTORS else self.n_locs  # descriptors are of all locs
        wanted = (CONDITION, representation, as_embedded if n_locs is None else n_locs, measure)
        return next((s for s in self.scores if (s.label, s.representation, s.n_locs, s.measure) == wanted), None)

    @property
    def thinned(self) -> list[int]:
        """Numbers of locs that ROIs were thinned to for comparison, largest number of ROIs left first."""
        left: dict[int, int] = {}
        for score in self.scores:
            if score.n_locs not in (0, self.n_locs) and score.label == CONDITION:
                left[score.n_locs] = max(left.get(score.n_locs, 0), score.n_rois)
        return sorted(left, key=lambda n: (-left[n], n))


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """All channels.

    Attributes
    ----------
    why_none : a sentence, and how to mend it, where there are no channels; else ""
    n_skipped, n_beyond : ROIs and channels that were too empty to embed; embedded ones beyond the densities the model has learned from
    joint : scores of several channels together
    looks : by condition, as everywhere on the pages
    """

    model: ModelFacts | None
    why_none: str
    n_skipped: int
    n_beyond: int
    channels: Sequence[Embedded]
    joint: Sequence[EmbeddingScore]
    looks: Mapping[str, Look]

    @property
    def n_rois(self) -> int:
        """Rows of all channels."""
        return sum(len(part.rows) for part in self.channels)


def codes(part: Embedded, column: str) -> tuple[NDArray[np.int64], list[str]]:
    """A column of names as (n,) i8 codes, -1 = null, and the names."""
    found = part.rows[column].combine_chunks().dictionary_encode()
    return found.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64), found.dictionary.to_pylist()


def vectors_of(part: Embedded) -> NDArray[np.float32]:
    """Embeddings of one channel, (n, features) f4."""
    column = part.rows["embedding"].combine_chunks()
    found: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(part.rows), -1)
    return found


def read_embeddings(campaign: Campaign, *, names: Sequence[str], joined: bool = False) -> Embeddings:
    """The embedding of a campaign whose tables are written.

    Parameters
    ----------
    names : conditions in the order in which the pages show them
    joined : whether channels are part of the condition
    """
    attrs = [found for result in campaign.fields if (found := _attrs(result.units.get(_STAGE))) is not None]
    embedding = [found for found in attrs if found["model"]]
    tables = {name: _read(campaign.output, name) for name in _TABLES}
    rows = tables["embeddings"]
    n_skipped, n_beyond = (sum(sum(found[name]) for found in embedding) for name in ("n_skipped", "n_beyond"))
    model = _model(embedding[0]) if embedding else None
    channels = _channels(rows, tables, joined=joined, n_locs=model.n_locs if model else 0) if rows is not None else []
    looks = {name: look_of(i) for i, name in enumerate(dict.fromkeys([*names, *_names(rows)]))}
    return Embeddings(
        model=model,
        why_none="" if channels else _why_none(attrs, n_skipped=n_skipped, tables_there=rows is not None),
        n_skipped=n_skipped,
        n_beyond=n_beyond,
        channels=channels,
        joint=_joint(channels, tables["embedding_scores"]),
        looks=looks,
    )


def _attrs(path: Path | None) -> Mapping[str, Any] | None:
    if path is None:
        return None
    with UnitReader(path) as unit:
        return dict(unit.attrs)


def _model(attrs: Mapping[str, Any]) -> ModelFacts:
    return ModelFacts(
        name=str(attrs["model"]),
        sha256=str(attrs["model_sha256"]),
        side_px=int(attrs["side_px"]),
        pixel_nm=float(attrs["pixel_nm"]),
        features=int(attrs["features"]),
        turned=bool(attrs["turned"]),
        n_locs=int(attrs["n_locs"]),
        device=str(attrs["device"]),
    )


def _why_none(attrs: Sequence[Mapping[str, Any]], *, n_skipped: int, tables_there: bool) -> str:
    """Why nothing was embedded, and what to do about it."""
    reasons = Counter(str(found["why_none"]) for found in attrs if found["why_none"])
    if not attrs:
        return "No field has come through the stage embed yet; run again to go on."
    if reasons:
        said = reasons.most_common(1)[0][0].strip()
        return said if said.endswith(".") else f"{said}."
    if n_skipped:
        return (
            f"All {counted(n_skipped, 'ROI')} have too few locs to be embedded. Run again with a smaller embed.min_locs "
            "(or embed.n_locs), and --update."
        )
    if not tables_there:
        return "The tables hold no embedding yet; run again to make them."
    return "No ROI was kept, so there is nothing to embed."


# ---- tables

_RECORDS: Mapping[str, type] = {
    "embedding_scores": EmbeddingScore,
    "embedding_clusters": EmbeddingCluster,
    "embedding_distances": EmbeddingDistance,
    "embedding_flags": EmbeddingFlag,
}
_TABLES = ("embeddings", *_RECORDS)


def _read(output: Path, name: str) -> "pa.Table | None":
    import pyarrow.parquet as pq

    path = table_path(output, name)
    return pq.ParquetFile(path).read() if path.is_file() else None


def _names(rows: "pa.Table | None") -> list[str]:
    from smlmbatch.analyse.compare import natural_key

    return [] if rows is None else sorted(rows["condition"].drop_null().unique().to_pylist(), key=natural_key)


def _channels(rows: "pa.Table", tables: "Mapping[str, pa.Table | None]", *, joined: bool, n_locs: int) -> list[Embedded]:
    """The parts that have a row."""
    import pyarrow.compute as pc

    found: list[int | None] = sorted(rows["channel"].unique().to_pylist())
    records = {name: _records(kind, tables[name]) for name, kind in _RECORDS.items()}
    return [
        Embedded(
            channel=channel,
            rows=rows if channel is None else rows.filter(pc.field("channel") == channel),
            scores=[r for r in records["embedding_scores"] if r.channel == channel],
            clusters=[r for r in records["embedding_clusters"] if r.channel == channel],
            distances=[r for r in records["embedding_distances"] if r.channel == channel],
            flags=[r for r in records["embedding_flags"] if r.channel in (channel, None)],
            n_locs=n_locs,
        )
        for channel in ([None] if joined and found else found)
    ]


def _joint(channels: Sequence[Embedded], scores: "pa.Table | None") -> list[EmbeddingScore]:
    """Scores of no channel where there are channels."""
    alone = all(part.channel is None for part in channels)
    return [] if alone else [score for score in _records(EmbeddingScore, scores) if score.channel is None]


def _records(kind: type, table: "pa.Table | None") -> list[Any]:
    """Rows as records; null numbers become NaN, a null channel stays None."""
    if table is None:
        return []
    fields = [f for f in dataclasses.fields(kind) if f.name in table.column_names]
    columns = [
        [math.nan if cell is None else cell for cell in table[f.name].to_pylist()] if f.type is float else table[f.name].to_pylist()
        for f in fields
    ]
    return [kind(**dict(zip((f.name for f in fields), cells, strict=True))) for cells in zip(*columns, strict=True)]
