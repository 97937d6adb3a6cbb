"""The embedding's own page, `report/embedding.html`: the answer in words first, then what it rests on.

One self-contained file like the others: pictures of ROIs in it, no network, one script; figures lie as files beside the page as those
of the campaign's page do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from smlmbatch.analyse.results import LIGHTS, EmbeddingFlag
from smlmbatch.analyse.tables import legible
from smlmbatch.config import Config
from smlmbatch.report import embedding_charts as charts
from smlmbatch.report.embedding_data import Embedded, Embeddings
from smlmbatch.report.embedding_examples import show_examples
from smlmbatch.report.embedding_map import MapRows, map_rows, shapes_differ, show_map
from smlmbatch.report.embedding_pictures import Sheet, choose_places, small_pictures
from smlmbatch.report.embedding_script import SCRIPT, STYLE
from smlmbatch.report.embedding_wording import FLAG_WORDS, limits, say
from smlmbatch.report.figures import Look
from smlmbatch.report.gallery import Gallery
from smlmbatch.report.lights import light_mark
from smlmbatch.report.page import Markup, advice, document, element, join, section
from smlmbatch.report.wording import count, counted, length, number
from smlmbatch.store.units import write_whole
from smlmbatch.work import Campaign, FieldResult

PAGE = "embedding.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingPage:
    """All that the page is made of."""

    campaign: Campaign
    embeddings: Embeddings
    titles: Mapping[int, str]  # of channels, where there are several
    gallery: Gallery
    name: str

    @property
    def results(self) -> dict[str, FieldResult]:
        return {legible(result.field.key): result for result in self.campaign.fields}


_Part = Callable[[EmbeddingPage, Embedded], Markup | None]
_PARTS: tuple[tuple[str, str, _Part], ...] = (
    ("clusters", "Clusters found without knowing the conditions", lambda page, part: _clusters(page, part)),
    ("accuracy", "Do replicates that were left out tell the same?", lambda page, part: _accuracy(page, part)),
    ("density", "Beyond density and plain descriptors", lambda page, part: _density(page, part)),
    ("distances", "How far conditions are apart", lambda page, part: _distances(page, part)),
    ("order", "Doses and times", lambda page, part: _order(page, part)),
    (
        "examples",
        "Regions to look at",
        lambda page, part: show_examples(part, page.results, looks=page.embeddings.looks, side_nm=page.campaign.config.tile.roi_nm),
    ),
)


def write_embedding_page(page: EmbeddingPage, *, fingerprint: str) -> bool:
    """Write the page of a campaign that has an embedding; without one, remove an earlier one. Whether there is one."""
    path = page.campaign.output / "report" / PAGE
    if not page.embeddings.channels:
        path.unlink(missing_ok=True)
        return False
    maps = {part.channel: map_rows(part) for part in page.embeddings.channels}
    sheet = _sheet(page, list(maps.values()))
    parts = dict(_sections(page, maps, sheet))
    body = join(
        [
            _head(page, parts),
            *(section(title, content, anchor=anchor) for anchor, (title, content) in parts.items()),
            element("img", src=sheet.image, alt="", class_="sheet") if sheet.image else None,
        ]
    )
    text = document(f"Embedding: {page.name}", body, fingerprint=fingerprint, style=STYLE, script=SCRIPT)
    write_whole(path, text.encode("utf-8", "replace"))
    return True


def _sheet(page: EmbeddingPage, maps: Sequence[MapRows]) -> Sheet:
    """Small pictures of ROIs on the maps, evenly over channels and conditions."""
    places = [place for rows in maps for place in rows.places]
    group = [(place[2], condition) for rows in maps for place, condition in zip(rows.places, rows.conditions, strict=True)]
    model = page.embeddings.model
    return small_pictures(page.results, choose_places(places, group), side_px=model.side_px if model else 64)


def _sections(page: EmbeddingPage, maps: Mapping[int | None, MapRows], sheet: Sheet) -> Iterator[tuple[str, tuple[str, Markup]]]:
    """Anchor, heading and content of each part that has a content."""
    yield "map", ("Map of the regions", _each(page, lambda _, part: _map(page, part, maps[part.channel], sheet)))
    for anchor, title, show in _PARTS:
        content = _each(page, show)
        if content:
            yield anchor, (title, content)
    if any(part.flags for part in page.embeddings.channels):
        yield "flags", ("Before you believe it", _flags(page))


def _each(page: EmbeddingPage, show: _Part) -> Markup:
    """A part's content for every channel, under the channel's name where there are several."""
    shown = [(part.title(page.titles), show(page, part)) for part in page.embeddings.channels]
    return join(piece for title, content in shown if content for piece in (element("h3", title) if title else None, content))


# ---- head


def _head(page: EmbeddingPage, parts: Mapping[str, tuple[str, Markup]]) -> Markup:
    links = [element("a", title, href=f"#{anchor}") for anchor, (title, _) in parts.items()]
    return element(
        "header",
        element("div", element("a", "Report: ", page.name, href="index.html"), class_="pages"),
        element("h1", "Architecture by learned embedding"),
        element("p", _what(page.embeddings), class_="soft"),
        element("div", element("h3", _QUESTION), *_answers(page), class_="said"),
        element("nav", *links),
    )


_QUESTION = "Do the conditions differ in nanoscale architecture, by this measure?"


def _what(embeddings: Embeddings) -> str:
    model = embeddings.model
    said = (
        f"Each region of interest (ROI) is a vector of {model.features} numbers" if model else "Each region of interest (ROI) is a vector"
    )
    said += ", computed by a network from a picture of its localisations; similar patterns lie close together. "
    said += f"{counted(embeddings.n_rois, 'ROI')} embedded"
    said += f", {count(embeddings.n_skipped)} left out as too empty" if embeddings.n_skipped else ""
    if embeddings.n_beyond:
        said += f"; {count(embeddings.n_beyond)} are sparser or denser than anything the network learned from"
    return f"{said}. Model {model.name}, {number(model.pixel_nm)} nm per pixel." if model else f"{said}."


def _answers(page: EmbeddingPage) -> Iterator[Markup]:
    for part in page.embeddings.channels:
        found = say(part)
        if part.title(page.titles):
            yield element("h4", part.title(page.titles))
        yield element("p", element("b", found.answer), class_="answer")
        for flag in part.flags:
            if flag.light == "red":
                yield element("p", advice(flag.text), class_="caution")
        yield from (element("p", sentence) for sentence in found.sentences)
    yield element("h4", "What must not be concluded")
    yield element("ul", *(element("li", text) for text in limits(config=page.campaign.config)))


# ---- parts


def _map(page: EmbeddingPage, part: Embedded, rows: MapRows, sheet: Sheet) -> Markup:
    if not len(rows):
        return element("p", "No ROI has a place on the map.")
    shown = show_map(
        rows,
        sheet,
        looks=page.embeddings.looks,
        label="Map of ROIs by their embedding. Arrow keys go from dot to dot, Enter opens the field's page.",
        suffix=part.suffix,
    )
    files = page.gallery.files(f"embedding_map{part.suffix}")
    return join(
        [
            element("p", charts.eye_only(part), class_="caution"),
            shown,
            files,
            element("p", _left_out(part, rows, sheet, page.embeddings.looks, config=page.campaign.config), class_="note"),
        ]
    )


def _left_out(part: Embedded, rows: MapRows, sheet: Sheet, looks: Mapping[str, Look], *, config: Config) -> str:
    """How many ROIs the map and the sheet of pictures don't show."""
    pictured = sum(place in sheet.number for place in rows.places)
    on_map = "all" if len(rows) == len(part.rows) else f"{count(len(rows))} of {count(len(part.rows))}, evenly drawn over the conditions"
    shapes = "; its shape is that of its condition" if shapes_differ(rows, looks) else ""
    said = [f"Each dot is a ROI ({on_map}){shapes}."]
    if pictured < len(rows):
        said.append(f"{count(pictured)} of them have a picture here, evenly over the conditions, so that the page stays small.")
    said.append(
        f"Pictures show locs per pixel as the network sees them, {length(config.tile.roi_nm)} wide (brightness: logarithm, one scale for "
        "all). Click a dot for its field\u2019s page."
    )
    return " ".join(said)


