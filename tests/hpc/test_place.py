"""Places read from the variables that SLURM 22.05.8 and torchrun really set, from broken ones, and from leaked ones."""

import dataclasses
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.place import Place, in_step, read_place

# As noted down from jobs on a three-node cluster (env in the batch script and in srun's tasks).
BATCH = {
    "SLURMD_NODENAME": "ha2",
    "SLURM_CPUS_ON_NODE": "4",
    "SLURM_JOB_ID": "5",
    "SLURM_JOB_NODELIST": "ha[2-3]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_LOCALID": "0",
    "SLURM_NNODES": "2",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "ha[2-3]",
    "SLURM_NTASKS": "3",
    "SLURM_PROCID": "0",
    "SLURM_TASKS_PER_NODE": "2,1",
}
STEP = BATCH | {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "ha[2-3]",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
}
LAST_TASK = STEP | {"SLURM_PROCID": "2", "SLURM_NODEID": "1", "SLURMD_NODENAME": "ha3"}
# srun -r1 -N1 -n1 inside a two-node job with --ntasks-per-node=2: the job's own numbers still stand there
SMALL_STEP = BATCH | {
    "SLURMD_NODENAME": "ha3",
    "SLURM_NNODES": "1",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_STEP_ID": "1",
    "SLURM_STEP_NODELIST": "ha3",
    "SLURM_STEP_NUM_NODES": "1",
    "SLURM_STEP_NUM_TASKS": "1",
    "SLURM_STEP_TASKS_PER_NODE": "1",
}
SALLOC = {"SLURM_JOB_ID": "15", "SLURM_JOB_NODELIST": "ha[1-2]", "SLURM_NODELIST": "ha[1-2]", "SLURM_JOB_NUM_NODES": "2"} | {
    "SLURM_NNODES": "2",
    "SLURM_NTASKS": "3",
    "SLURM_TASKS_PER_NODE": "2,1",
}
ARRAY = {
    "SLURM_JOB_ID": "27",
    "SLURM_ARRAY_JOB_ID": "23",
    "SLURM_ARRAY_TASK_ID": "4",
    "SLURM_ARRAY_TASK_MIN": "0",
    "SLURM_ARRAY_TASK_MAX": "4",
    "SLURM_ARRAY_TASK_STEP": "2",
    "SLURM_ARRAY_TASK_COUNT": "3",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "2",
}
# ... started by srun once a node
ONE_A_NODE = STEP | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
TWO_A_NODE = ONE_A_NODE | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}


def standing(environ):
    place = read_place(environ)
    return place.launcher, place.rank, place.world, place.local_rank, place.local_world, place.node, place.hosts


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, ("alone", 0, 1, 0, 1, 0, ())),
        (BATCH, ("alone", 0, 1, 0, 1, 0, ("ha2", "ha3"))),
        (SALLOC, ("alone", 0, 1, 0, 1, 0, ("ha1", "ha2"))),
        (BATCH | {"SLURM_STEP_ID": str(0xFFFFFFFA)}, ("alone", 0, 1, 0, 1, 0, ("ha2", "ha3"))),  # salloc's interactive step
        (BATCH | {"SLURM_STEP_ID": "batch"}, ("alone", 0, 1, 0, 1, 0, ("ha2", "ha3"))),
        (STEP, ("srun", 0, 3, 0, 2, 0, ("ha2", "ha3"))),
        (STEP | {"SLURM_PROCID": "1", "SLURM_LOCALID": "1"}, ("srun", 1, 3, 1, 2, 0, ("ha2", "ha3"))),
        (LAST_TASK, ("srun", 2, 3, 0, 1, 1, ("ha2", "ha3"))),
        (SMALL_STEP, ("srun", 0, 1, 0, 1, 0, ("ha3",))),
        (TORCHRUN, ("torchrun", 3, 4, 1, 2, 1, ())),
        ({k: v for k, v in TORCHRUN.items() if k not in ("TORCHELASTIC_RUN_ID", "GROUP_RANK")}, ("torchrun", 3, 4, 1, 2, 1, ())),
        ({"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}, ("torchrun", 2, 4, 0, 2, 1, ())),
        (ONE_A_NODE | TORCHRUN | {"GROUP_WORLD_SIZE": "1", "GROUP_RANK": "0"}, ("torchrun", 3, 4, 1, 2, 0, ("ha2", "ha3"))),  # elastic
        (ONE_A_NODE | TORCHRUN, ("torchrun", 3, 4, 1, 2, 1, ("ha2", "ha3"))),
        (BATCH | {"RANK": "7"}, ("alone", 0, 1, 0, 1, 0, ("ha2", "ha3"))),  # a stray RANK is no launcher
    ],
)
def test_who_launched(environ, wanted):
    assert standing(environ) == wanted


