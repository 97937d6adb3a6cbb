"""The card of a model: what it was made of, how, how good it is, and what it must not be used for."""

from collections.abc import Mapping, Sequence
from typing import Any

import smlmbatch
from smlmbatch.methods.folders import WEIGHTS
from smlmbatch.methods.method import Method
from smlmbatch.methods.model import settings_text
from smlmbatch.train.loop import Trained

Figures = Mapping[str, Mapping[str, float]]  # task → name of a figure → value


def card_text(method: Method, config: Any, trained: Trained, figures: Figures, *, sha256: str, world: int, seeds: int) -> str:
    """The card as Markdown. Nothing in it depends on the machine, so that the same recipe gives the same card."""
    last = trained.history[-1]
    best = trained.history[trained.progress.best_epoch]
    sizes = {name: p.numel() for name, p in trained.model.named_parameters()}
    kept = sum(size for name, size in sizes.items() if not name.startswith(method.only_in_training))
    more = f" (and {sum(sizes.values()) - kept:,} in training alone)" if sum(sizes.values()) > kept else ""
    lines = [
        f"# {method.title}",
        "",
        method.about.strip(),
        "",
        f"- made by smlmbatch {smlmbatch.__version__}, `smlmbatch train {method.name}`, {world} rank{'s' if world > 1 else ''}",
        f"- trained on {method.material}",
        f"- {kept:,} parameters{more}; {last['epoch']:.0f} epochs, weights of epoch {best['epoch']:.0f} (lowest validation loss)",
        f"- sha256 of config.toml and {WEIGHTS}: `{sha256}`",
        "- licence: as smlmbatch (BSD-3-Clause)",
        "",
        "## Figures",
        "",
        *figures_section(method, figures, seeds=seeds),
        "",
        "## Recipe",
        "",
        "```toml",
        settings_text(method.name, config).strip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def figures_section(method: Method, figures: Figures, *, seeds: int) -> Sequence[str]:
    """What the figures mean, from how many seeds they are, and the table."""
    if not figures:
        return ["Not measured (`--judge-seeds 0`)."]
    return [f"{method.figures_caption.strip()} Here {seeds} seed{'s' if seeds > 1 else ''}.", "", *figures_table(figures)]


def figures_table(figures: Figures) -> Sequence[str]:
    """Tasks down, figures across, as Markdown."""
    names = list(dict.fromkeys(name for task in figures.values() for name in task))
    head = [f"| task | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    rows = [f"| {task} | {' | '.join(f'{found[n]:.3f}' if n in found else '' for n in names)} |" for task, found in figures.items()]
    return [*head, *rows]
