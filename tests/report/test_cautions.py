import pytest

from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.config import Config, config_from_dict
from smlmbatch.report.cautions import design_cautions, is_confounded


@pytest.fixture(scope="module")
def tables_of(made, tmp_path_factory):
    """Tables of a campaign of 2 conditions with 3 replicates each, batches as told."""

    def of(batch):
        cells = [
            made.Cell(field=made.field(f"{name}/{r}.csv", name, f"rep{r}", batch=batch(name, r)), n_locs=3000)
            for name in ("ctrl", "EGF")
            for r in range(3)
        ]
        campaign = made.build(tmp_path_factory.mktemp("out"), cells)
        write_tables(campaign, fingerprint="f")
        return read_tables(campaign.output)

    return of


def cautions(tables, **compare):
    config = config_from_dict({"compare": compare}) if compare else Config()
    return design_cautions(tables.rois, tables.fields, config=config)


def test_conditions_that_share_no_batch_are_told(tables_of):
    found = cautions(tables_of(lambda condition, r: f"day of {condition}"))
    assert is_confounded(found)
    assert found[0].startswith("No batch holds both conditions: EGF and ctrl.") or found[0].startswith(
        "No batch holds both conditions: ctrl and EGF."
    )


@pytest.mark.parametrize("batch", [lambda condition, r: "", lambda condition, r: f"day {r}", lambda condition, r: "one day"])
def test_sound_designs_raise_no_alarm(tables_of, batch):
    found = cautions(tables_of(batch))
    assert found == []
    assert not is_confounded(found)


def test_lost_partners_are_named(tables_of):
    tables = tables_of(lambda condition, r: "" if (condition, r) == ("EGF", 2) else f"day {r}")
    (said,) = cautions(tables, paired="batch")
    assert "left out of a comparison: day 2." in said
    assert "Some fields have no entry in the column they are paired by." in said
