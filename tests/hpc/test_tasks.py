"""Files of tasks: written and read back, and refused when they are none."""

import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.packing import Share
from smlmbatch.hpc.place import Place
from smlmbatch.hpc.tasks import read_shares, tasks_text

TASKS = ((Share(".", 1, 2),), (Share("a, b", 1, 1), Share("c\udcff", 1, 1)))


def test_round_trip(tmp_path):
    file = tmp_path / "tasks-ingest.csv"
    file.write_bytes(tasks_text(TASKS).encode("utf-8", "surrogateescape"))
    for number, task in enumerate(TASKS, start=1):
        assert read_shares(file, Place(array_job="7", task=number)) == task


@pytest.mark.parametrize(
    ("text", "task", "word"),
    [
        ("task,campaign,part,parts\n1,.,1,1\n", 2, "nothing for array task 2"),
        ("task,campaign,part,parts\n1,.,2,1\n", 1, "no line"),
        ("task,campaign,part,parts\n1,.,x,1\n", 1, "no line"),
        ("task,campaign,part,parts\n1,.,1\n", 1, "no line"),
        ("a,b\n1,2\n", 1, "no file of tasks"),
        ("", 1, "no file of tasks"),
    ],
)
def test_what_is_refused(tmp_path, text, task, word):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ConfigError, match=word):
        read_shares(tmp_path / "t.csv", Place(array_job="7", task=task))


def test_outside_an_array(tmp_path):
    with pytest.raises(ConfigError, match="SLURM_ARRAY_TASK_ID"):
        read_shares(tmp_path / "t.csv", Place())
    with pytest.raises(ConfigError, match="can't be read"):
        read_shares(tmp_path / "t.csv", Place(array_job="7", task=1))
