"""What is known of each reader beside its code: how it is told, its conventions, and by what it is tested. Data, no code.

`docs/formats.md` is made of this and of the tables of `vendors`. The tests take their cases from here (which files are
damaged at random, which other program's reader has to agree, which real samples are read), so that nothing stands in the
document that isn't tested.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One reader.

    Attributes
    ----------
    containers : what such a file may be kept in; each is read, and damaged at random
    recognised : how a file is told; "" = by the header names in `vendors`
    unit, frames, pixel : of x and y; number of the first frame; what a whole pixel number means; "" = from `vendors`
    dropped : records that are left out by the program's own marks; "" = from `vendors`
    notes : what is converted or left out
    samples : real files, below the folder of real data
    oracles : (other program, real sample on which its reader and ours agree)
    written : formats of `export` that this reader reads back
    written_oracles : other programs that read what is written
    """

    containers: tuple[str, ...] = ("text", "gzip", "zip", "Parquet")
    recognised: str = ""
    unit: str = ""
    frames: str = ""
    pixel: str = ""
    dropped: str = ""
    notes: str = ""
    samples: tuple[str, ...] = ()
    oracles: tuple[tuple[str, str], ...] = ()
    written: tuple[str, ...] = ()
    written_oracles: tuple[str, ...] = ()


_TEXT_ONLY: Final = ("text", "gzip", "zip")  # what stands in the head of the text alone has no place in Parquet
_LOCAN: Final = "format_samples_locan"
LOCAN: Final = "locan 0.22.0"
PICASSO: Final = "picasso 0.11.3"

