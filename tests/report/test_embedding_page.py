import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.analyse.compare import natural_key
from smlmbatch.analyse.fingerprint import table_path
from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.config import config_from_dict
from smlmbatch.report.embedding_data import read_embeddings, vectors_of
from smlmbatch.report.embedding_page import EmbeddingPage, write_embedding_page
from smlmbatch.report.gallery import Drawing, Gallery
from smlmbatch.report.html import write_report
from smlmbatch.report.page import VOID
from smlmbatch.report.sections import channel_titles, in_order, with_sample

HOSTILE = ('<img src=x onerror="alert(1)">', "</pre><script>alert(1)</script>", "a & b 'c' \"d\"", "日本語 " + "x" * 90)


class Page(HTMLParser):
    """Checks that tags are balanced; collects text, attributes, tags and hidden numbers."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.words, self.hidden = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", "".join(self.words))
        self.numbers = [json.loads(text) for text in self.hidden if text.startswith("{")]

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th", "p", "h1", "h2", "h3", "h4", "li", "div"):
            self.words.append("|")

    def handle_data(self, data):
        if self.open[-1:] == ["pre"]:
            self.hidden.append(data)
        elif self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    def values(self, tag, name):
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]


def page_of(campaign, *, name="my data", joined=False):
    """The embedding's page alone."""
    tables = read_tables(campaign.output)
    titles = channel_titles(in_order(with_sample(campaign, tables.fields.to_pylist())))
    names = sorted(tables.rois["condition"].unique().to_pylist(), key=natural_key)
    found = EmbeddingPage(
        campaign=campaign,
        embeddings=read_embeddings(campaign, names=names, joined=joined),
        titles=titles,
        gallery=Gallery(campaign.output / "report" / "figures"),
        name=name,
    )
    assert write_embedding_page(found, fingerprint="f")
    return Page((campaign.output / "report" / "embedding.html").read_text())


def report(campaign, **more):
    """Both pages; descriptors' figures are left empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smlmbatch.report.html.write_field_pages", lambda *_, **__: 0)
        patch.setattr("smlmbatch.report.superplots.draw_superplot", lambda *_, **__: Drawing(b"<svg/>", b""))
        index = write_report(campaign, **{"fingerprint": "f", "input_name": "my data", "software": {}, "run": {}} | more)
    page = index.with_name("embedding.html")
    return Page(index.read_text()), Page(page.read_text()) if page.is_file() else None


def embedded_campaign(made, embedded, output, *, conditions=("ctrl", "EGF"), replicates=3, units=None, tables=None, **look):
    look = {"n_locs": 6000, "side_um": 15.0} | look
    fields = [made.field(f"{i}/{r}.csv", name, f"rep{r}") for i, name in enumerate(conditions) for r in range(replicates)]
    campaign = made.build(output, [made.Cell(field=field, **look) for field in fields])
    write_tables(campaign, fingerprint="t")
    campaign = embedded.with_units(campaign, **(units or {}))
    embedded.write_tables(campaign, **(tables or {}))
    return campaign


@pytest.fixture(scope="module")
def usual(made, embedded, tmp_path_factory):
    """Two conditions of three replicates; the campaign, its page and the embedding's."""
    flags = [embedded.flag("amber", "rep1 of ctrl stands apart."), embedded.flag("green", "Density does not tell as much.", kind="density")]
    campaign = embedded_campaign(made, embedded, tmp_path_factory.mktemp("embedded"), tables={"flags": flags}, units={"n_skipped": 2})
    return campaign, *report(campaign)


def test_page_says_what_the_tables_say(usual):
    _, _, page = usual
    assert "|Yes, at equal density too.|" in page.text
    assert "91 % (95 % interval 80 % to 98 %) are assigned to the right condition by their nearest neighbours" in page.text
    assert "agree with them to 0.82 (95 % interval 0.75 to 0.90)" in page.text
    assert "At equal density, with 100 locs drawn from every ROI (5 ROIs with fewer left out), the adjusted Rand index is 0.71" in page.text
    assert page.text.index("What must not be concluded") < page.text.index("Map of the regions", page.text.index("Before you believe it"))
    assert "12 left out as too empty" in page.text
    assert "rep1 of ctrl stands apart." in page.text


