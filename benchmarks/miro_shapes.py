"""MIRO on shapes, mixtures, close pairs, mosaics and two scales, beside DBSCAN tuned for each of them.

Fields are those of `smlmbatch.simulate.cluster_scenarios`. DBSCAN gets, for every scenario, the setting of a grid that is best on fields of
its own (mean of JI_c, ARI_c and AMI, as in benchmarks.nieves); MIRO gets nothing but the model. Reported are other fields, on which nothing
was tuned or trained.

python -m benchmarks.miro_shapes [--model FOLDER] [--nested-model FOLDER] [--data FOLDER]

writes benchmarks/MIRO_SHAPES.md and miro_shapes.json. `--data` (or SMLMBATCH_DATA) is a folder with the benchmark of Nieves et al. in
`nieves/`: its sets 6 and 8 are then laid side by side as well.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.nieves import Field, TunedDbscan, read_set
from smlmbatch.methods.folders import shipped
from smlmbatch.methods.miro.context import acquisition
from smlmbatch.methods.miro.infer import find_clusters
from smlmbatch.methods.miro.judge_scales import LEAST_CHILD, two_truths
from smlmbatch.methods.model import Model, load_model
from smlmbatch.score.matching import Pairs, boxes_of, pair_clusters
from smlmbatch.simulate.cluster_scenarios import SCENARIOS, draw_pairs, draw_scenario, mosaic
from smlmbatch.simulate.cluster_shapes import SHAPES
from smlmbatch.simulate.clusters import ClusterField

HERE = Path(__file__).parent
TUNING_SEED, REPORT_SEED = 2**31 + 77, 2**31 + 78  # recipes' seeds are smaller
N_TUNING = 3
NESTED = ("rings_of_spots", "pores")
MIXED = ("spots_rings", "c_rings", "spots_ellipses")
SEPARATIONS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)  # sigma
MOSAIC = {"rings_small": 1920.0, "spots_ellipses": 1920.0}  # side, nm
NIEVES_SETS = ("sc06_gt", "sc08_gt")
NIEVES_SIDE_NM = 2000.0
FIGURES = ("ari_dagger", "iou", "ji_c", "ari_c", "ami")
Labels = NDArray[np.int32]
Finder = Callable[[Field], NDArray[np.integer]]


class Dbscan(TunedDbscan):
    """The grid, wider on both sides for shapes of 10 to 500 nm."""

    EPS_NM = (4, 6, 8, 10, 13, 16, 20, 25, 30, 36, 43, 50, 60, 70, 80, 95, 110, 130)
    MIN_LOCS = (2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 40)


def as_field(name: str, number: int, field: ClusterField, truth: NDArray[np.integer] | None = None) -> Field:
    """What the tuning and the scores take; `truth` instead of the field's clusters."""
    return Field(name, number, *field.xy_nm.T, field.cluster if truth is None else truth)


def tuned(fields: Sequence[Field]) -> tuple[dict[str, Any], Finder]:
    """DBSCAN's best setting for these fields, and DBSCAN with it."""
    method = Dbscan()
    settings = method.tune(fields)
    return settings, lambda field: method.labels(field, settings)


def by_network(model: Model) -> Finder:
    """MIRO without any setting: molecules of these fields are seen once."""
    taken = acquisition(blinking=False)
    return lambda field: find_clusters(model.network, np.column_stack([field.x_nm, field.y_nm]), taken=taken).labels


def mean_scores(fields: Sequence[Field], labels: Sequence[NDArray[np.integer]]) -> dict[str, float]:
    """Means over fields, and of true and found clusters."""
    scores = [field.score(own).to_dict() for field, own in zip(fields, labels, strict=True)]
    return {name: float(np.nanmean([own[name] for own in scores])) for name in (*FIGURES, "n_true", "n_found")}


# ---- shapes and classes


def shapes(model: Model, n_fields: int) -> dict[str, Any]:
    """Scenario → method → figures; of mixtures also which shape was told."""
    found: dict[str, Any] = {}
    for name in (name for name in SCENARIOS if name not in NESTED):
        drawn = [draw_scenario(name, REPORT_SEED, k) for k in range(n_fields)]
        fields = [as_field(name, k, field) for k, field in enumerate(drawn)]
        settings, dbscan = tuned([as_field(name, k, draw_scenario(name, TUNING_SEED, k)) for k in range(N_TUNING)])
        labels = [by_network(model)(field) for field in fields]
        found[name] = {
            "settings": settings,
            "dbscan": mean_scores(fields, [dbscan(field) for field in fields]),
            "miro": mean_scores(fields, labels),
        }
        if name in MIXED and model.config.classes:
            found[name]["confusion"] = confusion(model, drawn).tolist()
    return found


