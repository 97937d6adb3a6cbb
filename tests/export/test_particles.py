"""Particles chosen by a condition: the condition on joined tables, locs with their source's records, the index, errors."""

import csv
import shutil

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from smlmbatch.analyse.fingerprint import table_path
from smlmbatch.errors import ConfigError
from smlmbatch.export import particle_field, stored_field
from smlmbatch.export.particle_field import ParticleField
from smlmbatch.export.particles import PARTICLE_FORMATS, choose_particles
from smlmbatch.store.arrays import UnitReader, unit_writer
from tests.export.conftest import ingested
from tests.in_process import call

PER_FIELD, LOCS = 6, 20
FIELDS = {"ctrl/a.csv": True, "ctrl/b.csv": True, "egf/c.csv": False}  # path → whether it has frames
PC1 = [2.0, -1.0, None, 0.5, float("nan"), -3.0]  # of each field's particles; the last is in no order


def _write_source(path, *, frames, seed):
    """Groups 10, 11 … of locs on a ring, in random order of records; every ninth loc is too imprecise to be kept."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, (PER_FIELD, LOCS))
    centre_nm = 20_000 + 400.0 * np.arange(PER_FIELD)[:, None]
    group = np.repeat(np.arange(PER_FIELD) + 10, LOCS)
    columns = {"x_nm": (centre_nm + 50 * np.cos(angle)).ravel(), "y_nm": (centre_nm + 50 * np.sin(angle)).ravel(), "group": group}
    columns |= {"precision_nm": np.where(np.arange(len(group)) % 9, 5.0, 90.0)}
    columns |= {"frame": rng.integers(0, 300, len(group))} if frames else {}
    order = rng.permutation(len(group))
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.csv.write_csv(pa.table({name: values[order] for name, values in columns.items()}), path)


def _write_order(output):
    """A table as the stage order would lead to, of all particles but the last of each field."""
    particles = pq.read_table(table_path(output, "particles"))
    order = particles.filter(pa.compute.less(particles["particle"], PER_FIELD - 1)).select(
        ["key", "field", "condition", "particle", "n_points"]
    )
    order = order.set_column(4, "n_points", pa.compute.subtract(order["n_points"], 1))
    number = order["particle"].to_pylist()
    order = order.append_column("pc1", pa.array([PC1[i] for i in number], pa.float64()))
    order = order.append_column("kmeans", pa.array([1 + i % 2 for i in number], pa.int32()))
    pq.write_table(
        order.take(list(range(len(order) - 1, -1, -1))).replace_schema_metadata(particles.schema.metadata), table_path(output, "order")
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chosen") / "input"
    for seed, (path, frames) in enumerate(FIELDS.items()):
        _write_source(folder / path, frames=frames, seed=seed)
    return folder


@pytest.fixture(scope="module")
def output(source):
    """A campaign of picked groups, in order as a table drawn by hand says; not to be changed."""
    output = source.parent / "output"
    call("run", source, output, "--pick", "group", "--only", "ingest,pick,report")
    _write_order(output)
    return output


@pytest.fixture
def spoiled(output, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(output, tmp_path / "spoiled")


def chosen(output, where):
    """(condition, particle) of what is chosen; the fields of a condition are alike."""
    table = choose_particles(output, where).table
    return list(zip(table["condition"].to_pylist(), table["particle"].to_pylist(), strict=True))


def records(path):
    """x, y, group and record of each exported loc."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
    elif path.suffix == ".hdf5":
        with h5py.File(path) as file:
            locs = file["locs"][:]
        assert locs.dtype.names == ("frame", "x", "y", "lpx", "lpy", "group", "row")
        position = [(locs[axis].astype(np.float64) + 0.5) * 100 for axis in "xy"]
        return [*position, locs["group"], locs["row"]]
    else:
        table = pyarrow.csv.read_csv(path)
    if "ID" in table.column_names:
        return [*(table[name].to_numpy() for name in ("xnm", "ynm", "groupindex")), table["ID"].to_numpy() - 1]
    return [table[name].to_numpy() for name in ("x_nm", "y_nm", "group", "row")]


