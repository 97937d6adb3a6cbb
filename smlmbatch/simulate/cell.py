"""One simulated field: an irregular cell full of a pattern, on a sparse background, as a camera would record it.

Every draw is keyed by what it is for (condition, replicate, field, purpose), so a field is the same whether it is
made alone or with its campaign. Replicates differ moderately: density and cluster spread each get a log-normal
factor of mean 1, shared by a replicate's fields. All conditions of a preset have the same expected density, so
counting alone does not tell them apart.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.blinking import BLINKING, Camera, Fluorophore, SimulatedLocs, blink
from smlmbatch.simulate.patterns import NM_PER_UM, Clusters, Fibres, Pattern, clusters_and_fibres, csr, polygon, rectangle
from smlmbatch.simulate.writers import FORMATS

if TYPE_CHECKING:
    from shapely import Polygon

_REPLICATE, _OUTLINE, _PATTERN, _BACKGROUND, _BLINKING = range(5)  # purposes of random draws
_OUTLINE_VERTICES = 72
_WAVES = np.arange(2, 6)  # of the outline, per turn: lobes, no shift and no second scale
_WAVE_HEIGHT = 0.03  # largest share of the radius, each
_TILT = 0.3  # rad, largest
_SHIFT_NM = 400.0  # of the cell's middle from the field's, largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How one condition's locs are arranged; shares of the density, the rest is random inside the cell."""

    cluster_share: float = 0.6
    clusters_per_um2: float = 2.5
    cluster_sigma_nm: float = 30.0
    fibre_share: float = 0.0
    fibre_um_per_um2: float = 1.0


_SMALL = Architecture()
_WIDE = Architecture(cluster_sigma_nm=60.0)
_WIDER = Architecture(cluster_sigma_nm=39.0)
_RANDOM = Architecture(cluster_share=0.0)
_FIBROUS = Architecture(cluster_share=0.3, fibre_share=0.3)

