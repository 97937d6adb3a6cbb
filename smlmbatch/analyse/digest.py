"""The digest of a table's values: what `verify` prints, and what exports say they were made of."""

import hashlib
from pathlib import Path


def table_digest(path: Path) -> str:
    """Digest of a Parquet table's values: names, types, nulls and values, whatever its row groups or codec."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    digest = hashlib.sha256(f"{table.num_rows}".encode())
    for name in table.column_names:
        column = table.column(name)
        digest.update(f"|{name}|{column.type}|".encode())
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            digest.update(np.asarray(column.is_null()).tobytes() + np.asarray(column.fill_null(0)).tobytes())
        elif pa.types.is_fixed_size_list(column.type) and not column.null_count:  # vectors
            for chunk in column.chunks:
                digest.update(np.asarray(chunk.flatten()).tobytes())
        else:  # strings, booleans, lists, maps
            digest.update(repr(column.to_pylist()).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