# ---- the condition


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("pc1 > 0", [0, 3]),
        ("pc1 != 2", [1, 3]),  # null, NaN and what is in no order satisfy nothing
        ("not pc1 > 0", [1]),
        ("pc1 in (0.5, 7)", [3]),
        ("pc1 not in (0.5, 7)", [0, 1]),
        ("pc1 > 0 or particle == 2", [0, 2, 3]),
        ("kmeans == 2 and n_locs >= 10", [1, 3]),
        ("order_n_points < n_points", [0, 1, 2, 3, 4]),
        ("group == 15", [5]),
        ("x_nm > 21000 and z_nm > 0", []),  # in the plane z is null
        ("1 < 2", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_conditions_on_both_tables(output, where, expected):
    if not expected:
        with pytest.raises(ConfigError, match="chooses none of 18 particles"):
            choose_particles(output, where)
        return
    assert chosen(output, where) == [(condition, number) for condition in ("ctrl", "ctrl", "egf") for number in expected]


def test_texts_are_compared_as_texts(output):
    assert chosen(output, "condition == 'egf' and pc1 > 0") == [("egf", 0), ("egf", 3)]
    assert len(chosen(output, "centre_by in ('circle', 'area') and 'tr' in condition")) == 2 * PER_FIELD
    with pytest.raises(ConfigError, match=r"'ctrl', which is no number"):
        choose_particles(output, "condition > 3")


def test_an_unknown_column_is_answered_with_the_known_ones(output):
    with pytest.raises(ConfigError, match=r"no column 'unit6'; known are batch, .*condition.*kmeans.*order_n_points.*pc1.*y_nm"):
        choose_particles(output, "unit6 > 1")


def test_without_an_order_there_are_the_columns_of_particles(spoiled):
    path = table_path(spoiled, "order")
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert len(chosen(spoiled, "n_locs > 0")) == 3 * PER_FIELD
    for where in ("unit6 > 1", "pc1 > 0"):
        with pytest.raises(ConfigError, match="nothing is in order"):
            choose_particles(spoiled, where)
    path.unlink()
    assert len(chosen(spoiled, "n_locs > 0")) == 3 * PER_FIELD


def test_tables_that_are_not_there_or_damaged_are_said(spoiled):
    path = table_path(spoiled, "particles")
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigError, match=r"particles\.parquet: can't be read as Parquet"):
        choose_particles(spoiled, "n_locs > 0")
    path.unlink()
    with pytest.raises(ConfigError, match=r"particles\.parquet: is not there; finish the campaign"):
        choose_particles(spoiled, "n_locs > 0")


# ---- what is written


@pytest.mark.parametrize("format_name", PARTICLE_FORMATS)
def test_locs_are_the_sources_records(source, output, tmp_path, format_name):
    said, warned = call("export", output, tmp_path, "--format", format_name, "--what", "particles", "--where", "pc1 > 0")
    index_file, *files = [path for path in map(tmp_path.joinpath, said.split()) if path.suffix != ".yaml"]
    assert index_file.name == ("particles.parquet" if format_name == "parquet" else "particles.csv")
    index = (pq.read_table(index_file) if format_name == "parquet" else pyarrow.csv.read_csv(index_file)).to_pylist()
    fit = [path for path in FIELDS if FIELDS[path] or format_name != "picasso"]
    assert ("egf/c.csv is left out: it has no frame, which the format picasso needs" in warned) is (format_name == "picasso")
    assert [(row["path"], row["particle"]) for row in index] == [(path, number) for path in fit for number in (0, 3)]
    assert list(dict.fromkeys(row["file"] for row in index)) == [path.relative_to(tmp_path).as_posix() for path in files]
    for path, file in zip(fit, files, strict=True):
        table = pyarrow.csv.read_csv(source / path)
        x_nm, y_nm, group, row = records(file)
        assert np.abs(x_nm - table["x_nm"].to_numpy()[row]).max() < 1e-3
        assert np.abs(y_nm - table["y_nm"].to_numpy()[row]).max() < 1e-3
        kept = np.isin(table["group"].to_numpy(), [10, 13]) & (table["precision_nm"].to_numpy() < 30)
        assert sorted(row) == np.flatnonzero(kept).tolist()
        assert np.array_equal(group, table["group"].to_numpy()[row] - 10)
        if format_name in ("picasso", "smap-csv"):
            assert (np.diff(row) > 0).all()  # other programs get the source's order


