"""What a network may see of a loc besides its place: by definition, the same however a field is cut, unknown where a file has nothing."""

import numpy as np
import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.methods.miro.blocks import MiroBlocks, group_blocks
from smlmbatch.methods.miro.data import training_field
from smlmbatch.methods.miro.features import medians_of, with_features
from smlmbatch.methods.miro.graph import N_LOCAL, build_graph
from smlmbatch.methods.miro.infer import find_clusters
from smlmbatch.methods.miro.recipe import MiroConfig
from smlmbatch.simulate.acquired import draw_columns
from smlmbatch.simulate.clusters import ClusterFields, draw_cluster_field
from smlmbatch.store.arrays import UnitReader
from tests.methods.miro.fields import batch_of, fresh, tiny
from tests.store.test_field_locs import write_unit

ALL = "frame,photons,precision"
BLINKING = ClusterFields(locs=(300, 600), blinking=1.0, empty=0.0)


# ---- simulated columns


def test_blinks_of_a_molecule_follow_each_other():
    field = draw_cluster_field(3, 0, BLINKING)
    frame, molecule = draw_columns(field, 3, 0)["frame"], field.molecule
    order = np.lexsort((frame, molecule))
    gap = np.diff(frame[order])[np.diff(molecule[order]) == 0]
    assert len(gap) > 100
    assert 0.35 < (gap == 1).mean() < 0.65
    assert gap.min() >= 1, "a molecule is seen once in a frame"
    assert np.median(np.abs(np.diff(frame[np.random.default_rng(0).permutation(len(frame))]))) > 2000, "molecules begin at any time"


def test_precision_is_the_error_that_places_have():
    """Distances of blinks from their molecule's mean, over their errors, have a variance of 1 - 1/n an axis."""
    field = draw_cluster_field(3, 1, BLINKING)
    columns, molecule = draw_columns(field, 3, 1), field.molecule
    _, of, n = np.unique(molecule, return_inverse=True, return_counts=True)
    weight = 1.0 / columns["precision_nm"].astype(float) ** 2
    total = np.bincount(of, weights=weight)
    chi2 = 0.0
    for values in field.xy_nm.T.astype(float):
        mean = np.bincount(of, weights=weight * values) / total
        chi2 += (weight * (values - mean[of]) ** 2).sum()
    freedom = 2 * (len(of) - len(n))
    assert chi2 / freedom == pytest.approx(1.0, abs=5 * np.sqrt(2 / freedom))
    more = np.corrcoef(np.log(columns["photons"]), np.log(columns["precision_nm"]))[0, 1]
    assert more < -0.9


def test_fields_of_marked_clusters_have_none():
    field = draw_cluster_field(3, 0, BLINKING)
    object.__setattr__(field, "molecule", None)
    with pytest.raises(ConfigError, match="which molecule"):
        draw_columns(field, 3, 0)


# ---- features


def test_features_are_what_they_say():
    """Three locs side by side, one far from all."""
    graph = build_graph(np.array([[0.0, 0], [30, 0], [0, 30], [5000, 5000]]))
    columns = {
        "frame": np.array([10, 12, 500, 12]),
        "photons": np.array([100.0, np.nan, 400, 200]),
        "precision_nm": None,
    }
    names = ("frame", "photons", "precision")
    medians = medians_of(names, columns)
    assert medians == {"photons": 200.0}
    local = with_features(graph, names, columns, medians).local
    assert local.shape == (4, N_LOCAL + 3)
    assert (local[:, :N_LOCAL] == graph.local).all()
    gaps = np.array([2, 2, 488, 1000])
    np.testing.assert_allclose(local[:, N_LOCAL], np.log((1 + gaps) / 101), rtol=1e-6)
    np.testing.assert_allclose(local[:, N_LOCAL + 1], np.log([0.5, 1, 2, 1]), atol=1e-6)
    assert (local[:, N_LOCAL + 2] == 0).all()


