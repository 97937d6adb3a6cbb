"""Results don't change unnoticed: digests of a fixed campaign against those of the last deliberate change.

If this fails and the change of results is meant, raise the stage's `result_version` in `smlmbatch/stages.py` (a new
shipped model changes embed or cluster by itself) and write the new digests:  SMLMBATCH_GOLDEN=write tests/run.sh tests/test_golden.py
"""

import json
import os
import platform
from pathlib import Path

import pytest

from smlmbatch.hpc.numerics import has_avx2
from smlmbatch.methods.folders import model_sha256, shipped
from smlmbatch.stages import FIELD_STAGES
from tests.conftest import smlmbatch

GOLDEN = Path(__file__).parent / "golden.json"


@pytest.mark.skipif(platform.machine() != "x86_64" or not has_avx2(), reason="digests hold for the pinned instruction set, AVX2")
def test_digests_are_those_of_the_last_deliberate_change(small_output):
    members = json.loads(smlmbatch("verify", small_output, "--json").stdout)["members"]
    found = {stage.name: {"result_version": stage.result_version} for stage in FIELD_STAGES}
    for stage, model in {"embed": "contrastive", "cluster": "miro"}.items():
        found[stage]["model_sha256"] = model_sha256(shipped(model))
    for name, digest in members.items():
        field, _, stage = name.partition("/")
        if stage in found:
            found[stage][field] = digest
    if os.environ.get("SMLMBATCH_GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    known = json.loads(GOLDEN.read_text())
    for stage, digests in found.items():
        if digests.get("model_sha256") != known[stage].get("model_sha256"):
            assert digests == known[stage], "the shipped model is another; write the new digests"
        elif digests["result_version"] == known[stage]["result_version"]:
            assert digests == known[stage], f"{stage} gives other results at the same result_version"
        else:
            assert digests == known[stage], f"{stage}: result_version was raised; write the new digests"
