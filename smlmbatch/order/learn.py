"""The unit `order`: a network learns from the campaign's particles what they differ in, and every particle gets its place.

One unit of the whole campaign, made by one process on one thread, so that it comes out the same wherever it is made. Directions along
which particles lie in order are the latent units themselves, principal axes of what halves of a particle's locs agree on, and, where
something is known of particles, the direction that goes with it best, found on one half of the particles (PC-VAE paper;
`methods.pcvae.axes`). Bins hold equal counts: of n particles and b bins ceil(n / b) each, the last what is left, as in the paper.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.clustering.particle_shapes import circle_radii, layer_heights, level_heights, mean_radii, median_radii
from smlmbatch.config import OrderConfig
from smlmbatch.errors import ConfigError
from smlmbatch.methods.chosen import MODELS, ORDER, choose, whole_folder
from smlmbatch.methods.folders import CONFIG, METRICS, WEIGHTS
from smlmbatch.methods.pcvae.axes import halves, pearson, principal_axes, supervised_axis
from smlmbatch.methods.pcvae.data import EXTRAS, ParticleSet
from smlmbatch.methods.pcvae.recipe import Pcvae, PcvaeConfig
from smlmbatch.methods.pcvae.stored import StoredParticles, stored_particles
from smlmbatch.order.population import Population, choose_population
from smlmbatch.store.arrays import UnitWriter
from smlmbatch.work import Campaign

Floats = NDArray[np.float64]
Train = Callable[[Pcvae, PcvaeConfig, Path], None]  # a model of these settings into this folder

ESTIMATES: Final = ("mean_radius_nm", "median_radius_nm", "circle_radius_nm", "layer_height_nm", "level_height_nm")
VALUE: Final = "value"  # the direction that goes best with what is known of particles
_LEAST_SURE: Final = 0.1  # of a circle's radius: its standard error, for the radius to count
_LARGEST_CIRCLE: Final = 2.0  # times the mean distance of a particle's locs
_LEAST_OF_BIN: Final = 8  # particles: fewer make no super-particle
_LEAST_KNOWN: Final = 20  # particles of which the value is known
_LOOKED_AT: Final = 512  # particles by which one judges whether latents are alive, and how few locs do
_SHARES: Final = (0.5, 0.2)  # of each particle's locs
_THINNED: Final = 0x7417  # first number of the key of the locs that are left


@dataclass(frozen=True, slots=True)
class Directions:
    """Axes in the space of latents.

    Attributes
    ----------
    names : "unit1", …, "pc1", …, and "value" where there is one
    vector : (u, a) f8
    offset : (a,) f8; a latent's place is its product with the vector, less this
    share : of all differences between particles, measured by noise, that each tells; None for what is no principal axis
    """

    names: list[str]
    vector: Floats
    offset: Floats
    share: list[float | None]

    def places(self, latents: NDArray[np.floating]) -> Floats:
        """Where particles lie: (k, a) f8."""
        return np.asarray(latents, np.float64) @ self.vector - self.offset


def learn(campaign: Campaign, out: UnitWriter, folder: Path, *, train: Train) -> int:
    """Make the unit; returns how many locs its particles have.

    Parameters
    ----------
    out : where it is written
    folder : empty, for the model while it is trained
    train : how a model is trained

    Raises
    ------
    ConfigError
        `[order] extras` or `value` names what particles don't have; the model is of particles with other axes
    InputError
        the campaign's copy of its model is missing or damaged
    """
    config = campaign.config.order
    stored = stored_particles(campaign, channel=config.channel)
    found = None if stored is None else choose_population(stored)
    out.attrs |= {"fields": [result.field.key for result in campaign.fields], "why_none": _why_none(found, config), **_facts(found)}
    if found is None or out.attrs["why_none"]:
        return 0
    _write_population(out, found)
    estimates = estimate_all(found.stored.particles)
    value = _value(campaign, found.stored, estimates)
    given = choose(campaign.config, ORDER)
    out.attrs |= {"model": given.name}
    if given.name:
        model = whole_folder(given, campaign.output / MODELS, ORDER)
    else:
        model = folder
        method = Pcvae(found.stored.particles)
        recipe = method.recipe(base_recipe(config, axes=found.stored.particles.axes), extras=_extras(config))
        train(method, replace(recipe, epochs=config.epochs or recipe.epochs), model)
    _write_order(out, model, found.stored.particles, config, estimates=estimates, value=value)
    return len(found.stored.loc)


def _why_none(found: Population | None, config: OrderConfig) -> str:
    if found is None:
        return "no particles" if config.channel < 0 else f"no particles of channel {config.channel}"
    n = len(found.stored.particles)
    return f"{n} particles: fewer than {config.least_particles}" if n < config.least_particles else ""


def _facts(found: Population | None) -> dict[str, Any]:
    """What is said of the population, whether it is put in order or not."""
    if found is None:
        return {"channel": None, "n_particles": 0, "left_out": {}, "far_locs": 0, "other_channels": {}, "flattened": False}
    others = {str(channel): n for channel, n in found.stored.others.items()}
    counts = {"channel": found.stored.channel, "n_particles": len(found.stored.particles), "left_out": found.left_out}
    return {**counts, "far_locs": found.far_locs, "other_channels": others, "flattened": found.stored.flattened}


def _write_population(out: UnitWriter, found: Population) -> None:
    stored, particles = found.stored, found.stored.particles
    out.write("field", stored.field)
    out.write("number", stored.number)
    out.write("start", particles.start)
    out.write("point_nm", particles.points_nm)
    out.write("loc", stored.loc)
    if particles.precision_nm is not None:
        out.write("precision_nm", particles.precision_nm)


def base_recipe(config: OrderConfig, *, axes: int) -> PcvaeConfig:
    """The default recipe, with what the settings say.

    Raises
    ------
    ConfigError
        particles of the plane can't turn in space
    """
    if config.turns == "space" and axes == 2:
        raise ConfigError('order.turns = "space": these particles have no z; wanted "plane" or "none"')
    rotation: Any = config.turns
    return PcvaeConfig(seed=config.seed, rotation=rotation, axes=axes)


def _extras(config: OrderConfig) -> tuple[str, ...]:
    names = tuple(name.strip() for name in config.extras.split(",") if name.strip())
    if unknown := [name for name in names if name not in EXTRAS]:
        raise ConfigError(f"order.extras = {config.extras!r}: wanted some of {', '.join(EXTRAS)}; {', '.join(unknown)} is none of them")
    return names


# ---- what is known of particles


def estimate_all(particles: ParticleSet) -> dict[str, Floats]:
    """Radius and height of each particle by formulas, (k,) f8 each; heights are NaN in the plane, circles where there are none: a
    particle that is nothing like a ring may be fitted by an arc of a circle of any size."""
    points, start = particles.points_nm, particles.start
    nowhere = np.full(len(particles), np.nan)
    deep = particles.axes == 3
    mean_nm, circle = mean_radii(points, start).nm, circle_radii(points, start).radius
    sure = (circle.error_nm < _LEAST_SURE * circle.nm) & (circle.nm < _LARGEST_CIRCLE * mean_nm)
    return {
        "mean_radius_nm": mean_nm,
        "median_radius_nm": median_radii(points, start).nm,
        "circle_radius_nm": np.where(sure, circle.nm, np.nan),
        "layer_height_nm": layer_heights(points, start).nm if deep else nowhere,
        "level_height_nm": level_heights(points, start).nm if deep else nowhere,
    }


def _value(campaign: Campaign, stored: StoredParticles, estimates: Mapping[str, Floats]) -> Floats | None:
    """What `[order] value` names, of each particle; None where it names nothing."""
    name = campaign.config.order.value.strip()
    if not name or name in estimates:
        return estimates.get(name)
    labels = [dict(result.field.labels).get(name) for result in campaign.fields]
    if not any(labels):
        known = sorted({key for result in campaign.fields for key, _ in result.field.labels})
        wanted = f"a column of the sample sheet ({', '.join(known) or 'it has none of its own'}) or one of {', '.join(ESTIMATES)}"
        raise ConfigError(f"order.value = {name!r}: wanted {wanted}")
    return np.array([_number(label, name) for label in labels])[stored.field]


def _number(label: str | None, name: str) -> float:
    try:
        return float(label) if label else np.nan
    except ValueError:
        raise ConfigError(f"order.value = {name!r}: the sample sheet says {label!r} there; wanted numbers, or nothing") from None


# ---- places


def _write_order(
    out: UnitWriter,
    folder: Path,
    particles: ParticleSet,
    config: OrderConfig,
    *,
    estimates: Mapping[str, Floats],
    value: Floats | None,
) -> None:
    from smlmbatch.methods.model import load_model
    from smlmbatch.methods.pcvae.infer import encode, encode_halves
    from smlmbatch.methods.pcvae.judge import life_of

    model = load_model(folder)
    latents = encode(model.network, particles, device=config.device)
    if not np.isfinite(latents).all():
        raise ConfigError("pcvae: the network gives latents that are no numbers; wanted another seed, fewer epochs or another model")
    halves_of = encode_halves(model.network, particles, seed=config.seed, device=config.device)
    directions = find_directions(latents, halves_of, value, seed=config.seed)
    places = directions.places(latents)
    bins = np.stack([bin_numbers(column, config.bins) for column in places.T], axis=1)
    some = particles.take(_some(len(particles), seed=config.seed))
    life = life_of(model.network.cpu(), some)
    losses = _losses(folder / METRICS)
    arrays: dict[str, NDArray[Any]] = {"latent": latents, "place": places, "bin": bins, **estimates, "nats": life.nats, "loss": losses}
    arrays |= {"direction": directions.vector, "offset": directions.offset, "decoded_nm": _decoded(model, latents, bins)}
    arrays |= {} if value is None else {"value": value}
    arrays |= {"thinned": _thinned(model, some, directions, config)}
    arrays |= {"weights": np.frombuffer((folder / WEIGHTS).read_bytes(), np.uint8)}
    for name, values in arrays.items():
        out.write(name, values)
    out.attrs |= {
        "settings": (folder / CONFIG).read_text(),
        "directions": directions.names,
        "shares": directions.share,
        "value": config.value.strip(),
        "chamfer_nm2": life.chamfer,
        "chamfer_other_nm2": life.chamfer_other,
        "collapsed": life.collapsed,
        "turns": config.turns,
        "shares_kept": list(_SHARES),
    }


def find_directions(
    latents: NDArray[np.floating], halves_of: tuple[NDArray[np.floating], NDArray[np.floating]], value: Floats | None, *, seed: int
) -> Directions:
    """Units, principal axes, and the direction of a known value, found on one half of the particles of which it is known.

    Parameters
    ----------
    latents : (k, u)
    halves_of : latents of two halves of each particle's locs, (h, u) each
    value : (k,), NaN where not known
    seed : of the halves
    """
    units = latents.shape[1]
    principal, share = principal_axes(*halves_of)
    names = [*(f"unit{number}" for number in range(1, units + 1)), *(f"pc{number}" for number in range(1, units + 1))]
    vectors, offsets = [np.eye(units), principal.direction], [np.zeros(units), latents.mean(axis=0, dtype=np.float64) @ principal.direction]
    shares: list[float | None] = [*[None] * units, *share.tolist()]
    known = np.zeros(len(latents), bool) if value is None else np.isfinite(value)
    if value is not None and known.sum() >= _LEAST_KNOWN and np.ptp(value[known]) > 0:
        first, _ = halves(int(known.sum()), seed=seed)
        axis = supervised_axis(latents[known][first], value[known][first])
        names, shares = [*names, VALUE], [*shares, None]
        vectors, offsets = [*vectors, axis.direction], [*offsets, axis.middle @ axis.direction]
    return Directions(names, np.concatenate(vectors, axis=1), np.concatenate(offsets), shares)


def bin_numbers(place: NDArray[np.floating], bins: int) -> NDArray[np.int16]:
    """The bin of each particle, from the lowest place on: (k,) i2; equal counts, the last bin holds what is left, if that makes a bin.

    >>> bin_numbers(np.arange(20.0), 20).tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    rank = np.empty(len(place), np.int64)
    rank[np.argsort(place, kind="stable")] = np.arange(len(place))
    size = max(_LEAST_OF_BIN, -(-len(place) // bins))
    whole, left = divmod(len(place), size)
    return np.minimum(rank // size, max(whole - (left < _LEAST_OF_BIN), 0)).astype(np.int16)


def _decoded(model: Any, latents: NDArray[np.float32], bins: NDArray[np.int16]) -> NDArray[np.float32]:
    """What the median latents of each bin are decoded to: (a, b, points, d) f4, nm."""
    import torch

    medians = [np.stack([np.median(latents[column == number], axis=0) for number in range(int(bins.max()) + 1)]) for column in bins.T]
    with torch.inference_mode():
        found = model.network.decoder(torch.from_numpy(np.concatenate(medians).astype(np.float32)))
    shape = (bins.shape[1], int(bins.max()) + 1, *found.shape[1:])
    return np.asarray(found.cpu().numpy().reshape(shape) * np.float32(model.config.unit_nm), np.float32)


def _some(n: int, *, seed: int) -> NDArray[np.int64]:
    """Up to `_LOOKED_AT` of n particles, at random: neighbours are of one field."""
    return np.sort(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_THINNED, 1))).permutation(n)[:_LOOKED_AT])


def _thinned(model: Any, some: ParticleSet, directions: Directions, config: OrderConfig) -> Floats:
    """How well places hold when locs are taken away at random, |Pearson| with those of all locs: (shares, a) f8; 0 for what doesn't vary.

    Every particle keeps a loc at least.
    """
    from smlmbatch.methods.pcvae.infer import encode

    whole = directions.places(encode(model.network, some, device=config.device))
    draw = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(_THINNED,))).random(len(some.points_nm))
    first = np.zeros(len(draw), bool)
    first[some.start[:-1]] = True
    found = []
    for share in _SHARES:
        left = directions.places(encode(model.network, some.with_points(first | (draw < share)), device=config.device))
        found.append([float(pearson(column[:, None], other)[0]) for column, other in zip(whole.T, left.T, strict=True)])
    return np.array(found)


def _losses(path: Path) -> Floats:
    """Training and validation loss of each epoch: (e, 2) f8."""
    if not path.exists():  # a model of one's own may lie there without
        return np.empty((0, 2))
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return np.array([[entry["train_loss"], entry["loss"]] for entry in entries]).reshape(-1, 2)
