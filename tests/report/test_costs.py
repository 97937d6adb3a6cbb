import dataclasses
import html
import json
import re
import shutil
import statistics
import tracemalloc

import pytest

from smlmbatch.analyse.tables import write_tables
from smlmbatch.config import Config
from smlmbatch.hpc.records import UnitRecord
from smlmbatch.report.costs import current_records, duration, show_costs
from smlmbatch.report.html import write_report
from smlmbatch.stages import FIELD_STAGES
from smlmbatch.work import Campaign, FieldResult
from tests.conftest import smlmbatch

STAGES = ("ingest", "tile", "measure")  # of made-up campaigns: some of those there are
FINGERPRINT = "0123456789abcdef" * 4
NAME = "{}-0123456789abcdef.zarr.zip"


def campaign_of(made, output, paths, *, stages=STAGES):
    """A campaign of which only names are looked at: its units are nowhere."""
    fields = [made.field(path, "c", "r") for path in paths]
    units = {stage: output / NAME.format(stage) for stage in stages}
    return Campaign(output=output, config=Config(), fields=tuple(FieldResult(field=field, units=units) for field in fields))


def record(result, stage, **more):
    usual = {"locs": 1000, "wall_s": 2.0, "cpu_s": 1.0, "peak_mib": 300, "memory_mib": 2048, "host": "n1", "submission": "s1"}
    return UnitRecord(**{"field": result.field.key, "stage": stage, "fingerprint": FINGERPRINT} | usual | more)


def everything(campaign, **more):
    return [record(result, stage, **more) for result in campaign.fields for stage in result.units]


def log(campaign, records, *, name="units-n1-1.jsonl"):
    folder = campaign.output / "logs"
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"time": "2030-01-01T00:00:00Z"} | dataclasses.asdict(r)) + "\n" for r in records]
    with (folder / name).open("a") as file:
        file.writelines(lines)


def shown(campaign):
    """Text of the section, and its table's rows by stage."""
    markup = show_costs(campaign)
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", markup)]
    plain = [[plain_text(cell) for cell in row] for row in rows if row]
    return plain_text(markup), {row[0]: row[1:] for row in plain}


def plain_text(markup):
    """Words between tags; narrow spaces as spaces."""
    return html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"</(p|td|th)>", "|", markup))).replace("\u202f", " ")


def test_a_row_per_stage_in_the_pipelines_order(made, tmp_path):
    campaign = campaign_of(made, tmp_path, ["a.csv", "b.csv", "c.csv"])
    a, b, c = campaign.fields
    measured = [
        record(a, "measure", locs=1000, wall_s=3.0, cpu_s=2.0, peak_mib=301),
        record(b, "measure", locs=2000, wall_s=100.0, cpu_s=98.0, peak_mib=1500, host="n2"),
        record(c, "measure", locs=400_000, wall_s=4.0, cpu_s=3.5),
    ]
    others = [record(result, stage) for stage in ("tile", "ingest") for result in campaign.fields]
    log(campaign, measured + others)
    text, rows = shown(campaign)
    assert list(rows) == ["ingest", "tile", "measure"]
    # 103.5 s of CPU; 403,000 locs / 103.5 s = 3,893.7 a second
    assert rows["measure"] == ["3", "403,000", "1.7 min", "4.0 s", "1.7 min", "3,890", "1,500 MiB", "2 hosts"]
    assert rows["tile"] == ["3", "3,000", "3.0 s", "2.0 s", "2.0 s", "1,000", "300 MiB", "1 host"]
    assert "9 units of work (one stage of one field each) took 1.8 min of CPU time (2 hosts)." in text
    assert not re.search("no record|made twice|smaller", text)


def test_only_current_units_count(made, tmp_path):
    campaign = campaign_of(made, tmp_path, ["a.csv", "b.csv"])
    result = campaign.fields[0]
    elsewhere = made.field("gone.csv", "c", "r").key
    stale = [record(result, "ingest", fingerprint="f" + FINGERPRINT[1:], cpu_s=5000.0), record(result, "ingest", field=elsewhere)]
    log(campaign, [*everything(campaign), *stale, record(result, "dance")])
    text, rows = shown(campaign)
    assert rows["ingest"][:3] == ["2", "2,000", "2.0 s"]
    assert "6 units of work" in text
    assert "dance" not in text


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_the_last_record_of_a_unit_counts_in_whichever_file_it_stands(made, tmp_path, order):
    campaign = campaign_of(made, tmp_path, ["a.csv"], stages=("ingest",))
    (result,) = campaign.fields
    for number in order:
        log(campaign, [record(result, "ingest", started=100.0 * number, cpu_s=number * 7.0)], name=f"units-n{order[number - 1]}-1.jsonl")
    assert shown(campaign)[1]["ingest"][:3] == ["1", "1,000", "14 s"]


