"""Which clusters are worked on; no Ray runs here."""

from __future__ import annotations

import sys

import pytest

from beholder.base.errors import UsageError
from beholder.machine.cluster import check, connected, on_loopback


@pytest.mark.parametrize("address", ["10.0.0.7:6379", "head:6379", "[2001:db8::1]:6379", "0.0.0.0:6379"])
def test_a_head_that_others_reach_is_refused_without_a_token(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    for mode in (None, "disabled"):
        monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
        if mode:
            monkeypatch.setenv("RAY_AUTH_MODE", mode)
        with pytest.raises(UsageError, match="no token") as error, connected():
            pass
        assert error.value.code == "open-cluster"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    check(address)


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "localhost:6379", "[::1]:6379", "127.0.0.1", "::1"])
def test_a_head_on_loopback_needs_no_token(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert on_loopback(address)
    check(address)


def test_the_ray_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(UsageError) as error, connected():
        pass
    assert error.value.code == "bad-cluster"


def test_where_ray_is_not_installed_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    with pytest.raises(UsageError, match="not installed") as error, connected():
        pass
    assert error.value.code == "no-ray"
    assert "beholder[cluster]" in error.value.hint
