"""Which model a campaign embeds with: what is accepted, what is refused and with which words, and what fingerprints hold of it."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from smlmbatch.config import ClusterConfig, Config, EmbedConfig, TileConfig
from smlmbatch.errors import ConfigError, InputError
from smlmbatch.methods import folders
from smlmbatch.methods.chosen import CLUSTER, EMBED, choose, cluster_settings, embed_settings, section_of, settle
from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.folders import keep_copy, known_copies, model_sha256, shipped
from smlmbatch.methods.miro.recipe import Miro, MiroConfig
from smlmbatch.methods.model import load_model, save_model

NETWORK = ContrastiveConfig(features=16, channels=(4, 4))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return untrained(tmp_path_factory.mktemp("models") / "my model")


@pytest.fixture
def copy(model, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(model, tmp_path / "spoilt"))


def untrained(folder: Path, network: ContrastiveConfig = NETWORK, *, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    save_model(folder, Contrastive(), network, Contrastive().build(network))
    return folder


def with_model(model: object, **more: object) -> Config:
    return Config(embed=EmbedConfig(model=str(model), **more))


def edit(folder: Path, old: str, new: str) -> None:
    text = (folder / "config.toml").read_text()
    assert old in text
    (folder / "config.toml").write_text(text.replace(old, new))


# ---- what words mean


def test_the_shipped_model_is_whole() -> None:
    model = load_model(shipped("contrastive"))
    assert model.config.side_nm == 3000.0
    assert choose(Config()).sha256 == model.sha256
    assert choose(with_model("contrastive")) == choose(Config())


def test_another_side_of_regions() -> None:
    config = Config(tile=TileConfig(roi_nm=1000.0))
    assert choose(config).why_none == "The shipped model embeds regions of 3000 nm, and these have 1000 nm."
    with pytest.raises(ConfigError, match=r"embeds regions of 3000 nm, but tile\.roi_nm = 1000"):
        settle(replace(config, embed=EmbedConfig(model="contrastive")))


@pytest.mark.parametrize("word", ["auto", "none", "contrastive"])
def test_words_are_no_folders(tmp_path, monkeypatch, word) -> None:
    """Even where such a folder lies; and a checksum left over from another model goes."""
    (tmp_path / word).mkdir()
    monkeypatch.chdir(tmp_path)
    settled = settle(with_model(word, sha256="0" * 64))
    assert (settled.config.embed.model, settled.config.embed.sha256, settled.sources) == (word, "", {})


def test_a_folder_becomes_a_name_and_a_checksum(model) -> None:
    settled = settle(with_model(model))
    assert (settled.config.embed.model, settled.config.embed.sha256, settled.sources) == ("my_model", model_sha256(model), {EMBED: model})
    assert choose(settled.config).name == "my_model"


def test_the_same_model_elsewhere_is_the_same_setting(model, copy, tmp_path) -> None:
    first = settle(with_model(model)).config
    assert settle(with_model(copy)).config.embed.model == "spoilt"
    assert settle(with_model(copy), stored=first).config == first
    keep_copy(model, tmp_path / "models", name="my_model", sha256=first.embed.sha256)
    assert settle(with_model(copy), models=tmp_path / "models").config == first
    assert settle(first, models=tmp_path / "models").config == first, "settings of a campaign, taken to where its models are"


# ---- what is refused


def spoil_missing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def spoil_short(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])


def spoil_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not weights")


def spoil_link(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "weights")
    (folder / "model.safetensors").symlink_to(folder / "weights")


def spoil_shape(folder: Path) -> None:
    edit(folder, "features = 16", "features = 24")


def spoil_huge(folder: Path) -> None:
    edit(folder, "features = 16", "features = 2000000000")


def spoil_pipe(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


def spoil_size(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 100 << 30)  # of holes


def spoil_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({f"x{name}": value for name, value in tensors.items()}, folder / "model.safetensors")


def spoil_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: value * float("nan") if value.is_floating_point() else value for name, value in tensors.items()},
        folder / "model.safetensors",
    )


def spoil_method(folder: Path) -> None:
    config = MiroConfig(hidden=4, edge_hidden=4, steps=2)
    save_model(folder, Miro(), config, Miro().build(config))


BAD = {
    "weights missing": (spoil_missing, r"model\.safetensors is missing"),
    "weights cut": (spoil_short, "can't be read"),
    "no weights at all": (spoil_no_weights, "can't be read"),
    "a link": (spoil_link, "is a link"),
    "another shape": (spoil_shape, "doesn't fit the settings beside it"),
    "a shape beyond memory": (spoil_huge, "doesn't fit the settings beside it"),
    "a number of no kind": (lambda folder: edit(folder, "features = 16", "features = 1000000000000000"), "wanted a number between"),
    "a pipe": (spoil_pipe, "is no plain file"),
    "a hundred gigabytes": (spoil_size, "has 102,400 MiB"),
    "a setting left out": (lambda folder: edit(folder, "as_if_prior = 500.0\n", ""), "says nothing of as_if_prior"),
    "other tensors": (spoil_tensor, "tensors are missing, unknown or of another shape"),
    "not a number": (spoil_nan, "gives vectors that are no numbers"),
    "settings missing": (lambda folder: (folder / "config.toml").unlink(), r"config\.toml is missing"),
    "no TOML": (lambda folder: (folder / "config.toml").write_text("side_nm ="), "is not TOML"),
    "no method of ours": (lambda folder: edit(folder, 'method = "contrastive"', 'method = "simsiam"'), "method = 'simsiam'"),
    "another method": (spoil_method, "is a model of the method miro"),
    "method is a list": (lambda folder: edit(folder, 'method = "contrastive"', "method = [1]"), r"method = \[1\]"),
    "no section": (lambda folder: (folder / "config.toml").write_text('method = "contrastive"\ncontrastive = 3\n'), "wanted a section"),
    "unknown key": (lambda folder: edit(folder, "features = 16", "feature = 16"), "unknown key feature"),
    "wrong type": (lambda folder: edit(folder, "side_nm = 3000.0", 'side_nm = "3 um"'), "side_nm = '3 um'"),
    "odd raster": (lambda folder: edit(folder, "side_px = 64", "side_px = 65"), "wanted divisors of the side"),
    "another side": (lambda folder: edit(folder, "side_nm = 3000.0", "side_nm = 2000.0"), "embeds regions of 2000 nm, and those"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_models_are_refused(copy, name) -> None:
    spoil, finding = BAD[name]
    spoil(copy)
    with pytest.raises(InputError, match=finding) as refused:
        settle(with_model(copy))
    assert refused.value.want
    assert refused.value.mend
    assert str(copy) in refused.value.path


@pytest.mark.parametrize("kind", ["missing", "a file", "empty"])
def test_what_is_no_folder_of_a_model(tmp_path, kind) -> None:
    place = tmp_path / "model"
    if kind == "a file":
        place.write_text("model")
    if kind == "empty":
        place.mkdir()
    with pytest.raises(InputError, match=r"no such folder|config\.toml is missing"):
        settle(with_model(place))


def test_a_checksum_that_is_anothers(model) -> None:
    with pytest.raises(ConfigError, match=r"embed\.sha256 = '1{64}', but the model in"):
        settle(with_model(model, sha256="1" * 64))


def test_a_name_without_its_copy(model, tmp_path) -> None:
    """Settings of one campaign given to another; but a campaign whose own copy is damaged is planned all the same: its fields tell."""
    frozen = settle(with_model(model)).config
    with pytest.raises(ConfigError, match="OUTPUT holds no model of sha256"):
        settle(frozen, models=tmp_path / "models")
    assert settle(frozen, stored=frozen, models=tmp_path / "models").config == frozen


def test_settings_that_were_never_settled(model) -> None:
    with pytest.raises(ConfigError, match="was not copied into the campaign"):
        choose(with_model(model))


# ---- copies


def test_a_copy_holds_what_a_model_holds_and_nothing_else(copy, tmp_path) -> None:
    (copy / "card.md").write_text("# A card\n")
    (copy / "tensorboard").mkdir()
    (copy / "secret.key").write_text("not yours")
    sha256 = model_sha256(copy)
    kept = keep_copy(copy, tmp_path / "models", name="m", sha256=sha256)
    assert kept.name == f"m-{sha256[:12]}"
    assert sorted(path.name for path in kept.iterdir()) == ["card.md", "config.toml", "model.safetensors"]
    assert known_copies(tmp_path / "models") == {sha256: kept}
    assert [path.name for path in (tmp_path / "models").iterdir()] == [kept.name], "nothing half-written stays"


def test_a_damaged_copy_is_replaced_and_a_whole_one_left(copy, tmp_path) -> None:
    models, sha256 = tmp_path / "models", model_sha256(copy)
    kept = keep_copy(copy, models, name="m", sha256=sha256)
    inode = (kept / "config.toml").stat().st_ino
    assert keep_copy(copy, models, name="m", sha256=sha256) == kept
    assert (kept / "config.toml").stat().st_ino == inode
    edit(kept, "seed = 0", "seed = 1")
    assert known_copies(models) == {}
    assert keep_copy(copy, models, name="m", sha256=sha256) == kept
    assert known_copies(models) == {sha256: kept}


def test_a_model_that_changes_while_it_is_copied(copy, tmp_path) -> None:
    sha256 = model_sha256(copy)
    edit(copy, "seed = 0", "seed = 1")
    with pytest.raises(InputError, match="changed while it was copied"):
        keep_copy(copy, tmp_path / "models", name="m", sha256=sha256)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_linked_card_is_not_followed(copy, tmp_path) -> None:
    (tmp_path / "elsewhere").write_text("root:x:0:0")
    (copy / "card.md").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        settle(with_model(copy))
    with pytest.raises(InputError, match="is a link"):
        keep_copy(copy, tmp_path / "models", name="m", sha256=model_sha256(copy))


@pytest.mark.parametrize("name", ["../../up", "a/b\n", "", ".hidden", "x" * 300, "auto", "größe µ"])
def test_names_of_copies_are_plain(name) -> None:
    plain = folders.plain_name(Path("/models") / name)
    assert plain.isascii()
    assert plain.replace(".", "").replace("-", "").replace("+", "").replace("_", "").isalnum()
    assert plain not in folders.RESERVED
    assert len(folders.copy_name(plain, "0" * 64)) <= 61
    assert not plain.startswith(".")


# ---- fingerprints


def test_fingerprints_hold_what_results_depend_on(model) -> None:
    config = settle(with_model(model)).config

    def changed(**values: object) -> bool:
        return embed_settings(replace(config, embed=replace(config.embed, **values))) != embed_settings(config)

    assert changed(min_locs=60)
    assert changed(n_locs=100)
    assert changed(turned=False)
    assert changed(device="cuda")
    assert changed(sha256="0" * 64)
    assert not changed(model="another_name_of_it")
    assert not changed(seed=1), "nothing is drawn"
    config = replace(config, embed=replace(config.embed, n_locs=100))
    assert changed(seed=1)


def test_without_a_model_nothing_but_the_reason_counts() -> None:
    none = with_model("none")
    assert embed_settings(none) == embed_settings(with_model("none", min_locs=99, turned=False, n_locs=50, device="cuda"))
    assert embed_settings(none) != embed_settings(Config(tile=TileConfig(roi_nm=1000.0)))


def test_an_upgrade_of_the_shipped_model_is_noticed(tmp_path, monkeypatch) -> None:
    untrained(tmp_path / "models" / "contrastive")
    monkeypatch.setattr(folders, "_PACKAGE", tmp_path)
    before = embed_settings(Config())
    untrained(tmp_path / "models" / "contrastive", seed=1)
    assert embed_settings(Config()) != before


# ---- the model of clusters


def clusters_by(model: object, **more: object) -> Config:
    return Config(cluster=ClusterConfig(model=str(model), **more))


def untrained_miro(folder: Path, **settings: object) -> Path:
    config = MiroConfig(**{"hidden": 4, "edge_hidden": 4, "steps": 2} | settings)
    save_model(folder, Miro(), config, Miro().build(config))
    return folder


def test_two_roles_are_settled_side_by_side(model, tmp_path) -> None:
    """Each has its own copy under OUTPUT/models, and neither takes the other's for its own."""
    miro = untrained_miro(tmp_path / "mine")
    both = replace(with_model(model), cluster=ClusterConfig(model=str(miro)))
    settled = settle(both)
    assert settled.sources == {EMBED: model, CLUSTER: miro}
    assert choose(settled.config, CLUSTER).sha256 == model_sha256(miro)
    for role, source in settled.sources.items():
        own = section_of(settled.config, role)
        keep_copy(source, tmp_path / "models", name=own.model, sha256=own.sha256)
    assert settle(both, models=tmp_path / "models").config == settled.config
    for swapped in (with_model(miro), clusters_by(model)):
        with pytest.raises(InputError, match="is a model of the method"):
            settle(swapped, models=tmp_path / "models")
        with pytest.raises(InputError, match="is a model of the method"):
            settle(swapped)


