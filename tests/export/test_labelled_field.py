"""What was found of each loc, written beside it: against the store's own labels, and read by who takes marked clusters."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from smlmbatch.export import labelled_field, stored_field
from smlmbatch.simulate.templates import read_templates
from tests.in_process import call

CLUSTERS, LOCS, ALONE = 5, 30, 40


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """A field of five spots in groups of their own and some locs between, clustered by DBSCAN, its groups picked."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(3)
    spots = rng.normal(0, 10, (CLUSTERS, LOCS, 2)) + 3000.0 + 1000.0 * np.arange(CLUSTERS)[:, None, None]
    xy_nm = np.concatenate([spots.reshape(-1, 2), np.column_stack([np.linspace(0, 9000, ALONE), np.full(ALONE, 500.0)])])
    group = np.concatenate([np.repeat(np.arange(CLUSTERS) + 1, LOCS), np.zeros(ALONE, int)])
    (folder / "input").mkdir()
    table = pa.table({"x_nm": xy_nm[:, 0], "y_nm": xy_nm[:, 1], "group": group})
    pyarrow.csv.write_csv(table.take(rng.permutation(len(table))), folder / "input" / "a.csv")
    out = folder / "out"
    options = ["--outline", "field", "--model", "none", "--cluster-method", "dbscan", "--pick", "group"]
    call("run", folder / "input", out, *options)
    return out


@pytest.mark.parametrize("piece_rows", [1 << 18, 7])
def test_labels_are_those_of_the_store(output, tmp_path, monkeypatch, piece_rows):
    for module in (labelled_field, stored_field):
        monkeypatch.setattr(module, "PIECE_ROWS", piece_rows)
    call("export", output, tmp_path, "--format", "parquet", "--what", "locs", "--labels")
    found = pq.read_table(next((tmp_path / "locs").iterdir()))
    cluster, group, particle = (found[name].to_numpy() for name in ("cluster", "group", "particle"))
    assert "belonging" not in found.column_names  # DBSCAN has none
    assert set(cluster.tolist()) == {-1, *range(1, CLUSTERS + 1)}
    assert ((cluster == -1) == (group == 0)).all()
    for own in range(1, CLUSTERS + 1):
        assert len(set(cluster[group == own].tolist())) == 1
    clusters = pq.read_table(output / "tables" / "clusters.parquet")
    sizes = dict(zip(clusters["cluster"].to_pylist(), clusters["n_locs"].to_pylist(), strict=True))
    assert {number - 1: int((cluster == number).sum()) for number in range(1, CLUSTERS + 1)} == sizes
    particles = pq.read_table(output / "tables" / "particles.parquet")
    for row in particles.to_pylist():
        assert (particle[group == row["group"]] == row["particle"]).all()


def test_the_file_serves_as_marked_clusters(output, tmp_path):
    call("export", output, tmp_path, "--what", "locs", "--labels")
    templates = read_templates(next((tmp_path / "locs").iterdir()))
    assert sorted(templates.size.tolist()) == [LOCS] * CLUSTERS
    assert len(templates.whole) == 1


def test_without_the_option_nothing_is_added(output, tmp_path):
    call("export", output, tmp_path, "--what", "locs")
    assert pyarrow.csv.read_csv(next((tmp_path / "locs").iterdir())).column_names == ["x_nm", "y_nm", "channel", "group", "row"]


@pytest.mark.parametrize("options", [["--format", "picasso"], ["--what", "rois"], ["--where", "n_locs > 3"]])
def test_formats_without_such_columns_are_refused(output, tmp_path, options):
    assert "--labels" in call("export", output, tmp_path / "t", "--labels", *options, expect=2)[1]


def test_a_loc_of_two_particles_has_the_first(tmp_path, monkeypatch):
    class Unit:
        def __init__(self, path):
            self.arrays = {"start": np.array([0, 3, 5]), "loc": np.array([0, 2, 3, 3, 4])}

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def read(self, name):
            return self.arrays[name]

    monkeypatch.setattr(labelled_field, "UnitReader", Unit)
    assert labelled_field._particles({"pick": tmp_path}, 6)["particle"].tolist() == [0, -1, 0, 0, 1, -1]
