"""Other programs' own readers agree with ours, on real files and on those that we write.

They run in an environment of their own (`$SMLMBATCH_ORACLES`, else `.venv-oracles`), made once with pinned versions and
without dependencies, so that nothing else comes with them. What they count otherwise is stated in CONVENTIONS.
"""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from smlmbatch.export.campaign import export_campaign
from smlmbatch.ingest.evidence import EVIDENCE, LOCAN, PICASSO
from tests.export import conftest as exporting
from tests.export.conftest import campaign_of, columns_of, ingested
from tests.ingest.oracle_reader import READERS
from tests.other_programs import python_with

pytestmark = pytest.mark.slow

PINNED = (
    *("locan==0.22.0", "picassosr==0.11.3", "numpy==2.4.4", "pandas==2.3.3", "h5py==3.16.0", "pyyaml==6.0.3", "protobuf==7.36.2"),
    *("lazy_loader==0.5", "python-dateutil==2.9.0.post0", "pytz==2025.2", "tzdata==2025.2", "six==1.17.0"),
)
PIXEL_NM = 100.0  # also what our Picasso files have where the field's pixel is not known
stored = exporting.stored


@pytest.fixture(scope="session")
def oracle_python():
    """The Python of the oracles' environment."""
    return python_with(PINNED, variable="SMLMBATCH_ORACLES", default=".venv-oracles")


