"""The page's part on descriptors: strips, curves and numbers of each channel, and the same numbers as CSV files."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.compare import (
    ConditionMean,
    ReplicateMean,
    RipleyCurve,
    condition_means,
    described,
    natural_key,
    replicate_means,
)
from smlmbatch.report.figures import Curves, Look, Panel, Strip, draw_curves, draw_strips, look_of
from smlmbatch.report.page import Markup, breakable, element, join, table
from smlmbatch.report.wording import NONE, Title, count, counted, mean_and_sd, titles

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_DOTS = 400  # ROIs drawn of one condition
_DOTS, _JITTER = 1, 2  # what random draws are for: first number of their key
_CONDITIONS_ABREAST = 4
_COUNTS = "density, locs per ROI and clusters per ROI"  # `compare.COUNTED` in words


@dataclass(frozen=True, slots=True)
class Numbers:
    """All that this part shows, by condition, channel and replicate.

    Attributes
    ----------
    rois : kept ROIs, as `compare.described` gives them
    min_locs : fewest locs of a channel for the descriptors of its pattern
    n_sparse : kept ROIs with fewer, by condition and channel
    """

    rois: "pa.Table"
    replicates: Sequence[ReplicateMean]
    conditions: Sequence[ConditionMean]
    curves: Sequence[RipleyCurve]
    min_locs: int
    n_sparse: Mapping[tuple[str, int], int]

    @property
    def channels(self) -> list[int]:
        return sorted({c.channel for c in self.conditions})


def gather(rois: "pa.Table", curves: Sequence[RipleyCurve], *, min_locs: int) -> Numbers:
    """Means of the ROI table's descriptors."""
    import pyarrow.compute as pc

    kept = described(rois, min_locs=min_locs)
    replicates = replicate_means(rois, min_locs=min_locs)
    sparse = kept.filter(pc.field("n_locs") < min_locs).select(["condition", "channel"]).to_pydict()
    n_sparse = Counter(zip(sparse["condition"], sparse["channel"], strict=True))
    return Numbers(kept, replicates, condition_means(replicates), curves, min_locs, n_sparse)


def looks(numbers: Numbers) -> dict[str, Look]:
    """One look per condition, the same in every channel."""
    names = sorted({c.condition for c in numbers.conditions}, key=natural_key)
    return {name: look_of(i) for i, name in enumerate(names)}


def show_channel(numbers: Numbers, channel: int) -> Markup:
    """Key, strips, curves and numbers of one channel."""
    conditions = [c for c in numbers.conditions if c.channel == channel]
    names = list(dict.fromkeys(c.condition for c in conditions))
    shown = titles(c.descriptor for c in conditions)
    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(_JITTER, channel)))
    strips = draw_strips(_panels(numbers, channel, names, shown), rng=rng)
    drawn = _curves(numbers, channel, names)
    says = "Descriptors of each condition: ROIs as dots, replicate means as large markers. The numbers are in the table below."
    return join(
        [
            _key(names, conditions, looks(numbers)),
            element("figure", element("img", src=strips, alt=says, class_="plot"), _strip_caption(numbers.min_locs)),
            _show_curves(drawn, numbers.min_locs) if drawn else None,
            *_number_tables(conditions, names, shown),
            *_left_out(numbers, channel, names),
        ]
    )


def _key(names: Sequence[str], conditions: Sequence[ConditionMean], look: dict[str, Look]) -> Markup:
    said = []
    for name in names:
        members = [c for c in conditions if c.condition == name]
        most = max(members, key=lambda c: c.n_rois)
        text = f"{counted(most.n_replicates, 'replicate')}, {counted(most.n_fields, 'field')}, {counted(most.n_rois, 'ROI')}"
        swatch = element("span", look[name].letter, style=f"color:{look[name].colour}")
        said.append(element("div", swatch, " ", element("b", name), " ", element("span", text, class_="soft")))
    return element("div", *said, class_="key")


def _strip_caption(min_locs: int) -> Markup:
    text = (
        f"Small grey dots: ROIs (at most {_MOST_DOTS} drawn of a condition). Large markers: means of the replicates, each at its own "
        "height in all panels. Black line: mean of the replicates. Axes span 99 % of the ROIs and all replicates; dots beyond sit on "
        f"the edge. ROIs with fewer than {min_locs} locs of this channel are shown and averaged in {_COUNTS} only."
    )
    return element("figcaption", text)


# ---- strips


def _panels(numbers: Numbers, channel: int, names: Sequence[str], shown: dict[str, Title]) -> list[Panel]:
    rois = {name: _sample(numbers.rois, name, channel, list(shown), number=i) for i, name in enumerate(names)}
    means = {(c.condition, c.descriptor): c.mean for c in numbers.conditions if c.channel == channel}
    replicates: dict[tuple[str, str], list[float]] = {}
    for r in numbers.replicates:
        if r.channel == channel:
            replicates.setdefault((r.condition, r.descriptor), []).append(r.mean)
    look = looks(numbers)

    def strip(name: str, descriptor: str, title: Title) -> Strip:
        return Strip(
            label=name,
            look=look[name],
            rois=rois[name][descriptor] / title.divisor,
            replicates=np.array(replicates.get((name, descriptor), [])) / title.divisor,
            mean=means[name, descriptor] / title.divisor,
        )

    return [Panel(axis=str(title), strips=[strip(name, d, title) for name in names]) for d, title in shown.items()]


