"""Several processes behind one address: which of them die, when they are started again, and how they leave together."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.server.fakes import picture

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
ROOT = Path(__file__).parents[2]

PROGRAM = """
import os, sys, time
from pathlib import Path
from beholder.base.errors import BundleError
from beholder.cli.run import _complain
from beholder.base.errors import BeholderError
from beholder.server import workers
workers.FIRST = 0.05
def work(slot, serves):
    {work}
try:
    workers.many({count}, work, leaving=lambda: None)
except BeholderError as error:
    sys.exit(_complain(error, debug=False))
"""

SERVER = """
import socket, sys
from tests.server.fakes import Fake
from beholder.server.bounds import Bounds
from beholder.server.guard import Access
from beholder.server.metrics import Board
from beholder.server.run import listening, prepared
from beholder.server.workers import many
from beholder.server import workers
workers.FIRST = 0.05
with listening("127.0.0.1", 0) as sock:
    board = Board(2)
    def work(slot, serves):
        with prepared({"colours": Fake()}, bounds=Bounds(), access=Access(), board=board, slot=slot) as server:
            serves()
            sys.stderr.write(f"serves {slot}\\n")  # in one piece: the other worker writes there too
            server.run([sock])
    print(sock.getsockname()[1], flush=True)
    many(2, work, leaving=sock.close, ended=board.bury)
"""


@contextmanager
def program(text: str) -> Iterator[Any]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", text]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as running:
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                running.terminate()
            running.wait(30)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Any, int]]:
    """Lend two workers that serve a fake, and their port."""
    with program(SERVER) as running:
        port = int(running.stdout.readline())
        assert {running.stderr.readline() for _ in range(2)} == {"serves 0\n", "serves 1\n"}
        yield running, port


def children(running: Any) -> list[int]:
    return [int(word) for word in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]


def ask(port: int, data: bytes = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(data)
        return sock.recv(64)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux tells which processes there are in /proc")
def test_two_quick_deaths_of_one_worker_end_neither_the_service_nor_the_others(server: tuple[Any, int]) -> None:
    running, port = server
    stays, victim = children(running)
    for _ in range(5):
        ask(port)
    time.sleep(1.5)  # workers tell what they counted once a second
    before = settled(port, lambda found: found["beholder_workers"] == 2)
    for wait in ("0.05", "0.1"):
        os.kill(victim, signal.SIGKILL)
        assert f"ended (signal 9) and is started again in {wait} s" in running.stderr.readline()
        assert b"200" in ask(port)
        assert running.stderr.readline().startswith("serves")
        (victim,) = set(children(running)) - {stays}
    assert running.poll() is None
    assert stays in children(running)
    after = settled(port, lambda found: found["beholder_workers"] == 2)
    assert after["beholder_requests_total"] >= before["beholder_requests_total"] >= 5  # none is lost with the dead
    assert after["beholder_connections"] <= 2


def settled(port: int, wanted: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """Return the sums of the metrics by name once they are as `wanted`, which takes the workers a second."""
    until = time.monotonic() + 10
    while True:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            families = list(text_string_to_metric_families(reply.read().decode()))
        found: dict[str, float] = {}
        for sample in (sample for family in families for sample in family.samples):
            found[sample.name] = found.get(sample.name, 0) + sample.value
        if wanted(found):
            return found
        assert time.monotonic() < until, found
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux tells which processes there are in /proc")
def test_workers_leave_when_their_parent_is_killed() -> None:
    with program(SERVER) as running:
        running.stdout.readline()
        for _ in range(2):
            running.stderr.readline()
        workers = children(running)
        running.kill()
        until = time.monotonic() + 20
        while any(Path(f"/proc/{worker}/exe").exists() for worker in workers):
            assert time.monotonic() < until
            time.sleep(0.1)


def test_after_sigterm_nobody_is_accepted_and_what_was_accepted_is_answered(server: tuple[Any, int]) -> None:
    running, port = server
    data = picture()
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(data)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(head + data[:50])
        time.sleep(0.5)
        running.send_signal(signal.SIGTERM)
        for child in children(running):  # as systemd stops a service: each of its processes gets the signal, too
            os.kill(child, signal.SIGTERM)
        until = time.monotonic() + 10
        refused = False
        while not refused and time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                time.sleep(0.05)
            except ConnectionRefusedError:
                refused = True
        assert refused
        slow.sendall(data[50:])
        assert b"200 OK" in slow.recv(64)
    assert running.wait(30) == 0


def test_an_error_at_the_start_is_told_once_and_ends_it() -> None:
    work = 'time.sleep(slot / 2); raise BundleError("it is damaged", code="damaged", hint="train it again")'
    with program(PROGRAM.format(work=work, count=3)) as running:
        said = running.communicate(timeout=60)[1]
    assert (running.returncode, said) == (1, "error: it is damaged\n\nhint: train it again\n")


def test_workers_that_all_die_before_one_serves_are_given_up() -> None:
    with program(PROGRAM.format(work="os.kill(os.getpid(), 9)", count=2)) as running:
        said = running.communicate(timeout=60)[1]
    assert running.returncode == 1
    assert re.findall(r"again in (\S+) s", said).count("0.05") == 2
    assert said.endswith("error: workers end at their start (signal 9)\n\nhint: try --workers 1\n")


def test_once_one_has_served_they_are_never_given_up() -> None:
    work = "serves(); Path('/proc/self').exists(); time.sleep(0.01); os._exit(3)"
    with program(PROGRAM.format(work=work, count=1).replace("0.05", "0.005")) as running:
        said = [running.stderr.readline() for _ in range(6)]
        assert running.poll() is None
    waits = [float(re.findall(r"again in (\S+) s", line)[0]) for line in said]
    assert waits == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16]
