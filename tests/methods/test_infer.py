"""A ROI's vector: the same bits whatever is embedded beside it; turned ROIs; thinning to an exact number."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from smlmbatch.errors import ResourceError
from smlmbatch.methods.contrastive.infer import embed_counts, roi_counts, thin_counts
from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.layers import Mish


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = Contrastive().build(ContrastiveConfig())
    network.train()
    with torch.no_grad():
        for _ in range(3):  # running statistics that are not 0 and 1
            network(torch.from_numpy(_counts(64, seed=9).astype(np.float32)))
    return network.eval()


def _counts(n: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.uniform(0.01, 2, (n, 1, 1)), (n, 64, 64))


@pytest.mark.parametrize("turned", [False, True])
def test_a_row_depends_on_nothing_beside_it(network, turned) -> None:
    counts = _counts(130)
    whole = embed_counts(network, counts, turned=turned)
    assert whole.shape == (130, 128)
    assert whole.dtype == np.float32
    order = np.random.default_rng(1).permutation(130)
    np.testing.assert_array_equal(embed_counts(network, counts[order], turned=turned), whole[order])
    for n in (1, 63, 64, 65):
        np.testing.assert_array_equal(embed_counts(network, counts[:n], turned=turned), whole[:n])


def test_the_network_itself_says_the_same(network) -> None:
    """Padding and pieces against the plain call, in float64 and with torch's own Mish (gradients on)."""
    counts = _counts(70)
    plain = network.double().encode(torch.from_numpy(counts.astype(np.float64))).detach().numpy()
    network.float()
    np.testing.assert_allclose(embed_counts(network, counts, turned=False), plain, atol=2e-5)
    assert np.ptp(plain, axis=0).min() > 1e-3, "rows that are all alike would prove nothing"


def test_turning_does_not_matter(network) -> None:
    counts = _counts(3)
    counts[:, :20] = 0  # patterns that lie otherwise when turned
    upright = embed_counts(network, counts, turned=True)
    for views in (np.rot90(counts, 1, (1, 2)), counts[:, ::-1], np.rot90(counts, 3, (1, 2))[:, :, ::-1]):
        np.testing.assert_allclose(embed_counts(network, views, turned=True), upright, atol=1e-6)
    alone = embed_counts(network, np.rot90(counts, 1, (1, 2)), turned=False) - embed_counts(network, counts, turned=False)
    assert np.abs(alone).max() > 1e-4, "without averaging it matters"


def test_nothing_to_embed(network) -> None:
    assert embed_counts(network, np.empty((0, 64, 64), np.int64), turned=True).shape == (0, 128)


def test_a_gpu_that_is_not_there(network, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match="no GPU is in sight"):
        embed_counts(network, _counts(1), turned=False, device="cuda")


def test_mish_without_gradients_is_mish() -> None:
    x = torch.cat([torch.linspace(-40, 40, 100_001), torch.tensor([-1e30, -200.0, 0.0, 25.0, 1e30])]).reshape(2, -1)
    with torch.no_grad():
        found = Mish()(x)
        np.testing.assert_allclose(found, torch.nn.functional.mish(x.double()), rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(Mish()(x.T), found.T)
    x.requires_grad_()
    Mish()(x).sum().backward()
    assert x.grad is not None


# ---- rasters


def test_rasters_of_an_roi_somewhere() -> None:
    """Against numpy's histogram; nothing is lost at the upper edge, at sides that are no multiple of the pixel."""
    rng = np.random.default_rng(0)
    for side_nm, side_px in ((3000.0, 64), (1000.0, 60), (777.7, 49)):
        x_nm, y_nm = rng.uniform(0, side_nm, (2, 500))
        x_nm[0], y_nm[1] = side_nm, side_nm
        found = roi_counts(x_nm + 512.0, y_nm - 64.0, side_nm=side_nm, side_px=side_px, origin_nm=(512.0, -64.0))
        edges = np.linspace(0, side_nm, side_px + 1)
        np.testing.assert_array_equal(found, np.histogram2d(y_nm, x_nm, bins=[edges, edges])[0])
        assert found.sum() == 500


# ---- thinning


def test_thinning_keeps_exactly_n_of_what_is_there() -> None:
    counts = _counts(20)
    counts[0] = 0
    counts[0, 5, 7], counts[0, 0, 0] = 899, 1
    thin = thin_counts(counts[counts.sum(axis=(1, 2)) >= 900], 900, np.random.default_rng(0))
    assert (thin.sum(axis=(1, 2)) == 900).all()
    assert (thin <= counts[counts.sum(axis=(1, 2)) >= 900]).all()
    assert (thin >= 0).all()
    np.testing.assert_array_equal(thin[0], counts[0])


def test_thinning_is_uniform() -> None:
    """Every loc is drawn equally often: the sum over draws against its expectation, by chi squared of a finite population."""
    counts = np.array([[[3, 0, 10], [1, 5, 0], [0, 20, 1]]])
    n_total, n, draws = counts.sum(), 12, 4000
    thin = thin_counts(np.repeat(counts, draws, axis=0), n, np.random.default_rng(4))
    expected = draws * n * counts[0] / n_total
    spread = expected * (n_total - n) / (n_total - 1)  # a hypergeometric variance over the binomial's
    filled = counts[0] > 0
    statistic = np.sum((thin.sum(axis=0) - expected)[filled] ** 2 / spread[filled])
    assert statistic < chi2.ppf(0.999, filled.sum() - 1)
    assert not thin[:, ~filled].any()


def test_thinning_draws_one_raster_after_the_other() -> None:
    counts = _counts(5)
    together = thin_counts(counts, 30, np.random.default_rng(3))
    np.testing.assert_array_equal(together[:2], thin_counts(counts[:2], 30, np.random.default_rng(3)))


def test_too_few_locs_are_refused() -> None:
    with pytest.raises(ValueError, match="nsample"):
        thin_counts(np.ones((1, 2, 2), np.int64), 5, np.random.default_rng(0))
