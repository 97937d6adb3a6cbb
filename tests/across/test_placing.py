"""Placing conditions among those of others: distances in closed form, shares against counting, nothing that depends on folders' names."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from smlmbatch.across.placing import place
from smlmbatch.across.stored import Making, Stored
from smlmbatch.across.wording import placements_json, placements_text, write_placements
from tests.analyse.drawn_embeddings import draw

MADE = Making(model="contrastive", model_sha256="0" * 64, turned=True, n_locs=0, device="cpu")


def stored(name, d, *, names=None, locs=1000, channel=0):
    condition = np.array([(names or {}).get(c, c) for c in d.condition], dtype=object)
    n = len(d.key)
    return Stored(
        name=name,
        making=MADE,
        field=d.key,
        condition=condition,
        replicate=d.replicate,
        channel=np.full(n, channel, dtype=np.uint8),
        n_locs=np.full(n, locs),
        vectors=d.vectors.astype(np.float32),
    )


@pytest.fixture(scope="module")
def placed():
    """A new campaign of c0 and c1 among an old one with the same two and one far away."""
    new = stored("new", draw(1, (4, 4), effect=5.0, between=0.2), locs=500)
    old = stored("old", draw(2, (4, 4, 4), effect=5.0, between=0.2), names={"c0": "actin", "c1": "tubulin", "c2": "other"})
    return new, old, place(new, [old])


def test_the_same_structure_is_nearest(placed):
    _, _, rows = placed
    first = {(row.scope, row.name): row for row in rows if row.rank == 1}
    assert {name: row.condition for (scope, name), row in first.items() if scope == "condition"} == {"c0": "actin", "c1": "tubulin"}
    for (scope, name), row in first.items():
        assert row.condition == ("actin" if name.startswith("c0") else "tubulin")
        assert row.share > (0.8 if scope == "condition" else 0.6)  # by chance a third
        assert row.share_by_chance == pytest.approx(1 / 3)
        assert row.locs_ratio == pytest.approx(0.5)
        assert math.isnan(row.low) == (scope == "field")
    assert len(first) == 2 + 24


def test_distances_are_of_means_of_replicates(placed):
    new, old, rows = placed
    by_hand = {}
    for side in (new, old):
        for name in sorted(set(side.condition)):
            own = side.condition == name
            means = [side.vectors[own & (side.replicate == r)].astype(float).mean(axis=0) for r in sorted(set(side.replicate[own]))]
            by_hand[side.name, name] = np.mean(means, axis=0)
    for row in (row for row in rows if row.scope == "condition"):
        assert row.distance == pytest.approx(np.linalg.norm(by_hand["new", row.name] - by_hand["old", row.condition]))
    far = next(row for row in rows if (row.name, row.condition) == ("c0", "other"))
    assert far.low < far.distance <= far.high
    assert far.distance == pytest.approx(10.0, rel=0.1)  # as drawn
    near = next(row for row in rows if (row.name, row.condition) == ("c0", "actin"))
    assert near.low < 0.3


def test_shares_add_up_and_chance_is_by_size(placed):
    new, old, _ = placed
    few = np.flatnonzero((old.condition != "other") | (np.arange(len(old.field)) % 4 == 0))
    names = ("field", "condition", "replicate", "channel", "n_locs", "vectors")
    smaller = replace(old, **{name: getattr(old, name)[few] for name in names})
    rows = place(new, [smaller, stored("third", draw(5, (3,)), channel=1)])
    groups = {}
    for row in rows:
        groups.setdefault((row.scope, row.name), []).append(row)
    for own in groups.values():
        assert sum(row.share for row in own) == pytest.approx(1)
        assert sum(row.share_by_chance for row in own) == pytest.approx(1)
        assert [row.rank for row in own] == [1, 2, 3, 4]
        assert [row.distance for row in own] == sorted(row.distance for row in own)
    chance = {row.condition: row.share_by_chance for row in groups["condition", "c0"]}
    assert chance["other"] == pytest.approx(chance["actin"] / 4, rel=0.05)
    assert {row.other_channel for row in groups["condition", "c0"]} == {0, 1}


def test_neither_names_of_folders_nor_the_order_of_rows_matter(placed):
    new, old, rows = placed
    mixed = np.random.default_rng(0).permutation(len(old.field))
    again = {name: getattr(old, name)[mixed] for name in ("field", "condition", "replicate", "channel", "n_locs", "vectors")}
    for row, other in zip(rows, place(replace(new, name="a/b"), [replace(old, name="c/d", **again)]), strict=True):
        assert other.campaign == "c/d"
        numbers = ("distance", "low", "high", "share", "within", "locs_ratio")
        for name in numbers:
            assert getattr(row, name) == pytest.approx(getattr(other, name), rel=1e-9, nan_ok=True)


def test_what_has_no_condition_is_placed_by_field_alone(placed):
    new, old, _ = placed
    unnamed = replace(new, condition=np.full(len(new.field), "(empty)", dtype=object))
    assert {row.scope for row in place(unnamed, [old])} == {"field"}
    assert place(new, [replace(old, condition=np.full(len(old.field), "(empty)", dtype=object))]) == []


def test_large_conditions_are_drawn_from():
    new, old = stored("n", draw(0, (1,), rois=30)), stored("o", draw(0, (2, 2), rois=2400, fields=1))
    rows = place(new, [old])
    assert {row.other_n_rois for row in rows} == {4800}
    assert {row.share_by_chance for row in rows} == {0.5}
    assert place(new, [old]) == rows


def test_as_text_json_and_csv(placed, tmp_path):
    _, _, rows = placed
    text = list(placements_text(rows, MADE))
    assert text[0] == "model contrastive (000000000000)"
    assert any(line.startswith("c0, channel 0: 72 ROIs of 4 replicates") for line in text)
    assert text[-1] == "  and 4 more fields: --csv or --json lists all"
    assert all(len(line) < 140 for line in text)
    found = json.loads(json.dumps(placements_json(rows, MADE), allow_nan=False))
    assert found["made_with"]["turned"] is True
    assert len(found["placements"]) == len(rows)
    write_placements(tmp_path / "placed.csv", rows)
    lines = (tmp_path / "placed.csv").read_text().splitlines()
    assert len(lines) == len(rows) + 1
    assert lines[0].startswith("scope,name,channel,")
    assert ",," in lines[-1]  # no interval for a field
