"""The particles of a campaign: those of one channel, of all fields whose picks are published, with what their files tell of each point."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.methods.pcvae.data import EXTRAS, ParticleSet
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign

_PRECISION: Final = "precision_nm"


def campaign_particles(campaign: Campaign, *, channel: int | None = None) -> ParticleSet:
    """Particles in the order of fields, and of their units; what some field's file doesn't tell is told of none.

    Parameters
    ----------
    channel : of which they are; None = of the only one that has some

    Raises
    ------
    ConfigError
        there are no particles, or of several channels and none is named, or in the plane and in space
    """
    picked = [result.units for result in campaign.fields if {"pick", "ingest"} <= result.units.keys()]
    found: list[dict[str, NDArray[Any]]] = []
    for units in picked:
        with UnitReader(units["pick"]) as pick, UnitReader(units["ingest"]) as ingest:
            found.append(_field_particles(pick, ingest))
    here = sorted({int(number) for field in found for number in np.unique(field["channel"])})
    if channel is None and len(here) > 1:
        raise ConfigError(f"{campaign.output}: has particles of the channels {', '.join(map(str, here))}: name one with --channel")
    chosen = here[0] if channel is None and here else channel
    if chosen not in here:
        of = "" if channel is None else f" of channel {channel}"
        raise ConfigError(f"{campaign.output}: has no particles{of}: run `smlmbatch pick {campaign.output} --from cluster` first")
    found = [field for field in found if (field["channel"] == chosen).any()]
    if len({field["point_nm"].shape[1] for field in found}) > 1:
        raise ConfigError(f"{campaign.output}: some fields have z and some have none: one model can't learn from both")
    return _joined(found, [np.flatnonzero(field["channel"] == chosen) for field in found])


def _field_particles(pick: UnitReader, ingest: UnitReader) -> dict[str, NDArray[Any]]:
    loc = pick.read("loc")
    told = {name: ingest.read(name)[loc] for name in (_PRECISION, *EXTRAS) if ingest.has(name)}
    return {name: pick.read(name) for name in ("start", "channel", "point_nm")} | told


def _joined(fields: Sequence[dict[str, NDArray[Any]]], chosen: Sequence[NDArray[np.int64]]) -> ParticleSet:
    told = [name for name in (_PRECISION, *EXTRAS) if all(name in field for field in fields)]
    sets = [_as_set(field, told).take(numbers) for field, numbers in zip(fields, chosen, strict=True)]
    sizes = np.concatenate([one.sizes for one in sets])
    return ParticleSet(
        np.concatenate([one.points_nm for one in sets]),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
        np.concatenate([one.precision_nm for one in sets if one.precision_nm is not None]) if _PRECISION in told else None,
        {name: np.concatenate([one.extras[name] for one in sets]) for name in told if name != _PRECISION},
    )


def _as_set(field: dict[str, NDArray[Any]], told: Sequence[str]) -> ParticleSet:
    precision = field[_PRECISION] if _PRECISION in told else None
    return ParticleSet(field["point_nm"], field["start"], precision, {name: field[name] for name in told if name != _PRECISION})
