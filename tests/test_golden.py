"""Results don't change unnoticed: digests of a fixed campaign against those of the last deliberate change.

What networks give hangs on the kernels that the libraries choose for a processor (MKL has others for AMD's than for Intel's, whatever it is
told), so digests of `embed` and `cluster` are known for each way of rounding that a probe tells apart. On a processor of a kind that nobody
wrote digests on they are not compared.

If this fails and the change of results is meant, raise the stage's `result_version` in `smlmbatch/stages.py` (or `ordering.py`; a new
shipped model changes embed or cluster by itself) and write the new digests:  SMLMBATCH_GOLDEN=write tests/run.sh tests/test_golden.py
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from smlmbatch.hpc.numerics import has_avx2
from smlmbatch.methods.folders import model_sha256, shipped
from smlmbatch.ordering import CAMPAIGN, RESULT_VERSIONS
from smlmbatch.stages import FIELD_STAGES
from tests.conftest import smlmbatch

GOLDEN = Path(__file__).parent / "golden.json"
LEARNED = {"embed": "contrastive", "cluster": "miro"}
ORDERED = ("--only", "ingest,pick,order,register,report")
PROBE = """
from smlmbatch.hpc.numerics import pin_numerics
pin_numerics()
import hashlib
import torch
from torch.nn.functional import conv2d
torch.set_num_threads(1)
found = hashlib.sha256()
def numbers(*shape):
    return (torch.arange(1, 1 + torch.Size(shape).numel(), dtype=torch.float64) * 0.6180339887).frac().sub(0.5).float().reshape(shape)
for rows, within, columns in ((64, 7, 32), (64, 16, 128), (1000, 32, 64), (4096, 64, 64), (37, 1024, 128)):
    found.update((numbers(rows, within) @ numbers(within, columns)).numpy().tobytes())
found.update(conv2d(numbers(64, 2, 48, 48), numbers(16, 2, 4, 4), stride=2).numpy().tobytes())
found.update(conv2d(numbers(64, 16, 24, 24), numbers(32, 16, 4, 4), stride=2).numpy().tobytes())
print(found.hexdigest()[:16])
"""


def rounding() -> str:
    """Short name of how this processor rounds sums of products."""
    return subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(platform.machine() != "x86_64" or not has_avx2(), reason="digests hold for the pinned instruction set, AVX2")
def test_digests_are_those_of_the_last_deliberate_change(small_output, pores, tmp_path):
    members = json.loads(smlmbatch("verify", small_output, "--json").stdout)["members"]
    found = {stage.name: {"result_version": stage.result_version} for stage in FIELD_STAGES}
    smlmbatch("run", pores, tmp_path / "out", "--config", pores.parent / "settings.toml", *ORDERED)
    ordered = json.loads(smlmbatch("verify", tmp_path / "out", "--json", expect=3).stdout)["members"]  # stages left out are missing
    for stage, version in RESULT_VERSIONS.items():
        own = {name.partition("/")[2]: digest for name, digest in ordered.items() if name.startswith(f"{CAMPAIGN}/{stage}")}
        found[stage] = {"result_version": version, "model_sha256": "", "rounding": rounding()} | own
    for name, digest in members.items():
        field, _, stage = name.partition("/")
        if stage in found:
            found[stage][field] = digest
    here, known = rounding(), json.loads(GOLDEN.read_text())
    for stage, model in LEARNED.items():
        found[stage] |= {"model_sha256": model_sha256(shipped(model)), "rounding": here}
    if os.environ.get("SMLMBATCH_GOLDEN") == "write":
        known = {stage: [digests, *others(known.get(stage, []), digests)] for stage, digests in found.items()}
        GOLDEN.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    for stage, digests in found.items():
        comparable = [own for own in known[stage] if own.get("rounding") == digests.get("rounding")]
        if not comparable and any(own["model_sha256"] == digests["model_sha256"] for own in known[stage]):
            continue  # nobody wrote digests on such a processor
        assert comparable, f"{stage}: the shipped model is another; write the new digests"
        same = all(comparable[0].get(name) == digests.get(name) for name in ("model_sha256", "result_version"))
        why = "gives other results at the same result_version" if same else "its version or model is another; write the new digests"
        assert digests == comparable[0], f"{stage}: {why}"


def others(known, digests):
    """What is known of the same version and model on processors that round otherwise."""
    alike = [own for own in known if all(own.get(name) == digests.get(name) for name in ("model_sha256", "result_version"))]
    return [own for own in alike if own.get("rounding") != digests.get("rounding")]