def test_page_is_of_one_piece(usual):
    """Pictures are in the page; links lead to pages and files that lie beside it; no script but its own may run."""
    campaign, index, page = usual
    folder = campaign.output / "report"
    assert all(value.startswith("data:image/") for value in page.values("img", "src"))
    for found in (index, page):
        links = [value for value in found.values("a", "href") if not value.startswith("#")]
        assert all((folder / link).is_file() for link in links if not link.startswith(("fields/", "embedding.html#")))
    assert page.tags.count("script") == 1
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    policy = page.values("meta", "content")[1]
    assert re.fullmatch(r"default-src 'none'; img-src data:; .*script-src 'sha256-[^']*'", policy)
    anchors = {value for _, name, value in page.attributes if name == "id"}
    assert {value[1:] for value in page.values("a", "href") if value.startswith("#")} <= anchors


def test_figures_are_files_with_their_numbers(usual):
    campaign, _, page = usual
    files = {path.name for path in (campaign.output / "report" / "figures").iterdir() if path.name.startswith("embedding_")}
    names = {"map", "clusters", "bend", "agreement", "accuracy", "distances"}
    assert files == {f"embedding_{name}_c0.{kind}" for name in names for kind in ("svg", "png", "csv")}
    assert {value for value in page.values("a", "href") if value.startswith("figures/")} == {f"figures/{name}" for name in files}
    rows = (campaign.output / "report" / "figures" / "embedding_map_c0.csv").read_text().splitlines()
    assert len(rows) == 1 + pq.read_table(table_path(campaign.output, "embeddings")).num_rows


def test_map_has_a_dot_and_numbers_for_each_roi(usual):
    campaign, _, page = usual
    table = pq.read_table(table_path(campaign.output, "embeddings")).to_pylist()
    numbers = page.numbers[0]
    paths = [name for tag, name, _ in page.attributes if tag == "path" and name == "d"]
    assert len(paths) == len(numbers["x"]) == len(table)
    found = sorted(
        zip([numbers["fields"][i][0] for i in numbers["field"]], numbers["roi"], numbers["locs"], strict=True),
    )
    assert found == sorted((row["key"], row["roi"], row["n_locs"]) for row in table)
    by_place = {(numbers["fields"][f][0], roi): i for i, (f, roi) in enumerate(zip(numbers["field"], numbers["roi"], strict=True))}
    conditions = numbers["paints"]["condition"]
    for row in table:
        assert conditions["names"][conditions["groups"][by_place[row["key"], row["roi"]]]] == row["condition"]
    assert sorted(numbers["picture"]) == list(range(len(table)))


def test_index_has_the_map_the_sentence_and_the_methods(usual):
    _, index, _ = usual
    assert (
        "Embedding (a learned measure of nanoscale architecture): 91 % of ROIs in replicates that were left out are assigned to the "
        "right condition (chance 50 %)" in index.text
    )
    section = index.text[index.text.index("|Architecture by learned embedding|") : index.text.index("Rendered fields|")]
    assert "For the eye only" in section
    assert "Yes, at equal density too." in section
    assert "Checks found 1 worth a look" in section
    assert "model contrastive, sha256 5ee75ee7" in index.text
    assert "Shirgill" in index.text
    assert "McInnes" in index.text


def test_examples_are_nearest_to_their_centre_and_of_several_fields(usual):
    campaign, _, page = usual
    part = read_embeddings(campaign, names=["EGF", "ctrl"]).channels[0]
    rows, vectors = part.rows.to_pylist(), vectors_of(part).astype(np.float64)
    own = [i for i, row in enumerate(rows) if row["condition"] == "ctrl"]
    replicates = sorted({rows[i]["replicate"] for i in own})
    centre = np.mean([vectors[[i for i in own if rows[i]["replicate"] == r]].mean(axis=0) for r in replicates], axis=0)
    first = min(own, key=lambda i: np.linalg.norm(vectors[i] - centre))
    shown = page.text[page.text.index("Nearest to each condition") :]
    shown = shown[shown.index("ctrl") : shown.index("Nearest to each cluster")].split("ROIs|")[1]
    names = re.findall(r"(\d\.csv), ROI\s(\d+)", shown)
    assert (rows[first]["field"], str(rows[first]["roi"])) in names
    assert len({name for name, _ in names}) == 3


def test_equal_reports_are_equal_files(usual):
    campaign, _, _ = usual
    path = campaign.output / "report" / "embedding.html"
    before = path.read_bytes()
    page_of(campaign)
    assert path.read_bytes() == before


