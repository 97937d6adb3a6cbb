"""Which model a campaign embeds with: what `[embed] model` means.

Settled when a campaign is planned (`settle`); from then on the settings alone tell (`choose`), without torch and without the folder that a
model of one's own came from. A model is the same whatever path it is named by: the settings hold its plain name and its sha256.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from smlmbatch.config import Config
from smlmbatch.errors import ConfigError, InputError
from smlmbatch.methods.folders import (
    CONFIG,
    RESERVED,
    check_plain,
    copy_name,
    is_whole,
    known_copies,
    model_sha256,
    plain_name,
    shipped,
    stated_settings,
)

AUTO, NONE, SHIPPED = RESERVED
MODELS: Final = "models"  # folder of a campaign's own models under OUTPUT
_WANT = "a model of the method contrastive, whose regions have the side of the campaign's"


@dataclass(frozen=True, slots=True)
class Choice:
    """The model of a campaign, or why there is none.

    Attributes
    ----------
    name : "contrastive" for the shipped one, else what the campaign calls it; "" = none
    sha256 : what it is known by; "" = none
    why_none : one sentence; "" where there is a model
    """

    name: str
    sha256: str
    why_none: str = ""


def choose(config: Config) -> Choice:
    """The model that settled settings mean.

    Raises
    ------
    ConfigError
        the shipped model is asked for, and regions have another side; or a folder is named that was never settled
    """
    embed, roi_nm = config.embed, config.tile.roi_nm
    if embed.model == NONE:
        return Choice("", "", 'No embedding was wanted (embed.model = "none").')
    if embed.model not in RESERVED:
        if not embed.sha256:
            raise ConfigError(f"embed.model = {embed.model!r}: this model was not copied into the campaign: plan it again")
        return Choice(embed.model, embed.sha256)
    side_nm = float(stated_settings(shipped(SHIPPED))[SHIPPED]["side_nm"])
    if roi_nm == side_nm:
        return Choice(SHIPPED, model_sha256(shipped(SHIPPED)))
    if embed.model == SHIPPED:
        mend = f'set tile.roi_nm = {side_nm:g}, or embed.model = "none", or train a model for {roi_nm:g} nm'
        raise ConfigError(f'embed.model = "{SHIPPED}" embeds regions of {side_nm:g} nm, but tile.roi_nm = {roi_nm:g}: {mend}')
    return Choice("", "", f"The shipped model embeds regions of {side_nm:g} nm, and these have {roi_nm:g} nm.")


def embed_settings(config: Config) -> dict[str, object]:
    """Of `[embed]`, what a unit's result depends on: nothing but the reason where there is no model, the seed only where locs are drawn."""
    embed, choice = config.embed, choose(config)
    if choice.why_none:
        return {"model_sha256": "", "why_none": choice.why_none}
    settings: dict[str, object] = {"model_sha256": choice.sha256, "min_locs": embed.min_locs, "n_locs": embed.n_locs}
    settings |= {"turned": embed.turned, "device": embed.device}
    return settings | ({"seed": embed.seed} if embed.n_locs else {})


# ---- finding and loading


def model_folder(choice: Choice, models: Path) -> Path:
    """Where the chosen model lies: in the package, or in OUTPUT/models."""
    return shipped(SHIPPED) if choice.name == SHIPPED else models / copy_name(choice.name, choice.sha256)


def whole_folder(choice: Choice, models: Path) -> Path:
    """Where the chosen model lies, if it is what the campaign was planned with.

    Raises
    ------
    InputError
        the campaign's copy is missing or damaged
    """
    folder = model_folder(choice, models)
    if choice.name == SHIPPED or is_whole(folder, choice.sha256):
        return folder
    finding = f"the campaign's copy of its model is {'damaged' if folder.is_dir() else 'not there'}"
    mend = f"plan again with --model and the folder of {choice.name}, then run with --retry-failed"
    raise InputError(f"{MODELS}/{folder.name}", finding, f"the model {choice.name} of sha256 {choice.sha256[:12]}", mend)


# ---- settling


@dataclass(frozen=True, slots=True)
class Settled:
    """Settings whose model is known by name and sha256, and the folder it is to be copied from (None: no need)."""

    config: Config
    source: Path | None = None


def settle(config: Config, *, stored: Config | None = None, models: Path | None = None) -> Settled:
    """Find out which model `[embed] model` means, and look whether it can serve.

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
    embed = config.embed
    if embed.model in RESERVED:
        settled = replace(config, embed=replace(embed, sha256=""))
        choose(settled)
        return Settled(settled)
    copies = known_copies(models) if models is not None else {}
    if embed.sha256 and "/" not in embed.model:
        return Settled(_named(config, copies, stored))
    source = Path(embed.model)
    check_plain(source)
    sha256 = model_sha256(source)
    if embed.sha256 not in ("", sha256):
        raise ConfigError(
            f"embed.sha256 = {embed.sha256!r}, but the model in {source} has {sha256}: name the other folder, or leave it out"
        )
    if sha256 in copies:
        _check_side(copies[sha256], config)
    else:
        _check_model(source, config)
    if stored is not None and stored.embed.sha256 == sha256:
        name = stored.embed.model
    else:
        name = copies[sha256].name.rpartition("-")[0] if sha256 in copies else plain_name(source.absolute())
    return Settled(replace(config, embed=replace(embed, model=name, sha256=sha256)), source)


def _named(config: Config, copies: dict[str, Path], stored: Config | None) -> Config:
    """Settings that name a model by what a campaign calls it: its copy must be there, unless it was when the campaign was planned."""
    embed = config.embed
    if embed.sha256 in copies:
        _check_side(copies[embed.sha256], config)
    elif stored is None or (stored.embed.model, stored.embed.sha256) != (embed.model, embed.sha256):
        raise ConfigError(f"embed.model = {embed.model!r}: OUTPUT holds no model of sha256 {embed.sha256[:12]}: name the model's folder")
    return config


def _check_side(folder: Path, config: Config) -> None:
    from smlmbatch.methods.model import read_settings

    settings = read_settings(folder / CONFIG)[1]
    if settings.side_nm != config.tile.roi_nm:
        finding = f"embeds regions of {settings.side_nm:g} nm, and those of the campaign have {config.tile.roi_nm:g} nm"
        raise InputError(folder, finding, _WANT, f"set tile.roi_nm = {settings.side_nm:g}, or name another model")


def _check_model(folder: Path, config: Config) -> None:
    """Load a model and embed a raster: what can go wrong goes wrong here, before anything is frozen."""
    import numpy as np

    from smlmbatch.methods.contrastive.data import perlin_family
    from smlmbatch.methods.contrastive.infer import embed_counts
    from smlmbatch.methods.model import load_model

    model = load_model(folder)
    if model.method.name != SHIPPED:
        raise InputError(folder, f"is a model of the method {model.method.name}", _WANT, "name another model")
    _check_side(folder, config)
    try:
        perlin_family(model.config)
    except ConfigError as error:
        raise InputError(folder / CONFIG, str(error), "the settings a model was trained with", "copy the folder again") from error
    found = embed_counts(model.network, np.eye(model.config.side_px, dtype=np.int64)[None], turned=False)
    if found.shape != (1, model.config.features) or not np.isfinite(found).all():
        raise InputError(folder, "gives vectors that are no numbers", _WANT, "train it again, or name another model")
