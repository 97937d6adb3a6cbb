"""Clustering methods on the benchmark of Nieves et al. (Nat Methods 20:259, 2023), tuned on some fields and scored on others.

The data are not part of this project (GPL-3); a folder of them is named on the command line and read in place: `scNN_gt.npz` and
`scNN_blink.npz` with `x_nm`, `y_nm`, `label` (0 = in no cluster), `fov` per loc, and `manifest.json` naming for each set the three
fields that the MIRO paper trained on. 12 fields a set: four to tune on (those three and the lowest-numbered of the others), eight to
report. What a method is tuned by is the mean of JI_c, ARI_c and AMI over its four fields (undefined = 0); ARI-dagger isn't in it, as
many tiny false clusters raise it.

`miro` is the general model with nothing tuned, told only whether molecules blink; `miro-fewshot` is tuned to the clusters of the three
fields as `smlmbatch train miro --templates` does it, with its defaults.

python -m benchmarks.nieves FOLDER --method dbscan        adds to benchmarks/nieves.json, writes benchmarks/NIEVES.md of all in it
python -m benchmarks.nieves FOLDER --method miro-fewshot --kind blink --missing        two kinds may run beside each other

A further method is a class with `looks_at`, `tune` and `labels`, and a line in METHODS.
"""

import argparse
import fcntl
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smlmbatch.clustering.dbscan import dbscan_labels
from smlmbatch.methods.folders import model_sha256, shipped
from smlmbatch.score.figures import FIGURES, Scores, score_field

if TYPE_CHECKING:
    from smlmbatch.methods.model import Model

HERE = Path(__file__).parent
KEPT, PAGE = HERE / "nieves.json", HERE / "NIEVES.md"
KINDS = ("gt", "blink")
SETS = tuple(f"sc{number:02d}_{kind}" for kind in ("gt", "blink") for number in range(2, 11))
TUNED_BY = ("ji_c", "ari_c", "ami")
CELLS = ("ari_dagger", "iou", "ji_c", "ari_c")  # the columns in which a method is compared with the baseline, set by set
BASELINE = "dbscan"
SHOWN = ("ari_dagger", "iou", "ji_c", "ari_c", "ami", "ari")
_TRUE_NOISE = 0
Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a set; positions (n,) f4 nm, truth (n,) integers with 0 = in no cluster; whether the MIRO paper trained on it."""

    set_name: str
    number: int
    x_nm: NDArray[np.float32]
    y_nm: NDArray[np.float32]
    truth: NDArray[np.int16]
    in_paper: bool = False

    @property
    def xy_nm(self) -> NDArray[np.float32]:
        return np.column_stack([self.x_nm, self.y_nm])

    @property
    def blinking(self) -> bool:
        return self.set_name.endswith("blink")

    def score(self, labels: NDArray[np.integer], *, overlap: bool = True) -> Scores:
        """Figures of labels with -1 for noise."""
        return score_field(self.x_nm, self.y_nm, self.truth, labels, truth_noise=_TRUE_NOISE, overlap=overlap)


class Method(Protocol):
    """What can be measured. `tune` sees those of a set's tuning fields that it `looks_at`; settings are what JSON can hold.

    `made_with` says which version of it figures are of; "" where there is but one.
    """

    @property
    def made_with(self) -> str: ...

    def looks_at(self, fields: Sequence[Field]) -> Sequence[Field]: ...

    def tune(self, fields: Sequence[Field]) -> Settings: ...

    def labels(self, field: Field, settings: Settings) -> NDArray[np.integer]: ...


class TunedDbscan:
    """DBSCAN with the eps and the number of locs, of a grid, that are best on the tuning fields; the first of equally good ones."""

    made_with = ""
    EPS_NM = (*range(10, 50, 4), *range(50, 105, 6))
    MIN_LOCS = (3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60, 75, 95, 120)

    def looks_at(self, fields: Sequence[Field]) -> Sequence[Field]:
        return fields

    def tune(self, fields: Sequence[Field]) -> Settings:
        grid = [{"eps_nm": eps_nm, "min_locs": min_locs} for eps_nm in self.EPS_NM for min_locs in self.MIN_LOCS]
        return max(grid, key=lambda settings: sum(goodness(field, self.labels(field, settings)) for field in fields))

    def labels(self, field: Field, settings: Settings) -> NDArray[np.integer]:
        return dbscan_labels(field.x_nm, field.y_nm, **settings)


class PublishedDbscan(TunedDbscan):
    """DBSCAN with the settings that the MIRO paper's authors tuned for each set (eps nm, number of locs), as SETS."""

    SETTINGS = (
        *((45, 7), (30, 10), (50, 4), (35, 8), (30, 6), (65, 6), (50, 4), (45, 12), (45, 7)),
        *((50, 35), (45, 50), (60, 25), (35, 34), (40, 42), (65, 32), (50, 27), (45, 50), (50, 33)),
    )

    def tune(self, fields: Sequence[Field]) -> Settings:
        eps_nm, min_locs = self.SETTINGS[SETS.index(fields[0].set_name)]
        return {"eps_nm": eps_nm, "min_locs": min_locs}


