from dataclasses import replace

import numpy as np
import pytest

from smlmbatch.analyse.grouping import group_rois
from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.config import config_from_dict
from smlmbatch.errors import SmlmbatchError
from smlmbatch.report.curves import ripley_curves
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign


def curves_of(campaign, **compare):
    campaign = replace(campaign, config=replace(campaign.config, compare=config_from_dict({"compare": compare}).compare))
    write_tables(campaign, fingerprint="f")
    tables = read_tables(campaign.output)
    return ripley_curves(campaign, tables.rois, group_rois(tables.rois, tables.fields, config=campaign.config.compare))


def test_curves_leave_out_rois_of_few_locs(made, tmp_path):
    campaign = made.study(tmp_path, channels=(0, 1), n_locs=4000)
    write_tables(campaign, fingerprint="f")
    n_locs = read_tables(tmp_path).rois.filter(read_tables(tmp_path).rois["kept"])["n_locs"].to_numpy()
    limit = int(np.median(n_locs))
    curves = curves_of(replace(campaign, config=config_from_dict({"tile": {"min_locs": limit}})))
    assert 0 < sum(c.n_rois for c in curves) == (n_locs >= limit).sum() < len(n_locs)
    assert curves_of(replace(campaign, config=config_from_dict({"tile": {"min_locs": 10**6}}))) == []


def test_curves_are_those_of_the_process_they_come_from(made, tmp_path):
    curves = curves_of(made.study(tmp_path, channels=(0, 1), n_locs=4000))
    assert [(c.condition, c.channel, c.replicate) for c in curves] == [
        (name, channel, f"rep{r}") for name in ("ctrl", "egf") for channel in (0, 1) for r in range(3)
    ]
    expected = np.sqrt(made.thomas_k_nm2(1.0) / np.pi) - made.RADIUS_NM
    curve = curves[0]
    # each ROI's K has 2 % of noise, so the mean K of n ROIs is within 4 * 2 % / sqrt(n)
    np.testing.assert_allclose(curve.k_nm2, made.thomas_k_nm2(1.0), rtol=0.08 / np.sqrt(curve.n_rois))
    assert np.abs(curve.l_minus_r_nm - expected).max() < 0.05 * expected.max() + 0.04 * 750 / np.sqrt(curve.n_rois)


def test_curves_follow_the_conditions_that_are_compared(made, tmp_path):
    """Channels as part of the condition; the sums are those of the units, ROI by ROI."""
    campaign = made.study(tmp_path, channels=(0, 3), n_locs=4000, replicates=2)
    curves = curves_of(campaign, conditions="condition,channel")
    assert [(c.condition, c.channel, c.replicate) for c in curves] == [
        (f"{name} \u00d7 channel {channel}", None, f"rep{r}") for name in ("ctrl", "egf") for channel in (0, 3) for r in range(2)
    ]
    found = next(c for c in curves if c.condition == "egf \u00d7 channel 3" and c.replicate == "rep1")
    result = next(r for r in campaign.fields if (r.field.condition, r.field.replicate) == ("egf", "rep1"))
    with UnitReader(result.units["measure"]) as unit:
        own = (unit.read("channel") == 3) & (unit.read("n_locs") >= campaign.config.tile.min_locs)
        np.testing.assert_allclose(found.k_nm2, unit.read("ripley_k_nm2")[own].mean(axis=0), rtol=1e-12)
    assert found.n_rois == own.sum() > 0


def test_regions_of_one_field_have_curves_of_their_own(made, tmp_path):
    campaign = made.study(tmp_path, n_locs=6000, replicates=1)
    write_tables(campaign, fingerprint="f")
    tables = read_tables(tmp_path)
    kept = tables.rois["kept"].to_numpy()
    inner = np.arange(len(kept)) % 2 == 0
    grouped = tables.rois.set_column(tables.rois.schema.get_field_index("condition"), "condition", [np.where(inner, "in", "out").tolist()])
    curves = ripley_curves(campaign, tables.rois, grouped)
    enough = tables.rois["n_locs"].to_numpy() >= campaign.config.tile.min_locs
    assert {c.condition: c.n_rois for c in curves} == {"in": (kept & inner & enough).sum(), "out": (kept & ~inner & enough).sum()}


def test_curves_keep_replicates_of_other_conditions_apart(made, tmp_path):
    curves = curves_of(made.study(tmp_path, channels=(0, 1), n_locs=4000, replicates=1), conditions="channel")
    assert [(c.condition, c.replicate) for c in curves] == [
        (f"channel {channel}", f"{name} \u00d7 rep0") for channel in (0, 1) for name in ("ctrl", "egf")
    ]


def test_rois_without_k_do_not_count(made, tmp_path):
    assert curves_of(made.study(tmp_path, n_locs=0)) == []


def test_other_radii_are_refused(made, tmp_path, monkeypatch):
    one = made.study(tmp_path / "a", n_locs=3000)
    monkeypatch.setattr(made, "RADIUS_NM", made.RADIUS_NM[:40])
    other = made.study(tmp_path / "b", conditions=("x",), n_locs=3000)
    with pytest.raises(SmlmbatchError, match="other radii"):
        curves_of(Campaign(output=tmp_path, config=one.config, fields=one.fields + other.fields))
