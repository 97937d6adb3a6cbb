"""The dictionary of every array in the store: name, dimensions, dtype, unit, one sentence.

Nothing is written that is not listed here, and `docs/store.md` is generated from it
(`python -m smlmbatch.store.schema`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array a stage may write. `dims` name its axes; equal names mean equal lengths within a unit."""

    dims: tuple[str, ...]
    dtype: str
    unit: str
    text: str
    optional: bool = False


def _column(dtype: str, unit: str, text: str, *, optional: bool = True) -> ArraySpec:
    return ArraySpec(("loc",), dtype, unit, text, optional)


_LOCS = {
    "x_nm": _column("f4", "nm", "Position along x, relative to the attribute `origin_nm`.", optional=False),
    "y_nm": _column("f4", "nm", "Position along y, relative to the attribute `origin_nm`.", optional=False),
    "z_nm": _column("f4", "nm", "Position along z; absent in 2D data."),
    "frame": _column("i4", "1", "Camera frame, counted from 0 whatever the source's base."),
    "photons": _column("f4", "photon", "Signal photons (or the source's own intensity unit, see the attribute `columns`)."),
    "precision_nm": _column("f4", "nm", "Lateral localisation precision; the mean of x and y where both are given."),
    "precision_z_nm": _column("f4", "nm", "Axial localisation precision."),
    "background": _column("f4", "photon", "Background per pixel, as the source gives it."),
    "psf_nm": _column("f4", "nm", "Width (sigma) of the fitted spot; the mean of x and y where both are given."),
    "channel": _column("u1", "1", "Channel number, 0 where the source has one channel.", optional=False),
    "group": _column("i4", "1", "The source's own grouping: pick, trace or cluster."),
    "n_merged": _column("i4", "1", "Locs of the source merged into this one; present where blinks were merged."),
    "row": _column("i8", "1", "0-based record in the source's own order: joins results back to the file.", optional=False),
    "tile_start": ArraySpec(
        ("tile_bound",), "i8", "1", "First loc of each tile, row-major over `tile_grid` (rows, columns); one more entry closes the last."
    ),
}

_TILE = {
    "roi_origin_nm": ArraySpec(("roi", "axis"), "f8", "nm", "Lower-left corner (x, y) of each region, relative to the field's origin."),
    "roi_cell": ArraySpec(("roi",), "i4", "1", "Index of the cell (outline) the region's grid belongs to."),
    "roi_coverage": ArraySpec(("roi",), "f8", "1", "Share of the region's area inside its cell."),
    "roi_n_locs": ArraySpec(("roi", "channel"), "i8", "1", "Locs in the region, per channel of the attribute `channels`."),
    "roi_kept": ArraySpec(("roi",), "u1", "1", "1 where the region passed coverage and count, else 0."),
    "roi_reason": ArraySpec(("roi",), "u1", "1", "Why a region was dropped: index into the attribute `reasons`."),
    "roi_distance_to_edge_nm": ArraySpec(("roi",), "f8", "nm", "From the region's centre to the nearest outline; negative outside."),
    "outline_nm": ArraySpec(
        ("vertex", "axis"), "f8", "nm", "Vertices (x, y) of all rings, one after the other, relative to the field's origin."
    ),
    "outline_start": ArraySpec(("ring_bound",), "i8", "1", "First vertex of each ring; one more entry closes the last."),
    "outline_cell": ArraySpec(("ring",), "i4", "1", "Index of the cell the ring belongs to; names in the attribute `cells`."),
    "density": ArraySpec(
        ("bin_y", "bin_x"), "f4", "1/um2", "Smoothed density of all locs, for pictures; bins of the attribute `density_bin_nm`."
    ),
}


def _bounds(name: str, unit: str, text: str) -> ArraySpec:
    return ArraySpec((f"{name}_bound",), "f8", unit, f"Bounds of the bins of {text}; one more than bins.", optional=True)


def _histogram(name: str, text: str) -> ArraySpec:
    return ArraySpec((f"{name}_bin", "channel"), "i8", "1", text, optional=True)


