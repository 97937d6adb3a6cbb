"""The clusters of whole fields in words for a paper's methods section; sources are cited as in `methods`."""

from smlmbatch.config import Config
from smlmbatch.report.cluster_data import ClusterFacts
from smlmbatch.report.cluster_model import tuned_said
from smlmbatch.report.wording import counted, number

_THIN = "\u202f"
_SHIPPED = "miro"


def clusters_found(config: Config, facts: ClusterFacts | None) -> list[str]:
    """Paragraphs on the stage `cluster`; none where no field has clusters."""
    if facts is None:
        return []
    return [f"{_FOUND[facts.method](config, facts)} {_described(config)}"]


def _by_network(config: Config, facts: ClusterFacts) -> str:
    return (
        "In whole fields, clusters were found channel by channel by a recurrent graph neural network after MIRO [pineda] (model "
        f"{facts.model}, sha256 {facts.model_sha256}, {_trained(facts)}), which moves each loc towards the middle of its cluster and gives "
        "its probability of lying in one and the radius of that. Of locs more likely inside than outside, those whose new places lay "
        "nearer than a share of these radii were linked, as in DBSCAN [ester]. "
        f"{_knew(facts, config)}"
    )


def _knew(facts: ClusterFacts, config: Config) -> str:
    """What the network was told besides places."""
    if facts.origin is not None and facts.origin.tuned:
        return "It knew the size of the marked clusters, and whether molecules blink repeatedly if that was said in tuning."
    settings = config.cluster
    told = (
        f"It was told their typical radius ({number(settings.cluster_radius_nm)}{_THIN}nm) and number of locs "
        f"({number(settings.locs_per_cluster)})."
        if settings.cluster_radius_nm
        else "The size and number of locs of the clusters found in a first pass were given to it in a second."
    )
    return (
        "The network knew the median localisation precision, and whether molecules blink repeatedly, where data and sample sheet say it. "
        f"{told}"
    )


def _trained(facts: ClusterFacts) -> str:
    """What the network learned from, as far as it is known."""
    if facts.model == _SHIPPED:
        return "trained on simulated fields of clusters alone"
    if facts.origin is None or not facts.origin.material:
        return "trained as its card says"
    return tuned_said(facts.origin) if facts.origin.tuned else f"trained on {facts.origin.material}"


def _by_dbscan(config: Config, facts: ClusterFacts) -> str:
    return (
        f"In whole fields, clusters were found channel by channel with DBSCAN [ester] (ε = {config.cluster.eps_nm:g}{_THIN}nm, at least "
        f"{counted(config.cluster.min_locs, 'loc')} within ε, the loc itself included)."
    )


_FOUND = {"miro": _by_network, "dbscan": _by_dbscan}


def _described(config: Config) -> str:
    calibration = config.cluster.calibration_locs_per_molecule
    molecules = f" Copy numbers are locs over {number(calibration)}, the locs of one molecule." if calibration else ""
    return (
        "A cluster is given with its number of locs, radius of gyration, area of the convex hull, eccentricity (of the ellipse with its "
        f"second moments) and the distance to the nearest other centre of its channel.{molecules} It counts in the ROI that holds its "
        f"centre; the measures of a ROI\u2019s clusters were averaged (shares and means where it has {config.tile.min_locs} locs or more), "
        "then treated as descriptors are, and corrected as a family of their own."
    )
