"""Serving by replicas of a Ray cluster: the answers and refusals are those of one server, whatever becomes of a replica."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.server.fakes import served

import beholder
from beholder.runtime.export import export
from beholder.server.loading import Bundles

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux tells which processes there are in /proc"),
]
ROOT = Path(__file__).parents[2]
KEY = {"X-API-Key": "sesame"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, draw: Any) -> tuple[list[Path], Path]:
    """(pictures, bundle's folder)."""
    folder = tmp_path_factory.mktemp("cluster")
    source = draw(folder / "leaves", size=(37, 29))
    parts = beholder.split(beholder.scan(source), seed=0)
    export(beholder.train(parts, net="cnn", epochs=1, batch=8, out=folder / "leaves.beholder", precision="fp32"))
    return sorted(source.rglob("*.png")), folder / "leaves.beholder"


@contextmanager
def command(*arguments: str) -> Iterator[tuple[Any, int]]:
    """Lend `beholder serve` with these arguments, and its port once it serves."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src", "OMP_NUM_THREADS": "1", "BEHOLDER_KEYS": KEY["X-API-Key"]}
    words = [sys.executable, "-m", "beholder", "serve", *arguments, "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment) as running:
        try:
            said = ""
            while not (found := re.search(r" at http://127\.0\.0\.1:(\d+)/\n", said)):
                line = running.stderr.readline()
                assert line, said
                said += line
            yield running, int(found[1])
        finally:
            running.terminate()
            running.wait(60)


def ask(port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] = KEY) -> tuple[int, Any]:
    """Return status and answer, parsed where it is JSON."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        data = reply.read()
        return reply.status, json.loads(data) if reply.headers["Content-Type"] == "application/json" else data
    finally:
        connection.close()


def counted(port: int) -> dict[str, float]:
    """Return the sums of the metrics by name."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(ask(port, "GET", "/metrics")[1].decode()):
        for sample in family.samples:
            found[sample.name] += sample.value
    return dict(found)


def replicas() -> set[int]:
    """Return the replicas of the cluster of these tests, of which this process is the ancestor."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue

    def ours(process: int) -> bool:
        return process == os.getpid() or (process > 1 and ours(parents.get(process, 0)))

    return {process for process, name in names.items() if name.startswith("ray::ServeReplica") and ours(process)}


def until(wanted: Any, seconds: float = 60) -> None:
    """Wait until `wanted()` holds."""
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end
        time.sleep(0.1)


def hammer(port: int, data: bytes, stop: threading.Event, outcomes: list[tuple[int, Any]]) -> None:
    while not stop.is_set():
        outcomes.append(ask(port, "POST", "/predict", data))


def test_replicas_answer_as_one_server_does_and_one_that_is_killed_is_replaced(
    two_nodes: str, trained: tuple[list[Path], Path]
) -> None:
    files, path = trained
    data = files[0].read_bytes()
    with served(dict(Bundles({"pets": path}).load(1).recognisers)) as local:
        expected = [local.ask("POST", "/predict", file.read_bytes())[1]["answers"] for file in files[:12]]
        models = local.ask("GET", "/models")[1]
    with command(f"pets={path}", "--launch", "ray:2", "--body", "1") as (running, port):
        assert ask(port, "GET", "/models") == (200, models)
        assert [ask(port, "POST", "/predict", file.read_bytes())[1]["answers"] for file in files[:12]] == expected
        assert ask(port, "POST", "/predict", data, {})[1]["error"]["code"] == "no-key"
        assert [ask(port, "GET", each, None, {})[0] for each in ("/healthz", "/readyz", "/", "/metrics")] == [
            200,
            200,
            200,
            401,
        ]
        assert ask(port, "POST", "/predict", b"x" * (2 << 20))[1]["error"]["code"] == "body-too-large"
        assert ask(port, "POST", "/predict", b"x")[0] == 422
        until(lambda: counted(port)["beholder_workers"] == 2)
        assert counted(port)["beholder_pictures_total"] == 13

        outcomes: list[tuple[int, Any]] = []
        stop = threading.Event()
        threads = [threading.Thread(target=hammer, args=(port, data, stop, outcomes)) for _ in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: len(outcomes) > 40)
        before = replicas()
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        seen = len(outcomes)
        until(lambda: len(replicas() - before) == 1 and len(outcomes) > seen + 100)
        running.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        stop.set()
        for thread in threads:
            thread.join(60)
        assert running.wait(120) == 0
    likely = [answer["answers"][0]["probabilities"] for status, answer in outcomes if status == 200]
    assert likely == [pytest.approx(expected[0][0]["probabilities"], abs=1e-6)] * len(likely)  # batches round otherwise
    refused = [(status, answer["error"]["code"]) for status, answer in outcomes if status != 200]
    assert set(refused) <= {(503, "no-replica"), (503, "overloaded")}
    assert not replicas()
