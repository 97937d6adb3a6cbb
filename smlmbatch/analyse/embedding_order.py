"""Whether embeddings follow an order that the experiment has: doses, times, lengths of treatment.

Where each condition's name holds one number and otherwise the same text ("0 nM", "5 nM"), or the sheet has a column such as `dose` or
`time_min`, the ROIs' places along the leading principal axis are correlated with it (Spearman, without its sign: an axis has none).
The axis knows nothing of the order. ROIs of a replicate are alike, so the p is that of replicates' means, by permutation of all their
arrangements where these are few.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import factorial, prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

NAMES_ORDER: Final = "conditions"  # what the order that conditions' names state is called
LEAST_STEPS: Final = 3  # two steps have no order
_EXACT: Final = 20_000  # arrangements that are all gone through; above, as many are drawn
_NUMBER: Final = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+(?:\.\d+)?")
_SAYS_ORDER: Final = re.compile(r"(dose|conc|concentration|time|duration|minutes|min|hours?|days?|age|temperature)(_.*)?", re.IGNORECASE)
_PIECE = 1 << 16

Vectors = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Order:
    """What is ordered (a name for it), and the number of each of its values."""

    name: str
    number: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class OrderFound:
    """Rank correlation of the leading axis with the order, without sign.

    Attributes
    ----------
    of_rois : of ROIs, each by itself
    of_replicates : of replicates' means; NaN where these don't vary
    p : share of arrangements of replicates with as large a correlation; NaN where there is none
    exact : whether all arrangements were gone through
    """

    of_rois: float
    of_replicates: float
    p: float
    exact: bool
    n_replicates: int


def order_of_names(names: Sequence[str], *, reference: str = "") -> Order | None:
    """The order that conditions' names state; None where they state none.

    Parameters
    ----------
    reference : a condition without a number counts as 0 if it is this one

    >>> order_of_names(["0 nM", "10 nM", "2 nM"]).number
    {'0 nM': 0.0, '10 nM': 10.0, '2 nM': 2.0}
    >>> order_of_names(["ctrl", "5 min", "15 min"]), order_of_names(["ctrl", "5 min", "15 min"], reference="ctrl").number["ctrl"]
    (None, 0.0)
    >>> order_of_names(["5 min", "5 nM", "3 nM"]), order_of_names(["1 to 2", "2 to 3", "3 to 4"])
    (None, None)
    """
    found: dict[str, float] = {}
    texts = set()
    for name in names:
        numbers = list(_NUMBER.finditer(name))
        if not numbers and name == reference:
            found[name] = 0.0
            continue
        if len(numbers) != 1:
            return None
        found[name] = float(numbers[0].group())
        texts.add(" ".join((name[: numbers[0].start()] + "#" + name[numbers[0].end() :]).casefold().split()))
    return Order(NAMES_ORDER, found) if len(texts) == 1 and _enough(found) else None


def order_of_column(name: str, values: Sequence[str]) -> Order | None:
    """The order that a column of the sheet states; None unless its name says so and all its values are numbers.

    >>> order_of_column("dose_nM", ["0", "5", "10", ""]).number
    {'0': 0.0, '5': 5.0, '10': 10.0}
    >>> order_of_column("batch", ["1", "2", "3"]), order_of_column("dose", ["low", "high", "0"])
    (None, None)
    """
    if not _SAYS_ORDER.fullmatch(name):
        return None
    try:
        found = {value: float(value) for value in dict.fromkeys(values) if value}
    except ValueError:
        return None
    return Order(name, found) if _enough(found) else None


def _enough(found: Mapping[str, float]) -> bool:
    return all(np.isfinite(number) for number in found.values()) and len(set(found.values())) >= LEAST_STEPS


def leading_axis(vectors: Vectors) -> NDArray[np.float64]:
    """Place of each row along the leading principal axis, (n,) f8 around 0; zeros where rows don't vary.

    Its sign makes the axis' largest component positive: an axis has no sign of its own, and must not turn from run to run.
    """
    return principal_axes(vectors, 1)[:, 0]


def principal_axes(vectors: Vectors, n_axes: int) -> NDArray[np.float64]:
    """Places along the leading principal axes, (n, n_axes) f8; by the covariance, piece by piece, so that memory stays small."""
    from threadpoolctl import threadpool_limits

    found = np.zeros((len(vectors), n_axes))
    if len(vectors) < 2:
        return found
    pieces = [slice(start, start + _PIECE) for start in range(0, len(vectors), _PIECE)]
    mean = sum(vectors[piece].astype(np.float64).sum(axis=0) for piece in pieces) / len(vectors)
    with threadpool_limits(1):
        scatter = sum((centred := vectors[piece] - mean).T @ centred for piece in pieces)
        axes = np.linalg.eigh(scatter)[1][:, ::-1][:, :n_axes]
        axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)
        for piece in pieces:
            found[piece, : axes.shape[1]] = (vectors[piece] - mean) @ axes
    return found


def follow(
    place: NDArray[np.float64], number: NDArray[np.float64], replicate: NDArray[np.integer], *, rng: np.random.Generator
) -> OrderFound:
    """How well places on an axis follow an order.

    Parameters
    ----------
    place, number : (n,) of ROIs
    replicate : (n,) codes; a replicate that has several numbers counts as one of each
    """
    _, code = np.unique(np.column_stack([replicate.astype(np.float64), number]), axis=0, return_inverse=True)
    code = code.reshape(-1)
    size = np.bincount(code)
    means, steps = (np.bincount(code, values) / size for values in (place, number))
    of_replicates = _spearman(means, steps)
    p, exact = _p_of(means, steps, rng=rng) if np.isfinite(of_replicates) else (np.nan, False)
    return OrderFound(_spearman(place, number), of_replicates, p, exact, len(size))


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    ranks = _ranks(a), _ranks(b)
    size = np.prod([np.linalg.norm(r) for r in ranks])
    return float(abs(ranks[0] @ ranks[1]) / size) if size > 0 else np.nan


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    ranks = np.asarray(rankdata(values), dtype=np.float64)
    return np.asarray(ranks - ranks.mean())


def _p_of(means: NDArray[np.float64], steps: NDArray[np.float64], *, rng: np.random.Generator) -> tuple[float, bool]:
    """(share of arrangements with at least this |correlation|, whether all were gone through)."""
    ranks, own = _ranks(means), _ranks(steps)
    found = abs(ranks @ own) * (1.0 - 1e-12)
    sizes = np.unique(own, return_counts=True)[1]
    if len(own) <= 12 and factorial(len(own)) // prod(factorial(int(size)) for size in sizes) <= _EXACT:
        arranged = np.array(_arrangements(own.tolist()))
        return float((np.abs(arranged @ ranks) >= found).mean()), True
    drawn = np.array([rng.permutation(own) @ ranks for _ in range(_EXACT)])
    return float(((np.abs(drawn) >= found).sum() + 1) / (_EXACT + 1)), False


def p_text(p: float) -> str:
    """A p as the report writes it.

    >>> p_text(0.0123), p_text(5e-05), p_text(1.0)
    ('p = 0.012', 'p < 0.001', 'p = 1')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _arrangements(values: Sequence[float]) -> list[tuple[float, ...]]:
    """All distinct orders of values, some of which are equal.

    >>> _arrangements([1.0, 1.0, 2.0])
    [(1.0, 1.0, 2.0), (1.0, 2.0, 1.0), (2.0, 1.0, 1.0)]
    """
    if not values:
        return [()]
    found = []
    for first in sorted(set(values)):
        rest = list(values)
        rest.remove(first)
        found += [(first, *others) for others in _arrangements(rest)]
    return found
