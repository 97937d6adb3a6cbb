"""The campaign's report: one self-contained HTML file for the people who took the data, the verdict first.

Everything is in the file (style, pictures, plots): it can be mailed, printed and read in ten years. It is made of the
campaign's tables, and of the units where a picture needs them. No script, no clock; links lead to the fields' pages and
the figures' files beside it, and the page needs none of these.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smlmbatch.analyse.compare import natural_key
from smlmbatch.analyse.comparisons import read_comparisons
from smlmbatch.analyse.grouping import channels_joined, group_rois, labels_of
from smlmbatch.analyse.results import QualityCheck
from smlmbatch.analyse.tables import Tables, legible, read_tables
from smlmbatch.config import to_toml
from smlmbatch.report.cautions import cluster_cautions, design_cautions, method_cautions
from smlmbatch.report.cluster_data import CampaignClusters, read_clusters
from smlmbatch.report.cluster_model import tuned_cautions
from smlmbatch.report.cluster_section import for_verdict as clusters_for_verdict
from smlmbatch.report.cluster_section import show_clusters
from smlmbatch.report.cluster_wording import method_name
from smlmbatch.report.costs import show_costs
from smlmbatch.report.curves import ripley_curves
from smlmbatch.report.descriptors import replicates_csv, show_channel
from smlmbatch.report.effects import HOW_TO_READ, show_effects
from smlmbatch.report.embedding_data import Embeddings, read_embeddings
from smlmbatch.report.embedding_page import EmbeddingPage, write_embedding_page
from smlmbatch.report.embedding_section import for_verdict, show_section
from smlmbatch.report.field_pages import write_field_pages
from smlmbatch.report.gallery import Gallery
from smlmbatch.report.methods import methods
from smlmbatch.report.numbers import Numbers, file_suffix, gather
from smlmbatch.report.order_section import show_order
from smlmbatch.report.page import Markup, document, element, join, section, table
from smlmbatch.report.particle_section import show_particles
from smlmbatch.report.quality_overview import read_checks, show_quality
from smlmbatch.report.sections import (
    Row,
    channel_titles,
    in_order,
    show_dropped_records,
    show_dropped_rois,
    show_failures,
    show_fields,
    show_ignored,
    show_pictures,
    with_sample,
)
from smlmbatch.report.verdict import show_conditions, show_data, show_largest
from smlmbatch.report.wording import count
from smlmbatch.store.units import write_whole
from smlmbatch.work import Campaign

if TYPE_CHECKING:
    import pyarrow as pa

_PARTS = (  # anchor, heading, word in the list at the top
    ("quality", "Quality of the fields", "Quality"),
    ("compared", "Conditions compared", "Comparisons"),
    ("descriptors", "Descriptors by condition", "Descriptors"),
    ("clusters", "Clusters", "Clusters"),
    ("embedding", "Architecture by learned embedding", "Embedding"),
    ("pictures", "Rendered fields", "Pictures"),
    ("came-in", "What came in", "What came in"),
    ("dropped", "What was dropped, and why", "What was dropped"),
    ("methods", "Methods and settings", "Methods"),
    ("costs", "Run time and memory", "Run time"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """All that the page is made of."""

    campaign: Campaign
    tables: Tables
    rows: Sequence[Row]
    checks: Sequence[QualityCheck]
    grouped: "pa.Table"  # ROIs with the conditions that are compared
    numbers: Numbers
    cautions: Sequence[str]
    clusters: CampaignClusters
    embeddings: Embeddings
    gallery: Gallery


def write_report(campaign: Campaign, *, fingerprint: str, input_name: str, software: Mapping[str, str], run: Mapping[str, Any]) -> Path:
    """Write `OUTPUT/report/index.html`, the fields' pages and the figures' files under `report/figures`, of tables already written.

    The campaign's page comes last: with its fingerprint, all is up to date.

    Parameters
    ----------
    fingerprint : hash of all the report depends on, kept in the page's head
    input_name : what INPUT is called
    software : name → version
    run : further facts to list at the end; strings, numbers, lists or tables of these

    Returns
    -------
    path of the page

    Raises
    ------
    FileNotFoundError
        the tables are not written yet
    """
    folder = campaign.output / "report"
    evidence = _gather(campaign, Gallery(folder / "figures"))
    name = legible(input_name) or "campaign"
    body = join([_head(evidence, name, run), *_sections(evidence, software=software, run=run)])
    embedding = EmbeddingPage(
        campaign=campaign, embeddings=evidence.embeddings, titles=channel_titles(evidence.rows), gallery=evidence.gallery, name=name
    )
    write_embedding_page(embedding, fingerprint=fingerprint)
    evidence.gallery.sweep()
    write_field_pages(campaign, rows=evidence.rows, rois=evidence.grouped, checks=evidence.checks, name=name)
    page = document(f"{name}: smlmbatch report", body, fingerprint=fingerprint)
    write_whole(folder / "index.html", page.encode("utf-8", "replace"))
    return folder / "index.html"


def _gather(campaign: Campaign, gallery: Gallery) -> _Evidence:
    tables, settings = read_tables(campaign.output), campaign.config
    grouped = group_rois(tables.rois, tables.fields, config=settings.compare)
    numbers = gather(
        grouped,
        ripley_curves(campaign, tables.rois, grouped),
        read_comparisons(campaign.output),
        min_locs=settings.tile.min_locs,
        paired=bool(settings.compare.paired),
    )
    rows = in_order(with_sample(campaign, tables.fields.to_pylist()))
    contradictions = cluster_cautions(numbers.comparisons, channel_titles=channel_titles(rows), config=settings)
    clusters = read_clusters(campaign, grouped)
    by_the_model = tuned_cautions(clusters.facts, clusters.numbers.comparisons)
    if clusters.facts is not None and clusters.facts.method == "miro":
        contradictions += method_cautions(numbers.comparisons, clusters.numbers.comparisons, method=method_name(clusters.facts.method))
    return _Evidence(
        campaign=campaign,
        tables=tables,
        rows=rows,
        checks=read_checks(campaign.output),
        grouped=grouped,
        numbers=numbers,
        cautions=[*design_cautions(tables.rois, tables.fields, config=settings), *by_the_model, *contradictions],
        clusters=clusters,
        embeddings=read_embeddings(
            campaign, names=numbers.names, joined=channels_joined(labels_of(tables.fields), config=settings.compare)
        ),
        gallery=gallery,
    )


def _sections(evidence: _Evidence, *, software: Mapping[str, str], run: Mapping[str, Any]) -> Iterator[Markup]:
    campaign, rows = evidence.campaign, evidence.rows
    contents: dict[str, list[Markup | None]] = {
        "quality": [show_quality(rows, evidence.checks)],
        "compared": [*_compared(evidence)],
        "descriptors": [*_descriptors(evidence)],
        "clusters": [
            show_clusters(evidence.clusters, titles_of=channel_titles(rows), gallery=evidence.gallery),
            show_particles(campaign, titles_of=channel_titles(rows)),
            show_order(campaign, gallery=evidence.gallery),
        ],
        "embedding": [show_section(evidence.embeddings, titles=channel_titles(rows), gallery=evidence.gallery)],
        "pictures": [show_pictures(campaign, rows)],
        "came-in": [show_fields(campaign, rows) if rows else element("p", "No field.")],
        "dropped": [
            show_failures(campaign),
            show_dropped_records(rows),
            show_dropped_rois(evidence.tables.rois, rows),
            show_ignored(campaign),
        ],
        "methods": [*_methods(evidence, software=software, run=run)],
        "costs": [show_costs(campaign)],
    }
    for anchor, title, _ in _PARTS:
        yield section(title, *contents[anchor], anchor=anchor)


# ---- head


def _head(evidence: _Evidence, name: str, run: Mapping[str, Any]) -> Markup:
    campaign, rows, comparisons = evidence.campaign, evidence.rows, evidence.numbers.comparisons
    links = [element("a", word, href=f"#{anchor}") for anchor, _, word in _PARTS]
    ok = [row for row in rows if row["status"] == "ok"]
    names = evidence.numbers.names
    numbers = (
        (sum(row["n"] for row in ok), "localisation"),
        (sum(row["n_cells"] for row in ok), "outline"),
        (len(names or _conditions(ok)), "condition"),
        (len({(row["conditions"], row["replicate"]) for row in ok}), "replicate"),
    )
    facts = [(count(n), word if n == 1 else word + "s") for n, word in numbers]
    facts += [(legible(str(run["finished"])), "finished")] if "finished" in run else []
    titles = channel_titles(rows)
    return element(
        "header",
        element("h1", name),
        element("p", "Single-molecule localisation microscopy, batch report", class_="soft"),
        element(
            "div",
            show_data(rows, evidence.checks, config=campaign.config, ignored=len(campaign.ignored)),
            show_conditions(
                comparisons,
                conditions=names,
                channel_titles=titles,
                cautions=evidence.cautions,
                config=campaign.config,
                more=[*clusters_for_verdict(evidence.clusters, titles_of=titles), *for_verdict(evidence.embeddings, titles=titles)],
            ),
            class_="verdict",
        ),
        show_largest(comparisons, channel_titles=titles),
        element("div", *(element("div", element("b", value), " ", element("span", words)) for value, words in facts), class_="facts"),
        element("nav", *links),
    )


def _conditions(rows: Sequence[Row]) -> list[str]:
    return sorted({condition for row in rows for condition in row["conditions"]}, key=natural_key)


# ---- conditions and descriptors


def _compared(evidence: _Evidence) -> Iterator[Markup]:
    numbers, titles = evidence.numbers, channel_titles(evidence.rows)
    if not numbers.comparisons:
        yield element("p", "Nothing was compared.")
        return
    yield element("p", HOW_TO_READ, class_="note")
    for channel in dict.fromkeys(c.channel for c in numbers.comparisons):
        if channel in titles:
            yield element("h3", titles[channel])
        own = [c for c in numbers.comparisons if c.channel == channel]
        yield show_effects(own, look=numbers.looks, gallery=evidence.gallery, name=f"effects{file_suffix(channel)}")


def _descriptors(evidence: _Evidence) -> Iterator[Markup]:
    numbers, titles = evidence.numbers, channel_titles(evidence.rows)
    if not numbers.channels:
        yield element("p", "No ROI was kept, so there is nothing to describe.")
        return
    link = evidence.gallery.link("replicates.csv", replicates_csv(numbers).encode("utf-8", "replace"))
    yield element("p", "The replicate is the unit: its ROIs are averaged first. All means of replicates: ", link, ".")
    bare = _bare_conditions(evidence)
    if bare:
        yield element("p", f"Without any kept ROI, so not described: {', '.join(bare)}.", class_="warn")
    for channel in numbers.channels:
        if channel in titles:
            yield element("h3", titles[channel])
        yield show_channel(numbers, channel, gallery=evidence.gallery)


def _bare_conditions(evidence: _Evidence) -> list[str]:
    """Conditions of the sheet that no kept ROI has."""
    import pyarrow.compute as pc

    rois = evidence.tables.rois
    described = set(pc.unique(rois["condition"].filter(rois["kept"])).to_pylist())
    return [name for name in _conditions(evidence.rows) if name not in described]


# ---- methods and settings


def _methods(evidence: _Evidence, *, software: Mapping[str, str], run: Mapping[str, Any]) -> list[Markup]:
    campaign, found = evidence.campaign, evidence.embeddings
    said, sources = methods(
        campaign.config, software=software, model=found.model if found.channels else None, clusters=evidence.clusters.facts
    )
    paragraphs = [element("p", text) for text in said]
    references = [element("p", text, class_="reference") for text in sources]
    facts = list(_facts(run))
    versions = sorted(([legible(str(name)), legible(str(version))] for name, version in software.items()), key=_ours_first)
    left = [element("h3", "Settings"), element("pre", to_toml(campaign.config).strip())]
    right = [element("h3", "Software"), table(["Package", "Version"], versions)] if versions else []
    if facts:
        right += [element("h3", "Run"), element("dl", *(join([element("dt", name), element("dd", text)]) for name, text in facts))]
    return [
        element("p", "In words, for a methods section:", class_="soft"),
        *paragraphs,
        *references,
        element("div", element("div", *left), element("div", *right), class_="half"),
    ]


def _ours_first(row: Sequence[str]) -> tuple[bool, str]:
    return row[0] != "smlmbatch", row[0]


def _facts(run: Mapping[str, Any], *, above: str = "") -> Iterator[tuple[str, str]]:
    """Facts as pairs of text; nested tables are flattened, settings and software have their own place."""
    for key, value in run.items():
        name = f"{above}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            if key not in ("settings", "software"):
                yield from _facts(value, above=f"{name}, ")
        elif isinstance(value, list | tuple):
            yield legible(name), legible(shlex.join(map(str, value)))
        else:
            yield legible(name), legible(str(value))
