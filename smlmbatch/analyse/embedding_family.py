"""All that is said of ROIs that are compared with each other: those of one channel, or of all where channels are part of the condition.

What can't be done (one condition, too few ROIs, all alike) leaves nulls, a note in the scores and a flag; the rest goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.agreement import contingency, entropies
from smlmbatch.analyse.embedding_baselines import descriptor_vectors, log_n
from smlmbatch.analyse.embedding_classify import cell_scores, roi_scores
from smlmbatch.analyse.embedding_clusters import k_means, not_clustered, ward
from smlmbatch.analyse.embedding_density import RANDOM_REPEATS, Embedder, Place, equal_numbers, thinned_vectors
from smlmbatch.analyse.embedding_distances import centre_of, distances
from smlmbatch.analyse.embedding_draw import KMEANS, MAP, ORDER, SAMPLE, draw_evenly, generator, seed_of
from smlmbatch.analyse.embedding_map import LEAST_ROIS, draw_map
from smlmbatch.analyse.embedding_order import NAMES_ORDER, Order, OrderFound, follow, leading_axis, order_of_names, p_text
from smlmbatch.analyse.embedding_rows import EmbeddedRois, Family
from smlmbatch.analyse.embedding_scores import (
    ARI_KMEANS,
    ARI_WARD,
    CONDITION,
    DESCRIPTORS,
    EMBEDDING,
    LOG_N,
    RANDOM,
    Label,
    Representation,
    agreement_scores,
    elbow_scores,
    labels_of_scores,
    note_of,
    number_of_clusters,
)
from smlmbatch.analyse.results import EmbeddingCluster, EmbeddingDistance, EmbeddingFlag, EmbeddingScore
from smlmbatch.analyse.statistics import MOST_CONDITIONS
from smlmbatch.config import Config
from smlmbatch.methods.contrastive.infer import embed_counts

if TYPE_CHECKING:
    import pyarrow as pa

_SIGNIFICANT: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyResult:
    """What was found of one family; the first four for its rows, -1 or NaN where there is none; `is_umap` says how places were found."""

    kmeans: NDArray[np.int32]
    ward: NDArray[np.int32]
    axis_1: NDArray[np.float64]
    place: NDArray[np.float32]
    is_umap: bool
    scores: tuple[EmbeddingScore, ...]
    clusters: tuple[EmbeddingCluster, ...]
    distances: tuple[EmbeddingDistance, ...]
    flags: tuple[EmbeddingFlag, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a family's analysis is made of.

    Attributes
    ----------
    rois : all of the campaign
    family : those looked at
    rasters : (s, h, w) of the rows in `sample`, or None where there is no network to embed them again
    sample : (s,) rows of the family that enter normalisations, baselines and Ward's method
    orders : columns of the sheet that state an order, with each row's value
    """

    rois: EmbeddedRois
    family: Family
    rasters: NDArray[np.integer] | None
    sample: NDArray[np.intp]
    embedder: Embedder | None
    orders: Sequence[tuple[Order, NDArray[np.object_]]] = ()

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(m, f) of the family; no copy where it is the whole campaign."""
        rows = self.family.rows
        return self.rois.vectors if len(rows) == len(self.rois) else self.rois.vectors[rows]

    @property
    def sampled(self) -> "pa.Table":
        """Rows of the table of ROIs that were drawn."""
        return self.rois.rows.take(self.family.rows[self.sample])

    def places(self) -> list[Place]:
        rows = self.sampled.select(["key", "roi", "channel"]).to_pylist()
        return [Place(row["key"], row["roi"], row["channel"]) for row in rows]


def draw_sample(family: Family, *, config: Config) -> NDArray[np.intp]:
    """Rows of the family that enter what takes long, drawn evenly over conditions."""
    return draw_evenly(family.code, config.embeddings.max_rois, generator(config.embeddings.seed, SAMPLE, family.channel))


def analyse_family(material: Material, *, config: Config) -> FamilyResult:
    """Clusters, axis, map, scores and distances of one family."""
    family, vectors = material.family, material.vectors
    seed = config.embeddings.seed
    n_locs = material.rois.settings.n_locs
    elbows, bend = elbow_scores(vectors[material.sample], channel=family.channel, n_locs=n_locs, seed=seed)
    kmeans, of_kmeans = _k_means(family, vectors, bend, config=config)
    place, of_map = _map(family, vectors, config=config)
    axis_1 = leading_axis(vectors)
    of_order, order_flags = _orders(material, axis_1, config=config)
    far, of_distances = _distances(family, vectors, config=config)
    others = [*_baselines(material, config=config), *_at_equal_numbers(material, config=config)] if len(vectors) else []
    agreement = _agreement(material, vectors, others, config=config)
    scores = [*agreement, *elbows, *of_order, *_accuracies(material, vectors, others, config=config)]
    return FamilyResult(
        kmeans=kmeans,
        ward=_ward(material, vectors, bend, config=config),
        axis_1=axis_1,
        place=place,
        is_umap=bool(len(vectors)) and not of_map,
        scores=tuple(scores),
        clusters=tuple(_cluster_rows(family, kmeans)),
        distances=tuple(far),
        flags=(*of_kmeans, *of_map, *order_flags, *of_distances),
    )


# ---- clusters


def _clusters_wanted(family: Family, bend: int, *, config: Config) -> int:
    """As many as conditions; with one condition as many as the bend says."""
    if len(family.names) == 1 and not config.embeddings.clusters:
        return bend
    return number_of_clusters(len(family.names), config=config.embeddings)


def _k_means(family: Family, vectors: NDArray[np.float32], bend: int, *, config: Config) -> tuple[NDArray[np.int32], list[EmbeddingFlag]]:
    k = _clusters_wanted(family, bend, config=config)
    why = "" if not len(vectors) else not_clustered(vectors, k) if k else f"more than {MOST_CONDITIONS} conditions"
    if why or not len(vectors):
        mend = "Set embeddings.clusters." if not k and len(family.names) > 1 else ""
        text = f"No clusters were sought: {why}. {mend}".strip()
        return np.full(len(vectors), -1, np.int32), [_few(family, text)] if why and len(family.names) != 1 else []
    seed = seed_of(config.embeddings.seed, KMEANS, family.channel, CONDITION)
    return k_means(vectors, k, seed=seed, code=family.code).cluster, []


def _ward(material: Material, vectors: NDArray[np.float32], bend: int, *, config: Config) -> NDArray[np.int32]:
    found = np.full(len(vectors), -1, np.int32)
    k = _clusters_wanted(material.family, bend, config=config)
    own = vectors[material.sample]
    if not not_clustered(own, k):
        found[material.sample] = ward(own, k)
    return found


def _cluster_rows(family: Family, kmeans: NDArray[np.int32]) -> list[EmbeddingCluster]:
    """Composition of each cluster, all conditions of it."""
    if not (kmeans >= 0).any():
        return []
    table = contingency(family.code, kmeans)
    of_cluster, entropy = table.sum(axis=0), entropies(table)
    return [
        EmbeddingCluster(
            channel=family.channel,
            cluster=cluster,
            condition=name,
            n=int(table[i, cluster]),
            n_cluster=int(of_cluster[cluster]),
            n_condition=int(table[i].sum()),
            entropy=float(entropy[cluster]),
        )
        for cluster in range(table.shape[1])
        for i, name in enumerate(family.names)
    ]


# ---- map, distances, order


def _map(family: Family, vectors: NDArray[np.float32], *, config: Config) -> tuple[NDArray[np.float32], list[EmbeddingFlag]]:
    settings = config.embeddings
    rows = draw_evenly(family.code, settings.map_rois, generator(settings.seed, MAP, family.channel))
    place = np.full((len(vectors), 2), np.nan, np.float32)
    if not len(rows):
        return place, []
    drawn = draw_map(vectors[rows], seed=seed_of(settings.seed, MAP, family.channel))
    place[rows] = drawn.place
    if drawn.manner == "UMAP":
        return place, []
    return place, [_few(family, f"Fewer than {LEAST_ROIS} different ROIs: the map shows the two leading principal axes instead of UMAP.")]


def _distances(family: Family, vectors: NDArray[np.float32], *, config: Config) -> tuple[list[EmbeddingDistance], list[EmbeddingFlag]]:
    if len(family.names) > MOST_CONDITIONS:
        text = f"{len(family.names)} conditions are more than {MOST_CONDITIONS}: their distances are not listed. Name fewer conditions."
        return [], [_few(family, text)]
    replicate = np.unique(family.replicate, return_inverse=True)[1].reshape(-1) if len(vectors) else np.empty(0, np.intp)
    own = {name: np.flatnonzero(family.code == i) for i, name in enumerate(family.names)}
    centres = {name: centre_of(vectors[rows], replicate[rows]) for name, rows in own.items()}
    settings = config.embeddings
    return distances(centres, channel=family.channel, draws=settings.bootstrap, seed=settings.seed), []


def _orders(material: Material, axis_1: NDArray[np.float64], *, config: Config) -> tuple[list[EmbeddingScore], list[EmbeddingFlag]]:
    """Whether the leading axis follows the order that conditions' names or columns of the sheet state."""
    family = material.family
    stated = list(material.orders)
    if order := order_of_names(family.names, reference=config.compare.reference):
        stated.insert(0, (order, family.condition))
    scores: list[EmbeddingScore] = []
    flags: list[EmbeddingFlag] = []
    replicate = np.unique(family.replicate, return_inverse=True)[1].reshape(-1) if len(axis_1) else np.empty(0, np.intp)
    known: list[NDArray[np.intp]] = []
    for order, values in stated:
        number = np.array([order.number.get(value, np.nan) for value in values.tolist()])
        rows = np.flatnonzero(np.isfinite(number))
        ranks = np.unique(number, return_inverse=True)[1].reshape(-1)
        if len(np.unique(number[rows])) < 2 or any(np.array_equal(ranks, others) for others in known):
            continue  # nothing to order, or in the order of names already ("5 nM" and a column dose)
        known.append(ranks)
        rng = generator(config.embeddings.seed, ORDER, family.channel, order.name)
        found = follow(axis_1[rows], number[rows], replicate[rows], rng=rng)
        scores += _order_scores(family, order, found, number[rows], n_locs=material.rois.settings.n_locs)
        flags.append(_order_flag(family, order, found))
    return scores, flags