def test_names_can_t_become_markup(made, embedded, tmp_path):
    flags = [embedded.flag("red", HOSTILE[0]), embedded.flag("amber", HOSTILE[1], channel=None)]
    campaign = embedded_campaign(made, embedded, tmp_path, conditions=HOSTILE, replicates=1, tables={"flags": flags})
    page = page_of(campaign, name=HOSTILE[1])
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.tags.count("script") == 1
    assert page.numbers[0]["paints"]["condition"]["names"] == sorted(HOSTILE)
    for name in HOSTILE[:3]:
        assert name in page.text


@pytest.mark.parametrize("n", [1, 20])
def test_odd_numbers_of_conditions(made, embedded, tmp_path, n):
    campaign = embedded_campaign(made, embedded, tmp_path, conditions=[f"c{i}" for i in range(n)], replicates=1, side_um=9.0, n_locs=2000)
    page = page_of(campaign)
    assert ("Nothing to compare." in page.text) == (n == 1)
    assert ("How far conditions are apart" in page.text) == (n > 1)
    assert page.text.count("|Nearest to each cluster") == 1
    marks = page.numbers[0]["paints"]["condition"]["marks"]
    colours = page.numbers[0]["paints"]["condition"]["colours"]
    assert len(set(zip(colours, marks, strict=False))) == (n if n > 7 else 0)


def test_of_many_pairs_the_nearest_are_shown(made, embedded, tmp_path):
    campaign = embedded_campaign(made, embedded, tmp_path, conditions=[f"c{i}" for i in range(8)], replicates=1, side_um=9.0, n_locs=2000)
    text = page_of(campaign).text
    assert "The 15 nearest of 28 pairs" in text
    pairs = {(d["condition"], d["other"]): d["distance"] for d in pq.read_table(table_path(tmp_path, "embedding_distances")).to_pylist()}
    shown = [pair for pair in pairs if f"|{pair[0]} and {pair[1]}|" in text]
    assert sorted(shown, key=pairs.get) == sorted(pairs, key=pairs.get)[:15]


@pytest.mark.parametrize(("n_rois", "said"), [(59, "the two leading principal axes"), (60, "neighbours on the map (UMAP) are alike")])
def test_the_map_is_called_what_it_is(made, embedded, tmp_path, n_rois, said):
    campaign = embedded_campaign(made, embedded, tmp_path, replicates=4)
    table = pq.read_table(table_path(tmp_path, "embeddings"))
    pq.write_table(table.slice(0, n_rois), table_path(tmp_path, "embeddings"))
    page = page_of(campaign)
    assert len(page.numbers[0]["x"]) == n_rois
    assert f"For the eye only: {said}" in page.text


def test_equally_many_locs_are_no_scale_of_density_and_a_curve_may_have_no_bend(made, embedded, tmp_path):
    campaign = embedded_campaign(made, embedded, tmp_path)
    rows = pq.read_table(table_path(tmp_path, "embeddings"))
    cells = [row | {"n_locs": 900} for row in rows.to_pylist()]
    pq.write_table(rows.from_pylist(cells, rows.schema), table_path(tmp_path, "embeddings"))
    scores = pq.read_table(table_path(tmp_path, "embedding_scores"))
    unbent = [row | {"note": ""} for row in scores.to_pylist()]
    pq.write_table(scores.from_pylist(unbent, scores.schema), table_path(tmp_path, "embedding_scores"))
    page = page_of(campaign)
    assert "The curve has no bend." in page.text
    density = page.numbers[0]["paints"]["density"]
    assert (density["names"], density["ramp"], set(density["groups"])) == (["900 locs each"], False, {0})


def test_pictures_have_a_scale(usual):
    _, _, page = usual
    assert "White bar: 1 µm." in page.text
    bars = [value for value in page.values("span", "style") if value.startswith("width:")]
    assert set(bars) == {"width:33.33%"}
    assert len(bars) == sum(width == "150" for width in page.values("img", "width"))


def test_a_single_roi(made, embedded, tmp_path):
    campaign = embedded_campaign(made, embedded, tmp_path, conditions=["only"], replicates=1, tables={"scores": ()})
    table = pq.read_table(table_path(tmp_path, "embeddings")).slice(0, 1)
    pq.write_table(table, table_path(tmp_path, "embeddings"))
    page = page_of(campaign)
    assert len(page.numbers[0]["x"]) == 1
    assert "1 ROI embedded" in page.text


