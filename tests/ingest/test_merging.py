"""Merging on the way through ingest: attributes that add up, joins by row, nothing that memory or the file's order could change."""

import numpy as np
import pytest

from smlmbatch.blinks.nena import nena_nm
from smlmbatch.errors import InputError
from smlmbatch.simulate.blinking import Camera, Fluorophore, blink
from tests.blinks.test_merge import merge_all, records_of
from tests.ingest.conftest import ingest_file

RADIUS_NM = 40.0
DYE = Fluorophore(mean_blinks=2.0, mean_on_frames=2.5, mean_dark_frames=30.0, mean_photons=2500.0, min_photons=800.0)


@pytest.fixture(scope="module")
def locs():
    """Blinking molecules in 8 x 8 um, as a file has them: three decimals."""
    rng = np.random.default_rng(21)
    found = blink(rng, rng.uniform(0, 8000, (6000, 2)), fluorophore=DYE, camera=Camera(n_frames=3000))
    names = ("x_nm", "y_nm", "precision_nm", "photons", "psf_nm")
    return {name: getattr(found, name).round(3) for name in names} | {"frame": found.frame + 1, "molecule": found.molecule}


def write_csv(path, locs, order=None, channel=None):
    order = np.arange(len(locs["frame"])) if order is None else order
    head = ["frame", "x [nm]", "y [nm]", "sigma [nm]", "intensity [photon]", "uncertainty_xy [nm]"]
    columns = [locs[name][order] for name in ("frame", "x_nm", "y_nm", "psf_nm", "photons", "precision_nm")]
    if channel is not None:
        head, columns = [*head, "channel"], [*columns, channel[order]]
    lines = [",".join(map(str, row)) for row in zip(*(column.tolist() for column in columns), strict=True)]
    path.write_text("\n".join([",".join(head), *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def csv_file(locs, tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("blinks") / "f.csv", locs)


@pytest.fixture(scope="module")
def merged(csv_file, tmp_path_factory):
    return ingest_file(csv_file, tmp_path_factory.mktemp("merged"), prepare={"merge_nm": RADIUS_NM})


def test_what_is_stored_is_what_merging_gives(locs, merged):
    """And a merged loc joins back to the file by the row of its first loc."""
    names = ("x_nm", "y_nm", "frame", "photons", "precision_nm", "psf_nm")
    expected = merge_all(records_of(**{name: locs[name] for name in names}), radius_nm=RADIUS_NM)
    assert 1.3 * len(expected["row"]) < len(locs["frame"])
    found = merged.by_row()
    np.testing.assert_array_equal(found["row"], expected["row"])
    np.testing.assert_array_equal(found["n_merged"], expected["n_merged"])
    np.testing.assert_array_equal(found["frame"], locs["frame"][found["row"]] - 1)
    np.testing.assert_allclose(found["x_nm"], expected["x_nm"], atol=2e-3)
    for name in ("photons", "precision_nm", "psf_nm"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_attributes_add_up(locs, merged):
    attrs, n = merged.attrs, len(locs["frame"])
    assert (attrs["n_read"], attrs["n_merged_away"]) == (n, n - attrs["n"])
    assert attrs["n"] == len(merged.row) == sum(attrs["n_per_channel"]) == merged.tile_start[-1]
    assert merged.n_merged.sum() == n
    assert (attrs["dropped"], attrs["n_filtered"], attrs["warnings"]) == ({}, 0, {})
    assert attrs["precision_median_nm"] == np.median(merged.precision_nm.astype("f8"))
    low = np.array(attrs["extent_nm"][0]) - attrs["origin_nm"]
    np.testing.assert_allclose(low, [merged.x_nm.min(), merged.y_nm.min()], atol=1e-3)
    assert attrs["merge_radius_nm"] == [RADIUS_NM]
    assert attrs["nena_nm"] == [nena_nm(locs["x_nm"], locs["y_nm"], locs["frame"]).precision_nm]
    assert attrs["precision_unmerged_nm"] == [np.median(locs["precision_nm"].astype("f4").astype("f8"))]
    assert attrs["precision_unmerged_nm"][0] > 1.05 * attrs["precision_median_nm"]


@pytest.mark.parametrize("memory_bytes", [0, 401 << 20])
def test_memory_changes_nothing(csv_file, merged, tmp_path, memory_bytes):
    assert ingest_file(csv_file, tmp_path, memory_bytes=memory_bytes, prepare={"merge_nm": RADIUS_NM}).digest == merged.digest


def test_the_order_of_the_file_changes_nothing_but_rows(locs, merged, tmp_path):
    order = np.random.default_rng(1).permutation(len(locs["frame"]))
    found = ingest_file(write_csv(tmp_path / "f.csv", locs, order), tmp_path / "work", prepare={"merge_nm": RADIUS_NM})
    for name, values in merged.arrays.items():
        np.testing.assert_array_equal(order[found.row] if name == "row" else found.arrays[name], values, err_msg=name)
    assert found.attrs == merged.attrs


def test_channels_are_merged_each_for_itself(locs, tmp_path):
    """Words for channels: half of each molecule's locs in one, half in the other."""
    channel = np.array(["red", "blue"])[np.random.default_rng(2).integers(2, size=len(locs["frame"]))]
    found = ingest_file(write_csv(tmp_path / "f.csv", locs, channel=channel), tmp_path / "work", prepare={"merge_nm": RADIUS_NM})
    assert found.attrs["channel_names"] == ["blue", "red"]
    by_row, names = found.by_row(), ("x_nm", "y_nm", "frame", "photons", "precision_nm")
    for number, name in enumerate(found.attrs["channel_names"]):
        rows = np.flatnonzero(channel == name)
        expected = merge_all(records_of(row=rows, **{column: locs[column][rows] for column in names}), radius_nm=RADIUS_NM)
        chosen = by_row["channel"] == number
        np.testing.assert_array_equal(by_row["row"][chosen], expected["row"])
        np.testing.assert_array_equal(by_row["n_merged"][chosen], expected["n_merged"])
        stated = locs["precision_nm"][rows].astype("f4").astype("f8")
        assert found.attrs["precision_unmerged_nm"][number] == np.median(stated)


def test_two_words_of_one_channel_have_one_precision(locs, tmp_path):
    channel = np.array(["1", "1.0", "2"])[np.arange(len(locs["frame"])) % 3]
    found = ingest_file(write_csv(tmp_path / "f.csv", locs, channel=channel), tmp_path / "work", prepare={"merge_nm": RADIUS_NM})
    stated = locs["precision_nm"].astype("f4").astype("f8")
    assert found.attrs["channels"] == [1, 2]
    assert found.attrs["precision_unmerged_nm"] == [np.median(stated[channel != "2"]), np.median(stated[channel == "2"])]


def test_no_precision_is_stated(locs, write, tmp_path):
    lines = [f"{x},{y},{frame}" for x, y, frame in zip(locs["x_nm"], locs["y_nm"], locs["frame"], strict=True)]
    found = ingest_file(write("f.csv", "\n".join(["x_nm,y_nm,frame", *lines])), tmp_path / "work", prepare={"merge_nm": RADIUS_NM})
    assert found.attrs["precision_unmerged_nm"] == [None]
    assert found.attrs["nena_nm"][0] > 1


def test_filters_come_before_merging(locs, csv_file, tmp_path):
    limit = float(np.median(locs["precision_nm"]).round(2))
    found = ingest_file(csv_file, tmp_path, prepare={"merge_nm": RADIUS_NM, "max_precision_nm": limit})
    n_kept = int((locs["precision_nm"].astype("f4") <= np.float32(limit)).sum())
    assert found.n_merged.sum() == n_kept
    assert found.attrs["n_filtered"] == len(locs["frame"]) - n_kept
    assert found.attrs["n"] + found.attrs["n_filtered"] + found.attrs["n_merged_away"] == found.attrs["n_read"]


def test_the_distance_as_a_multiple_of_nena(locs, csv_file, merged, tmp_path):
    found = ingest_file(csv_file, tmp_path, prepare={"merge_nena": 4.0, "merge_dark_frames": 2})
    (nena,) = found.attrs["nena_nm"]
    assert found.attrs["merge_radius_nm"] == [4 * nena]
    assert nena == pytest.approx(np.median(locs["precision_nm"]), rel=0.25)
    names = ("x_nm", "y_nm", "frame")
    expected = merge_all(records_of(**{name: locs[name] for name in names}), radius_nm=4 * nena, dark_frames=2)
    np.testing.assert_array_equal(found.by_row()["n_merged"], expected["n_merged"])


def test_without_frames_there_is_an_error(write, tmp_path):
    with pytest.raises(InputError, match="the file has no frames") as raised:
        ingest_file(write("f.csv", "x_nm,y_nm\n0,0\n1,1\n"), tmp_path / "work", prepare={"merge_nm": 20.0})
    assert "prepare.merge_nm = 0" in raised.value.mend


def test_what_is_merged_already_stays_as_it_is(locs, tmp_path):
    """One loc a molecule: NeNA finds nothing to take a distance from, which is said; a distance in nm needs no NeNA."""
    _, first = np.unique(locs["molecule"], return_index=True)
    once = {name: values[np.sort(first)] for name, values in locs.items()}
    found = ingest_file(write_csv(tmp_path / "f.csv", once), tmp_path / "work", prepare={"merge_nena": 3.0})
    ((said, n),) = found.attrs["warnings"].items()
    assert n == 1
    assert said.startswith("blinks of channel 0 not merged, no NeNA precision to take the distance from: ")
    assert (found.attrs["nena_nm"], found.attrs["merge_radius_nm"], found.attrs["n_merged_away"]) == ([None], [None], 0)
    assert (found.n_merged == 1).all()
    found = ingest_file(tmp_path / "f.csv", tmp_path / "work", prepare={"merge_nm": 20.0})
    assert (found.attrs["nena_nm"], found.attrs["merge_radius_nm"], found.attrs["warnings"]) == ([None], [20.0], {})


def test_unmerged_files_have_no_column_of_it(csv_file, tmp_path):
    found = ingest_file(csv_file, tmp_path)
    assert "n_merged" not in found.arrays
    assert not {"nena_nm", "precision_unmerged_nm"} & set(found.attrs)
    assert found.attrs["n_merged_away"] == 0
