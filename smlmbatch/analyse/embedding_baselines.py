"""What an embedding is held against: the number of locs alone, and the plain descriptors of the stage measure."""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.columns import DESCRIPTORS

if TYPE_CHECKING:
    import pyarrow as pa

# density says what the number of locs does; how many K was computed of describes no sample
DESCRIBED: Final = tuple(name for name in DESCRIPTORS if name not in ("n_locs", "ripley_n"))


def log_n(n_locs: NDArray[np.integer]) -> NDArray[np.float64]:
    """Natural logarithm of the number of locs, (n, 1)."""
    return np.asarray(np.log(np.maximum(n_locs, 1).astype(np.float64))[:, None])


def descriptor_vectors(rows: "pa.Table") -> tuple[NDArray[np.float64], str]:
    """Descriptors, z-scored, and what to know of them.

    An undefined value counts as the median; a column that never varies falls away (of all, one of zeros is left).

    Parameters
    ----------
    rows : with the columns of `DESCRIBED`, null where undefined

    Returns
    -------
    (n, d) f8, and a note ("" = nothing to know)
    """
    columns, n_undefined = [], 0
    for name in DESCRIBED:
        values = rows[name].to_numpy(zero_copy_only=False).astype(np.float64)
        undefined = ~np.isfinite(values)
        n_undefined += int(undefined.sum())
        if not undefined.all():
            values = np.where(undefined, np.median(values[~undefined]), values)
            columns.append(values)
    varying = [values for values in columns if values.std() > 1e-12 * np.abs(values).max(initial=0.0)]
    vectors = np.column_stack([(values - values.mean()) / values.std() for values in varying] or [np.zeros(len(rows))])
    note = f"{n_undefined} of {len(DESCRIBED) * len(rows)} values undefined, the descriptor's median instead" if n_undefined else ""
    return vectors, note
