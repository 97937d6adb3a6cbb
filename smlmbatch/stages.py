"""The table of field stages and the fingerprint of each unit.

Light on purpose: a second run of an unchanged campaign needs this and the store's file names, nothing else.
`result_version` is raised when a change of code changes results (`tests/test_golden.py` makes one notice).
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from smlmbatch.config import Config, pick_settings
from smlmbatch.methods.chosen import cluster_settings, embed_settings
from smlmbatch.provenance import fingerprint
from smlmbatch.samples import Field
from smlmbatch.store.attempts import UnitKey


@dataclass(frozen=True, slots=True)
class Inputs:
    """sha256 of the files a field is made of: its source, a .yaml beside it, its outline ("" = none)."""

    source: str
    sidecar: str = ""
    outline: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """One field stage: where its code is, its results' version, and what else its result depends on.

    Attributes
    ----------
    sections : sections of the settings that its result depends on
    settings : section → keys, where not all of a section matter
    shared : its module has `blocks`, so several ranks can share a big field (`sharing`)
    idle : whether these settings leave it nothing to do; then its unit, which says so, is made along with the stage before
    spared : stages of `upstream` that it doesn't need with these settings
    """

    name: str
    module: str
    result_version: int
    sections: tuple[str, ...]
    upstream: tuple[str, ...]
    depends_on: Callable[[Field, Inputs, Config], dict[str, Any]]
    settings: Callable[[Config], dict[str, Any]] = lambda config: {}
    shared: bool = False
    idle: Callable[[Config], bool] = lambda config: False
    spared: Callable[[Config], tuple[str, ...]] = lambda config: ()

    def rests_on(self, config: Config) -> tuple[str, ...]:
        """Names of the stages whose units it reads with these settings."""
        spared = self.spared(config)
        return tuple(name for name in self.upstream if name not in spared)


FIELD_STAGES: tuple[Stage, ...] = (
    Stage(
        "ingest",
        "smlmbatch.ingest.stage",
        2,
        ("ingest", "prepare"),
        (),
        lambda field, inputs, config: {
            "source": inputs.source,
            "sidecar": inputs.sidecar,
            "format": field.format,
            "map": field.map,
            "pixel_size_nm": field.pixel_size_nm,
            "unit": field.unit,
            "frame_base": field.frame_base,
        },
    ),
    Stage(
        "tile",
        "smlmbatch.tile.stage",
        1,
        ("tile",),
        ("ingest",),
        lambda field, inputs, config: {
            "outline": inputs.outline,
            "outline_kind": Path(field.cell_outline).suffix.lower(),
            "pixel_size_nm": field.pixel_size_nm,
        },
    ),
    # measures only; `[quality]` judges, without a unit
    Stage("quality", "smlmbatch.quality.stage", 2, (), ("ingest", "tile"), lambda field, inputs, config: {}),
    # the key seeds the thinning of dense regions
    Stage("measure", "smlmbatch.measure.stage", 1, ("measure",), ("ingest", "tile"), lambda field, inputs, config: {"field": field.key}),
    # the key seeds the draws of n_locs
    Stage(
        "embed",
        "smlmbatch.embed.stage",
        1,
        (),
        ("ingest", "tile"),
        lambda field, inputs, config: {"field": field.key} if config.embed.n_locs else {},
        lambda config: {"embed": embed_settings(config)},
        shared=True,
    ),
    Stage(
        "cluster",
        "smlmbatch.cluster.stage",
        1,
        (),
        ("ingest", "tile"),
        lambda field, inputs, config: {"blinking": field.blinking} if config.cluster.method == "miro" else {},
        lambda config: {"cluster": cluster_settings(config)},
        shared=True,
    ),
    Stage(
        "pick",
        "smlmbatch.pick.stage",
        1,
        (),
        ("ingest", "cluster"),
        # how the field may be called in a file of centres
        lambda field, inputs, config: {"path": field.path, "name": field.name} if config.pick.source == "file" else {},
        lambda config: {"pick": pick_settings(config.pick)},
        idle=lambda config: config.pick.source == "none",
        spared=lambda config: ("cluster",) if config.pick.source in ("group", "file") else (),
    ),
)


def stages_until(name: str, config: Config) -> tuple[str, ...]:
    """All field stages up to this one, and those behind it that are idle: no job is to be started for them."""
    names = [stage.name for stage in FIELD_STAGES]
    behind = itertools.takewhile(lambda stage: stage.idle(config), FIELD_STAGES[names.index(name) + 1 :])
    return (*names[: names.index(name) + 1], *(stage.name for stage in behind))


def unit_keys(field: Field, inputs: Inputs, config: Config) -> dict[str, UnitKey]:
    """The key of every unit of a field, by stage, each hashing what its result depends on and nothing else."""
    return {stage: UnitKey(field.key, stage, digest) for stage, digest, _ in _chain(field, inputs, config)}


def unit_parts(field: Field, inputs: Inputs, config: Config) -> dict[str, dict[str, Any]]:
    """What every unit's result depends on, by stage: the very parts that its fingerprint hashes. A unit keeps them."""
    return {stage: parts for stage, _, parts in _chain(field, inputs, config)}


def _chain(field: Field, inputs: Inputs, config: Config) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(stage, fingerprint, its parts) from stage to stage."""
    digests: dict[str, str] = {}
    for stage in FIELD_STAGES:
        parts = {
            "stage": stage.name,
            "version": stage.result_version,
            "config": {name: _section(getattr(config, name)) for name in stage.sections} | stage.settings(config),
            "upstream": [digests[name] for name in stage.rests_on(config)],
            "own": stage.depends_on(field, inputs, config),
        }
        digests[stage.name] = fingerprint(**parts)
        yield stage.name, digests[stage.name], parts


@lru_cache(maxsize=64)  # the same few settings for thousands of fields
def _section(settings: Any) -> dict[str, Any]:
    return dataclasses.asdict(settings)
