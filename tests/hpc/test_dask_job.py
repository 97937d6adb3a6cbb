"""A submission by Dask: what it asks, what is written, and what its script does with a played SLURM."""

import dataclasses
import json
import os
from pathlib import Path

import click
import pytest

from smlmbatch.cli import cli
from smlmbatch.errors import ConfigError
from smlmbatch.hpc.dask_job import describe_dask, plan_dask, render_dask, write_dask
from smlmbatch.hpc.packing import Load
from smlmbatch.hpc.site import STAGES, site_from_dict
from tests.hpc.submissions import CONTAINER, PLAIN, loads
from tests.hpc.test_scripts import ON_NODE, Host, requeues

GOLDEN = Path(__file__).parent / "golden"
DASK = {"workers": 6, "nodes": 3, "partition": "cpu", "interface": "ib0", "time": "02:00:00", "options": ["--comment=night's work"]}


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path / "host")


def plan(profile=PLAIN, dask=DASK, **options):
    return plan_dask(site_from_dict(profile | {"dask": dask}), loads(**options))


@pytest.mark.parametrize("script", ["submit.sh", "site.sh"])
def test_golden(tmp_path, script):
    """Rewritten with SMLMBATCH_GOLDEN=write; look at the difference before you commit it."""
    profile = {name: CONTAINER[name] for name in ("software", "slurm")}
    folder = write_dask(tmp_path, plan(profile=profile, fields=40))
    path = GOLDEN / f"dask.{script}"
    if os.environ.get("SMLMBATCH_GOLDEN") == "write":
        path.write_text((folder / script).read_text())
    assert (folder / script).read_text() == path.read_text()


def test_what_is_written(tmp_path):
    submission = plan()
    folder = write_dask(tmp_path, submission)
    wanted = {"submit.sh", "site.sh", "pipeline.sh", "task.sh", "dask.sbatch", "report.sbatch", "plan.json"}
    assert {path.name for path in folder.iterdir()} == wanted | {"tasks-dask.csv", "tasks-report.csv"}
    assert (folder / "tasks-dask.csv").read_text() == "task,campaign,part,parts\n1,.,1,1\n"
    content = json.loads((folder / "plan.json").read_text())
    assert [array["stage"] for array in content["arrays"]] == ["dask", "report"]
    assert content["site"]["dask"]["workers"] == 6
    again = write_dask(tmp_path, plan())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {path.name: path.read_bytes() for path in again.iterdir()}


def test_what_is_asked_follows_from_the_work():
    """A field's stages are one after another; fields are side by side."""
    (dask, _) = plan(fields=60, seconds=60.0).chain.arrays
    stages = len(STAGES) - 1
    assert dask.packed.fields == 60
    assert dask.packed.unit_s == stages * 60
    assert dask.packed.longest_s == pytest.approx(2 + 60 * stages * 60 / (6 * 0.9))
    assert dask.asked.time_s == 2 * 3600
    assert dask.asked.memory_mib == 1536 + 256  # 1.3 x 800 + 300, in steps of 256; Dask's own processes
    (dask, _) = plan(fields=6, seconds=10.0).chain.arrays
    assert dask.packed.longest_s == 2 + max(6 * stages * 10 / (6 * 0.9), stages * 10)
    (dask, _) = plan(dask=DASK | {"memory": "9GiB"}).chain.arrays
    assert dask.asked.memory_mib == 9216


def test_not_more_workers_than_fields():
    submission = plan(fields=2)
    assert submission.workers == 2
    line = next(line for line in render_dask(submission).splitlines() if line.startswith("array dask"))
    assert "--ntasks=3" in line
    assert "--nodes=3" in line
    assert "--nodes=2 " in render_dask(plan(fields=1))


def test_several_campaigns_share_the_job():
    some = {stage: [*of, *(dataclasses.replace(load, campaign="b c") for load in of)] for stage, of in loads(fields=3).items()}
    (dask, _) = plan_dask(site_from_dict({}), some).chain.arrays
    assert [share.campaign for share in dask.packed.tasks[0]] == [".", "b c"]
    assert dask.packed.fields == 6


def test_where_nothing_is_to_do_only_the_report_is_made(tmp_path):
    done = {stage: [Load(campaign=".", fields=["a"], seconds=[0.0])] for stage in STAGES[:-1]} | {"report": loads()["report"]}
    submission = plan_dask(site_from_dict({}), done)
    assert [array.stage for array in submission.chain.arrays] == ["report"]
    assert "array dask" not in write_dask(tmp_path, submission).joinpath("submit.sh").read_text()


def test_description_and_warnings():
    text = describe_dask(plan(fields=100, seconds=600.0))
    assert text.splitlines()[1].split()[:3] == ["dask", "1", "100"]
    assert "6 workers on 3 nodes, a core and the memory above each, and one seat more for the scheduler" in text
    assert "longer than dask.time = 02:00:00: it will be requeued; raise dask.workers" in text
    assert "alone is expected to take" in describe_dask(plan(fields=1, seconds=7000.0))
    assert "slurm.signal_s = 60 leaves the job less than half" in describe_dask(plan(dask={"time": "1"}))


