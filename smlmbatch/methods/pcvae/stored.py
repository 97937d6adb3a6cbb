"""The particles of a campaign: those of one channel, of all fields whose picks are published, with what their files tell of each point."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.methods.pcvae.data import EXTRAS, ParticleSet
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign

MOST: Final = -1  # the channel that has most particles
_PRECISION: Final = "precision_nm"


@dataclass(frozen=True, slots=True)
class StoredParticles:
    """Particles in the order of fields, and of their units.

    Attributes
    ----------
    particles : k of them; what some field's file doesn't tell is told of none
    field : (k,) i4, index into `campaign.fields`
    number : (k,) i4, which particle of its field's unit
    loc : (n,) i8, which loc of the field's stage ingest each point is
    channel : of which they are
    others : channel → particles of the other channels
    flattened : whether z of some fields was left out, as others have none
    """

    particles: ParticleSet
    field: NDArray[np.int32]
    number: NDArray[np.int32]
    loc: NDArray[np.int64]
    channel: int
    others: dict[int, int]
    flattened: bool

    def take(self, numbers: NDArray[np.integer], kept: NDArray[np.bool_] | None = None) -> "StoredParticles":
        """Some of the particles, in this order; of their points those that are `kept`, (n,)."""
        points = self.particles.rows_of(numbers)
        chosen, loc = self.particles.take(numbers), self.loc[points]
        if kept is not None:
            chosen, loc = chosen.with_points(kept[points]), loc[kept[points]]
        return StoredParticles(chosen, self.field[numbers], self.number[numbers], loc, self.channel, self.others, self.flattened)


def campaign_particles(campaign: Campaign, *, channel: int | None = None) -> ParticleSet:
    """All particles of a channel.

    Parameters
    ----------
    channel : of which they are; None = of the only one that has some

    Raises
    ------
    ConfigError
        there are no particles, or of several channels and none is named, or in the plane and in space
    """
    if channel is None and len(here := _channels(campaign)) > 1:
        raise ConfigError(f"{campaign.output}: has particles of the channels {', '.join(map(str, here))}: name one with --channel")
    found = stored_particles(campaign, channel=MOST if channel is None else channel)
    if found is None:
        of = "" if channel is None else f" of channel {channel}"
        raise ConfigError(f"{campaign.output}: has no particles{of}: run `smlmbatch pick {campaign.output} --from cluster` first")
    if found.flattened:
        raise ConfigError(f"{campaign.output}: some fields have z and some have none: one model can't learn from both")
    return found.particles


def stored_particles(campaign: Campaign, *, channel: int = MOST) -> StoredParticles | None:
    """All particles of a channel, with where each comes from; those of the plane and of space together lie in the plane. None = no such.

    Parameters
    ----------
    channel : of which they are; `MOST` = of the one that has most, of equals the first
    """
    counts = _channels(campaign)
    chosen = max(counts, key=lambda number: counts[number], default=MOST) if channel == MOST else channel
    if chosen not in counts:
        return None
    found: list[dict[str, NDArray[Any]]] = []
    for index, result in enumerate(campaign.fields):
        if {"pick", "ingest"} <= result.units.keys():
            with UnitReader(result.units["pick"]) as pick, UnitReader(result.units["ingest"]) as ingest:
                own = _field_particles(pick, ingest)
            own["number"] = np.flatnonzero(own["channel"] == chosen).astype(np.int32)
            own["field"] = np.full(len(own["number"]), index, np.int32)
            found += [own] if len(own["number"]) else []
    axes = {field["point_nm"].shape[1] for field in found}
    told = [name for name in (_PRECISION, *EXTRAS) if all(name in field for field in found)]
    sets = [_as_set(field, told, axes=min(axes)).take(field["number"]) for field in found]
    loc = [field["loc"][_points_of(field)] for field in found]
    field, number = (np.concatenate([own[name] for own in found]) for name in ("field", "number"))
    others = {other: n for other, n in counts.items() if other != chosen}
    return StoredParticles(_joined(sets, told), field, number, np.concatenate(loc), chosen, others, len(axes) > 1)


def _channels(campaign: Campaign) -> dict[int, int]:
    """Channel → its particles, in the order of channels; those that have some."""
    counts: dict[int, int] = {}
    for result in campaign.fields:
        if {"pick", "ingest"} <= result.units.keys():
            with UnitReader(result.units["pick"]) as pick:
                for channel, n in zip(pick.attrs["channels"], pick.attrs["n_particles"], strict=True):
                    counts[channel] = counts.get(channel, 0) + n
    return {channel: n for channel, n in sorted(counts.items()) if n}


def _field_particles(pick: UnitReader, ingest: UnitReader) -> dict[str, NDArray[Any]]:
    loc = pick.read("loc")
    told = {name: ingest.read(name)[loc] for name in (_PRECISION, *EXTRAS) if ingest.has(name)}
    return {name: pick.read(name) for name in ("start", "channel", "point_nm")} | told | {"loc": loc}


def _points_of(field: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Which points are of the chosen particles."""
    chosen = np.zeros(len(field["channel"]), bool)
    chosen[field["number"]] = True
    return np.repeat(chosen, np.diff(field["start"]))


def _joined(sets: Sequence[ParticleSet], told: Sequence[str]) -> ParticleSet:
    sizes = np.concatenate([one.sizes for one in sets])
    return ParticleSet(
        np.concatenate([one.points_nm for one in sets]),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
        np.concatenate([one.precision_nm for one in sets if one.precision_nm is not None]) if _PRECISION in told else None,
        {name: np.concatenate([one.extras[name] for one in sets]) for name in told if name != _PRECISION},
    )


def _as_set(field: dict[str, NDArray[Any]], told: Sequence[str], *, axes: int) -> ParticleSet:
    precision = field[_PRECISION] if _PRECISION in told else None
    extras = {name: field[name] for name in told if name != _PRECISION}
    return ParticleSet(np.ascontiguousarray(field["point_nm"][:, :axes]), field["start"], precision, extras)
