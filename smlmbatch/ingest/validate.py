"""Looks at one file as ingest would and reports what it found, writing nothing."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from smlmbatch.config import Config
from smlmbatch.ingest.clean import NO_PRECISION, Tally, clean_batches, frame_base
from smlmbatch.ingest.columns import overrides_of
from smlmbatch.ingest.readers import open_source
from smlmbatch.ingest.recognise import recognised_format
from smlmbatch.ingest.source import Source
from smlmbatch.samples import Field

# What a microscope can't give: a field of view narrower than this or wider than that has its unit wrong.
_SMALLEST_NM: Final = 2e3
_LARGEST_NM: Final = 5e6
_WORST_PRECISION_NM: Final = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What a file holds.

    Attributes
    ----------
    columns : quantity → source column
    extent_nm : ((x low, y low), (x high, y high)), absolute
    precision_median_nm : to within 0.4 % (ingest stores the exact one)
    frame_extent : first and last frame, counted from 0
    n_per_channel : channel number or name → locs
    warnings : sentences for people
    """

    path: str
    format: str
    n_read: int
    n: int
    dropped: dict[str, int]
    columns: dict[str, str]
    unit: str
    pixel_size_nm: float | None
    frame_base: int | None
    extent_nm: tuple[tuple[float, float], tuple[float, float]]
    z_extent_nm: tuple[float, float] | None
    precision_median_nm: float | None
    frame_extent: tuple[int, int] | None
    n_per_channel: dict[str, int]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)


def validate_file(path: Path, *, field: Field, config: Config) -> FileReport:
    """Read a file from end to end.

    Raises
    ------
    InputError
        as in ingest: the file can't be read or holds no localisation
    """
    from smlmbatch.ingest.stage import channel_counts

    overrides = overrides_of(field, config.ingest)
    source = open_source(path, recognised_format(path, overrides=overrides), overrides)
    tally = Tally()
    for _ in clean_batches(source, tally):
        pass
    base = frame_base(source, tally)
    channels, counts, names = channel_counts(tally)
    has_frames = tally.frame.pair() is not None
    return FileReport(
        path=str(path),
        format=source.format,
        n_read=tally.n_read,
        n=tally.n,
        dropped={reason: n for reason, n in sorted(tally.dropped.items()) if n},
        columns={use.quantity: ", ".join(use.columns) for use in source.resolved.uses},
        unit=source.resolved.unit,
        pixel_size_nm=source.resolved.pixel_size_nm,
        frame_base=base if has_frames else None,
        extent_nm=((tally.x_nm.low, tally.y_nm.low), (tally.x_nm.high, tally.y_nm.high)),
        z_extent_nm=(tally.z_nm.low, tally.z_nm.high) if tally.dims == 3 else None,
        precision_median_nm=tally.precision.estimate(),
        frame_extent=(int(tally.frame.low) - base, int(tally.frame.high) - base) if has_frames else None,
        n_per_channel=dict(zip(names or map(str, channels), counts, strict=True)),
        warnings=tuple(_warnings(source, tally)),
    )


def _warnings(source: Source, tally: Tally) -> list[str]:
    sides = [axis.high - axis.low for axis in (tally.x_nm, tally.y_nm)]
    median = tally.precision.estimate()
    share_bad = tally.warnings[NO_PRECISION] / tally.n
    found = {
        f"the field is only {max(sides) / 1e3:.3g} um wide: is the unit right?": max(sides) < _SMALLEST_NM,
        f"the field is {max(sides) / 1e6:.3g} mm wide: is the unit right?": max(sides) > _LARGEST_NM,
        f"the median precision is {median or 0.0:.3g} nm: is the unit right?": median is not None and median > _WORST_PRECISION_NM,
        f"{share_bad:.0%} of the precisions are no positive number": share_bad > 0.01,
        "there is no precision column": "precision_nm" not in {use.quantity for use in source.resolved.uses},
        "there is no frame column": tally.frame.pair() is None,
        f"{tally.n_read - tally.n} of {tally.n_read} records were dropped": tally.n < tally.n_read,
    }
    texts = [text for text, is_so in found.items() if is_so]
    return texts + [f"{reason}: {n} localisations" for reason, n in sorted(tally.warnings.items()) if n and reason != NO_PRECISION]
