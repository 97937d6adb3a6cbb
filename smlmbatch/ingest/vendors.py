"""Programs that write localisations as a table of text (or the same columns as Parquet): data, no code.

A new program starts here: a `TextFormat` with the header names that give it away and rules for its columns. All of
them are read by the one streaming reader of `text`; a head that is more than a line of names is cut in `odd_heads`.
Header names are compared in lower case. What isn't sure is left out: a quantity is worth less than the doubt.

Sources, beside sample files: ThunderSTORM's MoleculeDescriptor and Units (zitmen/thunderstorm); rapidSTORM's
localization_file (field identifiers and semantics); DECODE's emitter_io.save_csv; Insight3's widths in storm-analysis
(i3dtype.createFromMultiFit); fit3Dcspline's simplefitter_cspline.
"""

from dataclasses import dataclass
from typing import Final

from smlmbatch.ingest.formats import AXIAL, NM, PIXEL, PLAIN, STATED, SUFFIX, UM, Filter, Rule

_FWHM: Final = 2.3548200450309493  # of a Gaussian, in sigmas: 2 sqrt(2 ln 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFormat:
    """How one program's table is told and what its columns mean.

    Attributes
    ----------
    name : the reader's name; several entries may share it, the header tells them apart
    title : what it is called in messages, with its article
    signatures : header names (lower case) that must all be there; one of these sets is enough. Where rules have the
        unit SUFFIX, names are compared without their `[unit]`
    rules : which columns fill which quantity
    exactly : the whole header, where nothing less gives the program away
    without : names that must not be there
    spaced : a blank must follow every comma of the header
    frame_base : number of the first frame; None = 0 if a frame 0 occurs, else 1
    pixel_offset_px : 0.5 where a whole pixel number means the pixel's centre
    filters : records the program marks as no localisations, applied where the column is there
    end : the table ends where a line begins with this; b"" = at the file's end
    """

    name: str
    title: str
    signatures: tuple[frozenset[str], ...]
    rules: tuple[Rule, ...]
    exactly: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    spaced: bool = False
    frame_base: int | None = None
    pixel_offset_px: float = 0.0
    filters: tuple[Filter, ...] = ()
    end: bytes = b""

    @property
    def is_suffixed(self) -> bool:
        """Whether units stand in brackets after the columns' names."""
        return any(rule.unit == SUFFIX for rule in self.rules)


def _signed(*names: str) -> tuple[frozenset[str], ...]:
    return (frozenset(names),)


def _one(quantity: str, *columns: str, unit: str = PLAIN) -> Rule:
    """A quantity of one column, the first of `columns` that is there."""
    return Rule(quantity, tuple((column,) for column in columns), unit)


_THUNDERSTORM_RULES: Final = (
    Rule("x_nm", (("x",),), SUFFIX),
    Rule("y_nm", (("y",),), SUFFIX),
    Rule("z_nm", (("z",),), SUFFIX),
    Rule("frame", (("frame",),), PLAIN),
    Rule("photons", (("intensity",),), PLAIN),
    Rule("precision_nm", (("uncertainty_xy",), ("uncertainty",)), SUFFIX),  # renamed in 2013, both are about
    Rule("precision_z_nm", (("uncertainty_z",),), SUFFIX),
    Rule("background", (("offset",),), PLAIN),
    Rule("psf_nm", (("sigma",), ("sigma1", "sigma2")), SUFFIX),
    Rule("channel", (("channel",),), PLAIN),
)
THUNDERSTORM: Final = TextFormat(name="thunderstorm", title="a ThunderSTORM table", signatures=_signed("x", "y"), rules=_THUNDERSTORM_RULES)

# Saturated, or given to no activator: what Nikon's software puts into these categories is shown in no image.
_NSTORM_REJECTED: Final = tuple(
    Filter(column="channel name", reason=reason, drops=(word,))
    for word, reason in (("reject", "rejected"), ("non specific activation", "non-specific activation"), ("crosstalk", "crosstalk"))
)
NSTORM: Final = TextFormat(
    name="nstorm",
    title="a Nikon N-STORM list",
    signatures=(frozenset({"channel name", "x", "y", "xc", "yc"}), frozenset({"name", "x", "y", "xc", "yc", "frame"})),
    frame_base=1,
    filters=_NSTORM_REJECTED + tuple(Filter(column="name", reason=f.reason, drops=f.drops) for f in _NSTORM_REJECTED),
    rules=(
        _one("x_nm", "xwc", "xc", "x", unit=NM),  # w: warped onto the other channel, c: corrected for drift
        _one("y_nm", "ywc", "yc", "y", unit=NM),
        _one("z_nm", "zwc", "zc", "z", unit=NM),
        _one("frame", "frame"),
        _one("photons", "photons"),
        _one("precision_nm", "lateral localization accuracy", unit=NM),
        _one("background", "bg"),
        Rule("psf_nm", (("width",),), NM, factor=0.5),  # two sigmas
        _one("channel", "channel name", "name"),
    ),
)

