"""The map of ROIs as the page shows it: a dot each, its picture and where it comes from where the pointer rests.

Dots are drawn here, into an SVG that can be read and printed without the script; the script (`embedding_script`) finds the dot next to
the pointer among the numbers that stand hidden beside the map, so thousands of dots need no handler of their own.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.compare import natural_key
from smlmbatch.report.embedding_data import Embedded
from smlmbatch.report.embedding_figures import Dots
from smlmbatch.report.embedding_pictures import Place, Sheet
from smlmbatch.report.figures import Look, look_of
from smlmbatch.report.page import Markup, element
from smlmbatch.report.wording import NONE, count, counted

WIDTH = 700.0  # of the map on the page, px
HEIGHTS = (380.0, 620.0)  # as high as its dots need within these
_MARGIN = 14.0
_RADII = ((600, 4.2), (2000, 3.2), (10**9, 2.4))  # up to so many dots: radius, px
_RAMP = 24  # shades of density
_NO_NAME = "(no condition)"
# Outline of a dot of radius 1 about 0, by the marker of its condition's look.
_SHAPES = {
    "o": lambda r: f"m{-r:g} 0a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0z",
    "D": lambda r: f"m0 {-1.25 * r:g}l{1.25 * r:g} {1.25 * r:g}l{-1.25 * r:g} {1.25 * r:g}l{-1.25 * r:g} {-1.25 * r:g}z",
    "^": lambda r: f"m0 {-1.2 * r:g}l{1.25 * r:g} {2.2 * r:g}h{-2.5 * r:g}z",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRows:
    """ROIs that have a place on the map, in the table's order.

    Attributes
    ----------
    x, y : (n,) f8, places
    columns : column of embeddings.parquet → its values
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def conditions(self) -> list[str]:
        """Condition of each ROI."""
        return [_NO_NAME if name is None else name for name in self.columns["condition"]]

    @property
    def places(self) -> list[Place]:
        """Field's key, ROI and channel of each."""
        return list(zip(*(self.columns[name] for name in ("key", "roi", "channel")), strict=True))


@dataclass(frozen=True, slots=True)
class _Paint:
    """One way to colour the map: group of each dot; name, colour and shape (if it says more) of each group; `ramp`: words at both ends."""

    groups: Sequence[int]
    names: Sequence[str]
    colours: Sequence[str]
    ramp: bool = False
    marks: Sequence[str] = ()


def map_rows(part: Embedded) -> MapRows:
    """ROIs of one channel that are on its map."""
    import pyarrow.compute as pc

    rows = part.rows.filter(pc.field("map_x").is_valid() & pc.field("map_y").is_valid())
    names = ("key", "field", "condition", "replicate", "channel", "roi", "n_locs", "kmeans")
    return MapRows(
        x=rows["map_x"].to_numpy().astype(np.float64),
        y=rows["map_y"].to_numpy().astype(np.float64),
        columns={name: rows[name].to_pylist() for name in names},
    )


def static_dots(rows: MapRows, looks: Mapping[str, Look]) -> Dots:
    """The same for a plot."""
    names = _present(rows.conditions, looks)
    number = {name: i for i, name in enumerate(names)}
    condition = np.array([number[name] for name in rows.conditions], dtype=np.int64)
    return Dots(x=rows.x, y=rows.y, condition=condition, looks=[_look(name, looks) for name in names], labels=names)


def shapes_differ(rows: MapRows, looks: Mapping[str, Look]) -> bool:
    """Whether conditions are told apart by the shape of their dots: where colours don't suffice."""
    return len({_look(name, looks).marker for name in set(rows.conditions)}) > 1


def show_map(rows: MapRows, sheet: Sheet, *, looks: Mapping[str, Look], label: str, suffix: str) -> Markup:
    """Map, card for the dot that is pointed at, and the numbers behind them.

    Parameters
    ----------
    label : what a screen reader says
    suffix : of ids, where there are several maps
    """
    height = map_height(rows.x, rows.y)
    x_px, y_px = _to_px(rows.x, rows.y, height)
    conditions = rows.conditions
    order = np.random.default_rng(0).permutation(len(rows)).tolist()  # so that no condition lies above another
    radius = next(r for most, r in _RADII if len(rows) <= most)
    shapes = {name: _SHAPES[_look(name, looks).marker](radius) for name in set(conditions)}
    dots = [
        element("path", d=f"M{x_px[i]:.1f} {y_px[i]:.1f}{shapes[conditions[i]]}", fill=_look(conditions[i], looks).colour) for i in order
    ]
    numbers = _numbers(rows, order, x_px, y_px, sheet, looks)
    svg = element(
        "svg",
        element("g", *dots, class_="dots"),
        viewbox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_label=label,
        class_="map",
    )
    names = _present(conditions, looks)
    key = element("div", *(_key_entry(name, conditions.count(name), looks) for name in names), class_="key mapkey")
    card = element("div", class_="card", aria_live="polite")
    hidden = element("pre", json.dumps(numbers, separators=(",", ":"), ensure_ascii=False), hidden="", class_="numbers")
    plate = element("div", svg, element("div", class_="ring"), class_="plate")
    return element("div", element("div", key, plate), card, hidden, class_="mapped", id=f"map{suffix}")


def _key_entry(name: str, n: int, looks: Mapping[str, Look]) -> Markup:
    look = _look(name, looks)
    return element("div", element("span", look.letter, style=f"color:{look.colour}"), f" {name} ", element("span", count(n), class_="soft"))


def _present(conditions: Sequence[str], looks: Mapping[str, Look]) -> list[str]:
    """Conditions there are, in the order of the page."""
    own = set(conditions)
    return [name for name in looks if name in own] + sorted(own - set(looks), key=natural_key)


