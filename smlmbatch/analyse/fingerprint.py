"""What state of the campaign its tables were made of. Light: a run that changes nothing reads only this."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

FINGERPRINT_KEY: Final = b"smlmbatch_fingerprint"
MADE_WITH_KEY: Final = b"smlmbatch_made_with"  # of `embeddings`: model, settings and device as JSON, so that vectors are never without it
UMAP_KEY: Final = (
    b"smlmbatch_umap"  # of `embeddings`: channels whose map is UMAP (null = all together), as JSON; others have principal axes
)
ORDER_NAMES: Final = ("order", "order_bins", "order_axes", "order_comparisons")  # of particles in order
TABLE_NAMES: Final = ("fields", "rois", "quality", "comparisons", "clusters", "cluster_comparisons", "particles", *ORDER_NAMES)
# of the embedding; with a fingerprint of their own, as they take long and depend on less
EMBEDDING_NAMES: Final = ("embeddings", "embedding_scores", "embedding_clusters", "embedding_distances", "embedding_flags")
ALL_NAMES: Final = (*TABLE_NAMES, *EMBEDDING_NAMES)


def tables_fingerprint(output: Path, names: Sequence[str] = TABLE_NAMES) -> str | None:
    """The fingerprint all these tables carry; None if one is missing, unreadable or of another campaign's state."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = set()
    for path in (table_path(output, name) for name in names):
        try:
            metadata = pq.read_schema(path).metadata or {}
        except (FileNotFoundError, NotADirectoryError, pa.ArrowInvalid):
            return None
        found.add(metadata.get(FINGERPRINT_KEY, b"").decode())
    return found.pop() or None if len(found) == 1 else None


def table_path(output: Path, name: str) -> Path:
    """Where a table of `ALL_NAMES` lies."""
    return output / "tables" / f"{name}.parquet"