# "PSF half width" is left out: nothing published says whether it is half a full width at half maximum or a sigma.
ELYRA: Final = TextFormat(
    name="elyra",
    title="a Zeiss ELYRA table",
    signatures=_signed("first frame", "position x [nm]", "position y [nm]"),
    frame_base=1,
    end=b"\x00",  # what follows are lines about the image
    rules=(
        _one("x_nm", "position x [nm]", unit=NM),
        _one("y_nm", "position y [nm]", unit=NM),
        _one("z_nm", "position z [nm]", unit=NM),
        _one("frame", "first frame"),
        _one("photons", "number photons"),
        _one("precision_nm", "precision [nm]", unit=NM),
        _one("precision_z_nm", "precision z [nm]", unit=NM),
        _one("channel", "channel"),
    ),
)

# Widths are in pixels of a size that is not in the file: left out.
NIMOS: Final = TextFormat(
    name="nimos",
    title="an ONI NimOS table",
    signatures=_signed("x (nm)", "y (nm)", "frame"),
    frame_base=0,
    rules=(
        _one("x_nm", "x (nm)", unit=NM),
        _one("y_nm", "y (nm)", unit=NM),
        _one("z_nm", "z (nm)", unit=NM),
        _one("frame", "frame"),
        _one("photons", "photons"),
        Rule("precision_nm", (("x precision (nm)", "y precision (nm)"),), NM),
        _one("precision_z_nm", "z precision (nm)", unit=NM),
        _one("background", "background"),
        _one("channel", "channel"),
    ),
)

CODI: Final = TextFormat(
    name="codi",
    title="an ONI CODI table",
    signatures=_signed("x[nm]", "y[nm]", "frameindex[]"),
    frame_base=0,
    rules=(
        _one("x_nm", "x[nm]", unit=NM),
        _one("y_nm", "y[nm]", unit=NM),
        _one("z_nm", "z[nm]", unit=NM),
        _one("frame", "frameindex[]"),
        _one("photons", "intensity_mean[photons]"),
        Rule("precision_nm", (("variance_x[nm^2]", "variance_y[nm^2]"),), NM, power=0.5),
        _one("background", "background_mean[photons/nm^2]"),
        Rule("psf_nm", (("sigmax_mean[nm]", "sigmay_mean[nm]"),), NM),
        _one("channel", "channelindex[]"),
    ),
)

# Pixels are counted from the first one's centre (its frames span -0.5 to n - 0.5), x along the camera's first axis as
# in every frame DECODE was given: nothing is swapped.
DECODE: Final = TextFormat(
    name="decode_csv",
    title="a DECODE table",
    signatures=_signed("x", "y", "z", "phot", "frame_ix"),
    frame_base=0,
    pixel_offset_px=0.5,
    rules=(
        _one("x_nm", "x", unit=STATED),
        _one("y_nm", "y", unit=STATED),
        _one("z_nm", "z", unit=NM),
        _one("frame", "frame_ix"),
        _one("photons", "phot"),
        Rule("precision_nm", (("x_sig", "y_sig"), ("x_cr", "y_cr")), STATED),
        _one("precision_z_nm", "z_sig", unit=NM),
        _one("background", "bg"),
    ),
)

# `frame` starts again with every cycle, so the image's own number is the frame.
VUTARA: Final = TextFormat(
    name="vutara",
    title="a Bruker Vutara table",
    signatures=(frozenset({"image-id", "photon-count", "x", "y"}), frozenset({"imageid", "photon-count", "x", "y"})),
    filters=(
        Filter(column="valid", reason="marked as not valid", keeps=(1.0,)),
        Filter(column="fiducial", reason="fiducial", keeps=(0.0,)),
    ),
    rules=(
        _one("x_nm", "x", unit=NM),
        _one("y_nm", "y", unit=NM),
        _one("z_nm", "z", unit=NM),
        _one("frame", "image-id", "imageid"),
        _one("photons", "photon-count"),
        Rule("precision_nm", (("precisionx", "precisiony"), ("precision-x", "precision-y")), NM),
        _one("precision_z_nm", "precisionz", "precision-z", unit=NM),
        _one("channel", "probe", "vis-probe"),
    ),
)

