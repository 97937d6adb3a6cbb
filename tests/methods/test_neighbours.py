"""Two processes that share memory: what they say arrives whole, and a silence is noticed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from smlmbatch.hpc.place import Place
from smlmbatch.methods import neighbours
from smlmbatch.methods.neighbours import are_neighbours, new_file

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture
def file():
    path = Path(new_file())
    yield path
    path.unlink()


def play(file, what, *, wait_for):
    """What the ranks of `wait_for` say at the end; the others are killed then."""
    commands = [[sys.executable, "-m", "tests.methods.neighbour", str(file), str(rank), what] for rank in (0, 1)]
    ranks = [subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for command in commands]
    try:
        for rank in ranks:
            assert rank.stdout.readline() == "ready\n"
        for rank in ranks:
            rank.stdin.write("go\n")
            rank.stdin.flush()
        return [ranks[number].communicate(timeout=120)[0].strip() for number in wait_for]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


def test_sums_and_rows_arrive_whole(file):
    assert play(file, "agree", wait_for=(0, 1)) == ["done", "done"]


def test_a_rank_that_dies_is_noticed(file):
    assert play(file, "leave", wait_for=(0,)) == ["shared memory: the other rank is gone"]


def test_a_rank_that_is_silent_for_too_long_is_given_up(file):
    assert play(file, "sulk", wait_for=(0,)) == ["shared memory: the other rank said nothing for 1 s"]


@pytest.mark.parametrize(
    ("place", "device", "machine", "wanted"),
    [
        ({"world": 2, "local_world": 2}, "cpu", "x86_64", True),
        ({"world": 2, "local_world": 1}, "cpu", "x86_64", False),
        ({"world": 4, "local_world": 2}, "cpu", "x86_64", False),
        ({"world": 4, "local_world": 4}, "cpu", "x86_64", False),
        ({"world": 2, "local_world": 2}, "cuda", "x86_64", False),
        ({"world": 2, "local_world": 2}, "cpu", "aarch64", False),
    ],
)
def test_only_two_ranks_of_one_node_on_its_cores(monkeypatch, place, device, machine, wanted):
    monkeypatch.setattr(neighbours.platform, "machine", lambda: machine)
    assert are_neighbours(Place(**place), torch.device(device)) == wanted


def test_a_node_without_shared_memory_has_no_file(monkeypatch, tmp_path):
    monkeypatch.setattr(neighbours, "FOLDER", tmp_path / "none")
    assert new_file() == ""
    monkeypatch.setattr(neighbours, "FOLDER", tmp_path)
    monkeypatch.setattr(neighbours.os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    assert new_file() == ""
    assert not list(tmp_path.iterdir())
