"""A simulated campaign of particles on disk: what facilities have of pores or origami after picking, the truth beside it.

    FOLDER/input/<condition>/<field>...     Picasso files and plain tables in turn; the column `group` says which particle a loc is of
    FOLDER/input/samples.csv                the sample sheet
    FOLDER/truth/particles.csv              a row per particle: its field and group, radius, height, rotation
    FOLDER/truth/parameters.json            all settings and what each replicate drew; written last

A field holds copies of one structure on a jittered grid, and a few locs that are of none (group -1). Conditions differ in one thing: radius
or height comes from the lower, or the upper, two thirds of the population's range, so a third is common to both. Replicates differ a
little, as days do. Every draw is keyed by (condition, replicate, field): a field is the same made alone, first or last.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.acquired import draw_frames
from smlmbatch.simulate.blinking import Camera, SimulatedLocs, photons_of
from smlmbatch.simulate.folder import is_there, parameters_path
from smlmbatch.simulate.particles import AXIAL_TIMES, PORES_2D, PORES_3D, TETRAHEDRA, DrawnParticles, Population, draw_particles
from smlmbatch.simulate.patterns import NM_PER_UM
from smlmbatch.simulate.writers import write_picasso, write_plain
from smlmbatch.store.units import write_whole

Floats = NDArray[np.float64]

SIMULATOR_VERSION: Final = 1  # raised when the same settings give other data
NO_GROUP: Final = -1  # as [pick] no_group takes it by default
APART_NM: Final = 400.0  # from one place of the grid to the next; a structure is up to 150 nm wide
_EDGE_NM: Final = 500.0
_JITTER_NM: Final = 50.0  # largest, along each axis
_BACKGROUND_PER_UM2: Final = 20.0  # about one loc in a pore's circle, which has 154 of its own
_BACKGROUND_Z_NM: Final = 100.0  # above and below the middle
_NOTED_SD: Final = 0.1  # of the logarithm of a noted precision: the program estimates it
_REPLICATE_SD: Final = 0.04  # of the range that varies, shared by a replicate's fields
_FORMATS: Final = ("picasso", "plain")
_SUFFIXES: Final = MappingProxyType({"picasso": ("_locs.hdf5", "_locs.yaml"), "plain": (".csv",)})
_REPLICATE, _PARTICLES, _FIELD = range(0x9A20, 0x9A23)  # purposes of random draws


@dataclass(frozen=True, slots=True)
class Kind:
    """A population, what its conditions differ in (a field of `Population`), and what they are called."""

    population: Population
    varies: str
    conditions: tuple[str, str]


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "pores": Kind(PORES_2D, "radius_nm", ("narrow", "wide")),
        "pores3d": Kind(PORES_3D, "radius_nm", ("narrow", "wide")),
        "tetrahedra": Kind(TETRAHEDRA, "height_nm", ("low", "high")),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleCampaignConfig:
    """Which particles, how many in a field, how many fields."""

    kind: str = "pores"
    count: int = 60
    replicates: int = 6
    fields_per_replicate: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"no particles {self.kind!r}: wanted one of {', '.join(KINDS)}")
        if min(self.count, self.replicates, self.fields_per_replicate) < 1 or self.seed < 0:
            raise ConfigError(f"{self}: wanted at least 1 particle, replicate and field, and a seed of 0 or more")


class PlannedField(NamedTuple):
    """One field to be made; all count from 0."""

    config: ParticleCampaignConfig
    condition: int
    replicate: int
    field: int

    @property
    def condition_name(self) -> str:
        return KINDS[self.config.kind].conditions[self.condition]

    @property
    def name(self) -> str:
        return f"{self.condition_name}_r{self.replicate + 1:02d}_f{self.field + 1:02d}"

    @property
    def replicate_name(self) -> str:
        """Replicates of different conditions are different cultures, so their names differ."""
        return f"{self.condition_name}-{self.replicate + 1}"

    @property
    def format(self) -> str:
        """Formats take turns, the same in each condition, so that no format stands for one."""
        return _FORMATS[(self.replicate + self.field) % len(_FORMATS)]

    @property
    def paths(self) -> tuple[str, ...]:
        """The file, and those beside it, relative to `input`."""
        return tuple(f"{self.condition_name}/{self.name}{suffix}" for suffix in _SUFFIXES[self.format])

    @property
    def place(self) -> tuple[int, int, int]:
        return self.condition, self.replicate, self.field


@dataclass(frozen=True, slots=True)
class ParticleField:
    """One field.

    Attributes
    ----------
    locs : n localisations in order of frame
    group : (n,) i4, number of the particle, -1 = of none
    z_nm : (n,) f8, None in the plane
    particles : their truth
    side_nm : side of the square
    """

    locs: SimulatedLocs
    group: NDArray[np.int32]
    z_nm: Floats | None
    particles: DrawnParticles
    side_nm: float


def planned_fields(config: ParticleCampaignConfig) -> list[PlannedField]:
    """All fields, in the order of the sheet."""
    return [
        PlannedField(config, condition, replicate, field)
        for condition in range(2)
        for replicate in range(config.replicates)
        for field in range(config.fields_per_replicate)
    ]


def simulate_particles(folder: Path, config: ParticleCampaignConfig) -> bool:
    """Write the campaign into `folder`; False if it was there already, settings and files.

    Raises
    ------
    ConfigError
        `folder` holds another simulation, or files that are none of this one's
    """
    planned = planned_fields(config)
    settings = {"simulator": SIMULATOR_VERSION, "particles": dataclasses.asdict(config)}
    inputs = {f"input/{path}" for one in planned for path in one.paths}
    if is_there(folder, inputs | {"input/samples.csv", "truth/particles.csv", "truth/parameters.json"}, settings):
        return False
    fields, truth = {}, []
    for one in planned:
        made = draw_field(one)
        write_field(folder, one, made)
        truth += _truth_rows(one, made.particles)
        place = {"path": one.paths[0], "condition": one.condition_name, "replicate": one.replicate_name}
        fields[one.name] = place | {"n_locs": len(made.locs), KINDS[config.kind].varies: varied_range(one)}
    write_whole(folder / "truth" / "particles.csv", _table(["field", "group", "radius_nm", "height_nm", "rotation_deg"], truth))
    rows = [[one.paths[0], one.name, one.condition_name, one.replicate_name] for one in planned]
    write_whole(folder / "input" / "samples.csv", _table(["path", "field", "condition", "replicate"], rows))
    write_whole(parameters_path(folder), json.dumps(settings | {"fields": fields}, indent=1).encode())
    return True


def varied_range(planned: PlannedField) -> tuple[float, float]:
    """The range, in nm, from which the field's particles have what conditions differ in."""
    kind = KINDS[planned.config.kind]
    low, high = getattr(kind.population, kind.varies)
    third = (high - low) / 3
    rng = _rng(planned.config.seed, _REPLICATE, planned.condition, planned.replicate)
    shift = _REPLICATE_SD * (high - low) * rng.normal() + planned.condition * third
    return low + shift, low + 2 * third + shift


