"""What each setting of the contrastive recipe is worth: one setting changed at a time, several seeds each.

    python -m benchmarks.ablation [--budget small] [--seeds 3] [--workers 2] [--only pool,temperature] [--card MODEL_FOLDER]

A trial is one network trained from one seed (weights, pairs and order of learning) with one change, and measured on the simulated ROIs of
`simulate/rois.py`, draws 11 and 12: the recipe was chosen on draws 100 and 101, and a model's own figures are of draws 1 to 5. Budgets:
`small` = 3,072 pairs, 8 epochs (half a minute a trial on one core); `full` = what the recipe says. Each finished trial is a line in
ablation.jsonl, so an interrupted run goes on where it was; a trial of other settings (another default, another budget) is another line.
The table of what is there is written to ABLATION.md, and with --card into a model's card.
"""

import argparse
import dataclasses
import hashlib
import json
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from smlmbatch.hpc.numerics import pin_numerics

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "ablation.jsonl"
TABLE: Final = HERE / "ABLATION.md"
JUDGED_ON: Final = (11, 12)
HEADING: Final = "## Ablation"

# Changed setting → its values; the recipe's own value is left out when trials are planned, for it is the row "default".
VARIED: Final[Mapping[str, tuple[Any, ...]]] = {
    "as_if_locs": (0.0,),
    "pool": (1, 4),
    "temperature": (0.05, 0.1, 0.5),
    "weighting": ("outside", "logit", "none"),
    "head": ("linear", "sigmoid"),
    "counts": ("raw", "sqrt", "log1p", "binary"),
    "density_jitter": (0.0,),
    "dropout": (0.0, 0.2),
}
UNTRAINED: Final = "untrained"
BUDGETS: Final[Mapping[str, Mapping[str, Any]]] = {"small": {"samples": 3072, "epochs": 8}, "full": {}}
# Columns: (set, figure) → heading. What has a set of equal numbers of locs comes first: there density is no help.
COLUMNS: Final[Mapping[tuple[str, str], str]] = {
    ("clusters_900", "ARI"): "5 classes, 900 locs",
    ("clusters_equal_n", "ARI"): "4 classes, equal N",
    ("kinds_900", "ARI"): "kinds, 900 locs",
    ("sigma_900", "ARI"): "sigma, 900 locs",
    ("clusters_random_5", "ARI"): "5 classes, random p",
    ("clusters_random_4", "ARI"): "4 classes, random p",
    ("clusters_fixed", "ARI"): "5 classes, fixed p",
    ("fibre_gradient", "Spearman"): "fibres, Spearman",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One network to train: what is changed (as it stands in the table), all settings, the seed."""

    change: str
    values: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Known by all its settings, so that a changed default is another trial."""
        return hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()[:16]


def planned_trials(*, budget: str, seeds: int, only: Sequence[str] = ()) -> list[Trial]:
    """All trials, seed by seed, so that whatever is done of them can be compared."""
    from smlmbatch.methods.contrastive.recipe import PAPER, Contrastive, ContrastiveConfig
    from smlmbatch.methods.model import config_of

    default = ContrastiveConfig(**BUDGETS[budget])
    # The paper's network and loss, at this recipe's raster, length and rate of learning: its own takes hours.
    kept = ("side_px", "samples", "shard_samples", "epochs", "learning_rate", "schedule", "seed")
    paper = dataclasses.asdict(PAPER) | {name: getattr(default, name) for name in kept}
    changes: dict[str, dict[str, Any]] = {"default": {}}
    for name, options in VARIED.items():
        if not only or name in only:
            changes |= {f"{name} = {option}": {name: option} for option in options if option != getattr(default, name)}
    if not only or UNTRAINED in only:
        changes[UNTRAINED] = {"learning_rate": 1e-30}  # of its settings all that differs, so that the trial has a key of its own
    if not only or "paper" in only:
        convolutions: dict[str, Any] = {"encoder": "paper", "channels": (8, 16)}
        changes["encoder = paper"] = convolutions
        changes["encoder = paper, as_if_locs = 0"] = convolutions | {"as_if_locs": 0.0}
        changes["the paper's network and loss"] = paper
    base = dataclasses.asdict(default)
    return [
        Trial(change, dataclasses.asdict(config_of(Contrastive(), base | values | {"seed": seed})))
        for seed in range(1, seeds + 1)
        for change, values in changes.items()
    ]


def run_trial(trial: Trial) -> dict[str, Any]:
    """Train and measure; one line of results."""
    import torch

    from smlmbatch.hpc.heap import keep_freed_memory
    from smlmbatch.methods.contrastive.judge import judge
    from smlmbatch.methods.contrastive.recipe import Contrastive
    from smlmbatch.methods.method import Alone
    from smlmbatch.methods.model import config_of
    from smlmbatch.train.loop import LoopOptions, train

    keep_freed_memory()
    torch.set_num_threads(1)
    method = Contrastive()
    config = config_of(method, trial.values)
    begun_s = time.process_time()
    if trial.change == UNTRAINED:
        torch.manual_seed(config.seed)
        figures = judge(method.build(config), config, seeds=JUDGED_ON)
        return {"key": trial.key, "change": trial.change, "seed": config.seed, "cpu_s": 0.0, "top_1": float("nan"), "figures": figures}
    with tempfile.TemporaryDirectory(prefix="smlmbatch-ablation-") as folder:
        options = LoopOptions(folder=Path(folder), device=torch.device("cpu"), checkpoint_s=1e9)
        trained = train(method, config, options, Alone(), lambda said: None)
    cpu_s = time.process_time() - begun_s
    figures = judge(trained.model, config, seeds=JUDGED_ON)
    found = {"key": trial.key, "change": trial.change, "seed": trial.values["seed"], "cpu_s": round(cpu_s, 1)}
    return found | {"top_1": trained.history[-1]["top_1"], "figures": figures, "settings": dict(trial.values)}


def read_results(path: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Key of a trial → its line; a line that a kill cut off is none."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        found[entry["key"]] = entry
    return found


def run_missing(trials: Iterable[Trial], *, workers: int, path: Path = RESULTS) -> None:
    """Run what has no line yet, each in a process of its own, and add its line."""
    from smlmbatch.hpc.pool import map_units

    known = read_results(path)
    missing = [trial for trial in trials if trial.key not in known]
    print(f"{len(missing)} trials to run", flush=True)
    for trial, found in map_units(run_trial, missing, workers=workers, scheduler="", scratch=path.parent):
        if isinstance(found, BaseException):
            raise found
        with path.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(f"  {trial.change}, seed {found['seed']}: {found['cpu_s']:.0f} s", flush=True)


def table(trials: Sequence[Trial], results: Mapping[str, dict[str, Any]]) -> list[str]:
    """Markdown: a row per change, mean ± standard deviation over seeds, bold where it differs from the default by two standard errors."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        rows.setdefault(trial.change, [])
        if trial.key in results:
            rows[trial.change].append(results[trial.key])
    lines = [f"| change | seeds | {' | '.join(COLUMNS.values())} | top-1 |", "|---|" + "---|" * (len(COLUMNS) + 2)]
    base = rows.get("default", [])
    for change, done in rows.items():
        if done:
            cells = [_cell(_values(done, column), _values(base, column)) for column in (*COLUMNS, None)]
            lines.append(f"| {change} | {len(done)} | {' | '.join(cells)} |")
    return lines


def _values(done: Sequence[Mapping[str, Any]], column: tuple[str, str] | None) -> list[float]:
    return [line["top_1"] if column is None else line["figures"][column[0]][column[1]] for line in done]


def _cell(values: Sequence[float], base: Sequence[float]) -> str:
    import numpy as np

    mean = float(np.mean(values))
    if not np.isfinite(mean):
        return "-"
    if len(values) < 2:
        return f"{mean:.2f}"
    spread = float(np.std(values, ddof=1))
    shown = f"{mean:.2f} ± {spread:.2f}"
    if len(base) < 2 or values == base:
        return shown
    error = float(np.hypot(spread / np.sqrt(len(values)), np.std(base, ddof=1) / np.sqrt(len(base))))
    return f"**{shown}**" if abs(mean - float(np.mean(base))) > 2 * error else shown


def section(trials: Sequence[Trial], results: Mapping[str, dict[str, Any]], *, budget: str) -> str:
    """Heading, what the figures are, and the table."""
    first = trials[0].values
    text = f"""
One setting of the recipe changed at a time;
{first["samples"]:,} pairs, {first["epochs"]} epochs, {first["side_px"]} px (budget `{budget}` of
`python -m benchmarks.ablation`). K-means ARI and the gradient's |Spearman|, mean ± standard deviation over seeds of training, each
on draws {" and ".join(map(str, JUDGED_ON))} of the simulated ROIs. Bold: further from the default than twice the standard error of
the difference. Top-1: share of validation patterns whose partner is nearest of all in the batch; where pairs or weighting differ it
can't be compared.
"""
    return "\n".join([HEADING, text, *table(trials, results)]) + "\n"


def put_into_card(card: Path, text: str) -> None:
    """Before the recipe; an earlier ablation's section is replaced."""
    before, found, rest = card.read_text().partition(HEADING)
    if found:
        rest = rest[rest.find("\n## ") + 1 :] if "\n## " in rest else ""
    else:
        before, heading, rest = before.partition("## Recipe")
        rest = heading + rest
    card.write_text(f"{before}{text}\n{rest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--budget", choices=BUDGETS, default="small")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=lambda text: tuple(text.split(",")), default=(), help=f"some of {', '.join(VARIED)}, paper")
    parser.add_argument("--card", type=Path, help="model folder whose card gets the table")
    given = parser.parse_args()
    trials = planned_trials(budget=given.budget, seeds=given.seeds, only=given.only)
    run_missing(trials, workers=given.workers)
    text = section(trials, read_results(), budget=given.budget)
    TABLE.write_text(text.replace(HEADING, "# Ablation of the contrastive recipe", 1))
    if given.card:
        put_into_card(given.card / "card.md", text)


if __name__ == "__main__":
    pin_numerics()
    main()
