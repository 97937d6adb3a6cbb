"""What frame, photons and precision of each localisation add to MIRO, where molecules blink: an ablation.

For each seed and choice of features a model learns from the same simulated fields, and is judged on fields of seeds that no recipe can have
(`methods.miro.judge`, blinking). It learns from a small part of what the shipped model did, so figures compare with each other alone.

python -m benchmarks.miro_features [--seeds 3]        adds to benchmarks/miro_features.json, writes benchmarks/FEATURES.md of all in it
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from smlmbatch.hpc.place import Place
from smlmbatch.methods.miro.judge import TASKS, judge_task
from smlmbatch.methods.miro.recipe import Miro, MiroConfig
from smlmbatch.methods.model import load_model
from smlmbatch.train.session import train_model

HERE = Path(__file__).parent
KEPT, PAGE = HERE / "miro_features.json", HERE / "FEATURES.md"
CHOICES: Final = ("", "frame", "photons", "precision", "frame,photons,precision")
TASK: Final = "with blinking"
JUDGED: Final = (11, 12, 13)  # seeds of the fields: 36 of them
FIGURES: Final = ("JI_c", "ARI_c", "AMI", "ARI", "IoU")
_SHOWN: Final = {"": "none (the shipped model's)"}


def recipe(seed: int, features: str) -> MiroConfig:
    """Fields whose molecules blink, of up to 2,000 locs as drawn (twice these with blinking)."""
    return MiroConfig(seed=seed, features=features, samples=1280, epochs=1, blinking_share=1.0, locs=(300, 2000), empty_share=0.0)


def measure(seed: int, features: str) -> dict[str, float]:
    """Figures of one model, its validation loss and the CPU minutes of its training."""
    begun_s, method, config = time.process_time(), Miro(), recipe(seed, features)
    with tempfile.TemporaryDirectory() as folder:
        train_model(method, config, Path(folder) / "m", place=Place(), device="cpu", judge_seeds=0, talk=lambda said: None)
        cpu_min = (time.process_time() - begun_s) / 60
        last = json.loads((Path(folder) / "m" / "metrics.jsonl").read_text().splitlines()[-1])
        model = load_model(Path(folder) / "m")
    return judge_task(model.network, config, TASKS[TASK], seeds=JUDGED) | {"loss": last["loss"], "cpu_min": cpu_min}


def document(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The page: means over seeds, and differences from no features, seed by seed."""
    lines = [
        "# MIRO with more than places: an ablation",
        "",
        "Written by `python -m benchmarks.miro_features`. Simulated fields whose molecules blink. Every model learns from the same",
        f"1,280 fields of a seed and is judged on the same {12 * len(JUDGED)} fields of other seeds; means over {len(found[''])} seeds of",
        "training, and the mean difference from no features with its standard error over these seeds.",
        "",
        "| features | " + " | ".join(FIGURES) + " | validation loss | CPU-min |",
        "|---" * (len(FIGURES) + 3) + "|",
    ]
    for features, of_seeds in found.items():
        cells = [_cell(of_seeds, found[""], name) for name in (*FIGURES, "loss")]
        minutes = np.mean([own["cpu_min"] for own in of_seeds.values()])
        lines.append(f"| {_SHOWN.get(features, features)} | {' | '.join(cells)} | {minutes:.1f} |")
    return "\n".join([*lines, ""])


def _cell(of_seeds: Mapping[str, Mapping[str, float]], base: Mapping[str, Mapping[str, float]], name: str) -> str:
    own = np.array([figures[name] for figures in of_seeds.values()])
    more = np.array([figures[name] - base[seed][name] for seed, figures in of_seeds.items() if seed in base])
    if len(more) < 2 or not more.any():
        return f"{own.mean():.3f}"
    return f"{own.mean():.3f} ({more.mean():+.3f} ± {more.std(ddof=1) / np.sqrt(len(more)):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    found: dict[str, dict[str, Any]] = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    for seed in map(str, range(1, given.seeds + 1)):
        for features in CHOICES:
            if seed not in found.setdefault(features, {}):
                found[features][seed] = measure(int(seed), features)
                print(f"seed {seed}, features {features or 'none'}: {found[features][seed]}", flush=True)
                KEPT.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(document(found))


if __name__ == "__main__":
    main()
