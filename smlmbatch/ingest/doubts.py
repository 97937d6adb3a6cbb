"""What looks wrong in a file that can be read: a table of rules, each with its threshold.

A rule looks at the facts of one file and says a sentence, or nothing. A warning stops nothing: the file will be read as it
is, and who knows the experiment knows whether the warning matters. Rules about shapes of distributions look at the sample
of `survey`; they ask for enough locs that chance can't raise them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.ingest.clean import NO_PRECISION, Z_AT_LIMIT, Tally
from smlmbatch.ingest.source import Source
from smlmbatch.ingest.survey import Copies, Sample

# What a microscope can't give: a field of view narrower or wider than this has its unit wrong.
SMALLEST_NM: Final = 2e3
LARGEST_NM: Final = 5e6
# z: less than any axial precision, more than any focus.
THINNEST_NM: Final = 5.0
THICKEST_NM: Final = 5e4
# Lateral precision: MINFLUX reaches 1 nm, the diffraction limit is 200 nm.
BEST_PRECISION_NM: Final = 0.2
WORST_PRECISION_NM: Final = 200.0
OUTLIER_FACTOR: Final = 5.0  # times the median precision: a fit that did not converge
MOST_OUTLIERS: Final = 0.01
MOST_WITHOUT_PRECISION: Final = 0.01
MOST_COPIES: Final = 0.001
FEWEST_COPIES: Final = 10  # locs; below this a share says nothing
LEAST_OF_CHANNEL: Final = 0.01
MOST_AT_Z_LIMIT: Final = 0.005  # share at exactly the lowest or highest z
COARSE_GRID_NM: Final = 1.0
_SAID_BY_A_RULE: Final = frozenset({NO_PRECISION, Z_AT_LIMIT})
_NO_CHANCE: Final = 30.0  # expected pairs closer than a grid's step, were there no grid: exp(-30) is no chance
LATE_FIRST_FRAME: Final = (100, 0.05)  # frames, and share of the last frame
GAP: Final = 0.1  # share of the frames without a loc, with ...
GAP_NEIGHBOURS: Final = 0.05  # ... this share of the locs on either side: the end of a bleached movie is no gap
GAP_LOCS: Final = 1000  # fewer leave gaps by chance
MOST_DARK: Final = 0.01  # share of locs without photons
# A distribution that ends by itself thins out. Between its median and its extreme on a logarithmic scale, the outermost 2 %
# hold one or two locs of an exponential tail, 0.06 % of a triangle; after a cut at the 99th percentile they hold 0.17 %. In
# twelve files of five programs that nobody had filtered, 8 locs at most (psf and z included).
EDGE_WIDTH: Final = 0.02
EDGE_SHARE: Final = 0.001
EDGE_LOCS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rules look at: the file as it was read, ingest's tally of it, and the survey's figures.

    Attributes
    ----------
    n_per_channel : channel name → locs
    sample : quantity → (k,), the survey's sample, precisions without NaN
    precision_median_nm, copies : as in the report
    first_frame : as the file counts
    """

    source: Source
    tally: Tally
    n_per_channel: dict[str, int]
    sample: dict[str, NDArray[Any]]
    precision_median_nm: float | None
    copies: float

    @property
    def share_without_precision(self) -> float:
        """Share of locs whose precision is no positive number; 0 without a precision column."""
        return self.tally.warnings[NO_PRECISION] / self.tally.n

    def has(self, quantity: str) -> bool:
        return any(use.quantity == quantity for use in self.source.resolved.uses)


def facts_of(source: Source, tally: Tally, n_per_channel: dict[str, int], sample: Sample, copies: Copies) -> Facts:
    """Gather the facts of a file that was streamed to its end."""
    columns = sample.columns()
    precision = columns.get("precision_nm")
    if precision is not None:
        columns["precision_nm"] = precision = precision[~np.isnan(precision)]
    whole = precision is not None and sample.stride == 1 and len(precision) > 0
    return Facts(
        source=source,
        tally=tally,
        n_per_channel=n_per_channel,
        sample=columns,
        precision_median_nm=float(np.median(precision)) if whole and precision is not None else tally.precision.estimate(),
        copies=copies.share(),
    )


