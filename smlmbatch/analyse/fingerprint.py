"""What state of the campaign its tables were made of. Light: a run that changes nothing reads only this."""

from pathlib import Path
from typing import Final

FINGERPRINT_KEY: Final = b"smlmbatch_fingerprint"
TABLE_NAMES: Final = ("fields", "rois", "quality", "comparisons")


def tables_fingerprint(output: Path) -> str | None:
    """The fingerprint all tables carry; None if one is missing, unreadable or of another campaign's state."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = set()
    for path in (table_path(output, name) for name in TABLE_NAMES):
        try:
            metadata = pq.read_schema(path).metadata or {}
        except (FileNotFoundError, NotADirectoryError, pa.ArrowInvalid):
            return None
        found.add(metadata.get(FINGERPRINT_KEY, b"").decode())
    return found.pop() or None if len(found) == 1 else None


def table_path(output: Path, name: str) -> Path:
    """Where a table of `TABLE_NAMES` lies."""
    return output / "tables" / f"{name}.parquet"
