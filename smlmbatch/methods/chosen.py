"""Which models a campaign uses: what `model` means in `[embed]`, `[cluster]` and `[order]`.

Settled when a campaign is planned (`settle`); from then on the settings alone tell (`choose`), without torch and without the folder that a
model of one's own came from. A model is the same whatever path it is named by: the settings hold its plain name and its sha256. What a
model is used for is a `Role`; roles differ in the method asked for, and in what else of the settings a model must fit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from smlmbatch.config import ClusterConfig, Config, EmbedConfig, OrderConfig
from smlmbatch.errors import ConfigError, InputError
from smlmbatch.methods.folders import (
    CONFIG,
    check_plain,
    copy_name,
    is_whole,
    known_copies,
    model_sha256,
    plain_name,
    shipped,
    stated_settings,
)

AUTO, NONE = "auto", "none"
MODELS: Final = "models"  # folder of a campaign's own models under OUTPUT


@dataclass(frozen=True, slots=True)
class Role:
    """What a campaign uses a model for.

    Attributes
    ----------
    section : of the settings
    method : of its models; the shipped one has its name
    words : what `model` may be besides a folder
    option : of the command line, that names a model
    want : what a model must be
    """

    section: str
    method: str
    words: tuple[str, ...]
    option: str
    want: str


EMBED: Final = Role(
    "embed",
    "contrastive",
    (AUTO, NONE, "contrastive"),
    "--model",
    "a model of the method contrastive, whose regions have the side of the campaign's",
)
CLUSTER: Final = Role("cluster", "miro", (AUTO, "miro"), "--cluster-model", "a model of the method miro, of the kind generalist")
ORDER: Final = Role("order", "pcvae", (AUTO,), "--model", "a model of the method pcvae, for copies that turn as the campaign's do")
ROLES: Final = (EMBED, CLUSTER, ORDER)
_SHIPPED: Final = tuple(role.method for role in (EMBED, CLUSTER))


@dataclass(frozen=True, slots=True)
class Choice:
    """The model of a campaign for a role, or why there is none.

    Attributes
    ----------
    name : the method's name for the shipped one, else what the campaign calls it; "" = none
    sha256 : what it is known by; "" = none
    why_none : one sentence; "" where there is a model
    """

    name: str
    sha256: str
    why_none: str = ""


def choose(config: Config, role: Role = EMBED) -> Choice:
    """The model that settled settings mean.

    Raises
    ------
    ConfigError
        the shipped model is asked for, and regions have another side; or a folder is named that was never settled
    """
    own = section_of(config, role)
    if why_none := _unwanted(config, role):
        return Choice("", "", why_none)
    if own.model not in role.words:
        if not own.sha256:
            raise ConfigError(f"{role.section}.model = {own.model!r}: this model was not copied into the campaign: plan it again")
        return Choice(own.model, own.sha256)
    if why_none := _unfit_side(config) if role is EMBED else "":
        return Choice("", "", why_none)
    return Choice(role.method, model_sha256(shipped(role.method)))


def section_of(config: Config, role: Role) -> EmbedConfig | ClusterConfig | OrderConfig:
    """The role's settings."""
    section: EmbedConfig | ClusterConfig | OrderConfig = getattr(config, role.section)
    return section


def _unwanted(config: Config, role: Role) -> str:
    """Why the settings want no model; "" = they want one."""
    if role is EMBED:
        return 'No embedding was wanted (embed.model = "none").' if config.embed.model == NONE else ""
    if role is ORDER:
        return "It learns from the campaign's own particles." if config.order.model == AUTO else ""
    return _NO_NETWORK.get(config.cluster.method, "")


_NO_NETWORK: Final[Mapping[str, str]] = MappingProxyType(
    {"none": 'No clusters were wanted (cluster.method = "none").', "dbscan": 'DBSCAN needs no model (cluster.method = "dbscan").'}
)


def _unfit_side(config: Config) -> str:
    """Why the shipped model can't embed the campaign's regions; "" = it can."""
    roi_nm, side_nm = config.tile.roi_nm, float(stated_settings(shipped(EMBED.method))[EMBED.method]["side_nm"])
    if roi_nm == side_nm:
        return ""
    if config.embed.model != AUTO:
        mend = f'set tile.roi_nm = {side_nm:g}, or embed.model = "none", or train a model for {roi_nm:g} nm'
        raise ConfigError(f'embed.model = "{EMBED.method}" embeds regions of {side_nm:g} nm, but tile.roi_nm = {roi_nm:g}: {mend}')
    return f"The shipped model embeds regions of {side_nm:g} nm, and these have {roi_nm:g} nm."


# ---- what units depend on