def test_networks_that_find_no_clusters(tmp_path) -> None:
    with pytest.raises(InputError, match="is a network of the kind paper"):
        settle(clusters_by(untrained_miro(tmp_path / "paper", network="paper")))
    broken = untrained_miro(tmp_path / "broken")
    spoil_nan(broken)
    with pytest.raises(InputError, match="gives places that are no numbers"):
        settle(clusters_by(broken))


def test_methods_without_a_network() -> None:
    assert choose(clusters_by("auto", method="dbscan"), CLUSTER).why_none == 'DBSCAN needs no model (cluster.method = "dbscan").'
    assert choose(clusters_by("auto"), CLUSTER).name == "miro"
    with pytest.raises(ConfigError, match=r'set cluster\.method = "none"'):
        clusters_by("none")
    with pytest.raises(ConfigError, match="together with cluster_radius_nm, or both 0"):
        clusters_by("auto", cluster_radius_nm=30.0)
    with pytest.raises(ConfigError, match=r"cluster\.method = 'kmeans'"):
        clusters_by("auto", method="kmeans")


def test_fingerprints_hold_what_clusters_depend_on() -> None:
    def changed(kind: str, **values: object) -> bool:
        config = clusters_by("auto", method=kind)
        return cluster_settings(replace(config, cluster=replace(config.cluster, **values))) != cluster_settings(config)

    for method in ("miro", "dbscan"):
        assert changed(method, calibration_locs_per_molecule=3.0)
        assert changed(method, eps_nm=9.0) == (method == "dbscan")
        assert changed(method, min_locs=9) == (method == "dbscan")
        assert changed(method, cluster_radius_nm=9.0, locs_per_cluster=9.0) == (method == "miro")
    assert not changed("none", eps_nm=9.0, calibration_locs_per_molecule=3.0)
    assert changed("miro", method="dbscan")