def test_units_without_a_record_are_counted_and_said(made, tmp_path):
    campaign = campaign_of(made, tmp_path, ["a.csv", "b.csv"])
    records = everything(campaign)
    log(campaign, [r for r in records if r.stage != "measure" or r.field == campaign.fields[0].field.key])
    text, rows = shown(campaign)
    assert "1 of 6 units has no record in logs/ and is not counted (measure 1)." in text
    assert rows["measure"][0] == "1"
    log(campaign, records[-1:])
    assert "no record" not in shown(campaign)[0]


def test_a_stage_without_any_record_has_no_row(made, tmp_path):
    campaign = campaign_of(made, tmp_path, ["a.csv", "b.csv"])
    log(campaign, [r for r in everything(campaign) if r.stage == "tile"])
    text, rows = shown(campaign)
    assert list(rows) == ["tile"]
    assert "4 of 6 units have no record in logs/ and are not counted (ingest 2, measure 2)." in text


def test_no_record_at_all_is_one_sentence(made, tmp_path):
    campaign = campaign_of(made, tmp_path, ["a.csv"])
    said = "<p>Nothing is known of run time and memory: {}.</p>"
    assert show_costs(campaign) == said.format("logs/ holds no record of the finished units")
    log(campaign, [])
    (tmp_path / "logs" / "units-n1-2.jsonl").write_text(
        '{"time": "2030-01-01", "failure": {"stage": "ingest"}, "trace": ""}\n{"field": "a', "utf-8"
    )
    assert show_costs(campaign) == said.format("logs/ holds no record of the finished units")
    assert show_costs(campaign_of(made, tmp_path, ["a.csv"], stages=())) == said.format("no field got through a stage")


def test_copies_that_were_dropped_are_said_and_not_counted(made, tmp_path):
    campaign = campaign_of(made, tmp_path, ["a.csv", "b.csv"])
    a, b = campaign.fields
    log(campaign, [*everything(campaign), record(a, "tile", published=False, started=9.0, cpu_s=500.0)])
    text, rows = shown(campaign)
    assert "1 unit was made twice, by two processes at once (tile 1): the copy was found equal and dropped." in text
    assert rows["tile"][:3] == ["2", "2,000", "2.0 s"]
    log(campaign, [record(b, "ingest", published=False), record(b, "ingest", published=False, fingerprint="f" * 64)])
    assert "2 units were made twice, by two processes at once (ingest 1, tile 1): the copies were" in shown(campaign)[0]


def test_second_tries_with_smaller_blocks_are_said(made, tmp_path):
    campaign = campaign_of(made, tmp_path, ["a.csv", "b.csv", "c.csv"])
    records = everything(campaign)
    records[2] = record(campaign.fields[0], "measure", memory_mib=512)
    log(campaign, records)
    assert "1 unit ran out of memory or was killed at first, and was made with smaller blocks (measure 1);" in shown(campaign)[0]
    log(campaign, [record(campaign.fields[1], "ingest", memory_mib=512)])
    assert (
        "2 units ran out of memory or were killed at first, and were made with smaller blocks (ingest 1, measure 1);" in shown(campaign)[0]
    )


def test_less_memory_for_all_is_no_second_try(made, tmp_path):
    """A stage, or a later run, that was given less from the start."""
    campaign = campaign_of(made, tmp_path, ["a.csv", "b.csv"])
    a, b = campaign.fields
    log(campaign, [record(a, "ingest"), record(a, "tile", memory_mib=1024), record(b, "tile", memory_mib=1024)])
    log(campaign, [record(b, "ingest", memory_mib=1024, submission="s2")])
    assert "smaller" not in shown(campaign)[0]


