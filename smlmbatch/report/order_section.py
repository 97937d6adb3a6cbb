"""The page's part on particles in order: what the network learned and whether it can be believed, super-particles of the bins, what goes
along each direction, and how conditions differ. Bins whose registration failed are shown and marked, never hidden."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from smlmbatch.analyse.comparisons import read_comparisons
from smlmbatch.analyse.fingerprint import table_path
from smlmbatch.analyse.grouping import group_rois
from smlmbatch.analyse.heterogeneity import comparable_particles
from smlmbatch.analyse.super_particles import BinSeries, aligned_series, registered_directions
from smlmbatch.registration.superparticle import density_picture
from smlmbatch.report.descriptors import condition_key
from smlmbatch.report.effects import show_effects
from smlmbatch.report.gallery import Gallery, csv_text
from smlmbatch.report.numbers import gather
from smlmbatch.report.order_figures import BinValues, Still, draw_film, draw_losses, draw_violins
from smlmbatch.report.page import Markup, breakable, element, join, table
from smlmbatch.report.superplots import show_superplots
from smlmbatch.report.wording import NONE, count, counted, number, titles
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]

_PICTURE_PX = 72
_BARS_NM: Final = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_LIKE_COUNTS: Final = 0.5  # |r| with the number of locs beyond which a direction may be one of labelling
_ALIVE_NATS: Final = 0.05
_LEAST_SHARE: Final = 0.001  # of the variance; axes below are not listed
_QUANTITY: Final = {
    "circle_radius_nm": "radius (circle fit)",
    "mean_radius_nm": "radius (mean distance)",
    "median_radius_nm": "radius (median distance)",
    "layer_height_nm": "height (two layers)",
    "level_height_nm": "height (two Gaussians)",
    "n_points": "number of locs",
    "value": "known value",
}
_SUPER: Final = {"circle_radius_nm": "super_radius", "layer_height_nm": "super_height"}
_LISTED: Final = ("bin", "n", "n_registered", "place_median", "circle_radius_nm", "circle_radius_nm_precision")
_VIOLINS: Final = ("circle_radius_nm", "layer_height_nm")


def show_order(campaign: Campaign, *, gallery: Gallery) -> Markup | None:
    """Words, films, violins, tables and superplots; None where nothing was to be put in order."""
    if campaign.order is None:
        return None
    with UnitReader(campaign.order.order) as unit:
        attrs = dict(unit.attrs)
        if attrs["why_none"]:
            return join([element("h3", "Particles in order"), element("p", f"Not put in order: {attrs['why_none']}."), *_left_out(attrs)])
        nats, losses, decoded_nm, thinned = (unit.read(name) for name in ("nats", "loss", "decoded_nm", "thinned"))
    axes, bins = _rows(campaign, "order_axes"), _rows(campaign, "order_bins")
    names: list[str] = attrs["directions"]
    leading = "value" if "value" in names else "pc1"
    shown = [name for name in registered_directions(campaign.order) if name != leading]
    films = [_film(campaign, name, names, bins, decoded_nm, gallery=gallery) for name in (leading, *_worth_showing(axes, shown))]
    others = [film for film in films[1:] if film is not None]
    return join(
        [
            element("h3", "Particles in order"),
            *_words(attrs, nats, thinned[:, names.index(leading)], leading, axes),
            element("h4", f"Super-particles along {_said(leading)}"),
            films[0] or element("p", "No bin is registered (yet)."),
            _violins(campaign, leading, bins, gallery=gallery),
            _axes_table(axes, names),
            *_warnings(axes),
            *_conditions(campaign, gallery=gallery),
            _further(others),
            _losses(losses, gallery=gallery) if len(losses) else None,
            element("p", "Every particle: tables/order.parquet; bins: order_bins.parquet; directions: order_axes.parquet.", class_="note"),
        ]
    )


def _worth_showing(axes: Sequence[Row], registered: Sequence[str]) -> list[str]:
    """Further directions whose films are on the page: axes, and the units that go best with a shape. All bins are in the tables."""
    best = {row["direction"] for row in axes if row["chosen"] and row["quantity"] in _VIOLINS}
    return [name for name in registered if not name.startswith("unit") or name in best]


def _further(films: Sequence[Markup]) -> Markup | None:
    """Films of the other directions, folded away."""
    if not films:
        return None
    return element("details", element("summary", f"Super-particles along {counted(len(films), 'further direction')}"), *films)


def _rows(campaign: Campaign, name: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.ParquetFile(table_path(campaign.output, name)).read().to_pylist()
    return rows


# ---- words


def _words(attrs: Row, nats: Any, thinned: Any, leading: str, axes: Sequence[Row]) -> Iterator[Markup]:
    alive, half, fifth = int((nats > _ALIVE_NATS).sum()), *(number(float(share), digits=2) for share in thinned)
    of = f"{counted(attrs['n_particles'], 'particle')} of channel {attrs['channel']}"
    learned = f"A network (PC-VAE) learned what {of} differ in"
    if attrs["model"]:
        learned = f"The model {attrs['model']} (PC-VAE), which learned from other particles, put {of} in order"
    says = f"{count(alive)} of its {count(len(nats))} units say something of a particle"
    holds = f"With half of each particle\u2019s locs its place along {_said(leading)} stays (correlation {half}); with a fifth, {fifth}"
    yield element("p", f"{learned}, without being told anything of their shape. {says}. {holds}.")
    yield from _left_out(attrs)
    own, other = (number(attrs[name], digits=3) for name in ("chamfer_nm2", "chamfer_other_nm2"))
    if attrs["collapsed"]:
        alike = f"All particles are decoded alike (own latents miss by {own} nm², another particle\u2019s by {other} nm²): what is drawn as"
        mend = "decoded says nothing of them. Their order can hold nevertheless: judge it by the super-particles. More epochs may help."
        yield element("p", f"{alike} {mend}", class_="caution")
    else:
        missed = (
            f"Decoded from its own latents a particle is missed by {own} nm² (mean squared distance), from another\u2019s by {other} nm²."
        )
        yield element("p", missed, class_="note")
    leads = [row for row in axes if row["chosen"] and row["quantity"] in _VIOLINS and row["direction"].startswith("pc")]
    for row in (row for row in leads if row["half2_pearson"] is not None):
        best = f"Of principal axes, {_said(row['direction'])} goes best with the {_QUANTITY[row['quantity']]} on one half of the particles"
        yield element("p", f"{best}; on the other half the correlation is {_signed(row['half2_pearson'])}.")


def _left_out(attrs: Row) -> Iterator[Markup]:
    """What is not among the particles, and why."""
    said = [f"{counted(n, 'particle')} {reason}" for reason, n in attrs["left_out"].items()]
    said += (
        [f"{counted(attrs['far_locs'], 'localisation')} far from {'its' if attrs['far_locs'] == 1 else 'their'} particle"]
        if attrs["far_locs"]
        else []
    )
    said += [f"{counted(n, 'particle')} of channel {channel} (order.channel chooses)" for channel, n in attrs["other_channels"].items()]
    if said:
        yield element("p", f"Left out: {'; '.join(said)}.")
    if attrs["flattened"]:
        yield element("p", "Some fields have z and some have none: particles were put in order by x and y alone.", class_="caution")


def _said(direction: str, *, first: bool = False) -> str:
    """A direction's name in a sentence."""
    kinds = {"pc": "principal axis ", "un": "unit "}
    name = "the direction of the known value" if direction == "value" else kinds[direction[:2]] + direction.lstrip("unitpc")
    return name[:1].upper() + name[1:] if first else name