def draw_field(planned: PlannedField) -> ParticleField:
    """Particles on the grid and locs in between, as a camera would have recorded them."""
    config, kind = planned.config, KINDS[planned.config.kind]
    varied: dict[str, Any] = {kind.varies: varied_range(planned)}
    population = dataclasses.replace(kind.population, **varied)
    drawn = draw_particles(population, (config.seed, _PARTICLES, *planned.place), count=config.count)
    rng = _rng(config.seed, _FIELD, *planned.place)
    columns = int(np.ceil(np.sqrt(config.count)))
    side_nm = 2 * _EDGE_NM + (columns - 1) * APART_NM
    own = np.repeat(np.arange(config.count), np.diff(drawn.start))
    points_nm = drawn.points_nm.astype(np.float64)
    points_nm[:, :2] += _centres_nm(rng, config.count, columns)[own]
    strays_nm = _strays_nm(rng, side_nm, axes=population.axes)
    molecule = np.concatenate(
        [own * len(population.template) + drawn.site, config.count * len(population.template) + np.arange(len(strays_nm))]
    )
    precision_nm = np.concatenate([drawn.precision_nm.astype(np.float64), rng.uniform(*population.precision_nm, len(strays_nm))])
    frame = draw_frames(rng, molecule.astype(np.int32))
    order = np.argsort(frame, kind="stable")
    group = np.concatenate([own, np.full(len(strays_nm), NO_GROUP)]).astype(np.int32)
    xyz_nm = np.concatenate([points_nm, strays_nm])[order]
    locs = _recorded(rng, xyz_nm, frame[order], precision_nm[order], molecule[order])
    return ParticleField(locs, group[order], xyz_nm[:, 2] if population.axes == 3 else None, drawn, side_nm)


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _centres_nm(rng: np.random.Generator, count: int, columns: int) -> Floats:
    """Where particles were picked: (count, 2)."""
    row, column = np.divmod(np.arange(count), columns)
    return np.asarray(_EDGE_NM + APART_NM * np.column_stack([column, row]) + rng.uniform(-_JITTER_NM, _JITTER_NM, (count, 2)))


