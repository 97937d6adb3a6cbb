"""What the campaign's page says of the embedding: a short part with the map as a picture, and a sentence for the verdict."""

from collections.abc import Iterator, Mapping

from smlmbatch.report.embedding_charts import map_picture
from smlmbatch.report.embedding_data import Embeddings
from smlmbatch.report.embedding_map import map_rows
from smlmbatch.report.embedding_page import PAGE
from smlmbatch.report.embedding_wording import flags_said, grave_flags, say
from smlmbatch.report.gallery import Gallery
from smlmbatch.report.page import Markup, advice, element, join

_HELD = "a learned measure of nanoscale architecture"


def show_section(embeddings: Embeddings, *, titles: Mapping[int, str], gallery: Gallery) -> Markup:
    """Answer, first sentence and map of each channel; where there is no embedding, why.

    Parameters
    ----------
    titles : of channels, where there are several
    """
    if not embeddings.channels:
        return element("p", advice(embeddings.why_none))
    link = element("a", "The embedding\u2019s page", href=PAGE)
    lead = element(
        "p",
        f"Each ROI as a vector, {_HELD} in which similar patterns lie close together. ",
        link,
        " has regions to look at, clusters, distances, and what the number of locs alone would tell.",
    )
    flags = flags_said(embeddings)
    warned = element("p", f"Checks found {flags}: ", element("a", "before you believe it", href=f"{PAGE}#flags"), ".") if flags else None
    return join([lead, warned, *_channels(embeddings, titles, gallery)])


def _channels(embeddings: Embeddings, titles: Mapping[int, str], gallery: Gallery) -> Iterator[Markup]:
    for part in embeddings.channels:
        if part.title(titles):
            yield element("h3", part.title(titles))
        found = say(part)
        yield element("p", element("b", found.answer), " ", *found.sentences[:1])
        rows = map_rows(part)
        if len(rows):
            yield map_picture(part, rows, looks=embeddings.looks, gallery=gallery)


def for_verdict(embeddings: Embeddings, *, titles: Mapping[int, str]) -> list[Markup]:
    """One careful sentence per channel, and what stands against it; nothing where nothing was embedded."""
    said = []
    for part in embeddings.channels:
        title = f", {part.title(titles)}" if part.title(titles) else ""
        link = element("a", "More", href=PAGE)
        said.append(element("p", element("b", f"Embedding{title}"), f" ({_HELD}): {say(part).short} ", link, "."))
    return said + [element("p", "Embedding: ", advice(flag.text), class_="caution") for flag in grave_flags(embeddings)[:2]]
