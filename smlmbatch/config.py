"""Settings: TOML → frozen dataclasses, one per stage; an unknown key is an error.

A stage's fingerprint hashes its own section only, so a change of `[measure]` recomputes measurements and
nothing before them. Where a setting lives here it may change results; what may not (memory, workers,
folders) is an option of the command line and never part of a fingerprint.
"""

import dataclasses
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smlmbatch.errors import ConfigError

UNITS = ("", "nm", "um", "mm", "m", "px")
FRAME_BASES = (-1, 0, 1)
PICK_SOURCES = ("none", "cluster", "group", "file")
PICK_CENTRES = ("auto", "area", "circle", "sphere", "given")


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig:
    """How files become locs. Reader overrides apply to every file; the sample sheet's columns win."""

    tile_nm: float = 1000.0  # side of the store's spatial index
    format: str = ""  # name of a reader, "" = recognise by content
    map: str = ""  # quantity=column pairs, e.g. "x=X,y=Y,unit=um"
    pixel_size_nm: float = 0.0  # where the file doesn't say it (a sample sheet's wins over the file's); never guessed
    unit: str = ""  # nm, um, mm, m or px: what x and y are in where the file doesn't say it; "" = such a file is refused
    frame_base: int = -1  # number of the first frame, 0 or 1; -1 = as the format counts

    def __post_init__(self) -> None:
        _require(self.unit in UNITS, "ingest.unit", self.unit, f'one of {", ".join(UNITS[1:])}, or ""')
        _require(self.frame_base in FRAME_BASES, "ingest.frame_base", self.frame_base, "0, 1, or -1 for the format's own")
        _require(self.tile_nm > 0, "ingest.tile_nm", self.tile_nm, "a length above 0 nm")
        _require(self.pixel_size_nm >= 0, "ingest.pixel_size_nm", self.pixel_size_nm, "a length in nm, or 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareConfig:
    """Which locs enter the store, and whether blinks are merged; part of ingest. 0 (or -1) = off."""

    max_precision_nm: float = 30.0  # lateral; locs without a precision stay. The limit of the contrastive method's data
    min_photons: float = 0.0  # dimmer locs are left out; locs without a photon number stay
    max_photons: float = 0.0  # brighter locs are left out: two emitters at once, or beads
    min_psf_nm: float = 0.0  # standard deviation of the spot; narrower ones are noise of single pixels
    max_psf_nm: float = 0.0  # wider ones are out of focus, or two emitters
    first_frame: int = 0  # counted from 0, inclusive
    last_frame: int = -1  # inclusive; -1 = the last there is
    merge_nm: float = 0.0  # locs of following frames within this distance become one; 0 = no merging
    merge_nena: float = 0.0  # the same distance as a multiple of the field's own NeNA precision
    merge_dark_frames: int = 0  # frames a blink may be dark between two of its locs

    def __post_init__(self) -> None:
        for name in ("max_precision_nm", "min_photons", "max_photons", "min_psf_nm", "max_psf_nm", "merge_nm", "merge_nena"):
            _require(getattr(self, name) >= 0, f"prepare.{name}", getattr(self, name), "0 (off) or more")
        for low, high in (("min_photons", "max_photons"), ("min_psf_nm", "max_psf_nm")):
            limit = getattr(self, high)
            _require(limit == 0 or limit > getattr(self, low), f"prepare.{high}", limit, f"more than prepare.{low}, or 0")
        _require(self.first_frame >= 0, "prepare.first_frame", self.first_frame, "0 or more")
        _require(
            self.last_frame == -1 or self.last_frame >= self.first_frame, "prepare.last_frame", self.last_frame, "-1, or a later frame"
        )
        _require(not (self.merge_nm and self.merge_nena), "prepare.merge_nena", self.merge_nena, "0 where merge_nm is given")
        _require(self.merge_dark_frames >= 0, "prepare.merge_dark_frames", self.merge_dark_frames, "0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class TileConfig:
    """Cell outline and the grid of regions of interest inside it."""

    roi_nm: float = 3000.0  # side of a region; 3 um is what the contrastive method is trained on
    outline: str = "found"  # "found" = by density, "field" = the whole field; a file in the sample sheet wins
    min_coverage: float = 0.9  # share of a region's area inside the cell
    min_locs: int = 50  # locs of all channels together
    density_bin_nm: float = 100.0  # raster on which the outline is found
    density_sigma_nm: float = 300.0  # smoothing of that raster
    min_cell_um2: float = 1.0  # smaller patches are debris

    def __post_init__(self) -> None:
        _require(self.roi_nm > 0, "tile.roi_nm", self.roi_nm, "a length above 0 nm")
        _require(self.outline in ("found", "field"), "tile.outline", self.outline, '"found" or "field"')
        _require(0 <= self.min_coverage <= 1, "tile.min_coverage", self.min_coverage, "a share between 0 and 1")
        _require(self.min_locs >= 1, "tile.min_locs", self.min_locs, "at least 1")
        _require(self.density_bin_nm > 0, "tile.density_bin_nm", self.density_bin_nm, "a length above 0 nm")
        _require(
            0 < self.density_sigma_nm <= 10_000, "tile.density_sigma_nm", self.density_sigma_nm, "a length above 0 and up to 10,000 nm"
        )
        _require(self.min_cell_um2 >= 0, "tile.min_cell_um2", self.min_cell_um2, "an area, 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureConfig:
    """Descriptors of one region and channel."""

    dbscan_eps_nm: float = 25.0  # radius within which DBSCAN looks for neighbours
    dbscan_min_locs: int = 5  # neighbours within eps, the loc itself included
    ripley_max_nm: float = 0.0  # largest radius; 0 = a quarter of the region's side
    ripley_step_nm: float = 10.0  # distance between two radii
    ripley_max_locs: int = 10_000  # denser regions are thinned at random (K does not change under thinning)
    seed: int = 0  # of that thinning

    def __post_init__(self) -> None:
        _require(self.dbscan_eps_nm > 0, "measure.dbscan_eps_nm", self.dbscan_eps_nm, "a length above 0 nm")
        _require(self.dbscan_min_locs >= 1, "measure.dbscan_min_locs", self.dbscan_min_locs, "at least 1")
        _require(self.ripley_max_nm >= 0, "measure.ripley_max_nm", self.ripley_max_nm, "a length in nm, or 0")
        _require(self.ripley_step_nm >= 0.1, "measure.ripley_step_nm", self.ripley_step_nm, "0.1 nm or more")
        _require(self.ripley_max_locs >= 2, "measure.ripley_max_locs", self.ripley_max_locs, "at least 2")


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityConfig:
    """Limits of the traffic lights: beyond `_amber` a field deserves a look, beyond `_red` its results are in doubt.

    The stage measures; these only judge, so changing them recomputes tables and report, no unit.
    """

    nena_over_precision_amber: float = 1.5  # NeNA over the stated precision, or its inverse
    nena_over_precision_red: float = 2.5
    drift_nm_amber: float = 15.0  # offset of the first half of the frames against the second
    drift_nm_red: float = 40.0
    fading_amber: float = 0.2  # locs per frame, last quarter of the frames over the first
    fading_red: float = 0.05
    gaps_amber: float = 0.1  # share of the recording without a loc
    gaps_red: float = 0.3
    duplicates_amber: float = 0.001  # share of locs at the same place in the same frame as another
    duplicates_red: float = 0.02
    blinks_amber: float = 0.1  # share of locs that go on a blink of the frame before, beyond chance
    blinks_red: float = 0.5
    crowding_amber: float = 0.1  # share of locs with another of the same frame closer than two PSF widths can be told apart
    crowding_red: float = 0.3
    illumination_amber: float = 0.6  # median photons, darkest over brightest part of the field
    illumination_red: float = 0.35
    cut_amber: float = 0.4  # share of the outline along the field's edge; confluent cells have a third: only numbers per cell suffer
    cut_red: float = 0.8
    rois_amber: int = 5  # kept regions
    rois_red: int = 1

    def __post_init__(self) -> None:
        for name in ("nena_over_precision", "drift_nm", "gaps", "duplicates", "blinks", "crowding", "cut"):
            amber, red = getattr(self, f"{name}_amber"), getattr(self, f"{name}_red")
            _require(0 <= amber <= red, f"quality.{name}_red", red, f"quality.{name}_amber ({amber:g}) or more")
        for name in ("fading", "illumination", "rois"):
            amber, red = getattr(self, f"{name}_amber"), getattr(self, f"{name}_red")
            _require(0 <= red <= amber, f"quality.{name}_red", red, f"quality.{name}_amber ({amber:g}) or less")


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareConfig:
    """What is compared with what. Nothing here changes a unit: only tables and report."""

    conditions: str = "condition"  # columns whose product is the condition compared: "condition,region", "dye,protein"
    reference: str = ""  # the condition all others are compared with; "" = every pair
    paired: str = ""  # column that pairs values across conditions: "replicate" (same cells), "batch"; "" = not paired
    periphery_nm: float = 0.0  # regions nearer to the outline than this are "periphery", others "centre"; 0 = the outline file's regions
    alpha: float = 0.05  # family-wise error rate of the verdict
    draws: int = 4000  # of the bootstrap over replicates
    seed: int = 0  # of these draws

    def __post_init__(self) -> None:
        object.__setattr__(self, "paired", self.paired.strip())  # a blank pairs nothing
        _require(bool(self.conditions.strip(", ")), "compare.conditions", self.conditions, "names of columns with commas between")
        _require(self.periphery_nm >= 0, "compare.periphery_nm", self.periphery_nm, "a length in nm, or 0")
        _require(0 < self.alpha < 0.5, "compare.alpha", self.alpha, "a rate between 0 and 0.5")
        _require(self.draws >= 200, "compare.draws", self.draws, "200 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedConfig:
    """The contrastive embedding of each region and channel."""

    model: str = "auto"  # "auto" = the shipped model where regions have its side, else none; "contrastive" (shipped); "none"; a folder
    sha256: str = ""  # of a model of your own, filled in when the campaign is planned; "" = the shipped model
    min_locs: int = 50  # of the channel in the region; emptier ones have no pattern to embed
    n_locs: int = 0  # embed exactly this many locs of each region, drawn at random, and none that has fewer; 0 = all locs
    turned: bool = True  # average over the 8 flips and quarter turns: the result doesn't depend on how the cell lay
    device: str = "cpu"  # "cuda" = on a GPU; results agree with the CPU's within rounding, not to the bit
    seed: int = 0  # of the draws of n_locs

    def __post_init__(self) -> None:
        _require(bool(self.model.strip()), "embed.model", self.model, '"auto", "contrastive", "none", or a model folder')
        _require(self.min_locs >= 1, "embed.min_locs", self.min_locs, "at least 1")
        _require(self.n_locs == 0 or self.n_locs >= 10, "embed.n_locs", self.n_locs, "0 (all), or 10 or more")
        _require(self.device in ("cpu", "cuda"), "embed.device", self.device, '"cpu" or "cuda"')


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """The clusters of whole fields, channel by channel."""

    method: str = "miro"  # "miro" = by a trained network; "dbscan"; "none" = no clusters
    model: str = "auto"  # of miro: "auto" = the shipped model; a folder
    sha256: str = ""  # of a model of your own, filled in when the campaign is planned; "" = the shipped model
    cluster_radius_nm: float = 0.0  # of miro: typical radius of gyration, if you know it; 0 = from a first pass
    locs_per_cluster: float = 0.0  # of miro: typical number of locs, given together with the radius; 0 = from a first pass
    eps_nm: float = 25.0  # of dbscan: radius within which it looks for neighbours
    min_locs: int = 5  # of dbscan: neighbours within eps, the loc itself included
    calibration_locs_per_molecule: float = 0.0  # locs that one molecule gives on average; tells copy numbers. 0 = not known

    def __post_init__(self) -> None:
        _require(self.method in ("miro", "dbscan", "none"), "cluster.method", self.method, '"miro", "dbscan" or "none"')
        named = self.model.strip() not in ("", "none")
        _require(named, "cluster.model", self.model, '"auto", or a model folder; for no clusters set cluster.method = "none"')
        for name in ("cluster_radius_nm", "locs_per_cluster", "calibration_locs_per_molecule"):
            _require(getattr(self, name) >= 0, f"cluster.{name}", getattr(self, name), "0 (not known) or more")
        both = (self.cluster_radius_nm > 0) == (self.locs_per_cluster > 0)
        _require(both, "cluster.locs_per_cluster", self.locs_per_cluster, "more than 0 together with cluster_radius_nm, or both 0")
        _require(self.eps_nm > 0, "cluster.eps_nm", self.eps_nm, "a length above 0 nm")
        _require(self.min_locs >= 2, "cluster.min_locs", self.min_locs, "at least 2")


@dataclass(frozen=True, kw_only=True, slots=True)
class PickConfig:
    """Which groups of locs are copies of a structure (particles), and how much of each is kept. 0 = no limit."""

    source: str = "none"  # particles are clusters ("cluster"), the file's own groups ("group"), or about given centres ("file"); "none"
    min_locs: int = 10  # of a particle, and never fewer than 3 of a group or pick; fewer don't tell where a structure's centre is
    max_locs: int = 0  # more are several copies, or a bead
    min_gyration_nm: float = 0.0  # radius of gyration of a particle; a thin ring's is its radius
    max_gyration_nm: float = 0.0  # larger ones are several copies that touch
    shape: str = ""  # of clusters: class as the report names it ("ring"); "" = any
    parents: bool = True  # where clusters of clusters were looked for, those are the particles, and not their parts
    min_distance_nm: float = 0.0  # from one centroid (or given centre) to the nearest other; nearer ones are crowded
    margin_nm: float = 0.0  # of clusters and groups: also locs in none up to here from a particle's hull; 0 = only its own
    no_group: int = -1  # of groups: number that stands for none
    picks: str = ""  # of file: centres, as CSV or Picasso's YAML; what is planned is the campaign's own copy of it
    picks_sha256: str = ""  # of that file, filled in when the campaign is planned
    radius_nm: float = 0.0  # of file: locs up to here from a centre are the particle's, where the file says no radius
    centre: str = "auto"  # "circle" or "sphere" fitted to hollow ones, "area" of the hull, "auto" = as most look; of file: "given"

    def __post_init__(self) -> None:
        _require(self.source in PICK_SOURCES, "pick.source", self.source, f"one of {', '.join(PICK_SOURCES)}")
        _require(self.min_locs >= 1, "pick.min_locs", self.min_locs, "at least 1")
        _require(self.max_locs == 0 or self.max_locs >= self.min_locs, "pick.max_locs", self.max_locs, "pick.min_locs or more, or 0")
        for name in ("min_gyration_nm", "max_gyration_nm", "min_distance_nm", "margin_nm", "radius_nm"):
            _require(getattr(self, name) >= 0, f"pick.{name}", getattr(self, name), "a length in nm, or 0")
        largest_nm = self.max_gyration_nm
        _require(largest_nm == 0 or largest_nm >= self.min_gyration_nm, "pick.max_gyration_nm", largest_nm, "the least one or more, or 0")
        _require(abs(self.no_group) < 1 << 31, "pick.no_group", self.no_group, "a number that a group may have")
        _require(self.centre in PICK_CENTRES, "pick.centre", self.centre, f"one of {', '.join(PICK_CENTRES)}")
        _require(self.source != "file" or bool(self.picks.strip()), "pick.picks", self.picks, "a file of centres (--picks FILE)")
        given = self.centre == "given" and self.source not in ("file", "none")
        _require(not given, "pick.centre", self.centre, f'another, as pick.source = "{self.source}" gives no centres')


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderConfig:
    """How the campaign's particles are put in order of what they differ in: a network learns from all of them together (PC-VAE)."""

    method: str = "pcvae"  # "pcvae" where there are particles; "none" = they are picked and stay unordered
    model: str = "auto"  # "auto" = a network learns from the campaign's own particles; or a folder that `train pcvae` made
    sha256: str = ""  # of such a model, filled in when it is named; "" = none
    channel: int = -1  # whose particles; -1 = the channel that has most
    least_particles: int = 50  # fewer tell no order
    turns: str = "plane"  # copies of the structure are turned about z ("plane"), about any axis ("space"), or not at all ("none")
    value: str = ""  # what particles differ in, as far as known: a numeric column of the sample sheet, or an estimate; gives an axis
    extras: str = ""  # what a point tells besides its place: "photons,background,psf_nm"
    epochs: int = 0  # of training; 0 = as the recipe says
    seed: int = 0  # of training and of all draws
    device: str = "cpu"  # "cuda" = train and encode on a GPU; results agree with the CPU's within rounding, not to the bit
    bins: int = 20  # of equal count, along each axis
    axes: str = "principal"  # along which bins are registered: principal axes (and `value`); "all" = units too; "none"; "unit1,pc1"
    most_registered: int = 100  # particles of a bin that make its super-particle, drawn at random
    groups: int = 3  # of k-means and of a mixture of Gaussians; tables and report only
    grouped_by: str = "units"  # by which directions: "units" = all units that are alive, or names: "unit1,pc2"

    def __post_init__(self) -> None:
        _require(self.method in ("pcvae", "none"), "order.method", self.method, '"pcvae" or "none"')
        _require(-1 <= self.channel < 256, "order.channel", self.channel, "a channel, or -1 for the one with most particles")
        _require(self.least_particles >= 20, "order.least_particles", self.least_particles, "20 or more")
        _require(self.turns in ("plane", "space", "none"), "order.turns", self.turns, '"plane", "space" or "none"')
        _require(self.epochs >= 0, "order.epochs", self.epochs, "0 (as the recipe says) or more")
        _require(self.device in ("cpu", "cuda"), "order.device", self.device, '"cpu" or "cuda"')
        _require(2 <= self.bins <= 1000, "order.bins", self.bins, "2 to 1000")
        _require(self.most_registered >= 2, "order.most_registered", self.most_registered, "2 or more")
        _require(2 <= self.groups <= 100, "order.groups", self.groups, "2 to 100")


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingsConfig:
    """How a campaign's embeddings are analysed. Nothing here changes a unit: only tables and report."""

    clusters: int = 0  # of K-means and Ward; 0 = as many as conditions
    n_locs: int = 900  # density normalisation: regions thinned to this many locs; 900 = 100 per um2, as Shirgill et al. took
    repeats: int = 20  # of each density normalisation
    max_rois: int = 2000  # enter normalisations and baselines, drawn evenly over conditions
    map_rois: int = 5000  # enter the map (UMAP), drawn evenly over conditions
    bootstrap: int = 1000  # of the intervals of the adjusted Rand index
    seed: int = 0  # of all draws

    def __post_init__(self) -> None:
        _require(self.clusters == 0 or self.clusters >= 2, "embeddings.clusters", self.clusters, "0 (as many as conditions), or 2 or more")
        _require(self.n_locs >= 10, "embeddings.n_locs", self.n_locs, "10 or more")
        _require(self.repeats >= 1, "embeddings.repeats", self.repeats, "1 or more")
        _require(self.max_rois >= 100, "embeddings.max_rois", self.max_rois, "100 or more")
        _require(self.map_rois >= 100, "embeddings.map_rois", self.map_rois, "100 or more")
        _require(self.bootstrap >= 200, "embeddings.bootstrap", self.bootstrap, "200 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """All settings of a campaign, section by section."""

    ingest: IngestConfig = field(default_factory=IngestConfig)
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    tile: TileConfig = field(default_factory=TileConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    pick: PickConfig = field(default_factory=PickConfig)
    order: OrderConfig = field(default_factory=OrderConfig)
    compare: CompareConfig = field(default_factory=CompareConfig)
    embeddings: EmbeddingsConfig = field(default_factory=EmbeddingsConfig)

    def __post_init__(self) -> None:
        if self.pick.source == "cluster":
            method, shape = self.cluster.method, self.pick.shape
            _require(method != "none", "pick.source", self.pick.source, 'cluster.method = "miro" or "dbscan" beside it')
            _require(not shape or method == "miro", "pick.shape", shape, f'"", as clusters of cluster.method = "{method}" have no shapes')


_LIMITS = ("min_locs", "max_locs", "min_gyration_nm", "max_gyration_nm", "min_distance_nm", "centre")
_PICK_READS = {  # source → keys of `[pick]`
    "none": (),
    "cluster": (*_LIMITS, "shape", "parents", "margin_nm"),
    "group": (*_LIMITS, "margin_nm", "no_group"),
    "file": (*_LIMITS, "radius_nm", "picks_sha256"),
}


def pick_settings(pick: PickConfig) -> dict[str, object]:
    """Of `[pick]`, what a unit's result depends on: the source, and what it reads. A file of centres counts by its content."""
    return {"source": pick.source} | {key: getattr(pick, key) for key in _PICK_READS[pick.source]}


def check_pick_read(pick: PickConfig, stated: Iterable[str]) -> None:
    """Refuse keys of `[pick]` that were said now, and that the source doesn't read.

    Raises
    ------
    ConfigError
        names the sources that read the key
    """
    for key in stated:
        readers = [name for name, keys in _PICK_READS.items() if key in (*keys, *(["picks"] if name == "file" else []))]
        others = () if key == "picks" else ("none",)  # limits may be said before there is a source
        if readers and pick.source not in (*readers, *others):
            wanted = f"pick.{key} is for particles of {' or '.join(readers)}"
            raise ConfigError(f'{wanted}, and pick.source = "{pick.source}": say what they come of too (--from; of run, --pick)')


def _require(condition: bool, key: str, found: object, want: str) -> None:
    if not condition:
        raise ConfigError(f"{key} = {found!r}: wanted {want}")


def load_config(path: Path) -> Config:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        unknown section or key, wrong type, impossible value, broken TOML
    """
    return config_from_dict(read_tables(path), source=str(path))


def read_tables(path: Path) -> dict[str, Any]:
    """What a TOML file says, not yet held against the known sections and keys.

    Raises
    ------
    ConfigError
        not there, or no TOML
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML ({error})") from error


def config_from_dict(raw: dict[str, Any], *, source: str = "configuration") -> Config:
    """Build a Config of nested tables, checking every name and type."""
    sections = {f.name: f.default_factory for f in dataclasses.fields(Config)}
    built: dict[str, Any] = {}
    for name, table in raw.items():
        if name not in sections or not isinstance(table, dict):
            raise ConfigError(f"{source}: unknown section [{name}]; known are {', '.join(sections)}")
        built[name] = _section(sections[name], name, table, source)
    return Config(**built)


def _section(kind: Any, name: str, table: dict[str, Any], source: str) -> Any:
    known = {f.name: f.type for f in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{source}: unknown key {name}.{key}; known are {', '.join(known)}")
        wanted = known[key]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value) if abs(value) < 1 << 53 else math.inf
        if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, str) and not value.isprintable()):
            raise ConfigError(f"{source}: {name}.{key} = {value!r}: wanted a finite number, or printable text")
        if type(value) is not wanted:
            wanted_name = getattr(wanted, "__name__", wanted)
            raise ConfigError(f"{source}: {name}.{key} = {value!r}: wanted a {wanted_name}")
        values[key] = value
    return kind(**values)


def override(config: Config, changes: dict[str, dict[str, Any]]) -> Config:
    """`config` with some keys changed; `{"tile": {"roi_nm": 1000.0}}`. None leaves a key as it is."""
    tables = dataclasses.asdict(config)
    for section, table in changes.items():
        tables[section].update({key: value for key, value in table.items() if value is not None})
    return config_from_dict(tables, source="command line")


def to_toml(config: Config) -> str:
    """The resolved settings as TOML, every key written out; `load_config` reads it back equal."""
    lines = []
    for section, table in dataclasses.asdict(config).items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {_toml_value(value)}" for key, value in table.items()]
        lines.append("")
    return "\n".join(lines)


def _toml_value(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or c in '"\\\x7f' else c for c in value)
        return f'"{escaped}"'
    return repr(value)
