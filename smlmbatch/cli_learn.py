"""The verb that makes models: train."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import click

from smlmbatch.cli_options import folder_type, pass_place
from smlmbatch.cli_talk import say, talk
from smlmbatch.errors import ConfigError
from smlmbatch.hpc.place import Place


@click.command()
@click.argument("method_name", metavar="METHOD")
@click.argument("campaign", metavar="[OUTPUT]", required=False, type=folder_type)
@click.option("--out", "folder", type=folder_type, required=True, help="Folder for the model.")
@click.option(
    "--recipe",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="Settings: default, paper, multiscale (miro), or a TOML file as a model's config.toml; left-out keys are default.",
)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change one setting: --set epochs=4.")
@click.option(
    "--templates", type=folder_type, default=None, help="Tune miro to the clusters marked in this CSV: x_nm, y_nm, cluster, field."
)
@click.option(
    "--start", type=folder_type, default=None, help="The model to begin with; with --templates by default the one that is shipped."
)
@click.option(
    "--blinking", type=click.Choice(["yes", "no"]), default=None, help="With --templates: whether molecules are seen several times."
)
@click.option("--channel", type=click.IntRange(0, 255), default=None, help="For pcvae: of which channel the particles are.")
@click.option(
    "--extra",
    "extras",
    type=click.Choice(["photons", "background", "psf_nm"]),
    multiple=True,
    help="For pcvae: what a point tells besides its place.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--checkpoint-s", type=click.FloatRange(1), default=120.0, show_default=True, help="Seconds between checkpoints.")
@click.option(
    "--judge-seeds", type=click.IntRange(0, 50), default=5, show_default=True, help="Draws of test data the model's figures are a mean of."
)
@click.option(
    "--profile", type=folder_type, default=None, help="Train by SLURM: write the job for this site (see submit) and print what to run."
)
@pass_place
def train(
    place: Place,
    /,
    method_name: str,
    campaign: Path | None,
    folder: Path,
    recipe: str,
    changes: tuple[str, ...],
    templates: Path | None,
    start: Path | None,
    blinking: str | None,
    channel: int | None,
    extras: tuple[str, ...],
    profile: Path | None,
    **options: Any,
) -> None:
    """Train a model by METHOD (contrastive, miro, pcvae), and write it with its card. Run again after any interruption to go on.

    pcvae learns from the particles that a campaign has picked: name its OUTPUT.

    \b
    smlmbatch train contrastive --out my_model
    torchrun --nproc-per-node 2 -m smlmbatch train contrastive --out my_model
    smlmbatch train miro --out mine --templates clusters.csv --blinking yes
    smlmbatch train pcvae results/ --out my_pores
    smlmbatch train contrastive --out my_model --profile site.toml      then: bash my_model/jobs/0001/submit.sh --ntasks=4
    """
    _check_campaign(method_name, campaign, channel, extras)
    if campaign is not None:
        if templates is not None or start is not None or blinking is not None:
            raise ConfigError("--templates, --start and --blinking are for miro, not for pcvae")
        method, config = _of_particles(recipe, changes, campaign=campaign, channel=channel, extras=extras)
    elif templates is None:
        if blinking is not None:
            raise ConfigError("--blinking says how to tune to marked clusters: give --templates too")
        method, config = _settled(method_name, recipe, changes)
        if start is not None:
            method, config = _started(method, config, start)
    else:
        method, config = _tuned(method_name, recipe, changes, templates=templates, start=start, blinking=blinking)
    if profile is not None:
        paths = {name: path.absolute() for name, path in (("templates", templates), ("start", start)) if path is not None}
        chosen = {} if channel is None else {"channel": channel}
        say(str(_write_job(method, config, folder, profile, campaign=campaign, **options, **paths, **chosen)))
        return
    from smlmbatch.hpc.heap import keep_freed_memory
    from smlmbatch.train.session import train_model

    keep_freed_memory()
    made = train_model(method, config, folder, place=place, talk=talk, **options)
    if place.rank == 0:
        if not made:
            talk("already there")
        say(str(folder))


def _settled(name: str, recipe: str, changes: tuple[str, ...]) -> tuple[Any, Any]:
    """Method of that name, and its recipe."""
    from smlmbatch.methods.model import config_of, known_methods

    known = known_methods()
    if name not in known:
        raise ConfigError(f"METHOD {name}: wanted one of {', '.join(known)}")
    config = config_of(known[name], dataclasses.asdict(_recipe(known[name], recipe)) | _values(changes))
    if getattr(config, "templates", ""):
        raise ConfigError(f"--recipe {recipe}: is of a model tuned to marked clusters: name them with --templates")
    return known[name], config


def _check_campaign(name: str, campaign: Path | None, channel: int | None, extras: tuple[str, ...]) -> None:
    if name == "pcvae" and campaign is None:
        raise ConfigError("pcvae learns from particles: name the OUTPUT of a campaign that has picked some: smlmbatch train pcvae OUTPUT")
    if name != "pcvae" and (campaign is not None or channel is not None or extras):
        raise ConfigError(f"OUTPUT, --channel and --extra are for pcvae, which learns from a campaign's particles, not for {name}")


def _of_particles(
    recipe: str, changes: tuple[str, ...], *, campaign: Path, channel: int | None, extras: tuple[str, ...]
) -> tuple[Any, Any]:
    """Method with a campaign's particles, and its recipe."""
    from smlmbatch.campaign import load_plan
    from smlmbatch.methods.model import config_of
    from smlmbatch.methods.pcvae.recipe import Pcvae
    from smlmbatch.methods.pcvae.stored import campaign_particles
    from smlmbatch.run import collect
    from smlmbatch.upkeep import standing

    plan = load_plan(campaign)
    method = Pcvae(campaign_particles(collect(plan, standing(plan, trust_cache=True)), channel=channel))
    config = method.recipe(_recipe(method, recipe), extras=extras)
    return method, config_of(method, dataclasses.asdict(config) | _values(changes))