def embed_settings(config: Config) -> dict[str, object]:
    """Of `[embed]`, what a unit's result depends on: nothing but the reason where there is no model, the seed only where locs are drawn."""
    embed, choice = config.embed, choose(config)
    if choice.why_none:
        return {"model_sha256": "", "why_none": choice.why_none}
    settings: dict[str, object] = {"model_sha256": choice.sha256, "min_locs": embed.min_locs, "n_locs": embed.n_locs}
    settings |= {"turned": embed.turned, "device": embed.device}
    return settings | ({"seed": embed.seed} if embed.n_locs else {})


_READ_BY: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "miro": ("cluster_radius_nm", "locs_per_cluster", "calibration_locs_per_molecule"),
        "dbscan": ("eps_nm", "min_locs", "calibration_locs_per_molecule"),
        "none": (),
    }
)  # method → keys


def cluster_settings(config: Config) -> dict[str, object]:
    """Of `[cluster]`, what a unit's result depends on: the method, and what it reads."""
    method = config.cluster.method
    model = {"model_sha256": choose(config, CLUSTER).sha256} if method == CLUSTER.method else {}
    return {"method": method, **model, **{name: getattr(config.cluster, name) for name in _READ_BY[method]}}


def check_read(config: Config, stated: Mapping[str, object]) -> None:
    """Refuse keys of `[cluster]` that were said for this very method, which doesn't read them: nothing would come of them.

    Raises
    ------
    ConfigError
        names the method that reads the key
    """
    method = config.cluster.method
    for key in stated:
        readers = [name for name, keys in _READ_BY.items() if key in keys or (key, name) == ("model", CLUSTER.method)]
        if readers and method not in readers:
            raise ConfigError(f"cluster.{key} is for the method {' or '.join(readers)}, and the campaign's is {method}: say --method too")


# ---- finding and loading


def model_folder(choice: Choice, models: Path) -> Path:
    """Where the chosen model lies: in the package, or in OUTPUT/models."""
    return shipped(choice.name) if choice.name in _SHIPPED else models / copy_name(choice.name, choice.sha256)


def whole_folder(choice: Choice, models: Path, role: Role = EMBED) -> Path:
    """Where the chosen model lies, if it is what the campaign was planned with.

    Raises
    ------
    InputError
        the campaign's copy is missing or damaged
    """
    folder = model_folder(choice, models)
    if choice.name in _SHIPPED or is_whole(folder, choice.sha256):
        return folder
    finding = f"the campaign's copy of its model is {'damaged' if folder.is_dir() else 'not there'}"
    mend = f"plan again with {role.option} and the folder of {choice.name}, then run with --retry-failed"
    raise InputError(f"{MODELS}/{folder.name}", finding, f"the model {choice.name} of sha256 {choice.sha256[:12]}", mend)


# ---- settling


@dataclass(frozen=True, slots=True)
class Settled:
    """Settings whose models are known by name and sha256, and the folders that models are to be copied from.

    Attributes
    ----------
    sources : role → folder; a role without one needs no copy
    """

    config: Config
    sources: Mapping[Role, Path] = field(default_factory=dict)


def settle(config: Config, *, stored: Config | None = None, models: Path | None = None) -> Settled:
    """Find out which models the settings mean, and look whether they can serve.

    Parameters
    ----------
    stored : the settings OUTPUT was made with, if it was
    models : OUTPUT/models

    Raises
    ------
    ConfigError
        the shipped model doesn't fit the regions; a name of a model that is not there
    InputError
        a folder is no model, a damaged one, or one that doesn't fit
    """
    sources = {}
    for role in ROLES:
        config, source = _settle(config, role, stored=stored, models=models)
        if source is not None:
            sources[role] = source
    return Settled(config, sources)


def _settle(config: Config, role: Role, *, stored: Config | None, models: Path | None) -> tuple[Config, Path | None]:
    """The settings with the role's model settled, and the folder it is to be copied from."""
    own = section_of(config, role)
    if own.model in role.words:
        settled = _with(config, role, sha256="")
        choose(settled, role)
        return settled, None
    copies = known_copies(models) if models is not None else {}
    if own.sha256 and "/" not in own.model:
        return _named(config, role, copies, stored), None
    source = Path(own.model)
    check_plain(source)
    sha256 = model_sha256(source)
    if own.sha256 not in ("", sha256):
        raise ConfigError(
            f"{role.section}.sha256 = {own.sha256!r}, but the model in {source} has {sha256}: name the other folder, or leave it out"
        )
    if sha256 in copies:
        _check_settings(copies[sha256], config, role)
    else:
        _check_model(source, config, role)
    before = section_of(stored, role) if stored is not None else None
    if before is not None and before.sha256 == sha256:
        name = before.model
    else:
        name = copies[sha256].name.rpartition("-")[0] if sha256 in copies else plain_name(source.absolute())
    return _with(config, role, model=name, sha256=sha256), source


def _with(config: Config, role: Role, **values: Any) -> Config:
    own: Any = section_of(config, role)
    changed: dict[str, Any] = {role.section: replace(own, **values)}
    return replace(config, **changed)


