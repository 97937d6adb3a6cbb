import csv
import re
import statistics
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from smlmbatch.analyse.comparisons import read_comparisons
from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.config import config_from_dict, to_toml
from smlmbatch.report.fingerprint import report_fingerprint
from smlmbatch.report.gallery import Drawing
from smlmbatch.report.html import write_report
from smlmbatch.report.page import VOID
from smlmbatch.report.wording import rounded
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.store.schema import SCHEMA

SOFTWARE = {"smlmbatch": "0.1.0", "python": "3.11", "numpy": "2.4.0"}


class Page(HTMLParser):
    """Checks that tags are balanced; collects text, attributes and tags."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.words, self.anchors = [], [], [], [], set()
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th", "p", "h1", "h2", "h3", "dt", "dd", "div"):
            self.words.append("|")

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def report(campaign, *, drawn=False, **more):
    """The page of a campaign, without its fields' pages; superplots are empty unless `drawn`, which takes a second."""
    write_tables(campaign, fingerprint="t1")
    more = {"fingerprint": "f1", "input_name": "my data", "software": SOFTWARE, "run": {"finished": "today"}} | more
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smlmbatch.report.html.write_field_pages", lambda *_, **__: 0)
        if not drawn:
            patch.setattr("smlmbatch.report.superplots.draw_superplot", lambda *_, **__: Drawing(b"<svg/>", b""))
        text = write_report(campaign, **more).read_bytes().decode("utf-8")
    return Page(text), text


@pytest.fixture(scope="module")
def usual(made, tmp_path_factory):
    """A campaign with a failed field, ignored files and dropped records, and its page."""
    cells = [
        made.Cell(field=made.field(f"{name}/cell{r}.csv", name, f"rep{r}"), level=level, dropped=(("x is not a number", 7),), n_locs=9000)
        for name, level in (("ctrl", 1.0), ("EGF 10 nM", 2.0))
        for r in range(3)
    ]
    broken = [(made.field(f"ctrl/broken{i}.csv", "ctrl", "rep9"), "ingest", "no column for x", "a column for x", "name it") for i in (1, 2)]
    campaign = made.build(tmp_path_factory.mktemp("out"), cells, failures=broken, ignored=[("notes/README.md", "a text")])
    return campaign, *report(campaign, drawn=True)


def test_page_is_balanced_and_has_all_parts(usual):
    _, page, _ = usual
    anchors = {value for tag, name, value in page.attributes if tag == "section" and name == "id"}
    assert anchors == {"quality", "compared", "descriptors", "clusters", "embedding", "pictures", "came-in", "dropped", "methods", "costs"}
    targets = {f"#{value}" for _, name, value in page.attributes if name == "id"}
    led_to = {value for _, name, value in page.attributes if name == "href" and value.startswith("#")}
    assert {f"#{anchor}" for anchor in anchors} <= led_to <= targets


def test_nothing_is_fetched_from_elsewhere(usual):
    _, page, text = usual
    sources = [
        value for tag, name, value in page.attributes if name in ("src", "srcset", "data", "action") or (tag, name) == ("image", "href")
    ]
    assert all(value.startswith("data:image/") for value in sources)
    links = {value for tag, name, value in page.attributes if (tag, name) == ("a", "href")}
    assert all(re.fullmatch(r"#[a-z-]+|figures/[a-z0-9_]+\.(svg|png|csv)|fields/[A-Za-z0-9_-]+\.html", link) for link in links)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import", text)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_verdict_counts_what_there_is(usual):
    campaign, page, _ = usual
    fields = read_tables(campaign.output).fields
    kept, found = (sum(n or 0 for n in fields[name].to_pylist()) for name in ("n_rois_kept", "n_rois"))
    share = f"{100 * kept / found:.0f} %"
    assert "|In part.|8 fields:✓ 6 good2 failed|" in page.text
    assert "2 fields could not be analysed and are in no number below." in page.text
    assert f"{kept} of {found} ROIs kept ({share}). 1 other file ignored." in page.text


