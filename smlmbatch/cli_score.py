"""The verb that judges clusterings: score."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from smlmbatch.cli_options import folder_type, json_option
from smlmbatch.cli_talk import print_json, say, talk
from smlmbatch.errors import ConfigError

_PLOTS = (".svg", ".png")


@click.command()
@click.argument("truth", type=folder_type)
@click.argument("labels", type=folder_type)
@click.option("--against", type=folder_type, default=None, metavar="OTHER", help="Labels of another clustering; tested field by field.")
@click.option("--truth-column", default="", metavar="NAME", help="Column of true labels.  [default: label or cluster]")
@click.option("--labels-column", default="", metavar="NAME", help="Column of found labels.  [default: label or cluster]")
@click.option("--truth-noise", type=int, default=-1, show_default=True, help="True label of locs in no cluster.")
@click.option("--labels-noise", type=int, default=-1, show_default=True, help="Found label of locs in no cluster.")
@click.option("--csv", "csv_file", type=folder_type, default=None, metavar="FILE", help="Write every field's figures.")
@click.option("--plot", "plot_file", type=folder_type, default=None, metavar="FILE", help="Draw box plots over fields: .svg or .png.")
@json_option
def score(
    truth: Path, labels: Path, against: Path | None, csv_file: Path | None, plot_file: Path | None, as_json: bool, **reading: Any
) -> None:
    """Score found clusters against true ones: agreement of labels, overlap, detection, sizes, places.

    TRUTH and LABELS are tables (CSV, Parquet) with a label per loc, joined by their column `row` or by order, positions in nm in one of
    them; or folders of such tables, matched by name. docs/scoring.md defines the figures.

    \b
    smlmbatch score truth.csv found.csv
    smlmbatch score truth/ dbscan/ --truth-noise 0 --against other_method/ --plot boxes.svg
    """
    from smlmbatch.analyse.score_comparison import compare_scores
    from smlmbatch.analyse.score_wording import comparison_text, scores_csv, scores_json, scores_text
    from smlmbatch.score.folders import Reading
    from smlmbatch.store.units import write_whole

    _check_files(csv_file, plot_file)
    fields = _score(truth, labels, Reading(**reading), first=True)
    others = _score(truth, against, Reading(**reading)) if against is not None else None
    compared = compare_scores(fields, others) if others is not None else []
    methods = {str(labels): fields} | ({str(against): others} if others is not None else {})
    if csv_file is not None:
        write_whole(csv_file, scores_csv(methods))
    if plot_file is not None:
        write_whole(plot_file, _drawing(methods, plot_file.suffix.lower()))
    if as_json:
        print_json(scores_json(fields, others, compared))
        return
    for name, own in methods.items():
        say("\n".join([f"{name}:" if others is not None else "", *scores_text(own)]).lstrip("\n"))
    if others is not None:
        say("\n".join(["", *comparison_text(compared)]))


def _score(truth: Path, labels: Path, reading: Any, *, first: bool = False) -> dict[str, Any]:
    from smlmbatch.score.folders import score_tables

    scored = score_tables(truth, labels, reading=reading)
    n = sum(field.scores.n_locs > 0 and not field.true_noise for field in scored)
    if n and first:
        fields = "1 field has" if n == 1 else f"{n} fields have"
        talk(f"warning: {fields} no true noise ({reading.truth_noise}); if another label means it, say so with --truth-noise")
    if any(field.true_noise for field in scored) and not any(field.found_noise for field in scored):
        talk(f"warning: {labels}: no noise ({reading.labels_noise}) was found; if another label means it, say so with --labels-noise")
    return {field.field: field.scores for field in scored}


def _check_files(csv_file: Path | None, plot_file: Path | None) -> None:
    for option, path in (("--csv", csv_file), ("--plot", plot_file)):
        if path is not None and path.is_dir():
            raise ConfigError(f"{option} {path}: is a folder; wanted the name of a file")
    if plot_file is not None and plot_file.suffix.lower() not in _PLOTS:
        raise ConfigError(f"--plot {plot_file}: wanted a name ending in {' or '.join(_PLOTS)}")


def _drawing(methods: dict[str, dict[str, Any]], ending: str) -> bytes:
    """Box plots of every figure, a box for each clustering."""
    import numpy as np

    from smlmbatch.analyse.score_wording import TITLES
    from smlmbatch.report.score_figures import draw_score_boxes

    panels = {
        title: [np.array([getattr(scores, figure) for scores in fields.values()]) for fields in methods.values()]
        for figure, title in TITLES.items()
    }
    drawing = draw_score_boxes(panels, labels=_short_names(methods))
    return drawing.svg if ending == ".svg" else drawing.png


def _short_names(paths: Collection[str]) -> list[str]:
    """The last part of each path, or the last in which they differ.

    >>> _short_names(["all/dbscan", "all/miro"]), _short_names(["dbscan/labels", "miro/labels"])
    (['dbscan', 'miro'], ['dbscan', 'miro'])
    """
    for n in range(1, max(len(Path(path).parts) for path in paths) + 1):
        names = [Path(path).parts[-n:][0] for path in paths]
        if len(set(names)) == len(names):
            return names
    return list(paths)


VERBS = (score,)
