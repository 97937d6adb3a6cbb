"""Measures every figure this project states and writes them to benchmarks/RESULTS.md:  python -m benchmarks.run [NAME ...]

Ratios compare two programs doing the same work in one run on one machine; seconds are that machine's.
A figure that was not measured this time keeps its last value (benchmarks/results.json).
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from smlmbatch.hpc.numerics import pin_numerics

pin_numerics()  # as the command line does, before numpy is imported
from benchmarks import campaign, cluster, dye_swap, embedding, formats, inference, ingest, measure, miro, ranks, scaling  # noqa: E402

HERE = Path(__file__).parent
GIB = 1 << 30


@dataclass(frozen=True)
class Figure:
    """One line of the table: how it is measured, how it reads, and what is asked of it (upper or lower bound)."""

    what: str
    measure: Callable[[Path], dict[str, Any]]
    value: Callable[[dict[str, Any]], float]
    show: Callable[[dict[str, Any]], str]
    bound: str
    at_least: float
    goal: float | None = None
    same_run_as: str = ""  # another figure whose measurement holds this one too

    def verdict(self, found: dict[str, Any]) -> str:
        value = self.value(found)
        met = [limit is not None and (value <= limit if self.bound == "≤" else value >= limit) for limit in (self.at_least, self.goal)]
        if self.goal is None:
            return "yes" if met[0] else "no"
        return "goal" if met[1] else "at least" if met[0] else "no"


FIGURES: Mapping[str, Figure] = {
    "ingest": Figure(
        "5 M-row, 10-column ThunderSTORM CSV to a published store: CPU time against a bare `pyarrow.csv` stream of six columns",
        lambda folder: ingest.measure_ingest_cpu(5_000_000),
        lambda r: r["ratio"],
        lambda r: f"{r['ratio']:.2f}x ({r['ours_cpu_s']:.1f} s against {r['bare_cpu_s']:.1f} s)",
        "≤",
        4.0,
        3.0,
    ),
    "memory": Figure(
        "peak memory for a 50 M-row CSV under `--memory 1GiB`",
        lambda folder: ingest.measure_ingest_memory(50_000_000, GIB),
        lambda r: r["peak_rss_bytes"] / GIB,
        lambda r: f"{r['peak_rss_bytes'] / GIB:.2f} GiB",
        "≤",
        1.3,
    ),
    "inodes-large": Figure(
        "inodes of 50 M locs in one field",
        lambda folder: ingest.measure_ingest_memory(50_000_000, GIB),
        lambda r: r["inodes"],
        lambda r: f"{r['inodes']}",
        "≤",
        60,
        same_run_as="memory",
    ),
    "validate": Figure(
        "`validate` of a ThunderSTORM CSV of 200 MB: MB per CPU-second",
        lambda folder: ingest.measure_validate(),
        lambda r: r["mb_per_s"],
        lambda r: f"{r['mb_per_s']:.0f} MB/s ({r['ratio']:.2f}x a bare parse of six columns)",
        "≥",
        200.0,
    ),
    "text-formats": Figure(
        "records per CPU-second of the slowest text format, opened to cleaned",
        formats.measure_text_formats,
        lambda r: r["rows_per_s"] / 1e6,
        lambda r: f"{r['rows_per_s'] / 1e6:.2f} M/s ({r['slowest']})",
        "≥",
        1.0,
    ),
    "export-csv": Figure(
        "a field of 2 M locs, 9 columns, as CSV: locs per CPU-second, store to file",
        formats.measure_csv_export,
        lambda r: r["rows_per_s"] / 1e6,
        lambda r: f"{r['rows_per_s'] / 1e6:.2f} M/s ({r['ratio']:.2f}x pyarrow.csv)",
        "≥",
        2.0,
    ),
    "streaming-memory": Figure(
        "peak memory of `validate` on 200 MB of records against 20 MB, the worst of 8 containers that are streamed",
        formats.measure_streaming_memory,
        lambda r: r["ratio"],
        lambda r: f"{r['ratio']:.2f}x ({r['worst']}: {r['peaks_mib'][r['worst']][0]:.0f} and {r['peaks_mib'][r['worst']][1]:.0f} MiB)",
        "≤",
        1.3,
    ),
    "inodes-small": Figure(
        "inodes of a field of 10^5 locs over all stages",
        campaign.measure_inodes,
        lambda r: r["per_field"],
        lambda r: f"{r['per_field']}",
        "≤",
        12,
    ),
    "roi": Figure(
        "DBSCAN and Ripley descriptors of a 1,000-loc region: scikit-learn DBSCAN + scipy pdist/bincount against ours",
        lambda folder: measure.measure_roi_descriptors(),
        lambda r: r["speedup"],
        lambda r: f"{r['speedup']:.1f}x faster ({r['ours_ms']:.2f} ms against {r['theirs_ms']:.2f} ms)",
        "≥",
        2.0,
        4.0,
    ),
    "workers": Figure(
        "`measure` with 2 workers against 1",
        campaign.measure_workers,
        lambda r: r["speedup"],
        lambda r: f"{r['speedup']:.2f}x ({r['two_s']:.0f} s against {r['one_s']:.0f} s)",
        "≥",
        1.6,
        1.75,
    ),
    "report": Figure(
        "tables, report and field pages of 200 fields, from nothing: wall time",
        campaign.measure_report,
        lambda r: r["seconds"],
        lambda r: f"{r['seconds']:.0f} s ({r['cpu_s']:.0f} s of CPU; a field's page {r['page_mb']:.2f} MB)",
        "≤",
        60.0,
    ),
    "report-size": Figure(
        "the same report's index page: size",
        campaign.measure_report,
        lambda r: r["index_mb"],
        lambda r: f"{r['index_mb']:.1f} MB",
        "≤",
        5.0,
        same_run_as="report",
    ),
    "report-opens": Figure(
        "the same page in headless Chromium, loaded and drawn, beyond an empty page",
        campaign.measure_report,
        lambda r: r["open_s"],
        lambda r: f"{r['open_s']:.1f} s",
        "≤",
        2.0,
        same_run_as="report",
    ),
    "second-run": Figure(
        "second run of an unchanged campaign of 100 fields",
        campaign.measure_second_run,
        lambda r: r["second_s"],
        lambda r: f"{r['second_s']:.2f} s (the first: {r['first_s']:.0f} s with 2 workers)",
        "≤",
        3.0,
        1.0,
    ),
    "help": Figure(
        "`smlmbatch --help`",
        lambda folder: campaign.measure_help(),
        lambda r: r["seconds"],
        lambda r: f"{r['seconds']:.2f} s",
        "≤",
        0.5,
    ),
    "parts": Figure(
        "40 large fields in 40 parts against 1 part: CPU time beyond Python's own start",
        lambda folder: cluster.measure_parts(folder, cell_um=40, density=700),
        lambda r: r["ratio"],
        lambda r: f"{r['ratio']:.2f}x ({r['many_cpu_s']:.0f} s against {r['one_cpu_s']:.0f} s; {r['locs']:,} locs a field)",
        "≤",
        1.25,
    ),
    "parts-small": Figure(
        "40 small fields in 40 parts against 1 part: CPU time beyond Python's own start",
        lambda folder: cluster.measure_parts(folder, cell_um=18, density=400),
        lambda r: r["ratio"],
        lambda r: f"{r['ratio']:.2f}x ({r['many_cpu_s']:.0f} s against {r['one_cpu_s']:.0f} s; {r['locs']:,} locs a field)",
        "≤",
        1.25,
    ),
    "task-start": Figure(
        "start of a part's process to the end of its first unit (a field of 2,000 locs; the slowest stage)",
        cluster.measure_task_start,
        lambda r: r["seconds"],
        lambda r: f"{r['seconds']:.2f} s",
        "≤",
        2.0,
    ),
    "plan-large": Figure(
        "`submit` of 10,000 fields, planning included: wall time",
        cluster.measure_large_plan,
        lambda r: r["seconds"],
        lambda r: f"{r['seconds']:.1f} s",
        "≤",
        10.0,
    ),
    "plan-large-memory": Figure(
        "`submit` of 10,000 fields, planning included: peak memory",
        cluster.measure_large_plan,
        lambda r: r["peak_mib"],
        lambda r: f"{r['peak_mib']:.0f} MiB",
        "≤",
        500.0,
        same_run_as="plan-large",
    ),
    "status-large": Figure(
        "`status` of 60,000 units (10,000 fields x 6 stages): wall time",
        cluster.measure_large_status,
        lambda r: r["seconds"],
        lambda r: f"{r['seconds']:.1f} s",
        "≤",
        5.0,
    ),
    "pairs": Figure(
        "contrastive training pairs at 64 px: pairs per CPU-second",
        lambda folder: embedding.measure_pairs(),
        lambda r: r["ours_per_s"],
        lambda r: f"{r['ours_per_s']:,.0f} ({r['ratio']:.1f}x one pattern at a time)",
        "≥",
        800.0,
        2000.0,
    ),
    "training": Figure(
        "contrastive training at 64 px, 32 pairs a step: images per CPU-second",
        lambda folder: embedding.measure_training(),
        lambda r: r["ours_per_s"],
        lambda r: f"{r['ours_per_s']:,.0f} ({r['ratio']:.1f}x a plain torch loop over the paper's network)",
        "≥",
        600.0,
        1500.0,
    ),
    "embedding": Figure(
        "ROIs of 900 locs embedded at 64 px, positions to vectors: ROIs per CPU-second",
        lambda folder: embedding.measure_embedding(),
        lambda r: r["ours_per_s"],
        lambda r: f"{r['ours_per_s']:,.0f} ({r['ratio']:.1f}x one ROI at a time; averaged over 8 views: {r['turned_per_s']:,.0f})",
        "≥",
        1500.0,
        5000.0,
    ),
    "ranks": Figure(
        "contrastive training, default recipe, 2 ranks on 2 cores: images per second over twice those of 1 rank",
        ranks.measure,
        lambda r: r["default"]["efficiency"],
        lambda r: ranks.shown(r["default"]),
        "≥",
        0.8,
    ),
    "ranks-paper": Figure(
        "the same with the recipe `paper`",
        ranks.measure,
        lambda r: r["paper"]["efficiency"],
        lambda r: ranks.shown(r["paper"]),
        "≥",
        0.8,
        same_run_as="ranks",
    ),
    "loader": Figure(
        "images per second that the loader feeds to one rank, files in the system's cache, over those that it trains; the lower recipe",
        ranks.measure,
        lambda r: min(r[recipe]["fed_per_s"] / r[recipe]["one_per_s"] for recipe in ranks.STEPS),
        lambda r: ", ".join(
            f"{recipe}: {r[recipe]['fed_per_s']:,.0f} fed, {r[recipe]['one_per_s']:,.0f} trained" for recipe in ranks.STEPS
        ),
        "≥",
        10.0,
        same_run_as="ranks",
    ),
    "miro": Figure(
        "MIRO of a field of 50,000 locs, positions to labels: locs per CPU-second",
        miro.measure,
        lambda r: min(of["locs_per_s"] for of in r["fields"] if of["n_locs"] == 50_000),
        miro.shown,
        "≥",
        12_000.0,
        30_000.0,
    ),
    "miro-memory": Figure(
        "the same of 200,000 locs: peak memory per loc beyond what the process held before",
        miro.measure,
        lambda r: max(of["bytes_per_loc"] for of in r["fields"] if of["n_locs"] == 200_000) / 1000,
        lambda r: "; ".join(f"{of['n_locs']:,} locs: {of['bytes_per_loc'] / 1000:.2f} kB" for of in r["fields"][1:]),
        "≤",
        8.0,
        2.0,
        same_run_as="miro",
    ),
    "miro-paper": Figure(
        "the same of 4,000 locs against the published architecture on the same field: times as fast",
        miro.measure,
        lambda r: r["ratio"],
        lambda r: f"{r['ratio']:.1f}x ({r['in_memory_per_s']:,.0f} locs per CPU-second against {r['paper_per_s']:,.0f})",
        "≥",
        5.0,
        same_run_as="miro",
    ),
    "miro-workers": Figure(
        "blocks of a field of a million locs by 2 processes against 1: wall time",
        miro.measure,
        lambda r: r["shared"][-1]["speedup"],
        lambda r: "; ".join(
            f"{of['n_locs']:,} locs: {of['speedup']:.2f}x ({of['two_s']:.0f} s against {of['one_s']:.0f} s)" for of in r["shared"]
        ),
        "≥",
        1.6,
        1.8,
        same_run_as="miro",
    ),
    "miro-training": Figure(
        "MIRO training, default recipe: fields of 1,138 locs, as large as the published training's, per CPU-second",
        miro.measure,
        lambda r: r["training_locs_per_s"] / 1138,
        lambda r: (
            f"{r['training_locs_per_s'] / 1138:.1f} ({r['training_fields_per_s']:.1f} of the recipe's, {r['training_locs_per_s']:,.0f} locs"
            f"; drawing: {r['drawn_fields_per_s']:.0f} of the recipe's)"
        ),
        "≥",
        12.0,
        30.0,
        same_run_as="miro",
    ),
    "inference-null": Figure(
        "400 simulated campaigns without an effect, 3 against 3 replicates: share in which any descriptor differs (family-wise)",
        lambda folder: inference.measure(),
        lambda r: r["null_3"]["any_differs"],
        lambda r: f"{r['null_3']['any_differs']:.1%} (tests on ROIs as if independent: {r['null_3']['any_differs_roi']:.0%})",
        "≤",
        0.05,
    ),
    "inference-coverage": Figure(
        "95 % intervals of the same campaigns that hold the truth: the rarest of difference, ratio, Hedges' g",
        lambda folder: inference.measure(),
        lambda r: min(r["null_3"]["coverage"].values()),
        lambda r: " / ".join(f"{share:.1%}" for share in r["null_3"]["coverage"].values()),
        "≥",
        0.93,
        same_run_as="inference-null",
    ),
    "inference-wider": Figure(
        "clusters 1.3 times as wide: share of campaigns of 5 against 5 replicates in which some descriptor differs",
        lambda folder: inference.measure(),
        lambda r: r["wider_5"]["any_differs"],
        lambda r: f"{r['wider_5']['any_differs']:.0%} (3 against 3: {r['wider_3']['any_differs']:.0%})",
        "≥",
        0.8,
        same_run_as="inference-null",
    ),
    "inference-denser": Figure(
        "1.5 times the locs, density varying by 20 % between replicates, 5 against 5: 95 % intervals of its ratio that hold 1.5",
        lambda folder: inference.measure(),
        lambda r: r["denser_5"]["planted_held"],
        lambda r: (
            f"{r['denser_5']['planted_held']:.0%} (3 against 3: {r['denser_3']['planted_held']:.0%}); density "
            f"differs in {r['denser_5']['planted_differs']:.0%} of campaigns (3 against 3: {r['denser_3']['planted_differs']:.0%})"
        ),
        "≥",
        0.9,
        same_run_as="inference-null",
    ),
    "dye-swap": Figure(
        "six cells, EGFR and EREG with dyes swapped: in the embedding, distance of the same protein with the other dye over that of the "
        "other protein with the same dye, upper end of the interval over cells; and same protein among the nearest ROIs (chance 50 %)",
        dye_swap.measure,
        lambda r: r["equal"]["embedding"]["ratio_high"],
        dye_swap.shown,
        "≤",
        1.0,
    ),
}


def main(names: list[str]) -> None:
    """Measure the named figures (all by default) and write the results."""
    store = HERE / "results.json"
    results: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
    for name in names or FIGURES:
        print(f"measuring {name} …", flush=True)
        if FIGURES[name].same_run_as:
            continue
        with tempfile.TemporaryDirectory(prefix="smlmbatch-bench-") as folder:
            found = FIGURES[name].measure(Path(folder))
        results[name] = found | {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": machine()}
        print(f"  {FIGURES[name].show(found)}: {FIGURES[name].verdict(found)}", flush=True)
        store.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    results |= {name: results[figure.same_run_as] for name, figure in FIGURES.items() if figure.same_run_as in results}
    (HERE / "RESULTS.md").write_text(table(results))
    if "ranks" in results:
        scaling.write(results)


def machine() -> str:
    return f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}"


def table(results: dict[str, Any]) -> str:
    """The Markdown document."""
    lines = [
        "# Measured figures",
        "",
        "Written by `python -m benchmarks.run`. Ratios are of one run on one machine; one thread unless said.",
        "",
        "| what | measured | at least | goal | reached | date | machine |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, figure in FIGURES.items():
        if name in results:
            found = results[name]
            limits = [f"{figure.bound} {limit:g}" if limit is not None else "" for limit in (figure.at_least, figure.goal)]
            shown = [figure.what, figure.show(found), *limits, figure.verdict(found), found["date"], found["machine"]]
            lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
