"""The embedding's figures with their captions and numbers: what each part of its page shows, made of the tables."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from smlmbatch.analyse.compare import natural_key
from smlmbatch.analyse.embedding_map import LEAST_ROIS
from smlmbatch.analyse.embedding_order import order_of_names
from smlmbatch.analyse.results import EmbeddingScore
from smlmbatch.config import Config
from smlmbatch.report.embedding_data import (
    CELLS,
    CELLS_OF_ALL,
    CONDITION,
    DESCRIPTORS,
    EMBEDDING,
    K_MEANS,
    LOG_N,
    LOGISTIC,
    NEAREST,
    RANDOM,
    WARD,
    Embedded,
    codes,
    vectors_of,
)
from smlmbatch.report.embedding_figures import (
    Bar,
    OrderedDots,
    ScorePanel,
    ScoreRow,
    draw_bend,
    draw_compositions,
    draw_distances,
    draw_map,
    draw_order,
    draw_scores,
    tree_order,
)
from smlmbatch.report.embedding_map import MapRows, static_dots
from smlmbatch.report.embedding_wording import distance_said, index, interval, share
from smlmbatch.report.figures import Look
from smlmbatch.report.gallery import Gallery, csv_text
from smlmbatch.report.page import Markup, breakable, element, join, table
from smlmbatch.report.wording import NONE, count, counted, number

_ROWS: Mapping[str, str] = {
    EMBEDDING: "Embedding",
    DESCRIPTORS: "Plain descriptors",
    LOG_N: "Number of locs alone",
    RANDOM: "Untrained network",
    CELLS: "Means of cells",
    CELLS_OF_ALL: "Means of cells, all channels",
}
_MOST_PAIRS = 15  # of conditions, in the table of distances
_MOST_PANELS = 3
_MOST_BARS = 20
_LOWEST_ARI = -0.1
INERTIA, SPEARMAN_ROIS, SPEARMAN_REPLICATES = "inertia", "Spearman ROIs", "Spearman replicates"


# ---- map

_UMAP = (
    "For the eye only: neighbours on the map (UMAP) are alike, but distances between groups, and how wide a group is, mean little. No "
    "number of this page is taken from it."
)
_AXES = (
    "For the eye only: the two leading principal axes, as there are too few ROIs for UMAP. ROIs that lie together may differ along axes "
    "that are not shown. No number of this page is taken from it."
)


def eye_only(part: Embedded) -> str:
    """What the map is, and isn't; its manner as the analysis chose it."""
    vectors = vectors_of(part)[part.rows["map_x"].is_valid().to_numpy()]
    few = len(vectors) < LEAST_ROIS or len(np.unique(vectors, axis=0)) < LEAST_ROIS
    return _AXES if few else _UMAP


def map_picture(part: Embedded, rows: MapRows, *, looks: Mapping[str, Look], gallery: Gallery) -> Markup:
    """The map as a picture with its files."""
    columns = rows.columns
    header = ["field", "condition", "replicate", "channel", "roi", "n_locs", "kmeans", "map_x", "map_y"]
    cells = zip(*(columns[name] for name in header[:-2]), rows.x.tolist(), rows.y.tolist(), strict=True)
    return gallery.show(
        f"embedding_map{part.suffix}",
        draw_map(static_dots(rows, looks)),
        numbers=csv_text(header, list(cells)),
        alt="Map of regions by their embedding; the colour is the condition.",
        caption=f"A dot is a ROI; alike ones lie close together. {eye_only(part)}",
    )


# ---- clusters


