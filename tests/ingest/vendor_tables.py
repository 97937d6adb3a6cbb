"""Tables as other programs write them, with their headers, made of one known set of localisations."""

from dataclasses import dataclass, field

import numpy as np

N = 60
I = np.arange(N)  # noqa: E741
TRUTH = {
    "x_nm": 1000 + 13.5 * I,
    "y_nm": 2000 + 7.25 * I,
    "z_nm": I - 20.5,
    "frame": I // 3,
    "photons": 500.0 + I,
    "precision_nm": 5 + I / 16,
    "precision_z_nm": 9 + I / 8,
    "background": 20.0 + I,
    "psf_nm": 120 + I / 4,
    "channel": I % 2,
    "group": I // 7,
}
X, Y, Z, FRAME, PHOTONS = (TRUTH[name] for name in ("x_nm", "y_nm", "z_nm", "frame", "photons"))
PRECISION, PRECISION_Z, BACKGROUND, PSF = (TRUTH[name] for name in ("precision_nm", "precision_z_nm", "background", "psf_nm"))
CHANNEL, GROUP = TRUTH["channel"], TRUTH["group"]
BASIC = ("x_nm", "y_nm", "frame")


@dataclass(frozen=True)
class Sample:
    """A program's table: columns by header name, what stands around them, and the quantities that must come out."""

    format: str
    columns: dict
    quantities: tuple
    delimiter: str = ","
    header: str = ""  # where it is not the names with the delimiter between them
    lead: str = ""
    end: str = "\n"
    tail: bytes = b""
    frame_base: int = 0
    row: dict = field(default_factory=dict)  # what the sample sheet must say

    def records(self):
        return [self.delimiter.join(map(str, cells)) for cells in zip(*self.columns.values(), strict=True)]

    def text(self, records=None):
        header = self.header or self.delimiter.join(self.columns)
        lines = [self.lead + header, *(self.records() if records is None else records), ""]
        return self.end.join(lines).encode("latin-1") + self.tail


def const(value):
    return [value] * N


def words(*names):
    return [names[number] for number in CHANNEL]


def rapidstorm_field(identifier, unit, semantic):
    syntax = "floating point with . for decimals and optional scientific e-notation"
    return f'<field identifier="{identifier}" syntax="{syntax}" semantic="{semantic}" unit="{unit}" min="0 m" />'


RAPIDSTORM = (
    '# <localizations insequence="true" repetitions="variable">'
    + rapidstorm_field("ImageNumber-0-0", "frame", "frame number")
    + rapidstorm_field("Position-0-0", "nanometer", "position in sample space in X")
    + rapidstorm_field("Position-0-0-uncertainty", "nanometer", "position uncertainty in sample space in X")
    + rapidstorm_field("Position-1-0", "nanometer", "position in sample space in Y")
    + rapidstorm_field("Position-1-0-uncertainty", "nanometer", "position uncertainty in sample space in Y")
    + rapidstorm_field("Position-2-0", "micrometer", "position in sample space in Z")
    + rapidstorm_field("Amplitude-0-0", "A/D count", "emission strength")
    + rapidstorm_field("PSFWidth-0-0", "nanometer", "PSF FWHM in X")
    + rapidstorm_field("PSFWidth-1-0", "nanometer", "PSF FWHM in Y")
    + rapidstorm_field("LocalBackground-0-0", "A/D count", "local background")
    + "</localizations>"
)
FWHM = np.sqrt(8 * np.log(2))
RAPIDSTORM_VALUES = [[f"{frame:.2f}" for frame in FRAME], X, PRECISION - 1, Y, PRECISION + 1, Z / 1e3, const(7)]
RAPIDSTORM_VALUES += [(PSF - 4) * FWHM, (PSF + 4) * FWHM, const("1.7e+003")]

NSTORM_NAMES = ["X", "Y", "Xc", "Yc", "Height", "Area", "Width", "Phi", "Ax", "BG", "I", "Frame", "Length", "Link", "Valid", "Z", "Zc"]
NSTORM_NAMES += ["Photons"]


def nstorm(first, last):
    filler = {name: const(7) for name in NSTORM_NAMES}
    known = {"Width": 2 * PSF, "BG": BACKGROUND, "Frame": FRAME + 1, "Photons": PHOTONS, "Valid": const(-4)}
    accuracy = {"Lateral Localization Accuracy": PRECISION, "Xw": const(8), "Yw": const(8)}
    return {first: words("Alexa405/Alexa647", "Cy3/Alexa647")} | filler | known | accuracy | last


VUTARA = (
    "image-ID,time-point,cycle,z-step,frame,accum,probe,photon-count,photon-count11,photon-count12,photon-count21,photon-count22,"
    "psfx,psfy,psfz,psf-photon-count,x,y,z,stdev,amp,background11,background12,background21,background22,maxResidualSlope,chisq,"
    "log-likelihood,llr,accuracy,fiducial,valid,precisionx,precisiony,precisionz"
)


