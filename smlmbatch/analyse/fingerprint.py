"""What state of the campaign its tables were made of. Light: a run that changes nothing reads only this."""

from pathlib import Path
from typing import Final

FINGERPRINT_KEY: Final = b"smlmbatch_fingerprint"


def tables_fingerprint(output: Path) -> str | None:
    """The fingerprint both tables carry; None if one is missing, unreadable or of another campaign's state."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = set()
    for path in table_paths(output):
        try:
            metadata = pq.read_schema(path).metadata or {}
        except (FileNotFoundError, NotADirectoryError, pa.ArrowInvalid):
            return None
        found.add(metadata.get(FINGERPRINT_KEY, b"").decode())
    return found.pop() or None if len(found) == 1 else None


def table_paths(output: Path) -> tuple[Path, Path]:
    return output / "tables" / "fields.parquet", output / "tables" / "rois.parquet"