def compositions(part: Embedded, *, looks: Mapping[str, Look], gallery: Gallery) -> Markup | None:
    """What clusters of K-means consist of."""
    names = sorted({c.condition for c in part.clusters}, key=lambda name: (list(looks).index(name) if name in looks else len(looks), name))
    clusters = sorted({c.cluster for c in part.clusters})
    if not clusters or len(names) < 2:
        return None
    found = {(c.cluster, c.condition): c for c in part.clusters}
    bars = []
    for cluster in clusters[:_MOST_BARS]:
        own = [found.get((cluster, name)) for name in names]
        first = next(c for c in own if c is not None)
        shares = [c.n / c.n_cluster if c and c.n_cluster else 0.0 for c in own]
        bars.append(
            Bar(label=f"Cluster {cluster}", shares=shares, words=f"{counted(first.n_cluster, 'ROI')}, entropy {_plain(first.entropy)}")
        )
    header = ["cluster", "condition", "n", "n_cluster", "n_condition", "entropy"]
    cells = [[getattr(c, name) for name in header] for c in part.clusters]
    more = f" The {_MOST_BARS} largest of {count(len(clusters))} are drawn." if len(clusters) > _MOST_BARS else ""
    figure = gallery.show(
        f"embedding_clusters{part.suffix}",
        draw_compositions(bars, looks=[looks[name] for name in names], labels=names),
        numbers=csv_text(header, cells),
        alt="Composition of each cluster; the numbers are in the table below.",
        caption="Clusters of K-means, which knows no condition, and the conditions of their ROIs. Entropy: 0 = one condition only, 1 = all "
        f"in equal parts. A condition spread over several clusters has more than one kind of region.{more}",
    )
    body = []
    for cluster in clusters[:_MOST_BARS]:
        own = [found.get((cluster, name)) for name in names]
        entropy = next(c.entropy for c in own if c is not None)
        body.append([str(cluster), *(count(c.n) if c else "0" for c in own), _plain(entropy)])
    return join([figure, table(["Cluster", *map(breakable, names), "Entropy"], body, numeric=range(1, len(names) + 2), class_="few")])


def _plain(value: float) -> str:
    return NONE if not math.isfinite(value) else f"{value:z.2f}"


def bend(part: Embedded, *, gallery: Gallery) -> Markup | None:
    """How the spread left within clusters falls with their number."""
    found = sorted((s for s in part.scores if s.measure == INERTIA and s.representation == EMBEDDING), key=lambda s: s.k)
    if len(found) < 3:
        return None
    place = next((s.k for s in found if s.note == "elbow"), None)
    used = part.score(EMBEDDING, K_MEANS)
    told = f"The curve bends at {counted(place, 'cluster')} (furthest from the straight line): further ones gain less." if place else ""
    return gallery.show(
        f"embedding_bend{part.suffix}",
        draw_bend([s.value for s in found], used=used.k if used else 0, bend=place),
        numbers=csv_text(["clusters", "inertia", "note"], [[s.k, s.value, s.note] for s in found]),
        alt="Spread left within clusters against their number.",
        caption=f"{told or 'The curve has no bend.'} It knows nothing of the conditions.",
    )


# ---- agreement, accuracy


def agreement(part: Embedded, *, gallery: Gallery) -> Markup | None:
    """Adjusted Rand index of every representation, at all locs and at equal density; without the reference in a table."""
    figure = _scores(
        part,
        kinds=((K_MEANS, "K-means"), (WARD, "Ward")),
        low=_LOWEST_ARI,
        axis="Adjusted Rand index of clusters and conditions",
        name=f"embedding_agreement{part.suffix}",
        caption="How well clusters agree with the conditions they know nothing of: 0 as by chance (dashed), 1 the same. Lines: 95\u202f% "
        "intervals over ROIs. What the embedding knows beyond density shows where every ROI has equally many locs. There "
        "the number of locs says nothing, and plain descriptors are not made anew.",
        gallery=gallery,
    )
    others = [s for s in part.scores if s.label != CONDITION and s.measure in (K_MEANS, WARD) and math.isfinite(s.value)]
    if not others:
        return figure
    body = [
        [
            breakable(s.label),
            _ROWS.get(s.representation, s.representation),
            s.measure.removeprefix("ARI "),
            _locs_said(s.n_locs),
            _scored(s),
        ]
        for s in others
    ]
    return join(
        [figure, element("h4", "Other groups"), table(["Groups", "By", "Clusters", "Locs", "Adjusted Rand index"], body, class_="few")]
    )


def _scored(s: EmbeddingScore) -> str:
    return f"{index(s.value)}{interval(s)}"


