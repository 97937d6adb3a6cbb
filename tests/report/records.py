"""Comparisons and checks made by hand."""

import math

from smlmbatch.analyse.results import Comparison, EmbeddingDistance, QualityCheck

NAN = math.nan
NAMES = ("density_per_um2", "n_clusters", "cluster_area_nm2", "nn_mean_nm")


def comparison(descriptor="density_per_um2", **change):
    """A difference that was shown, 4 against 4 replicates, in a family of 4 tests."""
    values = {
        "channel": 0,
        "descriptor": descriptor,
        "reference": "ctrl",
        "condition": "EGF",
        "paired": "",
        "n_replicates_reference": 4,
        "n_replicates": 4,
        "n_pairs": 0,
        "n_rois_reference": 80,
        "n_rois": 90,
        "mean_reference": 40.0,
        "mean": 60.0,
        "difference": 20.0,
        "difference_low": 15.0,
        "difference_high": 25.0,
        "ratio": 1.5,
        "ratio_low": 1.31,
        "ratio_high": 1.72,
        "hedges_g": 5.0,
        "hedges_g_low": 2.0,
        "hedges_g_high": 9.0,
        "p": 0.0005,
        "p_family": 0.002,
        "p_rank": 0.0286,
        "p_rank_family": 0.114,
        "p_rank_smallest": 0.0286,
        "p_roi": 1e-9,
        "p_roi_family": 4e-9,
        "n_family": 4,
        "verdict": "differs",
    }
    return Comparison(**values | change)


def unclear(descriptor="nn_mean_nm", **change):
    """No difference shown."""
    less = {"ratio": 0.98, "ratio_low": 0.9, "ratio_high": 1.07, "hedges_g": -0.2, "p": 0.31, "p_family": 1.0}
    return comparison(descriptor, **{**less, "verdict": "no difference shown", **change})


def untested(descriptor="density_per_um2", **change):
    """One replicate a condition."""
    unknown = dict.fromkeys(
        ("difference_low", "difference_high", "ratio_low", "ratio_high", "hedges_g", "hedges_g_low", "hedges_g_high", "p", "p_family"), NAN
    )
    unknown |= dict.fromkeys(("p_rank", "p_rank_family", "p_rank_smallest"), NAN)
    counts = {"n_replicates": 1, "n_replicates_reference": 1, "n_family": 0}
    return comparison(descriptor, **{**unknown, **counts, "verdict": "too few replicates", **change})


def check(key="a-1", light="green", name="drift_nm", **change):
    values = {
        "key": key,
        "field": f"{key}.csv",
        "check": name,
        "channel": 0,
        "value": 20.0,
        "unit": "nm",
        "amber": 15.0,
        "red": 40.0,
        "light": light,
        "text": f"{name} of {key} is told.",
    }
    return QualityCheck(**values | change)


def row(key="a-1", light="green", **change):
    values = {
        "key": key,
        "field": f"{key}.csv",
        "status": "ok",
        "light": light,
        "conditions": ("ctrl",),
        "replicate": "r1",
        "n_rois": 10,
        "n_rois_kept": 8,
        "n": 500,
        "n_cells": 1,
        "outline_source": "found",
    }
    return values | change


def distance(**change):
    values = {"channel": 0, "condition": "ctrl", "other": "EGF", "distance": 4.0, "low": 3.0, "high": 5.0, "spread": 1.0, "within": 3.5}
    return EmbeddingDistance(**values | change)