def _order_scores(family: Family, order: Order, found: OrderFound, number: NDArray[np.float64], *, n_locs: int) -> list[EmbeddingScore]:
    # expected |rank correlation| of unrelated values, by its variance 1 / (n - 1)
    chance = float(np.sqrt(2.0 / np.pi / (found.n_replicates - 1)))
    manner = "all arrangements" if found.exact else "20,000 arrangements drawn"
    p = f"{p_text(found.p)} by permutation of {found.n_replicates} replicates ({manner})" if np.isfinite(found.p) else "nothing varies"
    values = {"Spearman ROIs": (found.of_rois, np.nan, ""), "Spearman replicates": (found.of_replicates, chance, p)}
    return [
        EmbeddingScore(
            channel=family.channel,
            label=f"order of {order.name}",
            representation=EMBEDDING,
            n_locs=n_locs,
            measure=measure,
            value=value,
            low=np.nan,
            high=np.nan,
            repeats=1,
            repeat_sd=np.nan,
            groups=len(np.unique(number)),
            k=0,
            n_rois=len(number),
            n_lost=0,
            chance=by_chance,
            note=note,
        )
        for measure, (value, by_chance, note) in values.items()
    ]


def _order_flag(family: Family, order: Order, found: OrderFound) -> EmbeddingFlag:
    what = "the numbers in conditions' names" if order.name == NAMES_ORDER else f"the numbers in column {order.name}"
    about = "rank correlation of the leading axis with these"
    if not np.isfinite(found.p):
        return EmbeddingFlag(
            channel=family.channel, kind="order", light="grey", text=f"Nothing can be said of {what}: replicates don't vary."
        )
    size = f"{found.of_replicates:.2f} over {found.n_replicates} replicates, {p_text(found.p)}; {found.of_rois:.2f} over ROIs"
    if found.p < _SIGNIFICANT:
        return EmbeddingFlag(
            channel=family.channel, kind="order", light="green", text=f"Embeddings follow the order of {what} ({about}: {size})."
        )
    text = f"Embeddings don't follow the order of {what} beyond chance ({about}: {size})."
    return EmbeddingFlag(channel=family.channel, kind="order", light="grey", text=text)


