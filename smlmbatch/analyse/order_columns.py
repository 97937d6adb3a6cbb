"""The columns of the tables of particles in order, as `columns` has those of the others."""

from collections.abc import Mapping
from typing import Final

from smlmbatch.analyse.columns import Column
from smlmbatch.store.schema import SCHEMA

ESTIMATES: Final = ("mean_radius_nm", "median_radius_nm", "circle_radius_nm", "layer_height_nm", "level_height_nm")
QUANTITIES: Final = (*ESTIMATES, "n_points", "value")  # what directions are held against
SUPERVISED: Final = "supervised"  # column of places along the direction of the known value

_OF_ORDER = SCHEMA["order"]
_DIRECTION = Column("string", "", "`unit1` …, `pc1` …, or `value`.")

ORDER_COLUMNS: Final[Mapping[str, Column]] = {
    "key": Column("string", "", "Folder of the field in the store."),
    "field": Column("string", "", "Name of the field as people know it."),
    "condition": Column("string", "", "Condition of the particle's channel."),
    "replicate": Column("string", "", "Replicate within the condition."),
    "batch": Column("string", "", "Batch, empty where none is given."),
    "channel": Column("uint8", "", "Channel."),
    "particle": Column("int32", "", "Number of the particle in its field: `key` and this join to `particles`."),
    "n_points": Column("int64", "loc", "Its locs that the network saw."),
    **{name: Column("double", "nm", _OF_ORDER[name].text.replace("NaN", "null")) for name in ESTIMATES},
    "value": Column("double", "", "What `[order] value` names; null where not known."),
    SUPERVISED: Column("double", "", "Its place along the direction of that value; null without one."),
    "kmeans": Column("int32", "", "Its group by k-means, from 1, in the order of their places along `pc1`."),
    "gmm": Column("int32", "", "The same by a mixture of Gaussians."),
}  # and a column for each unit and principal axis
_PER_BIN: Final = {
    name: column
    for estimate in ESTIMATES
    for name, column in (
        (estimate, Column("double", "nm", f"Mean of `{estimate}` over its particles; null where none can be told.")),
        (f"{estimate}_precision", Column("double", "nm", "Its precision as published: full width at half maximum over the root of n.")),
        (f"{estimate}_median", Column("double", "nm", "Median.")),
    )
}
ORDER_BIN_COLUMNS: Final[Mapping[str, Column]] = {
    "direction": _DIRECTION,
    "bin": Column("int32", "", "Number of the bin, from 0, the lowest place."),
    "n": Column("int64", "particle", "Its particles."),
    "n_points": Column("double", "loc", "Mean number of their locs."),
    "place_low": Column("double", "", "Lowest place in it."),
    "place_median": Column("double", "", "Median place."),
    "place_high": Column("double", "", "Highest place."),
    **_PER_BIN,
    "n_registered": Column("int64", "particle", "How many make its super-particle; null, as all that follow, where it isn't registered."),
    "n_poor": Column("int64", "particle", "Of these, how many fit badly."),
    "registered_failed": Column("bool", "", "Whether nothing was found that its particles have in common beyond their outline."),
    "gain_z": Column("double", "1", "How sure that is: gain of halves over mirrored halves, in standard errors."),
    "rotation_sd_deg": Column("double", "degree", "Error of a particle's rotation as its halves tell it; null in space."),
    "overlap": Column("double", "1", "With the neighbour nearer to the middle of the series, 0 to 1, in one frame."),
    "super_radius_nm": Column("double", "nm", "Radius of a circle fitted to the super-particle."),
    "super_radius_error_nm": Column("double", "nm", "Its standard error, as if locs were independent."),
    "super_height_nm": Column("double", "nm", "Median z above the mean plane less that below, of the super-particle; null in the plane."),
    "super_height_error_nm": Column("double", "nm", "Its standard error, likewise."),
}
ORDER_AXIS_COLUMNS: Final[Mapping[str, Column]] = {
    "direction": _DIRECTION,
    "quantity": Column("string", "", f"One of {', '.join(QUANTITIES)}."),
    "n": Column("int64", "particle", "Particles of which the quantity is known."),
    "pearson": Column("double", "1", "Pearson correlation of places with it; null where one of them doesn't vary."),
    "spearman": Column("double", "1", "Spearman's rank correlation."),
    "chosen": Column("bool", "", "Whether, of its kind (units, principal axes), it goes best with the quantity on the first random half."),
    "half1_pearson": Column("double", "1", "Pearson on that half, by which it was chosen: flattered."),
    "half2_pearson": Column("double", "1", "Pearson on the other half: what may be quoted."),
    "share": Column("double", "1", "Of all differences between particles, measured by noise, that it tells; principal axes only."),
    "nats": Column("double", "nat", "What the unit says of a particle; units only. Below 0.05 it has collapsed."),
    "thinned_50": Column("double", "1", "|Pearson| of places with half of each particle's locs and with all."),
    "thinned_20": Column("double", "1", "The same with a fifth."),
}
