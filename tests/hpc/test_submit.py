"""A submission as it is written: golden texts, equal bytes anywhere, numbers, limits, the table for people."""

import dataclasses
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smlmbatch.hpc.packing import Load
from smlmbatch.hpc.site import STAGES, Site, site_from_dict
from smlmbatch.hpc.submit import describe, plan_submission, render_site, render_submit, write_submission
from tests.hpc.submissions import CONTAINER, PLAIN, ROOT, loads

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(("name", "profile"), [("container", CONTAINER), ("plain", PLAIN)])
@pytest.mark.parametrize("script", ["submit.sh", "site.sh"])
def test_golden(name, profile, script):
    """Rewritten with SMLMBATCH_GOLDEN=write; look at the difference before you commit it."""
    submission = plan_submission(site_from_dict(profile), loads(fields=300, seconds=600.0))
    text = render_submit(submission) if script == "submit.sh" else render_site(submission.site)
    path = GOLDEN / f"{name}.{script}"
    if os.environ.get("SMLMBATCH_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_equal_inputs_give_equal_bytes_anywhere(tmp_path):
    def content(folder):
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = write_submission(tmp_path / "a", plan_submission(Site(), loads()))
    second = write_submission(tmp_path / "elsewhere" / "b", plan_submission(Site(), loads()))
    assert content(first) == content(second)
    assert not [name for name, data in content(first).items() if bytes(tmp_path) in data]


def test_what_is_written(tmp_path):
    submission = plan_submission(site_from_dict(CONTAINER), loads(fields=300, seconds=600.0))
    folder = write_submission(tmp_path, submission)
    assert folder == tmp_path / "jobs" / "0001"
    wanted = {"submit.sh", "site.sh", "pipeline.sh", "task.sh", "plan.json"}
    assert {path.name for path in folder.iterdir()} == wanted | {f"{s}.sbatch" for s in STAGES} | {f"tasks-{s}.csv" for s in STAGES}
    assert folder.joinpath("submit.sh").stat().st_mode & stat.S_IXUSR
    for array in submission.arrays:
        head, *rows = (folder / f"tasks-{array.stage}.csv").read_text().splitlines()
        assert head == "task,campaign,part,parts"
        assert rows == [f"{n},{share.campaign},{share.part},{share.parts}" for n, (share,) in enumerate(array.packed.tasks, start=1)]
        assert len(array.packed.tasks) <= 40
    plan = json.loads((folder / "plan.json").read_text())
    assert [array["stage"] for array in plan["arrays"]] == list(STAGES)
    assert plan["site"] == json.loads(json.dumps(dataclasses.asdict(submission.site)))


def test_templates_are_those_of_the_repository(tmp_path):
    folder = write_submission(tmp_path, plan_submission(Site(), loads()))
    for name in ("pipeline.sh", "task.sh", *(f"{stage}.sbatch" for stage in STAGES)):
        assert (folder / name).read_bytes() == (ROOT / "jobs" / name).read_bytes()


def test_stages_without_work_get_no_array(tmp_path):
    of_stages = loads(stages=("tile",))
    of_stages["ingest"] = [Load(campaign=".", fields=["a"], seconds=[0.0])]
    submission = plan_submission(Site(), of_stages)
    assert [array.stage for array in submission.arrays] == ["tile", "report"]
    assert not (write_submission(tmp_path, submission) / "tasks-ingest.csv").exists()


def test_numbers_go_on_and_two_at_once_get_two(tmp_path):
    (tmp_path / "jobs" / "0007").mkdir(parents=True)
    (tmp_path / "jobs" / "notes.txt").touch()
    submission = plan_submission(Site(), loads())
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: write_submission(tmp_path, submission), range(16)))
    assert sorted(folder.name for folder in folders) == [f"{number:04d}" for number in range(8, 24)]
    assert all((folder / "submit.sh").is_file() for folder in folders)


def test_limit_over_all_stages_reaches_the_arrays():
    site = site_from_dict({"slurm": {"max_submit_jobs": 10, "task_minutes": 1}})
    submission = plan_submission(site, loads())
    assert sum(len(array.packed.tasks) for array in submission.arrays) <= 10


def test_ranks_are_asked_with_memory_by_the_core():
    """--mem would be a node's, and how many ranks lie on one is SLURM's to choose."""
    site = site_from_dict({"stage": {"embed": {"ranks": 4, "cpus": 2, "memory": "3GiB"}}})
    submission = plan_submission(site, loads(fields=3, seconds=1000.0))
    (line,) = [line for line in render_submit(submission).splitlines() if line.startswith("array embed ")]
    assert " --ntasks=4 --mem-per-cpu=1536M --cpus-per-task=2 " in line
    assert "--mem=" not in line
    (row,) = [line for line in describe(submission).splitlines() if line.startswith("embed ")]
    assert " 4 x 2 " in row


def test_description_tells_tasks_limits_and_warnings():
    site = site_from_dict({"slurm": {"throttle": 4, "task_minutes": 10}, "stage": {"tile": {"time": "00:05:00"}}})
    text = describe(plan_submission(site, loads(fields=3, seconds=1000.0)))
    head, *rows = text.splitlines()
    assert head.split() == ["stage", "tasks", "fields", "longest", "task", "time", "limit", "memory", "cpus", "CPU", "hours", "array"]
    assert rows[0].split() == ["ingest", "3", "3", "17", "min", "01:00:00", "1.50", "GiB", "1", "0.83", "1-3"]
    assert rows[10].split() == ["total", "28", "151", "min", "7.52"]
    assert "up to 1000 (slurm.max_array_size)" in text
    assert "warning: tile: .: f0 alone is expected to take 00:16:40, longer than stage.tile.time = 00:05:00" in text