def accuracies(part: Embedded, joint: Sequence[EmbeddingScore], *, gallery: Gallery) -> Markup | None:
    """Accuracy of ROIs (and cells) of replicates that were left out."""
    chance = next((s.chance for s in part.scores if s.measure == NEAREST and s.label == CONDITION), math.nan)
    return _scores(
        part,
        more=joint,
        kinds=((NEAREST, "nearest neighbours"), (LOGISTIC, "linear classifier")),
        low=0.0,
        axis="Share assigned to the right condition (balanced)",
        name=f"embedding_accuracy{part.suffix}",
        caption=f"Whole replicates were left out and their ROIs assigned to a condition by what the others show. Dashed: by chance "
        f"({share(chance)}). Lines: 95\u202f% intervals over replicates; without one, replicates don\u2019t vary or are too few.",
        gallery=gallery,
    )


def _scores(
    part: Embedded,
    *,
    kinds: tuple[tuple[str, str], tuple[str, str]],
    low: float,
    axis: str,
    name: str,
    caption: str,
    gallery: Gallery,
    more: Sequence[EmbeddingScore] = (),
) -> Markup | None:
    """One figure: a panel for all locs and one for each equal density, two kinds of score in each."""
    measures = [measure for measure, _ in kinds]
    found = [s for s in (*part.scores, *more) if s.label == CONDITION and s.measure in measures]
    able = [s for s in found if math.isfinite(s.value)]
    if not able:
        notes = dict.fromkeys(s.note for s in found if s.note)
        return element("p", f"Not possible: {'; '.join(notes)}.") if notes else None
    order = [name for name in _ROWS if any(s.representation == name for s in able)]
    numbers_of_locs = [n for n in dict.fromkeys((0, part.n_locs, *part.thinned)) if any(s.n_locs == n for s in able)][:_MOST_PANELS]
    panels = []
    for n_locs in numbers_of_locs:
        own = sorted((s for s in able if s.n_locs == n_locs and s.representation in order), key=lambda s: order.index(s.representation))
        rows = [ScoreRow(row=_ROWS[s.representation], value=s.value, low=s.low, high=s.high, filled=s.measure == measures[0]) for s in own]
        n_rois = max(s.n_rois for s in own)
        panels.append(ScorePanel(title=f"{_locs_said(n_locs)}, {counted(n_rois, 'ROI')}", scores=rows, chance=own[0].chance))
    header = ["representation", "n_locs", "measure", "value", "low", "high", "repeats", "repeat_sd", "n_rois", "n_lost", "chance", "note"]
    return gallery.show(
        name,
        draw_scores(panels, axis=axis, low=low, kinds=(kinds[0][1], kinds[1][1])),
        numbers=csv_text(header, [[getattr(s, column) for column in header] for s in found]),
        alt=f"{axis}, by representation and number of locs.",
        caption=caption,
    )


def _locs_said(n_locs: int) -> str:
    return f"{count(n_locs)} locs each" if n_locs else "All locs"


def lost_by_condition(part: Embedded, *, looks: Mapping[str, Look], config: Config) -> Markup | None:
    """ROIs that have too few locs for each equal density; None where ROIs were embedded thinned: how many they had isn't in the table."""
    if part.n_locs or not part.thinned:
        return None
    condition, known = codes(part, "condition")
    n_locs = part.rows["n_locs"].to_numpy()
    names = [name for name in looks if name in known]
    groups = {name: n_locs[condition == known.index(name)] for name in names}
    body = []
    for name in names:
        lost = [int((groups[name] < n).sum()) for n in part.thinned]
        body.append([breakable(name), count(len(groups[name])), *map(count, lost)])
    header = ["Condition", "ROIs embedded", *(f"Fewer than {counted(n, 'loc')}" for n in part.thinned)]
    gone = [name for name in names if (groups[name] < max(part.thinned)).all()]
    warn = element("p", f"No ROI left at {count(max(part.thinned))} locs: {', '.join(gone)}.", class_="warn") if gone else None
    repeats = config.embeddings.repeats
    said = (
        f"All embedded ROIs are counted here; each density was drawn {counted(repeats, 'time')} from at most "
        f"{counted(config.embeddings.max_rois, 'ROI')}, evenly over the conditions."
    )
    return join([table(header, body, numeric=range(1, len(header)), class_="few"), warn, element("p", said, class_="note")])


# ---- distances