def test_the_index_holds_what_the_tables_know(output, tmp_path):
    call("export", output, tmp_path, "--where", "pc1 > 0")
    with (tmp_path / "particles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:9] == ["key", "field", "path", "file", "particle", "x_nm", "y_nm", "z_nm", "n_points"]
    known = {name for table in ("particles", "order") for name in pq.read_schema(table_path(output, table)).names}
    assert set(rows[0]) == known | {"path", "file", "order_n_points"}
    first = pq.read_table(table_path(output, "particles")).to_pylist()[0]
    assert float(rows[0]["x_nm"]) == first["x_nm"]
    assert (rows[0]["pc1"], rows[0]["kmeans"], rows[0]["group"], rows[0]["z_nm"]) == ("2", "1", "10", "")


@pytest.mark.parametrize("format_name", ["picasso", "csv"])
def test_exported_particles_are_picked_again(output, tmp_path, format_name):
    call("export", output, tmp_path / "some", "--format", format_name, "--where", "pc1 > 0 and condition == 'ctrl'")
    call("run", tmp_path / "some" / "particles", tmp_path / "again", "--pick", "group", "--only", "ingest,pick,report")
    before = pyarrow.csv.read_csv(tmp_path / "some" / "particles.csv").to_pylist()
    after = pq.read_table(table_path(tmp_path / "again", "particles")).to_pylist()
    assert [one["group"] for one in after] == [one["particle"] for one in before] == [0, 3, 0, 3]
    for one, other in zip(before, after, strict=True):
        assert one["n_points"] == other["n_points"]
        assert abs(one["x_nm"] - other["x_nm"]) < 1e-3
        assert abs(one["y_nm"] - other["y_nm"]) < 1e-3


# ---- refusals


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--where", "pc1 > 9"], "chooses none of 18 particles"),
        (["--where", "pc1 > 0", "--format", "h5ad"], "wanted one that holds groups and records: csv, parquet, picasso, smap-csv"),
        (["--where", "pc1 > 0", "--what", "rois", "--what", "particles"], "say --what particles, not rois"),
        (
            ["--where", "pc1 > 0 and condition == 'egf'", "--format", "picasso"],
            "no frame, which the format picasso needs; no chosen particle",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_written(output, tmp_path, arguments, word):
    assert word in call("export", output, tmp_path / "out", *arguments, expect=2)[1]
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unasked(output, tmp_path):
    call("export", output, tmp_path, "--where", "pc1 > 0")
    before = (tmp_path / "particles.csv").read_bytes()
    assert "would be overwritten" in call("export", output, tmp_path, "--where", "pc1 < 0", expect=2)[1]
    assert (tmp_path / "particles.csv").read_bytes() == before
    call("export", output, tmp_path, "--where", "pc1 < 0", "--overwrite")
    assert (tmp_path / "particles.csv").read_bytes() != before


def test_tables_older_than_the_store_are_said(spoiled, tmp_path):
    word = "tables are older than what is in the store now"
    assert word not in call("export", spoiled, tmp_path / "now", "--where", "n_locs > 0")[1]
    call("pick", spoiled, "--from", "group", "--no-group", "10")  # what was particle 1 is particle 0 now
    warned = call("export", spoiled, tmp_path / "then", "--where", "n_locs > 0", expect=2)[1]
    assert word in warned
    assert "ctrl/a.csv: tables/particles.parquet has other particles than the store" in warned
    call("report", spoiled, expect=3)
    assert word not in call("export", spoiled, tmp_path / "later", "--where", "n_locs > 0")[1]


# ---- the locs of some particles


@pytest.fixture
def margins(tmp_path):
    """A field of 40 locs and 3 particles; locs in two margins are points of both."""
    path = tmp_path / "drawn.csv"
    rows = "".join(f"{1000 + 7.25 * i},{5000 - 3.5 * i},{(i * 17) % 40},5\n" for i in range(40))
    path.write_text("x_nm,y_nm,frame,precision_nm\n" + rows)
    unit = ingested(path, tmp_path / "drawn")
    loc = [np.arange(15), np.arange(10, 25), np.arange(20, 38)]
    with unit_writer(tmp_path / "pick.zarr.zip", "pick") as out:
        for name, dtype in {"channel": "u1", "cluster": "i4", "n_locs": "i8", "centre_by": "u1"}.items():
            out.write(name, np.zeros(3, dtype))
        for name in ("x_nm", "y_nm", "z_nm", "radius_nm"):
            out.write(name, np.zeros(3))
        out.write("start", np.cumsum([0, *map(len, loc)]))
        out.write("loc", np.concatenate(loc))
        out.write("point_nm", np.zeros((sum(map(len, loc)), 2), np.float32))
    return unit, tmp_path / "pick.zarr.zip", loc


@pytest.mark.parametrize("piece_rows", [4, 1 << 18])
def test_a_loc_of_two_particles_is_there_twice(margins, monkeypatch, piece_rows):
    for module in (stored_field, particle_field):
        monkeypatch.setattr(module, "PIECE_ROWS", piece_rows)
    with UnitReader(margins[0]) as unit, UnitReader(margins[1]) as pick:
        field = ParticleField(unit, pick, np.array([2, 1]))
        assert field.n == 15 + 18
        assert field.names == ("x_nm", "y_nm", "frame", "precision_nm", "channel", "group", "row")
        row, x_nm = unit.read("row"), unit.read("x_nm").astype(np.float64) + unit.attrs["origin_nm"][0]
        expected = sorted((loc, number) for number in (1, 2) for loc in margins[2][number])
        stored = _joined(field.pieces())
        assert list(zip(stored["row"], stored["group"], strict=True)) == [(row[loc], number) for loc, number in expected]
        assert np.array_equal(stored["x_nm"], [x_nm[loc] for loc, _ in expected])
        by_record = _joined(field.pieces_in_source_order(pass_rows=5))
        assert list(zip(by_record["row"], by_record["group"], strict=True)) == sorted((row[loc], number) for loc, number in expected)
        assert np.allclose(by_record["x_nm"], 1000 + 7.25 * by_record["row"], rtol=0, atol=1e-3)
        assert np.array_equal(by_record["frame"], by_record["row"] * 17 % 40)


def _joined(pieces):
    pieces = list(pieces)
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