def test_hosts_and_jobs_that_took_part(made, tmp_path):
    campaign = campaign_of(made, tmp_path, [f"{i}.csv" for i in range(12)])
    records = [record(r, "tile", host=f"n{i % 2}", job="4711", task=i % 4) for i, r in enumerate(campaign.fields)]
    records += [record(r, "ingest", host="n9", job="", task=0) for r in campaign.fields]
    records += [record(r, "measure", host="n0", job=str(i // 6), task=0) for i, r in enumerate(campaign.fields)]
    log(campaign, records)
    text, rows = shown(campaign)
    assert [row[-1] for row in rows.values()] == ["1 host", "4 jobs on 2 hosts", "2 jobs on 1 host"]
    assert "(6 jobs on 3 hosts)" in text


def test_fields_that_took_longest(made, tmp_path):
    campaign = campaign_of(made, tmp_path, [f"d/{i}.csv" for i in range(7)])
    seconds = dict(zip(STAGES, (1.0, 10.0, 100.0), strict=True))
    log(
        campaign,
        [
            record(r, stage, wall_s=i * s, peak_mib=200 + 10 * i + (stage == "tile"))
            for i, r in enumerate(campaign.fields)
            for stage, s in seconds.items()
        ],
    )
    listed = [f"d/{i}.csv ({i * 111 / 60:.{0 if i == 6 else 1}f} min, {201 + 10 * i} MiB)" for i in (6, 5, 4, 3, 2)]
    assert f"|Fields that took longest, all stages together: {', '.join(listed)}.|" in shown(campaign)[0]


def test_one_field_alone_is_not_called_the_longest(made, tmp_path):
    campaign = campaign_of(made, tmp_path, ["a.csv"])
    log(campaign, everything(campaign))
    assert "longest," not in shown(campaign)[0]


def test_no_cpu_time_gives_no_rate(made, tmp_path):
    campaign = campaign_of(made, tmp_path, ["a.csv"], stages=("ingest",))
    log(campaign, everything(campaign, cpu_s=0.0))
    assert shown(campaign)[1]["ingest"][2:6] == ["0 s", "2.0 s", "2.0 s", "\u2013"]


HOSTILE = ["<script>alert(1)</script>.csv", "a\"b'c&d.csv", "</p>.csv", "two\nlines.csv", "bad\udcffbyte\x00\x1b.csv"]


def test_hostile_names_stay_names(made, tmp_path):
    campaign = campaign_of(made, tmp_path, HOSTILE)
    log(campaign, everything(campaign, host="<b>", job="<i>", submission="</p>"))
    markup = show_costs(campaign)
    assert not re.search(r"<(script|i)>|\x00|\x1b", markup)
    assert markup.count("<p") == markup.count("</p>") == 3
    assert markup.count("<b>") == len(STAGES)
    for name in (*HOSTILE[:4], "bad\\xffbyte\ufffd\ufffd.csv"):
        assert f"{name} (6.0 s, 300 MiB)" in plain_text(markup.replace("<wbr>", ""))
    markup.encode()


def test_section_stands_at_the_end_of_the_page(made, tmp_path):
    campaign = made.study(tmp_path, replicates=1, n_locs=2000, side_um=9.0)
    log(campaign, everything(campaign, fingerprint="0"))
    write_tables(campaign, fingerprint="t")
    page = write_report(campaign, fingerprint="f", input_name="in", software={}, run={}).read_text()
    assert page.index('id="methods"') < page.index('<section id="costs"><h2>Run time and memory</h2>')
    assert '<a href="#costs">Run time</a>' in page
    assert show_costs(campaign) in page
    assert f"{sum(len(result.units) for result in campaign.fields)} units of work" in page


def test_a_real_run_tells_what_it_recorded(small_output):
    page = (small_output / "report" / "index.html").read_text()
    section = page[page.index('<section id="costs">') :]
    lines = [json.loads(line) for path in (small_output / "logs").glob("*.jsonl") for line in path.read_text().splitlines()]
    for stage in (stage.name for stage in FIELD_STAGES):
        told = [line for line in lines if line["stage"] == stage]
        row = plain_text(re.search(rf"<tr><td><b>{stage}</b></td>(.*?)</tr>", section)[1]).split("|")
        assert row[:2] == ["4", f"{sum(line['locs'] for line in told):,}"]
        assert float(row[3].split()[0]) == pytest.approx(statistics.median(line["wall_s"] for line in told), rel=0.05)
        assert row[6:8] == [f"{max(line['peak_mib'] for line in told):,} MiB", "1 host"]
    assert f"{4 * len(FIELD_STAGES)} units of work" in section
    assert not re.search("no record|made twice", section)


def test_a_real_run_without_logs_says_so(small_campaign, small_output, tmp_path):
    copy = shutil.copytree(small_output, tmp_path / "out")
    shutil.rmtree(copy / "logs")
    (copy / "report" / "index.html").unlink()
    smlmbatch("run", small_campaign, copy)
    assert (
        "Nothing is known of run time and memory: logs/ holds no record of the finished units."
        in (copy / "report" / "index.html").read_text()
    )


def test_records_are_streamed(made, tmp_path):
    """Lines of units that are gone, however many, are not kept."""
    campaign = campaign_of(made, tmp_path, ["a.csv"])
    log(campaign, [*everything(campaign), *[record(campaign.fields[0], "tile", fingerprint=f"{i:064}") for i in range(5000)]])
    tracemalloc.start()
    found = current_records(campaign)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.all()) == 3
    assert peak < 400_000 < (tmp_path / "logs" / "units-n1-1.jsonl").stat().st_size


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 s"),
        (0.0123, "0.012 s"),
        (59.4, "59 s"),
        (60.0, "1.0 min"),
        (3599.0, "60 min"),
        (3600.0, "1.0 h"),
        (71.9 * 3600, "72 h"),
        (30 * 86400.0, "30 d"),
    ],
)
def test_durations_are_in_units_people_use(seconds, said):
    assert duration(seconds).replace("\u202f", " ") == said