def _warnings(axes: Sequence[Row]) -> Iterator[Markup]:
    """Directions that may be of labelling and not of shape."""
    strength: dict[str, dict[str, float]] = {}
    for row in axes:
        if row["pearson"] is not None:
            strength.setdefault(row["direction"], {})[row["quantity"]] = abs(row["pearson"])
    shapes = [name for name in _QUANTITY if name not in ("n_points", "value")]
    like = [
        name
        for name, found in strength.items()
        if found.get("n_points", 0.0) > max(_LIKE_COUNTS, *(found.get(shape, 0.0) for shape in shapes))
    ]
    if like:
        goes = f"{', '.join(_said(name) for name in like)}: more with the number of locs than with any shape."
        why = "What differs there may be labelling or bleaching, not structure."
        yield element("p", f"{goes[:1].upper()}{goes[1:]} {why}", class_="caution")


# ---- pictures


def _film(
    campaign: Campaign, direction: str, names: Sequence[str], bins: Sequence[Row], decoded_nm: Any, *, gallery: Gallery
) -> Markup | None:
    assert campaign.order is not None
    series = aligned_series(campaign.order, direction)
    if series is None:
        return None
    own = {row["bin"]: row for row in bins if row["direction"] == direction}
    half_nm = series.half_nm
    stills = [
        Still(
            views=_views(series, at, half_nm),
            decoded_nm=decoded_nm[names.index(direction), bin_number],
            label=_label(own[bin_number]),
            failed=bool(own[bin_number]["registered_failed"]),
        )
        for at, bin_number in enumerate(series.numbers)
    ]
    bar_nm = max((length for length in _BARS_NM if length <= half_nm), default=_BARS_NM[0])
    failed = sum(still.failed for still in stills)
    caption = (
        f"Density of the locs of each bin\u2019s super-particle, from the lowest place along {_said(direction)} to the highest"
        f"{', from above and from the side' if len(stills[0].views) > 1 else ''}; below each, what is decoded (turned as it likes). "
        "One scale, one contrast. Numbers: mean radius by circle fits of its particles ± its precision, nm."
    )
    if failed:
        unsure = "particles are too few, or too unlike, to show that registration found more than their outline"
        caption += f" Dotted frames: in {counted(failed, 'bin')} {unsure}."
    figure = gallery.show(
        f"order_film_{direction}",
        draw_film(stills, half_nm=half_nm, bar_nm=float(bar_nm)),
        numbers=csv_text(_LISTED, [[row[name] for name in _LISTED] for row in own.values()]),
        alt=f"Super-particles of {len(stills)} bins along {_said(direction)}.",
        caption=caption,
    )
    return join([element("h4", _said(direction, first=True)) if direction not in ("pc1", "value") else None, figure])


