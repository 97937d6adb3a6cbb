"""What the judgement of a campaign consists of: quality checks of fields, comparisons of conditions.

Plain records that `quality` and `statistics` make, the tables hold and the report shows.
"""

from dataclasses import dataclass
from typing import Literal

Light = Literal["green", "amber", "red", "grey"]  # grey = could not be judged, and why stands in the text
LIGHTS: tuple[Light, ...] = ("green", "grey", "amber", "red")  # from good to bad: a field has the last of its checks'


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityCheck:
    """One check of one field and channel: a row of `tables/quality.parquet`.

    Attributes
    ----------
    check : name of the check, as in the limits of `[quality]` ("drift_nm", "blinks" ...)
    channel : None for a check of the whole field
    value : what was measured; NaN where it could not be
    amber, red : the limits it was held against; NaN where the check has none
    text : one sentence for a microscopist: what was found, what it means, what to do about it
    """

    key: str
    field: str
    check: str
    channel: int | None
    value: float
    unit: str
    amber: float
    red: float
    light: Light
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One descriptor compared between two conditions in one channel: a row of `tables/comparisons.parquet`.

    Differences are `condition` minus `reference`. Intervals are 95 % intervals: of a bootstrap over replicates, for Hedges' g of the
    noncentral t distribution (see `effects`). NaN where a value is undefined (a test with one replicate).

    Attributes
    ----------
    channel : None where channels are part of the condition
    paired : how values were paired ("" = not)
    n_pairs : pairs of replicates (or blocks) that entered; 0 where not paired
    mean_reference, mean : means over replicates (over pairs, where paired), in the descriptor's own unit
    difference, difference_low, difference_high : in the descriptor's unit, with interval
    ratio, ratio_low, ratio_high : mean over mean_reference, NaN where that is not above 0; interval only if all replicates are above 0
    hedges_g, hedges_g_low, hedges_g_high : difference in pooled standard deviations of replicates, corrected for their small number
    p : of the test on replicate means that the verdict rests on (Welch's t; paired t), not corrected
    p_family : the same, Bonferroni over the family
    p_rank : two-sided Mann-Whitney on replicate means (Wilcoxon's signed rank where paired), not corrected
    p_rank_family : the same, Bonferroni over the rank tests of the family that were possible
    p_rank_smallest : smallest p that this rank test can give with so many replicates
    p_roi, p_roi_family : two-sided Mann-Whitney on ROIs, as if each were independent: pseudo-replicated, never the verdict; the latter
        Bonferroni over the ROI tests of the family that were possible
    n_family : tests on replicate means (`p`) in the family that were possible
    verdict : "differs" (p_family < alpha), "too few replicates" (below 2 of either), "not testable" (replicates vary in neither; where
        paired, their differences don't), else "no difference shown"
    """

    channel: int | None
    descriptor: str
    reference: str
    condition: str
    paired: str
    n_replicates_reference: int
    n_replicates: int
    n_pairs: int
    n_rois_reference: int
    n_rois: int
    mean_reference: float
    mean: float
    difference: float
    difference_low: float
    difference_high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    hedges_g: float
    hedges_g_low: float
    hedges_g_high: float
    p: float
    p_family: float
    p_rank: float
    p_rank_family: float
    p_rank_smallest: float
    p_roi: float
    p_roi_family: float
    n_family: int
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingScore:
    """How well groups of ROIs are told apart in one representation: a row of `tables/embedding_scores.parquet`.

    Attributes
    ----------
    channel : None where channels are part of the condition
    label : what the groups are: "condition"; "condition without <reference>"; for quality control "replicate of <condition>", "batch" ...
    representation : "embedding"; "log N" (the number of locs alone); "descriptors" (z-scored); "random encoder" (the network untrained);
        "cell means" (embeddings averaged over a cell's ROIs), "cell means of all channels" (these of all channels side by side)
    n_locs : locs each ROI was thinned to; 0 = all its locs
    measure : "ARI k-means", "ARI Ward"; "accuracy nearest" and "accuracy logistic" of ROIs of replicates that were left out whole
    value, low, high : mean over repeats, with its 95 % interval (bootstrap over ROIs; for accuracies over replicates); NaN if not possible
    repeats, repeat_sd : density normalisations drawn, and the standard deviation of the value among them
    groups, k : number of groups, and of clusters
    n_rois, n_lost : ROIs that entered; ROIs with fewer locs than n_locs, left out
    chance : the value expected of a representation that knows nothing
    note : why there is no value, or what to know of it; "" = nothing
    """

    channel: int | None
    label: str
    representation: str
    n_locs: int
    measure: str
    value: float
    low: float
    high: float
    repeats: int
    repeat_sd: float
    groups: int
    k: int
    n_rois: int
    n_lost: int
    chance: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingCluster:
    """How much of a condition is in a cluster of K-means: a row of `tables/embedding_clusters.parquet`.

    Attributes
    ----------
    cluster : counted from 0 by size, largest first
    n, n_cluster, n_condition : ROIs of the condition in the cluster, in the cluster, of the condition
    entropy : of the cluster's composition over conditions, over ln(number of conditions): 0 = one condition, 1 = all alike
    """

    channel: int | None
    cluster: int
    condition: str
    n: int
    n_cluster: int
    n_condition: int
    entropy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingDistance:
    """Distance of two conditions in the embedding: a row of `tables/embedding_distances.parquet`.

    Attributes
    ----------
    distance, low, high : Euclidean, between centroids (means over replicates' means), with a 95 % interval of a bootstrap over replicates
    spread : mean distance of replicates' means from their own condition's centroid, of both; NaN with one replicate each
    within : root mean square distance of ROIs from their condition's centroid, of both
    """

    channel: int | None
    condition: str
    other: str
    distance: float
    low: float
    high: float
    spread: float
    within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingFlag:
    """Something to know before the embedding is believed: a row of `tables/embedding_flags.parquet`.

    Attributes
    ----------
    kind : "density", "replicate", "batch", "channel", "format", "label", "order", "few", "range"
    light : as for checks of quality
    text : one sentence for a microscopist: what was found, what it means, what to do about it
    """

    channel: int | None
    kind: str
    light: Light
    text: str
