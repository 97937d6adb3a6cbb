"""Looks at files as ingest would and reports what it found, writing nothing."""

from collections.abc import Iterator
from pathlib import Path

from smlmbatch.config import Config
from smlmbatch.errors import InputError
from smlmbatch.ingest.clean import Tally, channel_counts, clean_batches, filter_batch, frame_base, read_frame_base
from smlmbatch.ingest.columns import overrides_of
from smlmbatch.ingest.doubts import Facts, doubts, facts_of, share_of_outliers
from smlmbatch.ingest.file_report import CheckedFile, Column, FileReport
from smlmbatch.ingest.prepare import filters_of, has_frame_filter, share_text
from smlmbatch.ingest.readers import READERS, open_source
from smlmbatch.ingest.recognise import recognised_format
from smlmbatch.ingest.scan import Scan
from smlmbatch.ingest.source import Source
from smlmbatch.ingest.survey import Copies, Sample
from smlmbatch.samples import Field


def validate_scan(scan: Scan, *, config: Config) -> Iterator[CheckedFile]:
    """Check every field of a scan, one after the other, then name the ignored files."""
    for field in scan.fields:
        try:
            report = validate_file(scan.root / field.path, field=field, config=config)
            yield CheckedFile(path=field.path, kind="field", report=report)
        except InputError as error:
            yield CheckedFile(path=field.path, kind="failed", error={"finding": error.finding, "want": error.want, "mend": error.mend})
        except OSError as error:
            finding = f"the file can't be read ({error.strerror or error})"
            yield CheckedFile(path=field.path, kind="failed", error={"finding": finding, "want": "a file that can be read", "mend": ""})
    for path, reason in scan.ignored:
        yield CheckedFile(path=path, kind="ignored", ignored=reason)


def validate_file(path: Path, *, field: Field, config: Config) -> FileReport:
    """Read a file from end to end.

    Raises
    ------
    InputError
        as in ingest: the file can't be read or holds no localisation
    """
    overrides = overrides_of(field, config.ingest)
    source = open_source(path, recognised_format(path, overrides=overrides), overrides)
    filters = filters_of(config.prepare, frame_base=read_frame_base(source) if has_frame_filter(config.prepare) else 0)
    tally, left, sample, copies = Tally(), Tally(), Sample(), Copies()
    for batch in clean_batches(source, tally):
        sample.add(batch)
        copies.add(batch)
        filter_batch(batch, filters, left)
    _, counts, names = channel_counts(tally)
    facts = facts_of(source, tally, dict(zip(names, counts, strict=True)), sample, copies)
    filtered = {rule.reason: n for rule in filters if (n := left.filtered[rule.reason])}
    return _report(path, source, tally, facts, filtered, sample_stride=sample.stride, copies_exact=copies.exact)


def _report(
    path: Path, source: Source, tally: Tally, facts: Facts, filtered: dict[str, int], *, sample_stride: int, copies_exact: bool
) -> FileReport:
    doubtful = doubts(facts)
    if 2 * sum(filtered.values()) > tally.n:
        doubtful.append(("filters", f"the filters of [prepare] drop {share_text(filtered, tally.n)}"))
    base, frames = frame_base(source, tally), tally.frame.pair()
    resolved = source.resolved
    return FileReport(
        path=str(path),
        format=source.format,
        title=READERS[source.format].title,
        size_bytes=path.stat().st_size,
        n_read=tally.n_read,
        n=tally.n,
        dropped={reason: n for reason, n in sorted(tally.dropped.items()) if n},
        filtered=filtered,
        columns={
            use.quantity: Column(columns=use.columns, scale=use.scale, shift=use.shift, power=use.power, factors=use.factors)
            for use in resolved.uses
        },
        unit=resolved.unit,
        pixel_size_nm=resolved.pixel_size_nm,
        pixel_offset_px=resolved.pixel_offset_px,
        frame_base=base if frames else None,
        extent_nm=((tally.x_nm.low, tally.y_nm.low), (tally.x_nm.high, tally.y_nm.high)),
        z_extent_nm=(tally.z_nm.low, tally.z_nm.high) if tally.dims == 3 else None,
        precision_median_nm=facts.precision_median_nm,
        share_without_precision=facts.share_without_precision,
        share_of_outliers=share_of_outliers(facts),
        frame_extent=(int(frames[0]) - base, int(frames[1]) - base) if frames else None,
        n_per_channel=facts.n_per_channel,
        share_of_copies=facts.copies,
        copies_exact=copies_exact,
        sampled_every=sample_stride,
        members=source.members,
        warnings=tuple({"rule": rule, "text": text} for rule, text in doubtful),
    )
