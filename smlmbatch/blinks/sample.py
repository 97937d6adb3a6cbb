"""A bounded sample of a field's locs for NeNA, gathered while the file streams by in any order.

NeNA looks from frame to frame, so the sample holds whole stretches of frames. There is a ladder of rules, each of which keeps a
part of what the one before kept: every interval of 1000 frames, every second, every fourth ... and then shorter and shorter
pieces of the first. Whenever more is held than allowed, the next rule is taken. So the sample is that of the first rule which
keeps few enough: it depends on the locs alone, not on their order.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.blinks.nena import MAX_LOCS, REACH_NM, Nena, far_lag, far_looks_nm, nena_nm, nena_of_distances
from smlmbatch.blinks.pairs import sort_by_frame

_INTERVAL_FRAMES: Final = 1000
_LAST_FRAME_BITS: Final = 31
_RULES: Final = tuple(
    [(1 << k, _INTERVAL_FRAMES) for k in range(_LAST_FRAME_BITS - 8)]  # intervals kept, frames of each
    + [(1 << (_LAST_FRAME_BITS - 9), _INTERVAL_FRAMES >> k) for k in range(1, 7)]
)
_COLUMNS: Final = {"x_nm": np.float64, "y_nm": np.float64, "frame": np.int32, "channel": np.uint8}


class FrameSample:
    """Collects x_nm, y_nm, frame and channel of some frames, of up to `limit` locs."""

    def __init__(self, *, limit: int = MAX_LOCS) -> None:
        self._limit, self._rule, self._held = limit, 0, 0
        self._pieces: list[dict[str, NDArray[Any]]] = []

    def add(self, batch: dict[str, NDArray[Any]]) -> None:
        """Look at a batch of locs with frames; without a channel they are all of channel 0."""
        self._keep({"channel": np.zeros(len(batch["frame"]), np.uint8)} | {name: batch[name] for name in _COLUMNS if name in batch})
        while self._held > self._limit and self._rule < len(_RULES) - 1:
            self._rule += 1
            pieces, self._pieces, self._held = self._pieces, [], 0
            for piece in pieces:
                self._keep(piece)

    def _keep(self, piece: dict[str, NDArray[Any]]) -> None:
        step, n_frames = _RULES[self._rule]
        kept = (piece["frame"] // _INTERVAL_FRAMES % step == 0) & (piece["frame"] % _INTERVAL_FRAMES < n_frames)
        self._pieces.append({name: values[kept] for name, values in piece.items()})
        self._held += len(self._pieces[-1]["frame"])

    def columns(self) -> dict[str, NDArray[Any]]:
        """The sample: x_nm, y_nm (n,) f8 nm, frame i4, channel as it came, u1."""
        return {
            name: np.concatenate([np.empty(0, dtype=kind), *(piece[name] for piece in self._pieces)]).astype(kind, copy=False)
            for name, kind in _COLUMNS.items()
        }

    def nena(self, codes: NDArray[np.integer]) -> Nena:
        """NeNA precision of the locs whose channel is one of `codes`.

        Of a sample, frames far away are looked for within the stretch of frames that a loc lies in.
        """
        columns = self.columns()
        chosen = np.isin(columns["channel"], codes)
        x_nm, y_nm, frame = (columns[name][chosen] for name in ("x_nm", "y_nm", "frame"))
        if self._rule == 0 or not len(frame):
            return nena_nm(x_nm, y_nm, frame)
        first, last = int(frame.min()) // _INTERVAL_FRAMES * _INTERVAL_FRAMES, int(frame.max())
        lag = far_lag(min(last - first + 1, _INTERVAL_FRAMES))
        if not lag:
            return nena_nm(x_nm, y_nm, frame)
        locs = sort_by_frame(x_nm, y_nm, frame)
        far = far_looks_nm(locs, lag=lag, recording=(first, last), interval=_INTERVAL_FRAMES)
        return nena_of_distances(locs.nearest_nm(1, reach_nm=REACH_NM), far)
