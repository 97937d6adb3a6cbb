"""Words and numbers of the report: what a descriptor is called, how a number is written, what to do about a warning."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from smlmbatch.store.schema import SCHEMA

NONE = "\u2013"  # stands where there is no number
_THIN = "\u202f"  # narrow space, does not break


@dataclass(frozen=True, slots=True)
class Title:
    """How a descriptor is shown: its name, its unit, what its value is divided by to be in that unit, and most decimals."""

    name: str
    unit: str
    divisor: float = 1.0
    decimals: int = 6

    def __str__(self) -> str:
        return f"{self.name} ({self.unit})"

    def measured(self, value: float, *, digits: int = 3) -> str:
        r"""A value in the descriptor's own unit as it is shown, with the unit.

        >>> print(ascii(Title("Length", "10 nm", 10.0).measured(43.21)))
        '4.32\u202f\xd7\u202f10 nm'
        """
        times = "\u00d7\u202f" if self.unit[:1].isdigit() else ""
        return f"{number(value / self.divisor, digits=digits)}\u202f{times}{self.unit}"


# In the order in which they are shown.
_TITLES = {
    "density_per_um2": Title("Density", "locs/µm²"),
    "n_locs": Title("Locs per ROI", "locs", decimals=1),
    "n_clusters": Title("Clusters per ROI", "clusters", decimals=2),
    "noise_fraction": Title("Locs outside clusters", "%", 0.01),
    "locs_per_cluster": Title("Locs per cluster", "locs", decimals=1),
    "cluster_area_nm2": Title("Cluster area", "10³ nm²", 1000.0),
    "cluster_radius_nm": Title("Cluster radius of gyration", "nm"),
    "nn_mean_nm": Title("Nearest neighbour, mean", "nm"),
    "nn_median_nm": Title("Nearest neighbour, median", "nm"),
    "ripley_max_nm": Title("Maximum of L(r) \u2212 r", "nm"),
    "ripley_peak_nm": Title("Radius of the L(r) \u2212 r maximum", "nm"),
    # of the stage `cluster`, in whole fields; those above are DBSCAN's in single ROIs
    "clusters_per_um2": Title("Clusters per area", "1/µm²"),
    "clustered_share": Title("Locs in clusters", "%", 0.01),
    "cluster_locs": Title("Locs per cluster", "locs", decimals=1),
    "cluster_molecules": Title("Molecules per cluster", "molecules", decimals=1),
    "cluster_gyration_nm": Title("Radius of gyration", "nm"),
    "cluster_hull_nm2": Title("Area of the hull", "10³ nm²", 1000.0),
    "cluster_eccentricity": Title("Eccentricity", "0 round, 1 line"),
    "cluster_nearest_nm": Title("Nearest other cluster", "nm"),
    # of particles in order
    "pc1": Title("Place along principal axis 1", "a. u."),
    "pc2": Title("Place along principal axis 2", "a. u."),
    "pc3": Title("Place along principal axis 3", "a. u."),
    "supervised": Title("Place along the known value", "a. u."),
    "circle_radius_nm": Title("Radius, circle fit", "nm"),
    "mean_radius_nm": Title("Radius, mean distance", "nm"),
    "median_radius_nm": Title("Radius, median distance", "nm"),
    "layer_height_nm": Title("Height, two layers", "nm"),
    "level_height_nm": Title("Height, two Gaussians", "nm"),
    "n_points": Title("Locs per particle", "locs", decimals=1),
}
_NOT_SHOWN = ("ripley_n",)  # bookkeeping, in the tables only


def titles(descriptors: Iterable[str]) -> dict[str, Title]:
    """Descriptors to show, in order; one that has no title here goes by its own name and unit."""
    names = set(descriptors)
    known = {name: title for name, title in _TITLES.items() if name in names}
    others = sorted(names - set(_TITLES) - set(_NOT_SHOWN))
    return known | {name: Title(name.replace("_", " "), SCHEMA["measure"][name].unit) for name in others}


def in_sentence(name: str) -> str:
    """A title within a sentence; names and symbols keep their capital.

    >>> in_sentence("Cluster area"), in_sentence("ROIs"), in_sentence("Maximum of L(r)")
    ('cluster area', 'ROIs', 'maximum of L(r)')
    """
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


# ---- numbers


def count(n: int | None) -> str:
    """A whole number with thousands set apart.

    >>> count(1234567), count(None) == NONE
    ('1,234,567', True)
    """
    return NONE if n is None else f"{n:,}"


def counted(n: int, one: str, many: str | None = None) -> str:
    """Number and noun.

    >>> counted(1, "field"), counted(0, "file")
    ('1 field', '0 files')
    """
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def number(value: float | None, *, digits: int = 3) -> str:
    """A measured value with so many significant digits, whole digits always kept.

    >>> number(0.123456), number(12.3456), number(123456.0), number(float("nan")) == NONE
    ('0.123', '12.3', '123,456', True)
    """
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.{_decimals(value, digits)}f}"


def _decimals(value: float, digits: int) -> int:
    """Decimals that show `digits` significant digits of value."""
    return 0 if value == 0 or not math.isfinite(value) else min(6, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def mean_and_sd(mean: float, sd: float, *, most: int = 6) -> tuple[str, str]:
    """Both with the decimals that two significant digits of the standard deviation need, four of the mean at most.

    Parameters
    ----------
    most : decimals not to go beyond, unless a value would be shown as 0

    >>> mean_and_sd(123.456, 1.234), mean_and_sd(0.5, float("nan")) == ("0.500", NONE)
    (('123.5', '1.2'), True)
    >>> mean_and_sd(0.04, 0.0812, most=2)
    ('0.04', '0.08')
    """
    if not math.isfinite(mean):
        return NONE, NONE
    spread = sd if math.isfinite(sd) else 0.0
    decimals = min(_decimals(spread, 2), _decimals(mean, 4)) if spread else _decimals(mean, 3)
    decimals = min(decimals, max(most, _decimals(mean, 1), _decimals(spread, 1)))
    return f"{mean:,.{decimals}f}", f"{sd:,.{decimals}f}" if math.isfinite(sd) else NONE


def rounded(value: float, low: float, high: float) -> tuple[str, str, str]:
    """A value and its interval, all with the decimals that two significant digits of the interval's half need, three of the value at most.

    >>> rounded(1.8234, 1.4877, 2.2141), rounded(-0.5, float("nan"), 3.0) == ("\u22120.500", NONE, "3.000")
    (('1.82', '1.49', '2.21'), True)
    """
    half = (high - low) / 2
    if not math.isfinite(half) or half <= 0:
        decimals = _decimals(value, 3)
    else:
        decimals = min(_decimals(half, 2), _decimals(value, 3)) if value else _decimals(half, 2)
    shown, shown_low, shown_high = (_signed(x, decimals) for x in (value, low, high))
    return shown, shown_low, shown_high


def _signed(value: float, decimals: int) -> str:
    """With a true minus sign, and none before a zero."""
    return f"{value:z,.{decimals}f}".replace("-", "\u2212") if math.isfinite(value) else NONE


def p_value(p: float) -> str:
    """A probability with two significant digits, three decimals at most.

    >>> p_value(0.0314), p_value(0.2), p_value(1e-5), p_value(1.0), p_value(float("nan")) == NONE
    ('0.031', '0.20', '<0.001', '1', True)
    """
    if not math.isfinite(p):
        return NONE
    if p < 0.001:
        return "<0.001"
    return "1" if p >= 0.995 else f"{p:.{min(3, 1 - math.floor(math.log10(p)))}f}"


def p_said(p: float) -> str:
    """The same in a sentence.

    >>> p_said(0.0314).split(), p_said(1e-5).split()
    (['p', '=', '0.031'], ['p', '<', '0.001'])
    """
    shown = p_value(p)
    return f"p\u00a0<\u00a0{shown[1:]}" if shown.startswith("<") else f"p\u00a0=\u00a0{shown}"


def percent(part: int, whole: int) -> str:
    """A share, with a digit more where it is small but not nothing.

    >>> percent(1, 3), percent(1, 1000), percent(0, 5), percent(1, 10**6)
    ('33\u202f%', '0.1\u202f%', '0\u202f%', '<0.1\u202f%')
    """
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 0.1:
        return f"<0.1{_THIN}%"
    return f"{share:.{1 if 0 < share < 1 else 0}f}{_THIN}%"


def length(value_nm: float) -> str:
    """A length with its unit.

    >>> length(5000.0), length(500.0)
    ('5\u202fµm', '500\u202fnm')
    """
    return f"{value_nm / 1000:g}{_THIN}µm" if value_nm >= 1000 else f"{value_nm:g}{_THIN}nm"


_SHARE = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]\d+)?) %")


def told(text: str, *, share: str = "") -> str:
    """A check's sentence as the page shows it: true minus signs, its percentage as the lights show it.

    Parameters
    ----------
    share : the check's value, where it is a percentage

    >>> told("x -11, y +11 (--roi-nm)") == "x \u221211, y +11 (--roi-nm)", told("20 % of 3.", share="20.4\u202f%")
    (True, '20.4\u202f% of 3.')
    """
    return re.sub(r"(?<![\w.\u2013-])-(?=\d)", "\u2212", _SHARE.sub(share, text, count=1) if share else text)


# ---- warnings and hints


@dataclass(frozen=True, slots=True)
class _Check:
    """A warning about one field: when, and what to say."""

    when: Any
    say: Any


def _above(row: Mapping[str, Any], name: str, limit: float) -> bool:
    return row[name] is not None and row[name] > limit


def _below(row: Mapping[str, Any], name: str, limit: float) -> bool:
    return row[name] is not None and row[name] < limit


# Limits: a camera's field at 100 nm pixels is 20 to 200 um wide; single-molecule precision is 1 (MINFLUX) to 50 nm.
_CHECKS = (
    _Check(lambda r: r["n"] == 0, lambda r: "no locs"),
    _Check(
        lambda r: r["n"] and (_above(r, "extent_x_um", 500) or _above(r, "extent_y_um", 500)),
        lambda r: "extent above 500 µm: pixel size applied twice, or stray locs?",
    ),
    _Check(
        lambda r: r["n"] and _below(r, "extent_x_um", 2) and _below(r, "extent_y_um", 2),
        lambda r: "extent below 2 µm: pixels or µm read as nm?",
    ),
    _Check(lambda r: _above(r, "precision_median_nm", 60), lambda r: "median precision above 60 nm: unit?"),
    _Check(lambda r: _below(r, "precision_median_nm", 0.5), lambda r: "median precision below 0.5 nm: unit?"),
    _Check(lambda r: r["n"] and r["n_rois"] == 0, lambda r: "no cell found"),
    _Check(lambda r: r["n_rois"] and r["n_rois_kept"] == 0, lambda r: "no ROI kept"),
    _Check(lambda r: r["n_rois_kept"] is not None and 0 < r["n_rois_kept"] < 5, lambda r: "few ROIs"),
    _Check(
        lambda r: r["n_dropped"] and r["n_dropped"] > 0.01 * r["n_read"],
        lambda r: f"{rows_dropped(r)} ({percent(r['n_dropped'], r['n_read'])})",
    ),
)


def rows_dropped(row: Mapping[str, Any]) -> str:
    """How many rows of a field were no valid loc."""
    return f"{counted(row['n_dropped'], 'row')} dropped"


def warnings_of(row: Mapping[str, Any]) -> list[str]:
    """What a user should look at in one row of fields.parquet: the reader's own warnings, then those of the numbers."""
    said = [name if n == 1 else f"{name} ({count(n)})" for name, n in row["warnings"] or []]
    return said + [check.say(row) for check in _CHECKS if check.when(row)]


# A word in the reason → what to change.
_ROI_HINTS = (
    (
        ("coverage", "cell", "outline", "inside"),
        "Cells smaller than the ROI, or ragged: run again with a smaller --roi-nm or --min-coverage, and --update.",
    ),
    (
        ("loc", "count", "few"),
        "Sparse ROIs: run again with a smaller --min-locs and --update, or look whether the outline takes in background.",
    ),
)
NO_ROI_HINT = (
    "Outlines were found there, but none holds a ROI. To take the whole field instead, run again with --outline field and --update."
)


def roi_hint(reason: str) -> str:
    """What to change so that fewer ROIs are dropped for this reason."""
    return next((hint for words, hint in _ROI_HINTS if any(word in reason.lower() for word in words)), "")
