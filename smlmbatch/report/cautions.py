"""What stands against the comparisons, in sentences for the top of the page.

An experiment's design may leave things open (batches that stand for conditions, lost partners, the same cells on both sides), and two
measures of the same thing may contradict each other: DBSCAN's clusters depend on its radius, Ripley's curve does not.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smlmbatch.analyse.compare import natural_key
from smlmbatch.analyse.design import BatchWarning, Unpaired, batch_warnings, unpaired_blocks
from smlmbatch.analyse.grouping import group_rois
from smlmbatch.analyse.results import Comparison
from smlmbatch.analyse.statistics import DIFFERS, condition_pairs
from smlmbatch.config import Config
from smlmbatch.report.effects import Pair, pairs_of
from smlmbatch.report.wording import counted, in_sentence, length, rounded, titles

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_PAIRS = 3  # named
_MOST_BLOCKS = 6
# all that DBSCAN's radius decides
CLUSTERED = ("n_clusters", "noise_fraction", "locs_per_cluster", "cluster_area_nm2", "cluster_radius_nm")
_SIZES = ("cluster_radius_nm", "cluster_area_nm2")
_SCALE = "ripley_peak_nm"


def design_cautions(rois: "pa.Table", fields: "pa.Table", *, config: Config) -> list[str]:
    """Sentences, the gravest first; none where nothing stands against the comparisons.

    Parameters
    ----------
    rois, fields : as `tables.read_tables` gives them
    """
    settings, min_locs = config.compare, config.tile.min_locs
    batches = batch_warnings(rois, fields, config=settings, min_locs=min_locs)
    unpaired = unpaired_blocks(rois, fields, config=settings, min_locs=min_locs)
    grouped = group_rois(rois, fields, config=settings)
    return [*_confounded(batches), *_same_cells(grouped, config=config), *_larger(batches), *_unpaired(unpaired, grouped, config=config)]


def is_confounded(cautions: Sequence[str]) -> bool:
    """Whether one of them says that conditions can't be told from batches."""
    return any(_CONFOUNDED in caution for caution in cautions)


_CONFOUNDED = "can\u2019t be told from a difference between the batches"


def _confounded(warnings: Sequence[BatchWarning]) -> list[str]:
    pairs = list(dict.fromkeys(warning.conditions for warning in warnings if warning.kind == "confounded"))
    if not pairs:
        return []
    return [
        f"No batch holds both conditions: {_pairs_said(pairs, ' and ')}. A difference between them {_CONFOUNDED} (day, dish, microscope). "
        "Measure both conditions in every batch."
    ]


def _pairs_said(pairs: Sequence[tuple[str, ...]], between: str) -> str:
    """Pairs of (reference, condition), the first ones by name."""
    named = "; ".join(f"{condition}{between}{reference}" for reference, condition in pairs[:_MOST_PAIRS])
    return named + (f" and {counted(len(pairs) - _MOST_PAIRS, 'other pair')}" if len(pairs) > _MOST_PAIRS else "")


def _larger(warnings: Sequence[BatchWarning]) -> list[str]:
    hit = [warning for warning in warnings if warning.kind == "larger" and warning.descriptor is not None]
    names = [in_sentence(title.name) for title in titles(str(warning.descriptor) for warning in hit).values()]
    if not names:
        return []
    return [
        f"Batches differ more than conditions do, in {', '.join(names)}. "
        "Look for a cause (staining, settings, drift), or pair by batch (--paired batch)."
    ]


# ---- who has a partner


def _unpaired(found: Sequence[Unpaired], grouped: "pa.Table", *, config: Config) -> list[str]:
    """Blocks that enter no comparison at all; one that lacks a partner in some pairs only is not named."""
    blocks = {block for one in found for block in (*one.only_reference, *one.only_condition)}
    if not blocks:
        return []
    named = sorted(blocks - {""} - _entering(grouped, reference=config.compare.reference), key=natural_key)
    more = f" and {len(named) - _MOST_BLOCKS} more" if len(named) > _MOST_BLOCKS else ""
    lost = f"Without a partner in another condition, so in no comparison: {', '.join(named[:_MOST_BLOCKS])}{more}." if named else ""
    empty = "Some fields have no entry in the column they are paired by." if "" in blocks else ""
    return [" ".join(filter(None, [lost, empty]))] if lost or empty else []


def _entering(grouped: "pa.Table", *, reference: str) -> set[str]:
    """Blocks that stand on both sides of some comparison."""
    conditions: dict[tuple[int | None, str], set[str]] = {}
    for row in _kept(grouped, ["channel", "condition", "block"]):
        conditions.setdefault((row["channel"], row["block"]), set()).add(row["condition"])
    return {block for (_, block), own in conditions.items() if block and len(own) > 1 and (not reference or reference in own)}


