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
@click.option("--out", "folder", type=folder_type, required=True, help="Folder for the model.")
@click.option(
    "--recipe", type=folder_type, default=None, help="Settings, TOML, as a model's config.toml holds them; left-out keys are default."
)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change one setting: --set epochs=4.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--checkpoint-s", type=click.FloatRange(1), default=120.0, show_default=True, help="Seconds between checkpoints.")
@pass_place
def train(place: Place, /, method_name: str, folder: Path, recipe: Path | None, changes: tuple[str, ...], **options: Any) -> None:
    """Train a model by METHOD (contrastive), and write it with its card. Run again after any interruption to go on.

    \b
    smlmbatch train contrastive --out my_model
    torchrun --nproc-per-node 2 -m smlmbatch train contrastive --out my_model
    """
    from smlmbatch.methods.model import config_of, known_methods, read_settings

    known = known_methods()
    if method_name not in known:
        raise ConfigError(f"METHOD {method_name}: wanted one of {', '.join(known)}")
    method, values = known[method_name], _values(changes)
    if recipe is not None:
        found, config = read_settings(recipe)
        if found.name != method_name:
            raise ConfigError(f"{recipe}: is a recipe of {found.name}, not of {method_name}")
        values = dataclasses.asdict(config) | values
    config = config_of(method, values)
    from smlmbatch.train.session import train_model

    made = train_model(method, config, folder, place=place, talk=talk, **options)
    if place.rank == 0:
        if not made:
            talk("already there")
        say(str(folder))


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
