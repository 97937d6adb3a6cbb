"""A campaign on the test cluster as its user sees it: submitted, looked at, hit; and what can be read off it afterwards."""

import csv
import json
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from smlmbatch.hpc.records import read_records
from smlmbatch.store.attempts import read_owner
from tests.conftest import smlmbatch
from tests.slurm import guard

ARRAYS = ("ingest", "tile", "quality", "measure", "embed", "cluster", "report")  # nothing is picked in these campaigns
FIELD_STAGES = (*ARRAYS[:-1], "pick")


def write_profile(path, *, environment=sys.prefix, stage=None, **slurm):
    """A site profile with these keys of [slurm], and `stage` as {stage: {key: value}}."""
    tables = {"software": {"environment": str(environment)}, "slurm": slurm}
    tables |= {f"stage.{name}": keys for name, keys in (stage or {}).items()}
    lines = [
        line for name, keys in tables.items() for line in (f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items()))
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


class Campaign:
    """One OUTPUT on a cluster. `arrays` is stage → SLURM's id of its array, of the last submission."""

    def __init__(self, slurm, source, output, **profile):
        self.slurm, self.source, self.output = slurm, source, output
        self.profile = write_profile(output.with_name(f"{output.name}.toml"), **profile)
        self.arrays = {}

    def submit(self, *options):
        """`smlmbatch submit`, then what it printed; the submission's folder."""
        source = (self.source,) if self.source else ()
        script = Path(smlmbatch("submit", *source, self.output, "--profile", self.profile, *options).stdout.strip())
        told = self.slurm.run("bash", script)
        self.arrays = {stage: int(number) for stage, number in (line.split() for line in told.splitlines())}
        assert (script.parent / "jobs.txt").read_text() == told
        return script.parent

    def wait_end(self, *, timeout_s=360):
        """Wait until the whole chain has ended; {stage: its tasks}."""
        self.slurm.wait_end(*self.arrays.values(), timeout_s=timeout_s)
        return self.tasks()

    def tasks(self):
        jobs = self.slurm.jobs()
        return {
            stage: sorted((job for job in jobs if job.array_id == number), key=lambda job: job.task)
            for stage, number in self.arrays.items()
        }

    def cancel(self, *, timeout_s=60):
        self.slurm.run("scancel", *map(str, self.arrays.values()))
        self.slurm.wait_end(*self.arrays.values(), timeout_s=timeout_s)

    # ---- what stands on disk

    def status(self):
        return json.loads(smlmbatch("status", self.output, "--json").stdout)

    def records(self, submission=""):
        """Records of units in the order of their begin; `submission` = the number of one, such as "0002"."""
        found = [record for record in read_records(self.output / "logs") if f"/{submission}" in record.submission]
        return sorted(found, key=lambda record: record.started)

    def made(self, submission=""):
        """(field, stage) → how often it was made and given its name."""
        return Counter((record.field, record.stage) for record in self.records(submission) if record.published)

    def logged_failures(self):
        """Failures that processes told of themselves, whatever became of the unit later."""
        lines = (line for path in (self.output / "logs").glob("units-*.jsonl") for line in path.read_text().splitlines())
        return [entry["failure"] for entry in map(json.loads, lines) if "failure" in entry]

    def published(self, stage="*"):
        """Published units: path → inode, which no file has that was made anew."""
        return {path: path.stat().st_ino for path in (self.output / "store" / "fields").glob(f"*/{stage}-*.zarr.zip")}

    def at_work(self, stage):
        """Who is making a unit of this stage now."""
        owners = map(read_owner, (self.output / "store" / "attempts").glob("[!.]*"))
        return [owner for owner in owners if owner is not None and owner.errand.key is not None and owner.errand.key.stage == stage]

    def log(self, stage, *, number="0001"):
        """What all tasks of a stage said, SLURM's own words included."""
        return "".join(path.read_text() for path in sorted((self.output / "logs" / "slurm").glob(f"{number}-{stage}-*.log")))

    def failed(self):
        """The lines of failed.csv."""
        with (self.output / "failed.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def remains(self):
        """What a kill may leave in the store and nobody needs."""
        return [*(self.output / "store" / "attempts").glob("*"), *self.output.rglob("*.partial")]


def endings(tasks):
    """How often which state and exit code came at the end."""
    return Counter((job.state, job.exit_code) for job in tasks)


def process_of(record):
    """host-pid of who made a unit."""
    return record.attempt.rsplit("-", 1)[0]


def processes_of(job):
    """All processes of one job or array task, wherever it runs: they carry its id in their environment. Parents first."""
    mark = b"SLURM_JOB_ID=%d" % job.job_id
    return [pid for pid in sorted(guard.all_pids()) if mark in _environ(pid)]


def _environ(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


def send(pids, number):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def freeze(pids):
    """Stop processes where they stand, as a node does that hangs; `send(pids, SIGCONT)` wakes them."""
    send(pids, signal.SIGSTOP)
