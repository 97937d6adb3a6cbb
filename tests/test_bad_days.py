"""Bad days: kills, races, spoilt files, full disks, hostile names. After each, the same digest or a clear word."""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from smlmbatch.hpc.records import read_records
from tests.conftest import digest, smlmbatch, units_made

KILLS = 20


def start(*arguments):
    command = [sys.executable, "-m", "smlmbatch", *map(os.fspath, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def attempts(output):
    folder = output / "store" / "attempts"
    return [p.name for p in folder.iterdir()] if folder.exists() else []


def failed(output):
    with (output / "failed.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


# ---- kills


@pytest.mark.slow
def test_killed_twenty_times(small_campaign, tmp_path):
    """SIGKILL at random moments, at least 20 times in one campaign; then the digest of an uninterrupted run."""
    sheet = (small_campaign / "samples.csv").read_text().splitlines()
    many = tmp_path / "input"  # the same files several times over, so that there is enough to kill
    for copy in range(6):
        shutil.copytree(small_campaign, many / f"batch{copy}", ignore=shutil.ignore_patterns("samples.csv"))
    rows = [f"batch{copy}/{row}" for copy in range(6) for row in sheet[1:]]
    (many / "samples.csv").write_text("\n".join([sheet[0], *rows]) + "\n")
    smlmbatch("run", many, tmp_path / "whole")
    n_units = sum(1 for _ in (tmp_path / "whole" / "store").rglob("*.zip"))

    rng, output, kills = random.Random(5), tmp_path / "killed", 0
    while kills < KILLS:
        process = start("run", many, output)
        units_before_kill = rng.choice([0, 0, 1, 2, 3])
        for _ in range(units_before_kill + 2):
            if not process.stderr.readline():
                break
        time.sleep(rng.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        process.stderr.close()
        done = sum(1 for _ in (output / "store").rglob("*.zip"))
        assert done < n_units, f"the campaign was finished after {kills} kills: make it larger"
    smlmbatch("run", many, output)
    assert digest(output) == digest(tmp_path / "whole")
    assert attempts(output) == []
    assert "damaged" not in smlmbatch("verify", output).stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_stopped_in_order(small_campaign, small_output, tmp_path, number):
    process = start("run", small_campaign, tmp_path / "out")
    while "rows" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 75
    assert "run the same command again" in told
    assert attempts(tmp_path / "out") == []
    smlmbatch("run", small_campaign, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(small_output)


def kill_child_at_work(process, output):
    """SIGKILL the process that makes a unit, as the kernel does when memory runs out; returns the unit's field."""
    while process.poll() is None:
        for owner in (output / "store" / "attempts").glob("*/owner.json"):
            with contextlib.suppress(OSError, ValueError):
                found = json.loads(owner.read_text())
                if found["unit"] is not None:
                    os.kill(found["pid"], signal.SIGKILL)
                    return found["unit"][0]
    pytest.fail("the run ended before a unit was seen: " + process.stderr.read())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_unit_killed_once_is_tried_again_with_smaller_blocks(small_campaign, small_output, tmp_path, workers):
    output = tmp_path / "out"
    process = start("run", small_campaign, output, "--workers", workers)
    field = kill_child_at_work(process, output)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert f"FAILED   {field}" in told
    assert "was killed by SIGKILL" in told
    assert "try once more, with smaller blocks: 1" in told
    assert digest(output) == digest(small_output)
    assert failed(output) == []
    assert attempts(output) == []
    records = list(read_records(output / "logs"))
    assert {record.memory_mib for record in records if record.field == field} >= {512}  # a quarter of 2 GiB
    assert {record.memory_mib for record in records if record.field != field} == {2048}


def test_a_unit_killed_twice_is_given_up_until_the_next_run(small_campaign, small_output, tmp_path):
    output = tmp_path / "out"
    smlmbatch("plan", small_campaign, output)
    part = ("ingest", output, "--part", "1/4")  # one field
    process = start(*part)
    for _ in range(2):
        kill_child_at_work(process, output)
        time.sleep(0.3)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told  # recorded: a chain of jobs must go on
    assert told.count("FAILED") == 2
    assert "1" in smlmbatch("status", output).stdout
    assert "failed" in smlmbatch("report", output, expect=3).stderr
    (line,) = failed(output)
    assert (line["kind"], line["stage"]) == ("resource", "ingest")
    assert "was killed by SIGKILL" in line["finding"]
    smlmbatch("run", small_campaign, output)
    assert digest(output) == digest(small_output)


def test_a_run_killed_whole_leaves_word_of_its_unit(small_campaign, small_output, tmp_path):
    """Parent and child at once, as in a power cut: the next run says what it finds, and makes it."""
    output = tmp_path / "out"
    process = start("run", small_campaign, output)
    kill_child_at_work(process, output)
    process.kill()
    process.communicate()
    assert len(attempts(output)) == 1
    told = smlmbatch("run", small_campaign, output).stderr
    assert told.count("left unfinished by an earlier process") == 1
    assert attempts(output) == []
    assert digest(output) == digest(small_output)


def test_the_end_of_an_unfinished_campaign(small_campaign, tmp_path):
    output = tmp_path / "out"
    smlmbatch("plan", small_campaign, output)
    smlmbatch("run", small_campaign, output, "--part", "1/2")
    told = smlmbatch("report", output, expect=3).stderr
    assert told.count("\nnot finished: ") == 2
    assert "2 of 4 fields are not finished" in told


# ---- however it is split


def test_parts_in_any_order_and_again(small_campaign, small_output, tmp_path):
    output = tmp_path / "out"
    smlmbatch("run", small_campaign, output, "--part", "1/3", expect=2)  # nothing planned yet
    smlmbatch("plan", small_campaign, output)
    for part in ("3/3", "2/3", "3/3", "1/3", "2/3"):
        smlmbatch("run", small_campaign, output, "--part", part)
    done = smlmbatch("run", small_campaign, output)
    assert units_made(done) == 0
    assert digest(output) == digest(small_output)


def test_stage_by_stage(small_campaign, small_output, tmp_path):
    output = tmp_path / "out"
    smlmbatch("plan", small_campaign, output)
    for stage in ("ingest", "tile", "quality", "measure", "embed", "cluster", "pick"):
        for part in ("2/2", "1/2"):
            smlmbatch(stage, output, "--part", part)
    smlmbatch("report", output)
    assert digest(output) == digest(small_output)


def test_two_dask_workers(small_campaign, small_output, tmp_path):
    smlmbatch("run", small_campaign, tmp_path / "out", "--workers", "2")
    assert digest(tmp_path / "out") == digest(small_output)
    assert attempts(tmp_path / "out") == []


def test_any_dask_cluster(small_campaign, small_output, tmp_path):
    """A scheduler and a worker that somebody else started, without our pins."""
    file = tmp_path / "scheduler.json"
    run = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    processes = [subprocess.Popen(run, **quiet), subprocess.Popen(worker, **quiet)]
    try:
        smlmbatch("run", small_campaign, tmp_path / "out", "--scheduler", file)
    finally:
        for process in processes:
            process.terminate()
            process.wait()
    assert digest(tmp_path / "out") == digest(small_output)


def test_two_runs_at_once(small_campaign, small_output, tmp_path):
    processes = [start("run", small_campaign, tmp_path / "out") for _ in range(2)]
    for process in processes:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
    assert digest(tmp_path / "out") == digest(small_output)
    assert attempts(tmp_path / "out") == []


def test_memory_does_not_matter(small_campaign, small_output, tmp_path):
    smlmbatch("run", small_campaign, tmp_path / "out", "--memory", "256MiB", "--scratch", tmp_path)
    assert digest(tmp_path / "out") == digest(small_output)


def test_again_does_nothing(small_campaign, tmp_path):
    output = tmp_path / "out"
    smlmbatch("run", small_campaign, output)
    before = {p: p.stat().st_mtime_ns for p in output.rglob("*") if p.is_file() and p.name != "failed.csv"}
    done = smlmbatch("run", small_campaign, output)
    assert units_made(done) == 0
    assert {p: p.stat().st_mtime_ns for p in output.rglob("*") if p.is_file() and p.name != "failed.csv"} == before


# ---- settings, inputs and versions change


def test_other_settings_need_a_word(small_campaign, small_output, tmp_path):
    output = tmp_path / "out"
    smlmbatch("run", small_campaign, output)
    done = smlmbatch("run", small_campaign, output, "--min-coverage", "0.5", expect=2)
    assert "min_coverage = 0.9 → min_coverage = 0.5" in done.stderr
    assert "--update" in done.stderr
    done = smlmbatch("run", small_campaign, output, "--min-coverage", "0.5", "--update")
    assert "ingest" not in done.stderr  # only what the setting touches
    assert digest(output) != digest(small_output)
    assert "0 to do" in smlmbatch("run", small_campaign, output).stderr  # what is not stated stays as it was
    smlmbatch("run", small_campaign, output, "--part", "1/2", "--min-coverage", "0.9", expect=2)
    smlmbatch("run", small_campaign, output, "--min-coverage", "0.9", "--update")
    assert digest(output) == digest(small_output)
    removed = smlmbatch("clean", output).stdout.splitlines()
    assert len(removed) == 24  # all stages but ingest, of four fields under the other setting
    assert all("made of other input, settings or version" in line for line in removed)
    assert digest(output) == digest(small_output)


def test_a_stale_attempt_publishes_late(small_campaign, small_output, tmp_path):
    """What a zombie made of old settings arrives after the campaign went on: it lies under its own name and counts for nothing."""
    output = tmp_path / "out"
    smlmbatch("run", small_campaign, output, "--min-coverage", "0.5")
    late = {p.relative_to(output): p.read_bytes() for p in (output / "store").rglob("tile-*.zarr.zip")}
    smlmbatch("run", small_campaign, output, "--min-coverage", "0.9", "--update")
    smlmbatch("clean", output)
    for path, content in late.items():
        assert not (output / path).exists()
        (output / path).write_bytes(content)
    done = smlmbatch("run", small_campaign, output)
    assert units_made(done) == 0
    assert digest(output) == digest(small_output)


def test_a_changed_file_is_read_again(small_copy, tmp_path):
    output = tmp_path / "out"
    smlmbatch("run", small_copy, output)
    before = digest(output)
    victim = next(p for p in sorted(small_copy.rglob("*.csv")) if p.name != "samples.csv")
    os.utime(victim, (1, 1))
    assert units_made(smlmbatch("run", small_copy, output)) == 0  # touched, not changed
    lines = victim.read_text().splitlines()
    victim.write_text("\n".join(lines[:-10]) + "\n")
    assert units_made(smlmbatch("run", small_copy, output)) == 7
    assert digest(output) != before


def test_damage_is_found_and_mended(small_campaign, small_output, tmp_path):
    output = tmp_path / "out"
    smlmbatch("run", small_campaign, output)
    unit = next((output / "store").rglob("ingest-*.zarr.zip"))
    content = bytearray(unit.read_bytes())
    content[len(content) // 3] ^= 0xFF
    unit.write_bytes(content)
    (output / "report" / "index.html").unlink()
    for verb in (["run", small_campaign], ["report"]):
        assert "Traceback" not in smlmbatch(*verb, output, expect=None).stderr
    done = smlmbatch("verify", output, expect=3)
    assert "damaged" in done.stderr
    assert "clean --damaged" in done.stderr
    smlmbatch("clean", output, "--damaged")
    smlmbatch("run", small_campaign, output)
    assert digest(output) == digest(small_output)


# ---- bad files among good ones


def test_bad_files_among_good_ones(small_copy, small_output, tmp_path):
    good_csv = next(p for p in sorted(small_copy.rglob("*.csv")) if p.name != "samples.csv")
    good_hdf5 = next(small_copy.rglob("*.hdf5"))
    (small_copy / "samples.csv").unlink()
    bad = small_copy / "bad"
    bad.mkdir()
    (bad / "empty.csv").write_text("")
    (bad / "header_only.csv").write_text(good_csv.read_text().splitlines()[0] + "\n")
    (bad / "wrong_columns.csv").write_text("a,b,c\n" + "1,2,3\n" * 50)
    (bad / "alien.csv").write_bytes(np.random.default_rng(0).bytes(20000))
    (bad / "truncated.hdf5").write_bytes(good_hdf5.read_bytes()[:5000])
    (bad / "no_pixel_size.hdf5").write_bytes(good_hdf5.read_bytes())
    (bad / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    (bad / "notes.md").write_text("# what we did\n")
    (bad / "folder.csv").mkdir()
    text = good_csv.read_bytes()
    (bad / "cut_short.csv").write_bytes(text[: len(text) - 7])  # a torn last record is counted, the file is fine
    output = tmp_path / "out"
    done = smlmbatch("run", small_copy, output, expect=3)
    rows = {Path(row["path"]).name: row for row in failed(output)}
    assert set(rows) == {"empty.csv", "header_only.csv", "wrong_columns.csv", "alien.csv", "truncated.hdf5", "no_pixel_size.hdf5"}
    for row in rows.values():
        assert row["kind"] == "input"
        for column in ("field", "stage", "finding", "want", "mend"):
            assert row[column], f"{row['path']} has no {column}"
    assert "a, b, c" in rows["wrong_columns.csv"]["finding"] + rows["wrong_columns.csv"]["want"]
    assert "pixel" in rows["no_pixel_size.hdf5"]["finding"].lower()
    assert "6 of 11 fields failed" in done.stderr
    page = (output / "report" / "index.html").read_text().replace("<wbr>", "")
    for name in [*rows, "picture.png"]:
        assert name in page
    again = smlmbatch("run", small_copy, output, expect=3)
    assert units_made(again) == 0
    assert "11 of 11 fields are done" in again.stderr
    retried = smlmbatch("run", small_copy, output, "--retry-failed", expect=3)
    assert retried.stderr.count("FAILED") == 6
    (bad / "wrong_columns.csv").write_bytes(text)  # mended
    mended = smlmbatch("run", small_copy, output, expect=3)
    assert units_made(mended) == 7
    assert "wrong_columns.csv" not in {Path(row["path"]).name for row in failed(output)}


def test_a_file_that_is_gone(small_copy, tmp_path):
    gone = next(p for p in sorted(small_copy.rglob("*.csv")) if p.name != "samples.csv")
    smlmbatch("plan", small_copy, tmp_path / "out")
    gone.unlink()
    smlmbatch("run", small_copy, tmp_path / "out", "--part", "1/1")  # a task whose failures are recorded ends well
    done = smlmbatch("run", small_copy, tmp_path / "out", expect=3)
    assert gone.name in done.stderr
    (row,) = failed(tmp_path / "out")
    assert "not there" in row["finding"]


@pytest.mark.parametrize("what", ["nowhere", "empty folder", "only a picture", "only a table of somebody's", "only results"])
def test_nothing_readable(tmp_path, what):
    source = tmp_path / "in"
    if what != "nowhere":
        source.mkdir()
    if what == "only a picture":
        (source / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    if what.startswith("only a table"):
        (source / "a.csv").write_text("a,b\n" + "1,2\n" * 20)
    if what == "only results":
        (source / "rois.csv").write_text("key,roi,x_nm,y_nm,coverage,channel\n" + "F,1,2,3,1.0,0\n" * 20)
    done = smlmbatch("run", source, tmp_path / "out", expect=2)
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


# ---- places


def test_output_inside_input(small_copy, small_output):
    smlmbatch("run", small_copy, small_copy / "results")
    smlmbatch("run", small_copy, small_copy / "results")
    assert digest(small_copy / "results") == digest(small_output)
    (small_copy / "samples.csv").unlink()
    smlmbatch("run", small_copy, small_copy.parent / "other")  # the results of one campaign are no input of another
    assert len(list((small_copy.parent / "other" / "store" / "fields").iterdir())) == 4


def test_output_is_input_or_holds_it(small_copy):
    for output in (small_copy, small_copy.parent):
        assert "a folder of its own" in smlmbatch("run", small_copy, output, expect=2).stderr


def test_output_belongs_to_somebody_else(small_campaign, tmp_path):
    (tmp_path / "thesis.docx").write_text("important")
    assert "not empty" in smlmbatch("run", small_campaign, tmp_path, expect=2).stderr
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 64 KiB to grow later; needs the right to mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a tmpfs here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def remount(disk, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def test_disk_full_then_freed(small_campaign, small_output, small_disk):
    output = small_disk / "out"
    done = start("run", small_campaign, output)
    _, told = done.communicate(timeout=300)
    assert done.returncode in (2, 3)
    assert "space" in told
    assert "Traceback" not in told
    remount(small_disk, "size=50m")
    smlmbatch("run", small_campaign, output)
    assert digest(output) == digest(small_output)
    assert attempts(output) == []
    assert not list(output.rglob("*.partial"))


def test_output_can_not_be_written(small_campaign, small_disk, tmp_path):
    remount(small_disk, "ro")
    done = smlmbatch("run", small_campaign, small_disk / "out", expect=2)
    assert "must be writable" in done.stderr
    (tmp_path / "file").write_text("")
    done = smlmbatch("run", small_campaign, tmp_path / "file" / "out", expect=2)
    assert "Traceback" not in done.stderr


HOSTILE = [
    "with space",
    "q\"uo'te",
    "new\nline",
    "ünï日本",
    "semi;colon,comma",
    "-dash",
    "<b>bold",
    b"bad\xff\xfe".decode("utf-8", "surrogateescape"),
]


def test_hostile_names(small_campaign, tmp_path):
    source = next(p for p in sorted(small_campaign.rglob("*.csv")) if p.name != "samples.csv")
    for name in HOSTILE:
        folder = tmp_path / "in put" / name
        folder.mkdir(parents=True)
        shutil.copy(source, folder / f"{name}.csv")
        shutil.copy(source, folder / "FOV1.csv")  # the same name in every folder
    output = tmp_path / "out\n'put"
    first = smlmbatch("run", tmp_path / "in put", output)
    keys = [p.name for p in (output / "store" / "fields").iterdir()]
    assert len(keys) == 2 * len(HOSTILE)
    assert sum(key.startswith("FOV1-") for key in keys) == len(HOSTILE)
    assert first.stderr.count("has the same content as") == 2 * len(HOSTILE) - 1
    page = (output / "report" / "index.html").read_text()
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page
    assert units_made(smlmbatch("run", tmp_path / "in put", output)) == 0
    smlmbatch("export", output, tmp_path / "exported")
    smlmbatch("status", output)


def test_nothing_is_written_elsewhere(small_campaign, tmp_path):
    """Not in HOME, not in the temporary folder: only in OUTPUT."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    environ = os.environ | {"HOME": str(home), "TMPDIR": str(temporary)}
    environ.pop("MPLCONFIGDIR", None)
    smlmbatch("run", small_campaign, tmp_path / "out", "--workers", "2", env=environ)
    assert list(home.iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "out", "temporary"]


# ---- INPUT comes and goes


def test_a_file_goes_and_comes_back(small_copy, small_output, tmp_path):
    output = tmp_path / "out"
    smlmbatch("run", small_copy, output)
    file = next(small_copy.rglob("*.hdf5"))
    file.rename(tmp_path / "away")
    smlmbatch("run", small_copy, output, expect=3)
    (tmp_path / "away").rename(file)
    smlmbatch("run", small_copy, output)
    assert digest(output) == digest(small_output)


def test_report_without_input(small_copy, small_output, tmp_path):
    output = tmp_path / "out"
    smlmbatch("run", small_copy, output)
    small_copy.rename(tmp_path / "away")
    smlmbatch("report", output)
    assert digest(output) == digest(small_output)


def test_verify_misses_what_is_missing(small_campaign, tmp_path):
    output = tmp_path / "out"
    smlmbatch("run", small_campaign, output)
    next((output / "store").rglob("measure-*.zarr.zip")).unlink()
    (output / "tables" / "rois.parquet").write_bytes(b"PAR1 torn")
    told = smlmbatch("verify", output, expect=3).stderr
    assert "measure: missing" in told
    assert "tables/rois.parquet: " in told
    assert "rois.parquet: damaged" in smlmbatch("clean", output, "--damaged").stdout
    smlmbatch("run", small_campaign, output)
    smlmbatch("verify", output)


def test_a_stray_yaml_changes_nothing(small_copy, small_output, tmp_path):
    output = tmp_path / "out"
    smlmbatch("run", small_copy, output)
    csv_file = next(p for p in sorted(small_copy.rglob("*.csv")) if p.name != "samples.csv")
    csv_file.with_suffix(".yaml").write_text("notes: none\n")
    assert units_made(smlmbatch("run", small_copy, output)) == 0
    assert digest(output) == digest(small_output)


def test_a_part_is_of_what_was_planned(small_campaign, tmp_path):
    output = tmp_path / "out"
    smlmbatch("plan", small_campaign, output)
    assert "was planned for INPUT" in smlmbatch("run", tmp_path, output, "--part", "1/1", expect=2).stderr
    smlmbatch("run", small_campaign, output, "--part", "1/1", "--sheet", small_campaign / "samples.csv", expect=2)


def test_a_relative_sheet_is_found_from_anywhere(small_copy, tmp_path):
    smlmbatch("plan", "input", "out", "--sheet", "input/samples.csv", cwd=tmp_path)
    smlmbatch("ingest", tmp_path / "out", "--part", "1/1", cwd="/")
    (tmp_path / "elsewhere").mkdir()
    rows = (small_copy / "samples.csv").read_text().splitlines()
    (tmp_path / "elsewhere" / "s.csv").write_text("\n".join([rows[0], *(f"../input/{row}" for row in rows[1:])]))
    smlmbatch("plan", "input", "out2", "--sheet", "elsewhere/s.csv", cwd=tmp_path)
    assert "FAILED" not in smlmbatch("run", "input", "out2", "--part", "1/2", cwd=tmp_path).stderr
    assert "FAILED" not in smlmbatch("run", small_copy, tmp_path / "out", cwd="/").stderr


def test_names_that_begin_with_blanks_pass_through_the_plan(small_campaign, tmp_path):
    source = next(p for p in sorted(small_campaign.rglob("*.csv")) if p.name != "samples.csv")
    for name in (" A.csv", "B.csv ", "car\rriage.csv", 'quo"te.csv'):
        (tmp_path / "in" / "ctrl ").mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / "in" / "ctrl " / name)
    smlmbatch("plan", tmp_path / "in", tmp_path / "parts")
    smlmbatch("run", tmp_path / "in", tmp_path / "parts", "--part", "1/1")
    smlmbatch("report", tmp_path / "parts")
    smlmbatch("run", tmp_path / "in", tmp_path / "whole")
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")
    assert failed(tmp_path / "parts") == []


@pytest.mark.parametrize("arguments", [["--roi-nm", "inf"], ["--scratch", "nowhere"], ["--map", "x=x,y=y"], ["--map", "colour=x,unit=nm"]])
def test_impossible_options_are_refused_at_once(small_campaign, tmp_path, arguments):
    done = smlmbatch("run", small_campaign, tmp_path / "out", *arguments, expect=2, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "store").exists()


@pytest.mark.parametrize("kind", ["dangling", "loop", "directory"])
def test_odd_outputs(small_campaign, tmp_path, kind):
    output = tmp_path / "out"
    if kind == "directory":
        smlmbatch("run", small_campaign, output)
        (output / "failed.csv").unlink()
        (output / "failed.csv").mkdir()
    else:
        output.symlink_to(output if kind == "loop" else tmp_path / "nowhere" / "deep")
    done = smlmbatch("run", small_campaign, output, expect=2)
    assert "Traceback" not in done.stderr
    assert "out" in done.stderr


def test_a_reader_of_the_output_goes_away(small_output):
    command = f"{sys.executable} -m smlmbatch verify --list '{small_output}' | head -0"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
