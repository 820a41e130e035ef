"""By which addresses others reach this machine: never one that no other machine can open."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from beholder.cli import serve
from beholder.machine import network


def test_addresses_of_one_machine_and_of_one_link_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["127.0.1.1", "10.1.2.3", "169.254.9.9", "192.168.7.4", "10.1.2.3"]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(0, 0, 0, "", (each, 0)) for each in found])
    monkeypatch.setattr(socket, "socket", refused)
    assert network.addresses() == ["10.1.2.3", "192.168.7.4"]
    found[:] = ["::1", "fe80::1%eth0", "2001:db8:1::5"]
    assert network.addresses(v6=True) == ["2001:db8:1::5"]


def refused(*_: Any) -> Any:
    raise OSError("Network is unreachable")


def test_without_a_network_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket, "socket", refused)
    assert network.addresses() == network.addresses(v6=True) == []
    assert serve._names("0.0.0.0") == ["127.0.0.1"]
    assert serve._names("::") == ["::1"]


def test_a_server_on_all_networks_is_told_by_addresses_that_others_can_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "addresses", lambda *, v6=False: ["2001:db8::5"] if v6 else ["10.1.2.3", "192.168.7.4"])
    assert serve._names("0.0.0.0") == ["10.1.2.3", "192.168.7.4"]
    assert serve._names("::") == ["2001:db8::5"]
    assert serve._names("10.1.2.3") == ["10.1.2.3"]


class Chosen:
    """A datagram socket that has chosen its address on the way outside."""

    def __init__(self, family: int, _: int) -> None:
        self.address = "2001:db8:7::1" if family == socket.AF_INET6 else "10.9.8.7"

    def __enter__(self) -> Chosen:
        return self

    def __exit__(self, *_: object) -> None: ...

    def connect(self, _: object) -> None: ...

    def getsockname(self) -> tuple[str, int]:
        return self.address, 1


def test_the_usual_way_out_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", Chosen)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(0, 0, 0, "", ("192.168.7.4", 0)), (0, 0, 0, "", ("10.9.8.7", 0))])
    assert network.addresses() == ["10.9.8.7", "192.168.7.4"]
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    assert network.addresses(v6=True) == ["2001:db8:7::1"]


def test_a_name_that_cannot_be_looked_up_costs_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", Chosen)
    monkeypatch.setattr(socket, "gethostname", lambda: "a..b")
    assert network.addresses() == ["10.9.8.7"], "no name of DNS: UnicodeError"
    asked = threading.Event()

    def silent(*_: Any) -> Any:
        asked.set()
        answered.wait(30)
        return []

    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", silent)
    monkeypatch.setattr(network, "PATIENCE", 0.01)
    assert network.addresses() == ["10.9.8.7"]
    assert asked.wait(5)
    answered.set()
