"""Environments in which other programs' own readers run, made once, with pinned versions and nothing that isn't named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def python_with(pinned, *, variable, default):
    """The Python of an environment of these packages: in the folder that `variable` names, else `default` beside the tests' own.

    Skips the test where they can't be installed.
    """
    folder = Path(os.environ.get(variable, ROOT / default))
    done = folder / "installed.txt"
    if not done.exists() or done.read_text() != "\n".join(pinned):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        told = subprocess.run([*pip, *pinned], capture_output=True, text=True, timeout=600, check=False)
        if told.returncode:
            pytest.skip(f"{pinned[0]} and others can't be installed: {told.stderr.strip().splitlines()[-1:]}")
        done.write_text("\n".join(pinned))
    return folder / "bin/python"