# `z` is what the program made of both; without it the astigmatic one, which covers more depth than the other.
ABBELIGHT: Final = TextFormat(
    name="abbelight",
    title="an Abbelight table",
    signatures=(frozenset({"x", "y", "z_saf"}), frozenset({"x", "y", "z_astigm"}), frozenset({"x", "y", "ratio_saf"})),
    rules=tuple(
        Rule("z_nm", (("z",), ("z_astigm",), ("z_saf",)), SUFFIX) if rule.quantity == "z_nm" else rule for rule in _THUNDERSTORM_RULES
    ),
)

# Its `sigma` is the precision (median 5 nm in its files), that of ThunderSTORM the spot's width.
BSTORE: Final = TextFormat(
    name="bstore",
    title="a B-Store table",
    signatures=_signed("x", "y", "frame", "sigma"),
    without=frozenset({"uncertainty", "uncertainty_xy", "bkgstd", "chi2"}),  # ThunderSTORM's
    spaced=True,
    rules=(
        Rule("x_nm", (("x",),), SUFFIX),
        Rule("y_nm", (("y",),), SUFFIX),
        Rule("z_nm", (("z",),), SUFFIX),
        _one("frame", "frame"),
        _one("photons", "photons", "intensity"),
        Rule("precision_nm", (("sigma",),), SUFFIX),
        _one("background", "background", "offset"),
        _one("channel", "channel"),
    ),
)

# Amplitude and background are in counts of the camera, not in photons: left out.
RAPIDSTORM: Final = TextFormat(
    name="rapidstorm",
    title="a rapidSTORM file",
    signatures=_signed("position-0-0", "position-1-0"),
    frame_base=0,
    rules=(
        Rule("x_nm", (("position-0-0",),), SUFFIX),
        Rule("y_nm", (("position-1-0",),), SUFFIX),
        Rule("z_nm", (("position-2-0",),), SUFFIX),
        _one("frame", "imagenumber-0-0"),
        Rule("precision_nm", (("position-0-0-uncertainty", "position-1-0-uncertainty"), ("position-0-0-uncertainty",)), SUFFIX),
        Rule("precision_z_nm", (("position-2-0-uncertainty",),), SUFFIX),
        Rule("psf_nm", (("psfwidth-0-0", "psfwidth-1-0"), ("psfwidth-0-0",)), SUFFIX, factor=1 / _FWHM),
        _one("channel", "fluorophore-0-0"),
    ),
)

_FIT3D_RULES: Final = (
    _one("x_nm", "x_nm", "xnm", unit=NM),
    _one("y_nm", "y_nm", "ynm", unit=NM),
    _one("z_nm", "z_nm", "znm", unit=NM),
    _one("frame", "frame"),
    _one("photons", "photons"),
    _one("background", "background"),
)
# With a Gaussian fit the program takes `crlb_xnm` from the wrong column (background x pixel size); `crlb_ynm` then is
# the one of x. `crlb_z` is in no unit: the root of a variance times the step of the calibration.
FIT3D_GAUSS: Final = TextFormat(
    name="fit3dcspline",
    title="a fit3Dcspline table",
    signatures=(frozenset({"x_pix", "crlb_xnm", "sx_pix"}), frozenset({"x_pix", "crlb_xnm", "psfxnm"})),
    frame_base=1,
    rules=(*_FIT3D_RULES, _one("precision_nm", "crlb_ynm", unit=NM), Rule("psf_nm", (("psfxnm", "psfynm"),), NM)),
)
FIT3D_SPLINE: Final = TextFormat(
    name="fit3dcspline",
    title="a fit3Dcspline table",
    signatures=_signed("x_pix", "crlb_xnm"),
    frame_base=1,
    rules=(*_FIT3D_RULES, Rule("precision_nm", (("crlb_xnm", "crlb_ynm"),), NM)),
)

SMAP_CSV: Final = TextFormat(
    name="smap_csv",
    title="a SMAP table",
    signatures=_signed("xnm", "ynm"),
    frame_base=1,
    rules=(
        _one("x_nm", "xnm", unit=NM),
        _one("y_nm", "ynm", unit=NM),
        _one("z_nm", "znm", unit=NM),
        _one("frame", "frame"),
        _one("photons", "phot"),
        _one("precision_nm", "locprecnm", unit=NM),
        _one("precision_z_nm", "locprecznm", unit=NM),
        _one("background", "bg"),
        Rule("psf_nm", (("psfxnm", "psfynm"), ("psfxnm",)), NM),
        _one("channel", "channel", "layer"),  # export_coordinates writes layers, which are how SMAP shows channels
        _one("group", "groupindex"),
    ),
)

