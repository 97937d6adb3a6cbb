"""The stage on fields whose faults are planted: values, histograms, reasons, and that only the locs decide."""

import numpy as np
import pytest

from smlmbatch.quality import stage
from smlmbatch.store import field_locs

SIDE_NM, N_FRAMES = 16_000.0, 4000
PER_CHANNEL = {
    *("precision_median_nm", "nena_nm", "nena_over_precision", "nena_n_pairs", "drift_nm", "drift_x_nm", "drift_y_nm"),
    *("drift_error_nm", "fading", "gaps", "duplicates", "n_duplicates", "blinks", "crowding", "illumination"),
}


def cell(n=8000, *, seed=0, channel=0, first_frame=0, shift_nm=0.0, dim_right=1.0):
    """Columns of clustered molecules, three frames each, precision 10 nm."""
    rng = np.random.default_rng(seed)
    at_nm = rng.uniform(300, SIDE_NM - 300, (200, 2))[rng.integers(0, 200, n)] + rng.normal(0, 60, (n, 2))
    start = rng.integers(0, N_FRAMES - 2, n)
    frame = (start[:, None] + np.arange(3)).ravel()
    xy_nm = np.repeat(at_nm, 3, axis=0) + rng.normal(0, 10, (3 * n, 2))
    xy_nm[:, 0] += shift_nm * (frame >= N_FRAMES // 2)
    xy_nm = np.clip(xy_nm, 0, SIDE_NM)
    photons = rng.exponential(1000, 3 * n) * np.where(xy_nm[:, 0] > 0.8 * SIDE_NM, dim_right, 1)
    return {
        "x_nm": xy_nm[:, 0],
        "y_nm": xy_nm[:, 1],
        "frame": frame + first_frame,
        "photons": photons,
        "precision_nm": rng.gamma(50, 0.2, 3 * n),
        "psf_nm": rng.normal(130, 5, 3 * n),
        "channel": np.full(3 * n, channel),
    }


def value(unit, name, place=0):
    found = unit.attrs["values"][name][place]
    return np.nan if found is None else found


def test_a_good_field(quality_of):
    columns = cell()
    unit = quality_of(columns)
    assert set(unit.attrs["values"]) == PER_CHANNEL
    assert value(unit, "precision_median_nm") == np.median(columns["precision_nm"])
    assert value(unit, "nena_nm") == pytest.approx(10, rel=0.03)
    assert value(unit, "nena_over_precision") == pytest.approx(1, rel=0.05)
    assert value(unit, "drift_nm") < 3 * value(unit, "drift_error_nm") < 15
    assert value(unit, "fading") == pytest.approx(1, abs=0.1)
    assert value(unit, "gaps") == 0
    assert value(unit, "duplicates") == 0
    assert value(unit, "blinks") == pytest.approx(2 / 3 * (1 - np.exp(-9 / 4)), abs=0.02)
    assert value(unit, "illumination") > 0.7
    assert unit.attrs["field_values"] == {"rois": 25.0, "cut": None}
    assert set(unit.attrs["notes"]) == {"cut"}
    assert "no_field" not in unit.attrs
    assert unit.attrs["crowded_nm"] == [pytest.approx(520, abs=1)]
    assert unit.attrs["n_sampled"] == unit.attrs["n_per_channel"] == [24_000]


def test_histograms_hold_every_loc(quality_of):
    columns = cell()
    unit = quality_of(columns | {"z_nm": columns["x_nm"] / 20 - 300})
    for name in ("frame", "precision", "photons", "psf", "z"):
        assert unit.read(f"{name}_locs").sum() == 24_000
    frames = np.histogram(columns["frame"], unit.read("frame_bound"))[0]
    assert unit.read("frame_locs")[:, 0].tolist() == frames.tolist()
    bounds = unit.read("precision_bound_nm")
    assert unit.read("precision_locs")[:, 0].tolist() == np.histogram(columns["precision_nm"].astype("f4"), bounds)[0].tolist()
    assert 0 < unit.read("nn_locs").sum() <= 24_000
    assert np.abs(unit.read("nena_fit") - unit.read("nena_pairs")).sum() < 0.1 * unit.read("nena_pairs").sum()


@pytest.mark.parametrize(
    ("fault", "name", "expected"),
    [
        ({"shift_nm": 60.0}, "drift_x_nm", pytest.approx(60, abs=5)),
        ({"dim_right": 0.3}, "illumination", pytest.approx(0.33, abs=0.07)),
    ],
)
def test_planted_faults(quality_of, fault, name, expected):
    assert value(quality_of(cell(**fault)), name) == expected


def test_locs_outside_the_cell_do_not_light_the_field(quality_of):
    """The dim part lies outside the outline."""
    ring = [[0.0, 0], [0.8 * SIDE_NM, 0], [0.8 * SIDE_NM, SIDE_NM], [0, SIDE_NM]]
    unit = quality_of(cell(dim_right=0.3), ring_nm=ring)
    assert value(unit, "illumination") > 0.7
    photons = unit.read("illumination_photons")
    assert photons.shape == (8, 8, 1)
    assert np.isnan(photons[:, -1]).all()
    assert np.isfinite(photons[:, :6]).sum() > 20


def test_gap_and_fading(quality_of):
    columns = cell()
    frame = columns["frame"]
    kept = ((frame < 1500) | (frame >= 2300)) & ((frame < 3000) | (np.arange(len(frame)) % 10 == 0))
    unit = quality_of({name: values[kept] for name, values in columns.items()})
    assert value(unit, "gaps") == pytest.approx(0.2, abs=0.01)
    assert value(unit, "fading") == pytest.approx(0.1, abs=0.02)


def test_channels_are_their_own_recordings(quality_of):
    """Taken one after the other, the second with drift: the first's values are those it has alone."""
    one, two = cell(seed=1), cell(seed=2, channel=3, first_frame=N_FRAMES)
    half = two["frame"] >= N_FRAMES + N_FRAMES // 2
    two["x_nm"] = np.clip(two["x_nm"] + 50 * half, 0, SIDE_NM)
    both = quality_of({name: np.concatenate([one[name], two[name]]) for name in one})
    alone = quality_of(one)
    assert both.attrs["channels"] == [0, 3]
    for name in ("duplicates", "illumination"):
        assert value(both, name) == value(alone, name)
    assert value(both, "nena_nm") == pytest.approx(value(alone, "nena_nm"), rel=0.01)
    assert value(both, "fading") == pytest.approx(1, abs=0.1)
    assert value(both, "gaps", 1) == 0
    assert value(both, "drift_x_nm") == pytest.approx(0, abs=5)
    assert value(both, "drift_x_nm", 1) == pytest.approx(50, abs=5)


def test_memory_and_pieces_change_nothing(quality_of, monkeypatch):
    columns = cell(n=3000)
    whole = quality_of(columns)
    monkeypatch.setattr(field_locs, "KEEP_ROWS", 0)
    monkeypatch.setattr(field_locs.FieldLocs.__init__, "__kwdefaults__", {"keep_rows": 0})
    pieces = field_locs.FieldLocs.pieces
    monkeypatch.setattr(field_locs.FieldLocs, "pieces", lambda self, rows=777: pieces(self, rows))
    assert quality_of(columns).digest == whole.digest


def test_big_fields_are_sampled(quality_of, monkeypatch):
    columns = cell()
    monkeypatch.setattr(stage, "MAX_LOCS", 6000)
    unit = quality_of(columns)
    assert 3000 < unit.attrs["n_sampled"][0] < 12_000
    assert value(unit, "nena_nm") == pytest.approx(10, rel=0.06)
    assert unit.read("frame_locs").sum() == 24_000


def test_merged_blinks(quality_of):
    """NeNA is that of before; what is stated now is another thing."""
    columns = {name: values[::3] for name, values in cell(n=3000).items()}
    unit = quality_of(columns | {"n_merged": np.full(3000, 3)}, ingest={"nena_nm": [9.5]})
    assert unit.attrs["merged"] is True
    assert value(unit, "nena_nm") == 9.5
    assert np.isnan(value(unit, "nena_over_precision"))
    assert unit.attrs["notes"]["nena_over_precision"] == "no precision is known of the locs before merging"
    assert value(unit, "blinks") < 0.01
    unit = quality_of(columns | {"n_merged": np.full(3000, 3)}, ingest={"nena_nm": [30.0], "precision_unmerged_nm": [15.0]})
    assert value(unit, "nena_over_precision") == 2.0
    assert value(unit, "precision_unmerged_nm") == 15.0
    assert value(unit, "precision_median_nm") == pytest.approx(10, rel=0.02)
    unit = quality_of(columns | {"n_merged": np.full(3000, 3)}, ingest={"nena_nm": [None], "precision_unmerged_nm": [15.0]})
    assert np.isnan(value(unit, "nena_over_precision"))
    for name in ("nena_nm", "nena_over_precision"):
        assert unit.attrs["notes"][name].startswith("before merging NeNA found no precision")


def test_positions_alone(quality_of):
    columns = cell(n=500)
    unit = quality_of({name: columns[name] for name in ("x_nm", "y_nm")})
    assert {name for name, values in unit.attrs["values"].items() if values == [None]} == PER_CHANNEL
    assert set(unit.attrs["notes"]) == PER_CHANNEL | {"cut"}
    assert unit.attrs["notes"]["drift_nm"] == "the file has no frame numbers"
    assert unit.names() == ["nn_bound_nm", "nn_locs"]


@pytest.mark.parametrize("n", [0, 1, 7])
def test_hardly_a_loc(quality_of, n):
    columns = {name: values[:n] for name, values in cell(n=3).items()}
    unit = quality_of(columns)
    assert set(unit.attrs["values"]) == PER_CHANNEL
    assert np.isnan(value(unit, "drift_nm"))
    assert unit.attrs["notes"]["drift_nm"]


@pytest.mark.parametrize(
    ("tile", "reason"),
    [({"outline_source": "field"}, "whole field"), ({"density_threshold_per_um2": None}, "evenly filled")],
)
def test_an_outline_that_is_the_field_is_not_cut(quality_of, tile, reason):
    unit = quality_of(cell(n=500), tile=tile)
    assert unit.attrs["field_values"]["cut"] is None
    assert reason in unit.attrs["notes"]["cut"]


@pytest.mark.parametrize(
    ("share", "cut"),
    [(1.0, None), (0.97, None), (0.8, pytest.approx((15.5 + 2 * 12.3) / (31 + 24.6), abs=0.03)), (0.5, pytest.approx(2 / 3, abs=0.03))],
)
def test_an_outline_of_nearly_the_whole_field_is_not_cut(quality_of, share, cut):
    """An outline keeps up to 300 nm away from the edge that cuts it."""
    margin_nm, right_nm = 250.0, share * SIDE_NM
    ring = [[margin_nm, margin_nm], [right_nm - margin_nm, margin_nm]]
    ring += [[right_nm - margin_nm, SIDE_NM - margin_nm], [margin_nm, SIDE_NM - margin_nm]]
    unit = quality_of(cell(n=500), ring_nm=ring)
    assert unit.attrs["field_values"]["cut"] == cut
    assert ("nearly the whole field" in unit.attrs["notes"].get("cut", "")) == (cut is None)


def test_particles_on_top_of_each_other_are_no_field(quality_of):
    """As their format says, or as many locs within less than any field say."""
    columns = cell(n=500)
    unit = quality_of(columns, ingest={"format": "particles"})
    assert unit.attrs["no_field"] == "not a field of view: particles centred on themselves can't be tiled"
    assert unit.attrs["field_values"]["cut"] is None
    assert unit.attrs["notes"]["cut"] == unit.attrs["no_field"]
    heap = columns | {name: columns[name] / 20 for name in ("x_nm", "y_nm")}
    unit = quality_of(heap, tile={"density_threshold_per_um2": None})
    assert unit.attrs["no_field"].startswith("not a field of view: 1500 locs within ")
    assert unit.attrs["notes"]["cut"] == unit.attrs["no_field"]
    assert "no_field" not in quality_of({name: values[:900] for name, values in heap.items()}).attrs


@pytest.mark.parametrize("where", ["one loc", "one place"])
def test_too_few_locs_for_an_outline(quality_of, where):
    """No sign of a field that is evenly filled."""
    columns = {name: values[: 1 if where == "one loc" else 900] for name, values in cell(n=300).items()}
    columns |= {name: np.full_like(columns[name], 5000.0) for name in ("x_nm", "y_nm")}
    unit = quality_of(columns, tile={"density_threshold_per_um2": None})
    assert "too few locs for an outline" in unit.attrs["notes"]["cut"]


@pytest.mark.parametrize(("unit_of", "known"), [(1e-3, True), (3e3, True), (1e-9, False)])
def test_photons_of_any_unit(quality_of, unit_of, known):
    """Of what lies beyond the bins no evenness is told."""
    columns = cell(dim_right=0.3)
    unit = quality_of(columns | {"photons": columns["photons"] * unit_of})
    assert np.isfinite(value(unit, "illumination")) == known
    if known:
        assert value(unit, "illumination") == pytest.approx(value(quality_of(columns), "illumination"), rel=0.03)
    else:
        assert "illumination" in unit.attrs["notes"]
        assert np.isnan(unit.read("illumination_photons")).all()


@pytest.mark.parametrize("away_nm", [2e7, 1e9, 4e11])
def test_one_loc_far_away(quality_of, away_nm):
    """It makes tiles huge, as ingest does, and changes nothing that is measured of the others."""
    columns = cell(shift_nm=60.0)
    stray = {name: np.append(values, values[-1]) for name, values in columns.items()} | {"x_nm": np.append(columns["x_nm"], away_nm)}
    tile_nm = 1000.0 * 2 ** max(0, int(np.ceil(np.log2(away_nm / 2e6))))
    # the tile stage leaves the field without locs out of its raster
    found = quality_of(stray, tile_nm=tile_nm, side_nm=SIDE_NM)
    assert value(found, "drift_x_nm") == pytest.approx(60, abs=5)
    assert value(found, "illumination") == pytest.approx(value(quality_of(columns), "illumination"), rel=0.01)


def test_blocks_are_cut_into_parts(quality_of):
    """The same parts, from tiles of 4 um and from one that is the whole field."""
    columns = cell(n=3000, shift_nm=30.0)
    one, other = quality_of(columns, tile_nm=4000.0), quality_of(columns, tile_nm=16_000.0)
    for name in ("drift_x_nm", "drift_y_nm", "drift_error_nm"):
        assert value(one, name) == pytest.approx(value(other, name), rel=1e-6), name


def test_tiles_of_any_size(quality_of):
    """Where blocks are cut changes which pairs a sample sees, and nothing else: all are seen here."""
    columns = cell(n=2000)
    one, other = quality_of(columns), quality_of(columns, tile_nm=6500.0)
    for name in PER_CHANNEL - {"drift_nm", "drift_x_nm", "drift_y_nm", "drift_error_nm"}:
        assert value(one, name) == pytest.approx(value(other, name), rel=1e-6, nan_ok=True), name