def confusion(model: Model, fields: Sequence[ClusterField]) -> NDArray[np.int64]:
    """True shape (rows) against told shape: (shapes + 1, shapes + 1); the last row are false clusters, the last column missed ones."""
    table = np.zeros((len(SHAPES) + 1, len(SHAPES) + 1), dtype=np.int64)
    for field in fields:
        found = find_clusters(model.network, field.xy_nm, taken=acquisition(blinking=False))
        told = told_shapes(found.labels, found.contracted.shape)
        pairs = pairs_of(field, found.labels)
        np.add.at(table, (field.shape[pairs.true], told[pairs.found]), 1)
        np.add.at(table, (np.delete(field.shape, pairs.true), -1), 1)
        np.add.at(table, (-1, np.delete(told, pairs.found)), 1)
    return table


def told_shapes(labels: Labels, shape: NDArray[np.uint8] | None) -> NDArray[np.int64]:
    """The commonest shape among each cluster's locs, background not counted; the first of equally common ones."""
    inside = labels >= 0
    assert shape is not None, "a model without classes"
    votes = np.zeros((labels.max(initial=-1) + 1, len(SHAPES) + 1), dtype=np.int64)
    np.add.at(votes, (labels[inside], shape[inside]), 1)
    return np.asarray(votes[:, 1:].argmax(axis=1))


def pairs_of(field: ClusterField, labels: NDArray[np.integer]) -> Pairs:
    """True and found clusters that are the same, as JI_c counts them."""
    xy_nm, inside, found = field.xy_nm.astype(np.float64), field.cluster > 0, labels >= 0
    return pair_clusters(boxes_of(xy_nm[inside], field.cluster[inside] - 1), boxes_of(xy_nm[found], labels[found]))


def f1_scores(table: NDArray[np.int64]) -> dict[str, float]:
    """F1 of each shape that truly occurs: 2 right / (true + told)."""
    true, told, right = table.sum(axis=1), table.sum(axis=0), np.diag(table)
    return {name: float(2 * right[k] / (true[k] + told[k])) for k, name in enumerate(SHAPES) if true[k]}


# ---- pairs


def pairs(model: Model, n_fields: int) -> dict[str, Any]:
    """Separation → method → share of pairs that are told apart, and JI_c. DBSCAN is tuned on pairs that can be: 2 sigma and more."""
    drawn = {s: [draw_pairs(REPORT_SEED, k, separation=s) for k in range(n_fields)] for s in SEPARATIONS}
    settings, dbscan = tuned([as_field("pairs", 0, draw_pairs(TUNING_SEED, 0, separation=s)) for s in SEPARATIONS if s >= 2.0])
    found: dict[str, Any] = {"settings": settings}
    for separation, fields in drawn.items():
        found[str(separation)] = {
            name: {"resolved": resolved_share(fields, labels), "ji_c": mean_scores(own, labels)["ji_c"]}
            for name, finder in (("dbscan", dbscan), ("miro", by_network(model)))
            for own in [[as_field("pairs", k, field) for k, field in enumerate(fields)]]
            for labels in [[finder(field) for field in own]]
        }
    return found