def _sample(rois: "pa.Table", condition: str, channel: int, descriptors: Sequence[str], *, number: int) -> dict[str, NDArray[np.float64]]:
    """Defined values of at most `_MOST_DOTS` ROIs, the same ROIs for every descriptor."""
    import pyarrow.compute as pc

    wanted = (pc.field("condition") == condition) & (pc.field("channel") == channel)
    members = rois.filter(wanted).select(descriptors)
    if len(members) > _MOST_DOTS:
        rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(_DOTS, channel, number)))
        members = members.take(np.sort(rng.choice(len(members), _MOST_DOTS, replace=False)))
    return {name: members[name].drop_null().to_numpy().astype(np.float64) for name in descriptors}


# ---- curves


def _curves(numbers: Numbers, channel: int, names: Sequence[str]) -> list[Curves]:
    look, found = looks(numbers), []
    for name in names:
        members = [c for c in numbers.curves if c.channel == channel and c.condition == name]
        if members:
            rows = np.array([c.l_minus_r_nm for c in members])
            found.append(Curves(label=name, look=look[name], radius_nm=members[0].radius_nm, replicates_nm=rows))
    return found


def _show_curves(curves: Sequence[Curves], min_locs: int) -> Markup:
    caption = (
        "Ripley's L(r) \u2212 r. Above 0: more neighbours within r than locs placed at random would have; the rise at small r holds "
        "repeated blinks of the same molecule too. Thick: mean over replicates; band: ± one standard deviation; thin: replicates. "
        f"ROIs with fewer than {min_locs} locs of this channel are left out."
    )
    image = element("img", src=draw_curves(curves), alt="Mean L(r) \u2212 r against r for each condition.", class_="plot")
    return element("figure", image, element("figcaption", caption))


# ---- numbers


def _number_tables(conditions: Sequence[ConditionMean], names: Sequence[str], shown: dict[str, Title]) -> list[Markup]:
    """A column per condition and, beside it, how many ROIs entered."""
    found = {(c.condition, c.descriptor): c for c in conditions}
    tables = []
    for first in range(0, len(names), _CONDITIONS_ABREAST):
        abreast = names[first : first + _CONDITIONS_ABREAST]
        rows = [[title.name, title.unit, *(cell for n in abreast for cell in _cells(found[n, d], title))] for d, title in shown.items()]
        for words, key in (("Replicates", "n_replicates"), ("Fields", "n_fields")):
            most = (max(getattr(found[name, d], key) for d in shown) for name in abreast)
            rows.append([words, "", *(cell for n in most for cell in (count(n), ""))])
        header = ["Mean ± SD over replicates", "Unit", *(cell for name in abreast for cell in (breakable(name), "n ROIs"))]
        tables.append(table(header, rows, numeric=range(2, len(header)), whole=(1,), class_="few"))
    return tables


def _cells(condition: ConditionMean, title: Title) -> tuple[Markup | str, Markup]:
    mean, sd = mean_and_sd(condition.mean / title.divisor, condition.sd / title.divisor, most=title.decimals)
    shown = mean if sd == NONE else join([mean, " ", element("span", f"± {sd}", class_="pm")])
    return shown, element("span", count(condition.n_rois), class_="pm")


def _left_out(numbers: Numbers, channel: int, names: Sequence[str]) -> list[Markup]:
    """What keeps ROIs out of a mean, with the number of ROIs of each condition."""
    entered = {(c.condition, c.descriptor): c.n_rois for c in numbers.conditions if c.channel == channel}
    all_of = {name: entered[name, "n_locs"] for name in names}
    curved = {name: entered[name, "ripley_max_nm"] for name in names}
    sparse = {name: numbers.n_sparse.get((name, channel), 0) for name in names}
    endless = {name: curved[name] - entered[name, "ripley_peak_nm"] for name in names}
    notes = (
        (f"Fewer than {numbers.min_locs} locs of this channel", sparse, all_of, f"They enter {_COUNTS} only."),
        ("No maximum of L(r) \u2212 r within the radii measured", endless, curved, "They do not enter the radius of that maximum."),
    )
    return [
        element("p", f"{what}: {', '.join(_share(name, n[name], of[name]) for name in names if n[name])}. {so}", class_="note")
        for what, n, of, so in notes
        if any(n.values())
    ]


def _share(name: str, n: int, of: int) -> str:
    return f"{count(n)} of {counted(of, 'ROI')} of {name}"


def csv_files(numbers: Numbers) -> dict[str, str]:
    """The numbers behind the plots: file name → CSV text, one row per condition, channel, replicate (and descriptor or radius)."""
    means = [(m.condition, m.channel, m.replicate, m.descriptor, m.n_fields, m.n_rois, m.mean) for m in numbers.replicates]
    curves = [
        (c.condition, c.channel, c.replicate, c.n_rois, f"{radius:g}", k, height)
        for c in numbers.curves
        for radius, k, height in zip(c.radius_nm.tolist(), c.k_nm2.tolist(), c.l_minus_r_nm.tolist(), strict=True)
    ]
    return {
        "replicates.csv": _csv(("condition", "channel", "replicate", "descriptor", "n_fields", "n_rois", "mean"), means),
        "ripley.csv": _csv(("condition", "channel", "replicate", "n_rois", "radius_nm", "k_nm2", "l_minus_r_nm"), curves),
    }


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