# preset → condition → architecture; a condition's place is part of its random key
PRESETS: Mapping[str, Mapping[str, Architecture]] = MappingProxyType(
    {
        "clusters": MappingProxyType({"control": _SMALL, "treated": _WIDE}),
        "csr": MappingProxyType({"control": _SMALL, "treated": _RANDOM}),
        "fibres": MappingProxyType({"control": _SMALL, "treated": _FIBROUS}),
        "null": MappingProxyType({"control": _SMALL, "treated": _SMALL}),
        "wider": MappingProxyType({"control": _SMALL, "treated": _WIDER}),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateConfig:
    """A simulated campaign.

    Attributes
    ----------
    conditions : preset: "clusters" (sigma 30 against 60 nm), "csr" (clusters against none), "fibres" (clusters against
        clusters and fibres), "null" (both the same), "wider" (sigma 30 against 39 nm)
    density_per_um2 : expected locs in the cell, all conditions
    background_per_um2 : expected locs outside the cell
    variation : standard deviation of the log of a replicate's density; half of it for cluster spread
    blinking : whether a molecule is seen more than once
    formats : writers, in turn over a condition's fields
    """

    seed: int = 0
    conditions: str = "clusters"
    replicates: int = 6
    fields_per_replicate: int = 1
    cell_length_um: float = 12.0
    cell_width_um: float = 10.0
    density_per_um2: float = 400.0
    background_per_um2: float = 8.0
    variation: float = 0.1
    blinking: bool = False
    formats: tuple[str, ...] = ("thunderstorm", "picasso")

    def __post_init__(self) -> None:
        object.__setattr__(self, "formats", tuple(self.formats))
        _require(self.seed >= 0, "seed", self.seed, "a whole number, 0 or more")
        _require(self.conditions in PRESETS, "conditions", self.conditions, f"one of {', '.join(PRESETS)}")
        _require(self.replicates >= 1, "replicates", self.replicates, "at least 1")
        _require(self.fields_per_replicate >= 1, "fields_per_replicate", self.fields_per_replicate, "at least 1")
        _require(self.cell_width_um > 0, "cell_width_um", self.cell_width_um, "a length above 0 um")
        _require(self.cell_length_um >= self.cell_width_um, "cell_length_um", self.cell_length_um, "at least the cell's width")
        _require(self.density_per_um2 > 0, "density_per_um2", self.density_per_um2, "a density above 0")
        _require(self.background_per_um2 >= 0, "background_per_um2", self.background_per_um2, "a density, 0 or more")
        _require(0 <= self.variation <= 1, "variation", self.variation, "a number between 0 and 1")
        _require(bool(self.formats), "formats", self.formats, "at least one")
        for name in self.formats:
            _require(name in FORMATS, "formats", name, f"any of {', '.join(FORMATS)}")

    @property
    def architectures(self) -> Mapping[str, Architecture]:
        """Condition → how its locs are arranged."""
        return PRESETS[self.conditions]

    @property
    def fluorophore(self) -> Fluorophore:
        return BLINKING if self.blinking else Fluorophore()

    @property
    def side_nm(self) -> float:
        """The field's side: the longest outline that can be drawn, with a rim of background."""
        return (1.25 * self.cell_length_um + 1.0) * NM_PER_UM


@dataclass(frozen=True, slots=True)
class SimulatedField:
    """Localisations of one field with their truth.

    Attributes
    ----------
    locs : n localisations in order of frame
    cluster, fibre : (n,) i4 from 1, 0 = none
    in_cell : (n,) bool, whether the molecule lies in the cell
    true_xy_nm : (n, 2) f8, nm, the molecule's position
    outline_nm : (v, 2) f8, nm, the cell's outline
    side_nm : the field's side
    drawn : the architecture with this replicate's factors, and the density
    """

    locs: SimulatedLocs
    cluster: NDArray[np.int32]
    fibre: NDArray[np.int32]
    in_cell: NDArray[np.bool_]
    true_xy_nm: NDArray[np.float64]
    outline_nm: NDArray[np.float64]
    side_nm: float
    drawn: dict[str, float]


def simulate_field(config: SimulateConfig, *, condition: str, replicate: int, field: int, camera: Camera | None = None) -> SimulatedField:
    """Make one field of a campaign; `replicate` and `field` count from 0."""
    camera = camera or Camera()
    place = (list(config.architectures).index(condition), replicate)
    architecture, density_per_um2 = _of_replicate(config, condition, _generator(config.seed, _REPLICATE, *place))

    def drawing(purpose: int) -> np.random.Generator:
        return _generator(config.seed, purpose, *place, field)

    outline_nm = _outline(drawing(_OUTLINE), config)
    cell = polygon(outline_nm)
    inside = _pattern(drawing(_PATTERN), architecture, density_per_um2 / config.fluorophore.mean_locs, cell)
    around = rectangle(config.side_nm, config.side_nm).difference(cell)
    outside = csr(drawing(_BACKGROUND), density_per_um2=config.background_per_um2 / config.fluorophore.mean_locs, window=around)
    xy_nm = np.concatenate([inside.xy_nm, outside.xy_nm])
    locs = blink(drawing(_BLINKING), xy_nm, fluorophore=config.fluorophore, camera=camera)
    locs = locs.take(_on_camera(locs, config.side_nm))
    owner = locs.molecule
    return SimulatedField(
        locs=locs,
        cluster=np.concatenate([inside.cluster, outside.cluster])[owner],
        fibre=np.concatenate([inside.fibre, outside.fibre])[owner],
        in_cell=owner < len(inside),
        true_xy_nm=xy_nm[owner],
        outline_nm=outline_nm,
        side_nm=config.side_nm,
        drawn=dataclasses.asdict(architecture) | {"density_per_um2": density_per_um2},
    )


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _of_replicate(config: SimulateConfig, condition: str, rng: np.random.Generator) -> tuple[Architecture, float]:
    """The condition's architecture and density as this replicate has them."""
    spread = np.array([config.variation, config.variation / 2])
    density_factor, sigma_factor = np.exp(rng.normal(-(spread**2) / 2, spread))
    architecture = config.architectures[condition]
    sigma_nm = architecture.cluster_sigma_nm * float(sigma_factor)
    return dataclasses.replace(architecture, cluster_sigma_nm=sigma_nm), config.density_per_um2 * float(density_factor)


def _outline(rng: np.random.Generator, config: SimulateConfig) -> NDArray[np.float64]:
    """A tilted ellipse with a wavy rim, (v, 2) nm; star-shaped, so it never crosses itself."""
    angle = np.linspace(0.0, 2 * np.pi, _OUTLINE_VERTICES, endpoint=False)
    phase = rng.uniform(0.0, 2 * np.pi, len(_WAVES))
    height = rng.uniform(0.0, _WAVE_HEIGHT, len(_WAVES))
    scale = 1 + (height * np.cos(np.outer(angle, _WAVES) + phase)).sum(axis=1)
    x_nm = config.cell_length_um / 2 * NM_PER_UM * np.cos(angle) * scale
    y_nm = config.cell_width_um / 2 * NM_PER_UM * np.sin(angle) * scale
    tilt = rng.uniform(-_TILT, _TILT)
    middle_nm = config.side_nm / 2 + rng.uniform(-_SHIFT_NM, _SHIFT_NM, 2)
    cosine, sine = np.cos(tilt), np.sin(tilt)
    return np.column_stack([x_nm * cosine - y_nm * sine, x_nm * sine + y_nm * cosine]) + middle_nm


def _pattern(rng: np.random.Generator, architecture: Architecture, molecules_per_um2: float, cell: "Polygon") -> Pattern:
    """Molecules in the cell, `molecules_per_um2` in expectation whatever their arrangement."""
    clusters = Clusters(
        per_um2=architecture.clusters_per_um2,
        mean_size=molecules_per_um2 * architecture.cluster_share / architecture.clusters_per_um2,
        sigma_nm=architecture.cluster_sigma_nm,
    )
    fibres = Fibres(
        um_per_um2=architecture.fibre_um_per_um2,
        per_um=molecules_per_um2 * architecture.fibre_share / architecture.fibre_um_per_um2,
    )
    background_per_um2 = molecules_per_um2 * (1 - architecture.cluster_share - architecture.fibre_share)
    return clusters_and_fibres(rng, clusters=clusters, fibres=fibres, background_per_um2=background_per_um2, window=cell)


def _on_camera(locs: SimulatedLocs, side_nm: float) -> NDArray[np.bool_]:
    """A spot seen beyond the chip's edge is not recorded."""
    return (locs.x_nm >= 0) & (locs.x_nm < side_nm) & (locs.y_nm >= 0) & (locs.y_nm < side_nm)


def _require(condition: bool, key: str, found: Any, want: str) -> None:
    if not condition:
        raise ConfigError(f"simulate: {key} = {found!r}: wanted {want}")
