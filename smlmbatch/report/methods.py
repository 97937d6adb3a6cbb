"""What was computed, in words for a paper's methods section, with its sources.

A source is cited as `[key]` in the text below and numbered in the order in which the settings in use bring it up.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from smlmbatch.analyse.grouping import condition_columns
from smlmbatch.config import Config
from smlmbatch.report.cluster_data import ClusterFacts
from smlmbatch.report.embedding_data import ModelFacts
from smlmbatch.report.methods_clusters import clusters_found
from smlmbatch.report.methods_embedding import embedded
from smlmbatch.report.wording import count, counted, length
from smlmbatch.report.wording_prepare import prepared

_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "chen": "Chen, Kornblith, Norouzi, Hinton: A simple framework for contrastive learning of visual representations. Proc. 37th "
        "Int. Conf. Machine Learning, PMLR 119, 1597\u20131607 (2020).",
        "endesfelder": "Endesfelder, Malkusch, Fricke, Heilemann: A simple method to estimate the average localization precision of a "
        "single-molecule localization microscopy experiment. Histochem. Cell Biol. 141, 629\u2013638 (2014).",
        "ester": "Ester, Kriegel, Sander, Xu: A density-based algorithm for discovering clusters. Proc. KDD-96, 226\u2013231 (1996).",
        "hedges": "Hedges: Distribution theory for Glass\u2019s estimator of effect size and related estimators. J. Educ. Stat. 6, "
        "107\u2013128 (1981).",
        "hesterberg": "Hesterberg: What teachers should know about the bootstrap. Am. Stat. 69, 371\u2013386 (2015).",
        "hubert": "Hubert, Arabie: Comparing partitions. J. Classif. 2, 193\u2013218 (1985).",
        "lord": "Lord, Velle, Mullins, Fritz-Laylin: SuperPlots: communicating reproducibility and variability in cell biology. "
        "J. Cell Biol. 219, e202001064 (2020).",
        "mcinnes": "McInnes, Healy, Melville: UMAP: Uniform manifold approximation and projection for dimension reduction. "
        "arXiv:1802.03426 (2018).",
        "ohser": "Ohser: On estimators for the reduced second moment measure of point processes. Math. Operationsforsch. Statist. "
        "Ser. Statist. 14, 63\u201371 (1983).",
        "otsu": "Otsu: A threshold selection method from gray-level histograms. IEEE Trans. Syst. Man Cybern. 9, 62\u201366 (1979).",
        "pedregosa": "Pedregosa, Varoquaux, Gramfort et al.: Scikit-learn: Machine learning in Python. J. Mach. Learn. Res. 12, "
        "2825\u20132830 (2011).",
        "pineda": "Pineda, Masó-Orriols, Masoliver et al.: Enhanced spatial clustering of single-molecule localizations with graph neural "
        "networks. Nat. Commun. (2025), doi 10.1038/s41467-025-65557-7.",
        "ripley": "Ripley: Modelling spatial patterns. J. R. Stat. Soc. B 39, 172\u2013212 (1977).",
        "shirgill": "Shirgill, Jensen, Nieves et al.: Nanoscale spatial-omics via contrastive embedding of single-molecule localisation "
        "data.",
        "welch": "Welch: The generalization of \u2018Student\u2019s\u2019 problem when several different population variances are "
        "involved. Biometrika 34, 28\u201335 (1947).",
    }
)
_THIN = "\u202f"
_CITED = re.compile(r"\[(" + "|".join(_SOURCES) + r")\]")


def methods(
    config: Config, *, software: Mapping[str, str], model: ModelFacts | None = None, clusters: ClusterFacts | None = None
) -> tuple[list[str], list[str]]:
    """Paragraphs and, numbered, the sources that they cite.

    Parameters
    ----------
    software : name → version
    model : what ROIs were embedded with; None = they were not
    clusters : how clusters of whole fields were found; None = there are none
    """
    program = f"smlmbatch {software.get('smlmbatch', '')}".strip()
    paragraphs = [
        f"Localisation tables were read, converted to nanometres and analysed with {program} (Python {software.get('python', '')}). "
        f"{prepared(config)} {_outlined(config)}",
        _gridded(config),
        _JUDGED,
        _clustered(config),
        _spaced(config),
        f"{_averaged(config)} {_compared(config)}",
        *clusters_found(config, clusters),
        *embedded(config, model),
    ]
    order = list(dict.fromkeys(_CITED.findall("\n".join(paragraphs))))
    numbered = [_CITED.sub(lambda found: f"[{order.index(found.group(1)) + 1}]", text) for text in paragraphs]
    return numbered, [f"[{i}] {_SOURCES[key]}" for i, key in enumerate(order, start=1)]


def _outlined(config: Config) -> str:
    tile = config.tile
    found = (
        f"Cells were outlined where the density of locs, smoothed with a Gaussian (\u03c3 = {length(tile.density_sigma_nm)}) on "
        f"{length(tile.density_bin_nm)} bins, exceeded Otsu\u2019s threshold [otsu] of its logarithm, found for each field; patches below "
        f"{tile.min_cell_um2:g}{_THIN}µm² were discarded, and a field of one density throughout was taken as one cell."
    )
    outline = {"found": found, "field": "The whole field was taken as the cell."}[tile.outline]
    return f"{outline} An outline given in the sample sheet took precedence."


def _gridded(config: Config) -> str:
    tile = config.tile
    return (
        f"Each cell was covered with a grid of square regions of interest (ROIs) of {length(tile.roi_nm)}. ROIs with at least "
        f"{100 * tile.min_coverage:g}{_THIN}% of their area inside the cell and at least {counted(tile.min_locs, 'loc')} were kept."
    )


_JUDGED = (
    "Quality was judged for each field and channel: precision from the distances between nearest locs of following frames (NeNA) "
    "[endesfelder] against the stated one; drift as the offset between the densities of the first and the second half of the frames; "
    "locs per frame over time; locs at the same place in the same frame; locs that go on a blink of the frame before; locs too close in "
    "one frame to be told apart; photons over the field; the share of the outline along the field\u2019s edge. The limits stand below, "
    "under [quality]."
)


def _clustered(config: Config) -> str:
    measure = config.measure
    return (
        f"Within each ROI, clusters were found with DBSCAN [ester] (ε = {measure.dbscan_eps_nm:g}{_THIN}nm, at least "
        f"{measure.dbscan_min_locs} locs within ε, the loc itself included); locs in no cluster are given as a share of all. Cluster "
        "area is that of the convex hull, averaged over the clusters of a ROI; cluster radius is the radius of gyration. Density is the "
        "number of locs over the ROI\u2019s area inside the cell."
    )


def _spaced(config: Config) -> str:
    measure = config.measure
    radius_nm = measure.ripley_max_nm or config.tile.roi_nm / 4
    text = (
        f"Ripley\u2019s K [ripley] was estimated with translation edge correction [ohser] at radii up to {length(radius_nm)} in steps of "
        f"{length(measure.ripley_step_nm)}, in the whole square (parts of it outside the cell are not corrected for); "
        f"L(r) = √(K(r)/π), and L(r) \u2212 r is 0 for locs placed at random. ROIs above {count(measure.ripley_max_locs)} locs were "
        f"thinned at random (seed {measure.seed}), which does not change K."
    )
    merged = config.prepare.merge_nm or config.prepare.merge_nena
    return text if merged else f"{text} As repeated blinks were not merged, clusters and K at short radii hold them too."


def _averaged(config: Config) -> str:
    return (
        "Each descriptor was averaged over the ROIs of a replicate; conditions are given as mean ± standard deviation over replicates "
        f"[lord]. ROIs with fewer than {counted(config.tile.min_locs, 'loc')} of a channel enter only that channel\u2019s density, locs "
        "per ROI and clusters per ROI. ROIs without a value (for example the cluster area of a ROI without clusters, or the radius of the "
        "maximum of L(r) \u2212 r where it does not lie within the radii) do not enter a mean."
    )


def _compared(config: Config) -> str:
    compare = config.compare
    columns = condition_columns(compare)
    product = f" (each combination of {', '.join(name.removeprefix('label_') for name in columns)})" if columns != ["condition"] else ""
    test, rank = "Welch\u2019s t test [welch]", "Mann-Whitney\u2019s test"
    if compare.paired:
        test, rank = f"a t test paired by {compare.paired}", "Wilcoxon\u2019s signed rank test"
    others = f"with {compare.reference}" if compare.reference else "with each other"
    regions = (
        f" ROIs whose centre lies within {length(compare.periphery_nm)} of the outline are periphery, the others centre."
        if compare.periphery_nm and "region" in columns
        else ""
    )
    return (
        f"Conditions{product} were compared {others} by {test} of the replicates\u2019 means, two-sided, corrected by Bonferroni for all "
        f"descriptors and pairs of conditions of a channel; p below {compare.alpha:g} counts as a difference. {rank} of the same means is "
        f"given beside it. Differences and ratios of means have 95{_THIN}% bootstrap intervals over replicates "
        f"({count(compare.draws)} resamples, seed {compare.seed}), widened for small numbers [hesterberg]; Hedges\u2019 g [hedges] has "
        f"that of the noncentral t distribution.{regions}"
    )
