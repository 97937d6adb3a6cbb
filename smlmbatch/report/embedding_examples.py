"""ROIs to look at: for each condition and each cluster those next to its centre in the embedding, of different fields where there are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.report.embedding_data import Embedded, codes, vectors_of
from smlmbatch.report.embedding_pictures import Place, examples
from smlmbatch.report.figures import Look
from smlmbatch.report.page import Markup, breakable, element, join
from smlmbatch.report.wording import count, counted, length
from smlmbatch.work import FieldResult

_EACH = 4  # pictures of a group
_MOST_CONDITIONS, _MOST_CLUSTERS = 20, 12
_SHOWN_PX = "150"


@dataclass(frozen=True, slots=True)
class Group:
    """A condition or a cluster, and the rows next to its centre, nearest first."""

    title: str
    look: Look | None
    size: int
    rows: Sequence[int]


def show_examples(part: Embedded, results: Mapping[str, FieldResult], *, looks: Mapping[str, Look], side_nm: float) -> Markup:
    """Pictures of the ROIs nearest to each centre, conditions first, then clusters; each `side_nm` wide, with a scale bar."""
    vectors = vectors_of(part)
    parts = (
        ("Nearest to each condition\u2019s centre", list(_of_conditions(part, vectors, looks))),
        ("Nearest to each cluster\u2019s centre", list(_of_clusters(part, vectors))),
    )
    wanted = sorted({i for _, groups in parts for group in groups for i in group.rows})
    shots = dict(zip(wanted, part.rows.select(_SHOWN).take(wanted).to_pylist(), strict=True)) if wanted else {}
    pictures = examples(results, [_place(shot) for shot in shots.values()])
    note = element(
        "p",
        "The typical, not the best: nobody has picked them, and one field gives one picture where there are enough. White bar: "
        f"{length(_bar_nm(side_nm))}. All pictures have one brightness scale (the logarithm of the number of locs), so dense ROIs look "
        "denser.",
        class_="note",
    )
    shown: list[Markup | None] = [note]
    for title, groups in parts:
        if groups:
            shown += [element("h4", title), *(_row(group, shots, pictures, bar=_bar_nm(side_nm) / side_nm) for group in groups)]
    return join(shown)


_SHOWN = ["key", "field", "condition", "channel", "roi", "n_locs"]


def _bar_nm(side_nm: float) -> float:
    """Length of the scale bar: the longest round one of at most 0.4 of the side.

    >>> _bar_nm(3000.0), _bar_nm(1000.0), _bar_nm(5000.0)
    (1000.0, 200.0, 2000.0)
    """
    return float(max(step * 10.0**power for power in range(6) for step in (1, 2, 5) if step * 10.0**power <= 0.4 * max(side_nm, 10.0)))


def _place(shot: Mapping[str, Any]) -> Place:
    return shot["key"], shot["roi"], shot["channel"]


def _of_conditions(part: Embedded, vectors: NDArray[np.float32], looks: Mapping[str, Look]) -> Iterator[Group]:
    """The centre is the mean of the replicates' means, as for distances."""
    (condition, names), (replicate, _), (key, _) = (codes(part, name) for name in ("condition", "replicate", "key"))
    for name in [name for name in looks if name in names][:_MOST_CONDITIONS]:
        rows = np.flatnonzero(condition == names.index(name))
        own = replicate[rows]
        centre = np.mean([vectors[rows[own == one]].mean(axis=0, dtype=np.float64) for one in np.unique(own)], axis=0)
        yield Group(name, looks[name], len(rows), _nearest(rows, vectors, centre, key))


def _of_clusters(part: Embedded, vectors: NDArray[np.float32]) -> Iterator[Group]:
    cluster = part.rows["kmeans"].fill_null(-1).to_numpy()
    key, _ = codes(part, "key")
    for number in [n for n in np.unique(cluster).tolist() if n >= 0][:_MOST_CLUSTERS]:
        rows = np.flatnonzero(cluster == number)
        yield Group(f"Cluster {number}", None, len(rows), _nearest(rows, vectors, vectors[rows].mean(axis=0, dtype=np.float64), key))


def _nearest(rows: NDArray[np.intp], vectors: NDArray[np.float32], centre: NDArray[np.float64], key: NDArray[np.int64]) -> list[int]:
    """Rows next to a place; among the nearest quarter, one of each field first: beyond, another field's would be no typical one."""
    far = ((vectors[rows] - centre) ** 2).sum(axis=1)
    ordered = rows[np.lexsort((rows, far))][: max(_EACH, -(-len(rows) // 4))]
    first = np.sort(np.unique(key[ordered], return_index=True)[1])[:_EACH]  # where each field comes up for the first time
    others = np.setdiff1d(np.arange(min(len(ordered), 2 * _EACH)), first)[: _EACH - len(first)]
    chosen: list[int] = ordered[np.sort(np.concatenate([first, others]))].tolist()
    return chosen


def _row(group: Group, shots: Mapping[int, Mapping[str, Any]], pictures: Mapping[Place, str], *, bar: float) -> Markup:
    mark = element("span", f"{group.look.letter} ", style=f"color:{group.look.colour}") if group.look else None
    head = element("div", element("p", element("b", mark, breakable(group.title))), element("p", counted(group.size, "ROI"), class_="soft"))
    return element(
        "div",
        head,
        element("div", *(_shot(shots[i], pictures[_place(shots[i])], bar=bar) for i in group.rows), class_="shots"),
        class_="near",
    )


def _shot(shot: Mapping[str, Any], picture: str, *, bar: float) -> Markup:
    name = f"ROI {shot['roi']}"
    image = element("img", src=picture, alt=f"{name} of {shot['field']}", width=_SHOWN_PX, height=_SHOWN_PX)
    link = element("a", breakable(shot["field"]), href=f"fields/{shot['key']}.html")
    lines = [
        f", ROI\u00a0{shot['roi']}",
        element("br"),
        breakable(shot["condition"] or "no condition"),
        element("br"),
        f"{count(shot['n_locs'])} locs",
    ]
    scale = element("span", class_="bar", style=f"width:{100 * bar:.4g}%")
    return element("figure", image, scale, element("figcaption", link, *lines))
