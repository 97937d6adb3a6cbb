"""The doctor says where it stands and who limits it, and speaks on where something is broken."""

import json

from smlmbatch.hpc.doctor import examine
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