def test_rois_without_condition_cluster_or_place(made, embedded, tmp_path):
    campaign = embedded_campaign(made, embedded, tmp_path)
    rows = pq.read_table(table_path(tmp_path, "embeddings"))
    cells = rows.to_pylist()
    for i, row in enumerate(cells):
        row.update([{"condition": None, "axis_1": None}, {"kmeans": None}, {"map_x": None, "map_y": None}, {}][i % 4])
    pq.write_table(rows.from_pylist(cells, rows.schema), table_path(tmp_path, "embeddings"))
    page = page_of(campaign)
    on_map = sum(row["map_x"] is not None for row in cells)
    assert len(page.numbers[0]["x"]) == on_map
    assert f"Each dot is a ROI ({on_map} of {len(cells)}, evenly drawn over the conditions)" in page.text
    assert "(no condition)" in page.numbers[0]["paints"]["condition"]["names"]
    assert "no cluster" in page.numbers[0]["paints"]["cluster"]["names"]


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ({"model": "", "why_none": "ROIs have 2 µm, the model 3 µm. Set embed.model"}, "ROIs have 2 µm, the model 3 µm. Set embed.model."),
        (None, "No field has come through the stage embed yet; run again to go on."),
    ],
)
def test_without_an_embedding_the_report_says_why(made, embedded, tmp_path, units, said):
    campaign = made.study(tmp_path, replicates=2, n_locs=2000, side_um=9.0)
    write_tables(campaign, fingerprint="t")
    if units:
        campaign = embedded.with_units(campaign, **units)
        embedded.write_tables(campaign)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "embedding.html").write_text("of an earlier run")
    index, page = report(campaign)
    assert page is None  # the earlier one is gone
    section = index.text[index.text.index("|Architecture by learned embedding|") :]
    assert said in section
    assert "Embedding (a learned" not in index.text
    assert "Shirgill" not in index.text


def test_all_too_empty_is_told_with_the_remedy(made, embedded, tmp_path):
    campaign = made.study(tmp_path, replicates=1, n_locs=300, side_um=9.0)
    write_tables(campaign, fingerprint="t")
    campaign = embedded.with_units(campaign, n_skipped=4)
    embedded.write_tables(campaign)
    empty = pq.read_table(table_path(tmp_path, "embeddings")).slice(0, 0)
    pq.write_table(empty, table_path(tmp_path, "embeddings"))
    index, _ = report(campaign)
    assert "All 8 ROIs have too few locs to be embedded. Run again with a smaller embed.min_locs" in index.text


def test_channels_have_their_own_parts(made, embedded, tmp_path):
    campaign = embedded_campaign(made, embedded, tmp_path, channels=(0, 1), n_locs=12000)
    index, page = report(campaign)
    assert len(page.numbers) == 2
    assert page.text.count("Channel 0|") == page.text.count("Channel 1|") > 3
    assert "Embedding, Channel 1 (a learned measure" in index.text
    assert {f"figures/embedding_map_c{c}.svg" for c in (0, 1)} <= set(page.values("a", "href"))


def test_channels_that_are_part_of_the_condition_share_one_map(made, embedded, tmp_path):
    campaign = embedded_campaign(made, embedded, tmp_path, channels=(0, 1), n_locs=12000)
    joined = config_from_dict({"compare": {"conditions": "condition,channel"}}).compare
    campaign = replace(campaign, config=replace(campaign.config, compare=joined))
    page = page_of(campaign, joined=True)
    assert len(page.numbers) == 1
    assert len(page.numbers[0]["x"]) == pq.read_table(table_path(tmp_path, "embeddings")).num_rows


def test_the_page_stays_small(made, embedded, tmp_path):
    """Pictures are fewer where the page would grow beyond 5 MB, evenly over the conditions."""
    campaign = embedded_campaign(made, embedded, tmp_path, n_locs=30_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smlmbatch.report.embedding_pictures._SHEET_LETTERS", 30_000)
        page = page_of(campaign)
    sheet = next(value for tag, name, value in page.attributes if tag == "img" and name == "src" and value.startswith("data:image/png"))
    assert len(base64.b64decode(page.values("img", "src")[-1].partition(",")[2])) < 30_000
    assert sheet
    numbers = page.numbers[0]
    pictured = [condition for condition, at in zip(numbers["paints"]["condition"]["groups"], numbers["picture"], strict=True) if at >= 0]
    assert 0 < len(pictured) < len(numbers["x"])
    assert abs(pictured.count(0) - pictured.count(1)) <= 2
    assert f"{len(pictured)} of them have a picture here" in page.text
