"""Damaged files of every reader: a sane report or an InputError, within time and memory, and nothing left behind.

A finding names reader and number; `python -m tests.ingest.fuzz READER NUMBER FOLDER` makes that very file and reads it.
The quick tests take 100 files a reader, the slow ones $SMLMBATCH_FUZZ (10,000).
"""

import os
import signal

import pytest

from smlmbatch.ingest.evidence import EVIDENCE
from tests.ingest import fuzz as fuzzer
from tests.ingest.fuzz import Judge, _death, fuzz, insane
from tests.ingest.fuzz_mutations import Mutant, mutant
from tests.ingest.fuzz_seeds import all_seeds

QUICK = 100
MANY = int(os.environ.get("SMLMBATCH_FUZZ", "10000"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """One child for all readers: its imports take as long as the reading."""
    return fuzz(list(EVIDENCE), QUICK, folder=tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("reader", EVIDENCE)
def test_damage_is_told(quick, reader):
    outcome = quick[reader]
    assert outcome.findings == []
    assert outcome.counts.total() == QUICK
    assert outcome.counts["refused"] > QUICK // 4  # the damage is damage


@pytest.mark.slow
@pytest.mark.parametrize("reader", EVIDENCE)
def test_much_damage_is_told(tmp_path, reader):
    outcome = fuzz([reader], MANY, processes=2, folder=tmp_path)[reader]
    assert outcome.findings == []
    assert outcome.counts["read"] > MANY // 50  # and not so much that nothing is left to read
    assert outcome.counts.total() >= MANY


def test_the_same_number_gives_the_same_file():
    for reader in ("table", "picasso", "smlm"):
        for number in (3, 40, 41):
            assert mutant(reader, number) == mutant(reader, number)
    assert len({mutant("nimos", number).content for number in range(50, 100)}) > 45


# ---- the fuzzer finds what it is made for

FAULTS = {
    "an exception": ("raise ZeroDivisionError('here')", "ZeroDivisionError: here"),
    "a warning": ("warnings.warn('careful')", "UserWarning: careful"),
    "a file": ("open('more', 'w').close()", "opened 'more' for writing"),
    "a file by a library": ("os.mknod('more')", "made "),
    "a program": ("os.system('touch canary')", "os.system"),
    "memory": ("bytearray(2 << 30)", "MemoryError"),
    "a crash": ("os.kill(os.getpid(), 11)", "the process died (SIGSEGV)"),
    "no end": ("time.sleep(60)", "more than 10 s"),
}
FIRST = 60
# A child whose reader has another fault at every second number.
FAULTY = """import json, os, sys, time, warnings
from pathlib import Path
from smlmbatch.ingest import validate
from tests.ingest import fuzz
FAULTS = {faults}
fuzz.SECONDS = 1
whole, read, now = validate.validate_file, fuzz.Judge.read, []
def faulty(path, **options):
    exec(FAULTS.get(now[-1], "") if now else "")
    return whole(path, **options)
def numbered(self, reader, number, counts, **options):
    now.append((number - {first}) / 2)
    return read(self, reader, number, counts, **options)
fuzz.Judge.read, validate.validate_file = numbered, faulty
fuzz.child(Path(sys.argv[2]), json.loads(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """What is found where the reader has a fault at every second number, and a reader after it."""
    folder = tmp_path_factory.mktemp("faulty")
    script = folder / "faulty.py"
    script.write_text(FAULTY.format(faults=dict(enumerate(fault for fault, _ in FAULTS.values())), first=FIRST))
    run = fuzzer.subprocess.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(fuzzer.ROOT))
        patch.setattr(fuzzer.subprocess, "run", lambda command, **rest: run([command[0], str(script), *command[3:]], **rest))
        return fuzzer._all_of([("nimos", FIRST, FIRST + 2 * len(FAULTS)), ("insight3", 5, 8)], folder)


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_found(faulty, name):
    number = FIRST + 2 * list(FAULTS).index(name)
    (finding,) = (finding for finding in faulty["nimos"].findings if finding.startswith(f"nimos {number}: "))
    assert FAULTS[name][1] in finding


def test_a_death_costs_no_other_file(faulty):
    assert len(faulty["nimos"].findings) == len(FAULTS)
    assert faulty["insight3"].counts.total() == 3


def test_deaths_are_told():
    assert _death(-signal.SIGALRM) == f"more than {fuzzer.SECONDS} s"
    assert _death(3) == "the process ended with 3"


def test_insane_reports_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    judge = Judge.__new__(Judge)
    judge.folder, judge._armed = tmp_path, False
    seed = all_seeds()["table"][0]
    report = judge._report(Mutant(seed.name, seed.content))
    assert insane(report) == ""
    import dataclasses

    assert insane(dataclasses.replace(report, n=report.n - 1)) == "records that are unaccounted for; channels that don't add up"
    assert "turned round" in insane(dataclasses.replace(report, frame_extent=(3, 2)))
    assert "beyond" in insane(dataclasses.replace(report, z_extent_nm=(0.0, 1e11)))
