from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from tests.server.fakes import Fake, picture

from beholder.base.errors import UsageError
from beholder.server.bounds import Bounds
from beholder.server.guard import Access
from beholder.server.run import Server, listening, prepared

ROOT = Path(__file__).parents[2]


@contextmanager
def process(*arguments: str) -> Iterator[tuple[Any, int]]:
    """Lend a server of the fake in a process of its own, and its port."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"}
    command = [sys.executable, "-m", "tests.server.fakes", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as running:
        try:
            yield running, int(running.stdout.readline())
        finally:
            running.kill()


def test_at_sigterm_every_accepted_request_is_answered_and_the_process_ends_well() -> None:
    data = picture()
    outcomes: list[str] = []

    def ask(port: int, stop: threading.Event) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        while not stop.is_set():
            try:
                connection.connect() if connection.sock is None else None
            except OSError:
                outcomes.append("not accepted")
                return
            try:
                connection.request("POST", "/predict", data)
                reply = connection.getresponse()
                reply.read()
                outcomes.append(str(reply.status))
                if reply.will_close:
                    connection.close()
            except (OSError, HTTPException) as error:
                outcomes.append(f"lost: {error!r}")
                return
        connection.close()

    stop = threading.Event()
    with process("0.02", "0.005") as (running, port):
        threads = [threading.Thread(target=ask, args=(port, stop)) for _ in range(16)]
        for thread in threads:
            thread.start()
        while len(outcomes) < 60:
            time.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(20)
        stop.set()
        said, errors = running.communicate(timeout=20)
    assert running.returncode == 0, errors
    assert json.loads(said) == {"stopped": True}
    assert "stopping" in errors
    assert outcomes.count("200") > 50
    resets = [found for found in outcomes if found.startswith("lost")]
    assert not resets


@pytest.mark.parametrize("ticks", range(4))
def test_what_the_system_accepted_is_answered_though_the_server_had_no_time_to_take_it(ticks: int) -> None:
    async def stop_with_clients_queued(server: Server, sock: socket.socket) -> list[bytes]:
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup([sock])
        clients = [socket.create_connection(sock.getsockname(), timeout=10) for _ in range(8)]
        for client in clients:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(ticks):  # from nothing seen by asyncio to everything in progress
            await asyncio.sleep(0)
        server.leave()
        await server.shutdown([sock])
        try:
            return [client.recv(1 << 16) for client in clients]
        finally:
            for client in clients:
                client.close()

    with (
        listening("127.0.0.1", 0) as sock,
        prepared({"colours": Fake()}, bounds=Bounds(), access=Access()) as server,
    ):
        server.config.load()
        answers = asyncio.run(stop_with_clients_queued(server, sock))
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers), answers


def test_a_second_signal_drops_what_is_under_way() -> None:
    data = picture()
    with process("100", "0") as (running, port), socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        time.sleep(1)
        running.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        running.send_signal(signal.SIGTERM)
        assert running.wait(50) == 0


def test_an_address_that_is_taken_is_said() -> None:
    with listening("127.0.0.1", 0) as sock:
        sock.listen()
        with pytest.raises(UsageError, match="cannot be bound"):
            listening("127.0.0.1", sock.getsockname()[1])
    with pytest.raises(UsageError, match="cannot be bound"):
        listening("no.such.name.invalid", 0)
