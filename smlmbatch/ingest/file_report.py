"""What `validate` says of one file, for people and for machines."""

import dataclasses
import textwrap
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from smlmbatch.ingest.prepare import share_text

_TEXT_WIDTH: Final = 140
_NAMES_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Where a quantity comes from: mean of (column ** power x its factor), x scale + shift (nm where it is a length)."""

    columns: tuple[str, ...]
    scale: float
    shift: float
    power: float
    factors: tuple[float, ...] = ()

    def to_text(self) -> str:
        """`x * 117 + 58.5`; a column that is taken as it is is its name."""
        names = [name + (f"^{self.power:g}" if self.power != 1.0 else "") for name in self.columns]
        if self.factors:
            names = [f"{name} * {factor:g}" for name, factor in zip(names, self.factors, strict=True)]
        text = names[0] if len(names) == 1 else f"mean({', '.join(names)})"
        return text + (f" * {self.scale:g}" if self.scale != 1.0 else "") + (f" + {self.shift:g}" if self.shift else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What a file holds.

    Attributes
    ----------
    format, title : the reader's name, and what people call the format
    dropped : reason → records
    filtered : reason → locs that the filters in force would drop; they are in every other figure
    columns : quantity → where it comes from
    unit, pixel_size_nm, pixel_offset_px : of the file's positions
    frame_base : the number of the file's first frame, None without frames
    extent_nm : ((x low, y low), (x high, y high)), absolute
    precision_median_nm : exact up to 2**17 locs, else to within 0.4 % (ingest stores the exact one)
    share_without_precision : share of locs whose precision is no positive number
    share_of_outliers : share of precisions above 5 times the median
    frame_extent : first and last frame, counted from 0
    share_of_copies : locs that repeat another one exactly in x, y and frame; `copies_exact`: counted, not estimated
    sampled_every : the figures about distributions look at every so-maniest loc
    members : (name, first record) where the file holds several tables
    warnings : {"rule": …, "text": …}, sentences for people
    """

    path: str
    format: str
    title: str
    size_bytes: int
    n_read: int
    n: int
    dropped: dict[str, int]
    filtered: dict[str, int]
    columns: dict[str, Column]
    unit: str
    pixel_size_nm: float | None
    pixel_offset_px: float
    frame_base: int | None
    extent_nm: tuple[tuple[float, float], tuple[float, float]]
    z_extent_nm: tuple[float, float] | None
    precision_median_nm: float | None
    share_without_precision: float
    share_of_outliers: float
    frame_extent: tuple[int, int] | None
    n_per_channel: dict[str, int]
    share_of_copies: float
    copies_exact: bool
    sampled_every: int
    members: tuple[tuple[str, int], ...]
    warnings: tuple[dict[str, str], ...]

    def to_text(self) -> str:
        """A few lines for people: what it is, what its columns become, what looks wrong."""
        uses = "; ".join(f"{name} = {column.to_text()}" for name, column in self.columns.items())
        lines = [f"{self.title.removeprefix('a ').removeprefix('an ')}: {self._what()}", f"columns: {uses}"]
        if len(self.n_per_channel) > 1:
            lines.append("channels: " + ", ".join(f"{name} {n:,}" for name, n in self.n_per_channel.items()))
        if self.members:
            lines.append(f"holds {_listed([name for name, _ in self.members])}")
        if self.filtered:
            lines.append(f"filters would drop {share_text(self.filtered, self.n)}")
        lines += [f"WARNING ({warning['rule']}): {warning['text']}" for warning in self.warnings]
        return "\n".join(_wrapped(line) for line in lines)

    def _what(self) -> str:
        (x0, y0), (x1, y1) = self.extent_nm
        size = f"{(x1 - x0) / 1e3:.4g} x {(y1 - y0) / 1e3:.4g}"
        if self.z_extent_nm:
            size += f" x {(self.z_extent_nm[1] - self.z_extent_nm[0]) / 1e3:.3g}"
        parts = [f"{self.n:,} locs in {size} um"]
        if self.unit == "px":
            parts.append(f"pixels of {self.pixel_size_nm:g} nm" if self.pixel_size_nm else "camera pixels")
        if self.precision_median_nm is not None:
            parts.append(f"precision {self.precision_median_nm:.3g} nm")
        if self.frame_extent is not None:
            first, last = self.frame_extent
            parts.append(f"frames {first:,} to {last:,}" + (f" (the file counts from {self.frame_base})" if self.frame_base else ""))
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """One file of INPUT. `path` is relative to INPUT.

    Attributes
    ----------
    kind : "field" (can be read), "ignored" (no localisations), "failed" (was to be read and can't be)
    report : of a field
    ignored : of an ignored file, why
    error : of a failed one: {"finding": …, "want": …, "mend": …}
    """

    path: str
    kind: Literal["field", "ignored", "failed"]
    report: FileReport | None = None
    ignored: str = ""
    error: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def to_text(self) -> str:
        """A few lines for people."""
        if self.report is not None:
            return f"{self.path}\n{self.report.to_text()}"
        if self.kind == "ignored":
            return f"{self.path}: ignored, {self.ignored}"
        lines = [f"FAILED: {self.error['finding']}"]
        lines += [f"{word}: {self.error[key]}" for word, key in (("wanted", "want"), ("to mend it", "mend")) if self.error.get(key)]
        return "\n".join([self.path, *map(_wrapped, lines)])


def _wrapped(line: str, indent: str = "  ") -> str:
    return textwrap.fill(
        line, _TEXT_WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False, break_on_hyphens=False
    )


def counts_of(files: list[CheckedFile]) -> dict[str, int]:
    """How many files are of each kind, and how many fields have a warning."""
    counts = {kind: sum(file.kind == kind for file in files) for kind in ("field", "failed", "ignored")}
    return counts | {"with_warnings": sum(bool(file.report and file.report.warnings) for file in files)}


def summary_text(files: list[CheckedFile]) -> str:
    """What was ignored, by reason, and the last line: `7 fields (2 with warnings), 1 failed, 3 ignored`."""
    by_reason: dict[str, list[str]] = {}
    for file in files:
        if file.kind == "ignored":
            by_reason.setdefault(file.ignored, []).append(file.path)
    lines = [f"ignored, {reason}: {_listed(paths)}" for reason, paths in sorted(by_reason.items())]
    counts = counts_of(files)
    warned = f" ({counts['with_warnings']} with warnings)" if counts["with_warnings"] else ""
    total = f"{counts['field']} field{'s' * (counts['field'] != 1)}{warned}, {counts['failed']} failed, {counts['ignored']} ignored"
    return "\n".join([*(_wrapped(line, indent="") for line in lines), total])


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else "")
