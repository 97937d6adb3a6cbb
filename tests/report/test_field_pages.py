import base64
import csv
import hashlib
import io
import re
import statistics
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from smlmbatch.analyse.grouping import group_rois
from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.report.field_pages import write_field_pages
from smlmbatch.report.field_script import SCRIPT
from smlmbatch.report.page import VOID
from smlmbatch.report.quality_overview import read_checks
from smlmbatch.report.sections import in_order, with_sample


class Page(HTMLParser):
    """Checks that tags are balanced; collects shown text, figures' numbers, attributes and tags."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.source = path.read_bytes().decode("utf-8")
        self.open, self.tags, self.attributes, self.words, self.numbers = [], [], [], [], {}
        self.feed(self.source)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "figure":
            self.name = dict(attrs)["data-name"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th", "p", "h1", "h2", "h3", "dt", "dd", "div"):
            self.words.append("|")

    def handle_data(self, data):
        if self.open[-1:] == ["pre"]:
            self.numbers[self.name] = list(csv.DictReader(io.StringIO(data)))
        elif self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    def values(self, tag, name):
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]


def write(campaign, **more):
    """Tables and pages; returns how many pages were written."""
    write_tables(campaign, fingerprint="t")
    tables = read_tables(campaign.output)
    rows = in_order([{"light": None, **row} for row in with_sample(campaign, tables.fields.to_pylist())])
    grouped = group_rois(tables.rois, tables.fields, config=campaign.config.compare)
    return write_field_pages(campaign, rows=rows, rois=grouped, checks=read_checks(campaign.output), **{"name": "my data"} | more)


def pages_of(campaign):
    return {path.stem: Page(path) for path in sorted((campaign.output / "report" / "fields").iterdir())}


def changed_at(campaign):
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (campaign.output / "report" / "fields").iterdir()}


@pytest.fixture(scope="module")
def usual(made, tmp_path_factory):
    """Two conditions of three fields, one field failed; and the pages."""
    cells = [
        made.Cell(
            field=made.field(f"{name}/cell{r}.csv", name, f"rep{r}"),
            level=level,
            n_locs=9000,
            dropped=(("x is not a number", 7),),
            quality=(("drift_nm", 90.0),) if r == 0 else (),
        )
        for name, level in (("ctrl", 1.0), ("EGF 10 nM", 2.0))
        for r in range(3)
    ]
    broken = [(made.field("ctrl/broken.csv", "ctrl", "rep9"), "ingest", "no column for x", "a column for x", "give --map x=X")]
    campaign = made.build(tmp_path_factory.mktemp("pages"), cells, failures=broken)
    assert write(campaign) == 7
    return campaign, pages_of(campaign)


def page_of(usual, path):
    campaign, pages = usual
    return pages[next(r.field.key for r in campaign.fields if r.field.path == path)]


def test_every_field_has_a_page_with_all_parts(usual):
    campaign, pages = usual
    assert set(pages) == {r.field.key for r in campaign.fields}
    page = page_of(usual, "ctrl/cell1.csv")
    assert set(page.values("section", "id")) == {"quality", "rendering", "zooms", "pattern", "descriptors", "recording", "file"}
    anchors = {value for value in page.values("a", "href") if value.startswith("#")}
    assert anchors == {f"#{value}" for value in page.values("section", "id")}
    assert len(page.source) < 500_000


def test_pages_are_linked_in_the_campaigns_order_and_to_the_report(usual):
    campaign, pages = usual
    order = [r["key"] for r in in_order(with_sample(campaign, read_tables(campaign.output).fields.to_pylist()))]
    for i, key in enumerate(order):
        links = [value for value in pages[key].values("a", "href") if not value.startswith("#")]
        around = [f"{order[i - 1]}.html"] * (i > 0) + ["../index.html"] + [f"{order[i + 1]}.html" for _ in order[i + 1 : i + 2]]
        assert links == around


def test_only_its_own_script_may_run_and_nothing_is_fetched(usual):
    for page in usual[1].values():
        sources = [value for _, name, value in page.attributes if name in ("src", "srcset", "data", "action", "xlink:href")]
        sources += page.values("image", "href")
        assert all(value.startswith("data:image/png;base64,") for value in sources)
        assert page.tags.count("script") == 1
        assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
        assert not [name for _, name, _ in page.attributes if name.startswith("on")]
        policy = page.values("meta", "content")[1]
        digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
        assert policy.startswith("default-src 'none'; img-src data:;")
        assert policy.endswith(f"script-src 'sha256-{digest}'")
        assert f"<script>{SCRIPT}</script>" in page.source


def test_lights_stand_with_their_sentences_worst_first(usual):
    campaign, _ = usual
    page = page_of(usual, "ctrl/cell0.csv")
    assert "in doubt" in page.text[: page.text.index("Is it good data?")]
    checks = [c for c in read_checks(campaign.output) if c.field == "cell0.csv" and c.key in page.values("figure", "data-name")[0]]
    assert checks
    judged = page.text[page.text.index("Is it good data?|") : page.text.index("The field|")]
    checks = [replace(check, text=re.sub(r"\s+", " ", check.text)) for check in checks]
    assert all(check.text in judged for check in checks)
    drift = next(check for check in checks if check.check == "drift_nm")
    assert drift.light == "red"
    assert all(judged.index(drift.text) <= judged.index(check.text) for check in checks)
    assert "in doubt" not in page_of(usual, "ctrl/cell1.csv").text[:400]


def test_descriptors_are_those_of_the_table_beside_the_conditions(usual):
    campaign, _ = usual
    rois = [r for r in read_tables(campaign.output).rois.to_pylist() if r["kept"] and r["condition"] == "ctrl"]
    page = page_of(usual, "ctrl/cell1.csv")
    own = [r["nn_mean_nm"] for r in rois if r["field"] == "cell1.csv"]
    means = [statistics.mean(r["nn_mean_nm"] for r in rois if r["replicate"] == f"rep{i}") for i in range(3)]
    cells = page.text[page.text.index("|Nearest neighbour, mean|") :].split("|")[2:7]
    assert cells[0] == "nm"
    shown = [float(number) for number in cells[1].split(" ± ")] + [float(cells[2])] + [float(number) for number in cells[3].split(" ± ")]
    assert shown == pytest.approx(
        [statistics.mean(own), statistics.stdev(own), len(own), statistics.mean(means), statistics.stdev(means)], abs=0.06
    )
    assert cells[4] == "3"


def test_the_grid_is_kept_as_numbers(usual):
    campaign, _ = usual
    page = page_of(usual, "EGF 10 nM/cell2.csv")
    (name,) = (name for name in page.numbers if name.endswith("-rendering"))
    rois = [r for r in read_tables(campaign.output).rois.to_pylist() if r["key"] == name.removesuffix("-rendering")]
    rows = page.numbers[name]
    assert [float(row["x_nm"]) for row in rows] == pytest.approx([r["x_nm"] for r in rois], abs=0.06)
    assert [row["fate"] for row in rows] == [r["reason"] or "kept" for r in rois]
    assert [int(row["n_locs_channel_0"]) for row in rows] == [r["n_locs"] for r in rois]
    kept = sum(r["kept"] for r in rois)
    assert f"{kept} ROIs kept" in page.text
    examples = page.numbers[name.replace("-rendering", "-rois")]
    assert [row["letter"] for row in examples] == ["A", "B", "C"]
    assert all(rois[int(row["roi"])]["kept"] for row in examples)


def test_a_failed_field_has_its_reason_and_remedy(usual):
    page = page_of(usual, "ctrl/broken.csv")
    for said in ("Found: no column for x", "Wanted: a column for x", "To mend it: give --map x=X", "ctrl/broken.csv", "failed"):
        assert said in page.text
    assert "svg" not in page.tags


def test_what_was_read_and_dropped_is_told(usual):
    page = page_of(usual, "ctrl/cell1.csv")
    assert "7 (<0.1 %): x is not a number: 7" in page.text
    assert "x_nm from x [nm]; y_nm from y [nm]" in page.text


# ---- what is written when


def test_unchanged_pages_are_left_alone(usual):
    campaign, _ = usual
    before = changed_at(campaign)
    assert write(campaign) == 0
    assert changed_at(campaign) == before


def test_equal_pages_are_equal_bytes(usual, tmp_path):
    campaign, pages = usual
    again = replace(campaign, output=tmp_path)
    write(again)
    assert {path.stem: path.read_bytes() for path in (tmp_path / "report" / "fields").iterdir()} == {
        key: page.source.encode() for key, page in pages.items()
    }


def test_a_new_label_rewrites_that_page_and_stale_pages_go(made, tmp_path):
    cells = [made.Cell(field=made.field(f"{c}.csv", c, "r1"), n_locs=2000, side_um=9.0) for c in "abcde"]
    campaign = made.build(tmp_path, cells)
    assert write(campaign) == 5
    before = changed_at(campaign)
    first = campaign.fields[0]
    renamed = replace(campaign, fields=(replace(first, field=replace(first.field, batch="Tuesday")), *campaign.fields[1:]))
    assert write(renamed) == 1
    after = changed_at(renamed)
    assert {name for name in before if before[name] != after[name]} == {f"{first.field.key}.html"}
    shorter = replace(renamed, fields=renamed.fields[:-1])
    assert write(shorter) == 1  # the one before the last has lost its neighbour
    assert set(changed_at(shorter)) == {f"{r.field.key}.html" for r in shorter.fields}


def test_a_condition_whose_means_have_moved_is_written_anew(made, tmp_path):
    cells = [made.Cell(field=made.field(f"{c}{r}.csv", c, f"r{r}"), n_locs=5000, side_um=15.0) for c in "ab" for r in range(2)]
    campaign = made.build(tmp_path, cells)
    write(campaign)
    without = replace(campaign, fields=campaign.fields[:-1])  # of condition b
    assert write(without) == 1  # b0: its condition's mean, and no neighbour any more
    assert len(pages_of(without)) == 3


# ---- unusual fields


HOSTILE = [
    "<script>alert(1)</script>",
    "a\"b'c&d",
    "</pre><script>x</script>",
    "two\nlines",
    "bad\udcffbyte",
    "=cmd|' /C calc'!A0",
    "日本語",
]


def test_hostile_names_stay_names(made, tmp_path):
    cells = [made.Cell(field=made.field(f"{i}/{n}.csv", n, n, name=n, labels=((n, n),)), n_locs=4000) for i, n in enumerate(HOSTILE)]
    campaign = made.build(tmp_path, cells, failures=[(made.field("f.csv", HOSTILE[0], "1", name=HOSTILE[2]), "tile", *HOSTILE[:3])])
    write(campaign, name=HOSTILE[0])
    pages = pages_of(campaign)
    assert len(pages) == len(HOSTILE) + 1
    for page in pages.values():
        assert page.tags.count("script") == 1
        assert page.source.count("</pre>") == page.tags.count("pre")
    assert all(any(name in page.text for page in pages.values()) for name in (HOSTILE[0], HOSTILE[1], HOSTILE[2], "bad\\xffbyte", "日本語"))
    assert not any("=cmd" in cell for page in pages.values() for rows in page.numbers.values() for row in rows for cell in row.values())


@pytest.mark.parametrize(
    ("look", "sections"),
    [
        ({"empty": True}, {"quality", "rendering", "recording", "file"}),
        ({"n_locs": 0, "empty": True}, {"quality", "recording", "file"}),
        ({"precise": False, "n_locs": 6000}, {"quality", "rendering", "zooms", "recording", "pattern", "descriptors", "file"}),
        ({"channels": (0, 1, 2), "n_locs": 9000}, {"quality", "rendering", "zooms", "recording", "pattern", "descriptors", "file"}),
        ({"channels": (0, 1, 2, 3, 7), "n_locs": 9000}, {"quality", "rendering", "zooms", "recording", "pattern", "descriptors", "file"}),
        ({"side_um": 4.0, "n_locs": 300}, {"quality", "rendering", "zooms", "recording", "file"}),
        ({"undefined": True, "n_locs": 9000}, {"quality", "rendering", "zooms", "recording", "pattern", "descriptors", "file"}),
    ],
    ids=["no cell", "no locs", "no precision", "three channels", "five channels", "smaller than a ROI", "undefined"],
)
def test_unusual_fields(made, tmp_path, look, sections):
    campaign = made.build(tmp_path, [made.Cell(field=made.field("a.csv", "only", "r1"), **look)])
    write(campaign)
    (page,) = pages_of(campaign).values()
    assert set(page.values("section", "id")) == sections
    assert not re.search(r"\bnan\b|\bNone\b", page.text)
    n_channels = len(look.get("channels", (0,)))
    renderings = [name for name in page.numbers if "-rendering" in name]
    merged = n_channels in (2, 3)
    assert len(renderings) == (0 if look.get("n_locs") == 0 else n_channels + merged)


def test_an_unfinished_field_says_so(made, tmp_path):
    campaign = made.build(tmp_path, [made.Cell(field=made.field("a.csv", "only", "r1"))])
    (result,) = campaign.fields
    half = replace(result, units={stage: path for stage, path in result.units.items() if stage != "measure"})
    write(replace(campaign, fields=(half,)))
    (page,) = pages_of(campaign).values()
    assert "not finished yet: run again" in page.text


def test_a_field_that_failed_later_shows_what_is_known(made, tmp_path):
    campaign = made.build(tmp_path, [made.Cell(field=made.field("a.csv", "only", "r1"), n_locs=3000)])
    (failed,) = made.failing(campaign).fields
    (whole,) = campaign.fields
    broken = replace(
        failed, units={"ingest": whole.units["ingest"]}, failure=replace(failed.failure, stage="tile", finding="no such outline")
    )
    write(replace(campaign, fields=(broken,)))
    (page,) = pages_of(campaign).values()
    assert "Found: no such outline" in page.text
    n = read_tables(tmp_path).fields["n"][0].as_py()
    assert f"{n:,} localisations" in page.text
    assert f"Records read|{n:,}|" in page.text


@pytest.mark.parametrize(("n_unknown", "said"), [(7, "good, 3 of 10 checks possible|"), (5, "good|")])
def test_a_good_field_says_how_few_checks_were_possible(made, tmp_path, n_unknown, said):
    unknown = ("drift_nm", "fading", "gaps", "duplicates", "blinks", "crowding", "illumination")[:n_unknown]
    cell = made.Cell(field=made.field("a.csv", "c", "r"), n_locs=9000, quality=tuple((name, None) for name in unknown))
    campaign = made.build(tmp_path, [cell])
    write(campaign)
    (page,) = pages_of(campaign).values()
    assert f"a.csv ✓ {said}" in page.text[:300]
