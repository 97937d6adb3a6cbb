"""Particles about centres that somebody picked: the locs up to a radius from each, in space where it says z, else as seen from above.

Centres are found again, of the locs that are the structure's and not its surroundings' (`pick.core`), unless those given are to be kept.
"""

import numpy as np

from smlmbatch.config import PickConfig
from smlmbatch.pick.core import cores_of
from smlmbatch.pick.gather import gather_within
from smlmbatch.pick.given import read_picks
from smlmbatch.pick.kept import kept_bytes
from smlmbatch.pick.picks import Picks, sift
from smlmbatch.pick.placing import place_picks
from smlmbatch.work import Work


def picks_of_file(work: Work, config: PickConfig) -> Picks:
    """What lies about the file's centres in this field.

    Raises
    ------
    InputError
        the campaign's copy of the file is not there, or its centres can't be of this field
    """
    ingest = work.upstream["ingest"]
    given = read_picks(config.picks, kept_bytes(config, work.picks), radius_nm=config.radius_nm)
    pixel_nm = work.field.pixel_size_nm or work.config.ingest.pixel_size_nm
    placed = place_picks(given, work.field, ingest.attrs, radius_nm=config.radius_nm, pixel_size_nm=pixel_nm)
    own = gather_within(ingest, placed.centre_nm, placed.radius_nm, placed.channel)
    n_locs = np.bincount(own.particle, minlength=len(placed.row)).astype(np.int64)
    sifted = sift(own, placed.channel, n_locs, config, centre_nm=placed.centre_nm)
    kept = sifted.kept
    own = own.only(kept)
    facts = {"n_picks": len(kept) + sum(placed.left_out.values()), "outsized": sifted.outsized}
    dropped = {**placed.left_out, **sifted.dropped}
    if config.centre == "given":
        return Picks(placed.channel[kept], own, own, dropped, facts, {"pick": placed.row[kept]}, given_nm=placed.centre_nm[kept])
    core = cores_of(own, placed.radius_nm[kept], axes=placed.centre_nm.shape[1])
    return Picks(placed.channel[kept], own, own, dropped, facts, {"pick": placed.row[kept]}, core=core)
