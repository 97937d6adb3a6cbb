"""Every rule speaks up where it should and is silent on honest data."""

import numpy as np
import pytest

from smlmbatch.config import Config
from smlmbatch.ingest import doubts
from smlmbatch.ingest.validate import validate_file
from smlmbatch.samples import field_of_row

N = 20_000


def honest(n=N, seed=0):
    """Locs as a good measurement gives them: molecules that blink, photons and precision that thin out by themselves."""
    rng = np.random.default_rng(seed)
    photons = rng.gamma(2.5, 400, n) + rng.normal(60, 15, n)
    return {
        "x_nm": rng.uniform(0, 30_000, n),
        "y_nm": rng.uniform(0, 20_000, n),
        "z_nm": rng.normal(0, 250, n),
        "frame": np.sort((8000 * rng.beta(1, 2.5, n)).astype(int)),
        "photons": np.abs(photons),
        "precision_nm": 130 / np.sqrt(np.abs(photons) + 5) * rng.lognormal(0, 0.15, n),
        "channel": np.zeros(n, dtype=int),
    }


@pytest.fixture
def rules(tmp_path):
    """Rule → text for a table of these columns."""

    def check(columns):
        path = tmp_path / "f.csv"
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        path.write_text("\n".join([",".join(columns), *(",".join(map(repr, row)) for row in rows)]) + "\n")
        report = validate_file(path, field=field_of_row({}, path="f.csv", format_name=""), config=Config())
        return {warning["rule"]: warning["text"] for warning in report.warnings}

    return check


@pytest.mark.parametrize("seed", range(3))
def test_honest_data_raise_no_doubt(rules, seed):
    assert rules(honest(seed=seed)) == {}


def late(columns, by):
    return columns | {"frame": columns["frame"] + by}


def with_gap(columns):
    return columns | {"frame": np.where(columns["frame"] > 1500, columns["frame"] + 2500, columns["frame"])}


def changed(columns, name, where, value):
    values = columns[name].copy()
    values[where] = value
    return columns | {name: values}


