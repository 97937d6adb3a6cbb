"""Each part of a fingerprint has its reason; parts of other versions are told by name."""

from pathlib import Path

import pytest

from smlmbatch.against.current import Unit
from smlmbatch.against.reasons import Reason, why

PARTS = {"stage": "tile", "version": 1, "config": {"tile": {"roi_nm": 3000.0}}, "upstream": ["a" * 64], "own": {"outline": "f" * 64}}


def unit(fingerprint, made_of=PARTS, **made_by):
    by = {"smlmbatch": "0.4", "numpy": "2.4"} | made_by
    return Unit(stage="tile", path=Path("x"), fingerprint=fingerprint, digest="d", problem="", made_of=made_of, made_by=by, outdated=False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, Reason("version", "results of tile: 1 → 2 (smlmbatch 0.4)")),
        ({"config": {"tile": {"roi_nm": 1000.0}}}, Reason("settings", "tile.roi_nm: 3000.0 → 1000.0")),
        ({"config": {"tile": {"roi_nm": 3000.0, "new": 0}}}, Reason("settings", "tile.new: (not there) → 0")),
        ({"config": {}}, Reason("settings", "tile.roi_nm: 3000.0 → (not there)")),
        ({"upstream": ["b" * 64]}, Reason("upstream", "ingest is another")),
        ({"own": {"outline": "e" * 64}}, Reason("input", "content of the outline", f"sha256 {'f' * 12} → {'e' * 12}")),
        ({"own": {"outline": ""}}, Reason("input", "content of the outline", f"sha256 {'f' * 12} → none")),
        ({"own": PARTS["own"] | {"unit": "um"}}, Reason("sample sheet", "unit: (not there) → 'um'")),
        # draws that a setting turned on are seeded by the field's key: the setting is the reason
        (
            {"own": PARTS["own"] | {"field": "a-1"}, "config": {"tile": {"roi_nm": 3000.0, "n": 9}}},
            Reason("settings", "tile.n: (not there) → 9"),
        ),
        ({"device": "cuda"}, Reason("other", "device: None → 'cuda'")),
    ],
)
def test_one_change_one_reason(change, reason):
    stages = {"a" * 16: "ingest"}, {"b" * 16: "ingest"}
    assert why(unit("1"), unit("2", PARTS | change), *stages) == (reason,)


def test_several_changes_several_reasons():
    found = why(unit("1"), unit("2", PARTS | {"version": 2, "upstream": []}, smlmbatch="0.5"), {}, {})
    assert found == (Reason("upstream", "an earlier stage is another"), Reason("version", "results of tile: 1 → 2 (smlmbatch 0.4 → 0.5)"))


def test_other_results_under_one_fingerprint():
    assert why(unit("1"), unit("1", numpy="2.5"), {}, {}) == (Reason("software", "numpy: 2.4 → 2.5"),)
    (reason,) = why(unit("1"), unit("1"), {}, {})
    assert (reason.kind, "report" in reason.text) == ("unknown", True)


@pytest.mark.parametrize("change", [{}, {"config": PARTS["config"] | {"quality": {}}}, {"upstream": PARTS["upstream"] * 2}])
def test_there_is_always_a_reason(change):
    assert why(unit("1"), unit("2", PARTS | change), {}, {}) == (Reason("unknown", "made of the same parts under another fingerprint"),)


def test_units_that_kept_nothing():
    (reason,) = why(unit("1", {}), unit("2"), {}, {})
    assert (reason.kind, "did not keep" in reason.text) == ("unknown", True)