@pytest.mark.parametrize(
    ("dask", "finding"),
    [
        ({"workers": 0}, "dask.workers = 0"),
        ({"nodes": 10}, "dask.nodes = 10"),
        ({"interface": "ib 0"}, "dask.interface"),
        ({"time": "soon"}, "dask.time"),
        ({"memory": "1MiB"}, "dask.memory"),
        ({"options": ["--ntasks=4"]}, "--ntasks is given already"),
        ({"nthreads": 2}, "unknown key dask.nthreads"),
    ],
)
def test_profiles_that_make_no_sense(dask, finding):
    with pytest.raises(ConfigError, match=finding):
        site_from_dict({"dask": dask})


# ---- on a node


SRUN = """case "$*" in
  *" worker "*) exit "${FAKE_WORKER:-0}" ;;
  *) for word; do case $last in --serve) : > "$word" ;; esac; last=$word; done; sleep 1; exit "$(cat "$FAKE/code")" ;;
esac
"""
JOB = ON_NODE | {"SLURM_NTASKS": "7", "SLURM_CPUS_PER_TASK": "1", "SLURM_RESTART_COUNT": "2"}


def run_dask(host, output, *, code=0, profile=PLAIN, **environ):
    host.program("srun", SRUN)
    host.say("code", str(code))
    host.say("state", "RUNNING\n")
    folder = write_dask(output, plan(profile=profile))
    spooled = host.folder / "slurm_script"
    spooled.write_bytes((folder / "dask.sbatch").read_bytes())
    done = host.run("bash", spooled, folder, expect=code, **JOB | environ)
    return folder, done


def understood(words):
    """(verb, its parameters) as the command line itself reads them."""
    with cli.make_context("smlmbatch", list(words)) as context:
        name, command, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
        with command.make_context(name, rest, parent=context) as inner:
            return name, inner.params


def test_two_steps_side_by_side(host, tmp_path, monkeypatch):
    scratch = host.folder / "scratch"
    profile = {"software": {"environment": "/opt/smlmbatch", "scratch": str(scratch)}}
    folder, _ = run_dask(host, tmp_path / "a b", profile=profile)
    first, others = host.calls("srun")
    step = ["--exact", "--cpus-per-task=1", "--kill-on-bad-exit=0", "--wait=0", "--export=ALL"]
    assert first[:9] == [*step, "--nodes=1", "--ntasks=1", "--relative=0", "/opt/smlmbatch/bin/smlmbatch"]
    assert others[:7] == [*step, "--ntasks=6", "/opt/smlmbatch/bin/smlmbatch"]
    monkeypatch.setenv("SLURM_JOB_ID", "33")
    name, told = understood(first[9:])
    meeting = folder / "dask-33-2.json"
    assert (name, told["output"], told["serve"], told["interface"], told["tls"]) == ("register", tmp_path / "a b", meeting, "ib0", True)
    assert (told["tasks"], told["scratch"], told["memory"]) == (folder / "tasks-dask.csv", scratch, 1075 << 20)
    name, told = understood(others[7:])
    assert (name, told["scheduler"], told["scratch"], told["interface"]) == ("worker", str(meeting), scratch, "ib0")
    # after SLURM's warning, 120 s before the end of the 7200, and well before that end
    assert told["lifetime_s"] - told["stagger_s"] > 7200 - 120
    assert told["lifetime_s"] + told["stagger_s"] < 7200
    assert not list(folder.glob("dask-*"))


@pytest.mark.parametrize("code", [75, 125, 137])
def test_job_that_was_stopped_is_requeued_by_the_host(host, tmp_path, code):
    run_dask(host, tmp_path, code=code)
    assert requeues(host) == [["requeue", "30_4"]]


@pytest.mark.parametrize("code", [0, 2, 3])
def test_lost_workers_do_not_count(host, tmp_path, code):
    run_dask(host, tmp_path, code=code, FAKE_WORKER="137")
    assert requeues(host) == []


def test_what_a_killed_start_left_is_removed(host, tmp_path):
    folder = tmp_path / "jobs" / "0001"
    folder.mkdir(parents=True)
    folder.rmdir()
    folder, _ = run_dask(host, tmp_path)
    (folder / "dask-33-0.json").write_text("a key")
    (folder / "dask-33-0.json.files" / "x").mkdir(parents=True)
    (folder / "dask-34-0.json").write_text("of another job")
    spooled = host.folder / "slurm_script"
    host.run("bash", spooled, folder, **JOB)
    assert [path.name for path in folder.glob("dask-*")] == ["dask-34-0.json"]


def test_this_test_of_command_lines_can_fail():
    with pytest.raises(click.UsageError):
        understood(["worker"])