def test_a_network_without_features_is_as_before():
    config = tiny()
    assert training_field(config, 0)["local"].shape[1] == N_LOCAL
    assert MiroConfig().features == ""


@pytest.mark.parametrize("features", ["frames", "frame,frame", "frame, photons", ",", "frame,"])
def test_only_known_features(features):
    with pytest.raises(ConfigError, match="frame,photons,precision, each once"):
        MiroConfig(features=features)


@pytest.mark.parametrize("changes", [{"network": "paper", "classes": 0}, {"parents_from": 7}, {"templates": "0" * 64}])
def test_features_are_of_one_kind_of_network(changes):
    with pytest.raises(ConfigError, match="features: wanted with"):
        MiroConfig(features="frame", **changes)


# ---- networks that see them


def test_training_sees_them():
    from smlmbatch.methods.method import Alone
    from smlmbatch.methods.miro.recipe import Miro

    config = tiny(features=ALL)
    batch = batch_of(config, range(2))
    assert batch["local"].shape[1] == N_LOCAL + 3
    assert batch["local"][:, N_LOCAL:].std(dim=0).min() > 0.1
    network = fresh(config)
    loss, _ = Miro().loss(network, batch, config, Alone())
    loss.backward()
    seen = network.block.read.weight.grad[:, N_LOCAL : N_LOCAL + 3]
    assert seen.abs().amax(dim=0).min() > 0


@pytest.fixture(scope="module")
def field():
    """3 x 3 um with all columns, and a network of chance that sees them."""
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 3000, (3000, 2)).astype(np.float32)
    columns = {
        "frame": rng.integers(0, 2000, 3000).astype(np.int32),
        "photons": rng.gamma(2.0, 500.0, 3000).astype(np.float32),
        "precision_nm": rng.gamma(9.0, 1.0, 3000).astype(np.float32),
    }
    return xy, columns, fresh(tiny(features=ALL))


def test_what_is_seen_counts(field):
    xy, columns, network = field
    whole = find_clusters(network, xy, columns=columns).contracted.xy_nm
    for name in columns:
        without = find_clusters(network, xy, columns={**columns, name: None}).contracted.xy_nm
        assert np.abs(whole - without).max() > 1e-3, name


def test_cut_and_uncut_fields_agree(field, tmp_path):
    xy, columns, network = field
    unit = UnitReader(write_unit(tmp_path / "u.zip", xy, **columns))
    row = unit.read("row")
    found = []
    for most_locs in (10_000, 400):
        cut = MiroBlocks(unit, network=network, channels=[0], most_locs=most_locs)
        blocks = [cut.compute(number) for number in range(cut.count)]
        assert (cut.count > 1) == (most_locs == 400)
        assert cut.warnings() == []
        found.append(group_blocks(unit, blocks, channels=[0], rules=cut.rules))
    assert np.abs(found[0].x_nm - found[1].x_nm).max() < 1e-2
    assert (found[0].label == found[1].label).all()
    memory = find_clusters(network, xy, columns=columns)
    assert np.abs(memory.contracted.xy_nm[row, 0] - found[0].x_nm).max() < 1e-2


def test_a_file_without_them_is_told_of(field, tmp_path):
    xy, columns, network = field
    unit = UnitReader(write_unit(tmp_path / "u.zip", xy, frame=columns["frame"]))
    cut = MiroBlocks(unit, network=network, channels=[0])
    blocks = [cut.compute(number) for number in range(cut.count)]
    wanted = [f"the model looks at {name}, which the file doesn't have: taken as unknown" for name in ("photons", "precision_nm")]
    assert cut.warnings()[:2] == wanted
    alone = find_clusters(network, xy, columns={"frame": columns["frame"]}).contracted
    own = group_blocks(unit, blocks, channels=[0], rules=cut.rules)
    assert np.abs(alone.xy_nm[unit.read("row"), 0] - own.x_nm).max() < 1e-2