def _same_cells(grouped: "pa.Table", *, config: Config) -> list[str]:
    """Where values are not paired although channels or regions of the same cells are compared."""
    settings = config.compare
    if settings.paired:
        return []
    cells: dict[int | None, dict[str, set[tuple[str, str]]]] = {}
    for row in _kept(grouped, ["channel", "condition", "replicate", "key"]):
        cells.setdefault(row["channel"], {}).setdefault(row["condition"], set()).add((row["replicate"], row["key"]))
    compared = [(pair, own) for own in cells.values() for pair in condition_pairs(own, reference=settings.reference)]
    hit = list(dict.fromkeys(pair for pair, own in compared if own[pair[0]] & own[pair[1]]))
    if not hit:
        return []
    whose = "" if len(hit) == len({pair for pair, _ in compared}) else f" of {_pairs_said(hit, ' against ')}"
    return [f"The same cells stand on both sides{whose}; --paired replicate compares within cells."]


def _kept(grouped: "pa.Table", columns: Sequence[str]) -> list[dict[str, Any]]:
    """Distinct values of these columns in kept ROIs."""
    import pyarrow.compute as pc

    rows: list[dict[str, Any]] = grouped.filter(pc.field("kept")).group_by(columns, use_threads=False).aggregate([]).to_pylist()
    return rows


# ---- measures that contradict each other


def contradicted_pairs(comparisons: Sequence[Comparison]) -> dict[Pair, bool]:
    """Pairs of conditions in which the size of DBSCAN's clusters and Ripley's radius both differ, in opposite directions.

    Returns
    -------
    pair → whether Ripley's radius grows
    """
    found = {}
    for pair, group in pairs_of(comparisons).items():
        differences = {c.descriptor: c.difference for c in group if c.verdict == DIFFERS}
        scale = differences.get(_SCALE, 0.0)
        if any(scale * differences.get(name, 0.0) < 0 for name in _SIZES):
            found[pair] = scale > 0
    return found


def cluster_cautions(comparisons: Sequence[Comparison], *, channel_titles: Mapping[int, str], config: Config) -> list[str]:
    """A sentence for each direction in which DBSCAN contradicts Ripley."""
    found, said = contradicted_pairs(comparisons), []
    for grows, (clusters, scale, why, other) in _CONTRADICTIONS.items():
        hit = [pair for pair, up in found.items() if up is grows]
        if not hit:
            continue
        pairs = list(dict.fromkeys((reference, condition) for _, reference, condition in hit))
        names = dict.fromkeys(channel_titles.get(-1 if channel is None else channel, "") for channel, _, _ in hit)
        channels = [name.partition(":")[0].lower() for name in names if name]
        where = f" ({', '.join(channels)})" if channels else ""
        said.append(
            f"{_pairs_said(pairs, ' against ')}{where}: DBSCAN\u2019s clusters {clusters} while the pattern\u2019s length scale (Ripley: "
            f"{in_sentence(titles([_SCALE])[_SCALE].name)}) {scale}. With eps = {length(config.measure.dbscan_eps_nm)}, {why}. "
            f"Trust neither the number of clusters nor their size before you have tried a {other} eps (measure.dbscan_eps_nm)."
        )
    return said


def method_cautions(descriptors: Sequence[Comparison], clusters: Sequence[Comparison], *, method: str) -> list[str]:
    """A sentence where the radius of DBSCAN's clusters in ROIs and that of whole fields' clusters changed in ways that exclude each other.

    Parameters
    ----------
    method : what readers know the method by that found the clusters of whole fields
    """
    radii = {_pair(c): c for c in descriptors if c.descriptor == "cluster_radius_nm"}
    others = {_pair(c): c for c in clusters if c.descriptor == "cluster_gyration_nm"}
    apart = [(radii[pair], others[pair]) for pair in radii if pair in others and _apart(radii[pair], others[pair])]
    if not apart:
        return []
    said = "; ".join(f"{one.condition} against {one.reference}: {_times(one)} and {_times(other)} times" for one, other in apart[:3])
    return [
        f"The radius of clusters changes otherwise among the descriptors (DBSCAN, ROI by ROI) than among the clusters of whole fields "
        f"({method}): {said}. They are not the same clusters: DBSCAN takes what hangs together by its one distance, so it also joins "
        f"neighbours and takes in locs around, the more the denser a field is; {method} decides by other rules what is one cluster. "
        "Look at the pictures of both before you believe either."
    ]


def _times(c: Comparison) -> str:
    return rounded(c.ratio, c.ratio_low, c.ratio_high)[0]


def _pair(c: Comparison) -> Pair:
    return c.channel, c.reference, c.condition


def _apart(one: Comparison, other: Comparison) -> bool:
    """Whether the intervals of two ratios have nothing in common; NaN is no interval."""
    return one.ratio_low > other.ratio_high or other.ratio_low > one.ratio_high


_CONTRADICTIONS: Mapping[bool, tuple[str, str, str, str]] = {
    True: ("shrink", "grows", "wide loose clusters are probably broken into pieces", "larger"),
    False: ("grow", "shrinks", "clusters that lie close are probably run together", "smaller"),
}
