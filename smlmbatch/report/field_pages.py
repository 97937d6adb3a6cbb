"""Writes `OUTPUT/report/fields/<key>.html`, one page per field, and only those that have changed.

A page's fingerprint, kept in its head, hashes all that the page shows: the field's units, its row of the table, its checks, its
neighbours in the campaign's order, and the means of its condition as they are written. So a page is rewritten when its condition's
means have moved; pages of fields that are no longer in the campaign are removed.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smlmbatch.analyse.compare import ConditionMean, condition_means, described, natural_key, replicate_means
from smlmbatch.analyse.results import QualityCheck
from smlmbatch.analyse.tables import legible
from smlmbatch.provenance import fingerprint
from smlmbatch.report.field_page import DescriptorTable, FieldPage, Neighbour, Row, field_document
from smlmbatch.report.fingerprint import page_fingerprint
from smlmbatch.report.page import Markup, element, join
from smlmbatch.report.wording import NONE, Title, count, mean_and_sd, titles
from smlmbatch.store.units import write_whole
from smlmbatch.work import Campaign

if TYPE_CHECKING:
    import pyarrow as pa

_VERSION = 2  # of the pages' form
_Group = tuple[int | None, str]  # channel, condition


def write_field_pages(campaign: Campaign, *, rows: Sequence[Row], rois: "pa.Table", checks: Sequence[QualityCheck], name: str) -> int:
    """Bring the pages of all fields up to date.

    Parameters
    ----------
    rows : of fields.parquet, in the campaign's order, with `conditions` and `finding` (`sections.with_sample`)
    rois : the ROI table, its conditions those that are compared
    checks : of all fields
    name : of the campaign

    Returns
    -------
    number of pages written
    """
    folder = campaign.output / "report" / "fields"
    n_written = 0
    for page in _pages(campaign, rows=rows, rois=rois, checks=checks, name=name):
        path, state = folder / f"{page.row['key']}.html", _state(page)
        if page_fingerprint(path) != state:
            write_whole(path, field_document(page, fingerprint=state).encode("utf-8", "replace"))
            n_written += 1
    _sweep(folder, {row["key"] for row in rows})
    return n_written


def _pages(campaign: Campaign, *, rows: Sequence[Row], rois: "pa.Table", checks: Sequence[QualityCheck], name: str) -> Iterator[FieldPage]:
    results = {legible(result.field.key): result for result in campaign.fields}
    by_key: dict[str, list[QualityCheck]] = {}
    for check in checks:
        by_key.setdefault(check.key, []).append(check)
    means = _Means(rois, min_locs=campaign.config.tile.min_locs)
    neighbours = [Neighbour(row["key"], row["field"]) for row in rows]
    for i, row in enumerate(rows):
        yield FieldPage(
            result=results[row["key"]],
            row=row,
            checks=by_key.get(row["key"], ()),
            descriptors=means.tables_of(row["key"]),
            config=campaign.config,
            campaign_name=name,
            before=neighbours[i - 1] if i else None,
            after=neighbours[i + 1] if i + 1 < len(neighbours) else None,
        )


def _state(page: FieldPage) -> str:
    """Hash of what the page shows. Numbers go in as text: a value may be NaN, which JSON lacks."""
    failure = page.result.failure
    return fingerprint(
        version=_VERSION,
        units=[[stage, path.name] for stage, path in sorted(page.result.units.items())],
        row=repr(sorted(page.row.items())),
        checks=[repr(check) for check in page.checks],
        descriptors=[dataclasses.astuple(block) for block in page.descriptors],
        failure=[failure.stage, failure.finding, failure.want, failure.mend] if failure else [],
        settings=repr((page.config.tile.min_locs, page.config.quality)),
        around=[repr(page.before), repr(page.after), page.campaign_name],
    )


def _sweep(folder: Path, keys: set[str]) -> None:
    """Remove pages of fields that are not in the campaign any more."""
    for path in folder.glob("*.html") if folder.is_dir() else ():
        if path.stem not in keys:
            path.unlink()


# ---- descriptors


class _Means:
    """Means of descriptors of every field, channel and condition found in it, and of the conditions."""

    def __init__(self, rois: "pa.Table", *, min_locs: int) -> None:
        conditions = condition_means(replicate_means(rois, min_locs=min_locs))
        self._conditions = {(c.condition, c.channel, c.descriptor): c for c in conditions}
        self._titles = titles({c.descriptor for c in conditions})
        self._fields: dict[str, dict[_Group, Mapping[str, tuple[float, float, int]]]] = {}
        for (key, channel, condition), found in _field_means(rois, list(self._titles), min_locs=min_locs).items():
            self._fields.setdefault(key, {})[channel, condition] = found

    def tables_of(self, key: str) -> list[DescriptorTable]:
        """One table for each channel and condition found in the field."""
        tables = []
        for (channel, condition), found in self._fields.get(key, {}).items():
            means = ((title, found[name], self._conditions[condition, channel, name]) for name, title in self._titles.items())
            title = condition if channel is None else f"Channel {channel}: {condition}"
            tables.append(DescriptorTable(title, condition, [_descriptor_row(*mean) for mean in means]))
        return tables


def _field_means(
    rois: "pa.Table", descriptors: Sequence[str], *, min_locs: int
) -> dict[tuple[str, int | None, str], Mapping[str, tuple[float, float, int]]]:
    """Mean, standard deviation and number of ROIs of each descriptor, by field, channel and condition, in their order."""
    import pyarrow.compute as pc

    kept = described(rois, min_locs=min_locs)
    wanted: list[Any] = [
        (name, kind, options)
        for name in descriptors
        for kind, options in (("mean", None), ("stddev", pc.VarianceOptions(ddof=1)), ("count", None))
    ]
    grouped = kept.group_by(["key", "channel", "condition"], use_threads=False).aggregate(wanted).to_pylist()
    ordered = sorted(grouped, key=lambda row: (row["key"], -1 if row["channel"] is None else row["channel"], natural_key(row["condition"])))
    return {
        (row["key"], row["channel"], row["condition"]): {
            name: (_defined(row[f"{name}_mean"]), _defined(row[f"{name}_stddev"]), row[f"{name}_count"]) for name in descriptors
        }
        for row in ordered
    }


def _defined(value: float | None) -> float:
    return math.nan if value is None else value


def _descriptor_row(title: Title, found: tuple[float, float, int], condition: ConditionMean) -> list[str]:
    mean, sd, n_rois = found
    own = _with_spread(title, mean, sd)
    return [title.name, title.unit, own, count(n_rois), _with_spread(title, condition.mean, condition.sd), count(condition.n_replicates)]


def _with_spread(title: Title, mean: float, sd: float) -> Markup:
    written, spread = mean_and_sd(mean / title.divisor, sd / title.divisor, most=title.decimals)
    return join([written]) if spread == NONE else join([written, " ", element("span", f"± {spread}", class_="pm")])
