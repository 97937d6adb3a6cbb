"""Every command line of smlmbatch that stands in a script or a document is one that the command line understands."""

import re
import shlex
from pathlib import Path

import click
import pytest

from smlmbatch.cli import cli
from smlmbatch.hpc.site import STAGES
from smlmbatch.ordering import CAMPAIGN_STAGES
from smlmbatch.stages import FIELD_STAGES

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*(ROOT / "jobs").glob("*.sbatch"), *(ROOT / "jobs").glob("*.sh")])
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("cluster", "training", "particles", "order"))]
CALL = re.compile(r"^\s*(?:task|ranks|pool \S+|smlmbatch|\"\$smlmbatch\"|apptainer run \S+\.sif) (.+?)(?: \|\| .*)?$")


def calls(path):
    """(line number, arguments) of every call in a script, or in a document's code blocks."""
    inside = path.suffix != ".md"
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.startswith("```"):
            inside = not inside
        found = CALL.match(line) if inside else None
        if found and not found[1].startswith("()"):
            yield number, found[1]


@pytest.fixture(autouse=True)
def in_an_array(monkeypatch):
    for name, value in {"ID": "1", "MIN": "1", "MAX": "2", "COUNT": "2"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")


def understood(text):
    """Parse with the real command line, variables standing for words; nothing is run."""
    text = text.replace('"${on_node[@]}"', "--workers 2 --scratch /tmp").replace('"$@"', "a b").replace('"${@:2}"', "contrastive")
    words = shlex.split(re.sub(r"\$\{?\w+\}?", "word", text.replace("$SLURM_ARRAY_TASK_ID", "1")), comments=True)
    words = words[: next((i for i, word in enumerate(words) if word in (">", ">>", "|", "&&", ";")), len(words))]
    with cli.make_context("smlmbatch", words, resilient_parsing=False) as context:
        name, command, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
        with command.make_context(name, rest, parent=context):
            return name


LINES = [(path, number, text) for path in (*SCRIPTS, *DOCUMENTS) if path.exists() for number, text in calls(path)]


@pytest.mark.parametrize(("path", "number", "text"), LINES, ids=[f"{path.name}:{number}" for path, number, _ in LINES])
def test_the_command_line_understands(path, number, text):
    assert understood(text)


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_one_template_with_one_call(stage):
    (call,) = calls(ROOT / "jobs" / f"{stage}.sbatch")
    assert understood(call[1]) == stage
    assert f"tasks-{stage}.csv" in call[1]


def test_dask_does_all_stages_of_a_field():
    (call,) = calls(ROOT / "jobs" / "dask.sbatch")
    assert understood(call[1]) == CAMPAIGN_STAGES[-1]
    assert "tasks-dask.csv" in call[1]


def test_no_stage_is_forgotten():
    assert (*(stage.name for stage in FIELD_STAGES), *CAMPAIGN_STAGES, "report") == STAGES
    pipeline = (ROOT / "jobs" / "pipeline.sh").read_text()
    assert f"for stage in {' '.join(STAGES)} dask;" in pipeline


@pytest.mark.parametrize("wrong", ["measure", "measure out --bogus", "submit in out", "nothing out"])
def test_this_test_can_fail(wrong):
    with pytest.raises(click.UsageError):
        understood(wrong)