# ---- scores


def _agreement(
    material: Material, vectors: NDArray[np.float32], others: Sequence[Representation], *, config: Config
) -> list[EmbeddingScore]:
    """Indices of the embedding, and of all it is held against."""
    family, sample = material.family, material.sample
    if not len(vectors):
        return []
    labels, n_locs = labels_of_scores(family.names, reference=config.compare.reference), material.rois.settings.n_locs
    whole = Representation(
        name=EMBEDDING, draws=[vectors], rows=np.arange(len(vectors)), code=family.code, names=family.names, n_locs=n_locs
    )
    on_sample = replace(whole, draws=[vectors[sample]], rows=sample, code=family.code[sample], note=_drawn(material))
    scores = _both(whole, labels, family, config, measures=(ARI_KMEANS,)) + _both(on_sample, labels, family, config, measures=(ARI_WARD,))
    for one in others:
        scores += _both(one, labels, family, config)
    return scores


def _drawn(material: Material) -> str:
    n, of = len(material.sample), len(material.family.rows)
    return "" if n == of else f"{n} of {of} ROIs, drawn evenly over conditions"


def _both(
    one: Representation, labels: Sequence[Label], family: Family, config: Config, *, measures: Sequence[str] = (ARI_KMEANS, ARI_WARD)
) -> list[EmbeddingScore]:
    return agreement_scores(one, labels, channel=family.channel, config=config.embeddings, measures=measures)


