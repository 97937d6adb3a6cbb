"""Status: what is done, running, failed and to do, and how long the rest will take; from the store alone."""

import json
import os
import shutil
import time
from dataclasses import replace

import pytest

from smlmbatch.campaign import load_plan
from smlmbatch.engine import inspect_field
from smlmbatch.hpc.place import Place
from smlmbatch.progress import add_up, progress_of, span
from smlmbatch.run import RunOptions, field_tasks
from smlmbatch.store.attempts import Errand
from smlmbatch.store.units import Failure
from tests.conftest import smlmbatch

_BEHIND = ("tile", "quality", "measure", "embed", "cluster", "pick")
_UNMADE = ((), ("measure",), _BEHIND, _BEHIND)


@pytest.fixture
def plan(small_output, tmp_path):
    """Four fields; the second has no measurement, the third and the fourth nothing behind ingest."""
    output = shutil.copytree(small_output, tmp_path / "out")
    plan = load_plan(output)
    for field, stages in zip(plan.fields, _UNMADE, strict=True):
        for stage in stages:
            (unit,) = plan.store.field_folder(field.key).glob(f"{stage}-*.zarr.zip")
            unit.unlink()
    return plan


def test_input_may_be_away(small_copy, tmp_path):
    """Archived, or on a disk that this machine doesn't see: what is done stays done."""
    smlmbatch("run", small_copy, tmp_path / "out")
    small_copy.rename(tmp_path / "elsewhere")
    assert progress_of(load_plan(tmp_path / "out"), Place()).is_finished


def key_of(plan, number, stage):
    return inspect_field(field_tasks(plan, RunOptions())[number]).keys[stage]


def counts(progress):
    return {count.stage: (count.done, count.running, count.failed, count.to_do) for count in progress.stages}


def test_counts(plan):
    progress = progress_of(plan, Place())
    tile = (2, 0, 0, 2)
    assert counts(progress) == {"ingest": (4, 0, 0, 0), **dict.fromkeys(_BEHIND, tile), "measure": (1, 0, 0, 3)}
    assert not progress.is_finished
    assert progress.eta_s is None  # nobody is at work


def test_who_is_at_work(plan):
    with plan.store.attempt(Errand(key=key_of(plan, 2, "tile"), path="c.csv")):
        progress = progress_of(plan, Place())
        assert counts(progress)["tile"] == (2, 1, 0, 1)
        assert [owner.errand.path for owner in progress.running] == ["c.csv"]
        assert progress.eta_s == progress.left_s > 0
        told = smlmbatch("status", plan.output).stdout
        assert "to go with 1 running" in told
        assert json.loads(smlmbatch("status", plan.output, "--json").stdout)["running"] == ["c.csv"]


def test_a_silent_attempt_is_not_running(plan):
    with plan.store.attempt(Errand(key=key_of(plan, 2, "tile"), path="c.csv")) as attempt:
        owner = attempt.folder / "owner.json"
        owner.write_text(json.dumps(json.loads(owner.read_text()) | {"space": "another node"}))
        os.utime(owner, (time.time() - 600,) * 2)
        progress = progress_of(plan, Place())
        assert (len(progress.running), len(progress.silent)) == (0, 1)
        assert counts(progress)["tile"] == (2, 0, 0, 2)
        told = smlmbatch("status", plan.output).stdout
        assert "silent: c.csv" in told
        assert "nothing is running" in told


def test_failures_count_for_the_stages_behind(plan):
    key = key_of(plan, 3, "tile")
    plan.store.record_failure(Failure(key.field, "tile", key.fingerprint, "resource", "d.csv", "full disk", "w", "m", "a"))
    progress = progress_of(plan, Place())
    tile = (2, 0, 1, 1)
    assert counts(progress) == {"ingest": (4, 0, 0, 0), **dict.fromkeys(_BEHIND, tile), "measure": (1, 0, 1, 2)}
    assert [failure.path for failure in progress.failures] == ["d.csv"]


def test_work_left_comes_from_the_records(plan):
    """Mean seconds of a stage's units times what is to do; a unit at work counts half."""
    (log,) = (plan.output / "logs").glob("units-*.jsonl")
    seconds = {"ingest": 1.0, "tile": 10.0, "quality": 30.0, "measure": 100.0, "embed": 7.0, "cluster": 5.0, "pick": 3.0}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(line | {"wall_s": seconds[line["stage"]]}) + "\n" for line in lines))
    assert progress_of(plan, Place()).left_s == pytest.approx(2 * 10 + 2 * 30 + 3 * 100 + 2 * (7 + 5 + 3))
    with plan.store.attempt(Errand(key=key_of(plan, 2, "tile"))), plan.store.attempt(Errand(key=key_of(plan, 1, "measure"))):
        progress = progress_of(plan, Place())
        assert progress.left_s == pytest.approx(1.5 * 10 + 2 * 30 + 2.5 * 100 + 2 * (7 + 5 + 3))
        assert progress.eta_s == pytest.approx(progress.left_s / 2)
    log.unlink()
    assert progress_of(plan, Place()).left_s is None
    assert "nothing is running: run or submit again" in smlmbatch("status", plan.output).stdout


def test_several_campaigns_add_up(plan, small_output):
    one, other = progress_of(plan, Place()), progress_of(load_plan(small_output), Place())
    total = add_up([one, other])
    tile = (6, 0, 0, 2)
    assert counts(total) == {"ingest": (8, 0, 0, 0), **dict.fromkeys(_BEHIND, tile), "measure": (5, 0, 0, 3)}
    assert total.left_s == pytest.approx(one.left_s)
    unknown = replace(one, stages=tuple(replace(count, left_s=None) for count in one.stages))
    assert add_up([unknown, other]).left_s is None


@pytest.mark.parametrize(("seconds", "text"), [(3.2, "3 s"), (99, "99 s"), (120, "2 min"), (5940, "99 min"), (7200, "2.0 h")])
def test_span(seconds, text):
    assert span(seconds) == text
