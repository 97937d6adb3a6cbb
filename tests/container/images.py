"""Builds the image on a Debian made on the spot, for there may be no registry, and runs it by podman.

All of it is kept in one folder (`$SMLMBATCH_IMAGES`, else `.venv-images`): the base, the layer of packages, which is made again only when
the lock file changes, and the image.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

PROGRAMS = ("buildah", "podman", "runc", "debootstrap")
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
BASE = "localhost/smlmbatch-base:bookworm"
TAG = "localhost/smlmbatch:test"
FOLDER = Path(os.environ.get("SMLMBATCH_IMAGES", ROOT / ".venv-images")).absolute()
# What a debootstrap takes over from its machine, and what no image needs.
CLEARED = (
    "etc/hostname",
    "etc/resolv.conf",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)
# A root without all capabilities, and no systemd: as on test machines.
RUN = (
    "--runtime=runc",
    "--cgroup-manager=cgroupfs",
    "--ulimit=nofile=4096:4096",
    "--ulimit=nproc=4096:4096",
    "--network=none",
    "--read-only",
)


def missing() -> str | None:
    """Why no image can be made here, or None."""
    if os.geteuid() != 0:
        return "building on a base made on the spot takes root"
    absent = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
    return f"not installed: {', '.join(absent)} (tests/container/install.sh)" if absent else None


def environ() -> dict[str, str]:
    """Storage of our own, so that nothing is left on the machine but `FOLDER`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    config = FOLDER / "storage.conf"
    config.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{FOLDER}/storage"\nrunroot = "{FOLDER}/run"\n')
    return os.environ | {"CONTAINERS_STORAGE_CONF": str(config), "BUILDAH_ISOLATION": "chroot", "PATH": SEARCH}


def command(*words: str | os.PathLike[str], expect: int = 0, **options) -> subprocess.CompletedProcess[str]:
    """Run; fails the test on another exit code."""
    done = subprocess.run(
        list(map(os.fspath, words)), env=environ() | options.pop("env", {}), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == expect, f"{words} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def build() -> str:
    """The image's tag."""
    if subprocess.run(["podman", "image", "exists", BASE], env=environ(), check=False).returncode:
        _make_base()
    command(ROOT / "jobs" / "image.sh", "cpu", TAG, env={"BASE": BASE, "BUILDER": "buildah", "PYTHON": sys.executable})
    return TAG


def _make_base() -> None:
    root = FOLDER / "base"
    command("rm", "-rf", root)
    command("debootstrap", "--variant=minbase", "--include=python3,python3-venv", "bookworm", root)
    command("rm", "-rf", *(root / name for name in CLEARED))
    excluded = ("--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*")
    command("tar", "-C", root, "-cf", FOLDER / "base.tar", *excluded, ".")
    command("podman", "import", FOLDER / "base.tar", BASE)
    command("rm", "-rf", root, FOLDER / "base.tar")


def podman(*words: str | os.PathLike[str], options: tuple[str, ...] = (), expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the image: no network, nothing writable but what is bound."""
    return command("podman", "run", "--rm", *RUN, *options, TAG, *words, expect=expect)
