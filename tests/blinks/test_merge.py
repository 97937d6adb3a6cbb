"""What a merged loc is: closed forms, a plain loop over traces, and simulated molecules of known truth."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.blinks import merge
from smlmbatch.blinks.merge import merge_blinks
from smlmbatch.errors import InputError
from smlmbatch.simulate.blinking import Camera, Fluorophore, blink
from tests.blinks.test_link import plain_links

KINDS = {"x_nm": "f8", "y_nm": "f8", "z_nm": "f4", "frame": "i4", "photons": "f4", "precision_nm": "f4", "precision_z_nm": "f4"} | {
    "background": "f4",
    "psf_nm": "f4",
    "channel": "u1",
    "group": "i4",
    "row": "i8",
}


def records_of(**columns):
    n = len(columns["x_nm"])
    columns = {"row": np.arange(n)} | columns
    records = np.empty(n, dtype=[(name, kind) for name, kind in KINDS.items() if name in columns])
    for name in records.dtype.names:
        records[name] = columns[name]
    return records


def merge_all(records, *, radius_nm=10.0, dark_frames=0, block_rows=10**9, piece_rows=1 << 16):
    """Merged locs of records in ascending frames, by the row of their first loc."""
    blocks = [records[start : start + block_rows] for start in range(0, len(records), block_rows)]
    radius_nm = np.broadcast_to(np.float64(radius_nm), 256).copy()
    batches = list(
        merge_blinks(
            blocks,
            path=Path("f.csv"),
            channel_of=np.arange(256, dtype=np.uint8),
            radius_nm=radius_nm,
            dark_frames=dark_frames,
            piece_rows=piece_rows,
        )
    )
    merged = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    order = np.argsort(merged["row"])
    return {name: values[order] for name, values in merged.items()}


def random_records(n, seed, *, frames=40, side=60.0, unknown=0.2):
    rng = np.random.default_rng(seed)
    columns = {name: rng.gamma(3.0, 5.0, n) for name in ("photons", "precision_nm", "precision_z_nm", "background", "psf_nm")}
    columns |= {"z_nm": rng.normal(0, 300, n), "group": rng.integers(-5, 5, n), "channel": rng.integers(2, size=n)}
    for name in ("photons", "precision_nm", "precision_z_nm", "background", "psf_nm", "z_nm"):
        columns[name][rng.random(n) < unknown] = np.nan
    x, y = rng.uniform(1e6, 1e6 + side, (2, n))
    return records_of(x_nm=x, y_nm=y, frame=np.sort(rng.integers(frames, size=n)), **columns)


def mean(values, precision):
    """Weighted by 1 / precision² where any is known, else plain; of the known values."""
    values, precision = values.astype(float), precision.astype(float)
    weighed = np.isfinite(values) & np.isfinite(precision)
    if weighed.any():
        return np.average(values[weighed], weights=precision[weighed] ** -2.0)
    known = values[np.isfinite(values)]
    return known.mean() if len(known) else np.nan


def total_precision(precision):
    known = precision[np.isfinite(precision)].astype(float)
    return (known**-2.0).sum() ** -0.5 if len(known) else np.nan


def plain_merge(records, trace):
    """One trace after the other, by the definitions."""
    columns = {name: [] for name in (*records.dtype.names, "n_merged")}
    for t in range(trace.max() + 1):
        some = records[trace == t]
        axial = np.where(np.isfinite(some["z_nm"]), some["precision_z_nm"], np.nan)
        known = some["psf_nm"][np.isfinite(some["psf_nm"])]
        values = {name: some[name][0] for name in ("frame", "channel", "group", "row")} | {
            "x_nm": mean(some["x_nm"], some["precision_nm"]),
            "y_nm": mean(some["y_nm"], some["precision_nm"]),
            "z_nm": mean(some["z_nm"], axial),
            "precision_nm": total_precision(some["precision_nm"]),
            "precision_z_nm": total_precision(axial) if len(some) > 1 else some["precision_z_nm"][0],
            "photons": some["photons"].astype(float).sum(),
            "background": some["background"].astype(float).sum(),
            "psf_nm": known.astype(float).mean() if len(known) else np.nan,
            "n_merged": len(some),
        }
        for name, value in values.items():
            columns[name].append(value)
    return {name: np.array(values) for name, values in columns.items()}


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 120), seed=st.integers(0, 2**32), dark_frames=st.integers(0, 3), unknown=st.sampled_from([0.0, 0.3, 1.0]))
def test_against_a_loop_over_traces(n, seed, dark_frames, unknown):
    records = random_records(n, seed, unknown=unknown)
    columns = [records[name] for name in ("x_nm", "y_nm", "frame", "channel")]
    trace = plain_links(*columns, np.full(256, 10.0), dark_frames)
    expected, found = plain_merge(records, trace), merge_all(records, dark_frames=dark_frames)
    order = np.argsort(expected["row"])
    assert found["n_merged"].dtype == np.int32
    for name, values in expected.items():
        exact = name in ("frame", "channel", "group", "row", "n_merged")
        np.testing.assert_allclose(found[name], values[order], rtol=0 if exact else 1e-6, atol=0 if exact else 1e-4, err_msg=name)


def test_precision_and_position_of_equal_and_unequal_locs():
    """n locs of precision p are as good as one of p / sqrt(n); 3 and 4 nm give 2.4, at the place nearer to the better one."""
    equal = records_of(x_nm=[10.0, 12, 14, 16], y_nm=[0.0] * 4, frame=[3, 4, 5, 6], precision_nm=[8.0] * 4, photons=[100.0] * 4)
    found = merge_all(equal)
    assert (found["x_nm"].tolist(), found["precision_nm"].tolist(), found["photons"].tolist()) == ([13.0], [4.0], [400.0])
    unequal = records_of(x_nm=[0.0, 5.0], y_nm=[0.0, 0.0], frame=[3, 4], precision_nm=[3.0, 4.0])
    found = merge_all(unequal)
    assert found["precision_nm"][0] == pytest.approx(2.4, rel=1e-7)
    assert found["x_nm"][0] == pytest.approx(5 * 9 / 25, rel=1e-12)


def test_a_loc_alone_stays_to_the_bit():
    records = random_records(300, 5, side=1e6, frames=10**6)
    found = merge_all(records)
    for name in records.dtype.names:
        np.testing.assert_array_equal(found[name], records[name], err_msg=name)
    assert (found["n_merged"] == 1).all()


@pytest.mark.parametrize(("block_rows", "piece_rows"), [(1, 1), (7, 50), (64, 1), (1000, 300)])
def test_pieces_change_nothing(block_rows, piece_rows):
    records = random_records(3000, 11, frames=200, side=150.0)
    whole = merge_all(records, dark_frames=2)
    assert (whole["n_merged"] > 2).any()
    for name, values in merge_all(records, dark_frames=2, block_rows=block_rows, piece_rows=piece_rows).items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)


def test_the_order_in_which_locs_are_handed_out_does_not_show_the_pieces():
    records = random_records(2000, 12, frames=100, side=150.0)
    orders = []
    for piece_rows in (1, 90, 10**6):
        options = {"path": Path("f"), "channel_of": np.zeros(256, np.uint8), "radius_nm": np.full(256, 10.0), "dark_frames": 1}
        batches = merge_blinks([records], **options, piece_rows=piece_rows)
        orders.append(np.concatenate([batch["row"] for batch in batches]).tolist())
    assert orders[0] == orders[1] == orders[2]


def test_z_plays_no_part_in_linking():
    records = records_of(x_nm=[0.0, 1.0], y_nm=[0.0, 0.0], z_nm=[-500.0, 500.0], frame=[1, 2])
    found = merge_all(records)
    assert (found["n_merged"].tolist(), found["z_nm"].tolist()) == ([2], [0.0])


def test_frames_that_are_none(monkeypatch):
    monkeypatch.setattr(merge, "MAX_FRAME_LOCS", 100)
    crowded = records_of(x_nm=np.arange(150.0), y_nm=np.zeros(150), frame=np.repeat([1, 2], [49, 101]))
    for piece_rows in (1, 10**6):
        with pytest.raises(InputError, match="more than 100 localisations have the frame 2"):
            merge_all(crowded, block_rows=20, piece_rows=piece_rows)
    assert merge_all(crowded[:149])["n_merged"].sum() == 149


# ---- molecules of known truth


def blinking_molecules(spacing_nm, *, dark=1.0, blinks=1.0, n_side=40):
    """Molecules on a square grid, one blink (or several) of 3 frames on the average; locs with their molecule."""
    rng = np.random.default_rng(8)
    grid = np.arange(n_side) * spacing_nm
    xy = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    dye = Fluorophore(mean_blinks=blinks, mean_on_frames=3.0, mean_dark_frames=dark, min_photons=1000.0, mean_photons=3000.0)
    locs = blink(rng, xy, fluorophore=dye, camera=Camera(n_frames=4000, background_sd=1.0))
    names = ("x_nm", "y_nm", "frame", "photons", "precision_nm", "psf_nm")
    return records_of(**{name: getattr(locs, name) for name in names}), locs.molecule, xy


def share_of_one(molecule, merged):
    """Share of the molecules seen for which exactly one merged loc stands."""
    _, n_locs = np.unique(molecule[merged["row"]], return_counts=True)
    return float((n_locs == 1).mean())


def test_molecules_that_are_on_once_become_one_loc_each():
    records, molecule, xy = blinking_molecules(500.0)
    found = merge_all(records, radius_nm=40.0)
    assert len(records) > 2.5 * len(np.unique(molecule))
    assert share_of_one(molecule, found) > 0.995
    assert found["n_merged"].sum() == len(records)
    # errors of merged positions are what the merged precision says
    error = np.stack([found["x_nm"], found["y_nm"]], axis=-1) - xy[molecule[found["row"]]]
    assert np.std(error / found["precision_nm"][:, None]) == pytest.approx(1.0, abs=0.03)


def test_a_radius_of_little_more_than_the_precision_splits_blinks():
    """Two locs of precision s lie within r of each other with 1 - exp(-r² / 4 s²)."""
    records, molecule, _ = blinking_molecules(500.0)
    records["precision_nm"] = np.median(records["precision_nm"])
    s = float(np.sqrt(np.mean((records["x_nm"] - np.round(records["x_nm"] / 500) * 500) ** 2)))
    found = merge_all(records, radius_nm=2 * s)
    n_steps = len(records) - len(np.unique(molecule))
    joined = (len(records) - len(found["row"])) / n_steps
    assert joined == pytest.approx(1 - np.exp(-1), abs=0.06)


def test_dark_frames_join_the_blinks_of_a_molecule():
    records, molecule, _ = blinking_molecules(500.0, dark=3.0, blinks=3.0)
    none, some = (merge_all(records, radius_nm=60.0, dark_frames=dark) for dark in (0, 40))
    assert share_of_one(molecule, none) < 0.6
    assert share_of_one(molecule, some) > 0.99