def _baselines(material: Material, *, config: Config) -> list[Representation]:
    """The number of locs alone, descriptors, the untrained network; of the ROIs drawn."""
    family, sample, n_locs = material.family, material.sample, material.rois.settings.n_locs
    described, undefined = descriptor_vectors(material.sampled)
    of_locs = Representation(
        name=LOG_N,
        draws=[log_n(material.rois.n_locs[family.rows[sample]])],
        rows=sample,
        code=family.code[sample],
        names=family.names,
        n_locs=n_locs,
        note=_drawn(material),
    )
    note = note_of(of_locs.note, undefined)
    found = [of_locs, replace(of_locs, name=DESCRIPTORS, draws=[described], n_locs=0, note=note)]
    if material.embedder is not None and material.rasters is not None:
        found.append(replace(of_locs, name=RANDOM, draws=[_untrained_vectors(material.embedder, material, config=config)]))
    return found


def _untrained_vectors(embedder: Embedder, material: Material, *, config: Config) -> NDArray[np.float32]:
    """The ROIs drawn by the untrained network, with as many locs as the units embedded."""
    assert material.rasters is not None
    n_locs = material.rois.settings.n_locs
    if not n_locs:
        return embed_counts(embedder.networks[RANDOM], material.rasters, turned=embedder.turned)
    seed = config.embeddings.seed
    drawn: NDArray[np.float32] = thinned_vectors(
        embedder, RANDOM, material.rasters, material.places(), n_locs=n_locs, repeats=1, seed=seed
    )[0]
    return drawn


def _at_equal_numbers(material: Material, *, config: Config) -> list[Representation]:
    """Embeddings of ROIs thinned to equal numbers of locs, trained and untrained."""
    if material.embedder is None or material.rasters is None or len(material.family.names) < 2:
        return []  # of one condition nothing can be told, and a draw takes as long as with two
    n_locs = material.rasters.sum(axis=(1, 2), dtype=np.int64)
    settings, found = config.embeddings, []
    family, places = material.family, material.places()
    code = family.code[material.sample]
    for n in equal_numbers(n_locs, code, wanted=settings.n_locs):
        if n == material.rois.settings.n_locs:  # embedded so from the start
            continue
        rows = np.flatnonzero(n_locs >= n)
        lost = tuple(np.bincount(code[n_locs < n], minlength=len(family.names)).tolist())
        for name, repeats in ((EMBEDDING, settings.repeats), (RANDOM, min(settings.repeats, RANDOM_REPEATS))):
            draws = thinned_vectors(
                material.embedder,
                name,
                material.rasters[rows],
                [places[row] for row in rows],
                n_locs=n,
                repeats=repeats,
                seed=settings.seed,
            )
            found.append(
                Representation(
                    name=name,
                    draws=list(draws),
                    rows=material.sample[rows],
                    code=code[rows],
                    names=family.names,
                    n_locs=n,
                    lost=lost,
                    note=_drawn(material),
                )
            )
    return found


def _accuracies(
    material: Material, vectors: NDArray[np.float32], others: Sequence[Representation], *, config: Config
) -> list[EmbeddingScore]:
    """How well conditions of replicates left out are told: ROIs in each representation, and means of cells."""
    family, channel = material.family, material.family.channel
    if not len(vectors):
        return []
    condition, replicate, seed = family.condition, family.replicate, config.embeddings.seed
    n_locs = material.rois.settings.n_locs
    scores = roi_scores(vectors, condition=condition, replicate=replicate, channel=channel, n_locs=n_locs, seed=seed)
    for one in (one for one in others if one.name != RANDOM or one.n_locs == n_locs):
        scores += roi_scores(
            one.draws[0],  # of several draws the first: folds take long
            condition=condition[one.rows],
            replicate=replicate[one.rows],
            channel=channel,
            representation=one.name,
            n_locs=one.n_locs,
            n_lost=sum(one.lost),
            seed=seed,
        )
    cell = cells_of(material)
    return [
        *scores,
        *cell_scores(vectors, cell=cell, condition=condition, replicate=replicate, channel=channel, n_locs=n_locs, seed=seed),
    ]


def cells_of(material: Material) -> NDArray[np.object_]:
    """A name of each ROI's cell that no other has."""
    rows = material.rois.rows.select(["key", "cell"]).take(material.family.rows)
    return np.array([f"{key}/{cell}" for key, cell in zip(rows["key"].to_pylist(), rows["cell"].to_pylist(), strict=True)], dtype=object)


def _few(family: Family, text: str) -> EmbeddingFlag:
    return EmbeddingFlag(channel=family.channel, kind="few", light="grey", text=text)
