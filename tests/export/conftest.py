"""A field in the store, made of the columns a test wants, and a campaign of such fields."""

import numpy as np
import pytest

from smlmbatch.config import Config, override
from smlmbatch.ingest.stage import run
from smlmbatch.samples import Field, field_of_row
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.work import Campaign, FieldResult, Work

EVERY_LOC = override(Config(), {"prepare": {"max_precision_nm": 0.0}})  # other programs drop none


def ingested(source, folder, **row):
    """A localisation file as a unit of the store; returns the unit's path. `row`: columns of a sample sheet."""
    field = field_of_row({name: str(value) for name, value in row.items()}, path=source.name, format_name="")
    folder.mkdir(parents=True, exist_ok=True)
    unit = folder / "unit.zarr.zip"
    with unit_writer(unit, "ingest") as out:
        run(Work(field=field, source=source, outline=None, config=EVERY_LOC, upstream={}, out=out, scratch=folder, memory_bytes=2 << 30))
    return unit


def columns_of(unit_path):
    """Columns and attributes of a unit, in the store's order, positions absolute in float64."""
    with UnitReader(unit_path) as unit:
        columns = {name: unit.read(name) for name in unit.names() if name != "tile_start"}
        attrs = dict(unit.attrs)
    for name, origin_nm in zip(("x_nm", "y_nm"), attrs["origin_nm"], strict=True):
        columns[name] = columns[name].astype(np.float64) + origin_nm
    return columns, attrs


def campaign_of(output, *units):
    """A campaign whose fields are these units."""
    fields = [
        FieldResult(field=Field(path=f"{i}.csv", name=f"{i}", condition="c", replicate="1"), units={"ingest": unit})
        for i, unit in enumerate(units)
    ]
    return Campaign(output=output, config=Config(), fields=tuple(fields))


@pytest.fixture
def stored(tmp_path):
    """Make a unit of `n` locs with the given quantities, in random order of position, frames ascending from `first_frame`."""

    def make(quantities, *, n=500, channels=1, first_frame=0, corner_nm=(300.0, 900.0), nan_precision=False, name="field"):
        rng = np.random.default_rng(np.random.SeedSequence(n, spawn_key=(channels, first_frame)))
        values = {
            "x_nm": corner_nm[0] + rng.uniform(0, 8000, n),
            "y_nm": corner_nm[1] + rng.uniform(0, 12_000, n),
            "z_nm": rng.normal(0, 300, n),
            "frame": first_frame + np.sort(rng.integers(0, 4000, n)),
            "photons": 200 + rng.exponential(1000, n),
            "precision_nm": rng.uniform(3, 30, n),
            "precision_z_nm": rng.uniform(10, 60, n),
            "background": rng.gamma(4, 30, n),
            "psf_nm": rng.normal(130, 10, n),
            "channel": np.arange(n) % channels,
            "group": rng.integers(0, 40, n),
        }
        if nan_precision:
            values["precision_nm"][::7] = 0.0
        names = [name for name in values if name in ("x_nm", "y_nm", *quantities)]
        rows = (",".join(repr(values[name][i].item()) for name in names) for i in range(n))
        source = tmp_path / f"{name}.csv"
        source.write_text("\n".join([",".join(names), *rows]) + "\n")
        return ingested(source, tmp_path / name)

    return make
