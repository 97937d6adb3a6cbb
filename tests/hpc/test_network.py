"""Interfaces chosen on machines whose names resolve as they should, as Debian has it, and not at all. Names and routes are played."""

import os
import socket

import pytest

from smlmbatch.errors import ResourceError
from smlmbatch.hpc import network
from smlmbatch.hpc.network import Network, address_of, interfaces, is_loopback, route_to, settle_network
from smlmbatch.hpc.place import Place

NODES = ("n1", "n2", "n3")
INTERFACES = {"lo": "127.0.0.1", "eth0": "10.0.0.2", "ib0": "10.1.0.2"}


def on_node(monkeypatch, *, names, routes=None, here="n2"):
    """A machine that resolves these names, with the interfaces above."""
    monkeypatch.setattr(network, "address_of", lambda host: names.get(host, ""))
    monkeypatch.setattr(network, "route_to", lambda host: (routes or {}).get(host, ""))
    monkeypatch.setattr(network, "interfaces", lambda: INTERFACES)
    monkeypatch.setattr(network.os, "uname", lambda: os.uname_result(("Linux", here, "", "", "")))
    return Place(rank=NODES.index(here), world=3, local_world=1, node=NODES.index(here), host=here, hosts=NODES, launcher="srun")


def test_the_site_has_the_first_word(monkeypatch):
    place = on_node(monkeypatch, names={})
    environ = {"GLOO_SOCKET_IFNAME": "ib0"}
    assert settle_network(place, environ) == Network("ib0", "10.1.0.2", "GLOO_SOCKET_IFNAME is set")
    assert environ == {"GLOO_SOCKET_IFNAME": "ib0"}


def test_names_that_resolve_as_they_should_are_left_to_gloo(monkeypatch):
    place = on_node(monkeypatch, names={"n1": "10.0.0.1", "n2": "10.0.0.2", "n3": "10.0.0.3"})
    environ = {}
    assert settle_network(place, environ) == Network("eth0", "10.0.0.2", "where n2 resolves to")
    assert environ == {}


@pytest.mark.parametrize(("here", "other"), [("n2", "n1"), ("n1", "n2")])
@pytest.mark.parametrize("own", ["127.0.1.1", ""])
def test_own_name_at_loopback_takes_the_way_to_another_node(monkeypatch, here, other, own):
    """Debian's /etc/hosts, on the head as on any other node; and a container that doesn't know its host's name."""
    names = {"n1": "10.1.0.1", "n2": "10.1.0.2", "n3": "10.1.0.3"} | {here: own}
    place = on_node(monkeypatch, names=names, routes={other: "10.1.0.2"}, here=here)
    environ = {}
    found = settle_network(place, environ)
    assert (found.interface, found.address) == ("ib0", "10.1.0.2")
    assert str(found) == f"ib0 10.1.0.2 (leads to {other}, for {here} resolves to {own or 'nothing'} here)"
    assert environ == {"GLOO_SOCKET_IFNAME": "ib0", "NCCL_SOCKET_IFNAME": "=ib0"}


def test_what_the_site_said_to_nccl_stands(monkeypatch):
    place = on_node(monkeypatch, names={"n1": "10.0.0.1", "n2": "127.0.1.1"}, routes={"n1": "10.0.0.2"})
    environ = {"NCCL_SOCKET_IFNAME": "ib"}
    settle_network(place, environ)
    assert environ == {"GLOO_SOCKET_IFNAME": "eth0", "NCCL_SOCKET_IFNAME": "ib"}


def test_nodes_that_are_all_at_loopback_are_one_machine(monkeypatch):
    place = on_node(monkeypatch, names={"n1": "127.0.0.1", "n2": "127.0.0.1", "n3": "127.0.1.1"})
    environ = {}
    assert settle_network(place, environ).interface == "lo"
    assert environ == {"GLOO_SOCKET_IFNAME": "lo"}


def test_one_node_needs_no_network(monkeypatch):
    on_node(monkeypatch, names={})
    assert settle_network(Place(world=4, local_world=4, host="n2", hosts=("n2",)), {}).interface == "lo"


@pytest.mark.parametrize("routes", [{}, {"n1": "127.0.0.1"}, {"n1": "10.9.9.9"}], ids=["none", "loopback", "address of no interface"])
def test_no_way_to_any_other_node_is_an_error(monkeypatch, routes):
    place = on_node(monkeypatch, names={"n1": "10.0.0.1", "n2": "127.0.1.1"}, routes=routes)
    environ = {}
    said = (
        r"rank 1 of 3 on n2: n2 resolves to 127\.0\.1\.1 here, and no interface leads to n1: mend /etc/hosts, or set GLOO_SOCKET_IFNAME "
        r".*\(interfaces here: lo 127\.0\.0\.1, eth0 10\.0\.0\.2, ib0 10\.1\.0\.2\)"
    )
    with pytest.raises(ResourceError, match=said):
        settle_network(place, environ)
    assert environ == {}


def test_torchrun_outside_slurm_knows_only_where_it_meets(monkeypatch):
    on_node(monkeypatch, names={"n2": "127.0.1.1"}, routes={"n1.cluster": "10.0.0.2"})
    place = Place(rank=2, world=4, local_world=2, node=1, host="n2", launcher="torchrun", master="n1.cluster:29400")
    assert settle_network(place, {}).interface == "eth0"


# ---- this machine


def test_interfaces_of_this_machine():
    assert interfaces()["lo"] == "127.0.0.1"
    assert len(interfaces()) <= len(socket.if_nameindex())


def test_addresses():
    assert address_of("localhost") == "127.0.0.1"
    assert address_of("no-such-host.invalid") == ""
    assert route_to("127.0.0.1") == "127.0.0.1"
    assert route_to("no-such-host.invalid") == ""
    assert [is_loopback(address) for address in ("127.0.1.1", "::1", "10.0.0.1", "fe80::1%eth0", "")] == [True, True, False, False, False]
