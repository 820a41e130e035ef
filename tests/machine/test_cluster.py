"""Which clusters are worked on; no Ray runs here."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from beholder.base.errors import MachineError, UsageError
from beholder.machine import cluster, head, launch_ray
from beholder.machine.cluster import at_hand, check, check_cluster, connected, end, on_loopback


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


class FakeRay(SimpleNamespace):
    """What `connected` and `end` call. fails: what `init` raises; there: whether the caller has a connection already"""

    def __init__(self, *, fails: Exception | None = None, there: bool = False) -> None:
        self.fails, self.there, self.ended = fails, there, list[Any]()

    def is_initialized(self) -> bool:
        return self.there

    def init(self, **_: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
        if self.fails is not None:
            raise self.fails
        self.there = True

    def shutdown(self) -> None:
        assert self.there
        self.there = False

    def nodes(self) -> list[dict[str, str]]:
        return []

    def cancel(self, task: Any, *, force: bool) -> None:
        self.ended.append((task, force))


@pytest.mark.parametrize(
    "error", [ConnectionError("nobody"), Exception("The current node timed out during startup.\nmore"), Exception()]
)
def test_whatever_ray_raises_at_its_start_is_said_as_no_cluster(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", FakeRay(fails=error))
    with pytest.raises(MachineError, match="no Ray cluster on this machine") as caught, connected():
        pass
    assert caught.value.code == "no-cluster"
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("fails", [None, ConnectionError("nobody")])
def test_signals_stay_with_whoever_handled_them(fails: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", FakeRay(fails=fails))
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with suppress(MachineError), connected():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_tasks_are_cancelled_only_on_a_connection_that_outlives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray: Any = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    with connected() as ours:
        with connected():
            pass
        end(ours, ["a"])
    assert (ray.ended, ray.there) == ([], False)
    ray.there = True
    with connected() as theirs:
        end(theirs, ["a", "b"])
    assert (ray.ended, ray.there) == ([("a", True), ("b", True)], True)


def lost(monkeypatch: pytest.MonkeyPatch, why: str) -> Any:
    """Return a Ray whose head says at once that the cluster is lost, for this reason; "": it is not."""
    ray = FakeRay()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(head, "LOOK", 0.001)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(cluster, "asking", lambda _: lambda: why)
    return ray


def test_whoever_waits_for_a_cluster_that_is_lost_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = lost(monkeypatch, "another head")

    def wait() -> None:
        with connected():
            while ray.there:
                check_cluster()

    with pytest.raises(MachineError, match="lost: another head") as error:
        wait()
    assert error.value.code == "lost-head"
    assert not ray.there
    check_cluster()


def test_whoever_goes_on_alone_is_disconnected_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = lost(monkeypatch, "another head")
    with connected(alone=True):
        while ray.there:
            pass
        with at_hand() as there:
            assert not there
        assert launch_ray._gone(ray, ["a", "b"]) == 2
    with at_hand() as there:
        assert there


class LocalRayletDiedError(Exception):
    """What Ray calls the error of a task whose node is that of this process."""


def test_a_task_that_says_so_is_believed_before_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    lost(monkeypatch, "")
    with connected():
        check_cluster()
        check_cluster(ValueError())
        with pytest.raises(MachineError, match="node of this process"):
            check_cluster(LocalRayletDiedError())