EVIDENCE: Final[Mapping[str, Evidence]] = MappingProxyType(
    {
        "thunderstorm": Evidence(
            notes="units from the brackets; `uncertainty` and `uncertainty_xy`; other programs write its header and count frames from 0",
            samples=("ecoli_lacy_thunderstorm/*.csv", "thunderstorm_3d_csv/*.csv", f"{_LOCAN}/Thunderstorm_dstorm_data.csv"),
            oracles=(
                (LOCAN, "ecoli_lacy_thunderstorm/01_storm.csv"),
                (LOCAN, "thunderstorm_3d_csv/*.csv"),
                (LOCAN, f"{_LOCAN}/Thunderstorm_dstorm_data.csv"),
                (PICASSO, "ecoli_lacy_thunderstorm/02_storm.csv"),
                (PICASSO, "thunderstorm_3d_csv/*.csv"),
            ),
            written=("thunderstorm",),
            written_oracles=(LOCAN, PICASSO),
        ),
        "nstorm": Evidence(
            notes="positions corrected for drift and warp where they are there; channels by name", samples=("nikon_nstorm_txt/*.txt",)
        ),
        "elyra": Evidence(
            containers=_TEXT_ONLY,
            notes="the table ends at the NUL byte before its trailer; PSF half width left out: its meaning isn't published",
            samples=(f"{_LOCAN}/Elyra_dstorm_data.txt",),
            oracles=((LOCAN, f"{_LOCAN}/Elyra_dstorm_data.txt"),),
        ),
        "codi": Evidence(notes="precision = root of the variance", samples=("egfr_ereg_oni_codi/*.parquet",)),
        "rapidstorm": Evidence(
            containers=_TEXT_ONLY,
            notes="columns and units from its XML line; amplitudes in camera counts left out; track files are refused",
            samples=(f"{_LOCAN}/rapidSTORM_dstorm_data.txt", f"{_LOCAN}/rapidSTORM_from_images.txt"),
            oracles=((LOCAN, f"{_LOCAN}/rapidSTORM_dstorm_data.txt"), (LOCAN, f"{_LOCAN}/rapidSTORM_from_images.txt")),
        ),
        "decode_csv": Evidence(containers=_TEXT_ONLY, notes="unit and pixel size, also of oblong pixels, from its JSON comment"),
        "vutara": Evidence(notes="the image's number is the frame; channel = probe"),
        "abbelight": Evidence(notes="z, else the astigmatic z, else that of SAF"),
        "bstore": Evidence(containers=_TEXT_ONLY, notes="its `sigma` is the precision; told from ThunderSTORM by the blanks in its header"),
        "fit3dcspline": Evidence(notes="the program takes a wrong column for `crlb_xnm` of Gaussian fits; the right one is used"),
        "smap_csv": Evidence(written=("smap-csv",)),
        "challenge": Evidence(),
        "pyme": Evidence(containers=_TEXT_ONLY, notes="what its pipeline corrected wins over the fit's own position"),
        "palmtracer": Evidence(containers=_TEXT_ONLY, notes="pixel size from its first header; intensities in camera counts left out"),
        "poca": Evidence(notes="its `sigma` left out: its meaning isn't published"),
        "quickpalm": Evidence(),
        "nimos": Evidence(
            notes="widths are in pixels of unknown size: left out",
            samples=(f"{_LOCAN}/Nanoimager_dstorm_data.csv",),
            oracles=((LOCAN, f"{_LOCAN}/Nanoimager_dstorm_data.csv"),),
        ),
        "xyz": Evidence(notes="refused until the unit is given", samples=("caulobacter_xyz_csv/*.csv", "egfr_ereg_cells/*.parquet")),
        "picasso": Evidence(
            containers=("HDF5",),
            recognised="HDF5 with a table `/locs`",
            unit="px",
            frames="0",
            pixel="centre",
            notes="pixel size from the YAML beside it or its own `/metadata`; z in nm; molecule maps without frames",
            samples=("origami_cuboctahedron_picasso/*.hdf5",),
            oracles=((PICASSO, "origami_cuboctahedron_picasso/*.hdf5"),),
            written=("picasso",),
            written_oracles=(PICASSO,),
        ),
        "smap": Evidence(
            containers=("MATLAB 7.3", "MATLAB 5"),
            recognised="`saveloc.loc` with `xnm`, `ynm`",
            unit="nm",
            frames="1",
            samples=("smap_sml_mat/*.mat",),
            oracles=((LOCAN, "smap_sml_mat/*.mat"), (PICASSO, "smap_sml_mat/*.mat")),
        ),
        "decode": Evidence(
            containers=("HDF5",),
            recognised="HDF5 with `/data/xyz`",
            unit="px or nm, as `/meta` says",
            frames="0",
            pixel="centre",
            notes="x stays x (SMAP swaps them); `.pt` is a pickle and never read",
            samples=(f"{_LOCAN}/decode_dstorm_data.h5",),
            oracles=((LOCAN, f"{_LOCAN}/decode_dstorm_data.h5"),),
        ),
        "smlm": Evidence(
            containers=("zip",),
            recognised="zip with `manifest.json` and tables",
            unit="per column, nm where none is given",
            frames="0 if a frame 0 occurs, else 1",
            notes="several tables are channels; offsets are added",
            samples=(f"{_LOCAN}/SMLM_dstorm_data.smlm",),
            oracles=((LOCAN, f"{_LOCAN}/SMLM_dstorm_data.smlm"),),
            written=("smlm",),
            written_oracles=(LOCAN,),
        ),
        "minflux": Evidence(
            containers=("npy", "zip"),
            recognised="records with `itr`, `loc`, `tid`, `vld`",
            unit="m",
            frames="none",
            dropped="not marked valid; all but the last iteration",
            notes="traces become groups; no frames, no precision; z is not corrected for the refractive index",
            samples=("minflux_npc_2d_npy/*.zip",),
        ),
        "insight3": Evidence(
            containers=("Insight3",),
            recognised="begins with `M425`",
            unit="px",
            frames="0 if a frame 0 occurs, else 1",
            pixel="centre, the first one is 1",
            notes="pixel size must be given; the master list alone is read; z of category 9 is none",
        ),
        "particles": Evidence(
            containers=("MATLAB 5",),
            recognised="cell array of structs with `points`",
            unit="px, or as given",
            frames="none",
            notes="pixel size must be given; a particle is a group, and the report says that it is no field",
            samples=("origami_tud_particles_mat/*.mat",),
        ),
        "table": Evidence(
            containers=("text", "gzip", "zip", "Parquet", "Feather", "npy", "HDF5", "MATLAB 5"),
            recognised="columns `x_nm`, `y_nm`, or a map",
            unit="nm, or as the map says",
            frames="0, or as the map says",
            notes="a number of one's own for each quantity: `--map x=X,y=Y,unit=um`",
            samples=("npc_veatch_mat/*.mat",),
            written=("csv", "parquet"),
        ),
    }
)