# Channels in the order of the attribute `channels`. An array is absent where the field doesn't have the quantity.
_QUALITY = {
    "frame_bound": _bounds("frame", "frame", "frames (at most 400, equal numbers of frames)"),
    "frame_locs": _histogram("frame", "Locs per bin of frames."),
    "precision_bound_nm": _bounds("precision", "nm", "stated precision; the last holds all above"),
    "precision_locs": _histogram("precision", "Locs per bin of precision."),
    "photons_bound": _bounds("photons", "photon", "photons (equal steps of the logarithm; both ends hold all beyond)"),
    "photons_locs": _histogram("photons", "Locs per bin of photons."),
    "psf_bound_nm": _bounds("psf", "nm", "PSF width; the last holds all above"),
    "psf_locs": _histogram("psf", "Locs per bin of PSF width."),
    "z_bound_nm": _bounds("z", "nm", "z"),
    "z_locs": _histogram("z", "Locs per bin of z."),
    "nn_bound_nm": _bounds("nn", "nm", "nearest-neighbour distance within kept regions; the last holds all above"),
    "nn_locs": _histogram("nn", "Locs per bin of nearest-neighbour distance, of a sample of the kept regions."),
    "nena_bound_nm": _bounds("nena", "nm", "distance to the nearest loc of the next frame"),
    "nena_pairs": _histogram("nena", "Pairs of locs in following frames per bin of distance."),
    "nena_fit": ArraySpec(("nena_bin", "channel"), "f8", "1", "Fitted number of pairs per bin; NaN where no fit was possible.", True),
    "illumination_photons": ArraySpec(
        ("map_y", "map_x", "channel"), "f8", "photon", "Median photons in each part of the field; NaN where too few locs lie.", True
    ),
}

_MEASURE = {
    "roi": ArraySpec(("row",), "i4", "1", "Index of the region in the tile stage; one row per kept region and channel."),
    "channel": ArraySpec(("row",), "u1", "1", "Channel the row describes."),
    "n_locs": ArraySpec(("row",), "i8", "1", "Locs of this channel in the region."),
    "density_per_um2": ArraySpec(("row",), "f8", "1/um2", "Locs per covered area (side squared x coverage)."),
    "n_clusters": ArraySpec(("row",), "i8", "1", "DBSCAN clusters."),
    "noise_fraction": ArraySpec(("row",), "f8", "1", "Share of locs in no DBSCAN cluster; NaN without locs."),
    "locs_per_cluster": ArraySpec(("row",), "f8", "1", "Mean locs per DBSCAN cluster; NaN without clusters."),
    "cluster_area_nm2": ArraySpec(
        ("row",), "f8", "nm2", "Mean convex-hull area of clusters that have one (3 locs not on a line); NaN without."
    ),
    "cluster_radius_nm": ArraySpec(("row",), "f8", "nm", "Mean radius of gyration of the clusters; NaN without clusters."),
    "nn_mean_nm": ArraySpec(("row",), "f8", "nm", "Mean distance to the nearest neighbour; NaN below 2 locs."),
    "nn_median_nm": ArraySpec(("row",), "f8", "nm", "Median distance to the nearest neighbour; NaN below 2 locs."),
    "ripley_n": ArraySpec(("row",), "i8", "1", "Locs used for Ripley's K (fewer than n_locs where the region was thinned)."),
    "ripley_peak_nm": ArraySpec(
        ("row",), "f8", "nm", "Radius of the maximum of L(r) - r; NaN below 2 locs, or where the maximum lies at the last radius."
    ),
    "ripley_max_nm": ArraySpec(("row",), "f8", "nm", "Maximum of L(r) - r; NaN below 2 locs."),
    "ripley_k_nm2": ArraySpec(("row", "radius"), "f8", "nm2", "Ripley's K, translation edge correction; NaN below 2 locs."),
    "radius_nm": ArraySpec(("radius",), "f8", "nm", "Radii at which K is given."),
}

_EMBED = {
    "roi": ArraySpec(("row",), "i4", "1", "Index of the region in the tile stage; one row per region and channel that was embedded."),
    "channel": ArraySpec(("row",), "u1", "1", "Channel the row describes."),
    "n_locs": ArraySpec(("row",), "i8", "1", "Locs embedded: all of the channel in the region, or the attribute `n_locs` of them."),
    "embedding": ArraySpec(
        ("row", "feature"), "f4", "1", "The region's vector by the model of the attribute `model_sha256`; distances are Euclidean."
    ),
}

