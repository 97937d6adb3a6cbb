"""Units of the stage `cluster` for made-up campaigns: DBSCAN of the locs, written as the store's schema says."""

from dataclasses import asdict, replace

import numpy as np
from scipy.spatial import cKDTree

from smlmbatch.clustering.clusters import describe_clusters
from smlmbatch.clustering.dbscan import dbscan_labels
from smlmbatch.clustering.molecules import fit_geometric
from smlmbatch.store.arrays import UnitReader, unit_writer

SHAPES = ["blob", "rod"]


def with_clusters(campaign, *, method="miro", fields=None, **look):
    """The campaign with a unit `cluster` in each of its fields, or in the first `fields`."""
    results = []
    for i, result in enumerate(campaign.fields):
        if result.units and (fields is None or i < fields):
            path = result.units["ingest"].with_name("cluster-0.zarr.zip")
            write_clusters(path, result.units, method=method, **look)
            result = replace(result, units={**result.units, "cluster": path})
        results.append(result)
    return replace(campaign, fields=tuple(results))


def write_clusters(path, units, *, method="miro", calibration=0.0, why_none="", warnings=(), told=True, nothing=False):
    """One unit; clusters by DBSCAN, contracted places half way to the centre, `told` shapes by turns."""
    with UnitReader(units["ingest"]) as ingest, UnitReader(units["tile"]) as tile:
        x_nm, y_nm, channel = (ingest.read(name) for name in ("x_nm", "y_nm", "channel"))
        channels = [int(c) for c in ingest.attrs["channels"]]
        label, of_channel = _labels(x_nm, y_nm, channel, channels if not (nothing or why_none) else [])
        roi_of, counts = _rois(tile, x_nm, y_nm, channel, channels, label)
        found = describe_clusters(x_nm, y_nm, label)
        n = len(of_channel)
        columns = {
            "cluster_channel": of_channel,
            "n_locs": found.n_locs,
            "x_nm": found.x_nm,
            "y_nm": found.y_nm,
            "z_nm": np.full(n, np.nan),
            "radius_of_gyration_nm": found.radius_nm,
            "area_nm2": np.where(found.area_nm2 > 0, found.area_nm2, np.nan),
            "eccentricity": found.eccentricity,
            "shape": np.arange(n) % 2 if told and method == "miro" else np.full(n, 255),
            "shape_share": np.full(n, 0.9 if told and method == "miro" else np.nan),
            "belonging_mean": np.full(n, 0.8 if method == "miro" else np.nan),
            "parent": np.full(n, -1),
            "n_children": np.zeros(n),
            "nearest_nm": _nearest(found.x_nm, found.y_nm, of_channel),
            "n_molecules": found.n_locs / calibration if calibration else np.full(n, np.nan),
            "roi": roi_of(found.x_nm, found.y_nm),
        }
        attrs = {
            "method": method,
            "model": "miro" if method == "miro" else "",
            "model_sha256": "ab" * 32 if method == "miro" else "",
            "why_none": why_none,
            "channels": channels if not why_none else [],
            "shapes": SHAPES if method == "miro" and told else [],
            "n_clustered": [int(((label >= 0) & (channel == c)).sum()) for c in channels] if not why_none else [],
            "with_parents": False,
            "warnings": list(warnings),
            "locs_per_spot": [_fit(found.n_locs[of_channel == c]) for c in channels] if not why_none else [],
        }
    with unit_writer(path, "cluster") as out:
        out.write("label", label)
        if method == "miro" and not why_none:
            centre = np.column_stack([found.x_nm, found.y_nm])
            for axis, own_nm in enumerate((x_nm, y_nm)):
                moved = own_nm.copy()
                moved[label >= 0] = (own_nm[label >= 0] + centre[label[label >= 0], axis]) / 2
                out.write(f"contracted_{'xy'[axis]}_nm", moved)
            out.write("belonging", np.where(label >= 0, 0.8, 0.1))
        for name, values in columns.items():
            out.write(name, values)
        out.write("roi_n_clustered", counts)
        out.attrs = attrs


def _labels(x_nm, y_nm, channel, channels):
    label, of_channel, n = np.full(len(x_nm), -1, dtype=np.int32), [], 0
    for c in channels:
        own = np.flatnonzero(channel == c)
        found = dbscan_labels(x_nm[own], y_nm[own], eps_nm=40.0, min_locs=5) if len(own) else np.zeros(0, int)
        label[own] = np.where(found < 0, -1, found + n)
        of_channel += [c] * (int(found.max(initial=-1)) + 1)
        n = len(of_channel)
    return label, np.array(of_channel, dtype=np.uint8)


def _rois(tile, x_nm, y_nm, channel, channels, label):
    corners, side = tile.read("roi_origin_nm"), tile.attrs["roi_nm"]
    kept = np.flatnonzero(tile.read("roi_kept"))

    def roi_of(cx_nm, cy_nm):
        found = np.full(len(cx_nm), -1)
        for roi in kept:
            inside = (cx_nm >= corners[roi, 0]) & (cx_nm < corners[roi, 0] + side)
            inside &= (cy_nm >= corners[roi, 1]) & (cy_nm < corners[roi, 1] + side)
            found[inside] = roi
        return found

    counts = np.zeros((len(corners), len(channels)), dtype=np.int64)
    for roi, corner in enumerate(corners):
        inside = (x_nm >= corner[0]) & (x_nm < corner[0] + side) & (y_nm >= corner[1]) & (y_nm < corner[1] + side) & (label >= 0)
        counts[roi] = [(channel[inside] == c).sum() for c in channels]
    return roi_of, counts


def _nearest(x_nm, y_nm, of_channel):
    found = np.full(len(x_nm), np.nan)
    for c in np.unique(of_channel):
        own = np.flatnonzero(of_channel == c)
        points = np.column_stack([x_nm[own], y_nm[own]])
        if len(own) > 1:
            found[own] = cKDTree(points).query(points, k=2)[0][:, 1]
    return found


def _fit(n_locs):
    fit = fit_geometric(n_locs)
    return None if fit is None else asdict(fit)