def resolved_share(fields: Sequence[ClusterField], labels: Sequence[NDArray[np.integer]]) -> float:
    """Pairs of which both spots are found, and nothing else: a method that shatters everything would find both by chance.

    Clusters 1 and 2 of a field are a pair, 3 and 4 the next.
    """
    both = []
    for field, own in zip(fields, labels, strict=True):
        is_found = np.isin(np.arange(len(field.rms_nm)), pairs_of(field, own).true).reshape(-1, 2).all(axis=1)
        there = np.unique(np.column_stack([(field.cluster - 1) // 2, own])[own >= 0], axis=0)[:, 0]
        both.append(is_found & (np.bincount(there, minlength=len(is_found)) == 2))
    return float(np.concatenate(both).mean())


# ---- mosaics


def mosaics(model: Model, data: Path | None) -> dict[str, Any]:
    """Nine fields one by one, and the same nine as one field."""
    groups = {name: ([draw_scenario(name, REPORT_SEED, k) for k in range(9)], side_nm) for name, side_nm in MOSAIC.items()}
    if data is not None:
        groups |= {name: (nieves_fields(data / "nieves", name), NIEVES_SIDE_NM) for name in NIEVES_SETS}
    finder, found = by_network(model), {}
    for name, (fields, side_nm) in groups.items():
        whole = mosaic(fields, side_nm=side_nm)
        alone = [finder(as_field(name, k, field)) for k, field in enumerate(fields)]
        labels = np.concatenate([np.where(own >= 0, own + 100_000 * k, -1) for k, own in enumerate(alone)])
        _, labels = np.unique(np.concatenate([[-1], labels]), return_inverse=True)
        together = as_field(name, 0, whole)
        found[name] = {
            "alone": mean_scores([together], [labels[1:] - 1]),
            "mosaic": mean_scores([together], [finder(together)]),
        }
    return found


def nieves_fields(folder: Path, name: str) -> list[ClusterField]:
    """Nine fields of the benchmark, none that the MIRO paper trained on."""
    from smlmbatch.simulate.nested import measured_field

    tuning, reported = read_set(folder, name)
    none = np.zeros(1000, dtype=np.int64)
    chosen = [*reported, tuning[0]][:9]
    return [measured_field(np.column_stack([f.x_nm, f.y_nm]), f.truth.astype(np.int64), shape=none, parent=none) for f in chosen]


# ---- two scales


def nested(model: Model, n_fields: int) -> dict[str, Any]:
    """Children and parents, by MIRO in one go, by DBSCAN with a setting for each."""
    from smlmbatch.methods.miro.two_scales import find_two_scales

    found: dict[str, Any] = {}
    for name in NESTED:
        drawn = {seed: [draw_scenario(name, seed, k) for k in range(n)] for seed, n in ((TUNING_SEED, N_TUNING), (REPORT_SEED, n_fields))}
        scales = {seed: [two_truths(field) for field in fields] for seed, fields in drawn.items()}
        by_miro = [find_two_scales(model.network, field.xy_nm, taken=acquisition(blinking=False)) for field in drawn[REPORT_SEED]]
        found[name] = {"per parent": children_per_parent(drawn[REPORT_SEED], by_miro)}
        for scale, which in (("children", 0), ("parents", 1)):
            tuning, fields = (
                [as_field(name, k, field, truths[which]) for k, (field, truths) in enumerate(zip(drawn[seed], scales[seed], strict=True))]
                for seed in (TUNING_SEED, REPORT_SEED)
            )
            settings, dbscan = tuned(tuning)
            found[name][scale] = {
                "settings": settings,
                "dbscan": mean_scores(fields, [dbscan(field) for field in fields]),
                "miro": mean_scores(fields, [(own.labels, own.of_parents())[which] for own in by_miro]),
            }
    return found


def children_per_parent(fields: Sequence[ClusterField], found: Sequence[Any]) -> dict[str, float]:
    """Means over parents: true children (of enough locs), and found ones of found parents."""
    true = [np.bincount(field.parent[field.size >= LEAST_CHILD])[1:] for field in fields]
    own = [np.bincount(each.parent[each.parent >= 0]) for each in found]
    return {"true": float(np.concatenate(true).mean()), "found": float(np.concatenate(own).mean()) if any(map(len, own)) else 0.0}


# ---- the page


def document(found: Mapping[str, Any]) -> str:
    """The whole page."""
    parts: Mapping[str, Callable[[Any], Iterator[str]]] = {
        "shapes": shapes_text,
        "pairs": pairs_text,
        "mosaics": mosaics_text,
        "nested": nested_text,
    }
    models = ", ".join(f"{name} `{sha256[:12]}`" for name, sha256 in found["models"].items())
    written = f"Written by `python -m benchmarks.miro_shapes`. Models: {models}."
    lines = ["# MIRO on shapes, close pairs, mosaics and two scales", "", written, ""]
    for name, text in parts.items():
        if name in found:
            lines += [*text(found[name]), ""]
    return "\n".join(lines)


def shapes_text(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## Shapes"
    yield ""
    yield "C-shapes and rings of 250 nm are the paper's and lie outside of what the model is trained on (rms up to 120 nm);"
    yield "`_small` are the same at three tenths. DBSCAN has the best setting (eps nm, locs) for each line, MIRO none."
    yield ""
    yield from _table("scenario", {name: (_settings(own["settings"]), own["dbscan"], own["miro"]) for name, own in found.items()})
    for name, own in found.items():
        if "confusion" in own:
            yield ""
            yield from confusion_text(name, np.array(own["confusion"]))


def confusion_text(name: str, table: NDArray[np.int64]) -> Iterator[str]:
    f1 = ", ".join(f"{shape} {value:.2f}" for shape, value in f1_scores(table).items())
    yield f"Shapes told in `{name}`, true ones in rows (F1: {f1}):"
    yield ""
    yield "| | " + " | ".join([*SHAPES, "missed"]) + " |"
    yield "|---" * (len(SHAPES) + 2) + "|"
    for shape, row in zip([*SHAPES, "false"], table, strict=True):
        if row.any():
            yield f"| {shape} | " + " | ".join(str(n) for n in row) + " |"


def pairs_text(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## Pairs"
    yield ""
    yield "Spots of 25 nm with a geometric number of locs (mean 90), two and two. Resolved: both are found, and nothing else"
    yield f"there. DBSCAN: {_settings(found['settings'])}, tuned on pairs of 2 to 5 sigma."
    yield ""
    yield "| sigma apart | DBSCAN resolved | MIRO resolved | DBSCAN JI_c | MIRO JI_c |"
    yield "|---" * 5 + "|"
    for separation, own in found.items():
        if separation != "settings":
            cells = [own[method][figure] for figure in ("resolved", "ji_c") for method in ("dbscan", "miro")]
            yield f"| {separation} | " + " | ".join(f"{value:.2f}" for value in cells) + " |"


def mosaics_text(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## Mosaics"
    yield ""
    yield "Nine fields one by one, and side by side as one field (MIRO, scored together). A method whose unit of length is the"
    yield "field falls apart here: the published code goes from ARI_c .75 to .15 on set 6 of Nieves et al."
    yield ""
    yield "| fields | | " + " | ".join(FIGURES) + " | true | found |"
    yield "|---" * (len(FIGURES) + 4) + "|"
    for name, own in found.items():
        for how, scores in own.items():
            yield _line(f"| {name} | {how}", scores)


def nested_text(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## Two scales"
    yield ""
    yield f"Model with parents (recipe `multiscale`); children of fewer than {LEAST_CHILD} locs count as background. DBSCAN has a"
    yield "setting for each scale; MIRO finds both in one go, and a parent's locs are those of its children."
    yield ""
    rows = {f"{name}, {scale}": own[scale] for name, own in found.items() for scale in ("children", "parents")}
    yield from _table("scenario", {name: (_settings(own["settings"]), own["dbscan"], own["miro"]) for name, own in rows.items()})
    yield ""
    for name, own in found.items():
        yield f"Children of a parent in `{name}`: {own['per parent']['true']:.2f}, found {own['per parent']['found']:.2f}."


def _table(first: str, rows: Mapping[str, tuple[str, Mapping[str, float], Mapping[str, float]]]) -> Iterator[str]:
    yield f"| {first} | | " + " | ".join(FIGURES) + " | true | found |"
    yield "|---" * (len(FIGURES) + 4) + "|"
    for name, (settings, dbscan, miro) in rows.items():
        yield _line(f"| {name} | DBSCAN {settings}", dbscan)
        yield _line(f"| {name} | MIRO", miro)


def _line(start: str, scores: Mapping[str, float]) -> str:
    figures = " | ".join(f"{scores[name]:.3f}" for name in FIGURES)
    return f"{start} | {figures} | {scores['n_true']:.0f} | {scores['n_found']:.0f} |"


def _settings(settings: Mapping[str, Any]) -> str:
    return f"{settings['eps_nm']:g}, {settings['min_locs']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=shipped("miro"))
    parser.add_argument("--nested-model", type=Path, default=shipped("miro_multiscale"))
    parser.add_argument("--data", type=Path, default=Path(os.environ["SMLMBATCH_DATA"]) if "SMLMBATCH_DATA" in os.environ else None)
    parser.add_argument("--fields", type=int, default=8, help="reported, of each scenario")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=["shapes", "pairs", "mosaics", "nested"])
    given = parser.parse_args()
    model = load_model(given.model)
    nested_model = load_model(given.nested_model) if "nested" in given.parts else model
    makers: Mapping[str, Callable[[], dict[str, Any]]] = {
        "shapes": lambda: shapes(model, given.fields),
        "pairs": lambda: pairs(model, given.fields),
        "mosaics": lambda: mosaics(model, given.data),
        "nested": lambda: nested(nested_model, given.fields),
    }
    kept = HERE / "miro_shapes.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    found.setdefault("models", {})
    for name in given.parts:
        found[name] = makers[name]()
        found["models"][name] = (nested_model if name == "nested" else model).sha256
        kept.write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "MIRO_SHAPES.md").write_text(document(found))


if __name__ == "__main__":
    main()