_PICK = {
    "channel": ArraySpec(("particle",), "u1", "1", "Channel of the particle; one entry per copy of a structure."),
    "cluster": ArraySpec(("particle",), "i4", "1", "Row of the cluster (stage cluster) that the particle is; -1 where it comes of none."),
    "group": ArraySpec(("particle",), "i4", "1", "Group of the file (`group` of the stage ingest) that the particle is.", True),
    "pick": ArraySpec(("particle",), "i4", "1", "Which centre of the file of centres, counted from 0, the particle lies about.", True),
    "n_locs": ArraySpec(("particle",), "i8", "1", "Locs of the particle itself, without those of the margin."),
    "x_nm": ArraySpec(("particle",), "f8", "nm", "Centre along x, relative to the field's origin; not the mean of the locs."),
    "y_nm": ArraySpec(("particle",), "f8", "nm", "Centre along y, relative to the field's origin."),
    "z_nm": ArraySpec(("particle",), "f8", "nm", "Centre along z; NaN in 2D data."),
    "centre_by": ArraySpec(("particle",), "u1", "1", "How the centre was found: index into the attribute `centres`."),
    "radius_nm": ArraySpec(("particle",), "f8", "nm", "Median distance of the particle's own locs from the centre."),
    "start": ArraySpec(("particle_bound",), "i8", "1", "First point of each particle; one more entry closes the last."),
    "point_nm": ArraySpec(("point", "axis"), "f4", "nm", "Locs about their particle's centre (x, y, and z in 3D data)."),
    "loc": ArraySpec(("point",), "i8", "1", "Which loc of the stage ingest the point is; a loc in two margins is two points."),
}


def _of_cluster(dtype: str, unit: str, text: str) -> ArraySpec:
    return ArraySpec(("cluster",), dtype, unit, text)


# Locs in the order of the stage ingest. Clusters channel by channel, of a channel by their smallest row of the source; parents after them.
_CLUSTER = {
    "label": _column("i4", "1", "Row of the loc's cluster in this unit, of nested ones the innermost; -1 = in none.", optional=False),
    "contracted_x_nm": _column("f4", "nm", "x to which the network moved the loc; absent with DBSCAN."),
    "contracted_y_nm": _column("f4", "nm", "y to which the network moved the loc; absent with DBSCAN."),
    "belonging": _column("f4", "1", "Probability that the loc lies in a cluster, by the network; absent with DBSCAN."),
    "cluster_channel": _of_cluster("u1", "1", "Channel of the cluster."),
    "n_locs": _of_cluster("i8", "1", "Its locs; a parent's are those of its children."),
    "x_nm": _of_cluster("f8", "nm", "Centroid along x, relative to the field's origin."),
    "y_nm": _of_cluster("f8", "nm", "Centroid along y, relative to the field's origin."),
    "z_nm": _of_cluster("f8", "nm", "Centroid along z; NaN in 2D data."),
    "radius_of_gyration_nm": _of_cluster("f8", "nm", "Root mean squared distance from the centroid, in the plane."),
    "area_nm2": _of_cluster("f8", "nm2", "Area of the convex hull; NaN where all locs lie on a line."),
    "eccentricity": _of_cluster("f8", "1", "Of the ellipse with its second moments: 0 = round, towards 1 = a line; NaN for one place."),
    "shape": _of_cluster("u1", "1", "Shape that most of its locs tell: index into the attribute `shapes`; 255 = not told."),
    "shape_share": _of_cluster("f8", "1", "Share of its locs that tell that shape; NaN where none is told."),
    "belonging_mean": _of_cluster("f8", "1", "Mean over its locs of `belonging`; NaN with DBSCAN."),
    "parent": _of_cluster("i4", "1", "Row of the cluster that it is a part of; -1 = of none."),
    "n_children": _of_cluster("i4", "1", "Clusters that are parts of it."),
    "nearest_nm": _of_cluster("f8", "nm", "From its centroid to the nearest other of its channel (parents among themselves); NaN without."),
    "n_molecules": _of_cluster("f8", "1", "Copy number: its locs over those of a molecule; NaN where that isn't known."),
    "roi": _of_cluster("i4", "1", "Kept region of the stage tile that holds its centroid; -1 = none."),
    "roi_n_clustered": ArraySpec(("roi", "channel"), "i8", "1", "Locs in clusters, per region (dropped ones too) and channel."),
}


def _of_particle(dtype: str, unit: str, text: str) -> ArraySpec:
    return ArraySpec(("particle",), dtype, unit, text)


