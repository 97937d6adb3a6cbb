"""The page's part on descriptors: superplots, curves and numbers of each channel."""

from collections.abc import Mapping, Sequence

import numpy as np

from smlmbatch.analyse.compare import ConditionMean
from smlmbatch.report.figures import Curves, Look, draw_curves
from smlmbatch.report.gallery import Gallery, csv_text
from smlmbatch.report.numbers import COUNTS, Numbers, file_suffix
from smlmbatch.report.page import Markup, breakable, element, join, table
from smlmbatch.report.superplots import show_superplots
from smlmbatch.report.wording import NONE, Title, count, counted, mean_and_sd, titles

_CONDITIONS_ABREAST = 4


def show_channel(numbers: Numbers, channel: int | None, *, gallery: Gallery) -> Markup:
    """Key, superplots, curves and numbers of one channel."""
    conditions = [c for c in numbers.conditions if c.channel == channel]
    names = list(dict.fromkeys(c.condition for c in conditions))
    shown = titles(c.descriptor for c in conditions)
    return join(
        [
            condition_key(names, conditions, numbers.looks),
            show_superplots(numbers, channel, shown, gallery=gallery),
            _show_curves(numbers, channel, names, gallery=gallery),
            *number_tables(conditions, names, shown),
            *_left_out(numbers, channel, names),
        ]
    )


def condition_key(names: Sequence[str], conditions: Sequence[ConditionMean], look: Mapping[str, Look], *, single: str = "ROI") -> Markup:
    """How each condition is drawn, and how much there is of it."""
    said = []
    for name in names:
        members = [c for c in conditions if c.condition == name]
        most = max(members, key=lambda c: c.n_rois)
        text = f"{counted(most.n_replicates, 'replicate')}, {counted(most.n_fields, 'field')}, {counted(most.n_rois, single)}"
        swatch = element("span", look[name].letter, style=f"color:{look[name].colour}")
        said.append(element("div", swatch, " ", element("b", breakable(name)), " ", element("span", text, class_="soft")))
    return element("div", *said, class_="key")


# ---- curves


def _show_curves(numbers: Numbers, channel: int | None, names: Sequence[str], *, gallery: Gallery) -> Markup | None:
    found = []
    for name in names:
        members = [c for c in numbers.curves if c.channel == channel and c.condition == name]
        if members:
            rows = np.array([c.l_minus_r_nm for c in members])
            found.append(Curves(label=name, look=numbers.looks[name], radius_nm=members[0].radius_nm, replicates_nm=rows))
    if not found:
        return None
    caption = (
        "Ripley's L(r) \u2212 r. Above 0: more neighbours within r than locs placed at random would have; the rise at small r holds "
        "repeated blinks of the same molecule too. Thick: mean over replicates; band: ± one standard deviation; thin: replicates. "
        f"ROIs with fewer than {numbers.min_locs} locs of this channel are left out."
    )
    return gallery.show(
        f"ripley{file_suffix(channel)}",
        draw_curves(found),
        numbers=_curves_csv(numbers, channel),
        alt="Mean L(r) \u2212 r against r for each condition.",
        caption=caption,
    )


def _curves_csv(numbers: Numbers, channel: int | None) -> str:
    rows = [
        (c.condition, c.channel, c.replicate, c.n_rois, f"{radius:g}", k, height)
        for c in numbers.curves
        if c.channel == channel
        for radius, k, height in zip(c.radius_nm.tolist(), c.k_nm2.tolist(), c.l_minus_r_nm.tolist(), strict=True)
    ]
    return csv_text(("condition", "channel", "replicate", "n_rois", "radius_nm", "k_nm2", "l_minus_r_nm"), rows)


# ---- numbers


def number_tables(conditions: Sequence[ConditionMean], names: Sequence[str], shown: dict[str, Title]) -> list[Markup]:
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


def _left_out(numbers: Numbers, channel: int | None, names: Sequence[str]) -> list[Markup]:
    """What keeps ROIs out of a mean, with the number of ROIs of each condition."""
    entered = {(c.condition, c.descriptor): c.n_rois for c in numbers.conditions if c.channel == channel}
    all_of = {name: entered[name, "n_locs"] for name in names}
    curved = {name: entered[name, "ripley_max_nm"] for name in names}
    sparse = {name: numbers.n_sparse.get((name, channel), 0) for name in names}
    endless = {name: curved[name] - entered[name, "ripley_peak_nm"] for name in names}
    notes = (
        (f"Fewer than {numbers.min_locs} locs of this channel", sparse, all_of, f"They enter {COUNTS} only."),
        ("No maximum of L(r) \u2212 r within the radii measured", endless, curved, "They do not enter the radius of that maximum."),
    )
    return [
        element("p", f"{what}: {', '.join(_share(name, n[name], of[name]) for name in names if n[name])}. {so}", class_="note")
        for what, n, of, so in notes
        if any(n.values())
    ]


def _share(name: str, n: int, of: int) -> str:
    return f"{count(n)} of {counted(of, 'ROI')} of {name}"


def replicates_csv(numbers: Numbers) -> str:
    """Every descriptor's mean of every replicate: what the comparisons are made of."""
    rows = [(m.condition, m.channel, m.replicate, m.block, m.descriptor, m.n_fields, m.n_rois, m.mean) for m in numbers.replicates]
    return csv_text(("condition", "channel", "replicate", "block", "descriptor", "n_fields", "n_rois", "mean"), rows)
