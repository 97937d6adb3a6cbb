"""Packing of units into array tasks: everything once, within every limit, the same every time; and what arrays then ask."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.asking import ask_for, wanted_task_s
from smlmbatch.hpc.packing import EFFICIENCY, START_S, Load, Share, pack_chain, pack_stage
from smlmbatch.hpc.site import site_from_dict


def load(seconds, campaign=".", peak_mib=100.0):
    return Load(
        campaign=campaign, fields=tuple(f"f{i}" for i in range(len(seconds))), seconds=tuple(map(float, seconds)), peak_mib=peak_mib
    )


def covered(packed, loads):
    """How often each field of each campaign is worked on, by the rule that part I is every N-th field from the I-th on."""
    counts = {one.campaign: [0] * len(one.seconds) for one in loads}
    for task in packed.tasks:
        for campaign, part, parts in task:
            for field in range(part - 1, len(counts[campaign]), parts):
                counts[campaign][field] += 1
    return counts


SECONDS = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 5000.0)), max_size=60)
CAMPAIGNS = st.lists(SECONDS, max_size=8).map(lambda lists: [load(seconds, f"c{i}") for i, seconds in enumerate(lists)])


@given(CAMPAIGNS, st.floats(0.5, 4000), st.integers(1, 20), st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_every_field_with_work_is_in_exactly_one_task(loads, task_s, most_tasks, cpus):
    packed = pack_stage(loads, task_s=task_s, most_tasks=most_tasks, cpus=cpus)
    for one in loads:
        for seconds, times in zip(one.seconds, covered(packed, loads)[one.campaign], strict=True):
            assert times == 1 if seconds else times <= 1
    assert len(packed.tasks) <= most_tasks
    assert all(task for task in packed.tasks)
    assert bool(packed.tasks) == any(any(one.seconds) for one in loads)
    assert packed.fields == sum(s > 0 for one in loads for s in one.seconds)
    assert packed == pack_stage(loads, task_s=task_s, most_tasks=most_tasks, cpus=cpus)


@given(CAMPAIGNS, st.floats(0.5, 4000), st.integers(1, 8))
@settings(deadline=None)
def test_expected_times_are_those_of_the_tasks(loads, task_s, cpus):
    packed = pack_stage(loads, task_s=task_s, most_tasks=1000, cpus=cpus)
    by_name = {one.campaign: one.seconds for one in loads}
    longest = 0.0
    for task in packed.tasks:
        units = [s for campaign, part, parts in task for s in by_name[campaign][part - 1 :: parts]]
        longest = max(longest, START_S + max(math.fsum(units) / (1 if cpus == 1 else EFFICIENCY * cpus), max(units)))
    assert packed.longest_s == pytest.approx(longest)
    work = math.fsum(s for one in loads for s in one.seconds)
    assert packed.total_s == pytest.approx(work + START_S * cpus * len(packed.tasks))


@given(st.lists(SECONDS, min_size=3, max_size=3), st.floats(0.5, 100), st.integers(3, 40))
@settings(deadline=None)
def test_a_limit_over_all_arrays_holds(lists, task_s, most_jobs):
    stages = dict(zip("abc", ([load(seconds)] for seconds in lists), strict=True))
    packed = pack_chain(stages, task_s=dict.fromkeys("abc", task_s), cpus=dict.fromkeys("abc", 1), most_tasks=1000, most_jobs=most_jobs)
    assert sum(len(array.tasks) for array in packed.values()) <= most_jobs
    assert set(packed) == {stage for stage, loads in stages.items() if any(loads[0].seconds)}
    for stage, array in packed.items():
        assert all(
            times == 1 for seconds, times in zip(stages[stage][0].seconds, covered(array, stages[stage])["."], strict=True) if seconds
        )


def test_fewer_jobs_than_stages_is_refused():
    stages = {stage: [load([1])] for stage in "abc"}
    with pytest.raises(ConfigError, match="3 stages have work and only 2 tasks"):
        pack_chain(stages, task_s=dict.fromkeys("abc", 9.0), cpus=dict.fromkeys("abc", 1), most_tasks=9, most_jobs=2)


def test_even_work_gives_as_many_tasks_as_it_should():
    packed = pack_stage([load([60] * 100)], task_s=600 + START_S, most_tasks=1000)
    assert packed.tasks == tuple((Share(".", part, 10),) for part in range(1, 11))
    assert packed.longest_s == 602
    assert packed.unit == ".: f0"


def test_processes_shorten_tasks():
    packed = pack_stage([load([60] * 100)], task_s=600 + START_S, most_tasks=1000, cpus=4)
    assert len(packed.tasks) == math.ceil(6000 / (600 * 0.9 * 4))
    assert pack_stage([load([600])], task_s=60, most_tasks=9, cpus=8).longest_s == 602  # one unit is not split


def test_ranks_shorten_tasks_and_share_long_units():
    packed = pack_stage([load([60] * 100)], task_s=600 + START_S, most_tasks=1000, ranks=4)
    assert packed.tasks == pack_stage([load([60] * 100)], task_s=600 + START_S, most_tasks=1000, cpus=4).tasks
    one = pack_stage([load([600])], task_s=60, most_tasks=9, ranks=4)
    assert one.longest_s == pytest.approx(START_S + 600 / (4 * EFFICIENCY))
    assert one.unit_s == pytest.approx(600 / (4 * EFFICIENCY))
    assert one.total_s == 600 + 4 * START_S


def test_limit_lengthens_tasks_and_wastes_none():
    packed = pack_stage([load([60] * 100)], task_s=62, most_tasks=40)
    assert len(packed.tasks) == 40


def test_small_campaigns_share_tasks_first_fit():
    loads = [load([50], "a"), load([200], "b"), load([40], "c"), load([500, 500, 500], "d"), load([0, 0], "e"), load([100], "f")]
    packed = pack_stage(loads, task_s=252, most_tasks=1000)
    assert packed.tasks[0] == (Share("a", 1, 1), Share("b", 1, 1))
    assert packed.tasks[1] == (Share("c", 1, 1), Share("f", 1, 1))
    assert packed.tasks[2:] == tuple((Share("d", part, 3),) for part in (1, 2, 3))
    assert (packed.unit, packed.unit_s) == ("d: f0", 500)


def test_parts_without_work_are_left_out():
    packed = pack_stage([load([0, 100, 0, 100, 0, 100])], task_s=60, most_tasks=1000)
    assert packed.tasks == tuple((Share(".", part, 6),) for part in (2, 4, 6))


def test_memory_is_that_of_campaigns_with_work():
    assert pack_stage([load([1], "a", 300), load([0], "b", 9000)], task_s=60, most_tasks=9).peak_mib == 300


def test_ten_thousand_small_campaigns_fill_their_tasks():
    loads = [load([1 + i % 97], f"c{i}") for i in range(10_000)]
    packed = pack_stage(loads, task_s=1000 + START_S, most_tasks=1000)
    assert len(packed.tasks) <= math.ceil(sum(one.seconds[0] for one in loads) / 1000 * 1.02)  # first fit wastes little
    assert packed.longest_s <= 1002


# ---- what arrays ask


def asked(profile, seconds, *, peak_mib=100.0, stage="tile"):
    site = site_from_dict(profile)
    packed = pack_stage([load(seconds, peak_mib=peak_mib)], task_s=wanted_task_s(site, stage), most_tasks=1000, cpus=site.of(stage).cpus)
    return ask_for(site, stage, packed)


def test_time_is_three_times_the_longest_task_and_a_start():
    assert asked({}, [1000]).time_s == 3600  # 3 x 1002 + 120 + 300 = 3426
    assert asked({}, [1.0]).time_s == 600
    assert asked({"slurm": {"signal_s": 900}}, [1.0]).time_s == 1500


def test_time_stays_within_the_profile():
    limit = {"stage": {"tile": {"time": "00:30:00"}}}
    assert asked(limit, [500.0]).time_s == 1800
    assert wanted_task_s(site_from_dict(limit), "tile") == 600
    assert asked(limit, [500.0]).warnings == ()


def test_a_unit_longer_than_the_limit_is_named():
    (warning,) = asked({"stage": {"tile": {"time": "00:30:00"}}}, [10, 4000]).warnings
    assert ".: f1 alone is expected to take 01:06:40, longer than stage.tile.time = 00:30:00" in warning


def test_tasks_longer_than_the_limit_are_told():
    profile = {"slurm": {"max_array_size": 2}, "stage": {"tile": {"time": "00:30:00"}}}
    site = site_from_dict(profile)
    packed = pack_stage([load([60] * 100)], task_s=600, most_tasks=1)
    (warning,) = ask_for(site, "tile", packed).warnings
    assert "the longest task is expected to take 01:40:02" in warning
    assert "requeued about 3 times" in warning


@pytest.mark.parametrize(
    ("peak_mib", "cpus", "memory", "mib"),
    [
        (100, 1, "", 1024),
        (1000, 1, "", 1792),  # 1.3 x 1000 + 300 = 1600
        (1000, 4, "", 7168),
        (1000, 4, "5GiB", 5120),
    ],
)
def test_memory_asked(peak_mib, cpus, memory, mib):
    assert asked({"stage": {"tile": {"cpus": cpus, "memory": memory}}}, [10], peak_mib=peak_mib).memory_mib == mib
