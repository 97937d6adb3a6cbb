"""What the formats call their columns: data, no code. Programs that write tables of text stand in `vendors`.

A `Rule` says which source columns may fill a quantity, best first, and in which unit they come.

Sources: Picasso's documentation of its file formats, SMAP's saveloc structure; the rest from sample files of each
program.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

# Length units as written in headers and maps. The micro sign and the Greek mu are two characters that look alike.
LENGTH_NM: Final[Mapping[str, float]] = MappingProxyType({"nm": 1.0, "um": 1e3, "\u00b5m": 1e3, "\u03bcm": 1e3, "mm": 1e6, "m": 1e9})
PIXEL_UNITS: Final = frozenset({"px", "pixel", "pixels"})

SUFFIX: Final = "suffix"  # the unit stands in square brackets after the column's name
STATED: Final = "stated"  # the file's head says it, or else the user
AXIAL: Final = "axial"  # like STATED, but nm where x and y are in pixels: a pixel has no depth
PIXEL: Final = "px"
NM: Final = "nm"
UM: Final = "um"
PLAIN: Final = ""  # a count, or a unit that is kept as it is


@dataclass(frozen=True, slots=True)
class Rule:
    """One quantity of source columns.

    Attributes
    ----------
    alternatives : best first; columns of one alternative are averaged, the first being along x, the second along y
    unit : SUFFIX, STATED, AXIAL, PIXEL, NM, UM or PLAIN
    power : 0.5 makes a precision of a variance
    factor : what the program's number has to be multiplied by, such as 1 / 2.355 for a full width at half maximum
    missing : the number that stands for no value
    """

    quantity: str
    alternatives: tuple[tuple[str, ...], ...]
    unit: str
    power: float = 1.0
    factor: float = 1.0
    missing: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Records that the program itself marks as no localisation; they are dropped and counted under `reason`.

    Attributes
    ----------
    column : source column, numbers or words
    keeps : the numbers of records that stay; a missing number is none of them
    drops : records go whose word contains one of these (lower case)
    """

    column: str
    reason: str
    keeps: tuple[float, ...] = ()
    drops: tuple[str, ...] = ()


# `d_zcalib` is the distance from the calibration curve, not a precision.
PICASSO: Final = (
    Rule("x_nm", (("x",),), PIXEL),
    Rule("y_nm", (("y",),), PIXEL),
    Rule("z_nm", (("z",),), NM),
    Rule("frame", (("frame",),), PLAIN),
    Rule("photons", (("photons",),), PLAIN),
    Rule("precision_nm", (("lpx", "lpy"),), PIXEL),
    Rule("precision_z_nm", (("lpz",),), NM),
    Rule("background", (("bg",),), PLAIN),
    Rule("psf_nm", (("sx", "sy"),), PIXEL),
    Rule("channel", (("channel",),), PLAIN),
    Rule("group", (("group",),), PLAIN),
)

SMAP: Final = (
    Rule("x_nm", (("xnm",),), NM),
    Rule("y_nm", (("ynm",),), NM),
    Rule("z_nm", (("znm",),), NM),
    Rule("frame", (("frame",),), PLAIN),
    Rule("photons", (("phot",),), PLAIN),
    Rule("precision_nm", (("locprecnm",),), NM),
    Rule("precision_z_nm", (("locprecznm",),), NM),
    Rule("background", (("bg",),), PLAIN),
    Rule("psf_nm", (("PSFxnm", "PSFynm"), ("PSFxnm",)), NM),
    Rule("channel", (("channel",),), PLAIN),
    Rule("group", (("groupindex",),), PLAIN),
)

# A localisation's own columns under our names: such a table needs no map. `row` is counted, never read.
OWN: Final = (
    Rule("x_nm", (("x_nm",),), NM),
    Rule("y_nm", (("y_nm",),), NM),
    Rule("z_nm", (("z_nm",),), NM),
    Rule("frame", (("frame",),), PLAIN),
    Rule("photons", (("photons",),), PLAIN),
    Rule("precision_nm", (("precision_nm",),), NM),
    Rule("precision_z_nm", (("precision_z_nm",),), NM),
    Rule("background", (("background",),), PLAIN),
    Rule("psf_nm", (("psf_nm",),), NM),
    Rule("channel", (("channel",),), PLAIN),
    Rule("group", (("group",),), PLAIN),
)

# Short names a map may use → (quantity, is a length in the map's unit). Axial lengths stay nm where the unit is px.
MAP_NAMES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "x": ("x_nm", "lateral"),
        "y": ("y_nm", "lateral"),
        "z": ("z_nm", "axial"),
        "frame": ("frame", ""),
        "photons": ("photons", ""),
        "precision": ("precision_nm", "lateral"),
        "precision_z": ("precision_z_nm", "axial"),
        "background": ("background", ""),
        "psf": ("psf_nm", "lateral"),
        "channel": ("channel", ""),
        "group": ("group", ""),
    }
)
MAP_SETTINGS: Final = ("unit", "pixel", "frame_base")

# Cells that mean "no value"; everything else that is no number makes the record malformed. The infinity sign
# and the replacement character are what a Java program writes for an overflow.
NO_VALUE: Final = (
    *("", "NaN", "nan", "NAN", "-NaN", "-nan", "NA", "N/A", "n/a", "#N/A", "null", "NULL", "None"),
    *("1.#QNAN", "-1.#IND", "1.#INF", "-1.#INF", "\u221e", "-\u221e", "+\u221e", "\ufffd"),
)

# First bytes of localisation files of other programs.
LOCALISATION_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"FEA1", "a Feather file of version 1"),
    (b"#ASDF", "an ASDF file"),
)
# First bytes of what lies beside localisations and is none.
COMPANION_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"II*\x00", "TIFF image"),
    (b"MM\x00*", "TIFF image"),
    (b"II+\x00", "TIFF image"),
    (b"MM\x00+", "TIFF image"),
    (b"\x89PNG", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"ZISRAWFILE", "CZI image"),
    (b"\xda\xce\xbe\x0a", "ND2 image"),
    (b"\x00\x00\x00\x0cjP  ", "ND2 image"),
    (b"%PDF", "PDF document"),
    (b"{\\rtf", "RTF document"),
    (b"\xd0\xcf\x11\xe0", "Office document"),
    (b"#!", "script"),
    (b"<?xml", "XML document"),
    (b"<!DOCTYPE", "web page"),
    (b"<html", "web page"),
)
# Names of companions whose content is plain text like a table's may be.
COMPANION_SUFFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".yaml": "settings or sidecar",
        ".yml": "settings or sidecar",
        ".json": "settings or sidecar",
        ".toml": "settings",
        ".ini": "settings",
        ".xml": "settings or metadata",
        ".md": "text document",
        ".rst": "text document",
        ".html": "web page",
        ".log": "log",
        ".roi": "ImageJ outline",
        ".py": "script",
        ".m": "script",
        ".r": "script",
        ".sh": "script",
        ".ijm": "script",
        ".ipynb": "notebook",
        ".sbatch": "script",
    }
)
# An empty or binary file with one of these was meant to be a table.
TABLE_SUFFIXES: Final = frozenset({".csv", ".tsv", ".hdf5", ".h5", ".mat", ".parquet"})