@dataclass
class GeneralMiro:
    """MIRO as it is shipped. Whether molecules blink is told, as a sample sheet would; a field's own first pass gives the rest."""

    folder: Path = field(default_factory=lambda: shipped("miro"))

    @property
    def made_with(self) -> str:
        return model_sha256(self.folder)

    @cached_property
    def model(self) -> "Model":
        from smlmbatch.methods.model import load_model

        return load_model(self.folder)

    def looks_at(self, fields: Sequence[Field]) -> Sequence[Field]:
        return ()

    def tune(self, fields: Sequence[Field]) -> Settings:
        return {}

    def labels(self, field: Field, settings: Settings) -> NDArray[np.integer]:
        from smlmbatch.methods.miro.context import acquisition
        from smlmbatch.methods.miro.infer import find_clusters

        return find_clusters(self.model.network, field.xy_nm, taken=acquisition(blinking=field.blinking)).labels


@dataclass
class FewShotMiro(GeneralMiro):
    """MIRO tuned, from the shipped model, to the clusters of the fields that the paper trained on."""

    def looks_at(self, fields: Sequence[Field]) -> Sequence[Field]:
        return [field for field in fields if field.in_paper]

    def tune(self, fields: Sequence[Field]) -> Settings:
        from smlmbatch.hpc.place import Place
        from smlmbatch.methods.miro.tuning import TunedMiro
        from smlmbatch.methods.model import load_model
        from smlmbatch.simulate.templates import templates_of
        from smlmbatch.train.session import train_model

        begun_s = time.process_time()
        name = fields[0].set_name
        method = TunedMiro(templates_of(name, [(field.xy_nm, field.truth) for field in fields]), self.model)
        recipe = method.recipe(blinking="yes" if fields[0].blinking else "no")
        with tempfile.TemporaryDirectory() as folder:
            train_model(method, recipe, Path(folder) / "m", place=Place(), device="cpu", judge_seeds=0, talk=lambda said: None)
            self.tuned = load_model(Path(folder) / "m")
        return {"cpu_min": round((time.process_time() - begun_s) / 60, 1)}

    def labels(self, field: Field, settings: Settings) -> NDArray[np.integer]:
        from smlmbatch.methods.miro.infer import find_clusters

        return find_clusters(self.tuned.network, field.xy_nm).labels


METHODS: Mapping[str, type[Method]] = {
    "dbscan": TunedDbscan,
    "dbscan-published": PublishedDbscan,
    "miro": GeneralMiro,
    "miro-fewshot": FewShotMiro,
}


def goodness(field: Field, labels: NDArray[np.integer]) -> float:
    """What methods are tuned by: mean of JI_c, ARI_c, AMI."""
    scores = field.score(labels, overlap=False)
    return float(np.mean(np.nan_to_num([getattr(scores, name) for name in TUNED_BY])))


def read_set(folder: Path, name: str) -> tuple[list[Field], list[Field]]:
    """Fields to tune on, and to report."""
    said = json.loads((folder / "manifest.json").read_text())[f"{name}.npz"]
    with np.load(folder / f"{name}.npz") as table:
        columns = {column: table[column] for column in ("x_nm", "y_nm", "label", "fov")}
    others = sorted(set(said["fovs"]) - set(said["paper_training_fovs"]))
    tuning = sorted([*said["paper_training_fovs"], others[0]])
    fields = {}
    for number in said["fovs"]:
        x_nm, y_nm, truth = (columns[c][columns["fov"] == number] for c in ("x_nm", "y_nm", "label"))
        fields[number] = Field(name, number, x_nm, y_nm, truth, number in said["paper_training_fovs"])
    return [fields[number] for number in tuning], [fields[number] for number in others[1:]]


def measure(method: Method, folder: Path, name: str) -> dict[str, Any]:
    """Tune on a set's tuning fields, score the others."""
    tuning, reported = read_set(folder, name)
    tuning = list(method.looks_at(tuning))
    settings = method.tune(tuning)
    scores = {str(field.number): field.score(method.labels(field, settings)).to_dict() for field in reported}
    tuned_on = [field.number for field in tuning]
    return {"settings": settings, "tuned_on": tuned_on, "made_with": method.made_with, "fields": scores}


# ---- the table


def means(found: Mapping[str, Any]) -> dict[str, float]:
    """Mean of every figure over a set's reported fields that have it."""
    values = {name: np.array([scores[name] for scores in found["fields"].values()], dtype=np.float64) for name in FIGURES}
    return {name: float(own[np.isfinite(own)].mean()) if np.isfinite(own).any() else np.nan for name, own in values.items()}


