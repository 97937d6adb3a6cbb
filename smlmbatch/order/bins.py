"""The unit `register`: the particles of one bin of one direction, registered to each other into a super-particle.

Of a full bin so many are drawn as `[order] most_registered` says, by a key of direction and bin; the draw is the same whoever makes it.
Particles are in the unit `order`, so nothing else is read.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.config import OrderConfig
from smlmbatch.registration.agreement import judge_agreement
from smlmbatch.registration.fitting import RegisterConfig
from smlmbatch.registration.joint import register
from smlmbatch.store.arrays import UnitReader, UnitWriter

_DRAWN: Final = 0x0B14  # first number of the key of what is drawn of a bin


def register_bin(order: UnitReader, out: UnitWriter, *, direction: int, number: int, config: OrderConfig) -> int:
    """Make the unit; returns how many locs were registered.

    Parameters
    ----------
    order : the published unit `order`
    out : where it is written
    direction, number : which direction, which bin
    """
    members = np.flatnonzero(order.read("bin")[:, direction] == number)
    chosen = draw_members(members, most=config.most_registered, key=(config.seed, direction, number))
    start, points_nm, precision_nm = points_of(order, chosen)
    turns = RegisterConfig(turns="space" if config.turns == "space" else "plane")
    registered = register(start, points_nm, config=turns, precision_nm=precision_nm)
    agreement = judge_agreement(start, points_nm, registered, config=turns)
    arrays: dict[str, NDArray[Any]] = {"particle": chosen, "rotation": registered.rotation, "shift_nm": registered.shift_nm}
    arrays |= {"fit": agreement.fit, "score": agreement.score, "poor": agreement.poor}
    mixture = registered.mixture
    arrays |= {"centre_nm": mixture.centre_nm, "variance_nm2": mixture.variance_nm2, "share": mixture.share}
    for name, values in arrays.items():
        out.write(name, values)
    sd_deg = agreement.rotation_sd_deg
    out.attrs |= {
        "direction": order.attrs["directions"][direction],
        "bin": number,
        "n_members": len(members),
        "background": mixture.background,
        "reach_nm": mixture.reach_nm,
        "least_sd_nm": registered.least_sd_nm,
        "in_plane": registered.in_plane,
        "gain_z": float(agreement.gain_z),
        "failed": bool(agreement.failed),
        "rotation_sd_deg": float(sd_deg) if np.isfinite(sd_deg) else None,
        "nats_per_loc": float(np.mean(registered.log_likelihood)),
    }
    return len(points_nm)


def draw_members(members: NDArray[np.int64], *, most: int, key: tuple[int, ...]) -> NDArray[np.int64]:
    """Up to `most` of them, at random by the key, in their order."""
    if len(members) <= most:
        return members
    rng = np.random.default_rng(np.random.SeedSequence(key[0], spawn_key=(_DRAWN, *key[1:])))
    return np.sort(rng.permutation(members)[:most])


def points_of(order: UnitReader, particles: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32] | None]:
    """(first point of each and one more, points, their precision where known) of some particles."""
    start = order.read("start")
    sizes = np.diff(start)[particles]
    end = np.cumsum(sizes)
    row = np.arange(end[-1]) + np.repeat(start[:-1][particles] - end + sizes, sizes)
    precision = order.read("precision_nm")[row] if order.has("precision_nm") else None
    return np.concatenate([np.zeros(1, np.int64), end]), order.read("point_nm")[row], precision
