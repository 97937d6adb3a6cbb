import csv
import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from smlmbatch.config import Config
from smlmbatch.report.field_charts import Axis
from smlmbatch.report.field_figures import FieldData, drift, frames, histograms, illumination, nena, ripley
from smlmbatch.store.arrays import UnitReader, unit_writer

N_CHANNELS = 2


def rayleigh(r, sigma):
    """Density of distances between two sightings of one molecule, each with the precision sigma (Endesfelder 2014, eq. 1)."""
    return r / (2 * sigma**2) * np.exp(-(r**2) / (4 * sigma**2))


def arrays():
    """All arrays of a quality unit of two channels, the second with twice the locs."""
    rng = np.random.default_rng(3)
    made = {}
    for name, unit, bounds in (
        ("precision", "_nm", np.linspace(0, 60, 61)),
        ("photons", "", np.logspace(1, 6, 51)),
        ("psf", "_nm", np.linspace(0, 400, 81)),
        ("z", "_nm", np.linspace(-300, 300, 61)),
        ("nn", "_nm", np.linspace(0, 500, 251)),
    ):
        middle = (len(bounds) - 1) // 3
        counts = np.exp(-((np.arange(len(bounds) - 1) - middle) ** 2) / 18)[:, None] * np.array([4000, 8000])
        made |= {f"{name}_bound{unit}": bounds, f"{name}_locs": rng.poisson(counts)}
    made |= {"frame_bound": np.linspace(0, 10_000, 401), "frame_locs": rng.poisson(30, (400, N_CHANNELS))}
    r = np.linspace(0, 100, 101)
    middles = (r[1:] + r[:-1]) / 2
    fit = np.column_stack([5000 * rayleigh(middles, 12.0), np.full(100, np.nan)])
    made |= {"nena_bound_nm": r, "nena_pairs": rng.poisson(np.nan_to_num(fit)), "nena_fit": fit}
    maps = np.full((5, 8, N_CHANNELS), np.nan)
    maps[1:4, 2:7, 0] = rng.uniform(800, 1200, (3, 5))
    return made | {"illumination_photons": maps}


VALUES = {
    "nena_nm": [12.0, None],
    "nena_n_pairs": [5000.0, 17.0],
    "drift_x_nm": [20.0, None],
    "drift_y_nm": [-5.0, None],
    "drift_error_nm": [2.0, None],
}


def data_of(folder, *, arrays, values, measure=None, names=("EGFR", "<EREG>")):
    with unit_writer(folder / "quality", "quality") as out:
        for name, array in arrays.items():
            out.write(name, array)
        out.attrs = {"values": values, "field_values": {}, "notes": {}, "illumination_side_nm": 2000.0}
    return FieldData(
        channels=[0, 4][: len(names)], names=list(names), quality=UnitReader(folder / "quality"), measure=measure, config=Config()
    )


@pytest.fixture
def data(tmp_path):
    return data_of(tmp_path, arrays=arrays(), values=VALUES)


def rows_of(figure):
    return [{k: float(v) if v else np.nan for k, v in row.items()} for row in csv.DictReader(io.StringIO(figure.numbers))]


def words_of(figure):
    return [node.text for node in ET.fromstring(figure.drawing).iter() if node.tag.endswith("text")]


def test_every_quantity_has_its_histogram_and_its_counts_as_numbers(data):
    drawn = histograms(data)
    assert list(drawn) == ["precision", "photons", "psf", "z", "neighbours"]
    for name, stored in (("precision", "precision_locs"), ("photons", "photons_locs"), ("neighbours", "nn_locs")):
        rows = rows_of(drawn[name])
        np.testing.assert_array_equal([[r["locs_channel_0"], r["locs_channel_4"]] for r in rows], data.quality.read(stored))
        assert rows[0][f"{name}_to"] == rows[1][f"{name}_from"]
    assert "NeNA 12.0 nm" in words_of(drawn["precision"])
    assert "upright line" in drawn["precision"].caption
    assert "<EREG>" in words_of(drawn["precision"])  # escaped in the markup, whole in the text


def test_quantities_a_field_has_not_are_left_out(tmp_path):
    few = {name: array for name, array in arrays().items() if name.startswith(("photons", "frame"))}
    data = data_of(tmp_path, arrays=few, values={})
    assert list(histograms(data)) == ["photons"]
    assert frames(data) is not None
    assert (drift(data), nena(data), ripley(data), illumination(data)) == (None, None, None, [])