def vutara(rename=lambda name: name):
    known = {"image-ID": FRAME, "probe": CHANNEL, "photon-count": PHOTONS, "x": X, "y": Y, "z": Z, "fiducial": const(0), "valid": const(1)}
    known |= {"precisionx": PRECISION - 1, "precisiony": PRECISION + 1, "precisionz": PRECISION_Z}
    return {rename(name): known.get(name, const(3)) for name in VUTARA.split(",")}


CODI = {
    "# x[nm]": X,
    "y[nm]": Y,
    "frameIndex[]": FRAME,
    "channelIndex[]": CHANNEL,
    "duration[]": const(1),
    "variance_x[nm^2]": (PRECISION - 1) ** 2,
    "variance_y[nm^2]": (PRECISION + 1) ** 2,
    "variance_intensity[photons^2]": const(4),
    "z[nm]": Z,
    "background_mean[photons/nm^2]": BACKGROUND,
    "sigmaX_mean[nm]": PSF + 3,
    "sigmaY_mean[nm]": PSF - 3,
    "intensity_mean[photons]": PHOTONS,
    "clusterId[]": const(5),
}
SMAP_COLUMNS = {"ID": I + 1, "frame": FRAME + 1, "xnm": X, "ynm": Y, "znm": Z, "phot": PHOTONS, "bg": BACKGROUND, "locprecnm ": PRECISION}
EXPORT_COORDINATES = {"xnm": X, "ynm": Y, "znm": Z, "frame": FRAME + 1, "locprecnm": PRECISION, "phot": PHOTONS, "bg": BACKGROUND}
FIT3D = {"frame": FRAME + 1, "x_pix": X / 100, "y_pix": Y / 100, "z_nm": Z, "photons": PHOTONS, "background": BACKGROUND}
FIT3D |= {" crlb_x": const(0.1), "crlb_y": const(0.1), "crlb_z": const(3), "x_nm": X, "y_nm": Y}
FIT3D_GAUSS = {"frame": FRAME + 1, "x_pix": X / 100, "y_pix": Y / 100, "sx_pix": const(1), "sy_pix": const(1), "photons": PHOTONS}
FIT3D_GAUSS |= {"background": BACKGROUND, " crlb_x": const(0.1), "crlb_y": const(0.1), "x_nm": X, "y_nm": Y}
ABBELIGHT = {"id": I, "frame": FRAME + 1, "x [nm]": X, "y [nm]": Y, "sigma1 [nm]": PSF - 5, "sigma2 [nm]": PSF + 5}
ABBELIGHT |= {"intensity [photon]": PHOTONS, "offset [photon]": BACKGROUND, "bkgstd [photon]": const(2)}
ABBELIGHT |= {"uncertainty_xy [nm]": PRECISION, "uncertainty_z [nm]": PRECISION_Z, "ratio_SAF [photon]": const(1), "z_SAF [nm]": const(99)}
PIXELS_NM = (127.0, 117.0)
DECODE_LEAD = '# DECODE EmitterSet\n# {"version": "v0.10.1"}\n# {"xy_unit": "px", "px_size": [127.0, 117.0]}\n'
DECODE = {"x": X / 127 - 0.5, "y": Y / 117 - 0.5, "z": Z, "phot": PHOTONS, "frame_ix": FRAME, "id": I, "prob": const(0.9), "bg": BACKGROUND}
DECODE |= {"phot_cr": const("nan"), "x_cr": const("nan"), "y_cr": const("nan"), "z_cr": const("nan")}
DECODE |= {"x_sig": (PRECISION - 1) / 127, "y_sig": (PRECISION + 1) / 117, "z_sig": PRECISION_Z}
DECODE_NM = DECODE | {"x": X - 50, "y": Y - 50, "x_sig": PRECISION, "y_sig": PRECISION}
PALMTRACER_LEAD = (
    "Width\tHeight\tnb_Planes\tnb_Points\tPixel_Size(um)\tFrame_Duration(s)\tGaussian_Fit\tSpectral\n"
    "329\t158\t8000\t60\t0.106\t0.02\tNone\tFalse\n"
)
PALMTRACER = {"id": I, "Plane": FRAME + 1, "Index": I, "Channel": const(-1), "Integrated_Intensity": PHOTONS}
PALMTRACER |= {"CentroidX(px)": X / 106, "CentroidY(px)": Y / 106, "SigmaX(px)": PSF / 106, "SigmaY(px)": PSF / 106}
PALMTRACER |= {
    "Angle(rad)": const(0),
    "MSE(Gauss)": const(-1),
    "CentroidZ(um)": Z / 1e3,
    "MSE_Z(um)": const(-1),
    "Pair_Distance(px)": const(0),
}
QUICKPALM = {"": I + 1, "Intensity": PHOTONS, "X (px)": X / 100, "Y (px)": Y / 100, "X (nm)": X, "Y (nm)": Y, "Z (nm)": Z}
QUICKPALM |= {"Left (px)": const(1), "Frame Number": FRAME + 1}
ELYRA_TRAILER = b"\x00\r\r\nVoxelSizeX : 0.0970873786 \xb5m\r\r\nSizeX : 3200\r\r\n\r\nROI List : \r\r\n"
ELYRA = {"Index": I + 1, "First Frame": FRAME + 1, "Number Frames": const(1), "Frames Missing": const(0)}
ELYRA |= {"Position X [nm]": X, "Position Y [nm]": Y, "Precision [nm]": PRECISION, "Number Photons": PHOTONS}
ELYRA |= {
    "Background variance": const(5.33),
    "Chi square": const(0.28),
    "PSF half width [nm]": PSF,
    "Channel": CHANNEL,
    "Z Slice": const(1),
}
NIMOS = {"Channel": CHANNEL, "Frame": FRAME, "X (nm)": X, "Y (nm)": Y, "Z (nm)": Z}
NIMOS_PRECISION = {"X precision (nm)": PRECISION - 1, "Y precision (nm)": PRECISION + 1, "X (pix)": X / 117, "Y (pix)": Y / 117}
NIMOS_PRECISION |= {"Z (pix)": Z / 117, "X precision (pix)": const(0.1), "Y precision (pix)": const(0.1)}
NIMOS_REST = {"PSF Sigma X (pix)": const(1.1), "PSF Sigma Y (pix)": const(1.2), "Sigma X var": const(0), "Sigma Y var": const(0)}

