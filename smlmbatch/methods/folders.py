"""Model folders on disk, without torch: where the shipped ones lie, what a model is known by, and the copy a campaign keeps of its own.

A campaign's own model is copied into OUTPUT/models/<name>-<first 12 of its sha256>/ when it is planned, so that whoever works on the
campaign later, wherever, needs the original no more.
"""

import hashlib
import os
import re
import secrets
import shutil
import stat
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from smlmbatch.errors import InputError

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.toml"
CARD: Final = "card.md"
METRICS: Final = "metrics.jsonl"
FILES: Final = (CONFIG, CARD, METRICS, WEIGHTS)  # what a model's folder may hold; anything else in it is left where it is
NEEDED: Final = (CONFIG, WEIGHTS)
RESERVED: Final = ("auto", "none", "contrastive", "miro", "pcvae")  # what `[embed] model` and `[cluster] model` may be besides a folder
_PACKAGE = Path(__file__).parents[1]  # `importlib.resources` takes ten times as long, and every field's fingerprint asks
_SHORT = 12
_MOST_BYTES: Final = 256 << 20  # read at once; the shipped weights have 54 KiB
_COPY = re.compile(r"[\w.+-]{1,48}-[0-9a-f]{12}")
_WANT, _MEND = f"a model folder with {CONFIG} and {WEIGHTS}", "name a folder that `smlmbatch train` made"

_PLAIN = ("a plain file that can be read", "copy the model's folder with its files (cp -rL)")


def shipped(name: str) -> Path:
    """The folder of a model that comes with the package."""
    return _PACKAGE / "models" / name


def model_sha256(folder: Path) -> str:
    """Checksum of a model: settings and weights. Files that didn't change are read once by a process.

    Raises
    ------
    InputError
        a file is missing, or can't be read
    """
    return _sha256(*(_state(folder / name) for name in NEEDED))


@lru_cache(maxsize=16)
def _sha256(*files: tuple[str, int, int]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in files:
        digest.update(_read(Path(path)))
    return digest.hexdigest()


def stated_settings(folder: Path) -> dict[str, Any]:
    """A model's `config.toml` as it stands, unchecked: {"method": name, name: {key: value}}. Read once while it doesn't change.

    Raises
    ------
    InputError
        it is missing, or no TOML
    """
    return _settings(*_state(folder / CONFIG))


@lru_cache(maxsize=16)
def _settings(path: str, mtime_ns: int, size: int) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(Path(path)).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(path, f"is not TOML ({error})", "the settings of a recipe", "copy the model's folder again") from error


def _state(path: Path) -> tuple[str, int, int]:
    """What tells a changed file from the same: path, time, size; refused where it can be no file of a model."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(path.parent, f"{path.name} is missing or can't be reached ({error.strerror})", _WANT, _MEND) from error
    if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for whoever writes to it
        raise InputError(path, "is no plain file", *_PLAIN)
    if found.st_size > _MOST_BYTES:
        raise InputError(path, f"has {found.st_size / 2**20:,.0f} MiB", f"a model's file of {_MOST_BYTES >> 20} MiB or less", _MEND)
    return str(path), found.st_mtime_ns, found.st_size


def _read(path: Path, *, links: bool = True) -> bytes:
    """A file's bytes. Of a user's folder no link is followed: what it leads to may be anything, and another thing tomorrow."""
    try:
        with open(os.open(path, os.O_RDONLY | (0 if links else os.O_NOFOLLOW)), "rb") as file:
            return file.read()
    except OSError as error:
        finding = "is a link" if path.is_symlink() and not links else f"can't be read ({error.strerror})"
        raise InputError(path, finding, *_PLAIN) from error


# ---- a campaign's own copy


def plain_name(folder: Path) -> str:
    """What a campaign calls a model of this folder.

    >>> plain_name(Path("a/my model")), plain_name(Path("a/auto"))
    ('my_model', 'auto_model')
    """
    slug = re.sub(r"[^A-Za-z0-9.+-]+", "_", folder.name).strip("._-")[:40].rstrip("._-") or "model"
    return f"{slug}_model" if slug in RESERVED else slug


def copy_name(name: str, sha256: str) -> str:
    """Name of a copy's folder."""
    return f"{name}-{sha256[:_SHORT]}"


def check_plain(folder: Path) -> None:
    """Refuse what is no folder with the files of a model, or holds links in their place.

    Raises
    ------
    InputError
        says which
    """
    if not folder.is_dir():
        raise InputError(folder, "there is no such folder", _WANT, _MEND)
    for name in FILES:
        if name in NEEDED and not (folder / name).exists() and not (folder / name).is_symlink():
            raise InputError(folder, f"{name} is missing", _WANT, _MEND)
        if (folder / name).is_symlink():
            raise InputError(folder / name, "is a link", *_PLAIN)


def known_copies(models: Path) -> dict[str, Path]:
    """sha256 → folder of the whole copies in OUTPUT/models."""
    found = {}
    for folder in sorted(models.iterdir()) if models.is_dir() else ():
        if _COPY.fullmatch(folder.name) and is_whole(folder):
            found[model_sha256(folder)] = folder
    return found


def is_whole(folder: Path, sha256: str = "") -> bool:
    """Whether a copy's files are those its name was given for (and those of `sha256`, if given)."""
    try:
        found = model_sha256(folder)
    except InputError:
        return False
    return folder.name.endswith(f"-{found[:_SHORT]}") and sha256 in ("", found)


def keep_copy(source: Path, models: Path, *, name: str, sha256: str) -> Path:
    """Copy a model into OUTPUT/models, where it appears whole; a damaged copy is replaced, a whole one left as it is.

    Raises
    ------
    InputError
        the source changed since it was looked at
    OSError
        OUTPUT can't be written
    """
    target = models / copy_name(name, sha256)
    if is_whole(target, sha256):
        return target
    partial = models / f".{target.name}.{secrets.token_hex(4)}.partial"  # `clean` knows such names
    partial.mkdir(parents=True)
    try:
        for file in FILES:
            if file in NEEDED or (source / file).is_file():
                _write_synced(partial / file, _read(source / file, links=False))
        if model_sha256(partial) != sha256:
            raise InputError(source, "changed while it was copied", "a model that stays as it is", "plan again")
        if target.exists():
            target.rename(models / f".{target.name}.{secrets.token_hex(4)}.partial")  # damaged
        partial.rename(target)
    except OSError:  # another process was quicker, or the disk is full
        if not is_whole(target, sha256):
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
