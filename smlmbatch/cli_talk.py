"""How the command line speaks: results on stdout, talk on stderr, JSON for machines."""

import json
from typing import Any

import click


def say(text: str) -> None:
    """A result."""
    click.echo(_printable(text))


def talk(text: str) -> None:
    """What happens."""
    click.echo(_printable(text), err=True)


def print_json(value: Any) -> None:
    """A result for machines."""
    click.echo(json.dumps(value, indent=1))


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
