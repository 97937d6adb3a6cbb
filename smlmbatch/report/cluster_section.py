"""The page's part on clusters, and its sentence in the verdict.

How they were found and what stands against them comes first, then the measures as for descriptors: superplots, effects with their
intervals, means of conditions; and the shapes that were told.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from smlmbatch.analyse.compare import natural_key
from smlmbatch.report.cluster_data import CampaignClusters, Shapes
from smlmbatch.report.cluster_model import tuned_cautions
from smlmbatch.report.cluster_wording import SHAPES_LIMIT, compared_said, method_name, method_said, short_said, warnings_said
from smlmbatch.report.descriptors import condition_key, number_tables, replicates_csv
from smlmbatch.report.effects import show_effects
from smlmbatch.report.gallery import Gallery
from smlmbatch.report.numbers import Numbers, file_suffix
from smlmbatch.report.page import Markup, breakable, element, join, table
from smlmbatch.report.superplots import show_superplots
from smlmbatch.report.wording import NONE, count, mean_and_sd, titles


def show_clusters(clusters: CampaignClusters, *, titles_of: Mapping[int, str], gallery: Gallery) -> Markup:
    """Words, superplots, effects and numbers of each channel; where there are no clusters, why.

    Parameters
    ----------
    titles_of : what channels are called, where there are several
    """
    if clusters.why_none or clusters.facts is None:
        return element("p", clusters.why_none)
    words = [*(element("p", text) for text in method_said(clusters)), *_cautions(clusters)]
    numbers = clusters.numbers
    if not numbers.channels:
        return join([*words, element("p", "No ROI was kept, so conditions are not compared; the fields\u2019 pages show their clusters.")])
    link = gallery.link("cluster_replicates.csv", replicates_csv(numbers).encode("utf-8", "replace"))
    words.append(element("p", "All means of replicates: ", link, "; every cluster: tables/clusters.parquet.", class_="note"))
    return join([*words, *(_channel(clusters, channel, titles_of, gallery) for channel in numbers.channels)])


def _cautions(clusters: CampaignClusters) -> Iterator[Markup]:
    """What stands against comparisons by this model, and what the stage warned of."""
    yield from (element("p", text, class_="caution") for text in tuned_cautions(clusters.facts, clusters.numbers.comparisons))
    yield from warnings_said(clusters.warnings, n_fields=clusters.n_fields)


def _channel(clusters: CampaignClusters, channel: int | None, titles_of: Mapping[int, str], gallery: Gallery) -> Markup:
    numbers = clusters.numbers
    conditions = [c for c in numbers.conditions if c.channel == channel]
    names = list(dict.fromkeys(c.condition for c in conditions))
    shown = titles(c.descriptor for c in conditions)
    own = [c for c in numbers.comparisons if c.channel == channel]
    effects = show_effects(own, look=numbers.looks, gallery=gallery, name=f"cluster_effects{file_suffix(channel)}") if own else None
    title = titles_of.get(channel) if channel is not None else None
    return join(
        [
            element("h3", title) if title else None,
            *(element("p", text) for text in compared_said(own)),
            condition_key(names, conditions, numbers.looks),
            show_superplots(numbers, channel, shown, gallery=gallery),
            effects,
            *number_tables(conditions, names, shown),
            *_shapes([own for own in clusters.shapes if channel in (None, own.channel)], several=channel is None and bool(titles_of)),
        ]
    )


# ---- shapes


def _shapes(found: Sequence[Shapes], *, several: bool) -> Iterator[Markup]:
    """Share of each shape among the clusters of which one was told: mean and spread over replicates of the sheet's conditions."""
    names = sorted({name for own in found for name in own.told})
    groups: dict[tuple[str, int], list[Shapes]] = {}
    for own in found:
        groups.setdefault((own.condition, own.channel if several else -1), []).append(own)
    if not names:
        return
    body = []
    for (condition, channel), members in sorted(groups.items(), key=lambda item: (natural_key(item[0][0]), item[0][1])):
        told = [sum(own.told.values()) for own in members]
        cells = [_share_cell([100 * own.told.get(name, 0) / n for own, n in zip(members, told, strict=True) if n]) for name in names]
        head = join([breakable(condition), f", channel {channel}" if channel >= 0 else None])
        body.append([head, *cells, count(sum(told)), count(sum(own.untold for own in members))])
    header = ["Shapes told, mean ± SD over replicates (%)", *names, "Clusters", "Not told"]
    yield table(header, body, numeric=range(1, len(header)), class_="few")
    yield element("p", SHAPES_LIMIT, class_="note")


def _share_cell(shares: Sequence[float]) -> Markup | str:
    if not shares:
        return NONE
    mean, sd = mean_and_sd(float(np.mean(shares)), float(np.std(shares, ddof=1)) if len(shares) > 1 else float("nan"), most=1)
    return mean if sd == NONE else join([mean, " ", element("span", f"± {sd}", class_="pm")])


# ---- verdict


def for_verdict(clusters: CampaignClusters, *, titles_of: Mapping[int, str]) -> list[Markup]:
    """One sentence per channel; nothing where nothing was compared."""
    said = []
    for channel in _compared_channels(clusters.numbers):
        assert clusters.facts is not None
        title = f" of whole fields, by {method_name(clusters.facts.method)}"
        title += f", {titles_of[channel]}" if channel is not None and channel in titles_of else ""
        text = short_said([c for c in clusters.numbers.comparisons if c.channel == channel])
        if text:
            said.append(element("p", element("b", f"Clusters{title}"), ": ", text, " ", element("a", "More", href="#clusters"), "."))
    return said


def _compared_channels(numbers: Numbers) -> list[int | None]:
    return list(dict.fromkeys(c.channel for c in numbers.comparisons))
