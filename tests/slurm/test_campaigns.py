"""Campaigns on a real SLURM, as their users send them: in the rule, with bad files, time limits, cancelling, many at once.

Those that mostly wait are submitted together when the first test asks for one (`background`), so that their waits overlap.
"""

import os
import re
import shutil
import signal
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from tests.conftest import digest, smlmbatch
from tests.slurm.campaigns import ARRAYS, FIELD_STAGES, Campaign, endings, freeze, process_of, processes_of, send
from tests.slurm.cluster import wait_until

pytestmark = pytest.mark.slow

THROTTLE = 3
# 2 s of a task are counted for its start, so this is little work: tasks are as many as fields, or as max_array_size allows.
SHORT_MINUTES = 0.034


@pytest.fixture(scope="module")
def background(slurm, inputs, tiled, reference, tmp_path_factory):
    """Campaigns under way beside the tests; they are not to be touched."""
    folder = tmp_path_factory.mktemp("background")
    # max_array_size 2 = one task. A time limit of a minute is the least SLURM knows; it warns some 30 s ahead.
    # Two processes: both must drop their unit in order, or its death would be counted.
    limits = {"max_array_size": 2, "signal_s": 20, "stage": {"measure": {"time": "00:01:00", "cpus": 2}}}
    limited = Campaign(slurm, inputs.long, tiled(inputs.long, folder / "limited"), **limits)
    limited.submit("--config", inputs.config)

    spoilt = folder / "input"
    shutil.copytree(inputs.small, spoilt)
    file = sorted(spoilt.rglob("*.hdf5"))[0]
    os.truncate(file, file.stat().st_size // 2)
    corrupt = Campaign(slurm, spoilt, folder / "corrupt", task_minutes=SHORT_MINUTES, max_array_size=5)
    corrupt.submit()

    names = ("a", "b with space", "c")
    for name in names:
        shutil.copytree(inputs.small, folder / "in" / name)
    (folder / "list.csv").write_text("campaign,input\n" + "".join(f"{name},in/{name}\n" for name in names))
    many = Campaign(slurm, None, folder / "root", task_minutes=0.1)
    many.submit("--campaigns", folder / "list.csv")
    yield SimpleNamespace(limited=limited, corrupt=corrupt, spoilt=file, many=many, names=names)
    slurm.cancel_all()


@pytest.mark.timeout(1500)
def test_forty_fields_by_arrays_equal_a_local_run(slurm, inputs, reference, background, tmp_path):
    campaign = Campaign(slurm, inputs.forty, tmp_path / "out", task_minutes=SHORT_MINUTES, throttle=THROTTLE)
    campaign.submit()
    seen = SimpleNamespace(most=Counter(), order=[], at_work=False)

    def look():
        time.sleep(0.3)  # squeue's own work is not for nothing
        tasks = campaign.tasks()
        running = {stage: sum(job.state == "RUNNING" for job in jobs) for stage, jobs in tasks.items()}
        seen.most |= Counter(running)
        seen.order += [stage for stage in ARRAYS if running[stage]]
        if running["tile"] and not seen.at_work:
            seen.at_work = any(stage["running"] > 0 for stage in campaign.status()["stages"])
        return not any(job.live for jobs in tasks.values() for job in jobs)

    wait_until(look, timeout_s=900, what=slurm.describe)
    tasks = campaign.tasks()
    assert len(tasks["measure"]) >= 40
    assert [endings(tasks[stage]) for stage in ARRAYS] == [{("COMPLETED", 0): len(tasks[stage])} for stage in ARRAYS]
    assert max(seen.most[stage] for stage in ARRAYS) == THROTTLE
    assert seen.order == sorted(seen.order, key=ARRAYS.index), "each stage begins after the one before, the report last"
    assert seen.at_work
    assert digest(campaign.output) == reference(inputs.forty)
    assert set(campaign.made().values()) == {1}
    assert len(campaign.records()) == len(campaign.made()) == len(FIELD_STAGES) * 40
    assert {record.job for record in campaign.records()} == {str(campaign.arrays[stage]) for stage in ARRAYS[:-1]}
    status = campaign.status()
    assert [(stage["done"], stage["running"], stage["to_do"]) for stage in status["stages"]] == [(40, 0, 0)] * len(FIELD_STAGES)
    assert campaign.remains() == []

    campaign.submit()
    assert list(campaign.arrays) == ["report"]
    assert endings(campaign.wait_end()["report"]) == {("COMPLETED", 0): 1}
    assert len(campaign.records()) == len(FIELD_STAGES) * 40
    assert digest(campaign.output) == reference(inputs.forty)


def test_corrupt_field_is_named_and_stops_nothing(background, inputs):
    campaign = background.corrupt
    tasks = campaign.wait_end()
    for stage in ARRAYS[:-1]:
        assert endings(tasks[stage]) == {("COMPLETED", 0): len(tasks[stage])}
        assert len(tasks[stage]) > 1
    assert endings(tasks["report"]) == {("FAILED", 3): 1}
    (failed,) = campaign.failed()
    field = failed["field"]
    assert failed["path"] == background.spoilt.relative_to(background.spoilt.parents[1]).as_posix()
    assert (failed["stage"], failed["kind"]) == ("ingest", "input")
    assert "cut off" in failed["finding"]
    assert failed["mend"]
    assert f"FAILED   {field} (ingest)" in campaign.log("ingest")
    for stage in ARRAYS[1:-1]:
        assert f"skipped  {field}: ingest failed" in campaign.log(stage)
    status = campaign.status()
    assert [(stage["done"], stage["failed"], stage["to_do"]) for stage in status["stages"]] == [(7, 1, 0)] * len(FIELD_STAGES)
    assert set(campaign.made().values()) == {1}

    # what the user does about it: puts the file right and submits again
    shutil.copy2(inputs.small / background.spoilt.relative_to(background.spoilt.parents[1]), background.spoilt)
    campaign.submit()
    assert endings(campaign.wait_end()["report"]) == {("COMPLETED", 0): 1}
    assert campaign.failed() == []
    assert set(campaign.made("0002")) == {(field, stage) for stage in FIELD_STAGES}


def test_three_campaigns_share_one_chain(background, inputs, reference):
    root = background.many
    tasks = root.wait_end()
    assert [endings(tasks[stage]) for stage in ARRAYS] == [{("COMPLETED", 0): len(tasks[stage])} for stage in ARRAYS]
    status = root.status()
    assert sorted(status["campaigns"]) == sorted(background.names)
    assert status["fields"] == 3 * 8
    assert [stage["done"] for stage in status["stages"]] == [3 * 8] * len(FIELD_STAGES)
    for name in background.names:
        assert digest(root.output / name) == reference(inputs.small)
        assert not (root.output / name / "jobs").exists()


def test_campaign_submitted_again_while_it_runs_waits_for_itself(slurm, inputs, reference, tmp_path):
    """And a second campaign beside it, which is cancelled in the middle and submitted again."""
    first = Campaign(slurm, inputs.small, tmp_path / "first", task_minutes=SHORT_MINUTES, max_array_size=5)
    other = Campaign(slurm, inputs.small, tmp_path / "other", task_minutes=SHORT_MINUTES, max_array_size=5, throttle=2)
    first.submit()
    other.submit()
    earlier = list(first.arrays.values())
    wait_until(lambda: first.made(), timeout_s=120, what=slurm.describe)
    first.submit()
    jobs = slurm.jobs()
    begins = [job for job in jobs if job.array_id == next(iter(first.arrays.values()))]
    assert {job.state for job in begins} == {"PENDING"}
    still_there = {job.array_id for job in jobs if job.live} & set(earlier)
    assert still_there
    assert still_there <= {int(number) for number in re.findall(r"afterany:(\d+)", begins[0].dependency)}

    wait_until(lambda: len(other.published("measure")) >= 3, timeout_s=120, what=slurm.describe)
    other.cancel()
    before = other.published()
    assert 3 * 8 + 3 <= len(before) < len(FIELD_STAGES) * 8
    other.submit()
    assert endings(other.wait_end()["report"]) == {("COMPLETED", 0): 1}
    assert before.items() <= other.published().items(), "what stood is still the same file"
    assert len(other.made("0002")) == len(FIELD_STAGES) * 8 - len(before)
    assert digest(other.output) == reference(inputs.small)

    tasks = first.wait_end()
    assert {ending for jobs in tasks.values() for ending in endings(jobs)} == {("COMPLETED", 0)}
    assert {job.state for job in slurm.jobs() if job.array_id in earlier} == {"COMPLETED"}
    assert first.records("0002") == []
    assert set(first.made().values()) == {1}
    assert digest(first.output) == reference(inputs.small)


def test_task_cut_short_is_finished_by_the_array_behind_it(slurm, inputs, reference, tmp_path):
    """As a time limit ends a task that did not react to the warning: no word to anyone, the job is over."""
    campaign = Campaign(slurm, inputs.heavy, tmp_path / "out", max_array_size=2)
    campaign.submit("--config", inputs.config)

    def caught():
        """Its processes stopped in the middle of a unit that is not the first."""
        if not (campaign.published("ingest") and campaign.at_work("ingest")):
            return None
        pids = processes_of(campaign.tasks()["ingest"][0])
        freeze(pids)
        if campaign.at_work("ingest"):
            return pids
        send(pids, signal.SIGCONT)
        return None

    pids = wait_until(caught, timeout_s=120, what=slurm.describe)
    (half_done,), before = campaign.at_work("ingest"), campaign.published("ingest")
    send(pids, signal.SIGKILL)
    tasks = campaign.wait_end()
    assert [(job.state, job.restarts) for job in tasks["ingest"]] == [("FAILED", 0)]
    assert endings(tasks["tile"] + tasks["measure"] + tasks["report"]) == {("COMPLETED", 0): 3}
    assert f"left unfinished by an earlier process: ingest of {half_done.errand.key.field}" in campaign.log("tile")
    assert before.items() <= campaign.published("ingest").items()
    ingested_by = Counter(record.job for record in campaign.records() if record.stage == "ingest")
    assert ingested_by[str(campaign.arrays["tile"])] == 6 - len(before)
    assert digest(campaign.output) == reference(inputs.heavy)
    assert campaign.remains() == []


def test_killed_worker_costs_its_unit_a_second_try_in_less_memory(slurm, inputs, tiled, reference, tmp_path):
    """The kernel kills the largest process of a job that is short of memory: the one that computes."""
    campaign = Campaign(slurm, inputs.heavy, tiled(inputs.heavy, tmp_path / "out"), max_array_size=2)
    campaign.submit("--config", inputs.config)
    (victim,) = wait_until(lambda: campaign.at_work("measure"), timeout_s=120, what=slurm.describe)
    os.kill(victim.pid, signal.SIGKILL)
    tasks = campaign.wait_end()
    assert endings(tasks["measure"] + tasks["report"]) == {("COMPLETED", 0): 2}
    assert [job.restarts for job in tasks["measure"]] == [0], "the task lives on, only its worker died"
    memory_mib = {record.field: record.memory_mib for record in campaign.records("0001") if record.stage == "measure"}
    smaller = memory_mib.pop(victim.errand.key.field)
    assert set(memory_mib.values()) == {victim.errand.memory_mib}
    assert smaller < victim.errand.memory_mib
    said = campaign.log("measure")
    assert "was killed by SIGKILL" in said
    assert "fields to try once more, with smaller blocks: 1" in said
    assert digest(campaign.output) == reference(inputs.heavy)


def test_task_at_its_time_limit_goes_back_into_the_queue_and_finishes(background):
    campaign = background.limited
    tasks = campaign.wait_end(timeout_s=300)
    (task,) = tasks["measure"]
    assert (task.state, task.exit_code) == ("COMPLETED", 0)
    assert task.restarts >= 1
    said = campaign.log("measure")
    assert said.count("stopped by SIGUSR1") == said.count("the step ended with 75; requeueing") == task.restarts
    assert endings(tasks["report"]) == {("COMPLETED", 0): 1}
    measured = [record for record in campaign.records("0001") if record.stage == "measure"]
    assert len(campaign.published("measure")) == 20
    assert len(measured) >= 20 - task.restarts, "only a stop between a unit and its line in the log may cost that line"
    assert set(Counter(record.field for record in measured).values()) == {1}, "nothing is made twice"
    assert len({process_of(record) for record in measured}) > 2, "the first start's units are there, and later ones"
    assert "FAILED" not in said, "no unit is blamed for the time limit"
    assert "left unfinished" not in said
    assert campaign.remains() == []
    smlmbatch("verify", campaign.output)