def doubts(facts: Facts) -> list[tuple[str, str]]:
    """(rule, sentence) of the rules that have something to say, in the table's order; last, what ingest itself notices."""
    found = [(name, text) for name, rule in RULES if (text := rule(facts))]
    noticed = [(reason, n) for reason, n in sorted(facts.tally.warnings.items()) if n and reason not in _SAID_BY_A_RULE]
    return found + [("noticed", reason if n == 1 else f"{reason}: {n} localisations") for reason, n in noticed]


# ---- positions


def _width(facts: Facts) -> str:
    side_nm = max(axis.high - axis.low for axis in (facts.tally.x_nm, facts.tally.y_nm))
    if side_nm < SMALLEST_NM:
        return f"the field is only {side_nm / 1e3:.3g} um wide: is the unit right?"
    return f"the field is {side_nm / 1e6:.3g} mm wide: is the unit right?" if side_nm > LARGEST_NM else ""


def _depth(facts: Facts) -> str:
    depth_nm = facts.tally.z_nm.high - facts.tally.z_nm.low
    if facts.tally.dims == 2 or THINNEST_NM <= depth_nm <= THICKEST_NM:
        return ""
    return f"z spans {depth_nm:.3g} nm: is its unit right?"


def _z_limit(facts: Facts) -> str:
    z = facts.tally.z_nm
    at_limit = [
        (value, n) for value, n in ((z.low, z.n_low), (z.high, z.n_high)) if n >= max(FEWEST_COPIES, MOST_AT_Z_LIMIT * facts.tally.n)
    ]
    if facts.tally.dims == 2 or not at_limit:
        return ""
    share = sum(n for _, n in at_limit) / facts.tally.n
    return f"{share:.1%} of z are exactly {' or '.join(f'{value:g}' for value, _ in at_limit)} nm, the limit: such fits have no z"


def _grid(facts: Facts) -> str:
    steps = [_step(facts.sample[name]) for name in ("x_nm", "y_nm")]
    if min(steps) < COARSE_GRID_NM:
        return ""
    return f"positions lie on a grid of {min(steps):.3g} nm: were digits lost when the file was written?"


def _step(values: NDArray[np.float64]) -> float:
    """The smallest difference of values that differ, where a grid alone explains that it is so large; else 0."""
    unique = np.unique(values)
    if len(unique) < 3:
        return 0.0
    step = float(np.diff(unique).min())
    return step if len(unique) ** 2 * step / (unique[-1] - unique[0]) > _NO_CHANCE else 0.0


def _copies(facts: Facts) -> str:
    if facts.copies <= MOST_COPIES or facts.copies * facts.tally.n < FEWEST_COPIES:
        return ""
    what = "x, y and frame" if facts.has("frame") else "x and y"
    return f"{facts.copies:.2%} of the localisations repeat another one exactly ({what}): was something joined twice?"


# ---- precision and photons


def _precision(facts: Facts) -> str:
    median = facts.precision_median_nm
    if not facts.has("precision_nm"):
        return "there is no precision column"
    if median is None or BEST_PRECISION_NM <= median <= WORST_PRECISION_NM:
        return ""
    return f"the median precision is {median:.3g} nm: is the unit right?"


def _without_precision(facts: Facts) -> str:
    share = facts.share_without_precision
    return f"{share:.1%} of the precisions are no positive number" if share > MOST_WITHOUT_PRECISION else ""


def share_of_outliers(facts: Facts) -> float:
    """Share of the sampled precisions above OUTLIER_FACTOR medians."""
    values, median = facts.sample.get("precision_nm"), facts.precision_median_nm
    return float((values > OUTLIER_FACTOR * median).mean()) if values is not None and median and len(values) else 0.0


def _outliers(facts: Facts) -> str:
    share = share_of_outliers(facts)
    return f"{share:.1%} of the precisions are above {OUTLIER_FACTOR:g} times the median" if share > MOST_OUTLIERS else ""


def _precision_edge(facts: Facts) -> str:
    return _edges("precisions", " nm", facts.sample.get("precision_nm"))


def _photons_edge(facts: Facts) -> str:
    return _edges("photons", "", facts.sample.get("photons"))