def _views(series: BinSeries, at: int, half_nm: float) -> list[Any]:
    particle = series.series.particles[at]
    pixel_nm = 2 * half_nm / _PICTURE_PX
    seen = [(0, 1)] if particle.points_nm.shape[1] == 2 else [(0, 1), (0, 2)]
    blur_nm = max(particle.blur_nm, 0.7 * pixel_nm)
    return [density_picture(particle, axes=axes, half_nm=half_nm, blur_nm=blur_nm, pixel_nm=pixel_nm).per_nm2 for axes in seen]


def _label(row: Row) -> str:
    radius, precision = row["circle_radius_nm"], row["circle_radius_nm_precision"]
    if radius is None:
        return f"bin {row['bin']}"
    return f"{radius:.1f}" + (f" ± {precision:.1f}" if precision is not None else "")


def _violins(campaign: Campaign, direction: str, bins: Sequence[Row], *, gallery: Gallery) -> Markup | None:
    assert campaign.order is not None
    own = [row for row in bins if row["direction"] == direction]
    with UnitReader(campaign.order.order) as unit:
        number_of = unit.read("bin")[:, unit.attrs["directions"].index(direction)]
        values = {name: unit.read(name) for name in _VIOLINS}
    panels, rows = [], []
    for name in _VIOLINS:
        if not np.isfinite(values[name]).any():
            continue
        by_bin = [values[name][number_of == row["bin"]] for row in own]
        by_bin = [known[np.isfinite(known)] for known in by_bin]
        nm, error = (_column(own, f"{_SUPER[name]}_{what}") for what in ("nm", "error_nm"))
        panels.append(BinValues(axis=f"{_QUANTITY[name]} (nm)", values=by_bin, super_nm=nm, super_error_nm=error))
        rows += [(name, row["bin"], value) for row, known in zip(own, by_bin, strict=True) for value in known.tolist()]
    if not panels:
        return None
    return gallery.show(
        f"order_bins_{direction}",
        draw_violins(panels, across=f"bin along {_said(direction)}"),
        numbers=csv_text(("estimate", "bin", "nm"), rows),
        alt="Estimates of single particles, bin by bin.",
        caption="Single particles, bin by bin: each fitted by itself, by formulas that know nothing of the order; line: median.",
    )


def _column(rows: Sequence[Row], name: str) -> Any:
    """A column of a table's rows: (r,) f8, NaN where null."""
    return np.array([np.nan if row[name] is None else row[name] for row in rows])


def _losses(losses: Any, *, gallery: Gallery) -> Markup:
    rows = [(epoch, *pair) for epoch, pair in enumerate(losses.tolist(), start=1)]
    return gallery.show(
        "order_training",
        draw_losses(losses),
        numbers=csv_text(("epoch", "training", "validation"), rows),
        alt="Loss of each epoch of training.",
        caption="Training: loss of each epoch.",
    )


