"""The page's part on descriptors: strips, curves and numbers of each channel, and the same numbers as CSV files."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.compare import ConditionMean, ReplicateMean, RipleyCurve, condition_means, natural_key, replicate_means
from smlmbatch.report.figures import Curves, Look, Panel, Strip, draw_curves, draw_strips, look_of
from smlmbatch.report.page import Markup, element, join, table
from smlmbatch.report.wording import NONE, Title, count, counted, mean_and_sd, titles

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_DOTS = 400  # ROIs drawn of one condition
_DOTS, _JITTER = 1, 2  # what random draws are for: first number of their key
_CONDITIONS_ABREAST = 6


@dataclass(frozen=True, slots=True)
class Numbers:
    """All that this part shows, by condition, channel and replicate."""

    rois: "pa.Table"
    replicates: Sequence[ReplicateMean]
    conditions: Sequence[ConditionMean]
    curves: Sequence[RipleyCurve]

    @property
    def channels(self) -> list[int]:
        return sorted({c.channel for c in self.conditions})


def gather(rois: "pa.Table", curves: Sequence[RipleyCurve]) -> Numbers:
    """Means of the ROI table's descriptors."""
    replicates = replicate_means(rois)
    return Numbers(rois, replicates, condition_means(replicates), curves)


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
            element("figure", element("img", src=strips, alt=says, class_="plot"), _strip_caption()),
            _show_curves(drawn) if drawn else None,
            *_number_tables(conditions, names, shown),
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


def _strip_caption() -> Markup:
    text = (
        f"Small grey dots: ROIs (at most {_MOST_DOTS} drawn of a condition). Large markers: means of the replicates, each at its own "
        "height in all panels. Black line: mean of the replicates. Axes span 99 % of the ROIs and all replicates; dots beyond sit on "
        "the edge."
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
    """Defined values of at most `_MOST_DOTS` kept ROIs, the same ROIs for every descriptor."""
    import pyarrow.compute as pc

    wanted = pc.field("kept") & (pc.field("condition") == condition) & (pc.field("channel") == channel)
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


def _show_curves(curves: Sequence[Curves]) -> Markup:
    caption = (
        "Ripley's L(r) \u2212 r. Above 0: more neighbours within r than locs placed at random would have; the rise at small r holds "
        "repeated blinks of the same molecule too. Thick: mean over replicates; band: ± one standard deviation; thin: replicates."
    )
    image = element("img", src=draw_curves(curves), alt="Mean L(r) \u2212 r against r for each condition.", class_="plot")
    return element("figure", image, element("figcaption", caption))


# ---- numbers


def _number_tables(conditions: Sequence[ConditionMean], names: Sequence[str], shown: dict[str, Title]) -> list[Markup]:
    found = {(c.condition, c.descriptor): c for c in conditions}
    tables = []
    for first in range(0, len(names), _CONDITIONS_ABREAST):
        abreast = names[first : first + _CONDITIONS_ABREAST]
        rows = [[title.name, title.unit, *(_cell(found[name, d], title) for name in abreast)] for d, title in shown.items()]
        for words, key in (("Replicates", "n_replicates"), ("Fields", "n_fields"), ("ROIs", "n_rois")):
            most = (max(getattr(found[name, d], key) for d in shown) for name in abreast)
            rows.append([words, "", *map(count, most)])
        tables.append(table(["Mean ± SD over replicates", "Unit", *abreast], rows, numeric=range(2, 2 + len(abreast)), class_="few"))
    return tables


def _cell(condition: ConditionMean, title: Title) -> Markup | str:
    mean, sd = mean_and_sd(condition.mean / title.divisor, condition.sd / title.divisor)
    return mean if sd == NONE else join([mean, " ", element("span", f"± {sd}", class_="pm")])


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