@pytest.fixture
def oracle(oracle_python, tmp_path):
    """Read a file with another program: column → values, in its own units and order."""

    def run(program, reader, path, pixel_nm=PIXEL_NM):
        out = tmp_path / "oracle.npz"
        copy = tmp_path / "theirs" / path.name  # some write beside what they read
        copy.parent.mkdir(exist_ok=True)
        for file in (path, path.with_suffix(".yaml")):
            if file.exists():
                shutil.copy(file, copy.with_suffix(file.suffix))
        script = Path(__file__).with_name("oracle_reader.py")
        command = [oracle_python, script, f"{program.split()[0]} {reader}", copy, out, str(pixel_nm)]
        home = os.environ | {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        told = subprocess.run(command, capture_output=True, text=True, env=home, timeout=120, check=False)
        assert told.returncode == 0, told.stderr
        with np.load(out) as found:
            return {name: found[name] for name in found}

    return run


# ---- conventions: quantity → what it is of their columns


def column(name, scale=1.0, shift=0.0):
    return lambda theirs: theirs[name].astype(np.float64) * scale + shift


def mean(a, b, scale_a=1.0, scale_b=1.0):
    return lambda theirs: (theirs[a].astype(np.float64) * scale_a + theirs[b].astype(np.float64) * scale_b) / 2


# locan: nanometres, frames as in the file, one name for each quantity of any program.
_LOCAN = {
    "x_nm": column("position_x"),
    "y_nm": column("position_y"),
    "z_nm": column("position_z"),
    "photons": column("intensity"),
    "background": column("local_background"),
    "channel": column("channel"),
}
# Picasso in pixels. Its own counts from a pixel's centre; what it imports, it only divides by the pixel's size. It starts an
# import's frames at 0 whatever the file says, and cuts photons and background of ThunderSTORM to whole numbers.
_IMPORTED = {
    "x_nm": column("x", PIXEL_NM),
    "y_nm": column("y", PIXEL_NM),
    "z_nm": column("z"),
    "frame": column("frame"),
    "precision_nm": mean("lpx", "lpy", PIXEL_NM, PIXEL_NM),
    "psf_nm": mean("sx", "sy", PIXEL_NM, PIXEL_NM),
}


def own_picasso(pixel_nm):
    return {
        "x_nm": column("x", pixel_nm, pixel_nm / 2),
        "y_nm": column("y", pixel_nm, pixel_nm / 2),
        "z_nm": column("z"),
        "frame": column("frame"),
        "photons": column("photons"),
        "background": column("bg"),
        "precision_nm": mean("lpx", "lpy", pixel_nm, pixel_nm),
        "precision_z_nm": column("lpz"),
        "psf_nm": mean("sx", "sy", pixel_nm, pixel_nm),
        "group": column("group"),
    }


DECODE_NM = (127.0, 117.0)
CONVENTIONS = {
    (LOCAN, "thunderstorm"): _LOCAN
    | {"frame": column("frame", shift=-1), "precision_nm": column("uncertainty_x"), "psf_nm": column("psf_sigma")}
    | {"precision_z_nm": column("uncertainty_z")},
    (LOCAN, "rapidstorm"): {name: _LOCAN[name] for name in ("x_nm", "y_nm")} | {"frame": column("frame")},
    (LOCAN, "elyra"): {name: rule for name, rule in _LOCAN.items() if name != "background"}
    | {"frame": column("frame", shift=-1), "precision_nm": column("uncertainty")},
    (LOCAN, "nimos"): _LOCAN | {"frame": column("frame")},
    (LOCAN, "smlm"): _LOCAN | {"frame": column("frame")},
    (LOCAN, "smap"): _LOCAN | {"frame": column("frame", shift=-1), "precision_nm": column("locprecnm"), "psf_nm": mean("PSFxnm", "PSFynm")},
    # It leaves DECODE's pixels as they are, counted from the first one's centre.
    (LOCAN, "decode"): _LOCAN
    | {"x_nm": column("position_x", DECODE_NM[0], DECODE_NM[0] / 2), "y_nm": column("position_y", DECODE_NM[1], DECODE_NM[1] / 2)}
    | {"frame": column("frame"), "precision_nm": mean("x_sig", "y_sig", *DECODE_NM), "precision_z_nm": column("z_sig")},
    (PICASSO, "picasso"): own_picasso(117.0),
    (PICASSO, "thunderstorm"): _IMPORTED,
    (PICASSO, "smap"): _IMPORTED | {"photons": column("photons"), "background": column("bg")},
}
# Of the files that we write, where it isn't that of the samples.
WRITTEN_CONVENTIONS = {
    (PICASSO, "picasso"): own_picasso(PIXEL_NM),
    (LOCAN, "smlm"): _LOCAN
    | {"frame": column("frame", shift=-1), "precision_nm": column("uncertainty_xy"), "precision_z_nm": column("uncertainty_z")}
    | {"psf_nm": column("sigma")},
}
# What a file calls otherwise than the others of its format.
OTHER_NAMES = {
    "Thunderstorm_dstorm_data.csv": {"precision_nm": column("uncertainty")},
    "ThunderSTORM_TS3D.csv": {"psf_nm": mean("psf_sigma_x", "psf_sigma_y")},
}
CASES = [(program, reader, pattern) for reader, evidence in EVIDENCE.items() for program, pattern in evidence.oracles]
WRITTEN = [(program, reader) for reader, evidence in EVIDENCE.items() for program in evidence.written_oracles]
# What must be compared at the least; the rapidSTORM and .smlm samples have no precision, ThunderSTORM's are not all in 3D.
AT_LEAST = {"x_nm", "y_nm", "frame"}


def agreeing(ours, theirs, rules, *, rounded_nm=0.0):
    """Compare every quantity that both have, record by record; returns which these are."""
    expected = {name: values for name, rule in rules.items() if (values := _or_none(rule, theirs)) is not None and name in ours}
    ours = {name: ours[name].astype(np.float64) for name in expected}
    if rules.get("frame") is _IMPORTED["frame"]:
        ours["frame"] -= ours["frame"].min()
    assert len(ours["x_nm"]) == len(expected["x_nm"])
    # Picasso sorts by frame, and not stably
    mine, other = (np.lexsort((columns["y_nm"].round(1), columns["x_nm"].round(1), columns["frame"])) for columns in (ours, expected))
    for name, values in expected.items():
        # positions: float32 in their memory, and ours is float32 relative to the field's origin
        is_position = name in ("x_nm", "y_nm")
        atol = 4 * float(np.spacing(np.float32(np.nanmax(np.abs(values))))) if is_position else 0.0
        atol += rounded_nm if name.endswith("_nm") else 0.0
        np.testing.assert_allclose(ours[name][mine], values[other], rtol=0 if is_position else 1e-6, atol=atol, err_msg=name)
    return set(expected)


def _or_none(rule, theirs):
    try:
        return rule(theirs)
    except KeyError:
        return None


def test_every_case_has_its_conventions():
    assert {f"locan=={LOCAN.split()[1]}", f"picassosr=={PICASSO.split()[1]}"} <= set(PINNED)
    assert {(program, reader) for program, reader, _ in CASES} | set(WRITTEN) == set(CONVENTIONS)
    assert {f"{program.split()[0]} {reader}" for program, reader in CONVENTIONS} == set(READERS)


@pytest.mark.parametrize(("program", "reader", "pattern"), CASES)
def test_real_files(data_folder, oracle, tmp_path, program, reader, pattern):
    paths = sorted((data_folder / "real").glob(pattern))
    assert paths
    for path in paths:
        ours, _ = columns_of(ingested(path, tmp_path / path.stem))
        rules = CONVENTIONS[program, reader] | OTHER_NAMES.get(path.name, {})
        compared = agreeing(ours, oracle(program, reader, path), rules)
        assert compared >= AT_LEAST
        assert (set(ours) & {"precision_nm", "photons"} & set(rules)) <= compared


@pytest.mark.parametrize("quantities", [(), ("z_nm", "precision_z_nm")], ids=["2D", "3D"])
@pytest.mark.parametrize(("program", "reader"), WRITTEN)
def test_files_that_we_write(stored, oracle, tmp_path, program, reader, quantities):
    unit = stored(("frame", "photons", "precision_nm", "background", "psf_nm", *quantities), n=3000)
    (format_name,) = EVIDENCE[reader].written
    rules = WRITTEN_CONVENTIONS.get((program, reader), CONVENTIONS[program, reader])
    path, *_ = export_campaign(campaign_of(tmp_path, unit), tmp_path / "out", format=format_name, what=["locs"])
    ours, _ = columns_of(unit)
    compared = agreeing(ours, oracle(program, reader, path), rules, rounded_nm=5.1e-4 * (format_name == "thunderstorm"))
    assert compared >= AT_LEAST | {"precision_nm"}
    assert {"z_nm"} & set(quantities) <= compared