def _named(config: Config, role: Role, copies: Mapping[str, Path], stored: Config | None) -> Config:
    """Settings that name a model by what a campaign calls it: its copy must be there, unless it was when the campaign was planned."""
    own = section_of(config, role)
    before = section_of(stored, role) if stored is not None else None
    if own.sha256 in copies:
        _check_settings(copies[own.sha256], config, role)
    elif before is None or (before.model, before.sha256) != (own.model, own.sha256):
        raise ConfigError(
            f"{role.section}.model = {own.model!r}: OUTPUT holds no model of sha256 {own.sha256[:12]}: name the model's folder"
        )
    return config


def _check_settings(folder: Path, config: Config, role: Role) -> None:
    """Look whether a model's settings fit the campaign's."""
    from smlmbatch.methods.model import read_settings

    method, settings = read_settings(folder / CONFIG)
    if method.name != role.method:
        raise InputError(folder, f"is a model of the method {method.name}", role.want, "name another model")
    _FITS[role](folder, settings, config)


def _check_side(folder: Path, settings: Any, config: Config) -> None:
    if settings.side_nm != config.tile.roi_nm:
        finding = f"embeds regions of {settings.side_nm:g} nm, and those of the campaign have {config.tile.roi_nm:g} nm"
        raise InputError(folder, finding, EMBED.want, f"set tile.roi_nm = {settings.side_nm:g}, or name another model")


def _check_kind(folder: Path, settings: Any, config: Config) -> None:
    if settings.network != "generalist":
        mend = "name another model; networks of this kind are for comparison only"
        raise InputError(folder, f"is a network of the kind {settings.network}", CLUSTER.want, mend)


def _check_turns(folder: Path, settings: Any, config: Config) -> None:
    if settings.rotation != config.order.turns:
        finding = f'is of copies that turn as rotation = "{settings.rotation}" says, and order.turns = "{config.order.turns}"'
        raise InputError(folder, finding, ORDER.want, f"set order.turns = {settings.rotation} (--turns), or name another model")


def _check_model(folder: Path, config: Config, role: Role) -> None:
    """Load a model and try it: what can go wrong goes wrong here, before anything is frozen."""
    from smlmbatch.methods.model import load_model

    model = load_model(folder)
    _check_settings(folder, config, role)
    if not _TRIALS[role](folder, model):
        raise InputError(folder, f"gives {_GIVES[role]} that are no numbers", role.want, "train it again, or name another model")


def _embeds(folder: Path, model: Any) -> bool:
    """Whether a raster gives a vector of numbers."""
    import numpy as np

    from smlmbatch.methods.contrastive.data import perlin_family
    from smlmbatch.methods.contrastive.infer import embed_counts

    try:
        perlin_family(model.config)
    except ConfigError as error:
        raise InputError(folder / CONFIG, str(error), "the settings a model was trained with", "copy the folder again") from error
    found = embed_counts(model.network, np.eye(model.config.side_px, dtype=np.int64)[None], turned=False)
    return bool(found.shape == (1, model.config.features) and np.isfinite(found).all())


def _contracts(folder: Path, model: Any) -> bool:
    """Whether a small field is contracted to numbers."""
    import numpy as np

    from smlmbatch.methods.miro.infer import find_clusters

    found = find_clusters(model.network, np.random.default_rng(0).uniform(0.0, 500.0, size=(50, 2))).contracted
    return bool(np.isfinite(found.xy_nm).all() and np.isfinite(found.belonging).all() and np.isfinite(found.radius_nm).all())


def _encodes(folder: Path, model: Any) -> bool:
    """Whether a small particle gives latents of numbers."""
    import numpy as np

    from smlmbatch.methods.pcvae.data import ParticleSet, extras_of
    from smlmbatch.methods.pcvae.infer import encode

    rng = np.random.default_rng(0)
    points_nm = rng.normal(0.0, model.config.unit_nm, (20, model.config.axes)).astype(np.float32)
    extras = {name: np.ones(len(points_nm), np.float32) for name in extras_of(model.config)}
    precision_nm = np.ones(len(points_nm), np.float32)
    return bool(np.isfinite(encode(model.network, ParticleSet(points_nm, np.array([0, len(points_nm)]), precision_nm, extras))).all())


_FITS: Final[Mapping[Role, Callable[[Path, Any, Config], None]]] = MappingProxyType(
    {EMBED: _check_side, CLUSTER: _check_kind, ORDER: _check_turns}
)
_TRIALS: Final[Mapping[Role, Callable[[Path, Any], bool]]] = MappingProxyType({EMBED: _embeds, CLUSTER: _contracts, ORDER: _encodes})
_GIVES: Final[Mapping[Role, str]] = MappingProxyType({EMBED: "vectors", CLUSTER: "places", ORDER: "latents"})
