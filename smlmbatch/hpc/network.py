"""Which network interface the ranks of one launch use to talk to each other, and why that one.

gloo takes the interface that carries the address of its machine's name. Where /etc/hosts gives that name a loopback address (Debian's
127.0.1.1), each rank would tell the others to find it at their own loopback. Then the interface is taken that leads to another node.
Decisions: what the site has set (GLOO_SOCKET_IFNAME, in `software.setup` of its profile) stands; "nodes" whose names all resolve to
loopback addresses are one machine, for no node of a real cluster finds another at its own loopback; nothing usable is an error that says
what to set. NCCL looks for an interface by itself and never by name: it is told one only where gloo had to be.
"""

import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass

from smlmbatch.errors import ResourceError
from smlmbatch.hpc.place import Place

_GLOO, _NCCL = "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"
_SIOCGIFADDR = 0x8915  # linux/sockios.h: the IPv4 address of an interface
_ANY_PORT = 9  # discard; a UDP socket that is connected sends nothing


@dataclass(frozen=True, slots=True)
class Network:
    """The interface ranks use, its address, and who chose it. Either is "" where that isn't known."""

    interface: str
    address: str
    chosen: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.interface, self.address, f"({self.chosen})") if part)


def settle_network(place: Place, environ: MutableMapping[str, str] = os.environ) -> Network:
    """Choose, and tell gloo and NCCL by their variables where they would choose wrongly. Call before ranks connect.

    Raises
    ------
    ResourceError
        several machines, this one's name resolves to a loopback address, and no interface leads to another of them
    """
    if given := environ.get(_GLOO):
        return Network(given, interfaces().get(given, ""), f"{_GLOO} is set")
    if on_one_machine(place):
        environ[_GLOO] = "lo"
        return Network("lo", "127.0.0.1", "all ranks are on one machine")
    own = os.uname().nodename
    address = address_of(own)
    if address and not is_loopback(address):
        return Network(_carrier(address), address, f"where {own} resolves to")
    network = _towards_others(place, f"{own} resolves to {address or 'nothing'} here")
    environ[_GLOO] = network.interface
    environ.setdefault(_NCCL, f"={network.interface}")  # "=": NCCL else takes all whose names begin so
    return network


def on_one_machine(place: Place) -> bool:
    """Whether all ranks of the launch share this machine, be it under the names of several nodes."""
    if place.world == place.local_world:
        return True
    return len(place.hosts) > 1 and all(is_loopback(address_of(host)) for host in place.hosts)


def address_of(host: str) -> str:
    """The first address a name resolves to here, IPv4 before IPv6; "" if it resolves to none."""
    with suppress(OSError, UnicodeError):
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])
    return ""


def is_loopback(address: str) -> bool:
    """Whether an address, with or without %zone, never leaves its machine; "" does not count."""
    return bool(address) and ipaddress.ip_address(address.partition("%")[0]).is_loopback


def interfaces() -> dict[str, str]:
    """Name → IPv4 address of each interface here that has one."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # no address
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found[name] = socket.inet_ntoa(answer[20:24])
    return found


def route_to(host: str) -> str:
    """The address of this machine from which packets to a host would leave; "" if none would. Sends nothing."""
    with suppress(OSError, UnicodeError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, _ANY_PORT))
        return str(probe.getsockname()[0])
    return ""


def _towards_others(place: Place, why: str) -> Network:
    here = (place.host, os.uname().nodename)
    # torchrun outside SLURM knows one host: where its ranks meet. On that host itself, the route there is its own address.
    others = [host for host in place.hosts if host not in here] or [place.master.rpartition(":")[0]]
    # The first of the list is the head: all others come to it
    for host in others[:2]:
        address = route_to(host) if host else ""
        if address and not is_loopback(address) and (name := _carrier(address)):
            return Network(name, address, f"leads to {host}, for {why}")
    raise ResourceError(
        f"rank {place.rank} of {place.world} on {place.host or here[1]}: {why}, and no interface leads to {others[0] or 'other nodes'}: "
        f"mend /etc/hosts, or set {_GLOO} in software.setup of the site profile (interfaces here: {_listed()})"
    )


def _carrier(address: str) -> str:
    return next((name for name, carried in interfaces().items() if carried == address), "")


def _listed() -> str:
    return ", ".join(f"{name} {address}" for name, address in interfaces().items()) or "none"