def test_verdict_says_what_the_table_of_comparisons_says(usual):
    campaign, page, _ = usual
    found = read_comparisons(campaign.output)
    differing = [c for c in found if c.verdict == "differs"]
    assert 0 < len(differing) < len(found)
    assert "Do the conditions differ?|Yes.|" in page.text
    assert f"EGF 10 nM against ctrl, 3 replicates each: {len(differing)} of {len(found)} descriptors differ" in page.text
    surest = min(differing, key=lambda c: c.p)
    assert f" is {rounded(surest.ratio, surest.ratio_low, surest.ratio_high)[0]} times that of ctrl" in page.text
    verdict, evidence = page.text.index("Do the conditions differ?"), page.text.index("Quality of the fields")
    assert verdict < evidence < page.text.index("Conditions compared", evidence)


def test_failures_stand_with_reason_and_remedy(usual):
    _, page, _ = usual
    assert "|2 fields ctrl/broken1.csv, ctrl/broken2.csv|" in page.text
    assert "Found: no column for x" in page.text
    assert "Wanted: a column for x" in page.text
    assert "To mend it: name it" in page.text


def test_drops_and_ignored_files_are_listed(usual):
    campaign, page, _ = usual
    n = sum(n or 0 for n in read_tables(campaign.output).fields["n_read"].to_pylist())
    assert f"42 of {n:,} records (<0.1 %) in 6 fields were dropped." in page.text
    assert page.text.count("|x is not a number: 7|") == 6
    rois = read_tables(campaign.output).rois.to_pylist()
    n_coverage = sum(row["reason"] == "coverage below min_coverage" for row in rois)
    assert f"|coverage below min_coverage|{n_coverage}|" in page.text
    assert "--min-coverage" in page.text
    assert "notes/README.md" in page.text


def test_numbers_are_those_of_the_tables(usual):
    campaign, page, _ = usual
    rows = [r for r in read_tables(campaign.output).rois.to_pylist() if r["kept"] and r["condition"] == "ctrl"]
    means = [[r["nn_mean_nm"] for r in rows if r["replicate"] == f"rep{i}"] for i in range(3)]
    mean = sum(sum(m) / len(m) for m in means) / 3
    shown = re.search(r"\|Nearest neighbour, mean\|nm\|([\d.]+) ± ([\d.]+)\|", page.text)
    assert float(shown[1]) == pytest.approx(mean, abs=0.06)
    assert float(shown[2]) == pytest.approx(statistics.stdev(sum(m) / len(m) for m in means), rel=0.05)
    with (campaign.output / "report" / "figures" / "replicates.csv").open(newline="") as file:
        found = [float(r["mean"]) for r in csv.DictReader(file) if r["condition"] == "ctrl" and r["descriptor"] == "nn_mean_nm"]
    assert found == pytest.approx([sum(m) / len(m) for m in means])


