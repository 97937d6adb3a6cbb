"""The embedding in words for a paper's methods section; sources are cited as in `methods`."""

from smlmbatch.analyse.embedding_map import LEAST_DISTANCE, LEAST_ROIS, NEIGHBOURS
from smlmbatch.config import Config
from smlmbatch.report.embedding_data import ModelFacts
from smlmbatch.report.wording import count, counted, length, number

_THIN = "\u202f"
_SHIPPED = "contrastive"


def embedded(config: Config, model: ModelFacts | None) -> list[str]:
    """Paragraphs on embedding and its analysis; none where nothing was embedded."""
    return [] if model is None else [_network(config, model), _analysis(config)]


def _network(config: Config, model: ModelFacts) -> str:
    drawn = f"exactly {counted(model.n_locs, 'loc')} of each, drawn at random (seed {config.embed.seed}),"
    turned = "averaged over its 8 flips and quarter turns" if model.turned else "computed once, without averaging over flips and turns"
    least = counted(max(config.embed.min_locs, model.n_locs), "loc")
    return (
        f"ROIs with at least {least} of a channel were embedded: {drawn if model.n_locs else 'all locs of each'} were counted "
        f"into {model.side_px} \u00d7 {model.side_px} pixels of {number(model.pixel_nm)}{_THIN}nm over "
        f"{length(model.side_px * model.pixel_nm)}, and a convolutional network gave a vector of {model.features} numbers, {turned}. "
        f"The network (model {model.name}, sha256 {model.sha256}) "
        f"{_TRAINED if model.name == _SHIPPED else 'was trained as its card says'}. It ran on "
        f"{'a GPU' if model.device == 'cuda' else 'the CPU'}."
    )


_TRAINED = (
    "was trained by contrastive learning [chen] on pairs of patterns simulated from Perlin noise that share their parameters [shirgill]; "
    "it has seen no experimental data"
)


def _analysis(config: Config) -> str:
    settings = config.embeddings
    clusters = f"{settings.clusters} clusters" if settings.clusters else "as many clusters as conditions"
    return (
        f"Vectors were clustered as they are by K-means and by Ward\u2019s method (scikit-learn [pedregosa]; {clusters}); agreement with "
        f"the conditions is the adjusted Rand index [hubert] with a bias-corrected 95{_THIN}% bootstrap interval over ROIs "
        f"({count(settings.bootstrap)} resamples), a cluster\u2019s mixture its Shannon entropy over that of equal parts. The same was "
        "done with the logarithm of the number of locs alone, with the z-scored descriptors, and with the untrained network. For equal "
        f"density ROIs were thinned at random to {count(settings.n_locs)} locs, and to the 10th percentile of the condition with the "
        f"fewest, {counted(settings.repeats, 'time')} each (at most {counted(settings.max_rois, 'ROI')}). Accuracies are balanced, of "
        "ROIs of replicates left out whole, by 5 nearest "
        "neighbours and by logistic regression. Distances of conditions are Euclidean, between the means of their replicates\u2019 means, "
        "with bootstrap intervals over replicates; the tree is that of average linkage. The map is by UMAP [mcinnes] "
        f"({NEIGHBOURS} neighbours, smallest distance {LEAST_DISTANCE:g}, at most {counted(settings.map_rois, 'ROI')}; of fewer than "
        f"{LEAST_ROIS} the two leading principal axes), for the eye only (seed of all draws {settings.seed})."
    )
