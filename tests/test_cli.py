"""The command line: every verb explains itself, mistakes are named, results go to stdout."""

import csv
import json
import shlex

import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from smlmbatch.cli import cli
from smlmbatch.upkeep import TABLES
from tests.conftest import ROOT, digest, smlmbatch

VERBS = list(cli.commands)


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb):
    text = CliRunner().invoke(cli, [verb, "--help"]).output
    assert f"smlmbatch {verb}" in text.partition("Options:")[0].partition("\n")[2]


def test_verbs_stand_in_pipeline_order():
    assert VERBS[:11] == ["run", "plan", "ingest", "tile", "quality", "measure", "embed", "cluster", "pick", "order", "register"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["run", "a", "b", "--part", "4/3"], "wanted I/N"),
        (["run", "a", "b", "--part", "x"], "wanted I/N"),
        (["run", "a", "b", "--memory", "lots"], "something like 2GiB"),
        (["run", "a", "b", "--memory", "1MiB"], "too little"),
        (["run", "a", "b", "--memory", "1QiB"], "something like 2GiB"),
        (["run", "a"], "Missing argument"),
        (["run", "a", "b", "--min-coverage", "7"], "between 0 and 1"),
        (["status", "nowhere"], "holds no planned campaign"),
        (["verify", "nowhere"], "plan INPUT"),
        (["nonsense"], "No such command"),
    ],
)
def test_mistakes_are_named_and_cost_2(arguments, word, tmp_path):
    done = smlmbatch(*arguments, expect=2, cwd=tmp_path)
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "amount"), [("2GiB", 2 << 30), ("512M", 512 << 20), ("300000000", 300_000_000), ("1.5g", 3 << 29)])
def test_memory_is_read(text, amount):
    from smlmbatch.cli_options import Bytes

    assert Bytes().convert(text, None, None) == amount


def test_status_verify_inspect(small_output):
    found = json.loads(smlmbatch("status", small_output, "--json").stdout)
    stages = ("ingest", "tile", "quality", "measure", "embed", "cluster", "pick")
    assert found["stages"] == [{"stage": s, "done": 4, "running": 0, "failed": 0, "to_do": 0, "left_s": 0.0} for s in stages]
    listed = smlmbatch("verify", small_output, "--list").stdout.splitlines()
    assert len(listed) == 1 + 4 * len(stages) + len(TABLES)
    assert json.loads(smlmbatch("verify", small_output, "--json").stdout)["digest"] == digest(small_output)
    with (small_output / "samples.csv").open() as file:
        first = next(csv.DictReader(file))
    described = json.loads(smlmbatch("inspect", small_output, first["path"]).stdout)
    assert set(described) == set(stages)
    assert described["ingest"]["arrays"]["x_nm"]["unit"] == "nm"
    assert described["ingest"]["attributes"]["n"] == described["ingest"]["arrays"]["x_nm"]["shape"][0]
    assert "names 0 fields" in smlmbatch("inspect", small_output, "nobody", expect=2).stderr


def test_verify_needs_no_input(small_copy, tmp_path):
    smlmbatch("run", small_copy, tmp_path / "out")
    before = digest(tmp_path / "out")
    small_copy.rename(tmp_path / "moved away")
    assert digest(tmp_path / "out") == before
    assert smlmbatch("clean", tmp_path / "out").stdout == ""  # nothing is rubbish for being out of sight
    smlmbatch("export", tmp_path / "out", tmp_path / "exported", "--format", "parquet")
    assert digest(tmp_path / "out") == before


def test_export_holds_what_the_source_held(small_campaign, small_output, tmp_path):
    smlmbatch("export", small_output, tmp_path / "csv", "--what", "rois", "--what", "locs")
    rois = pyarrow.csv.read_csv(tmp_path / "csv" / "rois.csv")
    assert rois.num_rows == pyarrow.parquet.read_table(small_output / "tables" / "rois.parquet").num_rows
    smlmbatch("run", tmp_path / "csv" / "locs", tmp_path / "again")  # our own export is read again as it is
    smlmbatch("export", small_output, tmp_path / "csv", "--what", "rois", expect=2)


def test_validate_says_what_is_there_and_writes_nothing(small_copy):
    (small_copy / "bad.csv").write_text("a,b\n" + "1,2\n" * 20)
    (small_copy / "samples.csv").unlink()
    before = sorted(small_copy.rglob("*"))
    found = json.loads(smlmbatch("validate", small_copy, "--json", expect=3).stdout)
    assert sorted(small_copy.rglob("*")) == before
    assert sum(file["report"] is not None for file in found["files"]) == 4
    assert [file["path"] for file in found["files"] if file["kind"] == "failed"] == ["bad.csv"]
    assert "bad.csv" in smlmbatch("validate", small_copy, expect=3).stdout


def test_doctor_and_version():
    assert json.loads(smlmbatch("doctor", "--json").stdout)["versions"]["smlmbatch"]
    assert "0." in smlmbatch("--version").stdout


def test_simulate_is_done_once(tmp_path):
    arguments = ["simulate", tmp_path, "--replicates", "1", "--cell-um", "5", "--density", "20"]
    assert "simulated" in smlmbatch(*arguments).stderr
    assert "already there" in smlmbatch(*arguments).stderr
    assert "other settings" in smlmbatch(*arguments, "--seed", "1", expect=2).stderr


def test_readme_commands_parse():
    """Every `smlmbatch …` line of the README is one that the command line understands."""
    lines = [line.strip().split("   (")[0] for line in (ROOT / "README.md").read_text().splitlines()]
    commands = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("smlmbatch ")]
    assert len(commands) >= 5
    for command in commands:
        verb = cli.commands[command[0]]
        verb.make_context(command[0], command[1:])


def test_doctor_and_help_run_where_slurm_is_broken(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    monkeypatch.setenv("SLURM_PROCID", "x")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert "BROKEN" in smlmbatch("doctor").stdout
    smlmbatch("status", "--help")
    assert "SLURM_PROCID" in smlmbatch("status", ".", expect=2).stderr
