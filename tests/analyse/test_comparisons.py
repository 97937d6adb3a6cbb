import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.analyse.columns import COMPARISON_COLUMNS
from smlmbatch.analyse.comparisons import read_comparisons, write_comparisons
from smlmbatch.analyse.fingerprint import table_path
from smlmbatch.analyse.results import Comparison
from smlmbatch.analyse.statistics import compare
from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.config import config_from_dict
from smlmbatch.errors import ConfigError


@pytest.fixture(scope="module")
def campaign(made, tmp_path_factory):
    study = made.study(tmp_path_factory.mktemp("study"), channels=(0, 1), n_locs=2500)
    write_tables(study, fingerprint="f1")
    return study


def test_the_file_holds_what_compare_finds(campaign):
    tables = read_tables(campaign.output)
    found = compare(tables.rois, tables.fields, config=campaign.config.compare, min_locs=campaign.config.tile.min_locs)
    assert len(found) == 22
    assert {c.channel for c in found} == {0, 1}
    assert [str(c) for c in read_comparisons(campaign.output)] == [str(c) for c in found]
    by_name = {(c.channel, c.descriptor): c for c in found}
    assert by_name[0, "density_per_um2"].ratio == pytest.approx(2, rel=0.3)


def test_columns_are_the_fields_of_the_record(campaign):
    assert list(COMPARISON_COLUMNS) == list(Comparison.__dataclass_fields__)
    table = pq.read_table(table_path(campaign.output, "comparisons"))
    assert table.column_names == list(COMPARISON_COLUMNS)


def test_undefined_is_null_on_disk(made, tmp_path):
    write_tables(made.study(tmp_path, replicates=1, n_locs=1500), fingerprint="f")
    table = pq.read_table(table_path(tmp_path, "comparisons"))
    assert table["p"].null_count == len(table) == 11
    found = read_comparisons(tmp_path)
    assert all(np.isnan(c.p) and c.verdict == "too few replicates" and c.channel == 0 for c in found)


def test_settings_decide(campaign, tmp_path):
    config = config_from_dict({"compare": {"conditions": "condition,channel", "reference": "ctrl \u00d7 channel 0", "paired": "replicate"}})
    (tmp_path / "tables").mkdir()
    for name in ("fields", "rois"):
        table_path(tmp_path, name).write_bytes(table_path(campaign.output, name).read_bytes())
    found = write_comparisons(tmp_path, config=config, fingerprint="f2")
    assert {(c.channel, c.reference, c.n_pairs) for c in found} == {(None, "ctrl \u00d7 channel 0", 3)}
    assert {c.condition for c in found} == {"ctrl \u00d7 channel 1", "egf \u00d7 channel 0", "egf \u00d7 channel 1"}
    assert write_comparisons(tmp_path, config=config_from_dict({"compare": {"reference": "x"}}), fingerprint="f3") == []
    with pytest.raises(ConfigError, match="no column"):
        write_comparisons(tmp_path, config=config_from_dict({"compare": {"paired": "x"}}), fingerprint="f4")
    assert pq.read_schema(table_path(tmp_path, "comparisons")).metadata[b"smlmbatch_fingerprint"] == b"f3"
