"""How the command line speaks: results on stdout, talk on stderr, JSON for machines."""

import json
from typing import Any

import click

_MOST_NAMED = 20


def say(text: str) -> None:
    """A result."""
    click.echo(_printable(text))


def talk(text: str) -> None:
    """What happens."""
    click.echo(_printable(text), err=True)


def tell_conditions_taken(plan: Any, name: str = "") -> None:
    """Say which conditions stand in for empty cells of the sheet; `name` is the campaign's, of several."""
    taken = [field.condition for field in plan.fields if field.key in plan.without_condition]
    if taken:
        fields = "1 field has" if len(taken) == 1 else f"{len(taken)} fields have"
        of = f"campaign {name}: " if name else ""
        talk(f"{of}{fields} no condition in the sheet; their folder's name is taken: {', '.join(sorted(set(taken)))}")


def tell_model(config: Any, name: str = "") -> None:
    """Say why regions are not embedded, where that was not asked for; `name` is the campaign's, of several."""
    from smlmbatch.methods.chosen import AUTO, choose

    if config.embed.model == AUTO and (why_none := choose(config).why_none):
        talk(f"{f'campaign {name}: ' if name else ''}no embedding: {why_none} --model FOLDER names another model")


def tell_picks(plan: Any, name: str = "") -> None:
    """Say which fields a file of centres names that the campaign doesn't have; `name` is the campaign's, of several."""
    unknown = plan.unknown_picks
    if unknown:
        shown = ", ".join(unknown[:_MOST_NAMED]) + (", …" if unknown[_MOST_NAMED:] else "")
        talk(f"{f'campaign {name}: ' if name else ''}{plan.config.pick.picks} has centres of fields that are not here: {shown}")


def print_json(value: Any) -> None:
    """A result for machines."""
    click.echo(json.dumps(value, indent=1))


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
