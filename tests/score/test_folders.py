"""Which tables belong together, and what is no folder of tables."""

import pytest

from smlmbatch.errors import InputError
from smlmbatch.score.folders import Reading, score_tables


def test_a_campaign_is_told_how_its_labels_are_written_out(tmp_path):
    truth, output = tmp_path / "truth", tmp_path / "out"
    truth.mkdir()
    output.mkdir()
    (truth / "a.csv").write_text("x_nm,y_nm,label\n0,0,1\n")
    for name in ("smlmbatch.json", "failed.csv"):  # which is a table, and none of labels
        (output / name).write_text("")
    with pytest.raises(InputError, match=r"out: is a campaign.*export .*--what locs --labels"):
        score_tables(truth, output, reading=Reading())
