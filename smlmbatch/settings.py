"""How settings come about (defaults < preset < file < options), and the settings written out with what each means.

A preset is a packaged TOML file, `presets/<name>.toml`, that states some keys and beside each the reason; whatever it leaves
out stays at its default. What a key means is said once, beside its default in `config.py`, and read from there.
"""

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from smlmbatch.config import Config, config_from_dict, read_tables, to_toml
from smlmbatch.errors import ConfigError

_SUFFIX = ".toml"
_LINE = re.compile(r"(?P<key>\w+) = (?P<value>\"[^\"]*\"|\S+)(?:\s+#\s*(?P<why>.*))?")
_DEFAULT = re.compile(r"    (?P<key>\w+): \w+ = .*?\s{2}#\s*(?P<why>.*)")
_MERGING = ("merge_nm", "merge_nena")
_WIDTH = 44  # comments begin in this column where the value leaves room


def preset_names() -> tuple[str, ...]:
    """Names of the packaged presets, sorted."""
    folder = resources.files("smlmbatch") / "presets"
    return tuple(sorted(entry.name.removesuffix(_SUFFIX) for entry in folder.iterdir() if entry.name.endswith(_SUFFIX)))


def preset_text(name: str) -> str:
    """A preset's file as it is packaged.

    Raises
    ------
    ConfigError
        there is none of this name
    """
    if name not in preset_names():
        raise ConfigError(f"--preset {name!r}: no such preset; known are {', '.join(preset_names())}")
    return (resources.files("smlmbatch") / "presets" / f"{name}{_SUFFIX}").read_text(encoding="utf-8")


def preset_title(name: str) -> str:
    """What a preset is for: the first line of its file."""
    return preset_text(name).partition("\n")[0].removeprefix("#").strip()


def resolve(*, preset: str = "", file: Path | None = None) -> Config:
    """Settings of a preset and a file over the defaults; what the file states wins.

    Raises
    ------
    ConfigError
        no such preset, or a file with a mistake
    """
    tables: dict[str, Any] = tomllib.loads(preset_text(preset)) if preset else {}
    stated = one_merging(read_tables(file)) if file is not None else {}
    for section, table in stated.items():
        below = tables.get(section, {})
        tables[section] = below | table if isinstance(table, dict) else table
    source = " over ".join(part for part in (str(file or ""), f"preset {preset}" if preset else "") if part)
    return config_from_dict(tables, source=source or "configuration")


def one_merging(stated: dict[str, Any]) -> dict[str, Any]:
    """Tables with the other distance of merging at 0 where only one is stated: they exclude each other, and what lies below has its own.

    >>> one_merging({"prepare": {"merge_nm": 40.0}})
    {'prepare': {'merge_nm': 40.0, 'merge_nena': 0.0}}
    """
    prepare = stated.get("prepare")
    if not isinstance(prepare, dict):
        return stated
    unsaid = [name for name in _MERGING if prepare.get(name) is None]
    return stated if len(unsaid) != 1 else stated | {"prepare": prepare | {unsaid[0]: 0.0}}


def documented(config: Config, *, preset: str = "") -> str:
    """Settings as TOML that `load_config` reads back equal; beside each key what it means, above it why a preset set it."""
    meanings, reasons = _meanings(), _reasons(preset_text(preset)) if preset else {}
    lines = []
    for section, line in _lines_of(to_toml(config)):
        key = line.partition(" = ")[0]
        if (section, key) in reasons:
            lines.append(f"# preset {preset}: {reasons[section, key]}")
        why = meanings.get((section, key), "")
        lines.append(f"{line:<{_WIDTH}}  # {why}" if why else line)
    return "\n".join(lines) + "\n"


def _meanings() -> dict[tuple[str, str], str]:
    """(section, key) → the comment beside its default; a second limit of a traffic light means what the first does, only worse."""
    source = (resources.files("smlmbatch") / "config.py").read_text(encoding="utf-8")
    found: dict[tuple[str, str], str] = {}
    for section in dataclasses.fields(Config):
        kind: Any = section.default_factory
        body = re.search(rf"^class {kind.__name__}:\n(.*?)^    def |\Z", source, re.MULTILINE | re.DOTALL)
        matches = map(_DEFAULT.match, (body.group(1) or "").splitlines() if body else ())
        found |= {(section.name, match["key"]): match["why"] for match in matches if match}
        for key in (key.name for key in dataclasses.fields(kind) if key.name.endswith("_red")):
            found.setdefault((section.name, key), "beyond it results are in doubt")
    return found


def _reasons(text: str) -> Mapping[tuple[str, str], str]:
    """(section, key) → why a preset sets it: the comment lines above it and the comment beside it."""
    reasons: dict[tuple[str, str], str] = {}
    above: list[str] = []
    for section, line in _lines_of(text):
        match = _LINE.fullmatch(line)
        if line.startswith("#"):
            above.append(line.removeprefix("#").strip())
            continue
        if match:
            reasons[section, match["key"]] = " ".join([*above, match["why"] or ""]).strip()
        above = []
    return reasons


def _lines_of(text: str) -> Iterator[tuple[str, str]]:
    """(section, line) of a TOML text."""
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        yield section, line