def test_what_tells_one_launch_from_another():
    """Two steps of a job, and two tries of torchrun, must not meet each other."""
    assert [read_place(environ).step for environ in ({}, BATCH, STEP, STEP | {"SLURM_STEP_ID": "3"})] == [0, 0, 0, 3]
    again = TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "2", "TORCHELASTIC_USE_AGENT_STORE": "True", "SLURM_JOB_ID": "9"}
    place = read_place(ONE_A_NODE | again | {"SLURM_STEP_ID": "5"})
    assert (place.job, place.step, place.attempt, place.agent) == ("9", 5, 2, True)
    assert not read_place(TORCHRUN).agent, "RANK and its like set by hand: rank 0 listens"


def test_older_slurm_without_step_counts():
    environ = {k: v for k, v in STEP.items() if not k.startswith("SLURM_STEP_")} | {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "4"}
    assert standing(environ | {"SLURM_NTASKS_PER_NODE": "2"}) == ("srun", 0, 4, 0, 2, 0, ("ha2", "ha3"))
    with pytest.raises(ConfigError, match="SLURM_NTASKS_PER_NODE is missing"):
        read_place(environ)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), min_size=1, max_size=4), st.data())
def test_tasks_of_each_node(runs, data):
    """`2(x3),1` against the list written out, for every node."""
    each = [tasks for tasks, nodes in runs for _ in range(nodes)]
    node = data.draw(st.integers(0, len(each) - 1))
    text = ",".join(f"{tasks}(x{nodes})" if nodes > 1 else f"{tasks}" for tasks, nodes in runs)
    place = read_place(
        {
            "SLURM_STEP_ID": "0",
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": str(each[node] - 1),
            "SLURM_NODEID": str(node),
            "SLURM_STEP_NUM_TASKS": str(sum(each)),
            "SLURM_STEP_NODELIST": f"n[1-{len(each)}]",
            "SLURM_STEP_NUM_NODES": str(len(each)),
            "SLURM_STEP_TASKS_PER_NODE": text,
        }
    )
    assert (place.local_world, place.local_rank, place.node, len(place.hosts)) == (each[node], each[node] - 1, node, len(each))


# ---- arrays


def test_array_job_and_task():
    place = read_place(ARRAY | {"SLURM_RESTART_COUNT": "2"})
    assert (place.job, place.array_job, place.task, place.restart, place.queue_id) == ("27", "23", 4, 2, "23")
    assert place.array_part() == (place.part, place.parts) == (3, 3)
    assert read_place(BATCH).queue_id == "5"
    assert read_place({}).queue_id == ""


@given(st.integers(0, 1000), st.integers(1, 50), st.integers(1, 40))
def test_parts_of_any_regular_array(low, step, count):
    """The parts of all tasks are 1 … N, in the order of their ids."""
    ids = range(low, low + step * count, step)
    regular = {"MIN": ids[0], "MAX": ids[-1], "STEP": step, "COUNT": count}
    environ = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in regular.items()} | {"SLURM_ARRAY_JOB_ID": "1"}
    parts = [read_place(environ | {"SLURM_ARRAY_TASK_ID": str(task)}).array_part() for task in ids]
    assert parts == [(i, count) for i in range(1, count + 1)]


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "no task of a SLURM array"),
        (BATCH, "no task of a SLURM array"),
        (ARRAY | {"SLURM_ARRAY_TASK_STEP": "1"}, "3 ids between 0 and 4 are no single run"),  # --array=0,2,4 says step 1
        (ARRAY | {"SLURM_ARRAY_TASK_MAX": "9", "SLURM_ARRAY_TASK_STEP": "1"}, "no single run"),
        (ARRAY | {"SLURM_ARRAY_TASK_MAX": "5"}, "no single run"),  # 0, 2 and 5: three ids between 0 and 5 as well
        (ARRAY | {"SLURM_ARRAY_TASK_COUNT": "0", "SLURM_ARRAY_TASK_MIN": "6"}, "no single run"),
        ({k: v for k, v in ARRAY.items() if not k.endswith("COUNT")}, "SLURM_ARRAY_TASK_COUNT is missing"),
    ],
)
def test_no_share_of_an_array(environ, why):
    place = read_place(environ)
    assert (place.part, place.parts) == (1, 1)
    with pytest.raises(ConfigError, match=f"{why}.*--array=1-N"):
        place.array_part()


# ---- what was waited for


@pytest.mark.parametrize(
    ("dependency", "ended"),
    [
        ("", ()),
        ("afterany:1:2,singleton", ("1", "2")),
        ("afterany:12_*:13,singleton", ("12", "13")),
        ("afterok:12_5", ("12_5",)),  # one task: the others may still run
        ("afternotok:7,afterok:8,afterany:7", ("7", "8")),
        ("afterany:12_*(unfulfilled),afterok:13(failed)", ("12", "13")),
        ("after:12+30,afterany:13", ("13",)),
        ("aftercorr:12_*,singleton,afterburstbuffer:3,expand:9", ()),
        ("afterok:2?afterany:3", ()),  # either may still run
        ("singleton", ()),
        ("afterany:", ()),
    ],
)
def test_ended_jobs(dependency, ended):
    assert read_place(BATCH | {"SLURM_JOB_DEPENDENCY": dependency}).ended_jobs == ended


