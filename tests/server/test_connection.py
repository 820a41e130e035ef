from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.configs import config
from tests.server.fakes import Fake, form, picture, served

ASKED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def closed_after(sock: socket.socket, within: float) -> float:
    """Return after how many seconds the server closed; fail where it does not within that time."""
    start = time.perf_counter()
    sock.settimeout(within)
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    return time.perf_counter() - start


def test_who_says_nothing_or_too_slowly_is_dropped() -> None:
    with served(head_seconds=0.3, body_seconds=0.3, idle_seconds=1) as at:
        for begun in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b"):
            with socket.create_connection(("127.0.0.1", at.port)) as sock:
                sock.sendall(begun)
                assert closed_after(sock, 3) < 2
        with socket.create_connection(("127.0.0.1", at.port)) as sock:
            sock.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
            start = time.perf_counter()
            assert b"408 Request Timeout" in sock.recv(4096).splitlines()[0]
            assert time.perf_counter() - start < 2
            assert closed_after(sock, 5) < 4


def test_one_byte_at_a_time_is_no_way_to_keep_a_connection() -> None:
    with served(head_seconds=0.4) as at, socket.create_connection(("127.0.0.1", at.port)) as sock:
        start = time.perf_counter()
        try:
            for letter in b"GET / HTTP/1.1\r\nA: " + b"b" * 500:
                sock.sendall(bytes([letter]))
                time.sleep(0.01)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert time.perf_counter() - start < 3


def test_a_connection_is_kept_for_further_requests_and_dropped_when_idle() -> None:
    with served(idle_seconds=1) as at, socket.create_connection(("127.0.0.1", at.port)) as sock:
        for _ in range(3):
            sock.sendall(ASKED)
            found = b""
            while not found.endswith(b'{"status": "ok"}'):
                found += sock.recv(4096)
            assert found.startswith(b"HTTP/1.1 200")
        assert closed_after(sock, 5) < 3


def test_requests_in_one_packet_are_answered_one_after_another() -> None:
    with served(idle_seconds=1) as at:
        assert at.raw(ASKED * 5).count(b"HTTP/1.1 200") == 5


def test_a_connection_too_many_is_told_so() -> None:
    with served(connections=3, head_seconds=5) as at:
        kept = [socket.create_connection(("127.0.0.1", at.port)) for _ in range(3)]
        time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", at.port)) as sock:
            assert sock.recv(4096).startswith(b"HTTP/1.1 503 ")
        for sock in kept:
            sock.close()
        time.sleep(0.1)
        assert at.ask("GET", "/healthz")[0] == 200


def test_nonsense_is_400() -> None:
    with served() as at:
        for nonsense in (
            b"\0" * 100 + b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
        ):
            assert b" 400 " in at.raw(nonsense).splitlines()[0]
        assert at.ask("GET", "/healthz")[0] == 200


def test_a_client_that_leaves_takes_nothing_with_it() -> None:
    with served(Fake(run=0.2)) as at:
        data = picture()
        with socket.create_connection(("127.0.0.1", at.port)) as sock:
            sock.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        with socket.create_connection(("127.0.0.1", at.port)) as sock:
            sock.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(data) + data[:10])
        time.sleep(0.7)
        service = at.server.service
        assert (service.held.used, service.models["colours"].pending) == (0, 0)
        assert at.ask("POST", "/predict", data)[0] == 200


class Wordy(Fake):
    """Has so many classes, with names so long, that an answer to a form is of some megabytes."""

    def __init__(self) -> None:
        super().__init__()
        self.config = config([f"{number:04} {'long name ' * 20}" for number in range(500)], size=(3, 8, 8))

    def outputs(self, images: Any, *, batch: int = 256) -> Any:
        return np.zeros((len(images), 500), np.float32), np.zeros((len(images), 3), np.float32)


def stalled(port: int) -> socket.socket:
    """Return a connection that asked for a reply of megabytes, with little room for it on this side."""
    body = form(*[picture()] * 64)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    sock.connect(("127.0.0.1", port))
    kind = b"Content-Type: multipart/form-data; boundary=xyz\r\n"
    sock.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + kind + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return sock


def test_who_does_not_take_the_answer_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with served(Wordy(), idle_seconds=1, patience=20) as at, stalled(at.port), stalled(at.port) as second:
        second.sendall(ASKED * 50)  # nor does asking further help
        connections = at.server.config.http.live
        waiting_for(lambda: any(one.transport.get_write_buffer_size() for one in connections.copy()), 20)
        start = time.perf_counter()
        waiting_for(lambda: not connections, 10)
        assert time.perf_counter() - start < 6
        assert at.ask("GET", "/healthz")[0] == 200
    assert "failed" not in capfd.readouterr().err


@pytest.mark.slow
def test_who_takes_it_slowly_but_steadily_gets_it_all() -> None:
    with served(Wordy(), idle_seconds=2, patience=20) as at, stalled(at.port) as sock:
        sock.settimeout(20)
        start, found = time.perf_counter(), sock.recv(1 << 16)
        length = int(found.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        whole = found.index(b"\r\n\r\n") + 4 + length
        while len(found) < whole and (more := sock.recv(1 << 16)):
            found += more
            time.sleep(0.08)
        assert length > 6_000_000
        assert len(found) == whole
        assert time.perf_counter() - start > 5
        assert closed_after(sock, 20) < 10  # all is taken: an idle connection like others


def waiting_for(what: Callable[[], bool], within: float) -> None:
    """Wait until it is so; fail where it is not within that many seconds."""
    end = time.perf_counter() + within
    while not what():
        assert time.perf_counter() < end
        time.sleep(0.02)
