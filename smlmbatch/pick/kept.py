"""Which file of centres a campaign picks from, and the copy that it keeps of it: OUTPUT/picks/<name>-<first 12 of its sha256>.<suffix>

Settled when a campaign is planned, as models are: from then on the settings hold the file's name and sha256, and whoever works on the
campaign later, wherever, needs the original no more. Another file, or the same one changed, is said again; units follow the sha256.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from smlmbatch.config import Config, PickConfig
from smlmbatch.errors import ConfigError, InputError
from smlmbatch.provenance import hash_file
from smlmbatch.samples import Field
from smlmbatch.store.units import write_whole

PICKS: Final = "picks"  # folder of a campaign's copies under OUTPUT
WANT: Final = "a CSV of centres with the columns x and y, or pick regions that Picasso saved"
SUFFIXES: Final = (".csv", ".txt", ".tsv", ".yaml", ".yml")
_MOST_BYTES: Final = 64 << 20  # a million centres
_SHORT: Final = 12
_COPY: Final = re.compile(r"[A-Za-z0-9.+_-]{1,40}-[0-9a-f]{12}\.(?:csv|txt|tsv|ya?ml)")


def settle_picks(config: Config, folder: Path) -> tuple[Config, Path | None]:
    """The settings with the file's sha256, and where it is to be copied from; None where nothing is to be copied.

    Parameters
    ----------
    folder : OUTPUT/picks

    Raises
    ------
    InputError
        the file is not there or can't be read
    ConfigError
        the settings name a copy that the campaign doesn't have
    """
    pick = config.pick
    if pick.source != "file":
        return config, None
    source = Path(pick.picks)
    if pick.picks_sha256 and _is_whole(pick, folder):
        return replace(config, pick=replace(pick, picks=source.name)), None
    if pick.picks_sha256 and not source.is_file():
        raise ConfigError(f"pick.picks = {pick.picks!r}: the campaign's copy of this file is not there: say --picks FILE again")
    sha256 = hashlib.sha256(read_bytes(source)).hexdigest()
    if pick.picks_sha256 not in ("", sha256):
        raise ConfigError(f"pick.picks_sha256 = {pick.picks_sha256!r}, but {source} has {sha256}: leave it out, or name the other file")
    return replace(config, pick=replace(pick, picks=source.name, picks_sha256=sha256)), source


def read_bytes(path: Path) -> bytes:
    """What a file of centres holds.

    Raises
    ------
    InputError
        it is not there, no plain file, has another suffix, is empty or far too large
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(path, f"has the suffix {path.suffix!r}", f"{WANT} ({', '.join(SUFFIXES)})", "save the centres as one of these")
    if not path.is_file():
        raise InputError(path, "is not there, or no plain file", WANT, "correct --picks")
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= _MOST_BYTES else b""
    except OSError as error:
        raise InputError(path, f"can't be read ({error.strerror})", WANT, "give read permission") from error
    if size > _MOST_BYTES:
        raise InputError(path, f"has {size >> 20} MiB", f"{WANT}, of {_MOST_BYTES >> 20} MiB or less", "name the centres, not the locs")
    if not content.strip():
        raise InputError(path, "is empty", WANT, "save the centres again")
    return content


def kept_file(pick: PickConfig, folder: Path) -> Path:
    """Where the campaign's copy of its file lies."""
    name = Path(pick.picks)
    slug = re.sub(r"[^A-Za-z0-9.+-]+", "_", name.stem).strip("._-")[:40] or PICKS
    return folder / f"{slug}-{pick.picks_sha256[:_SHORT]}{name.suffix.lower()}"


def unused_copies(pick: PickConfig, folder: Path) -> list[Path]:
    """Copies of other files than the campaign's."""
    used = kept_file(pick, folder) if pick.source == "file" else None
    copies = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in copies if path != used and _COPY.fullmatch(path.name)]


def kept_bytes(pick: PickConfig, folder: Path) -> bytes:
    """What the campaign's copy holds.

    Raises
    ------
    InputError
        it is missing or damaged
    """
    if not _is_whole(pick, folder):
        finding = "the campaign's copy of this file is missing or damaged"
        mend = "plan again with --picks and the file, then run with --retry-failed"
        raise InputError(pick.picks, finding, f"the file of sha256 {pick.picks_sha256[:_SHORT]}", mend)
    return kept_file(pick, folder).read_bytes()


def _is_whole(pick: PickConfig, folder: Path) -> bool:
    path = kept_file(pick, folder)
    return path.is_file() and hash_file(path) == pick.picks_sha256


def without_picks(fields: Sequence[Field], *, root: Path, pick: PickConfig) -> tuple[tuple[Field, ...], tuple[tuple[str, str], ...]]:
    """(the fields, and (path, reason) of the file of centres, which looks like a table of locs where it lies in INPUT)."""
    if pick.source != "file":
        return tuple(fields), ()
    same = {
        field.path
        for field in fields
        if Path(field.path).name == pick.picks and (root / field.path).is_file() and hash_file(root / field.path) == pick.picks_sha256
    }
    return tuple(field for field in fields if field.path not in same), tuple((path, "centres of particles") for path in sorted(same))


def keep_picks(source: Path, folder: Path, pick: PickConfig) -> None:
    """Copy the file into OUTPUT, where it appears whole.

    Raises
    ------
    InputError
        it changed since it was looked at
    """
    if _is_whole(pick, folder):
        return
    content = read_bytes(source)
    if hashlib.sha256(content).hexdigest() != pick.picks_sha256:
        raise InputError(source, "changed while it was copied", "a file that stays as it is", "plan again")
    write_whole(kept_file(pick, folder), content)
