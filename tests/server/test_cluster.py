"""Serving on a cluster, as far as it needs none; tests/cluster/test_serve.py has one."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.server.fakes import Fake

from beholder.base import events
from beholder.base.errors import BeholderError, BundleError, MachineError, UsageError
from beholder.cli.run import run
from beholder.machine import replicas
from beholder.server import cluster, replica
from beholder.server.bounds import Bounds
from beholder.server.cluster import Clustered
from beholder.server.guard import Access
from beholder.server.loading import Bundles, Loaded
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
    counts, looks = iter([1, 1, 2, 2, 1]), iter([False] * 4 + [True])
    stop: Any = SimpleNamespace(wait=lambda _: next(looks))
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        cluster.watch(lambda: next(counts), stop)
    assert [event.fields["replicas"] for event in said] == [2, 1]


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


class Reached:
    """A desk as a replica reaches it: every answer is waited for; lost: it is gone."""

    def __init__(self) -> None:
        self.desk, self.lost, self.asked = Desk(), False, 0

    def __getattr__(self, name: str) -> Any:
        async def remote(*given: Any) -> Any:
            self.asked += 1
            if self.lost:
                raise ConnectionAbortedError
            return getattr(self.desk, name)(*given)

        return SimpleNamespace(remote=remote)


async def life(made: replica.Replica, work: Callable[[], Awaitable[None]]) -> list[str]:
    """Return what a replica says in its life, in which `work` is done."""
    said: list[str] = []
    begin, end = asyncio.Event(), asyncio.Event()
    turns = iter([begin, end])

    async def receive() -> Any:
        await next(turns).wait()
        return {}

    async def send(message: Any) -> None:
        said.append(message["type"])

    begin.set()
    living = asyncio.create_task(made({"type": "lifespan"}, receive, send))
    await asyncio.sleep(0.1)
    await work()
    end.set()
    await living
    return said


def test_a_replica_leaves_what_it_counted_and_adds_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundles, "load", lambda *_, **__: Loaded({"colours": Fake()}, {}, {}))
    monkeypatch.setattr(replica, "is_lost", lambda error: isinstance(error, ConnectionAbortedError))
    monkeypatch.setattr(replica, "EACH", 0.01)
    desk, heard = Reached(), []
    desk.desk.leave("other", "# TYPE beholder_workers gauge\nbeholder_workers 1\n")
    made = replica.Replica(Plan(Bundles({}), Bounds(), Access(), 1, {}), desk)

    async def metrics() -> dict[str, float]:
        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        headers = [(b"host", b"localhost")]
        scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": headers, "query_string": b""}
        await made(scope, receive, send)
        families = text_string_to_metric_families(b"".join(message["body"] for message in said[1:]).decode())
        return {sample.name: sample.value for family in families for sample in family.samples}

    async def work() -> None:
        found = await metrics()
        assert (found["beholder_workers"], "beholder_connections" in found) == (2, False)
        assert "beholder_workers 2.0" in desk.desk.others("third")
        desk.lost, before = True, desk.asked
        while desk.asked < before + 4:
            await asyncio.sleep(0.01)
        assert (await metrics())["beholder_workers"] == 2  # as they were last

    with events.listen(heard.append, alone=True):
        assert asyncio.run(life(made, work)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert [event.message for event in heard] == ["what other replicas count is not added up: ConnectionAbortedError"]


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