def _edges(what: str, unit: str, values: NDArray[np.float32] | None) -> str:
    """A sentence about the ends at which a distribution stops abruptly."""
    if values is None:
        return ""
    values = values[(values > 0) & (values < np.inf)]
    found = []
    for edge in (float(values.min()), float(values.max())) if len(values) else ():
        n, n_equal = _at_edge(values, edge)
        if n >= max(EDGE_LOCS, EDGE_SHARE * len(values)):
            end = (f"{edge:,.0f}" if edge >= 1000 else f"{edge:.3g}") + unit
            piled = f"{n_equal / len(values):.1%} of the {what} are exactly {end}"
            found.append(piled if 2 * n_equal > n else f"the {what} end abruptly at {end}")
    return f"{' and '.join(found)}: was a filter or a limit already applied?" if found else ""


def _at_edge(values: NDArray[np.float32], edge: float) -> tuple[int, int]:
    """Locs within EDGE_WIDTH of the way (in logarithms) from an extreme to the median, and those exactly at it; 0 if all are alike."""
    log_edge = np.log(edge)
    width = EDGE_WIDTH * abs(log_edge - np.log(float(np.median(values))))
    if width == 0.0:
        return 0, 0
    return int((np.abs(np.log(values.astype(np.float64)) - log_edge) <= width).sum()), int((values == np.float32(edge)).sum())


def _photons(facts: Facts) -> str:
    values = facts.sample.get("photons")
    if values is None or len(values) < 2:
        return ""
    if values.min() == values.max():
        return f"photons are {values[0]:g} throughout"
    share = float((~(values > 0)).mean())
    return f"{share:.1%} of the photons are no positive number" if share > MOST_DARK else ""


# ---- frames and channels


def _frames(facts: Facts) -> str:
    frame, n = facts.tally.frame, facts.tally.n
    if frame.pair() is None:
        return "there is no frame column"
    if n > 1 and frame.low == frame.high:
        return f"all localisations are of frame {frame.low:.0f}"
    if frame.low > max(LATE_FIRST_FRAME[0], LATE_FIRST_FRAME[1] * frame.high):
        return f"the first frame is {frame.low:.0f}: was the beginning cut off?"
    return ""


def _gap(facts: Facts) -> str:
    if "frame" not in facts.sample:
        return ""
    frames = np.sort(facts.sample["frame"])
    edge = int(np.ceil(GAP_NEIGHBOURS * len(frames)))
    middle = frames[max(edge, 1) - 1 : len(frames) - max(edge, 1) + 1]
    if len(middle) < 2:
        return ""
    at = int(np.argmax(np.diff(middle)))
    gap = int(middle[at + 1]) - int(middle[at]) - 1
    if gap <= GAP * (int(frames[-1]) - int(frames[0])) or len(frames) < GAP_LOCS:
        return ""
    return f"no localisation between frames {middle[at]} and {middle[at + 1]}: is a part missing?"


def _rare_channel(facts: Facts) -> str:
    counts = facts.n_per_channel
    rare = [f"{name} ({n / facts.tally.n:.2%})" for name, n in counts.items() if len(counts) > 1 and n < LEAST_OF_CHANNEL * facts.tally.n]
    return f"hardly any localisation is of {', '.join(rare)}: is it a channel?" if rare else ""


# ---- what was dropped


def _dropped(facts: Facts) -> str:
    tally = facts.tally
    if tally.n == tally.n_read:
        return ""
    reasons = ", ".join(f"{reason}: {n}" for reason, n in sorted(tally.dropped.items()) if n)
    first = f"; first malformed {facts.source.malformed.first}" if facts.source.malformed.first else ""
    return f"{tally.n_read - tally.n} of {tally.n_read} records are dropped ({reasons}{first})"


RULES: Final[tuple[tuple[str, Callable[[Facts], str]], ...]] = (
    ("width", _width),
    ("depth", _depth),
    ("precision", _precision),
    ("dropped", _dropped),
    ("without precision", _without_precision),
    ("precision outliers", _outliers),
    ("precision cut", _precision_edge),
    ("photons", _photons),
    ("photons cut", _photons_edge),
    ("z limit", _z_limit),
    ("grid", _grid),
    ("copies", _copies),
    ("frames", _frames),
    ("frame gap", _gap),
    ("rare channel", _rare_channel),
)
