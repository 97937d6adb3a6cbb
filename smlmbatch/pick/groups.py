"""Particles that the localisation file brings along: its own groups, such as Picasso's picked localisations or MATLAB's cells of particles.

A group is a particle of each channel that it has locs of. What a group is, the program knows that wrote it: a pick, a trace (MINFLUX),
blinks of one molecule (SMAP); the unit's attribute `group_column` says which column it was.
"""

from typing import Final

import numpy as np

from smlmbatch.config import PickConfig
from smlmbatch.errors import InputError
from smlmbatch.pick.core import cores_of, reach_nm
from smlmbatch.pick.gather import Ints, Labels, axes_of, gather_around, gather_own
from smlmbatch.pick.picks import LEAST_LOCS, Picks, sift
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Work

_PIECE_ROWS: Final = 1 << 20
_GROUPS: Final = 1 << 32  # a channel and a group are one number: groups are 32 bits wide


def picks_of_groups(work: Work, config: PickConfig) -> Picks:
    """Each group of the field.

    Raises
    ------
    InputError
        the file has no groups
    """
    ingest = work.upstream["ingest"]
    if not ingest.has("group"):
        want = 'localisations that say which particle they are of, as pick.source = "group"'
        mend = "export picked localisations (of Picasso: Save picked localizations), name the column by a map, or pick from clusters"
        raise InputError(work.field.path, "has no groups", want, mend)
    code, n_locs, n_none = _known_groups(ingest, no_group=config.no_group)
    channel, group = (code // _GROUPS).astype(np.uint8), (code % _GROUPS + np.iinfo(np.int32).min).astype(np.int32)
    labels = _labels_of(ingest, code, no_group=config.no_group)
    own = gather_own(ingest, labels, np.where(n_locs >= LEAST_LOCS, np.arange(len(code)), -1))
    sifted = sift(own, channel, n_locs, config)
    own, channel = own.only(sifted.kept), channel[sifted.kept]
    points = gather_around(ingest, labels, own, channel, margin_nm=config.margin_nm) if config.margin_nm else own
    facts = {"n_groups": len(code), "n_in_no_group": n_none, "group_column": ingest.attrs["columns"].get("group", "")}
    facts |= {"outsized": sifted.outsized}
    core = cores_of(own, reach_nm(own, len(channel)), axes=axes_of(ingest))
    return Picks(channel, own, points, sifted.dropped, facts, {"group": group[sifted.kept]}, core=core)


def _codes(ingest: UnitReader, start: int, stop: int, *, no_group: int) -> Ints:
    """Channel and group of each loc as one number, -1 = in no group; ascending by channel, then group."""
    group = ingest.read("group", start, stop).astype(np.int64)
    code = ingest.read("channel", start, stop).astype(np.int64) * _GROUPS + (group - np.iinfo(np.int32).min)
    return np.where(group == no_group, -1, code)


def _known_groups(ingest: UnitReader, *, no_group: int) -> tuple[Ints, Ints, int]:
    """(codes, ascending; locs of each; locs in no group)."""
    code, n_locs = np.empty(0, np.int64), np.empty(0, np.int64)
    for start in range(0, ingest.length("group"), _PIECE_ROWS):
        more, times = np.unique(_codes(ingest, start, start + _PIECE_ROWS, no_group=no_group), return_counts=True)
        both, place = np.unique(np.concatenate([code, more]), return_inverse=True)
        code, n_locs = both, np.bincount(place, weights=np.concatenate([n_locs, times])).astype(np.int64)
    none = code < 0
    return code[~none], n_locs[~none], int(n_locs[none].sum())


def _labels_of(ingest: UnitReader, code: Ints, *, no_group: int) -> Labels:
    def labels(start: int, stop: int) -> Ints:
        own = _codes(ingest, start, stop, no_group=no_group)
        return np.where(own < 0, -1, np.searchsorted(code, own))

    return labels
