"""Publishing, racing, zombies, heartbeats, sweeping, failure records, cached hashes."""

import errno
import multiprocessing
import os
import shutil

import numpy as np
import pytest

from smlmbatch.errors import InputError, ResourceError, SmlmbatchError
from smlmbatch.store import units
from smlmbatch.store.arrays import unit_writer
from smlmbatch.store.units import Store, UnitKey, failure_of_error, write_whole

KEY = UnitKey("FOV1-00000000", "ingest", "ab" * 32)


def fill(attempt, value=1.0):
    with unit_writer(attempt.unit, "ingest") as out:
        for name in ("x_nm", "y_nm", "channel", "row"):
            out.write(name, np.full(3, value))
        out.write("tile_start", np.array([0, 3]))


def make(store, key=KEY, value=1.0):
    with store.attempt() as attempt:
        fill(attempt, value)
        return store.publish(key, attempt)


def test_first_publishes_second_drops(tmp_path):
    store = Store(tmp_path)
    assert not store.is_fresh(KEY)
    assert make(store) is True
    assert store.is_fresh(KEY)
    before = store.unit_path(KEY).stat()
    assert make(store) is False
    assert store.unit_path(KEY).stat().st_ino == before.st_ino
    assert list(store.attempts.iterdir()) == []


def test_different_result_under_one_fingerprint_is_an_error(tmp_path):
    store = Store(tmp_path)
    make(store, value=1.0)
    with pytest.raises(SmlmbatchError, match="not reproducible"):
        make(store, value=2.0)


def test_file_system_without_hard_links(tmp_path, monkeypatch):
    def no_links(source, final):
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(units.os, "link", no_links)
    store = Store(tmp_path)
    assert make(store) is True
    assert make(store) is False


def test_zombie_publishes_late(tmp_path):
    """An attempt swept as abandoned can't publish any more; one that was not swept publishes under its own name."""
    store = Store(tmp_path)
    with store.attempt() as slow:
        fill(slow)
        make(store)
        assert store.publish(KEY, slow) is False
    with pytest.raises(ResourceError, match="swept"), store.attempt() as zombie:
        fill(zombie)
        shutil.rmtree(zombie.folder)  # what a sweep does
        store.publish(UnitKey(KEY.field, KEY.stage, "cd" * 32), zombie)


def _publish_at_once(root, barrier, results):
    store = Store(root)
    with store.attempt() as attempt:
        fill(attempt)
        barrier.wait()
        results.put(store.publish(KEY, attempt))


def test_race_has_one_winner(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_publish_at_once, args=(tmp_path, barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(outcomes) == [False, False, False, True]


def test_failures_are_remembered_until_the_unit_exists(tmp_path):
    store = Store(tmp_path)
    assert store.failure(KEY) is None
    error = InputError("a.csv", "no x", "a column x", "name it")
    failure = failure_of_error(KEY, error, path="a\udcff.csv", attempt="here")
    store.record_failure(failure)
    assert store.failure(KEY) == failure
    assert failure.kind == "input"
    make(store)
    assert store.failure(KEY) is None
    assert not any(p.name.endswith(".failed.json") for p in store.files())


@pytest.mark.parametrize(
    ("error", "kind", "word"),
    [
        (OSError(errno.ENOSPC, "No space left"), "resource", "free"),
        (PermissionError(errno.EACCES, "denied"), "resource", "permission"),
        (MemoryError(), "resource", "memory"),
        (ResourceError("killed"), "resource", "run again"),
        (ZeroDivisionError("oops"), "internal", "report"),
    ],
)
def test_classes_of_failure(error, kind, word):
    failure = failure_of_error(KEY, error, path="a", attempt="b")
    assert failure.kind == kind
    assert word in failure.mend + failure.want


def test_hash_is_cached_by_stat(tmp_path):
    store, path = Store(tmp_path / "store"), tmp_path / "f"
    path.write_bytes(b"one")
    first = store.input_sha256("F", path)
    stat = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, time and inode: only a forced check sees it
    assert store.input_sha256("F", path) == first
    assert store.input_sha256("F", path, check=True) != first
    path.write_bytes(b"three")
    assert store.cached_sha256("F", path) is None
    assert store.cached_sha256("F", path, trust=True) is not None
    assert store.input_sha256("F", path, slot="sidecar") == store.input_sha256("F", path)


def test_write_whole_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write_whole(path, b"old")
    monkeypatch.setattr(units.os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