CHALLENGE: Final = TextFormat(
    name="challenge",
    title="a table of the EPFL software challenge",
    signatures=_signed("xnano", "ynano"),
    frame_base=1,
    rules=(
        _one("x_nm", "xnano", unit=NM),
        _one("y_nm", "ynano", unit=NM),
        _one("z_nm", "znano", unit=NM),
        _one("frame", "frame"),
        _one("photons", "intensity"),
    ),
)

# `A` is an amplitude in counts of the camera: no photons.
PYME: Final = TextFormat(
    name="pyme",
    title="a PYME table",
    signatures=(frozenset({"fitresults_x0", "fitresults_y0"}),),
    frame_base=0,
    rules=(
        _one("x_nm", "x", "fitresults_x0", unit=NM),  # x has what the pipeline corrected, such as drift
        _one("y_nm", "y", "fitresults_y0", unit=NM),
        _one("z_nm", "z", "fitresults_z0", unit=NM),
        _one("frame", "t", "tindex"),
        _one("photons", "nphotons"),
        Rule("precision_nm", (("error_x", "error_y"), ("fiterror_x0", "fiterror_y0")), NM),
        _one("precision_z_nm", "error_z", "fiterror_z0", unit=NM),
        _one("psf_nm", "sig", "fitresults_sigma", unit=NM),
    ),
)

# Positions in pixels, depth in um. `Integrated_Intensity` is in counts of the camera; `Channel` is -1 for none.
PALMTRACER: Final = TextFormat(
    name="palmtracer",
    title="a PALMTracer table",
    signatures=_signed("plane", "centroidx(px)", "centroidy(px)"),
    frame_base=1,
    rules=(
        _one("x_nm", "centroidx(px)", unit=PIXEL),
        _one("y_nm", "centroidy(px)", unit=PIXEL),
        _one("z_nm", "centroidz(um)", unit=UM),
        _one("frame", "plane"),
        Rule("psf_nm", (("sigmax(px)", "sigmay(px)"),), PIXEL, missing=-1.0),
        _one("group", "track"),
    ),
)

# What `sigma` is there is said nowhere: left out.
POCA: Final = TextFormat(
    name="poca",
    title="a PoCA table",
    signatures=_signed("x", "y", "z"),
    exactly=("x", "y", "z", "intensity", "frame", "sigma", "sigmaz"),
    rules=(
        _one("x_nm", "x", unit=NM),
        _one("y_nm", "y", unit=NM),
        _one("z_nm", "z", unit=NM),
        _one("frame", "frame"),
        _one("photons", "intensity"),
    ),
)

QUICKPALM: Final = TextFormat(
    name="quickpalm",
    title="a QuickPALM table",
    signatures=_signed("x (nm)", "y (nm)", "frame number"),
    frame_base=1,
    rules=(
        _one("x_nm", "x (nm)", unit=NM),
        _one("y_nm", "y (nm)", unit=NM),
        _one("z_nm", "z (nm)", unit=NM),
        _one("frame", "frame number"),
    ),
)

# Bare columns (vLUME, tables of one's own): read only where the user says the unit.
XYZ: Final = TextFormat(
    name="xyz",
    title="a bare table of x and y",
    signatures=_signed("x", "y"),
    rules=(
        _one("x_nm", "x", unit=STATED),
        _one("y_nm", "y", unit=STATED),
        _one("z_nm", "z", unit=AXIAL),
        _one("frame", "frame", "t"),
        _one("photons", "photons", "int", "intensity"),
        _one("channel", "channel"),
    ),
)

# Most telling first. ThunderSTORM's and the bare one's signatures say little, so they are looked at last, and elsewhere.
VENDORS: Final[tuple[TextFormat, ...]] = (
    *(NSTORM, ELYRA, CODI, RAPIDSTORM, DECODE, VUTARA, ABBELIGHT, BSTORE),
    *(FIT3D_GAUSS, FIT3D_SPLINE, SMAP_CSV, CHALLENGE, PYME, PALMTRACER, POCA, QUICKPALM, NIMOS),
)
TEXT_FORMATS: Final[tuple[TextFormat, ...]] = (THUNDERSTORM, *VENDORS, XYZ)
