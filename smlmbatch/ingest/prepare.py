"""The filters of `[prepare]`: which locs of a file enter the store.

A filter judges a loc by one quantity, in the units of the store (photons in the source's own). A loc without that quantity
stays, since nothing is known against it; where no loc of the file has it, the filter could not be applied, and that is said.
A limit is inclusive: a precision of exactly the largest one stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.config import PrepareConfig
from smlmbatch.errors import InputError

if TYPE_CHECKING:  # which imports this module
    from smlmbatch.ingest.clean import Tally
    from smlmbatch.ingest.source import Source


@dataclass(frozen=True, slots=True)
class LocFilter:
    """Drops what lies above (or below) a limit.

    Attributes
    ----------
    setting : its name in [prepare]
    quantity : what it judges
    reason : what the locs it drops are counted under
    """

    setting: str
    quantity: str
    reason: str
    limit: float
    above: bool

    def drops(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """(n,) → (n,) bool; False for NaN. The limit is rounded as the values are, so that 12.3 in a file is not above 12.3."""
        dropped: NDArray[np.bool_] = values > self.limit if self.above else values < self.limit
        return dropped


# setting, quantity, what is above or below, unit
_FILTERS: Final = (
    ("max_precision_nm", "precision_nm", "precision above", " nm"),
    ("min_photons", "photons", "photons below", ""),
    ("max_photons", "photons", "photons above", ""),
    ("min_psf_nm", "psf_nm", "PSF width below", " nm"),
    ("max_psf_nm", "psf_nm", "PSF width above", " nm"),
    ("first_frame", "frame", "frame before", ""),
    ("last_frame", "frame", "frame after", ""),
)
_COLUMN: Final = {"precision_nm": "precision", "photons": "photons", "psf_nm": "PSF width", "frame": "frame"}
_OFF: Final = {"last_frame": -1}  # 0 for the others
_DEFAULT: Final = PrepareConfig()


def filters_of(settings: PrepareConfig, *, frame_base: int) -> tuple[LocFilter, ...]:
    """The filters that are on.

    Parameters
    ----------
    frame_base : number of the file's first frame: locs are filtered before frames count from 0
    """
    found = []
    for setting, quantity, words, unit in _FILTERS:
        value = getattr(settings, setting)
        if value != _OFF.get(setting, 0):
            limit = value + frame_base if quantity == "frame" else value
            above = words.endswith(("above", "after"))
            found.append(LocFilter(setting, quantity, f"{words} {_short(value)}{unit}", limit, above))
    return tuple(found)


def _short(value: float) -> str:
    return f"{value:.10g}" if abs(value) < 1e10 else f"{value:g}"


def has_frame_filter(settings: PrepareConfig) -> bool:
    """Whether locs are filtered by frame, for which the file's first frame must be known."""
    return settings.first_frame > 0 or settings.last_frame >= 0


def share_text(filtered: Mapping[str, int], n_locs: int) -> str:
    """`3.1% of the localisations (precision above 30 nm: 312)`.

    >>> share_text({"precision above 30 nm": 312}, 10_000)
    '3.1% of the localisations (precision above 30 nm: 312)'
    """
    reasons = ", ".join(f"{reason}: {n:,}" for reason, n in filtered.items())
    return f"{sum(filtered.values()) / n_locs:.1%} of the localisations ({reasons})"


def check_filtered(source: "Source", tally: "Tally", filters: Sequence[LocFilter]) -> None:
    """After the last batch: filters that could not be applied, or dropped more than half, become warnings.

    That the precision filter, which is on unless switched off, finds no precision is no warning: many formats have none.

    Raises
    ------
    InputError
        nothing is left
    """
    n_locs = tally.n + tally.filtered.total()
    if not tally.n:
        raise _nothing_left(source, tally, filters, n_locs)
    for rule in filters:
        n = tally.filtered[rule.reason]
        if 2 * n > n_locs:
            tally.warnings[f"more than half of the locs dropped by a filter: {rule.reason}"] = n
    for rule in not_applied(tally, filters):
        if getattr(_DEFAULT, rule.setting) != rule.limit:
            tally.warnings[f"no {_COLUMN[rule.quantity]} in the file: filter prepare.{rule.setting} not applied"] = 1


def not_applied(tally: "Tally", filters: Sequence[LocFilter]) -> list[LocFilter]:
    """Filters that are on, but found no loc with their quantity."""
    return [rule for rule in filters if rule.quantity not in tally.judged]


def _nothing_left(source: "Source", tally: "Tally", filters: Sequence[LocFilter], n_locs: int) -> InputError:
    worst = max(filters, key=lambda rule: tally.filtered[rule.reason])
    mend = f"check values and unit of the file's column for {_COLUMN[worst.quantity]}, or change prepare.{worst.setting}"
    finding = f"the filters drop {share_text(dict(tally.filtered.most_common()), n_locs)}"
    return InputError(source.path, finding, "localisations that pass the filters of [prepare]", mend)