def _started(method: Any, config: Any, start: Path) -> tuple[Any, Any]:
    """The same with a model to begin with."""
    from smlmbatch.methods.miro.started import StartedMiro
    from smlmbatch.methods.model import load_model

    if method.name != StartedMiro.name:
        raise ConfigError(f"--start: only {StartedMiro.name} can begin with another model, not {method.name}")
    begun = StartedMiro(load_model(start))
    return begun, begun.recipe(config)


def _tuned(
    name: str, recipe: str, changes: tuple[str, ...], *, templates: Path, start: Path | None, blinking: str | None
) -> tuple[Any, Any]:
    """Method that begins with a model and learns from marked clusters, and its recipe."""
    from smlmbatch.methods.folders import shipped
    from smlmbatch.methods.miro.tuning import TunedMiro
    from smlmbatch.methods.model import config_of, load_model
    from smlmbatch.simulate.templates import read_templates

    if name != TunedMiro.name:
        raise ConfigError(f"--templates: only {TunedMiro.name} can be tuned, not {name}")
    method = TunedMiro(read_templates(templates), load_model(shipped(name) if start is None else start))
    config = method.recipe(blinking=blinking) if recipe == "default" else _recipe(method, recipe)
    config = config_of(method, dataclasses.asdict(config) | _values(changes))
    method.check(config, blinking=blinking)
    return method, config


def _write_job(method: Any, config: Any, folder: Path, profile: Path, *, campaign: Path | None, **options: Any) -> Path:
    from smlmbatch.hpc.site import load_site
    from smlmbatch.hpc.training_job import write_training
    from smlmbatch.methods.model import settings_text

    named = {f"--{name.replace('_', '-')}": str(value) for name, value in sorted(options.items())}
    source = () if campaign is None else (str(campaign.absolute()),)
    arguments = (method.name, *source, *(word for pair in named.items() for word in pair))
    return write_training(folder.absolute(), load_site(profile), recipe=settings_text(method.name, config), arguments=arguments)


def _recipe(method: Any, name: str) -> Any:
    """The settings of that name, or of that file.

    Raises
    ------
    ConfigError
        neither, or a recipe of another method
    """
    from smlmbatch.methods.model import read_settings

    if name in method.recipes:
        return method.recipes[name]
    if not Path(name).is_file():
        raise ConfigError(f"--recipe {name}: is no file, nor one of {', '.join(method.recipes)}")
    found, config = read_settings(Path(name))
    if found.name != method.name:
        raise ConfigError(f"{name}: is a recipe of {found.name}, not of {method.name}")
    return config


def _values(changes: tuple[str, ...]) -> dict[str, Any]:
    """Settings given on the command line; values are TOML, bare words are text."""
    values = {}
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign:
            raise ConfigError(f"--set {change}: wanted KEY=VALUE")
        try:
            values[key.strip()] = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = text.strip()
    return values


VERBS = (train,)
