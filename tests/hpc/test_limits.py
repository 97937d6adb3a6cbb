"""Limits from made-up machines (a /proc and a /sys/fs/cgroup in a folder), and memory use of a real child process."""

import json
import os
import subprocess
import sys

import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.limits import core_limit, memory_limit, memory_limit_bytes, oom_kills, peak_bytes, resident_bytes, usable_cores

MIB = 1 << 20
NO_LIMIT_V1 = "9223372036854771712"  # what the kernel writes for none
V2 = "29 23 0:26 {inside} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1_MEMORY = "35 31 0:32 {inside} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
V1_CPU = "32 31 0:29 {inside} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
HYBRID = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
OTHER = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw"
JOB = {"SLURM_JOB_ID": "1"}
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def machine(tmp_path):
    """Makes a root folder with the given cgroup membership, mounts and files (path under /sys/fs/cgroup: content)."""

    def make(member, mounts, files):
        texts = {"proc/self/cgroup": member, "proc/self/mountinfo": "\n".join([OTHER, *mounts])}
        for path, text in (texts | {f"sys/fs/cgroup/{path}": text for path, text in files.items()}).items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")
        return tmp_path

    return make


def v2(member="0::/system.slice/job_1/step_0", inside="/"):
    return member, [V2.format(inside=inside)]


def v1(member, inside="/"):
    return member, [V1_CPU.format(inside=inside), V1_MEMORY.format(inside=inside), HYBRID]


V1_MEMBER = "9:name=systemd:/\n4:memory:/slurm/job_1\n1:cpu,cpuacct:/slurm/job_1\n0::/"
CONTAINER_V1 = V1_MEMBER.replace("slurm/job_1", "docker/abc")

# (membership and mounts, files, limit in MiB or None for the machine's, file named as the source)
MEMORY = {
    "v2, nothing set": (v2(), {"system.slice/job_1/memory.max": "max", "system.slice/job_1/memory.high": "max"}, None, ""),
    "v2, own": (v2(), {"system.slice/job_1/step_0/memory.max": 300 * MIB}, 300, "memory.max of /sys/fs/cgroup/system.slice/job_1/step_0"),
    "v2, the job's, above": (
        v2(),
        {"system.slice/job_1/step_0/memory.max": "max", "system.slice/job_1/memory.max": 200 * MIB},
        200,
        "memory.max of /sys/fs/cgroup/system.slice/job_1",
    ),
    "v2, throttled first": (
        v2(),
        {"system.slice/job_1/memory.max": 300 * MIB, "system.slice/job_1/memory.high": 250 * MIB},
        250,
        "memory.high of /sys/fs/cgroup/system.slice/job_1",
    ),
    "v2, a neighbour's": (v2(), {"system.slice/job_2/memory.max": 100 * MIB}, None, ""),
    "v2, container of its own": (v2("0::/"), {"memory.max": 400 * MIB}, 400, "memory.max of /sys/fs/cgroup"),
    "v2, container with the host's path": (v2("0::/docker/abc"), {"memory.max": 400 * MIB}, 400, "memory.max of /sys/fs/cgroup"),
    "v2, moved outside": (v2("0::/../other"), {"memory.max": 400 * MIB, "../other/memory.max": MIB}, 400, "memory.max of /sys/fs/cgroup"),
    "v2, only a branch mounted": (v2("0::/a/b/c", "/a/b"), {"c/memory.max": 70 * MIB}, 70, "memory.max of /sys/fs/cgroup/c"),
    "v1, nothing set": (v1(V1_MEMBER), {"memory/memory.limit_in_bytes": NO_LIMIT_V1}, None, ""),
    "v1, above": (
        v1(V1_MEMBER),
        {"memory/slurm/job_1/memory.limit_in_bytes": NO_LIMIT_V1, "memory/slurm/memory.limit_in_bytes": 150 * MIB},
        150,
        "memory.limit_in_bytes of /sys/fs/cgroup/memory/slurm",
    ),
    "v1, container": (
        v1(CONTAINER_V1, "/docker/abc"),
        {"memory/memory.limit_in_bytes": 160 * MIB},
        160,
        "memory.limit_in_bytes of /sys/fs/cgroup/memory",
    ),
    "v1, another controller's": (v1(V1_MEMBER), {"cpu,cpuacct/slurm/memory.limit_in_bytes": MIB}, None, ""),
    "v2, more than there is": (v2("0::/"), {"memory.max": MACHINE * 2}, None, ""),
    "v2, unreadable": (v2("0::/"), {"memory.max": "?"}, None, ""),
}


