"""A Dask scheduler inside this process, and the file by which its workers find it.

The file holds the address and, unless that is declined, the certificate and key made for this one run: whoever can read
it may join, nobody else. Without them a scheduler runs whatever anybody on its network sends, as the user who started it.
It is for the user's eyes only (mode 600), appears whole, and is removed at the end.
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.hosts import expand_hosts
from smlmbatch.hpc.network import interfaces, route_to

LOGGING = "DASK_LOGGING__DISTRIBUTED"  # Dask's own variable
NO_PAGES = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # Dask serves pages on some port all the same, to anybody
_LOOK_S = 0.5
_OWNERS_ONLY = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Where a scheduler is, and what one must show there. `ours`: it was served by smlmbatch."""

    address: str
    certificate: str = ""
    key: str = ""
    ours: bool = False

    def security(self) -> Any:
        """What Dask wants to connect; None where there is no certificate (Dask's own configuration then rules)."""
        from distributed.security import Security

        if not self.certificate:
            return None
        pair = {f"tls_{role}_{what}": getattr(self, name) for role in _ROLES for what, name in _PAIR.items()}
        return Security(require_encryption=True, tls_ca_file=self.certificate, **pair)


_ROLES, _PAIR = ("client", "scheduler", "worker"), {"cert": "certificate", "key": "key"}


def keep_dask_quiet() -> None:
    """Warnings only, unless the user's environment says otherwise; looked at when Dask is imported."""
    os.environ.setdefault(LOGGING, "warning")


def files_of(file: Path) -> Path:
    """The folder beside a meeting's file in which workers without a scratch folder keep Dask's files."""
    return file.with_name(f"{file.name}.files")


@contextmanager
def serve(file: Path, *, interface: str = "", tls: bool = True) -> Iterator[Meeting]:
    """A scheduler that listens as long as the context lasts; at its end, workers are told to leave.

    Parameters
    ----------
    file : appears when workers may come
    interface : network interface to listen on; "" = the one that leads to the job's other nodes
    tls : with a certificate of its own

    Raises
    ------
    ConfigError
        the file is there already or its folder isn't, no such interface, or TLS without the package `cryptography`
    """
    keep_dask_quiet()
    from distributed import Scheduler, SpecCluster

    if file.exists():
        raise ConfigError(f"--serve {file}: there already: another run may be serving there; name another file, or remove it")
    if not file.parent.is_dir():
        raise ConfigError(f"--serve {file}: no such folder: name a file in one that all workers see, and not in a new OUTPUT")
    security = _temporary_security() if tls else None
    protocol = "tls://" if tls else "tcp://"
    options = {"host": own_address(interface), "port": 0, "protocol": protocol, "security": security} | NO_PAGES
    with SpecCluster(scheduler={"cls": Scheduler, "options": options}, security=security, silence_logs=False, name="smlmbatch") as cluster:
        pair = {"certificate": security.tls_ca_file, "key": security.tls_client_key} if security is not None else {}
        meeting = Meeting(address=cluster.scheduler_address, ours=True, **pair)
        try:
            _publish(file, meeting)
            yield meeting
        finally:
            file.unlink(missing_ok=True)
    shutil.rmtree(files_of(file), ignore_errors=True)  # of killed workers; those that are leaving remove theirs


def _temporary_security() -> Any:
    from distributed.security import Security

    try:
        return Security.temporary()
    except ImportError as error:
        raise ConfigError("--serve: its certificate needs the package `cryptography`: install it, or serve with --no-tls") from error


def _publish(file: Path, meeting: Meeting) -> None:
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNERS_ONLY)
    with open(descriptor, "w", encoding="utf-8") as out:
        json.dump(asdict(meeting), out)
    os.replace(partial, file)


def own_address(interface: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """Where a scheduler or worker of this process listens: on the interface, else where the job's other nodes come in.

    Raises
    ------
    ConfigError
        no such interface here, or no route to the other nodes
    """
    if interface:
        return _address_of(interface)
    own = environ.get("SLURMD_NODENAME") or os.uname().nodename
    nodes = environ.get("SLURM_JOB_NODELIST", "")  # not the step's: a step of one process may belong to a job of many nodes
    others = [host for host in expand_hosts(nodes) if host != own] if nodes else []
    if others:
        address = route_to(others[0])  # loopback only where the "nodes" are all this machine
        if not address:
            raise ConfigError(f"no interface leads from {own} to {others[0]}: name one, dask.interface of the site profile; {_listed()}")
        return address
    if nodes:
        return "127.0.0.1"  # a job of one node: nobody outside needs to reach it
    from distributed.utils import get_ip

    return str(get_ip())


def _address_of(interface: str) -> str:
    found = interfaces()
    if interface not in found:
        raise ConfigError(f"interface {interface}: not here, or it has no IPv4 address; {_listed()}")
    return found[interface]


def _listed() -> str:
    return "there are " + ", ".join(f"{name} {address}" for name, address in interfaces().items())


def wait_for_meeting(scheduler: str, *, wait_s: float) -> Meeting:
    """The meeting that an address (tcp://…, tls://…) or a file names; waits for the file, as all often start together.

    Raises
    ------
    ConfigError
        no such file after `wait_s`, or it is no scheduler file
    """
    if "://" in scheduler:
        return Meeting(address=scheduler)
    file, deadline = Path(scheduler), time.monotonic() + wait_s
    while not file.is_file():
        if time.monotonic() > deadline:
            raise ConfigError(f"{file}: can't reach a Dask scheduler there (no such file after {wait_s:.0f} s)")
        with contextlib.suppress(OSError):
            os.listdir(file.parent)  # makes a network file system look again, instead of remembering that there was none
        time.sleep(_LOOK_S)
    try:
        found = json.loads(file.read_text())
        known = {name: found[name] for name in Meeting.__dataclass_fields__ if name in found}
        return Meeting(**known)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{file}: can't be read as a Dask scheduler file ({error})") from error