def test_curves_are_kept_as_numbers(usual, made):
    campaign, _, _ = usual
    with (campaign.output / "report" / "figures" / "ripley_c0.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * len(made.RADIUS_NM)
    assert {r["condition"] for r in rows} == {"ctrl", "EGF 10 nM"}


def test_pictures_of_every_field(usual):
    _, page, text = usual
    assert page.tags.count("svg") == 6
    assert page.tags.count("image") == 6
    assert text.count("µm</text>") == 6
    assert page.tags.count("img") == 6 + 11 + 2  # thumbnails; superplots; effects and curves
    assert all(len(value) > 200 for tag, name, value in page.attributes if tag in ("img", "image") and name in ("src", "href"))


def test_settings_software_and_run_are_there(usual):
    campaign, page, _ = usual
    assert re.sub(r"\s+", " ", to_toml(campaign.config)).strip() in page.text
    assert "|numpy|2.4.0|" in page.text
    assert "|finished|today|" in page.text


def test_fingerprint_is_read_back(usual, tmp_path):
    campaign, _, _ = usual
    assert report_fingerprint(campaign.output) == "f1"
    assert report_fingerprint(tmp_path) is None


def test_equal_reports_are_equal_files(usual):
    campaign, _, text = usual
    assert report(campaign, drawn=True)[1] == text
    assert sorted(p.name for p in (campaign.output / "report").iterdir()) == ["figures", "index.html"]


def test_every_figure_is_three_files_and_every_link_to_one_leads_there(usual):
    campaign, page, _ = usual
    links = {value for tag, name, value in page.attributes if (tag, name) == ("a", "href") and value.startswith("figures/")}
    files = {f"figures/{path.name}" for path in (campaign.output / "report" / "figures").iterdir()}
    assert links == files
    names = {name.rpartition(".")[0] for name in files} - {"figures/replicates"}
    assert files - {"figures/replicates.csv"} == {f"{name}.{kind}" for name in names for kind in ("svg", "png", "csv")}
    assert {"figures/effects_c0", "figures/ripley_c0", "figures/density_per_um2_c0"} <= names


def test_superplot_s_numbers_are_those_of_the_tables(usual):
    campaign, _, _ = usual
    with (campaign.output / "report" / "figures" / "cluster_area_nm2_c0.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rois = [r for r in read_tables(campaign.output).rois.to_pylist() if r["kept"]]
    for name in ("ctrl", "EGF 10 nM"):
        own = [r["cluster_area_nm2"] / 1000 for r in rois if r["condition"] == name]
        drawn = [float(r["Cluster area (10³ nm²)"]) for r in rows if (r["level"], r["condition"]) == ("roi", name)]
        assert sorted(drawn) == pytest.approx(sorted(own))
        by_replicate = [float(r["Cluster area (10³ nm²)"]) for r in rows if (r["level"], r["condition"]) == ("replicate", name)]
        whole = [float(r["Cluster area (10³ nm²)"]) for r in rows if (r["level"], r["condition"]) == ("condition", name)]
        assert len(by_replicate) == 3
        assert whole == pytest.approx([statistics.mean(by_replicate)])


def row_of(page, field):
    """Cells of a field's row in the table of fields."""
    table = page.text[page.text.index("|Remarks|") : page.text.index("Thumbnails show")]
    return table[table.index(field) :].split("|")


def test_head_counts_what_was_analysed(usual, made, tmp_path):
    _, page, _ = usual
    assert "6 outlines|2 conditions|6 replicates|" in page.text  # the failed fields are of a seventh
    lone = made.build(tmp_path, [], failures=[(made.field("x/a.csv", "x", "1"), "ingest", "f", "w", "m")])
    assert "|0 conditions|0 replicates|" in report(lone)[0].text


def test_remarks_say_what_failed_and_what_was_dropped(usual, made, tmp_path):
    _, page, _ = usual
    assert row_of(page, "cell0.csv")[9] == "7 rows dropped"
    assert "failed: no column for x" in row_of(page, "broken1.csv")
    cell = made.Cell(field=made.field("a.csv", "c", "r"), dropped=(("short", 900),), n_locs=3000, side_um=15.0)
    finding = "no column for x among " + ", ".join(f"c{i}" for i in range(99))
    text = report(made.build(tmp_path, [cell], failures=[(made.field("b.csv", "c", "r"), "ingest", finding, "w", "m")]))[0]
    assert any(cell.endswith("900 rows dropped (23\u202f%)".replace("\u202f", " ")) for cell in row_of(text, "a.csv"))
    told = next(cell for cell in row_of(text, "b.csv") if cell.startswith("failed: "))
    assert told.endswith("…")
    assert finding.startswith(told.removeprefix("failed: ")[:-1])
    assert len(told) <= len("failed: ") + 60


def test_conditions_of_channels_stand_in_the_table_of_fields(made, tmp_path):
    labels = (("condition_0", "EGFR"), ("condition_1", "EREG"))
    field = made.field("folder/a.csv", "folder", "r1", labels=labels)
    bad = made.field("folder/b.csv", "folder", "r1", labels=labels)
    page, _ = report(
        made.build(tmp_path, [made.Cell(field=field, channels=(0, 1), n_locs=6000)], failures=[(bad, "ingest", "f", "w", "m")])
    )
    assert row_of(page, "a.csv")[1] == row_of(page, "b.csv")[1] == "EGFR / EREG"
    assert "|2 conditions|1 replicate|" in page.text


def test_conditions_without_a_roi_are_named(made, tmp_path):
    cells = [made.Cell(field=made.field(f"{c}.csv", c, "r"), empty=empty) for c, empty in (("full", False), ("void", True))]
    failed = (made.field("x.csv", "broken", "r"), "ingest", "f", "w", "m")
    page, _ = report(made.build(tmp_path, cells, failures=[failed]))
    assert "Without any kept ROI, so not described: broken, void." in page.text


def test_a_reference_without_a_kept_roi_does_not_cost_the_report(made, tmp_path):
    cells = [made.Cell(field=made.field(f"{c}{r}.csv", c, str(r)), empty=c == "void") for c in ("full", "void") for r in range(2)]
    campaign = made.build(tmp_path, cells)
    compared = config_from_dict({"compare": {"reference": "void"}}).compare
    page, _ = report(replace(campaign, config=replace(campaign.config, compare=compared)))
    assert "No ROI of the reference void was kept, so nothing is compared with it." in page.text
    assert read_comparisons(tmp_path) == []


def test_whole_field_is_advised_only_where_outlines_were_found(made, tmp_path):
    ragged = made.Cell(field=made.field("a.csv", "c", "r"), side_um=4.0, n_locs=300)
    text = report(made.build(tmp_path / "a", [ragged]))[0].text
    assert "run again with --outline field" in text
    assert re.search(r"smaller\W+--roi-nm\W+or\W+--outline\W+field", text)
    void = made.Cell(field=made.field("a.csv", "c", "r"), empty=True)
    text = report(made.build(tmp_path / "b", [void]))[0].text
    assert "run again with --outline field" not in text
    assert "or |--outline" not in text


def test_rois_of_few_locs_are_told(made, tmp_path):
    campaign = made.build(tmp_path, [made.Cell(field=made.field("a.csv", "only", "r"), channels=(0, 1), n_locs=2600)])
    page, _ = report(campaign)
    for channel in (0, 1):
        rois = [r for r in read_tables(tmp_path).rois.to_pylist() if r["kept"] and r["channel"] == channel]
        enough = [r["nn_mean_nm"] for r in rois if r["n_locs"] >= 50]
        assert 0 < len(enough) < len(rois)
        said = f"Fewer than 50 locs of this channel: {len(rois) - len(enough)} of {len(rois)} ROIs of only. They enter density"
        assert said in page.text
        mean = sum(enough) / len(enough)
        row = re.findall(r"\|Nearest neighbour, mean\|nm\|([\d.]+)\|(\d+)\|", page.text)[channel]
        assert (float(row[0]), int(row[1])) == (pytest.approx(mean, rel=0.005), len(enough))
        assert re.findall(r"\|Density\|locs/µm²\|[\d.]+\|(\d+)\|", page.text)[channel] == str(len(rois))


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_rois_without_a_maximum_are_told(made, tmp_path, monkeypatch, share):
    def write(path, cell, kept, counts, rng):
        write_measure(path, cell, kept, counts, rng)
        with UnitReader(path) as unit:
            arrays = {name: unit.read(name) for name in SCHEMA["measure"]}
        arrays["ripley_peak_nm"][: round(share * len(kept))] = np.nan
        path.unlink()
        with unit_writer(path, "measure") as out:
            for name, values in arrays.items():
                out.write(name, values)

    write_measure = made._write_measure
    monkeypatch.setattr(made, "_write_measure", write)
    page, _ = report(made.build(tmp_path, [made.Cell(field=made.field("a.csv", "only", "r"), n_locs=9000)]))
    n = sum(r["kept"] for r in read_tables(tmp_path).rois.to_pylist())
    missing = round(share * n)
    assert f"No maximum of L(r) \u2212 r within the radii measured: {missing} of {n} ROIs of only." in page.text
    value, entered = re.search(r"\|Radius of the L\(r\) \u2212 r maximum\|nm\|([^|]+)\|(\d+)\|", page.text).groups()
    assert int(entered) == n - missing
    assert (value == "\u2013") == (share == 1.0)


HOSTILE = ["<script>alert(1)</script>", "a\"b'c&d", "$\\frac{1}{0}$", "two\nlines", "bad\udcffbyte", "x\x00y\x1bz", "日本語", "</style>"]


def test_hostile_names_stay_names(made, tmp_path):
    cells = [made.Cell(field=made.field(f"{i}/{n}.csv", n, n, name=n, labels=((n, n),)), n_locs=5000) for i, n in enumerate(HOSTILE)]
    failed = made.field("f/<b>.csv", HOSTILE[0], "1", name=HOSTILE[0])
    failures = [(failed, "ingest", HOSTILE[0], HOSTILE[4], HOSTILE[5])]
    campaign = made.build(tmp_path, cells, failures=failures, ignored=[(HOSTILE[4], HOSTILE[0])])
    page, text = report(
        campaign, drawn=True, input_name=HOSTILE[0] + "\udc80", run={HOSTILE[0]: [HOSTILE[4]]}, software={HOSTILE[0]: HOSTILE[1]}
    )
    assert "script" not in page.tags
    assert text.count("<style>") == text.count("</style>") == 1
    for name in ("<script>alert(1)</script>", "a\"b'c&d", "$\\frac{1}{0}$", "bad\\xffbyte", "日本語"):
        assert name in page.text
    assert "\x00" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "look",
    [
        {"empty": True},
        {"n_locs": 0},
        {"precise": False},
        {"undefined": True},
        {"channels": (0, 1, 2), "n_locs": 6000},
        {"side_um": 4.0, "n_locs": 300},
    ],
    ids=["no cell", "no locs", "no precision", "undefined", "three channels", "smaller than a ROI"],
)
def test_unusual_fields(made, tmp_path, look):
    campaign = made.build(tmp_path, [made.Cell(field=made.field("a.csv", "only", "r1"), **look)])
    page, _ = report(campaign)
    assert re.search(r"\|1 field:([✓!✕?] 1 (good|worth a look|in doubt|not judged)|1 without a region)\|", page.text)
    n_channels = len(look.get("channels", (0,)))
    assert page.tags.count("svg") == (0 if look.get("n_locs") == 0 else n_channels)
    if "nothing to describe" not in page.text:
        assert page.tags.count("img") == 1 + (11 + 1) * n_channels
    if look.get("undefined"):
        assert not re.search(r"\bnan\b", page.text)
        assert "|Nearest neighbour, mean|nm|\u2013|" in page.text


def test_all_fields_failed(made, tmp_path):
    page, _ = report(made.failing(made.study(tmp_path, n_locs=300)))
    assert "|Not judged: no file could be read.|6 fields:6 failed|" in page.text
    assert "|No ROI found.|" in page.text
    assert "Nothing to compare. No ROI was kept." in page.text
    assert "nothing to describe" in page.text


def test_no_field_at_all(made, tmp_path):
    page, _ = report(made.build(tmp_path, []), software={}, run={})
    assert "|There is none.|0 fields:|" in page.text


def test_twelve_conditions_and_many_fields_show_some_of_each(made, tmp_path):
    campaign = made.study(tmp_path, conditions=[f"c{i}" for i in range(12)], replicates=3, n_locs=400, side_um=7.0)
    page, text = report(campaign, drawn=True)
    assert page.tags.count("svg") == 24
    assert "24 of 36 fields, spread evenly" in page.text
    assert all(f"c{i} · rep" in page.text for i in range(12))
    assert len(text) < 2_000_000