@pytest.mark.parametrize("name", MEMORY)
def test_memory_of_cgroups(machine, name):
    (member, mounts), files, mib, source = MEMORY[name]
    limit = memory_limit({}, machine(member, mounts, files))
    assert limit.value == (mib * MIB if mib else MACHINE)
    assert limit.source == (f"cgroup {source}" if mib else "the machine")


@pytest.mark.parametrize(
    ("environ", "mib", "source"),
    [
        ({}, None, "the machine"),
        (JOB, None, "the machine"),
        (JOB | {"SLURM_MEM_PER_NODE": "100"}, 100, "SLURM_MEM_PER_NODE"),
        (JOB | {"SLURM_MEM_PER_NODE": "0"}, None, "the machine"),  # --mem=0: all of the node
        (JOB | {"SLURM_MEM_PER_NODE": "1G"}, 1024, "SLURM_MEM_PER_NODE"),
        (JOB | {"SLURM_MEM_PER_CPU": "30", "SLURM_CPUS_ON_NODE": "4"}, 120, "SLURM_MEM_PER_CPU x SLURM_CPUS_ON_NODE"),
        (JOB | {"SLURM_MEM_PER_CPU": "30"}, None, "the machine"),
        (JOB | {"SLURM_MEM_PER_GPU": "10"}, None, "the machine"),
        ({"SLURM_MEM_PER_NODE": "100"}, None, "the machine"),  # a wish for srun in a login shell
        (JOB | {"SLURM_MEM_PER_NODE": "600"}, 500, "cgroup"),
    ],
)
def test_memory_of_slurm(machine, environ, mib, source):
    root = machine(*v2("0::/"), {"memory.max": 500 * MIB if source == "cgroup" else "max"})
    limit = memory_limit(environ, root)
    assert limit.value == (mib * MIB if mib else MACHINE)
    assert limit.source.startswith(source)


# (membership and mounts, files, cores or None for as many as there are)
CORES = {
    "v2, nothing set": (v2(), {"system.slice/cpu.max": "max 100000"}, None),
    "v2, whole": (v2(), {"system.slice/job_1/step_0/cpu.max": "100000 100000"}, 1),
    "v2, none at all": (v2("0::/"), {"cpu.max": "0 100000"}, 1),
    "v2, part of one": (v2(), {"system.slice/job_1/cpu.max": "20000 100000"}, 1),
    "v2, more than there are": (v2(), {"cpu.max": "99900000 100000"}, None),
    "v1, nothing set": (v1(V1_MEMBER), {"cpu,cpuacct/cpu.cfs_quota_us": -1, "cpu,cpuacct/cpu.cfs_period_us": 100000}, None),
    "v1, above": (v1(V1_MEMBER), {"cpu,cpuacct/slurm/cpu.cfs_quota_us": 90000, "cpu,cpuacct/slurm/cpu.cfs_period_us": 100000}, 1),
    "v1, no period": (v1(V1_MEMBER), {"cpu,cpuacct/slurm/cpu.cfs_quota_us": 90000}, None),
}


@pytest.mark.parametrize("name", CORES)
def test_cores_of_cgroups(machine, monkeypatch, name):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (member, mounts), files, cores = CORES[name]
    assert core_limit({}, machine(member, mounts, files)).value == (cores or 8)


