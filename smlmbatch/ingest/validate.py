"""Looks at one file as ingest would and reports what it found, writing nothing."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from smlmbatch.config import Config
from smlmbatch.errors import InputError
from smlmbatch.ingest.clean import NO_PRECISION, Tally, channel_counts, clean_batches, frame_base
from smlmbatch.ingest.columns import overrides_of
from smlmbatch.ingest.readers import open_source
from smlmbatch.ingest.recognise import recognised_format
from smlmbatch.ingest.scan import Scan
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
    n_per_channel : channel name → locs
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

    def to_text(self) -> str:
        """One line for people."""
        (x0, y0), (x1, y1) = self.extent_nm
        parts = [f"{self.format}, {self.n} locs, {(x1 - x0) / 1e3:.2f} x {(y1 - y0) / 1e3:.2f} um"]
        if self.frame_extent:
            parts.append(f"frames {self.frame_extent[0]} to {self.frame_extent[1]}")
        if self.precision_median_nm:
            parts.append(f"median precision {self.precision_median_nm:.3g} nm")
        if len(self.n_per_channel) > 1:
            parts.append(", ".join(f"{name}: {n}" for name, n in self.n_per_channel.items()))
        parts.append("columns " + ", ".join(f"{quantity} = {column}" for quantity, column in self.columns.items()))
        return "; ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """One file of INPUT: its report, or why it has none. `path` is relative to INPUT."""

    path: str
    report: FileReport | None = None
    error: str = ""
    ignored: str = ""

    @property
    def failed(self) -> bool:
        """Whether it was to be read and can't be."""
        return bool(self.error)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        report = self.report.to_dict() if self.report else None
        return {"path": self.path, "report": report, "error": self.error, "ignored": self.ignored}

    def to_text(self) -> str:
        """A few lines for people."""
        if self.report is None:
            return f"{self.path}: ignored, {self.ignored}" if self.ignored else f"{self.path}: FAILED\n  {self.error}"
        return "\n  ".join([f"{self.path}: {self.report.to_text()}", *(f"warning: {text}" for text in self.report.warnings)])


def validate_scan(scan: Scan, *, config: Config) -> Iterator[CheckedFile]:
    """Check every field of a scan, one after the other, then name the ignored files."""
    for field in scan.fields:
        try:
            yield CheckedFile(path=field.path, report=validate_file(scan.root / field.path, field=field, config=config))
        except (InputError, OSError) as error:
            yield CheckedFile(path=field.path, error=str(error))
    for path, reason in scan.ignored:
        yield CheckedFile(path=path, ignored=reason)


def validate_file(path: Path, *, field: Field, config: Config) -> FileReport:
    """Read a file from end to end.

    Raises
    ------
    InputError
        as in ingest: the file can't be read or holds no localisation
    """
    overrides = overrides_of(field, config.ingest)
    source = open_source(path, recognised_format(path, overrides=overrides), overrides)
    tally = Tally()
    for _ in clean_batches(source, tally):
        pass
    base = frame_base(source, tally)
    _, counts, names = channel_counts(tally)
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
        n_per_channel=dict(zip(names, counts, strict=True)),
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
