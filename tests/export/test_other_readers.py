"""anndata, ome-zarr-py, ome-zarr-models, ro-crate-py and roc-validator read what we write, and find the same values.

They run in an environment of their own (`$SMLMBATCH_READERS`, else `.venv-readers`); the readers of localisations are in
`tests/ingest/test_oracles.py`.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import zarr

from smlmbatch.analyse.columns import DESCRIPTOR_COLUMNS, DESCRIPTORS
from smlmbatch.analyse.fingerprint import UMAP_KEY
from tests.conftest import smlmbatch
from tests.other_programs import python_with

pytestmark = pytest.mark.slow

PINNED = (
    *("anndata==0.12.19", "ome-zarr==0.18.0", "ome-zarr-models==1.7", "rocrate==0.16.0", "roc-validator==0.13.0"),
    *("annotated-types==0.8.0", "arcp==0.2.1", "array-api-compat==1.16.0", "attrs==26.1.0", "cattrs==26.2.1", "certifi==2026.10.18"),
    *("charset-normalizer==3.5.2", "click==8.5.1", "cloudpickle==3.1.2", "colorlog==6.12.0", "dask==2026.8.0", "Deprecated==1.3.1"),
    *("donfig==0.8.1.post1", "enum-tools==0.12.0", "fsspec==2026.9.0", "google-crc32c==1.9.0", "h5py==3.16.0", "html5rdf==1.2.1"),
    *("idna==3.20", "importlib_metadata==10.2.0", "inquirerpy==0.3.4", "Jinja2==3.1.6", "lazy-importer==0.1.0", "lazy-loader==0.6"),
    *("legacy-api-wrap==1.5", "locket==1.0.0", "markdown-it-py==4.3.0", "MarkupSafe==3.0.4", "mdurl==0.1.2", "natsort==8.4.0"),
    *("networkx==3.6.1", "numcodecs==0.16.6", "numpy==2.4.6", "owlrl==7.6.2", "packaging==26.3", "pandas==2.3.3", "partd==1.4.2"),
    *("pfzy==0.3.4", "pillow==13.0.0", "platformdirs==4.14.7", "prettytable==3.18.0", "prompt_toolkit==3.0.53", "pydantic==2.12.5"),
    *("pydantic-zarr==0.9.2", "pydantic_core==2.41.5", "Pygments==2.21.0", "pyparsing==3.3.3", "pyshacl==0.40.1", "pytz==2026.6"),
    *("python-dateutil==2.9.0.post0", "PyYAML==6.0.3", "rangehttpserver==1.4.0", "rdflib==7.6.0", "requests==2.34.2"),
    *("requests-cache==1.3.3", "rich==13.9.4", "rich-click==1.9.9", "scikit-image==0.26.0", "scipy==1.17.1", "scverse-misc==0.0.3"),
    *("session-info2==0.4.1", "six==1.17.0", "toml==0.10.2", "toolz==1.2.0", "typing-inspection==0.4.5", "typing_extensions==4.16.0"),
    *("tzdata==2026.6", "url-normalize==3.1.0", "urllib3==2.8.0", "wcwidth==0.9.4", "wrapt==2.5.2", "zarr==3.1.6", "zipp==4.1.2"),
)
# What RO-Crate and its profile recommend and nobody said: an author, a publisher, addresses of programs, files on the web.
UNSAID = {"ro-crate-1.1_22.2", "ro-crate-1.1_22.3", "ro-crate-1.1_28.1"}
UNSAID |= {"process-run-crate-0.5_3.2", "process-run-crate-0.5_5.1", "process-run-crate-0.5_8.6"}


@pytest.fixture(scope="session")
def reader_python():
    return python_with(PINNED, variable="SMLMBATCH_READERS", default=".venv-readers")


@pytest.fixture(scope="module")
def output(small_output, tmp_path_factory):
    """A copy of the small campaign's OUTPUT, for crates to be written into."""
    return shutil.copytree(small_output, tmp_path_factory.mktemp("readers") / "out")


