"""The doctor says where it stands and who limits it, and speaks on where something is broken."""

import json

from smlmbatch.hpc.doctor import differences, examine, examine_rank, table_text
from smlmbatch.hpc.place import Place
from tests.hpc.test_place import ARRAY, LAST_TASK


def test_alone():
    found = examine({})
    assert json.loads(json.dumps(found)) == found
    assert found["place"].startswith("launcher alone, this node ")
    assert int(found["cores usable"].split()[0]) >= 1
    size, unit, *source = found["memory"].split()
    assert float(size) > 0.25
    assert unit == "GiB"
    assert source
    assert found["temporary folder"].startswith("/tmp (")
    assert found["versions"]["smlmbatch"]


def test_in_a_job():
    environ = LAST_TASK | ARRAY | {"SLURM_RESTART_COUNT": "2", "SLURM_JOB_DEPENDENCY": "afterany:9_*"}
    found = examine(environ | {"SLURM_CPUS_ON_NODE": "1", "SLURM_MEM_PER_NODE": "200"})
    assert found["place"] == (
        "launcher srun, rank 2 of 3, job 27, array task 4 of array 23, part 3 of 3, restart 2, nodes ha2 ha3, this node ha3, waited for 9"
    )
    assert found["memory"] == "0.2 GiB (SLURM_MEM_PER_NODE)"
    assert found["cores usable"].startswith("1 (")


def test_irregular_array():
    place = examine(ARRAY | {"SLURM_ARRAY_TASK_STEP": "1"})["place"]
    assert "array task 4 of array 23" in place
    assert "part" not in place


def test_what_is_broken_is_told_and_the_rest_goes_on(tmp_path):
    broken = {
        "SLURM_JOB_ID": "1",
        "SLURM_NNODES": "2",
        "SLURM_MEM_PER_NODE": "lots",
        "SLURM_CPUS_ON_NODE": "few",
        "TMPDIR": str(tmp_path / "none"),
    }
    found = examine(broken)
    assert found["place"].startswith("BROKEN: SLURM says 2 nodes")
    assert found["memory"].startswith("BROKEN: SLURM_MEM_PER_NODE='lots'")
    assert found["cores usable"].startswith("BROKEN: SLURM_CPUS_ON_NODE='few'")
    assert found["temporary folder"].startswith("BROKEN: ")
    assert "pinned" in found["numerics"]


# ---- several ranks


def row(rank, **changes):
    """A rank with a GPU of its own on one of two nodes."""
    seen = examine_rank(Place(rank=rank, world=4, host=f"n{rank // 2}"), {})
    card = {
        "device": "A card",
        "device_gib": 80.0,
        "card": f"card {rank}",
        "torch": "2.9.0",
        "backend": "nccl",
        "network": "ib0 10.1.0.1 (a)",
    }
    return seen | card | changes


def test_ranks_that_are_alike_give_no_warning():
    assert differences([row(rank) for rank in range(4)]) == []
    assert differences([row(rank, device="cpu", device_gib=None, card="") for rank in range(4)]) == [], "CPUs are no shared card"


def test_what_differs_is_named_with_the_ranks():
    versions = row(0)["versions"]
    rows = [row(0), row(1, device="Another"), row(2, versions=versions | {"numpy": "1.0"}), row(3, numerics="not pinned")]
    for one in rows[:3]:
        one["numerics"] = "AVX2"
    assert differences(rows) == [
        "ranks differ in device: A card on 0, 2, 3; Another on 1",
        "ranks differ in numerics: AVX2 on 0, 1, 2; not pinned on 3",
        f"ranks differ in numpy: {versions['numpy']} on 0, 1, 3; 1.0 on 2",
    ]


def test_ranks_on_one_card():
    """The same number on another node is another card."""
    rows = [row(0, card="x"), row(1, card="x"), row(2, card="x"), row(3)]
    assert differences(rows) == ["ranks 0, 1 share one GPU of n0: ask for one a rank (--gpus-per-task=1)"]


def test_many_ranks_are_cut_short():
    rows = [row(rank, backend="gloo" if rank else "nccl") for rank in range(20)]
    assert differences(rows) == ["ranks differ in backend: nccl on 0; gloo on 1, 2, 3, 4, 5, 6, 7, 8 and 11 more"]


def test_table_has_a_line_a_rank():
    title, *lines = table_text([row(rank) for rank in range(3)]).splitlines()
    assert title.split() == ["rank", "host", "device", "GiB", "cores", "memory", "GiB", "torch", "backend", "network"]
    assert [line.split()[:4] for line in lines] == [[str(rank), f"n{rank // 2}", "A", "card"] for rank in range(3)]
    assert all(line.index("ib0") == title.index("network") for line in lines)