CASES = {
    "width": (lambda c: c | {"x_nm": c["x_nm"] / 1e3, "y_nm": c["y_nm"] / 1e3}, "only 0.03 um wide"),
    "width, mm": (lambda c: c | {"x_nm": c["x_nm"] * 1e3}, "30 mm wide"),
    "depth": (lambda c: c | {"z_nm": c["z_nm"] / 1e3}, "z spans 2."),
    "depth, um": (lambda c: c | {"z_nm": c["z_nm"] * 1e3}, "is its unit right"),
    "precision": (lambda c: c | {"precision_nm": c["precision_nm"] * 100}, "median precision is"),
    "precision, um": (lambda c: c | {"precision_nm": c["precision_nm"] / 1e3}, "median precision is 0.00"),
    "without precision": (lambda c: changed(c, "precision_nm", np.s_[::50], 0.0), "2.0% of the precisions are no positive number"),
    "precision outliers": (lambda c: changed(c, "precision_nm", np.s_[::20], 3e4), "5.0% of the precisions are above 5 times"),
    "photons": (lambda c: c | {"photons": np.zeros(N)}, "photons are 0 throughout"),
    "photons, dark": (lambda c: changed(c, "photons", np.s_[::10], -1.0), "10.0% of the photons are no positive number"),
    "z limit": (lambda c: c | {"z_nm": np.clip(c["z_nm"], -500, 500)}, "of z are exactly -500 or 500 nm"),
    "grid": (lambda c: c | {"x_nm": c["x_nm"].round(), "y_nm": c["y_nm"].round()}, "on a grid of 1 nm"),
    "grid, px": (lambda c: c | {"x_nm": (c["x_nm"] / 1.6).round() * 1.6, "y_nm": (c["y_nm"] / 1.6).round() * 1.6}, "grid of 1.6 nm"),
    "copies": (lambda c: {name: np.concatenate([v, v[:500]]) for name, v in c.items()}, "2.44% of the localisations repeat"),
    "frames": (lambda c: c | {"frame": np.full(N, 7)}, "all localisations are of frame 7"),
    "frames, late": (lambda c: late(c, 5000), "the first frame is 5000"),
    "frame gap": (with_gap, "no localisation between frames 1500 and 4001"),
    "rare channel": (lambda c: changed(c, "channel", np.s_[:100], 3), "channel 3 (0.50%)"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rule_speaks_up(rules, case):
    change, words = CASES[case]
    found = rules(change(honest()))
    assert words in found[case.partition(",")[0]]


@pytest.mark.parametrize("missing", ["precision_nm", "frame", "photons", "z_nm", "channel"])
def test_a_missing_column(rules, missing):
    found = rules({name: values for name, values in honest().items() if name != missing})
    assert found == {
        "precision_nm": {"precision": "there is no precision column"},
        "frame": {"frames": "there is no frame column"},
    }.get(missing, {})


def test_what_was_dropped_is_told_with_the_first_one(rules):
    columns = honest(n=1000)
    columns["frame"] = columns["frame"].astype(object)
    columns["frame"][[5, 800]] = "oops"
    columns["x_nm"] = columns["x_nm"].copy()
    columns["x_nm"][7] = np.nan
    text = rules({name: np.array(values, dtype=object) for name, values in columns.items()})["dropped"]
    assert "3 of 1000 records are dropped (coordinate not finite: 1, malformed: 2" in text
    assert "first malformed record 5" in text


# ---- a filter was applied before


TAILS = {
    "exponential": lambda rng, n: rng.exponential(1, n) + 1e-3,
    "gamma": lambda rng, n: rng.gamma(4, 3, n),
    "lognormal": lambda rng, n: rng.lognormal(2, 0.4, n),
    "wide lognormal": lambda rng, n: rng.lognormal(2, 1.2, n),
    "normal": lambda rng, n: np.abs(rng.normal(130, 12, n)),
    "rayleigh": lambda rng, n: rng.rayleigh(10, n),
    "pareto": lambda rng, n: rng.pareto(1.5, n) + rng.gamma(3, 1, n),
    "triangle": lambda rng, n: rng.triangular(2, 8, 30, n),
}


@pytest.mark.parametrize("n", [200, 5000, 130_000])
@pytest.mark.parametrize("tail", TAILS)
def test_a_distribution_that_ends_by_itself_is_no_cut(tail, n):
    for seed in range(10):
        values = TAILS[tail](np.random.default_rng(seed), n).astype(np.float32)
        assert doubts._edges("values", "", values) == ""


@pytest.mark.parametrize("kept", [0.5, 0.8, 0.95, 0.98])
@pytest.mark.parametrize("tail", ["exponential", "gamma", "lognormal", "rayleigh"])
def test_a_cut_from_above_is_seen(tail, kept):
    values = TAILS[tail](np.random.default_rng(1), 100_000).astype(np.float32)
    bound = float(np.quantile(values, kept))
    text = doubts._edges("values", "", values[values <= bound])
    assert text == f"the values end abruptly at {bound:.3g}: was a filter or a limit already applied?"


@pytest.mark.parametrize("dropped", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("tail", ["exponential", "gamma", "lognormal", "rayleigh"])
def test_a_cut_from_below_is_seen(tail, dropped):
    values = TAILS[tail](np.random.default_rng(1), 100_000).astype(np.float32)
    bound = float(np.quantile(values, dropped))
    assert f"end abruptly at {bound:.3g}" in doubts._edges("values", "", values[values >= bound])


def test_values_set_to_a_limit_are_told_from_a_cut():
    values = np.clip(np.random.default_rng(0).gamma(4, 3, 10_000), 0, 30).astype(np.float32)
    assert "% of the values are exactly 30 nm" in doubts._edges("values", " nm", values)


def test_values_that_are_all_alike_are_no_cut():
    assert doubts._edges("values", "", np.full(1000, 104, dtype=np.float32)) == ""
    assert doubts._edges("values", "", np.empty(0, dtype=np.float32)) == ""