# ---- tables


def _axes_table(axes: Sequence[Row], names: Sequence[str]) -> Markup:
    """Directions against what was estimated: on all particles, and of the chosen ones on the half they were not chosen by."""
    quantities = [name for name in _QUANTITY if any(row["quantity"] == name and row["pearson"] is not None for row in axes)]
    by_name = {(row["direction"], row["quantity"]): row for row in axes}
    header = ["Pearson, Spearman", "Share or nats", "At 20 % of locs", *(_QUANTITY[name] for name in quantities)]
    body = []
    for name in (name for name in names if _is_axis(name, by_name, quantities)):
        first = by_name[name, quantities[0]] if quantities else next(row for row in axes if row["direction"] == name)
        share, nats = first["share"], first["nats"]
        size = f"{100 * share:.1f} %" if share is not None else f"{nats:.2f} nats" if nats is not None else NONE
        cells = [_correlation(by_name[name, quantity]) for quantity in quantities]
        body.append([_said(name), size, number(first["thinned_20"], digits=2), *cells])
    note = (
        "Share: of all differences between particles, measured by noise, as two halves of each particle\u2019s locs tell it. "
        "Bold: what goes best with the quantity, of units and of principal axes, on one half; in brackets Pearson on the other half."
    )
    return join([table(header, body, numeric=range(1, len(header)), whole=(0,), class_="few"), element("p", note, class_="note")])


def _is_axis(name: str, by_name: Mapping[tuple[str, str], Row], quantities: Sequence[str]) -> bool:
    """Whether a direction is worth a row: a principal axis of next to nothing is none."""
    return not quantities or (by_name[name, quantities[0]]["share"] or 1.0) >= _LEAST_SHARE


def _correlation(row: Row) -> Markup | str:
    if row["pearson"] is None:
        return NONE
    text = f"{_signed(row['pearson'])}, {_signed(row['spearman'])}"
    return join([element("b", text), f" ({_signed(row['half2_pearson'])})"]) if row["chosen"] and row["half2_pearson"] is not None else text


def _signed(value: float | None) -> str:
    """A correlation with its sign, a true minus.

    >>> _signed(-0.414), _signed(-0.001)
    ('\u22120.41', '+0.00')
    """
    return NONE if value is None else f"{value:+z.2f}".replace("-", "\u2212")


def _conditions(campaign: Campaign, *, gallery: Gallery) -> Iterator[Markup]:
    """Superplots and effects, as of regions: replicates are what is compared."""
    import pyarrow.parquet as pq

    particles: pa.Table = comparable_particles(campaign.output)
    if not len(particles):
        return
    comparisons = read_comparisons(campaign.output, name="order_comparisons")
    shown = list(dict.fromkeys(one.descriptor for one in comparisons))
    fields = pq.ParquetFile(table_path(campaign.output, "fields")).read()
    grouped = group_rois(particles, fields, config=campaign.config.compare)
    numbers = gather(
        grouped, [], comparisons, min_locs=1, paired=bool(campaign.config.compare.paired), descriptors=shown, single="particle"
    )
    if len(numbers.names) < 2:
        return
    yield element("h4", "Conditions")
    for channel in numbers.channels:
        conditions = [c for c in numbers.conditions if c.channel == channel]
        yield condition_key(list(dict.fromkeys(c.condition for c in conditions)), conditions, numbers.looks, single="particle")
        yield show_superplots(numbers, channel, titles(shown), gallery=gallery)
        yield show_effects(
            [c for c in comparisons if c.channel == channel], look=numbers.looks, gallery=gallery, name="order_effects", single="particle"
        )
    yield _groups(particles)


def _groups(particles: "pa.Table") -> Markup:
    """How many particles of each condition are in each group."""
    rows = particles.select(["condition", "kmeans", "gmm"]).to_pylist()
    groups = sorted({row["kmeans"] for row in rows} | {row["gmm"] for row in rows})
    conditions = sorted({row["condition"] for row in rows})
    body = []
    for way, said in (("kmeans", "k-means"), ("gmm", "Gaussian mixture")):
        for condition in conditions:
            counts = [sum(row["condition"] == condition and row[way] == group for row in rows) for group in groups]
            body.append([join([f"{said}, ", breakable(condition)]), *map(count, counts)])
    return table(["Particles by group", *(f"Group {group}" for group in groups)], body, numeric=range(1, 1 + len(groups)), class_="few")
