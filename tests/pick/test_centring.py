"""One way for all particles of a channel, by majority; unsure ones fall back."""

import numpy as np
import pytest

from smlmbatch.clustering.centre import fit_sphere, hull_centre
from smlmbatch.pick.centring import WAYS, find_centres
from tests.pick.structures import disc, double_ring, pore, spot, tetrahedron


def particles(structure, count=20):
    return [structure(np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize(
    ("structure", "axes", "way"),
    [
        (pore, 2, "circle"),
        (spot, 2, "area"),
        (disc, 2, "area"),
        (lambda rng: disc(rng, molecules=8), 2, "area"),
        (tetrahedron, 3, "sphere"),
        (double_ring, 3, "sphere"),
        (lambda rng: np.column_stack([points := pore(rng), rng.normal(0, 3, len(points))]), 3, "circle"),
        (lambda rng: np.column_stack([points := spot(rng), rng.normal(0, 20, len(points))]), 3, "area"),
    ],
)
def test_the_majority_decides(structure, axes, way) -> None:
    found = find_centres(particles(structure), axes=axes)
    assert found.way == way
    assert found.centre_nm.shape == (20, axes)
    assert np.mean(found.by == WAYS.index(way)) > 0.8


def test_a_few_rings_among_spots_are_centred_as_spots() -> None:
    mixed = particles(spot, 12) + particles(pore, 8)
    found = find_centres(mixed)
    assert (found.way, set(found.by)) == ("area", {WAYS.index("area")})
    assert found.centre_nm == pytest.approx(np.array([hull_centre(points) for points in mixed]))


def test_what_is_wished_is_done_where_it_can_be() -> None:
    """Circles for spots; an arc that doesn't tell its centre, and 5 locs, by area."""
    arc = pore(np.random.default_rng(3), corners=[0])
    mixed = [*particles(spot, 4), arc, arc[:5]]
    found = find_centres(mixed, way="circle")
    assert found.way == "circle"
    assert [WAYS[by] for by in found.by] == ["circle"] * 4 + ["area"] * 2
    assert found.centre_nm[0] == pytest.approx(fit_sphere(mixed[0]).centre_nm)
    assert found.centre_nm[4] == pytest.approx(hull_centre(arc))


def test_in_the_plane_a_sphere_is_a_circle() -> None:
    flat = find_centres(particles(pore), way="sphere")
    assert flat.way == "circle"
    assert flat.centre_nm == pytest.approx(find_centres(particles(pore), way="circle").centre_nm)


def test_a_circle_leaves_z_to_the_hull() -> None:
    rings = particles(double_ring)
    found = find_centres(rings, way="circle", axes=3)
    assert found.centre_nm[:, 2] == pytest.approx([hull_centre(points)[2] for points in rings])
    assert found.centre_nm[:, :2] == pytest.approx(np.array([fit_sphere(points[:, :2]).centre_nm for points in rings]))


def test_nobody() -> None:
    found = find_centres([], axes=3)
    assert (found.way, found.centre_nm.shape, len(found.by)) == ("area", (0, 3), 0)