def test_stray_values_do_not_press_the_rest_together(tmp_path):
    counts = np.zeros((60, 1), dtype=int)
    counts[5:15] = 100
    counts[59] = 2
    data = data_of(tmp_path, arrays={"precision_bound_nm": np.linspace(0, 60, 61), "precision_locs": counts}, values={}, names=("a",))
    figure = histograms(data)["precision"]
    assert max(float(text) for text in words_of(figure) if text.replace(".", "").isdigit()) <= 15
    assert "0.2\u202f% of the locs lie beyond the axis" in figure.caption
    assert rows_of(figure)[-1]["locs_channel_0"] == 2


def test_frames_give_locs_per_frame(tmp_path):
    counts = np.repeat([[500], [250]], 10, axis=0)
    data = data_of(tmp_path, arrays={"frame_bound": np.linspace(0, 2000, 21), "frame_locs": counts}, values={}, names=("a",))
    figure = frames(data)
    heights = {round(v, 1) for v in step_heights(figure, top=1.06 * 5)}
    assert heights == {5.0, 2.5}
    assert sum(row["locs_channel_0"] for row in rows_of(figure)) == counts.sum()


def step_heights(figure, *, top, height=250.0):
    """Levels of the first histogram of a figure without a key, in the axis' units."""
    path = next(n for n in ET.fromstring(figure.drawing).iter() if n.tag.endswith("path") and n.get("fill-opacity") == "0.1")
    levels = [float(part.split("H")[0]) for part in path.get("d").split("V")[1:]]
    bottom, ceiling = height - 42, 14
    return [top * (bottom - level) / (bottom - ceiling) for level in levels if level != bottom]


def test_sparse_recordings_are_drawn_in_wider_bins_and_kept_in_full(tmp_path):
    counts = np.random.default_rng(0).poisson(1.0, (400, 1))
    data = data_of(tmp_path, arrays={"frame_bound": np.linspace(0, 40_000, 401), "frame_locs": counts}, values={}, names=("a",))
    figure = frames(data)
    assert len(rows_of(figure)) == 400
    assert len(step_heights(figure, top=1)) <= 41


def test_drift_shows_what_was_measured(data):
    figure = drift(data)
    assert rows_of(figure) == [{"channel": 0.0, "drift_x_nm": 20.0, "drift_y_nm": -5.0, "drift_error_nm": 2.0}]
    assert [text for text in words_of(figure) if text.endswith(("look", "doubt"))] == ["15 nm: a look", "40 nm: in doubt"]


def test_nena_shows_pairs_and_fit(data):
    figure = nena(data)
    rows = rows_of(figure)
    fitted = np.array([row["fit_channel_0"] for row in rows])
    middles = np.array([(row["distance_from_nm"] + row["distance_to_nm"]) / 2 for row in rows])
    np.testing.assert_allclose(fitted, 5000 * rayleigh(middles, 12.0), rtol=1e-9)
    assert middles[np.argmax(fitted)] == pytest.approx(12.0 * np.sqrt(2), abs=1.0)
    assert "EGFR: 12.0 nm of 5,000 pairs." in figure.caption
    assert "<EREG>: no fit of 17 pairs." in figure.caption


def test_illumination_is_shown_where_enough_is_known(data):
    (figure,) = illumination(data)  # the second channel has no value
    assert figure.name == "illumination-0"
    assert "each square of 2.0\u202fµm" in figure.caption
    known = [row["median_photons"] for row in rows_of(figure) if np.isfinite(row["median_photons"])]
    assert len(known) == 15
    assert all(800 <= value <= 1200 for value in known)


def test_curves_are_the_mean_k_of_the_rois(made, tmp_path):
    cell = made.Cell(field=made.field("a.csv", "c", "r"), n_locs=9000)
    units = made.build(tmp_path, [cell]).fields[0].units
    with UnitReader(units["measure"]) as measure:
        figure = ripley(data_of(tmp_path, arrays={}, values={}, measure=measure, names=("a",)))
        k_nm2 = measure.read("ripley_k_nm2")[measure.read("n_locs") >= 50]
    rows = rows_of(figure)
    expected = np.sqrt(made.thomas_k_nm2(1.0) * (k_nm2 / made.thomas_k_nm2(1.0)).mean() / np.pi) - made.RADIUS_NM
    np.testing.assert_allclose([row["mean_l_minus_r_nm_channel_0"] for row in rows], expected, rtol=1e-6, atol=1e-6)
    assert all(row["p10_l_minus_r_nm_channel_0"] <= row["p90_l_minus_r_nm_channel_0"] for row in rows)
    assert f"at least 50 locs: {len(k_nm2)}." in figure.caption


def test_axis_share_is_linear_and_clipped():
    axis = Axis(label="", low=-10.0, high=30.0)
    np.testing.assert_allclose(axis.share(np.array([-50.0, -10.0, 10.0, 30.0, 99.0])), [0, 0, 0.5, 1, 1])