@pytest.fixture
def read(reader_python, tmp_path):
    """Run another program's reader; returns what it wrote."""

    def run(reader, path):
        out = tmp_path / ("found.npz" if reader in ("anndata", "ome-zarr") else "found.json")
        home = os.environ | {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [reader_python, Path(__file__).with_name("other_readers.py"), reader, path, out]
        told = subprocess.run(command, capture_output=True, text=True, env=home, timeout=300, check=False)
        assert told.returncode == 0, told.stderr
        if out.suffix == ".json":
            return json.loads(out.read_text())
        with np.load(out, allow_pickle=False) as found:
            return {name: found[name] for name in found}

    return run


def test_anndata(small_output, read, tmp_path):
    smlmbatch("export", small_output, tmp_path, "--format", "h5ad")
    found = read("anndata", tmp_path / "rois.h5ad")
    table = pyarrow.parquet.read_table(small_output / "tables" / "rois.parquet")
    table = table.filter(table["kept"])
    assert found["var_names"].tolist() == list(DESCRIPTORS)
    assert found["var unit"].tolist() == [DESCRIPTOR_COLUMNS[name].unit for name in DESCRIPTORS]
    for i, name in enumerate(DESCRIPTORS):
        assert np.array_equal(found["X"][:, i], [np.nan if v is None else v for v in table[name].to_pylist()], equal_nan=True)
    for name in ("key", "field", "condition", "replicate", "cell"):
        assert found[f"obs {name}"].tolist() == table[name].to_pylist()
    assert found["obs region"].tolist() == ["nan"] * table.num_rows  # null in the table
    assert np.array_equal(found["obs roi"], table["roi"])
    assert np.array_equal(found["obs coverage"], table["coverage"])
    np.testing.assert_allclose(found["spatial"], np.column_stack([table["x_nm"], table["y_nm"]]) / 1000 + 1.5)
    origin = json.loads(str(found["uns"]))
    assert "digest" in origin
    embedded = pyarrow.parquet.read_table(small_output / "tables" / "embeddings.parquet")
    names = [f"{row['key']}/{row['roi']}/{row['channel']}" for row in embedded.select(["key", "roi", "channel"]).to_pylist()]
    place = {name: i for i, name in enumerate(found["index"].tolist())}
    rows = [place[name] for name in names]
    assert rows
    assert np.array_equal(found["X_smlmbatch"][rows], np.array(embedded["embedding"].to_pylist(), dtype=np.float32))
    assert np.isnan(np.delete(found["X_smlmbatch"], rows, axis=0)).all()
    if json.loads(embedded.schema.metadata[UMAP_KEY]):
        assert np.array_equal(found["X_umap"][rows], np.column_stack([embedded["map_x"], embedded["map_y"]]), equal_nan=True)
    else:  # fewer than 60 ROIs
        assert "X_umap" not in found
    for name in ("kmeans", "ward"):
        expected = ["nan" if value is None else str(value) for value in embedded[name].to_pylist()]
        assert found[f"obs {name}"][rows].tolist() == expected
    assert origin["model"] == "contrastive"
    assert len(origin["model_sha256"]) == 64


def test_ome_zarr(small_output, read, tmp_path):
    lines = smlmbatch("export", small_output, tmp_path, "--format", "ome-zarr").stdout.splitlines()
    for path in map(Path, lines[:2]):
        found, group = read("ome-zarr", path), zarr.open_group(path, mode="r")
        image, labels = json.loads(str(found["facts"]))
        (shown,) = group.attrs["ome"]["multiscales"]
        levels = [dataset["path"] for dataset in shown["datasets"]]
        assert len(levels) >= 2
        for level in levels:
            assert np.array_equal(found[f"image {level}"], group[level][:])
            assert np.array_equal(found[f"labels {level}"], group[f"labels/rois/{level}"][:])
        assert found["image 0"].sum() > 0
        assert [axis["name"] for axis in image["axes"]] == ["c", "y", "x"]
        assert [axis.get("unit") for axis in image["axes"]] == [None, "micrometer", "micrometer"]
        assert image["coordinateTransformations"] == [dataset["coordinateTransformations"] for dataset in shown["datasets"]]
        assert image["channel_names"] == [channel["label"] for channel in group.attrs["ome"]["omero"]["channels"]]
        assert [axis["name"] for axis in labels["axes"]] == ["y", "x"]


def test_ro_crate(output, read):
    smlmbatch("crate", output, "--licence", "https://spdx.org/licenses/CC-BY-4.0")
    found = read("rocrate", output)
    record = json.loads((output / "smlmbatch.json").read_text())
    members = json.loads(smlmbatch("verify", output, "--json").stdout)["members"]
    assert found["licence"] == "https://spdx.org/licenses/CC-BY-4.0"
    assert found["instrument"] == ["smlmbatch", record["smlmbatch"]]
    assert {"tables/", "report/", "store/"} <= set(found["results"])
    digests = {value for name, value in found["files"].items() if name.startswith("store/")}
    assert digests == {digest for name, digest in members.items() if not name.startswith("tables/")}
    settings = {name: value for kind, name, _, value in found["objects"] if kind == "PropertyValue"}
    assert settings["tile.roi_nm"] == 3000.0


def test_ro_crate_is_valid(output, read):
    smlmbatch("crate", output, "--licence", "https://spdx.org/licenses/CC-BY-4.0")
    found = read("roc-validator", output)
    assert set(found) == {"ro-crate-1.1", "process-run-crate-0.5"}
    for issues in found.values():
        assert [issue for issue in issues if issue[1] not in UNSAID] == []
        assert {severity for severity, _, _ in issues} == {"RECOMMENDED"}


def test_a_crate_that_is_wrong_is_found_out(output, read, tmp_path):
    """The validator, with contexts of ours, does look."""
    smlmbatch("crate", output)
    for name in ("config.toml", "samples.csv"):
        (tmp_path / name).write_bytes((output / name).read_bytes())
    crate = json.loads((output / "ro-crate-metadata.json").read_text())
    crate["@graph"] = [{k: v for k, v in entity.items() if k != "datePublished"} for entity in crate["@graph"]]
    (tmp_path / "ro-crate-metadata.json").write_text(json.dumps(crate))
    required = {text for severity, _, text in read("roc-validator", tmp_path)["ro-crate-1.1"] if severity == "REQUIRED"}
    assert any("datePublished" in text for text in required)