FULL = (*BASIC, "photons", "precision_nm")
SAMPLES = {
    "N-STORM": Sample(
        "nstorm",
        nstorm("Channel Name", {"Xwc": X, "Ywc": Y, "Zw": const(5), "Zwc": Z}),
        (*FULL, "z_nm", "background", "psf_nm", "channel"),
        delimiter="\t",
        end="\r\n",
        frame_base=1,
    ),
    "N-STORM of old": Sample(
        "nstorm", nstorm("Name", {"Xc": X, "Yc": Y, "Zc": Z}), (*FULL, "z_nm", "background", "psf_nm", "channel"), "\t", frame_base=1
    ),
    "Zeiss ELYRA": Sample("elyra", ELYRA, (*FULL, "channel"), "\t", end="\r\n", tail=ELYRA_TRAILER, frame_base=1),
    "Zeiss ELYRA 3D": Sample(
        "elyra", ELYRA | {"Position Z [nm]": Z}, (*FULL, "z_nm", "channel"), "\t", end="\r\n", tail=ELYRA_TRAILER, frame_base=1
    ),
    "NimOS, short": Sample(
        "nimos", NIMOS | {"Photons": PHOTONS, "Background": BACKGROUND}, (*BASIC, "z_nm", "photons", "background", "channel")
    ),
    "NimOS, long": Sample(
        "nimos",
        NIMOS | NIMOS_PRECISION | {"Photons": PHOTONS, "Background": BACKGROUND} | NIMOS_REST,
        (*FULL, "z_nm", "background", "channel"),
    ),
    "CODI": Sample("codi", CODI, (*FULL, "z_nm", "background", "psf_nm", "channel")),
    "DECODE": Sample("decode_csv", DECODE, (*FULL, "z_nm", "precision_z_nm", "background"), lead=DECODE_LEAD),
    "DECODE in nm": Sample(
        "decode_csv",
        DECODE_NM,
        (*FULL, "z_nm", "precision_z_nm", "background"),
        lead='# DECODE EmitterSet\n# {"version": "v0.10.1"}\n# {"xy_unit": "nm", "px_size": [100.0, 100.0]}\n',
    ),
    "Vutara": Sample("vutara", vutara(), (*FULL, "z_nm", "precision_z_nm", "channel")),
    "Vutara with underscores": Sample("vutara", vutara(lambda name: name.replace("-", "_")), (*FULL, "z_nm", "precision_z_nm", "channel")),
    "Vutara with blanks": Sample("vutara", vutara(lambda name: name.replace("-", " ")), (*FULL, "z_nm", "precision_z_nm", "channel")),
    "Abbelight": Sample(
        "abbelight", ABBELIGHT | {"z_Astigm [nm]": Z}, (*FULL, "z_nm", "precision_z_nm", "background", "psf_nm"), frame_base=1
    ),
    "Abbelight with z": Sample(
        "abbelight",
        ABBELIGHT | {"z_Astigm [nm]": const(98), "z [nm]": Z},
        (*FULL, "z_nm", "precision_z_nm", "background", "psf_nm"),
        frame_base=1,
    ),
    "rapidSTORM": Sample(
        "rapidstorm",
        dict(enumerate(RAPIDSTORM_VALUES)),
        (*BASIC, "z_nm", "precision_nm", "psf_nm"),
        delimiter=" ",
        header=RAPIDSTORM,
    ),
    "SMAP": Sample("smap_csv", SMAP_COLUMNS, (*FULL, "z_nm", "background"), frame_base=1),
    "SMAP export_coordinates": Sample(
        "smap_csv", EXPORT_COORDINATES | {"layer": CHANNEL}, (*FULL, "z_nm", "background", "channel"), frame_base=1
    ),
    "fit3Dcspline": Sample(
        "fit3dcspline", FIT3D | {"crlb_xnm": PRECISION - 1, "crlb_ynm ": PRECISION + 1}, (*FULL, "z_nm", "background"), frame_base=1
    ),
    "fit3Dcspline, Gaussian": Sample(
        "fit3dcspline", FIT3D_GAUSS | {"crlb_xnm": BACKGROUND * 100, "crlb_ynm ": PRECISION}, (*FULL, "background"), frame_base=1
    ),
    "EPFL challenge": Sample(
        "challenge",
        {"Ground-truth": I, "frame": FRAME + 1, "xnano": X, "ynano": Y, "znano": Z, "intensity ": PHOTONS},
        (*BASIC, "z_nm", "photons"),
        frame_base=1,
    ),
    "B-Store": Sample(
        "bstore",
        {"x [nm]": X, "y [nm]": Y, "z [nm]": Z, "frame": FRAME, "sigma [nm]": PRECISION, "photons": PHOTONS},
        (*FULL, "z_nm"),
        header="x [nm], y [nm], z [nm], frame, sigma [nm], photons",
    ),
    "PYME": Sample(
        "pyme",
        {"#A": const(9), "fitResults_x0": const(1), "fitResults_y0": const(1), "fitError_x0": PRECISION, "fitError_y0": PRECISION}
        | {"x": X, "y": Y, "t": FRAME},
        (*BASIC, "precision_nm"),
        header="#A, fitResults_x0, fitResults_y0, fitError_x0, fitError_y0, x, y, t",
    ),
    "PALMTracer": Sample("palmtracer", PALMTRACER, (*BASIC, "z_nm", "psf_nm"), "\t", lead=PALMTRACER_LEAD, frame_base=1),
    "PALMTracer tracks": Sample(
        "palmtracer", {"Track": GROUP} | PALMTRACER, (*BASIC, "z_nm", "psf_nm", "group"), "\t", lead=PALMTRACER_LEAD, frame_base=1
    ),
    "PoCA": Sample(
        "poca",
        {"x": X, "y": Y, "z": Z, "intensity": PHOTONS, "frame": FRAME, "sigma": const(4), "sigmaZ": const(9)},
        (*BASIC, "z_nm", "photons"),
    ),
    "QuickPALM": Sample("quickpalm", QUICKPALM, (*BASIC, "z_nm"), "\t", frame_base=1),
    "ThunderSTORM": Sample(
        "thunderstorm",
        {'"id"': I, '"frame"': FRAME + 1, '"x [nm]"': X, '"y [nm]"': Y, '"sigma [nm]"': PSF, '"intensity [photon]"': PHOTONS}
        | {'"offset [photon]"': BACKGROUND, '"uncertainty_xy [nm]"': PRECISION},
        (*FULL, "background", "psf_nm"),
        frame_base=1,
    ),
    "exported by Picasso": Sample(
        "thunderstorm",
        {"id": I, "frame": FRAME, "x [nm]": X, "y [nm]": Y, "sigma [nm]": PSF, "intensity [photon]": PHOTONS, "offset [photon]": BACKGROUND}
        | {"bkgstd [photon]": const(0), "uncertainty_xy [nm]": PRECISION},
        (*FULL, "background", "psf_nm"),
    ),
    "x, y, z": Sample("xyz", {"x": X, "y": Y, "z": Z}, ("x_nm", "y_nm", "z_nm"), row={"unit": "nm"}),
    "vLUME in um": Sample(
        "xyz",
        {"frame": FRAME, "x": X / 1e3, "y": Y / 1e3, "z": Z / 1e3, "int": PHOTONS},
        (*BASIC, "z_nm", "photons"),
        lead="# from somewhere\n",
        row={"unit": "um"},
    ),
    "bare pixels": Sample(
        "xyz", {"X": X / 117, "Y": Y / 117, "Z": Z, "Frame": FRAME}, (*BASIC, "z_nm"), row={"unit": "px", "pixel_size_nm": 117}
    ),
}
