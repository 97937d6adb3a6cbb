"""Tables, particles and SMAP's columns in MATLAB 5 files, written by scipy."""

import numpy as np
import pytest
import scipy.io

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides
from smlmbatch.ingest.matfile import read_mat5
from smlmbatch.ingest.matlab5 import CENTRED, mat5_columns
from smlmbatch.ingest.recognise import recognise
from tests.ingest.reading import damage_is_told, read

N = 50
X, Y = np.arange(N) * 1.5, np.arange(N) * 0.5 + 3


@pytest.fixture
def mat(tmp_path):
    def put(compressed=True, **variables):
        scipy.io.savemat(tmp_path / "field.mat", variables, do_compression=compressed, oned_as="row")
        return tmp_path / "field.mat"

    return put


@pytest.mark.parametrize("compressed", [False, True])
def test_a_struct_whose_unit_the_user_gives(mat, ingest, compressed):
    outline = {"x": np.arange(5.0), "y": np.arange(5.0)}
    path = mat(compressed, data={"spacewin": outline, "x": X, "y": Y, "t": np.arange(N) / 7})
    seen = recognise(path, overrides=Overrides())
    assert seen.kind == "unreadable"
    assert "unit" in seen.reason
    assert "--unit nm" in seen.mend
    found = ingest(path, unit="um")
    np.testing.assert_allclose(found.by_row()["x_nm"], X * 1e3, atol=1e-3)
    np.testing.assert_allclose(found.by_row()["y_nm"], Y * 1e3, atol=1e-3)
    assert (found.attrs["format"], found.attrs["unit"], found.attrs["frame_base"]) == ("table", "um", None)
    assert "frame" not in found.arrays  # seconds are no frame


def test_pixels_need_a_size(mat):
    path = mat(x=X, y=Y)
    with pytest.raises(InputError, match="no pixel size is known"):
        read(path, unit="px")
    np.testing.assert_allclose(read(path, unit="px", pixel_size_nm=100).x_nm, X * 100)


def test_by_a_map(mat):
    path = mat(locs=np.stack([X, Y, np.arange(N) + 1.0], axis=1), other={"x": X[:9]})
    found = read(path, map="x=locs:1,y=locs:2,frame=locs:3,unit=nm,frame_base=1")
    np.testing.assert_allclose(found.y_nm, Y)
    assert found.source.resolved.frame_base == 1
    with pytest.raises(InputError, match=r"locs:1 has 50 entries, other\.x has 9"):
        read(path, map="x=other.x,y=locs:1,unit=nm")
    assert read(mat(data={"a": X, "b": Y}), map="x=data.a,y=b,unit=nm").tally.n == N
    with pytest.raises(InputError, match="the map names the column 'q'"):
        read(mat(x=X, y=Y), map="x=q,y=y,unit=nm")


def test_struct_arrays(mat):
    structs = np.zeros((1, N), dtype=[("x", "O"), ("y", "O"), ("name", "O")])
    for k in range(N):
        structs[0, k]["x"], structs[0, k]["y"], structs[0, k]["name"] = X[k], Y[k], "spot"
    np.testing.assert_allclose(read(mat(spots=structs), unit="nm").y_nm, Y)


def test_a_single_number_is_no_column(mat):
    found = read(mat(x=X, y=Y, channel=2, frame=np.arange(N)), unit="nm")
    assert "channel" not in found.columns
    assert "frame" in found.columns


def test_our_own_names(mat):
    assert read(mat(x_nm=X, y_nm=Y, frame=np.arange(N))).columns.keys() >= {"x_nm", "y_nm", "frame"}


def test_names_of_the_largest_table_are_short(mat):
    names = list(mat5_columns(read_mat5(mat(a={"x": X, "y": Y, "w": X}, b={"x": X[:5], "y": Y[:5]}, w=X))))
    assert names[:2] == ["x", "y"]
    assert {"a.x", "b.x", "a.w", "w"} <= set(names)


@pytest.mark.parametrize("variables", [{"note": "hello"}, {"settings": {"gain": 3, "name": "x"}}, {"image": np.zeros((100, 100))}])
def test_no_table(mat, variables):
    assert recognise(mat(**variables), overrides=Overrides()).kind == "ignored"


def test_unknown_columns(mat):
    seen = recognise(mat(a=X, b=Y), overrides=Overrides())
    assert seen.kind == "unreadable"
    assert "found a, b" in seen.reason


def test_a_broken_record_in_the_middle(mat):
    x = X.copy()
    x[20] = np.nan
    found = read(mat(x=x, y=Y), unit="nm")
    assert found.row.tolist() == [row for row in range(N) if row != 20]
    np.testing.assert_allclose(found.y_nm, Y[found.row])


