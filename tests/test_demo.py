"""jobs/demo.sh in a copy of the repository with a made-up installation: what it calls, and from where it works."""

import shutil
import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "jobs" / "demo.sh"
# Stands for the installed program: notes its arguments, makes the report as `run` does, ends as it is told.
PROGRAM = """#!/usr/bin/env bash
printf '%s\\n' "$@" >> "$(dirname "$0")/called"
[ "$1" = run ] && mkdir -p "$3/report" && touch "$3/report/index.html"
exit "${CODE_OF_RUN:-0}"
"""
INSTALL = """#!/usr/bin/env bash
mkdir -p "$1/bin" && cp "$(dirname "$0")/program" "$1/bin/smlmbatch" && chmod +x "$1/bin/smlmbatch"
"""


@pytest.fixture
def repository(tmp_path):
    jobs = tmp_path / "a copy" / "jobs"
    jobs.mkdir(parents=True)
    shutil.copy(DEMO, jobs / "demo.sh")
    (jobs / "program").write_text(PROGRAM)
    (jobs / "install.sh").write_text(INSTALL)
    (jobs / "install.sh").chmod(0o755)
    return jobs.parent


def _demo(repository, *arguments, cwd, code_of_run=0):
    environment = {"PATH": "/usr/bin:/bin", "CODE_OF_RUN": str(code_of_run)}
    done = subprocess.run(
        [repository / "jobs" / "demo.sh", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    called = repository / ".venv" / "bin" / "called"
    return done, called.read_text().splitlines() if called.exists() else []


def test_without_arguments_it_simulates_and_analyses_in_the_repository(repository, tmp_path):
    done, called = _demo(repository, cwd=tmp_path)
    demo = str(repository / "demo")
    assert done.returncode == 0, done.stderr
    assert called == ["simulate", demo, "run", f"{demo}/input", f"{demo}/output"]
    assert f"report: {demo}/output/report/index.html" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a copy"]


def test_own_data_are_relative_to_the_callers_folder_and_options_are_passed_on(repository, tmp_path):
    here = tmp_path / "my data"
    here.mkdir()
    done, called = _demo(repository, "in put", "out put", "--workers", "2", cwd=here)
    assert done.returncode == 0, done.stderr
    assert called == ["run", "in put", "out put", "--workers", "2"]
    assert f"report: {here}/out put/report/index.html" in done.stderr
    assert not (repository / "demo").exists()


@pytest.mark.parametrize("code", [2, 3, 75])
def test_the_exit_code_of_run_is_passed_on(repository, tmp_path, code):
    done, called = _demo(repository, "in", "out", cwd=tmp_path, code_of_run=code)
    assert called
    assert done.returncode == code


def test_one_argument_is_no_wish(repository, tmp_path):
    done, called = _demo(repository, "in", cwd=tmp_path)
    assert done.returncode == 2
    assert "usage" in done.stderr
    assert not called


def test_a_failed_installation_stops_it(repository, tmp_path):
    (repository / "jobs" / "install.sh").write_text("#!/bin/sh\nexit 7\n")
    done, called = _demo(repository, cwd=tmp_path)
    assert done.returncode == 7
    assert not called