def distances(part: Embedded, *, looks: Mapping[str, Look], gallery: Gallery) -> Markup | None:
    """Tree and matrix of conditions, and the pairs with intervals."""
    own = {name for d in part.distances for name in (d.condition, d.other)}
    names = [name for name in looks if name in own]
    if len(names) < 2:
        return None
    between = np.zeros((len(names), len(names)))
    for d in part.distances:
        i, j = names.index(d.condition), names.index(d.other)
        between[i, j] = between[j, i] = d.distance if math.isfinite(d.distance) else 0.0
    header = ["condition", "other", "distance", "low", "high", "spread", "within"]
    figure = gallery.show(
        f"embedding_distances{part.suffix}",
        draw_distances(between, names),
        numbers=csv_text(header, [[getattr(d, column) for column in header] for d in part.distances]),
        alt=f"Tree and distances of conditions, in this order: {', '.join(names[i] for i in tree_order(between))}.",
        caption="Distances of the conditions\u2019 centres in the embedding (all its dimensions, not the map), and the tree that average "
        "linkage makes of them. Conditions that join early have the most similar patterns. Distances of different models are not "
        "comparable.",
    )
    return join([figure, _pairs(part)])


def _pairs(part: Embedded) -> Markup:
    ranked = sorted(part.distances, key=lambda d: -d.distance if math.isfinite(d.distance) else math.inf)
    body = [
        [
            join([breakable(d.condition), " and ", breakable(d.other)]),
            distance_said(d),
            number(d.spread, digits=2),
            number(d.within, digits=2),
            _apart(d.low),
        ]
        for d in ranked[-_MOST_PAIRS:]  # near ones are in doubt
    ]
    header = ["Conditions", "Distance (95\u202f% interval)", "Replicates, from their centre", "ROIs, from their centre", ""]
    note = (
        "The interval is of the true distance, over replicates: what their scatter alone adds is taken off. Where it begins at 0, that "
        "scatter can explain the whole distance."
    )
    more = f" The {_MOST_PAIRS} nearest of {count(len(ranked))} pairs; all are in the CSV." if len(ranked) > _MOST_PAIRS else ""
    return join([table(header, body, numeric=(1, 2, 3), class_="few"), element("p", note + more, class_="note")])


def _apart(low: float) -> str:
    if not math.isfinite(low):
        return "no interval: one replicate"
    return "apart" if low > 0 else "not shown to be apart"


# ---- order


def order(part: Embedded, *, looks: Mapping[str, Look], config: Config, gallery: Gallery) -> Markup | None:
    """Whether embeddings follow doses or times; None where the experiment has none."""
    scores = [s for s in part.scores if s.measure in (SPEARMAN_ROIS, SPEARMAN_REPLICATES)]
    if not scores:
        return None
    body = [[breakable(s.label), s.measure.removeprefix("Spearman "), index(s.value), count(s.n_rois), s.note] for s in scores]
    numbers = table(["Order", "Over", "Rank correlation, without sign", "ROIs", ""], body, numeric=(2, 3), class_="few")
    flags = [element("p", flag.text) for flag in part.flags if flag.kind == "order"]
    return join([*flags, _order_figure(part, looks=looks, config=config, gallery=gallery), numbers])


def _order_figure(part: Embedded, *, looks: Mapping[str, Look], config: Config, gallery: Gallery) -> Markup | None:
    condition, known = codes(part, "condition")
    found = order_of_names([name for name in looks if name in known], reference=config.compare.reference)
    if found is None or "axis_1" not in part.rows.column_names:
        return None
    replicate, replicates = codes(part, "replicate")
    axis = part.rows["axis_1"].to_numpy().astype(np.float64)  # null becomes NaN
    groups, cells = [], []
    for name in found.number:
        own = condition == known.index(name)
        named = sorted(np.unique(replicate[own]).tolist(), key=lambda code: natural_key(replicates[code]))
        means = np.array([axis[own & (replicate == code)].mean() for code in named])
        groups.append(OrderedDots(at=found.number[name], label=name, look=looks[name], replicates=means))
        cells += [[name, found.number[name], replicates[code], mean] for code, mean in zip(named, means.tolist(), strict=True)]
    return gallery.show(
        f"embedding_order{part.suffix}",
        draw_order(groups, axis="Place along the leading axis"),
        numbers=csv_text(["condition", "number", "replicate", "axis_1"], cells),
        alt="Means of replicates along the leading principal axis, by the number in the condition\u2019s name.",
        caption="Each marker is the mean of a replicate along the direction in which embeddings vary most, which knows nothing of the "
        "order.",
    )