# Of the whole campaign: the particles of one channel, field by field as samples.csv has them; nothing where there is no order.
_ORDER = {
    "field": _of_particle("i4", "1", "Index of the particle's field in the attribute `fields`."),
    "number": _of_particle("i4", "1", "Which particle of that field's stage pick it is."),
    "start": ArraySpec(("particle_bound",), "i8", "1", "First point of each particle; one more entry closes the last."),
    "point_nm": ArraySpec(("point", "axis"), "f4", "nm", "Locs about their particle's centre, far outliers left out."),
    "loc": ArraySpec(("point",), "i8", "1", "Which loc of the field's stage ingest the point is."),
    "precision_nm": ArraySpec(("point",), "f4", "nm", "Lateral precision of the loc, where all files tell it."),
    "latent": ArraySpec(("particle", "unit"), "f4", "1", "Means of the latent units, averaged over rotations of the particle."),
    "place": ArraySpec(("particle", "direction"), "f8", "1", "Where the particle lies along each direction of the attribute `directions`."),
    "bin": ArraySpec(("particle", "direction"), "i2", "1", "Its bin along each direction, from the lowest place on."),
    "mean_radius_nm": _of_particle("f8", "nm", "Mean distance in the plane from the mean loc; NaN = can't be told."),
    "median_radius_nm": _of_particle("f8", "nm", "Median distance in the plane from the mean loc; NaN = can't be told."),
    "circle_radius_nm": _of_particle("f8", "nm", "Radius of the geometric circle fit in the plane; NaN = can't be told."),
    "layer_height_nm": _of_particle("f8", "nm", "Median z above the mean plane less that below; NaN in the plane."),
    "level_height_nm": _of_particle("f8", "nm", "Distance of two Gaussians along z; NaN in the plane."),
    "value": _of_particle("f8", "1", "What the settings name as known of it; NaN = not known."),
    "nats": ArraySpec(("unit",), "f8", "nat", "What each unit says of a particle: mean divergence from the prior."),
    "direction": ArraySpec(("unit", "direction"), "f8", "1", "Directions in the space of latents, a column each."),
    "offset": ArraySpec(("direction",), "f8", "1", "What is taken off a latent's product with the direction: its place is the rest."),
    "decoded_nm": ArraySpec(
        ("direction", "bin_number", "decoded", "axis"), "f4", "nm", "What the network makes of the median latents of each bin."
    ),
    "thinned": ArraySpec(
        ("share", "direction"), "f8", "1", "|Pearson| of places with a share of each particle's locs (`shares_kept`) and with all."
    ),
    "loss": ArraySpec(("epoch", "kind"), "f8", "1", "Training and validation loss of each epoch."),
    "weights": ArraySpec(("byte",), "u1", "1", "The model's weights as a safetensors file; settings: the attribute `settings`."),
}

# Of the whole campaign: the particles of one bin of one direction, registered to each other.
_REGISTER = {
    "particle": _of_particle("i4", "1", "Row of the particle in the campaign's stage order."),
    "rotation": ArraySpec(("particle", "axis", "axis_from"), "f8", "1", "Rotation of its points, of determinant 1."),
    "shift_nm": ArraySpec(("particle", "axis"), "f8", "nm", "Shift of its points after the rotation."),
    "fit": _of_particle("f8", "nat", "Log-likelihood per loc in the mixture of other particles of the bin."),
    "score": _of_particle("f8", "1", "`fit` above or below the median, in robust standard deviations."),
    "poor": _of_particle("u1", "1", "1 where the score says that it is another structure, or none."),
    "centre_nm": ArraySpec(("component", "axis"), "f8", "nm", "Centres of the mixture of Gaussians that the particles share."),
    "variance_nm2": ArraySpec(("component", "axis"), "f8", "nm2", "Variances of its components."),
    "share": ArraySpec(("component",), "f8", "1", "Shares of its components."),
}

# stage → array name → specification
SCHEMA: Mapping[str, Mapping[str, ArraySpec]] = MappingProxyType(
    {
        "ingest": MappingProxyType(_LOCS),
        "tile": MappingProxyType(_TILE),
        "quality": MappingProxyType(_QUALITY),
        "measure": MappingProxyType(_MEASURE),
        "embed": MappingProxyType(_EMBED),
        "cluster": MappingProxyType(_CLUSTER),
        "pick": MappingProxyType(_PICK),
        "order": MappingProxyType({name: replace(spec, optional=True) for name, spec in _ORDER.items()}),
        "register": MappingProxyType(_REGISTER),
    }
)


def table_of_arrays() -> str:
    """The schema as a Markdown document: what `docs/store.md` holds.

    >>> table_of_arrays().splitlines()[0]
    '# Arrays in the store'
    """
    lines = ["# Arrays in the store", "", "Generated from `smlmbatch/store/schema.py`; `python -m smlmbatch.store.schema` prints it."]
    for stage, arrays in SCHEMA.items():
        lines += ["", f"## {stage}", "", "| array | dimensions | dtype | unit | meaning |", "|---|---|---|---|---|"]
        for name, spec in arrays.items():
            optional = " (optional)" if spec.optional else ""
            lines.append(f"| `{name}` | {', '.join(spec.dims)} | {spec.dtype} | {spec.unit} | {spec.text}{optional} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table_of_arrays(), end="")