# ---- SMAP


def test_smap(mat, ingest):
    loc = {"xnm": X, "ynm": Y, "znm": np.zeros(0), "frame": np.arange(N) + 1.0, "phot": X + 9, "locprecnm": np.full(N, 8.0), "label": "a"}
    found = ingest(mat(saveloc={"file": {"info": {"cam_pixelsize_um": 0.1}}, "loc": loc}))
    got = found.by_row()
    np.testing.assert_allclose(got["x_nm"], X, atol=1e-4)
    np.testing.assert_array_equal(got["frame"], np.arange(N))
    np.testing.assert_array_equal(got["photons"], (X + 9).astype("f4"))
    assert (found.attrs["format"], found.attrs["frame_base"]) == ("smap", 1)


def test_smap_columns_of_different_lengths(mat):
    with pytest.raises(InputError, match="ynm has 3 entries, xnm has 50"):
        read(mat(saveloc={"loc": {"xnm": X, "ynm": Y[:3]}}))


# ---- particles


def particles(sizes=(30, 1, 0, 40_000, 40_000), dims=2, sigmas=1):
    rng = np.random.default_rng(0)
    cells = np.empty((1, len(sizes)), dtype=object)
    for k, n in enumerate(sizes):
        cells[0, k] = {"points": rng.normal(size=(n, dims)), "sigma": rng.uniform(0.01, 0.1, (n, sigmas))}
    return cells


def joined(cells, field):
    return np.concatenate([cell[field] for cell in cells[0] if len(cell[field])])


@pytest.mark.parametrize(("dims", "sigmas"), [(2, 1), (3, 2)])
def test_particles_are_groups(mat, ingest, dims, sigmas):
    cells = particles(dims=dims, sigmas=sigmas)
    found = ingest(mat(particles=cells), pixel_size_nm=130)
    got = found.by_row()
    points, sigma = joined(cells, "points"), joined(cells, "sigma")
    for k, name in enumerate(("x_nm", "y_nm", "z_nm")[:dims]):
        np.testing.assert_allclose(got[name], points[:, k] * 130, atol=1e-3)
    for k, name in enumerate(("precision_nm", "precision_z_nm")[:sigmas]):
        np.testing.assert_allclose(got[name], sigma[:, k] * 130, rtol=1e-5)
    np.testing.assert_array_equal(got["group"], np.repeat([0, 1, 3, 4], [30, 1, 40_000, 40_000]))
    attrs = found.attrs
    assert attrs["members"] == [[f"particles{{{k}}}", row] for k, row in zip(range(1, 6), (0, 30, 31, 31, 40_031), strict=True)]
    assert (attrs["format"], attrs["unit"], attrs["pixel_size_nm"], attrs["pixel_offset_px"]) == ("particles", "px", 130, 0)
    assert CENTRED in attrs["warnings"]


def test_particles_need_a_pixel_size_or_a_unit(mat):
    path = mat(particles=particles((5, 6)))
    with pytest.raises(InputError, match="no pixel size"):
        read(path)
    np.testing.assert_allclose(read(path, unit="nm").x_nm, joined(particles((5, 6)), "points")[:, 0])


def test_particles_as_a_struct_array(mat):
    structs = np.zeros((1, 2), dtype=[("points", "O"), ("sigma", "O")])
    for k in range(2):
        structs[0, k]["points"], structs[0, k]["sigma"] = np.ones((3 + k, 2)), np.ones((3 + k, 1))
    found = read(mat(p=structs), unit="nm")
    assert found.group.tolist() == [0] * 3 + [1] * 4
    assert found.source.members == (("p(1)", 0), ("p(2)", 3))


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (particles((3, 3), dims=4), "has 4 columns of points"),
        (particles((3, 3), sigmas=5), "5 of sigma"),
        (particles((0, 0)), "hold no points"),
        (np.concatenate([particles((3,), dims=2), particles((3,), dims=3)], axis=1), "differ in their columns"),
    ],
)
def test_particles_that_are_none(mat, cells, words):
    with pytest.raises(InputError, match=words):
        read(mat(particles=cells), pixel_size_nm=130)


@pytest.mark.parametrize("compressed", [False, True])
def test_random_damage(mat, compressed):
    rng = np.random.default_rng(6)
    damage_is_told(mat(compressed, x=X, y=Y), rng, unit="nm")
    damage_is_told(mat(compressed, particles=particles((5, 3, 9))), rng, n_times=150, pixel_size_nm=100)
    damage_is_told(mat(compressed, saveloc={"loc": {"xnm": X, "ynm": Y}}), rng)
