"""Stage measure: one row of descriptors per kept ROI and channel of a field, ROI-major.

A channel without locs in an ROI is a row too (a region where a protein is missing is a result). A field without a
kept ROI gives a unit without rows. Memory is that of one band of tiles plus one ROI's locs, whatever the field's size.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from smlmbatch.config import MeasureConfig
from smlmbatch.errors import ConfigError
from smlmbatch.locs import Rois
from smlmbatch.measure.descriptors import Descriptors, describe
from smlmbatch.measure.ripley import ripley_radii_nm
from smlmbatch.store.arrays import UnitReader, UnitWriter
from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.store.schema import SCHEMA
from smlmbatch.work import Work


def run(work: Work) -> None:
    """Measure every kept ROI of the field, channel by channel.

    Raises
    ------
    ConfigError
        radii of Ripley's K that the regions can't give
    """
    config, tile = work.config.measure, work.upstream["tile"]
    rois, coverage = _read_rois(tile)
    channels = [int(channel) for channel in tile.attrs["channels"]]
    radii_nm = _radii_nm(config, rois.side_nm)
    locs = FieldLocs(work.upstream["ingest"], columns=("x_nm", "y_nm", "channel"))
    keys: list[tuple[int, int]] = []
    rows: list[Descriptors] = []
    for roi in np.flatnonzero(rois.kept).tolist():
        x0_nm, y0_nm = rois.origin_nm[roi].tolist()
        inside = locs.rectangle(x0_nm, y0_nm, x0_nm + rois.side_nm, y0_nm + rois.side_nm)
        for channel in channels:
            chosen = inside.channel == channel
            row = describe(
                inside.x_nm[chosen],
                inside.y_nm[chosen],
                config=config,
                side_nm=rois.side_nm,
                coverage=float(coverage[roi]),
                radii_nm=radii_nm,
                field_key=work.field.key,
                roi=roi,
                channel=channel,
            )
            keys.append((roi, channel))
            rows.append(row)
    _write(work.out, keys, rows, radii_nm)
    work.out.attrs |= {
        "edge_correction": "translation",
        "settings": dataclasses.asdict(config),
        "units": {name: spec.unit for name, spec in SCHEMA["measure"].items()},
    }


def _read_rois(tile: UnitReader) -> tuple[Rois, NDArray[np.float64]]:
    """The field's regions and the share of each inside its cell."""
    rois = Rois(tile.read("roi_origin_nm"), float(tile.attrs["roi_nm"]), tile.read("roi_kept").astype(bool))
    return rois, tile.read("roi_coverage")


def _radii_nm(config: MeasureConfig, side_nm: float) -> NDArray[np.float64]:
    largest_nm = config.ripley_max_nm or side_nm / 4
    if largest_nm >= side_nm:
        raise ConfigError(f"measure.ripley_max_nm = {largest_nm:g}: wanted a radius below the regions' side ({side_nm:g} nm)")
    radii_nm = ripley_radii_nm(step_nm=config.ripley_step_nm, max_nm=largest_nm)
    if not len(radii_nm):
        raise ConfigError(f"measure.ripley_step_nm = {config.ripley_step_nm:g}: wanted at most the largest radius ({largest_nm:g} nm)")
    return radii_nm


def _write(out: UnitWriter, keys: list[tuple[int, int]], rows: list[Descriptors], radii_nm: NDArray[np.float64]) -> None:
    roi, channel = np.array(keys, dtype=np.int64).reshape(-1, 2).T
    out.write("roi", roi)
    out.write("channel", channel)
    out.write("radius_nm", radii_nm)
    for column in dataclasses.fields(Descriptors):
        shape = (len(rows), len(radii_nm)) if column.name == "ripley_k_nm2" else (len(rows),)
        out.write(column.name, np.array([getattr(row, column.name) for row in rows]).reshape(shape))
