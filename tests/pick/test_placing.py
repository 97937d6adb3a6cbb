"""Picks of a file in a field: frames, pixels, channels, and the mistakes that places give away."""

import numpy as np
import pytest

from smlmbatch.errors import InputError
from smlmbatch.pick.given import read_picks
from smlmbatch.pick.placing import AGAIN, NO_CHANNEL, OUTSIDE, place_picks
from smlmbatch.samples import Field

FIELD = Field(path="a.csv", name="a.csv", condition="c", replicate="r")
INGEST = {
    "origin_nm": [1000.0, 2000.0],
    "extent_nm": [[1000.0, 2000.0], [31_000.0, 26_000.0]],
    "dims": 2,
    "channels": [0],
    "pixel_size_nm": None,
    "pixel_offset_px": 0.0,
}


def place(text, *, pixel_size_nm=0.0, name="picks.csv", **ingest):
    given = read_picks(name, text.encode(), radius_nm=50.0)
    return place_picks(given, FIELD, INGEST | ingest, radius_nm=50.0, pixel_size_nm=pixel_size_nm)


def test_places_are_those_of_the_files_own_frame() -> None:
    found = place("x,y\n5000,6000\n20000,20000\n")
    assert found.centre_nm.tolist() == [[4000, 4000], [19_000, 18_000]]
    assert found.radius_nm.tolist() == [50, 50]
    assert place("x_um,y_um\n5,6\n").centre_nm == pytest.approx(np.array([[4000, 4000]]))


def test_pixels_are_the_localisation_files() -> None:
    """A whole number is the middle of a pixel where ingest says so."""
    picasso = {"pixel_size_nm": 130.0, "pixel_offset_px": 0.5}
    assert place("x_px,y_px\n100,100\n", **picasso).centre_nm.tolist() == [[100.5 * 130 - 1000, 100.5 * 130 - 2000]]
    assert place("x_px,y_px\n100,100\n", pixel_size_nm=100.0).centre_nm.tolist() == [[9000, 8000]]
    regions = place("Centers: [[100, 100]]\nDiameter: 2\n", name="p.yaml", **picasso)
    assert (regions.radius_nm.tolist(), regions.centre_nm.tolist()) == ([130.0], [[100.5 * 130 - 1000, 100.5 * 130 - 2000]])
    with pytest.raises(InputError, match="the field's pixel size isn't known"):
        place("x_px,y_px\n100,100\n")


def test_each_channel_has_its_particles_and_what_is_left_out_is_counted() -> None:
    text = "x,y,channel\n5000,6000,\n9000,6000,3\n9000,9000,1\n9000,9000,1\n5000,90000,\n5000,6000,7\n"
    found = place(text, channels=[1, 3])
    assert list(zip(found.channel.tolist(), found.row.tolist(), strict=True)) == [(1, 0), (1, 2), (3, 0), (3, 1)]
    assert found.left_out == {OUTSIDE: 2, AGAIN: 1, NO_CHANNEL: 1}
    assert len(found.row) + sum(found.left_out.values()) == 2 + 1 + 1 + 1 + 2 + 1


def test_a_circle_that_reaches_into_the_field_is_in_it() -> None:
    assert place("x,y\n960,5000\n5000,5000\n").left_out[OUTSIDE] == 0
    assert place("x,y\n940,5000\n5000,5000\n").left_out[OUTSIDE] == 1


PIXELS = "40,50\n150,200\n220,180\n"


@pytest.mark.parametrize(
    ("text", "ingest", "finding"),
    [
        (f"x,y\n{PIXELS}", {}, "look like pixels: as nanometres all lie outside of the field"),
        (f"x_nm,y_nm\n{PIXELS}", {}, "look like pixels: as nanometres all lie outside of the field"),
        (f"x,y\n{PIXELS}", {"pixel_size_nm": 117.0}, "taken for camera pixels of 117 nm they lie in the field"),
        (f"x,y\n{PIXELS}", {"extent_nm": [[0.0, 0.0], [30_000.0, 26_000.0]]}, "in one corner of it (x 40 to 220, y 50 to 200 nm"),
        ("x,y\n5e5,4e5\n6e5,4e5\n", {}, "none of its 2 centres lies in the field: x 500,000 to 600,000, y 400,000 to 400,000 nm"),
        ("x,y,z\n5000,6000,100\n", {}, "has centres with z, and the field is flat"),
        ("x,y,z\n5000,6000,100\n6000,6000,\n", {"dims": 3}, "has z for 1 of the field's 2 centres"),
    ],
)
def test_places_that_can_not_be_right(text, ingest, finding) -> None:
    with pytest.raises(InputError) as error:
        place(text, **ingest)
    assert finding in error.value.finding
    assert error.value.path == "picks.csv"


def test_who_says_nanometres_is_believed_within_the_field() -> None:
    """Three centres in the corner of a field that begins at 0."""
    found = place(f"x_nm,y_nm\n{PIXELS}", extent_nm=[[0.0, 0.0], [30_000.0, 26_000.0]], origin_nm=[0.0, 0.0])
    assert found.centre_nm.tolist() == [[40, 50], [150, 200], [220, 180]]


def test_z() -> None:
    assert place("x,y,z\n5000,6000,100\n", dims=3).centre_nm.tolist() == [[4000, 4000, 100]]
    assert place("x,y,z\n5000,6000,0\n").centre_nm.shape == (1, 2)
    assert place("x,y,z\n5000,6000,0\n", dims=3).centre_nm.shape == (1, 2)


def test_a_field_without_picks() -> None:
    found = place("field,x,y\nother.csv,1,2\n")
    assert (found.centre_nm.shape, found.left_out) == ((0, 2), {OUTSIDE: 0, AGAIN: 0, NO_CHANNEL: 0})