def _clusters(page: EmbeddingPage, part: Embedded) -> Markup | None:
    shown = [charts.compositions(part, looks=page.embeddings.looks, gallery=page.gallery), charts.bend(part, gallery=page.gallery)]
    return join(shown) if any(shown) else None


def _accuracy(page: EmbeddingPage, part: Embedded) -> Markup | None:
    return charts.accuracies(part, page.embeddings.joint, gallery=page.gallery)


def _density(page: EmbeddingPage, part: Embedded) -> Markup | None:
    agreement = charts.agreement(part, gallery=page.gallery)
    lost = charts.lost_by_condition(part, looks=page.embeddings.looks, config=page.campaign.config)
    return join([agreement, lost]) if agreement else None


def _distances(page: EmbeddingPage, part: Embedded) -> Markup | None:
    return charts.distances(part, looks=page.embeddings.looks, gallery=page.gallery)


def _order(page: EmbeddingPage, part: Embedded) -> Markup | None:
    return charts.order(part, looks=page.embeddings.looks, config=page.campaign.config, gallery=page.gallery)


def _flags(page: EmbeddingPage) -> Markup:
    """What was checked, the gravest first; flags of all channels once."""
    whose: dict[EmbeddingFlag, list[str]] = {}
    for part in page.embeddings.channels:
        for flag in part.flags:
            titles = whose.setdefault(flag, [])
            if flag.channel is not None and flag.channel in page.titles:
                titles.append(page.titles[flag.channel])
    ranked = sorted(whose, key=lambda flag: -LIGHTS.index(flag.light))
    return join(
        element(
            "div",
            element("div", light_mark(flag.light)),
            element("p", element("b", FLAG_WORDS.get(flag.kind, flag.kind)), *_under(whose[flag])),
            element("p", advice(flag.text)),
            class_="judged",
        )
        for flag in ranked
    )


def _under(titles: Sequence[str]) -> list[Markup]:
    return [element("br"), element("span", ", ".join(titles), class_="soft")] if titles else []
