import numpy as np
import pytest

from smlmbatch.analyse.embedding_density import Embedder, Place, embedder, equal_numbers, rasters_of, thinned_vectors
from smlmbatch.methods.contrastive.infer import embed_counts
from smlmbatch.methods.model import load_model
from smlmbatch.store.arrays import UnitReader
from tests.analyse.embedded_campaigns import keep_model

PLACES = [Place("f", roi, 0) for roi in range(5)]


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> Embedder:
    output = tmp_path_factory.mktemp("model")
    keep_model(output)
    (folder,) = (output / "models").iterdir()
    return embedder(load_model(folder), turned=True, seed=0)


@pytest.fixture(scope="module")
def rasters() -> np.ndarray:
    return np.random.default_rng(0).poisson(0.05, (5, 64, 64))


def test_numbers_are_the_wanted_one_and_a_tenth_of_the_emptiest_lost():
    n_locs, code = np.r_[np.arange(100, 200), np.arange(1000, 1100)], np.repeat([0, 1], 100)
    wanted, tenth = equal_numbers(n_locs, code, wanted=900)
    assert wanted == 900
    assert (n_locs[code == 0] < tenth).mean() == pytest.approx(0.1, abs=0.011)
    assert equal_numbers(np.array([900] * 4), np.zeros(4, int), wanted=900) == [900]
    assert equal_numbers(np.array([3, 4]), np.zeros(2, int), wanted=900) == [900]  # too few to draw from
    assert equal_numbers(np.empty(0, int), np.empty(0, int), wanted=900) == [900]


def test_thinned_to_all_locs_is_the_embedding_itself(networks, rasters):
    n = int(rasters[0].sum())
    found = thinned_vectors(networks, "embedding", rasters[:1], PLACES[:1], n_locs=n, repeats=2, seed=0)
    whole = embed_counts(networks.networks["embedding"], rasters[:1], turned=True)
    np.testing.assert_array_equal(found, np.broadcast_to(whole, (2, *whole.shape)))


def test_a_draw_depends_on_its_roi_and_repeat_alone(networks, rasters, monkeypatch):
    whole = thinned_vectors(networks, "embedding", rasters, PLACES, n_locs=100, repeats=3, seed=0)
    some = thinned_vectors(networks, "embedding", rasters[2:4], PLACES[2:4], n_locs=100, repeats=2, seed=0)
    np.testing.assert_array_equal(some, whole[:2, 2:4])
    monkeypatch.setattr("smlmbatch.analyse.embedding_density._PIECE", 64)
    np.testing.assert_array_equal(thinned_vectors(networks, "embedding", rasters, PLACES, n_locs=100, repeats=3, seed=0), whole)
    assert not np.array_equal(whole[0], whole[1])
    assert not np.array_equal(thinned_vectors(networks, "embedding", rasters, PLACES, n_locs=100, repeats=1, seed=1)[0], whole[0])


def test_nothing_to_thin(networks):
    assert thinned_vectors(networks, "embedding", np.empty((0, 64, 64), int), [], n_locs=100, repeats=3, seed=0).shape[:2] == (3, 0)


def test_random_encoder_is_another_network_of_a_fixed_seed(networks, rasters):
    trained, random = (embed_counts(networks.networks[name], rasters, turned=False) for name in ("embedding", "random encoder"))
    assert trained.shape == random.shape
    assert not np.allclose(trained, random)


def test_rasters_hold_the_locs_of_their_channel_in_their_roi(made, tmp_path):
    campaign = made.study(tmp_path, replicates=1, n_locs=3000, channels=(0, 2))
    places, expected = [], []
    for result in campaign.fields:
        with UnitReader(result.units["tile"]) as tile:
            counts = tile.read("roi_n_locs")
            for roi in np.flatnonzero(tile.read("roi_kept"))[:3].tolist():
                places += [Place(result.field.key, roi, channel) for channel in (0, 2)]
                expected += counts[roi].tolist()
    rasters = list(rasters_of(campaign.fields, places, side_nm=3000.0, side_px=64))
    assert [int(raster.sum()) for raster in rasters] == expected
    assert rasters[0].shape == (64, 64)
    assert len(places) == 12
