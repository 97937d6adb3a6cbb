"""Superplots: one figure per descriptor, ROIs small, means of replicates large (Lord et al., J Cell Biol 219, e202001064, 2020)."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.compare import ReplicateMean
from smlmbatch.report.figures import Look, Panel, Strip, draw_superplot
from smlmbatch.report.gallery import Gallery, csv_text
from smlmbatch.report.numbers import Numbers, file_suffix, most_dots
from smlmbatch.report.page import Markup, element, join
from smlmbatch.report.wording import NONE, Title, p_said, rounded

if TYPE_CHECKING:
    import pyarrow as pa

_JITTER = 2  # what a random draw is for: first number of its key
_NO_CHANNEL = 255  # stands in keys where channels are part of the condition; no field has so many


def show_superplots(numbers: Numbers, channel: int | None, shown: Mapping[str, Title], *, gallery: Gallery) -> Markup:
    """One figure per descriptor of one channel, three abreast, and how to read them."""
    members = [r for r in numbers.replicates if r.channel == channel]
    names = [name for name in numbers.names if any(r.condition == name for r in members)]
    by_group: dict[tuple[str, str], list[ReplicateMean]] = {}
    for r in members:
        by_group.setdefault((r.condition, r.descriptor), []).append(r)
    means = {(c.condition, c.descriptor): c.mean for c in numbers.conditions if c.channel == channel}
    figures = []
    for i, (descriptor, title) in enumerate(shown.items()):
        strips = [
            _strip(
                by_group[name, descriptor], numbers.sampled[name, channel], title, look=numbers.looks[name], mean=means[name, descriptor]
            )
            for name in names
        ]
        rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(_JITTER, _NO_CHANNEL if channel is None else channel, i)))
        figures.append(
            gallery.show(
                f"{descriptor}{file_suffix(channel)}",
                draw_superplot(Panel(axis=str(title), strips=strips, joined=numbers.paired), rng=rng),
                numbers=_panel_csv(strips, title),
                alt=f"{title.name} of each condition: {numbers.single}s as dots, means of replicates as large markers.",
                caption=_caption(numbers, channel, descriptor),
            )
        )
    return join([element("p", _how_to_read(numbers), class_="note"), element("div", *figures, class_="superplots")])


def _how_to_read(numbers: Numbers) -> str:
    most = most_dots(len(numbers.sampled))
    joined = " Thin lines join what was paired." if numbers.paired else ""
    own = f"{numbers.single}s"
    return (
        f"Each replicate has its own lane: small grey dots are its {own} (at most {most} drawn of a condition), the large marker is "
        f"their mean. Black line: mean of the replicates.{joined} Axes span 99 % of the {own} and all replicates; dots beyond sit on "
        f"the edge.{_sparse_said(numbers)}"
    )


def _sparse_said(numbers: Numbers) -> str:
    """What too few locs keep out of means."""
    if numbers.min_locs <= 1:
        return ""
    return f" {numbers.single}s with fewer than {numbers.min_locs} locs of a channel are shown and averaged in {numbers.counts} only."


def _caption(numbers: Numbers, channel: int | None, descriptor: str) -> str:
    """What came out, where two conditions are compared; the descriptor's name stands at the axis."""
    found = [c for c in numbers.comparisons if (c.channel, c.descriptor) == (channel, descriptor)]
    if len(found) != 1 or not math.isfinite(found[0].p_family):
        return ""
    times = rounded(found[0].ratio, found[0].ratio_low, found[0].ratio_high)[0]
    return (f"{times} times, " if times != NONE else "") + f"corrected {p_said(found[0].p_family)}."


# ---- what is drawn


def _strip(replicates: Sequence[ReplicateMean], sampled: "pa.Table", title: Title, *, look: Look, mean: float) -> Strip:
    """One condition; replicates that stand in several blocks have a lane in each."""
    lane = {(r.replicate, r.block): i for i, r in enumerate(replicates)}
    blocks = sampled["block"].to_pylist() if "block" in sampled.column_names else [None] * len(sampled)
    lanes = np.array([lane[key] for key in zip(sampled["replicate"].to_pylist(), blocks, strict=True)], dtype=np.int64)
    values: NDArray[np.float64] = sampled[replicates[0].descriptor].to_numpy().astype(np.float64)  # null becomes NaN
    defined = np.isfinite(values)
    return Strip(
        label=replicates[0].condition,
        look=look,
        rois=values[defined] / title.divisor,
        lanes=lanes[defined],
        replicates=np.array([r.mean for r in replicates], dtype=np.float64) / title.divisor,
        names=[r.replicate for r in replicates],
        blocks=[r.block for r in replicates],
        mean=mean / title.divisor,
    )


def _panel_csv(strips: Sequence[Strip], title: Title) -> str:
    """What one superplot shows: its dots, its replicates' means, its conditions' means."""
    rows: list[tuple[object, ...]] = []
    for strip in strips:
        rows += [("roi", strip.label, strip.names[lane], value) for lane, value in zip(strip.lanes, strip.rois.tolist(), strict=True)]
        rows += [("replicate", strip.label, name, value) for name, value in zip(strip.names, strip.replicates.tolist(), strict=True)]
        rows.append(("condition", strip.label, "", strip.mean))
    return csv_text(("level", "condition", "replicate", f"{title.name} ({title.unit})"), rows)
