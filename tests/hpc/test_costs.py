"""The cost model: known for every stage, scaled by records, straight lines through measured points."""

import json

import pytest

from smlmbatch.hpc.costs import StageCost, costs_of, default_costs, fit_cost
from smlmbatch.hpc.records import UnitLog, UnitRecord, read_records
from smlmbatch.hpc.site import STAGES


def record(stage, *, locs=1_000_000, wall_s=10.0, peak_mib=100, field="f"):
    return UnitRecord(field=field, stage=stage, locs=locs, wall_s=wall_s, peak_mib=peak_mib)


def test_every_stage_has_a_cost():
    costs = default_costs()
    assert set(costs.stages) == set(STAGES)
    for stage, cost in costs.stages.items():
        size = 10_000 if stage == "report" else 1e6  # fields, or locs
        assert 0 < cost.seconds(size) < 3600
        assert 50 < cost.peak_mib(size) < 10_000


def test_seconds_are_scaled_by_the_mean_and_memory_by_the_worst():
    shipped = default_costs().stages["measure"]
    expected = [shipped.seconds(1e6), shipped.seconds(2e6)]
    records = [
        record("measure", wall_s=3 * expected[0], peak_mib=shipped.peak_mib(1e6)),
        record("measure", locs=2_000_000, wall_s=2 * expected[1], peak_mib=4 * shipped.peak_mib(2e6)),
    ]
    factor = (3 * expected[0] + 2 * expected[1]) / sum(expected)
    found = costs_of(records).stages
    assert found["measure"].seconds(5e5) == pytest.approx(factor * shipped.seconds(5e5))
    assert found["measure"].peak_mib(5e5) == pytest.approx(4 * shipped.peak_mib(5e5), rel=1e-3)
    assert found["tile"] == default_costs().stages["tile"]


def test_a_moment_of_work_proves_nothing():
    assert costs_of([record("measure", wall_s=1.0)]).stages == default_costs().stages


def test_locs_are_known_or_guessed_from_the_file():
    costs = costs_of([record("ingest", locs=77, field="known")])
    assert costs.locs("known", format_name="thunderstorm", size_bytes=10**9) == 77
    assert costs.locs("other", format_name="no such", size_bytes=10**6) == pytest.approx(1e6 / costs.bytes_per_loc[""])


def test_fit_goes_through_its_points():
    cost = StageCost(**fit_cost([(1e6, 7.0, 300.0), (1e5, 2.5, 210.0)]))
    assert (cost.seconds(1e6), cost.seconds(1e5)) == pytest.approx((7.0, 2.5))
    assert (cost.peak_mib(1e6), cost.peak_mib(1e5)) == pytest.approx((300, 210))
    falling = StageCost(**fit_cost([(1e5, 5.0, 300.0), (1e6, 4.0, 200.0)]))
    assert falling.seconds(1e9) == pytest.approx(5.0)  # nothing gets cheaper by being larger


def test_records_are_read_back_and_rubbish_passed_over(tmp_path):
    wanted = [record("ingest"), record("tile", field="g")]
    log = UnitLog(tmp_path)
    log.write(*({name: getattr(each, name) for name in UnitRecord.__slots__} for each in wanted))
    log.write({"failure": {"field": "f"}, "trace": ""})
    log.write()
    (file,) = tmp_path.iterdir()
    with file.open("a") as opened:
        opened.write(
            '{"stage": "ingest"}\n["stage"]\n"stage"\n{"field": [1], "stage": "tile"}\n{"torn": \n'
            + json.dumps({"stage": "tile", "field": "h", "of tomorrow": 1})
            + "\n"
        )
    assert list(read_records(tmp_path)) == [*wanted, UnitRecord(stage="tile", field="h")]
    assert list(read_records(tmp_path / "nowhere")) == []
