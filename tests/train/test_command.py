"""`smlmbatch train` as typed: recipes by name and by file, changes, wrong words, and the job it writes for SLURM."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from smlmbatch.methods.contrastive.recipe import PAPER
from smlmbatch.methods.model import read_settings
from tests.conftest import smlmbatch

PROFILE = """
[software]
environment = "/opt/smlm env"
modules = ["python/3.11"]
[slurm]
partition = "short"
account = "core's"
signal_s = 90
options = ["--constraint=avx2"]
"""


def train(*arguments, expect=0):
    return smlmbatch("train", *arguments, expect=expect)


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(PROFILE)
    return path


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (("miracle",), "METHOD miracle: wanted one of contrastive"),
        (("contrastive", "--recipe", "nosuch"), "--recipe nosuch: is no file, nor one of default, paper"),
        (("contrastive", "--set", "epochs"), "--set epochs: wanted KEY=VALUE"),
        (("contrastive", "--set", "epochz=3"), "unknown key epochz"),
        (("contrastive", "--set", "weighting=inside"), "'outside', 'logit', 'none'"),
    ],
)
def test_wrong_words_are_named(tmp_path, arguments, finding):
    said = train(*arguments, "--out", tmp_path / "m", expect=2).stderr
    assert finding in said
    assert not (tmp_path / "m").exists()


def test_recipe_by_name_by_file_and_changed(tmp_path, profile):
    """Seen in the recipe that a job gets, so that nothing is trained."""
    train("contrastive", "--recipe", "paper", "--out", tmp_path / "a", "--profile", profile)
    paper = tmp_path / "a" / "jobs" / "0001" / "recipe.toml"
    assert read_settings(paper)[1] == PAPER
    train("contrastive", "--recipe", paper, "--set", "epochs=3", "--set", "weighting=none", "--out", tmp_path / "b", "--profile", profile)
    changed = tomllib.loads((tmp_path / "b" / "jobs" / "0001" / "recipe.toml").read_text())["contrastive"]
    assert (changed["epochs"], changed["weighting"], changed["pool"]) == (3, "none", 4)


def test_job_hands_everything_to_sbatch(tmp_path, profile):
    model = tmp_path / "it's a 50% model"
    script = Path(
        train("contrastive", "--out", model, "--judge-seeds", "2", "--device", "cpu", "--profile", profile).stdout.removesuffix("\n")
    )
    assert script == model / "jobs" / "0001" / "submit.sh"
    assert {path.name for path in script.parent.iterdir()} == {"submit.sh", "site.sh", "task.sh", "train.sbatch", "recipe.toml"}
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "sbatch").write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    (tools / "sbatch").chmod(0o755)
    environ = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", script, "--ntasks=4", "--time=1:00:00"], env=environ, capture_output=True, text=True, check=True)
    sent = done.stdout.splitlines()
    at = sent.index(str(script.parent / "train.sbatch"))
    assert f"--output={str(script.parent).replace('%', '%%')}/train.log" in sent[:at]
    options = {"--partition=short", "--account=core's", "--signal=USR1@90", "--constraint=avx2", "--ntasks=4", "--time=1:00:00"}
    assert options <= set(sent[:at])
    words = ["contrastive", "--checkpoint-s", "120.0", "--device", "cpu", "--judge-seeds", "2"]
    assert sent[at + 1 :] == [str(script.parent), *words, "--recipe", str(script.parent / "recipe.toml")]

    again = train("contrastive", "--out", model, "--profile", profile).stdout.strip()
    assert Path(again).parent.name == "0002"


@pytest.mark.parametrize(("code", "requeued"), [(75, True), (137, True), (125, True), (1, False), (2, False)])
def test_batch_script_starts_the_ranks_and_goes_back_into_the_queue(tmp_path, profile, code, requeued):
    """With an srun that writes down what it gets and ends as a warned training does (75), one that lost a rank, or one that failed."""
    model, tools = tmp_path / "m", tmp_path / "tools"
    script = Path(train("contrastive", "--out", model, "--profile", profile).stdout.strip())
    tools.mkdir()
    for name, text in {
        "srun": f'printf "%s\\n" "$@" > "{tmp_path}/srun.txt"; exit {code}',
        "squeue": "echo RUNNING",
        "scontrol": f'echo "$@" >> "{tmp_path}/scontrol.txt"',
    }.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    environ = bare | {"PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "42", "SLURM_CPUS_PER_TASK": "3", "BASH_ENV": "/dev/null"}
    folder = script.parent
    site = folder / "site.sh"
    site.write_text(site.read_text().replace("modules=(python/3.11)", "modules=()"))
    done = subprocess.run(["bash", folder / "train.sbatch", folder, "contrastive", "--device", "cpu"], env=environ, check=False)
    assert done.returncode == code
    sent = (tmp_path / "srun.txt").read_text().splitlines()
    assert sent[:3] == ["--kill-on-bad-exit=1", "--cpus-per-task=3", "--export=ALL"]
    assert sent[3:] == ["/opt/smlm env/bin/smlmbatch", "train", "--out", str(model), "contrastive", "--device", "cpu"]
    asked = tmp_path / "scontrol.txt"
    assert (asked.read_text() if asked.exists() else "") == ("requeue 42\n" if requeued else "")
