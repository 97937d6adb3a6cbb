"""Ingest one file without the engine, and files to do it with."""

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

from smlmbatch.config import Config, override
from smlmbatch.ingest.stage import run
from smlmbatch.samples import Field, field_of_row
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.work import Work


@dataclass
class Ingested:
    """A unit read back: arrays by name, attributes, digest."""

    arrays: dict
    attrs: dict
    digest: str

    def __getattr__(self, name):
        return self.arrays[name]

    def by_row(self):
        """The arrays in the source's own order, positions absolute in float64."""
        order = np.argsort(self.arrays["row"])
        out = {name: values[order] for name, values in self.arrays.items() if name != "tile_start"}
        for name, origin in zip(("x_nm", "y_nm"), self.attrs["origin_nm"], strict=True):
            out[name] = out[name].astype(np.float64) + origin
        return out


def ingest_file(path, folder, *, memory_bytes=2 << 30, config=None, prepare=None, **row):
    """Run the stage on `path`, without a filter unless `prepare` says so; `row` are columns of a sample sheet."""
    field: Field = field_of_row({name: str(value) for name, value in row.items()}, path=path.name, format_name="")
    folder.mkdir(parents=True, exist_ok=True)
    unit = folder / "unit.zarr.zip"
    unit.unlink(missing_ok=True)
    settings = override(Config(), {"ingest": config or {}, "prepare": {"max_precision_nm": 0.0} | (prepare or {})})
    with unit_writer(unit, "ingest") as out:
        run(Work(field=field, source=path, outline=None, config=settings, upstream={}, out=out, scratch=folder, memory_bytes=memory_bytes))
    with UnitReader(unit) as reader:
        assert sorted(p.name for p in folder.iterdir() if p.suffix == ".bin") == []
        return Ingested({name: reader.read(name) for name in reader.names()}, json.loads(json.dumps(dict(reader.attrs))), reader.digest)


@pytest.fixture
def ingest(tmp_path):
    return lambda path, **options: ingest_file(path, tmp_path / "work", **options)


@pytest.fixture
def write(tmp_path):
    """Write text or bytes to a file of the test's folder."""

    def put(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return put


@pytest.fixture
def picasso(tmp_path):
    """Write a Picasso file and, unless `yaml` is None, its sidecar."""

    def put(records, yaml="Pixelsize: 117\n", name="field_locs"):
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            file["locs"] = records
        if yaml is not None:
            (tmp_path / f"{name}.yaml").write_text(yaml)
        return Path(tmp_path / f"{name}.hdf5")

    return put


@pytest.fixture
def smap(tmp_path):
    """Write a SMAP file (MATLAB 7.3: HDF5 behind a 512-byte block), columns 1 x N; an empty one as MATLAB stores it."""

    def put(empty=(), **columns):
        path = tmp_path / "field_sml.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, values in columns.items():
                file[f"saveloc/loc/{name}"] = np.asarray(values, dtype=np.float64)[None]
            for name in empty:
                file[f"saveloc/loc/{name}"] = np.array([0, 0], dtype=np.uint64)
                file[f"saveloc/loc/{name}"].attrs["MATLAB_empty"] = 1
        with path.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
        return path

    return put