# ---- where to meet


def test_head():
    assert read_place(LAST_TASK).head() == "ha2"
    assert read_place(SMALL_STEP).head() == "ha3"
    assert read_place({}).head() == os.uname().nodename
    assert read_place({"SLURM_JOB_ID": "1", "SLURMD_NODENAME": "n7"}).head() == "n7"
    with pytest.raises(ConfigError, match="4 ranks, 2 of them here"):
        read_place(TORCHRUN).head()


def test_place_is_a_value():
    assert Place() == Place()
    with pytest.raises(dataclasses.FrozenInstanceError):
        Place().rank = 1


def test_empty_is_unset():
    assert read_place(dict.fromkeys(STEP | ARRAY, "") | {"SLURM_RESTART_COUNT": " "}) == read_place({})


# ---- broken


@pytest.mark.parametrize(
    ("environ", "finding"),
    [
        (STEP | {"SLURM_PROCID": "x"}, "SLURM_PROCID='x' is no whole number"),
        (STEP | {"SLURM_PROCID": "1.0"}, "SLURM_PROCID='1.0'"),
        (STEP | {"SLURM_PROCID": "\N{SUPERSCRIPT TWO}"}, "SLURM_PROCID="),
        (STEP | {"SLURM_PROCID": "3"}, "SLURM_PROCID=3 can't be: wanted at least 0 and below 3"),
        (STEP | {"SLURM_PROCID": "-1"}, "SLURM_PROCID=-1"),
        (STEP | {"SLURM_PROCID": ""}, "SLURM_PROCID is missing"),
        (STEP | {"SLURM_STEP_NUM_TASKS": "0"}, "SLURM_STEP_NUM_TASKS=0 can't be: wanted at least 1"),
        (STEP | {"SLURM_LOCALID": "2"}, "SLURM_LOCALID=2"),
        (STEP | {"SLURM_NODEID": "2"}, "SLURM_NODEID=2"),
        (STEP | {"SLURM_STEP_TASKS_PER_NODE": "2(y3)"}, r"SLURM_STEP_TASKS_PER_NODE='2\(y3\)'"),
        (LAST_TASK | {"SLURM_STEP_TASKS_PER_NODE": "2"}, "has no node 1"),
        (STEP | {"SLURM_STEP_TASKS_PER_NODE": ",".join(["1(x999999999)"] * 9)}, "can't be read"),
        (BATCH | {"SLURM_RESTART_COUNT": "-1"}, "SLURM_RESTART_COUNT=-1"),
        (ARRAY | {"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_ID=3 is none of the array's ids, 0 to 4 by 2"),
        (ARRAY | {"SLURM_ARRAY_TASK_ID": "6"}, "SLURM_ARRAY_TASK_ID=6"),
        (ARRAY | {"SLURM_ARRAY_TASK_STEP": "0"}, "SLURM_ARRAY_TASK_STEP=0"),
        (ARRAY | {"SLURM_ARRAY_TASK_COUNT": "many"}, "SLURM_ARRAY_TASK_COUNT='many'"),
        (TORCHRUN | {"RANK": "4"}, "RANK=4"),
        (TORCHRUN | {"LOCAL_RANK": "2"}, "LOCAL_RANK=2"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "5"}, "LOCAL_WORLD_SIZE=5"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": ""}, "LOCAL_WORLD_SIZE is missing"),
        (TWO_A_NODE | TORCHRUN, "srun started torchrun 4 times, 2 of them on this node, and 2 found each other"),
    ],
)
def test_broken_variables(environ, finding):
    with pytest.raises(ConfigError, match=finding):
        read_place(environ)


@pytest.mark.parametrize("counts", [{"SLURM_NNODES": "2"}, {"SLURM_JOB_NUM_NODES": "2"}])
def test_several_nodes_never_become_this_one(counts):
    with pytest.raises(ConfigError, match="SLURM says 2 nodes, and SLURM_JOB_NODELIST is missing"):
        read_place(counts)
    with pytest.raises(ConfigError, match=r"SLURM_JOB_NODELIST='n\[1-3\]' names 3 nodes, and SLURM says 2"):
        read_place(counts | {"SLURM_JOB_NODELIST": "n[1-3]"})
    with pytest.raises(ConfigError, match=r"'n\[1-'.*unbalanced"):
        read_place(counts | {"SLURM_JOB_NODELIST": "n[1-"})
    assert read_place(counts | {"SLURM_NODELIST": "n[1-2]"}).hosts == ("n1", "n2")


def test_a_step_without_its_list():
    bare = {k: v for k, v in SMALL_STEP.items() if k != "SLURM_STEP_NODELIST"}
    with pytest.raises(ConfigError, match="names 2 nodes, and SLURM says 1"):
        read_place(bare)


@pytest.mark.parametrize(
    ("text", "inside"), [("0", True), ("17", True), (str(0xFFFFFFFB), False), ("", False), ("batch", False), ("-1", False)]
)
def test_in_step(text, inside):
    assert in_step({"SLURM_STEP_ID": text}) is inside
