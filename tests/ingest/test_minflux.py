"""MINFLUX records of both layouts, made here after Imspector's exports."""

import io
import zipfile

import numpy as np
import pytest

from smlmbatch.errors import InputError
from tests.ingest.reading import damage_is_told, read

ITERATION = [("itr", "<i4"), ("tic", "<u8"), ("loc", "<f8", (3,)), ("eco", "<i4"), ("ecc", "<i4"), ("efo", "<f8")]


def nested(n=60, iterations=5):
    """Up to m2205: all iterations in one record."""
    shape = (iterations,) if iterations else ()
    records = np.zeros(n, dtype=[("itr", ITERATION, shape), ("tim", "<f8"), ("tid", "<i4"), ("vld", "?"), ("sky", "<i4")])
    last = records["itr"][:, -1] if iterations else records["itr"]
    if iterations > 1:
        records["itr"]["loc"][:, :-1] = 1.0  # a metre off: must not be taken
    last["loc"] = np.stack([1e-6 + np.arange(n) * 1e-8, -15e-6 - np.arange(n) * 2e-8, np.zeros(n)], axis=1)
    last["eco"] = 100 + np.arange(n)
    records["tid"], records["vld"], records["tim"] = np.arange(n) // 7 + 50, True, np.arange(n) / 3
    return records


def flat(n_traces=20):
    """Since m2410: a record per iteration; a trace starts with 0, 1, 2, 3 and goes on with 2, 3; some break off."""
    kinds = [("vld", "?"), ("fnl", "?"), ("tim", "<f8"), ("tid", "<u4"), ("itr", "<i4"), ("loc", "<f8", (3,)), ("eco", "<u4")]
    rows = []
    for trace in range(n_traces):
        sequence = [0, 1] if trace % 5 == 4 else [0, 1, 2, 3, 2, 3]
        rows += [(True, itr == 3, trace + 0.1, trace, itr, (trace * 1e-7 + itr * 1e-9, itr * 1e-3, 5e-9), itr) for itr in sequence]
    records = np.array(rows, dtype=kinds)
    records["vld"][records["tid"] == 1] = False
    return records


@pytest.fixture
def npy(tmp_path):
    def put(array, *, zipped=False):
        path = tmp_path / ("field.npy.zip" if zipped else "field.npy")
        content = io.BytesIO()
        np.save(content, array)
        if zipped:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr("field.npy", content.getvalue())
        else:
            path.write_bytes(content.getvalue())
        return path

    return put


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("iterations", [10, 5, 1, 0])
def test_the_last_iteration_in_nanometres(npy, ingest, zipped, iterations):
    found = ingest(npy(nested(iterations=iterations), zipped=zipped))
    got = found.by_row()
    np.testing.assert_allclose(got["x_nm"], 1000 + np.arange(60) * 10, atol=1e-3)
    np.testing.assert_allclose(got["y_nm"], -15000 - np.arange(60) * 20, atol=1e-3)
    np.testing.assert_array_equal(got["group"], np.arange(60) // 7 + 50)
    np.testing.assert_array_equal(got["photons"], 100 + np.arange(60))
    assert not {"frame", "precision_nm", "z_nm"} & got.keys()
    attrs = found.attrs
    assert (attrs["format"], attrs["unit"], attrs["frame_base"], attrs["dims"]) == ("minflux", "m", None, 2)
    assert attrs.get("members") == ([["field.npy", 0]] if zipped else None)


def test_invalid_records_are_dropped_and_counted(npy):
    records = nested()
    records["vld"][::4] = False
    records["itr"]["loc"][5, -1] = np.nan
    found = read(npy(records))
    assert found.row.tolist() == [row for row in range(60) if row % 4 and row != 5]
    assert +found.tally.dropped == {"not marked valid": 15, "coordinate not finite": 1}
    np.testing.assert_allclose(found.x_nm, 1000 + found.row * 10)


def test_flat_records(npy):
    records = flat()
    found = read(npy(records))
    expected = np.flatnonzero(records["vld"] & (records["itr"] == 3))
    assert found.row.tolist() == expected.tolist()
    np.testing.assert_allclose(found.x_nm, records["tid"][expected] * 100 + 3)
    assert set(found.z_nm) == {np.float32(5)}
    assert found.group.tolist() == records["tid"][expected].tolist()
    n_invalid = int((~records["vld"]).sum())
    assert +found.tally.dropped == {"not marked valid": n_invalid, "not the last iteration": len(records) - n_invalid - len(expected)}
    assert found.tally.n_read == len(records)


def test_a_broken_iteration_number_does_not_drop_the_others(npy):
    records = flat(200)
    expected = np.flatnonzero(records["vld"] & (records["itr"] == 3))
    for number in (7, 2**30, -4):
        broken = records.copy()
        broken["itr"][expected[10]] = number
        assert len(read(npy(broken)).row) == len(expected) - 1


def test_nothing_valid(npy):
    for records in (flat(), nested()):
        records["vld"] = False
        with pytest.raises(InputError, match="is a localisation"):
            read(npy(records))
    with pytest.raises(InputError, match="no localisations"):
        read(npy(flat(0)))


def test_other_records_are_no_minflux(npy):
    with pytest.raises(InputError, match="no MINFLUX records; found x, y"):
        read(npy(np.zeros(3, dtype=[("x", "f4"), ("y", "f4")])), format="minflux")


def test_random_damage(npy):
    rng = np.random.default_rng(4)
    assert damage_is_told(npy(nested()), rng) > 5
    assert damage_is_told(npy(flat()), rng) > 5
    damage_is_told(npy(nested(), zipped=True), rng)
