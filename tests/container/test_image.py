"""The image, built for real: what is in it, how it runs where nearly everything is forbidden, and what it gives."""

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ROOT, digest, smlmbatch
from tests.container.images import FOLDER, RUN, TAG, build, command, environ, missing, podman

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
NOBODY = ("--user=54321:54321", "--read-only-tmpfs=false", "--entrypoint=/usr/bin/env")
GIB = 1 << 30


@pytest.fixture(scope="module")
def image():
    reason = missing()
    if reason:
        pytest.skip(reason)
    return build()


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("container")
    smlmbatch("simulate", folder, "--replicates", "2", "--cell-um", "7", "--density", "40")
    smlmbatch("run", folder / "input", folder / "outside")
    return folder


def writable(folder):
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def binds(campaign, output):
    return (f"--volume={campaign / 'input'}:/input:ro", f"--volume={output}:/output")


def test_it_is_small_and_holds_neither_tests_nor_compilers(image):
    assert int(command("podman", "image", "inspect", "--format={{.Size}}", image).stdout) < 1.9 * GIB
    look = "command -v gcc cc pip pip3; find /opt -name tests -o -name '*.a' -o -name '.cache' -o -path '*/pip/__init__.py'"
    assert podman("-c", look + "; true", options=("--entrypoint=sh",)).stdout == ""


def test_nothing_of_the_build_machine_is_in_it(image):
    """Names of hosts that pip, apt and the environment of this machine know, its own name, and its certificates."""
    mount = command("buildah", "from", "--pull-never", image).stdout.strip()
    try:
        root = Path(command("buildah", "mount", mount).stdout.strip())
        words = own_words()
        assert words, "this machine must have a name, at least"
        found = subprocess.run(["grep", "-rlIF", *(f"-e{word}" for word in words), root / "etc", root / "opt", root / "root"],
                               capture_output=True, text=True, check=False)  # fmt: skip
        assert found.stdout == ""
        for name in ("etc/pip.conf", "root/.config", "root/.cache", "root/.netrc", "build", "wheels"):
            assert not (root / name).exists(), name
        debian = {pem for file in (root / "usr/share/ca-certificates").rglob("*.crt") for pem in certificates(file)}
        assert set(certificates(root / "etc/ssl/certs/ca-certificates.crt")) <= debian
    finally:
        command("buildah", "rm", mount)


def certificates(file):
    """PEM blocks of a file; none where there is no such file."""
    return re.findall(r"-----BEGIN CERTIFICATE-----[^-]+", file.read_text()) if file.exists() else []


def own_words():
    """Folders and hosts that only this machine's set-up names; words that Debian itself or any package has are none of them."""
    said = subprocess.run(["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    hosts = {host for host in re.findall(r"//([^/:@'\s]+)", said) if host != "pypi.org"}
    return {word for word in {*hosts, os.uname().nodename, str(ROOT)} if len(word) > 4 and word != "localhost"}


def test_nobody_runs_it_with_nearly_nothing_and_gets_the_same_digest(image, campaign, tmp_path):
    output = writable(tmp_path / "out")
    podman("-u", "HOME", "smlmbatch", "run", "/input", "/output", options=(*NOBODY, *binds(campaign, output)))
    assert digest(output) == digest(campaign / "outside")
    assert {path.stat().st_uid for path in output.rglob("*")} == {54321}
    record = json.loads((output / "smlmbatch.json").read_text())
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert record["image"]["name"] == "smlmbatch-cpu"
    assert record["image"]["revision"].removesuffix("-changed") == head


def test_the_group_may_write_where_it_is_asked_for(image, campaign, tmp_path):
    output = writable(tmp_path / "out")
    words = ("sh", "-c", "umask 002; exec smlmbatch run /input /output --only ingest")
    podman("-u", "HOME", *words, options=(*NOBODY, *binds(campaign, output)))
    assert all(path.stat().st_mode & 0o020 for path in (output / "store").rglob("*"))


def test_stopped_in_the_middle_it_ends_with_75_and_goes_on(image, campaign, tmp_path):
    output = writable(tmp_path / "out")
    name = f"smlmbatch-test-{os.getpid()}"
    words = ["podman", "run", "--rm", f"--name={name}", *RUN, "--user=54321", *binds(campaign, output), TAG, "run", "/input", "/output"]
    with subprocess.Popen(words, env=environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            deadline = time.monotonic() + 300
            while not list(output.glob("store/fields/*/ingest-*.zarr.zip")):
                assert run.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            command("podman", "kill", "--signal=TERM", name)
            assert run.wait(120) == 75
        finally:
            if run.poll() is None:
                with suppress(ProcessLookupError):
                    run.send_signal(signal.SIGKILL)
                command("podman", "rm", "-f", name)
    assert not (output / "report" / "index.html").exists()
    podman("run", "/input", "/output", options=("--user=54321", *binds(campaign, output)))
    assert digest(output) == digest(campaign / "outside")
    assert list((output / "store" / "attempts").glob("*")) == []


def test_what_the_tests_keep_is_ignored_by_git(image):
    assert FOLDER.is_dir()
    left = subprocess.run(["git", "status", "--porcelain", "wheels", ".venv-images"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert left.stdout == ""
