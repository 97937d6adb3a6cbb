"""The filters: who goes, who stays, what is counted, and what is said where a filter finds nothing to judge."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.config import Config, PrepareConfig, override
from smlmbatch.errors import InputError
from smlmbatch.ingest.prepare import filters_of
from smlmbatch.ingest.validate import validate_file
from smlmbatch.samples import field_of_row
from tests.ingest.conftest import ingest_file

N = 400
COLUMNS = {"precision_nm": "uncertainty [nm]", "photons": "intensity [photon]", "psf_nm": "sigma [nm]", "frame": "frame"}


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(4)
    return {
        "frame": rng.integers(1, 200, N),
        "x [nm]": rng.uniform(0, 5e3, N).round(3),
        "y [nm]": rng.uniform(0, 5e3, N).round(3),
        "sigma [nm]": rng.normal(130, 25, N).round(1),
        "intensity [photon]": rng.gamma(2, 800, N).round(1),
        "uncertainty [nm]": rng.gamma(4, 5, N).round(1),
    }


def table(truth, *, without=(), blank=()):
    """The truth as a file; `blank` are (column, rows) of empty cells."""
    cells = {name: [str(value) for value in values] for name, values in truth.items() if name not in without}
    for name, rows in blank:
        for row in rows:
            cells[name][row] = ""
    lines = [",".join(cells), *(",".join(row) for row in zip(*cells.values(), strict=True))]
    return "\n".join(lines) + "\n"


@settings(max_examples=25, deadline=None)
@given(
    max_precision_nm=st.sampled_from([0.0, 12.3, 30.0]),
    photons=st.sampled_from([(0.0, 0.0), (500.0, 0.0), (0.0, 2500.0), (500.0, 2500.0)]),
    psf=st.sampled_from([(0.0, 0.0), (110.0, 160.0)]),
    frames=st.sampled_from([(0, -1), (20, -1), (0, 150), (20, 150)]),
)
def test_who_stays_is_who_passes_every_limit(truth, tmp_path_factory, max_precision_nm, photons, psf, frames):
    folder = tmp_path_factory.mktemp("filtered")
    (folder / "f.csv").write_text(table(truth))
    limits = {"max_precision_nm": max_precision_nm, "min_photons": photons[0], "max_photons": photons[1]}
    limits |= {"min_psf_nm": psf[0], "max_psf_nm": psf[1], "first_frame": frames[0], "last_frame": frames[1]}
    found = ingest_file(folder / "f.csv", folder / "work", prepare=limits)
    values = {quantity: truth[column].astype("f4") for quantity, column in COLUMNS.items()} | {"frame": truth["frame"] - 1}
    passes = np.ones(N, dtype=bool)
    for name, quantity, low in (
        *(("max_precision_nm", "precision_nm", False), ("min_photons", "photons", True), ("max_photons", "photons", False)),
        *(("min_psf_nm", "psf_nm", True), ("max_psf_nm", "psf_nm", False), ("first_frame", "frame", True)),
    ):
        limit = np.float32(limits[name])
        passes &= (limit == 0) | (values[quantity] >= limit if low else values[quantity] <= limit)
    passes &= (frames[1] < 0) | (values["frame"] <= frames[1])
    np.testing.assert_array_equal(np.sort(found.row), np.flatnonzero(passes))
    attrs = found.attrs
    assert (attrs["n_read"], attrs["n"], attrs["n_filtered"], attrs["n_merged_away"]) == (N, passes.sum(), N - passes.sum(), 0)
    assert sum(attrs["dropped"].values()) == attrs["n_filtered"]
    assert attrs["prepare"] == dataclasses.asdict(override(Config(), {"prepare": limits}).prepare)
    assert attrs["not_applied"] == []
    assert attrs["extent_nm"][0] == [truth[name][passes].min() for name in ("x [nm]", "y [nm]")]
    assert attrs["precision_median_nm"] == np.median(values["precision_nm"][passes].astype("f8"))
    assert attrs["frame_extent"] == [values["frame"][passes].min(), values["frame"][passes].max()]


def test_limits_are_inclusive_and_a_loc_counts_for_the_first_filter_only(write, ingest):
    rows = "1,0,0,12.3,700\n2,1,1,12.4,100\n3,2,2,12.2,100\n4,3,3,,\n5,4,4,-1,nan\n"
    path = write("f.csv", "frame,x [nm],y [nm],uncertainty [nm],intensity [photon]\n" + rows)
    found = ingest(path, prepare={"max_precision_nm": 12.3, "min_photons": 700.0})
    assert sorted(found.row) == [0, 3, 4]
    assert found.attrs["dropped"] == {"precision above 12.3 nm": 1, "photons below 700": 1}


def test_the_default_is_the_precision_filter_alone(truth, write, tmp_path):
    found = ingest_file(write("f.csv", table(truth)), tmp_path / "work", prepare={"max_precision_nm": 30.0})
    assert override(Config(), {"prepare": {"max_precision_nm": 30.0}}) == Config()
    kept = truth["uncertainty [nm]"] <= 30
    assert 0 < (~kept).sum() < N
    assert found.attrs["dropped"] == {"precision above 30 nm": (~kept).sum()}


@pytest.mark.parametrize(
    ("without", "prepare", "said"),
    [
        ("uncertainty [nm]", {"max_precision_nm": 30.0}, None),
        ("uncertainty [nm]", {"max_precision_nm": 20.0}, "no precision in the file: filter prepare.max_precision_nm not applied"),
        ("intensity [photon]", {"min_photons": 10.0}, "no photons in the file: filter prepare.min_photons not applied"),
        ("sigma [nm]", {"max_psf_nm": 1000.0}, "no PSF width in the file: filter prepare.max_psf_nm not applied"),
        ("frame", {"last_frame": 5}, "no frame in the file: filter prepare.last_frame not applied"),
    ],
)
def test_a_filter_without_its_column_is_told(truth, write, ingest, without, prepare, said):
    own = {"format": "table", "map": "x=x [nm],y=y [nm],unit=nm"} if without == "frame" else {}
    found = ingest(write("f.csv", table(truth, without=[without])), prepare=prepare, **own)
    assert found.attrs["not_applied"] == list(prepare)
    assert found.attrs["warnings"] == ({said: 1} if said else {})
    assert found.attrs["n"] == N


def test_a_column_without_any_value_is_no_column(truth, write, ingest):
    path = write("f.csv", table(truth, blank=[("intensity [photon]", range(N))]))
    found = ingest(path, prepare={"min_photons": 10.0})
    assert (found.attrs["not_applied"], found.attrs["n"]) == (["min_photons"], N)


def test_more_than_half_dropped_is_a_warning_and_all_is_an_error(truth, write, ingest):
    path = write("f.csv", table(truth))
    limit = float(np.quantile(truth["uncertainty [nm]"], 0.4).round(1))
    n = int((truth["uncertainty [nm]"].astype("f4") > np.float32(limit)).sum())
    found = ingest(path, prepare={"max_precision_nm": limit})
    assert found.attrs["warnings"] == {f"more than half of the locs dropped by a filter: precision above {limit:g} nm": n}
    with pytest.raises(InputError, match=r"drop 100.0% of the localisations \(precision above 0.01 nm: 400\)") as raised:
        ingest(path, prepare={"max_precision_nm": 0.01, "min_photons": 500.0})
    assert "prepare.max_precision_nm" in raised.value.mend
    assert "unit" in raised.value.mend


@pytest.mark.parametrize("base", [0, 1])
def test_frames_count_from_the_files_first_frame_number(truth, write, ingest, base):
    """Which is told by a frame 0 that a filter then drops: neither the limits nor the stored frames may move."""
    truth = {name: values.copy() for name, values in truth.items()}
    truth["frame"][:3] = [base, base + 9, base + 10]
    truth["uncertainty [nm]"][0] = 99
    found = ingest(write("f.csv", table(truth)), prepare={"max_precision_nm": 50.0, "first_frame": 10})
    assert found.attrs["frame_base"] == base
    by_row = found.by_row()
    assert not {0, 1} & set(by_row["row"])
    assert by_row["frame"][0] == 10
    np.testing.assert_array_equal(by_row["frame"], truth["frame"][by_row["row"]] - base)


def test_memory_changes_nothing(truth, write, tmp_path):
    path, prepare = write("f.csv", table(truth)), {"max_precision_nm": 25.0, "first_frame": 5}
    digests = {ingest_file(path, tmp_path / "work", memory_bytes=memory, prepare=prepare).digest for memory in (0, 2 << 30)}
    assert len(digests) == 1


def test_validate_says_what_the_filters_would_drop(truth, write):
    path = write("f.csv", table(truth))

    def report(**prepare):
        return validate_file(path, field=field_of_row({}, path=path.name, format_name=""), config=override(Config(), {"prepare": prepare}))

    n = int((truth["uncertainty [nm]"] > 30).sum())
    found = report()
    assert (found.n, found.filtered) == (N, {"precision above 30 nm": n})
    assert f"filters would drop {n / N:.1%} of the localisations (precision above 30 nm: {n})" in found.to_text()
    assert json.loads(json.dumps(dataclasses.asdict(found)))["filtered"] == found.filtered
    assert "filters" not in {warning["rule"] for warning in found.warnings}
    assert report(max_precision_nm=0.0).filtered == {}
    assert "filters" in {warning["rule"] for warning in report(max_precision_nm=5.0).warnings}
    assert report(last_frame=99).filtered["frame after 99"] > 100


def test_what_is_off_makes_no_filter():
    assert filters_of(PrepareConfig(max_precision_nm=0.0), frame_base=1) == ()
    (only,) = filters_of(PrepareConfig(max_precision_nm=0.0, last_frame=0), frame_base=1)
    assert (only.reason, only.limit) == ("frame after 0", 1)
