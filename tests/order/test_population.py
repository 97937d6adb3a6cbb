"""What is left out of a population, and where what is left comes from."""

import numpy as np
import pytest

from smlmbatch.methods.pcvae.data import ParticleSet
from smlmbatch.methods.pcvae.stored import StoredParticles
from smlmbatch.order.population import FAR, FEW, LARGE, SMALL, choose_population, median_distances_nm


def stored(*particles: np.ndarray) -> StoredParticles:
    sizes = [len(points) for points in particles]
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    points = np.concatenate(particles).astype(np.float32)
    number = np.arange(len(particles), dtype=np.int32)
    known = ParticleSet(points, start, np.arange(len(points), dtype=np.float32), {"photons": np.arange(len(points), dtype=np.float32)})
    return StoredParticles(known, np.zeros_like(number), number, np.arange(100, 100 + len(points)), 0, {}, False)


def ring(radius_nm: float, n: int = 12) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return radius_nm * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_copies_of_one_structure_stay():
    found = choose_population(stored(*(ring(50.0 + k) for k in range(9))))
    assert found.left_out == {}
    assert found.far_locs == 0
    assert len(found.stored.particles) == 9
    np.testing.assert_array_equal(found.stored.loc, np.arange(100, 100 + 9 * 12))


def test_what_is_no_copy_is_left_out_and_counted():
    copies = [ring(50.0) for _ in range(7)]
    odd = [ring(50.0, 2), ring(170.0), ring(10.0), np.array([[50.0, 0], [60, 0], [900, 0], [0, 900], [40, 0]])[[0, 2, 3]]]
    found = choose_population(stored(*copies, *odd))
    assert found.left_out == {FEW: 1, LARGE: 2, SMALL: 1}
    np.testing.assert_array_equal(found.stored.number, np.arange(7))


def test_a_particle_whose_locs_are_mostly_far_is_left_out():
    split = np.array([[20.0, 0], [20, 1], [900, 0]])
    found = choose_population(stored(*(ring(50.0) for _ in range(7)), split))
    assert found.left_out == {FAR: 1}


def test_a_stray_loc_goes_and_its_particle_stays():
    struck = np.concatenate([ring(50.0), [[600.0, 0.0]]])
    found = choose_population(stored(ring(50.0), struck, ring(52.0), ring(51.0)))
    assert found.left_out == {}
    assert found.far_locs == 1
    assert found.stored.particles.sizes.tolist() == [12, 12, 12, 12]
    gone = 100 + 12 + 12
    assert gone not in found.stored.loc
    kept = found.stored.loc - 100
    np.testing.assert_array_equal(found.stored.particles.precision_nm, kept)
    np.testing.assert_array_equal(found.stored.particles.extras["photons"], kept)


def test_median_distances_are_numpys():
    rng = np.random.default_rng(3)
    particles = [rng.normal(0, 30, (n, 2)).astype(np.float32) for n in (1, 2, 5, 8)]
    wanted = [np.median(np.linalg.norm(points.astype(np.float64), axis=1)) for points in particles]
    assert median_distances_nm(stored(*particles).particles) == pytest.approx(wanted)
