"""Serving on a cluster, as far as it needs none; tests/cluster/test_serve.py has one."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beholder.base import events
from beholder.base.errors import BeholderError, BundleError, MachineError, UsageError
from beholder.cli.run import run
from beholder.machine import replicas
from beholder.server import cluster, replica
from beholder.server.bounds import Bounds
from beholder.server.cluster import Clustered
from beholder.server.guard import Access
from beholder.server.loading import Bundles
from beholder.server.replica import Desk, Plan
from beholder.server.run import listening


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--launch", "local:2"], "--workers 2"),
        (["--launch", "ray:2", "--workers", "3"], "--launch ray:3"),
        (["--launch", "ray:0"], "ray or ray:N"),
        (["--launch", "dask"], "ray or ray:N"),
    ],
)
def test_options_that_a_cluster_cannot_hold_are_refused(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "a.beholder", *arguments]) == 2
    assert hint in capsys.readouterr().err


def clustered(host: str = "127.0.0.1", port: int = 0) -> Clustered:
    return Clustered(Bundles({}), host, port, Bounds(), Access(), lambda host, port: [f"{host}:{port}"])


def test_the_address_is_of_the_head_node() -> None:
    assert clustered("0.0.0.0", 80)._place("10.0.0.1", False) == ("10.0.0.1", 80)
    assert clustered("127.0.0.1", 80)._place("10.0.0.1", False) == ("127.0.0.1", 80)
    with pytest.raises(UsageError, match="free port of another machine"):
        clustered()._place("10.0.0.1", False)
    host, port = clustered()._place("127.0.0.1", True)
    assert host == "127.0.0.1"
    assert port > 0
    with listening("127.0.0.1", 0) as sock, pytest.raises(UsageError, match="cannot be bound"):
        clustered(port=sock.getsockname()[1])._place("127.0.0.1", True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_noted_while_it_serves_and_given_back(number: int) -> None:
    before = signal.getsignal(number)
    with cluster.told() as stop:
        os.kill(os.getpid(), number)
        assert stop.wait(5)
    assert signal.getsignal(number) is before


def test_how_many_answer_is_said_when_it_has_changed() -> None:
    counts, looks = iter([1, 2, 2, 1]), iter([False] * 4 + [True])
    stop: Any = SimpleNamespace(wait=lambda _: next(looks))
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        cluster.watch(lambda: next(counts), stop)
    assert [event.fields["replicas"] for event in said] == [1, 2, 1]


class Remote:
    """An actor as Ray lends it, in this process."""

    def __init__(self, held: Any) -> None:
        self._held = held

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *given: getattr(self._held, name)(*given))


def test_what_a_replica_raises_at_its_start_is_what_the_command_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: Any, **__: Any) -> None:
        raise BundleError("it is damaged", code="damaged", hint="train it again")

    monkeypatch.setattr(Bundles, "load", damaged)
    for module in (replica, replicas):
        monkeypatch.setattr(module, "waited", lambda found: found)
    desk = Remote(Desk())
    with pytest.raises(MachineError) as other, cluster._raised_there(desk):
        raise MachineError("no node is left", code="not-started")
    assert other.value.code == "not-started"
    with pytest.raises(BundleError):
        replica.begun(Plan(Bundles({}), Bounds(), Access(), 1, {}), desk)
    with pytest.raises(BeholderError) as caught, cluster._raised_there(desk):
        raise MachineError("Ray cannot start it", code="not-started")
    found = caught.value
    assert (found.message, found.code, found.hint, found.exit_code) == ("it is damaged", "damaged", "train it again", 1)


def test_a_node_that_has_another_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"one")
    bundles = Bundles({"a": tmp_path / "a.onnx"})
    plan = Plan(bundles, Bounds(), Access(), 1, replica.alike(bundles))
    replica._check(plan)
    (tmp_path / "a.onnx").write_bytes(b"two")
    with pytest.raises(MachineError, match="another bundle a than"):
        replica._check(plan)
    with pytest.raises(MachineError, match="another version and bundle a than"):
        replica._check(dataclasses.replace(plan, alike={**plan.alike, "version": "0.0.1"}))
    with pytest.raises(UsageError, match="no bundle"):
        Bundles({"b": tmp_path / "b.beholder"}).digests()


def test_paths_hold_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leaves").mkdir()
    assert Bundles({"a": Path("a.beholder")}, like="leaves").absolute() == Bundles(
        {"a": tmp_path / "a.beholder"}, like=str(tmp_path / "leaves")
    )
    assert Bundles({}, like="hf:leaves").absolute().like == "hf:leaves"
    assert Bundles({}).absolute().like is None