@pytest.mark.parametrize(("quota", "cores"), [(100_000, 1), (100_001, 2), (150_000, 2), (200_000, 2), (700_000, 7)])
def test_quota_is_rounded_up(machine, monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    limit = core_limit({}, machine(*v2("0::/"), {"cpu.max": f"{quota} 100000"}))
    assert (limit.value, limit.source) == (cores, "cgroup cpu.max of /sys/fs/cgroup")


@pytest.mark.parametrize(
    ("environ", "cores", "source"),
    [
        ({}, 8, "affinity"),
        (JOB | {"SLURM_STEP_ID": "0", "SLURM_CPUS_PER_TASK": "3", "SLURM_CPUS_ON_NODE": "6"}, 3, "SLURM_CPUS_PER_TASK"),
        (JOB | {"SLURM_CPUS_PER_TASK": "3", "SLURM_CPUS_ON_NODE": "6"}, 6, "SLURM_CPUS_ON_NODE"),  # batch script: all of its node
        (JOB | {"SLURM_CPUS_PER_TASK": "3"}, 8, "affinity"),
        ({"SLURM_CPUS_ON_NODE": "6"}, 8, "affinity"),
        (JOB | {"SLURM_CPUS_ON_NODE": "64"}, 8, "affinity"),
        (JOB | {"SLURM_CPUS_ON_NODE": "0"}, 8, "affinity"),
    ],
)
def test_cores_of_slurm(tmp_path, monkeypatch, environ, cores, source):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    limit = core_limit(environ, tmp_path)
    assert (limit.value, limit.source) == (cores, source)


@pytest.mark.parametrize("text", ["lots", "-5", "1.5G", "5X"])
def test_broken_variables(tmp_path, text):
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"):
        with pytest.raises(ConfigError, match=f"{name}='{text}'"):
            memory_limit(JOB | {name: text}, tmp_path)
    with pytest.raises(ConfigError, match=f"SLURM_CPUS_ON_NODE='{text}'"):
        core_limit(JOB | {"SLURM_CPUS_ON_NODE": text}, tmp_path)


def test_this_machine():
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))
    assert 2**28 < memory_limit_bytes() <= MACHINE


# ---- what was used


def test_kills_for_memory(machine):
    events = "low 0\nhigh 0\nmax 91\noom 7\noom_kill 3\noom_group_kill 0"
    own = {"system.slice/job_1/step_0/memory.events": events, "system.slice/memory.events": "oom_kill 50"}
    assert oom_kills(machine(*v2(), own)) == 3


def test_kills_for_memory_v1(machine):
    files = {"memory/slurm/job_1/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2"}
    assert oom_kills(machine(*v1(V1_MEMBER), files)) == 2


def test_kills_unknown(tmp_path, machine):
    assert oom_kills(tmp_path) == 0
    assert oom_kills(machine(*v1(V1_MEMBER), {"memory/slurm/job_1/memory.oom_control": "under_oom 0"})) == 0


PROBE = """
import json
from smlmbatch.hpc.limits import peak_bytes, reset_peak, resident_bytes
held = bytearray(200 << 20)
for at in range(0, len(held), 4096): held[at] = 1
full = resident_bytes()
del held
print(json.dumps([full, resident_bytes(), peak_bytes(), reset_peak(), peak_bytes()]))
"""


def test_peak_rises_and_starts_anew():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    full, freed, peak, could, anew = json.loads(done.stdout)
    assert full - freed > 190 * MIB
    assert full > 200 * MIB
    assert peak > full - MIB  # the kernel counts both in batches
    if not could:
        pytest.skip("this system doesn't let a process reset its peak")
    assert freed - 20 * MIB < anew < full - 150 * MIB


def test_resident_of_another_process():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert 0 <= resident_bytes(child.pid) < 2**32
        assert resident_bytes(os.getpid()) > MIB
        child.communicate(b"\n")
    assert resident_bytes(child.pid) == 0


def test_peak_is_at_least_what_is_held():
    held = resident_bytes()
    assert peak_bytes() > held - MIB > MIB
