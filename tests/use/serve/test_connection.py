from __future__ import annotations

import socket
import time

from tests.use.serve.fakes import Fake, picture, served

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
