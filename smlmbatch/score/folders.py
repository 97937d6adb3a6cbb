"""Scores of one field, or of every field of a folder: tables of two folders belong together by their name without its ending."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from smlmbatch.errors import ConfigError, InputError
from smlmbatch.score.figures import NOISE, Scores, score_field
from smlmbatch.score.labelings import ENDINGS, join_labelings, read_labeling

_RECORD = "smlmbatch.json"  # what a campaign's OUTPUT is known by


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the user says about the tables: columns that hold labels ("" = `label` or `cluster`), and which label means noise."""

    truth_column: str = ""
    labels_column: str = ""
    truth_noise: int = NOISE
    labels_noise: int = NOISE


@dataclass(frozen=True, slots=True)
class Scored:
    """One field's figures; `true_noise`, `found_noise` = locs in no cluster; none, where there should be some, may be another number's."""

    field: str
    scores: Scores
    true_noise: int
    found_noise: int


def score_tables(truth: Path, labels: Path, *, reading: Reading) -> list[Scored]:
    """Figures of each field, ordered by name.

    Parameters
    ----------
    truth, labels : two tables, or two folders of tables

    Raises
    ------
    ConfigError
        a file and a folder
    InputError
        a table that can't be used, or one without a partner
    """
    return [_score_pair(name, *pair, reading=reading) for name, pair in _pairs(truth, labels)]


def _score_pair(name: str, truth: Path, labels: Path, *, reading: Reading) -> Scored:
    joined = join_labelings(read_labeling(truth, column=reading.truth_column), read_labeling(labels, column=reading.labels_column))
    scores = score_field(
        joined.xy_nm[:, 0],
        joined.xy_nm[:, 1],
        joined.truth,
        joined.labels,
        truth_noise=reading.truth_noise,
        labels_noise=reading.labels_noise,
    )
    return Scored(name, scores, int((joined.truth == reading.truth_noise).sum()), int((joined.labels == reading.labels_noise).sum()))


def _pairs(truth: Path, labels: Path) -> Iterator[tuple[str, tuple[Path, Path]]]:
    for path in (truth, labels):
        if not path.exists():
            raise ConfigError(f"{path}: there is no such file or folder")
    if truth.is_dir() != labels.is_dir():
        raise ConfigError(f"{truth} and {labels}: one is a folder, the other a file; name two of a kind")
    if not truth.is_dir():
        yield truth.stem, (truth, labels)
        return
    true, found = _tables(truth), _tables(labels)
    for here, own, other, others in ((truth, true, labels, found), (labels, found, truth, true)):
        if lonely := sorted(own.keys() - others.keys()):
            finding = f"{len(lonely)} of {len(own)} tables have no partner in {other}, the first is {own[lonely[0]].name}"
            raise InputError(here, finding, "tables of equal names in both folders", "take those out, or label their fields")
    for name in sorted(true):
        yield name, (true[name], found[name])


def _tables(folder: Path) -> Mapping[str, Path]:
    """Tables of a folder by their name without its ending."""
    if (folder / _RECORD).exists():
        mend = f"`smlmbatch export {folder} FOLDER --what locs --labels`, and name FOLDER/locs (files have the fields\u2019 keys)"
        raise InputError(folder, "is a campaign", "a folder of tables with a label for each loc", mend)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in ENDINGS or path.name.startswith("."):
            continue
        if path.stem in found:
            raise InputError(path, f"{found[path.stem].name} lies beside it", "one table per field", "take one of both out")
        found[path.stem] = path
    if not found:
        raise InputError(folder, "no table", f"files ending in {', '.join(ENDINGS)}", "name the folder that holds them")
    return found