def table(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line per set and method, and the means over sets."""
    yield "| set | method | settings | " + " | ".join(SHOWN) + " |"
    yield "|---" * (3 + len(SHOWN)) + "|"
    for kind in KINDS:
        sets = [name for name in SETS if name.endswith(kind) and any(name in found for found in results.values())]
        for name in sets:
            for method, found in results.items():
                if name in found:
                    said = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in found[name]["settings"].values())
                    yield _line(name, method, said or "-", means(found[name]))
        for method, found in results.items():
            own = [means(found[name]) for name in sets if name in found]
            if sets and len(own) == len(sets):
                yield _line(f"**mean of {kind}**", method, "", {figure: float(np.mean([m[figure] for m in own])) for figure in FIGURES})


def above_baseline(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """In how many cells (set x figure) each method's mean lies above the baseline's, and above in how many fields of all."""
    base = results.get(BASELINE, {})
    for method, found in results.items():
        sets = [name for name in SETS if name in found and name in base]
        if method == BASELINE or not sets:
            continue
        pairs = [(means(found[name])[figure], means(base[name])[figure]) for name in sets for figure in CELLS]
        fields = [
            (scores[figure], base[name]["fields"][number][figure])
            for name in sets
            for number, scores in found[name]["fields"].items()
            for figure in CELLS
        ]
        cells, single = (sum(own is not None and other is not None and own > other for own, other in many) for many in (pairs, fields))
        of_sets = f"{cells} of {len(pairs)} means of a set ({', '.join(CELLS)})"
        yield f"{method}: above {BASELINE} in {of_sets}, {single} of {len(fields)} of fields."


def _line(name: str, method: str, settings: str, figures: Mapping[str, float]) -> str:
    return f"| {name} | {method} | {settings} | " + " | ".join(f"{figures[figure]:.3f}" for figure in SHOWN) + " |"


def document(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page: where the figures come from, the table, each set's split."""
    base, fewshot = results[BASELINE], results.get("miro-fewshot", {})
    numbers = {name: [own[name]["tuned_on"] if name in own else () for own in (base, fewshot)] for name in base}
    shown = {name: " | ".join(", ".join(map(str, own)) for own in both) for name, both in numbers.items()}
    split = [f"| {name} | {shown[name]} | {', '.join(own['fields'])} |" for name, own in base.items()]
    lines = [
        "# Clustering methods on the benchmark of Nieves et al.",
        "",
        "Written by `python -m benchmarks.nieves`. Means over the eight fields of a set on which nothing was tuned; `gt` without, `blink`",
        "with multiple blinking. DBSCAN is tuned by the mean of JI_c, ARI_c and AMI on four other fields; its settings: eps (nm), locs.",
        "`miro` is tuned on nothing, and told whether molecules blink. `miro-fewshot` is tuned to the marked clusters of three fields,",
        "those that the MIRO paper trained on; shown are its CPU minutes.",
        "",
        *table(results),
        "",
        *above_baseline(results),
        "",
        "| set | dbscan tuned on fields | miro-fewshot tuned on | reported |",
        "|---|---|---|---|",
        *split,
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the benchmark's data")
    parser.add_argument("--method", choices=METHODS, default="dbscan")
    parser.add_argument("--sets", type=lambda text: tuple(text.split(",")), default=SETS, help=f"some of {', '.join(SETS)}")
    parser.add_argument("--kind", choices=KINDS, help="sets without, or with blinking alone")
    parser.add_argument("--missing", action="store_true", help="leave out what was measured with the same version of the method")
    parser.add_argument("--model", type=Path, help="for methods of MIRO: a model's folder instead of the shipped one")
    given = parser.parse_args()
    method = METHODS[given.method](*([given.model] if given.model else []))
    for name in given.sets:
        known = _kept().get(given.method, {}).get(name, {})
        if not name.endswith(given.kind or "") or (given.missing and known.get("made_with") == method.made_with):
            continue
        found = measure(method, given.folder, name)
        print(name, found["settings"], {figure: round(value, 3) for figure, value in means(found).items()}, flush=True)
        _keep(given.method, name, found)


def _kept() -> dict[str, dict[str, Any]]:
    """Method → set → what was found."""
    return json.loads((KEPT.read_text() if KEPT.is_file() else "") or "{}")  # empty while the first one holds it


def _keep(method: str, name: str, found: Mapping[str, Any]) -> None:
    """Add to what is known, and write the page; one process at a time."""
    with KEPT.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        results = _kept()
        own = results.get(method, {}) | {name: found}
        results[method] = {known: own[known] for known in SETS if known in own}
        KEPT.write_text(_json(results))
        PAGE.write_text(document(results))


def _json(results: Mapping[str, Any]) -> str:
    """Undefined figures as null."""
    plain = json.dumps(results, indent=None, separators=(",", ":"), allow_nan=True).replace("NaN", "null")
    return plain.replace('"sc', '\n"sc') + "\n"


if __name__ == "__main__":
    main()
