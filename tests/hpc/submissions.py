"""What the tests of submissions share: two site profiles, a load, a name of OUTPUT that the shell could stumble over."""

from pathlib import Path

from smlmbatch.hpc.packing import Load
from smlmbatch.hpc.site import STAGES

ROOT = Path(__file__).parents[2]
HOSTILE = 'it\'s 50%a "out" $(put), a:b'

CONTAINER = {
    "software": {
        "sif": "/opt/images/smlm batch.sif",
        "modules": ["apptainer/1.4"],
        "binds": ["/gpfs", "/data:/data:ro"],
        "scratch": "/local/$USER/${SLURM_JOB_ID}",
        "setup": ["ulimit -n 4096", "export NOTE='it is'"],
    },
    "slurm": {"partition": "cpu", "account": "core", "throttle": 8, "max_array_size": 41, "options": ["--constraint=avx2"]},
    "stage": {
        "measure": {"partition": "gpu", "gres": "gpu:a100:1", "memory": "16GiB", "cpus": 4, "time": "1-00:00:00"},
        "embed": {"ranks": 4, "options": ["--gpus-per-task=1"]},
        "report": {"options": ["--mail-type=END", "--comment=night's work"]},
    },
}
PLAIN = {"software": {"environment": "/opt/smlmbatch"}, "slurm": {"qos": "long", "signal_s": 60, "max_requeues": 3}}


def loads(fields=100, seconds=60.0, stages=STAGES):
    of_stages = {
        stage: [Load(campaign=".", fields=[f"f{i}" for i in range(fields)], seconds=[seconds] * fields, peak_mib=800)] for stage in stages
    }
    return of_stages | {"report": [Load(campaign=".", fields=["report"], seconds=[20.0], peak_mib=500)]}