def _strays_nm(rng: np.random.Generator, side_nm: float, *, axes: int) -> Floats:
    """Locs of no particle: (m, axes)."""
    n = rng.poisson(_BACKGROUND_PER_UM2 * (side_nm / NM_PER_UM) ** 2)
    low, high = [0.0, 0.0, -_BACKGROUND_Z_NM], [side_nm, side_nm, _BACKGROUND_Z_NM]
    return rng.uniform(low[:axes], high[:axes], (n, axes))


def _recorded(
    rng: np.random.Generator, xyz_nm: Floats, frame: NDArray[np.int32], precision_nm: Floats, molecule: NDArray[np.int64]
) -> SimulatedLocs:
    """What the program noted beside places: an estimate of the error, and the photons that give it."""
    camera, n = Camera(), len(frame)
    noted_nm = precision_nm * np.exp(_NOTED_SD * rng.normal(size=n))
    photons = photons_of(noted_nm, camera)
    return SimulatedLocs(
        x_nm=xyz_nm[:, 0],
        y_nm=xyz_nm[:, 1],
        frame=frame,
        photons=photons,
        background_sd=np.full(n, camera.background_sd),
        precision_nm=noted_nm,
        psf_nm=camera.psf_nm * (1 + rng.normal(size=n) / np.sqrt(2 * photons)),
        chi2=np.full(n, np.nan),  # written by no format used here
        molecule=molecule,
    )


def write_field(folder: Path, planned: PlannedField, made: ParticleField) -> None:
    """The field's file, and what its program writes beside it."""
    path = folder / "input" / planned.paths[0]
    group = {"group": made.group}
    deep_nm = {} if made.z_nm is None else {"z": made.z_nm, "precision_z": AXIAL_TIMES * made.locs.precision_nm}
    if planned.format == "plain":
        write_plain(path, made.locs, more={f"{name}_nm": values for name, values in deep_nm.items()} | group)
        return
    deep = {{"precision_z": "lpz"}.get(name, name): values.astype(np.float32) for name, values in deep_nm.items()}
    camera = Camera(n_frames=int(made.locs.frame.max(initial=0)) + 1)
    write_picasso(path, made.locs, camera, (made.side_nm, made.side_nm), more=deep | group)


def _truth_rows(planned: PlannedField, drawn: DrawnParticles) -> list[list[Any]]:
    """A row per particle; no height in the plane."""
    height = [f"{value:.3f}" if np.isfinite(value) else "" for value in drawn.height_nm]
    rows = zip(drawn.radius_nm, height, np.degrees(drawn.rotation_rad), strict=True)
    return [[planned.name, number, f"{radius:.3f}", high, f"{turned:.3f}"] for number, (radius, high, turned) in enumerate(rows)]


def _table(names: list[str], rows: list[list[Any]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return out.getvalue().encode()
