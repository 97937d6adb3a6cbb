"""Named values of a field, channel by channel, each a number or the reason why there is none."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Found:
    """A number; or NaN, and why."""

    value: float = np.nan
    reason: str = ""


class Values:
    """Gathers values channel after channel.

    Attributes
    ----------
    numbers : name to one number per channel, None where there is none
    """

    def __init__(self, channels: list[int]) -> None:
        self._channels = channels
        self.numbers: dict[str, list[float | None]] = {}
        self._reasons: dict[str, list[str]] = {}

    def add(self, found: dict[str, Found]) -> None:
        """Values of the next channel that has none of these names yet."""
        for name, one in found.items():
            known = bool(np.isfinite(one.value))
            self.numbers.setdefault(name, []).append(float(one.value) if known else None)
            self._reasons.setdefault(name, []).append("" if known else one.reason)

    def last(self, name: str) -> float:
        """The value added last under a name; NaN where there is none."""
        value = self.numbers[name][-1]
        return np.nan if value is None else value

    @property
    def notes(self) -> dict[str, str]:
        """Name to the reason why it is null; which channels, where it isn't so in all."""
        notes = {}
        for name, reasons in self._reasons.items():
            if len(set(reasons)) == 1:
                notes[name] = reasons[0]
            else:
                notes[name] = "; ".join(f"channel {c}: {text}" for c, text in zip(self._channels, reasons, strict=True) if text)
        return {name: text for name, text in notes.items() if text}