def _look(name: str, looks: Mapping[str, Look]) -> Look:
    return looks[name] if name in looks else look_of(6)


def map_height(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Height of the drawing in which the dots fill its width."""
    wide, high = (float(np.ptp(v)) if len(v) else 0.0 for v in (x, y))
    return round(float(np.clip((WIDTH - 2 * _MARGIN) * high / wide + 2 * _MARGIN if wide else HEIGHTS[1], *HEIGHTS)))


def _to_px(x: NDArray[np.float64], y: NDArray[np.float64], height: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Into the drawing, one scale for both axes, y upward."""
    if not len(x):
        return x, y
    span = max(float(np.ptp(x)) / (WIDTH - 2 * _MARGIN), float(np.ptp(y)) / (height - 2 * _MARGIN)) or 1.0
    middle_x, middle_y = (float(v.min() + v.max()) / 2 for v in (x, y))
    return WIDTH / 2 + (x - middle_x) / span, height / 2 - (y - middle_y) / span


# ---- what the script reads


def _numbers(
    rows: MapRows, order: Sequence[int], x_px: NDArray[np.float64], y_px: NDArray[np.float64], sheet: Sheet, looks: Mapping[str, Look]
) -> dict[str, Any]:
    """All columns in the order of the dots; texts once, and their numbers."""
    columns, places = rows.columns, rows.places
    fields = list(dict.fromkeys(zip(columns["key"], columns["field"], strict=True)))
    number = {key: i for i, (key, _) in enumerate(fields)}
    paints = {name: make(rows, looks) for name, make in _PAINTS.items()}
    return {
        "x": [round(float(x_px[i]), 1) for i in order],
        "y": [round(float(y_px[i]), 1) for i in order],
        "fields": [list(field) for field in fields],
        "field": [number[columns["key"][i]] for i in order],
        "roi": [columns["roi"][i] for i in order],
        "locs": [columns["n_locs"][i] for i in order],
        "picture": [sheet.number.get(places[i], -1) for i in order],
        "side": sheet.side_px,
        "abreast": sheet.abreast,
        "paints": {
            name: {
                "groups": [paint.groups[i] for i in order],
                **{part: getattr(paint, part) for part in ("names", "colours", "marks", "ramp")},
            }
            for name, paint in paints.items()
            if len(paint.names) > 1 or name in ("condition", "density")
        },
    }


def _by_condition(rows: MapRows, looks: Mapping[str, Look]) -> _Paint:
    names = _present(rows.conditions, looks)
    number = {name: i for i, name in enumerate(names)}
    marks = [_look(name, looks).letter for name in names] if shapes_differ(rows, looks) else []
    return _Paint([number[name] for name in rows.conditions], names, [_look(name, looks).colour for name in names], marks=marks)


def _by_replicate(rows: MapRows, looks: Mapping[str, Look]) -> _Paint:
    """Replicates of each condition; those that conditions share keep one colour."""
    pairs = list(zip(rows.conditions, rows.columns["replicate"], strict=True))
    order = {name: i for i, name in enumerate(_present(rows.conditions, looks))}
    groups = sorted(set(pairs), key=lambda pair: (order[pair[0]], natural_key(pair[1])))
    shared = len({replicate for _, replicate in groups}) < len(groups)
    names = sorted({replicate for _, replicate in groups}, key=natural_key)
    within: dict[str, int] = {}
    colours = []
    for condition, replicate in groups:
        place = within[condition] = within.get(condition, -1) + 1
        colours.append(look_of(names.index(replicate) if shared else place).colour)
    number = {pair: i for i, pair in enumerate(groups)}
    return _Paint([number[pair] for pair in pairs], [f"{condition}, {replicate}" for condition, replicate in groups], colours)


def _by_cluster(rows: MapRows, looks: Mapping[str, Look]) -> _Paint:
    found = sorted({c for c in rows.columns["kmeans"] if c is not None})
    number = {cluster: i for i, cluster in enumerate(found)}
    none = len(found)
    lacking = any(c is None for c in rows.columns["kmeans"])
    names = [f"cluster {cluster}" for cluster in found] + ["no cluster"] * lacking
    return _Paint(
        [number.get(c, none) for c in rows.columns["kmeans"]],
        names,
        [look_of(i).colour for i in range(len(found))] + ["#b8c0c8"] * lacking,
    )


def _by_density(rows: MapRows, looks: Mapping[str, Look]) -> _Paint:
    """The logarithm of the locs, from its 1st to its 99th percentile."""
    import matplotlib

    n_locs = rows.columns["n_locs"]
    if len(set(n_locs)) == 1:
        return _Paint([0] * len(n_locs), [f"{counted(n_locs[0], 'loc')} each"], [look_of(0).colour])
    log_n = np.log10(np.maximum(np.array(n_locs, dtype=np.float64), 1.0))
    low, high = np.percentile(log_n, [1, 99]) if len(log_n) else (0.0, 1.0)
    level = np.clip((log_n - low) / ((high - low) or 1.0), 0.0, 1.0)
    ramp = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.97, _RAMP))
    colours = [matplotlib.colors.to_hex(colour) for colour in ramp]
    ends = [f"{count(round(10**low))} locs or fewer", f"{count(round(10**high))} locs or more"]
    names = [ends[0], *[""] * (_RAMP - 2), ends[1]] if math.isfinite(low) else [NONE] * _RAMP
    return _Paint(np.round(level * (_RAMP - 1)).astype(int).tolist(), names, colours, ramp=True)


_PAINTS = {"condition": _by_condition, "replicate": _by_replicate, "cluster": _by_cluster, "density": _by_density}
