"""Requests that are meant to hurt: none may end the server, hang it, fill its memory, or get an answer of 500."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from tests.server.fakes import BLUE, form, picture
from tests.server.test_run import process

pytestmark = pytest.mark.slow

HEAD = "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
FORM = "multipart/form-data; boundary=xyz"
BOUNDS = {"head_seconds": 2, "body_seconds": 2, "idle_seconds": 5, "connections": 500, "body": 2_000_000, "pixels": 1_000_000}


@pytest.fixture(scope="module")
def at() -> Iterator[tuple[Any, int]]:
    """(process, port) of one server for the whole module: what one test breaks the next one notices."""
    with process("0", "0", json.dumps(BOUNDS)) as found:
        asked(found[1], "GET", "/healthz")
        yield found
        assert found[0].poll() is None


def asked(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def metric(port: int, name: str) -> float:
    text = asked(port, "GET", "/metrics")[1].decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with some flipped, cut, doubled, or replaced by what parsers stumble over."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, kind = rng.randrange(len(found) + 1), rng.randrange(6)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del found[at : at + rng.randrange(1, 20)]
        elif kind == 2:
            found[at:at] = found[at : at + rng.randrange(1, 60)]
        elif kind == 3:
            found[at : at + 4] = rng.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\r\n\r\n", b"--xy", b"1e99", b"null", b"[[[[")
            )
        elif kind == 4:
            found[at:] = b""
        else:
            found[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(found)


def bodies() -> list[tuple[str, str, bytes]]:
    """(path, content type, body) of good requests of every kind."""
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 3, 2, 2], "data": list(range(12))}
    pictures = [picture(BLUE, kind=kind) for kind in ("PNG", "JPEG", "GIF", "BMP")]
    return [
        *[("/predict", "image/png", data) for data in pictures],
        ("/predict", FORM, form(*pictures[:2])),
        ("/predict", FORM, form(pictures[0], b"x", name="file")),
        ("/v2/models/colours/infer", "application/json", json.dumps({"inputs": [tensor]}).encode()),
        (
            "/v2/models/colours/infer",
            "application/json",
            json.dumps({"id": "a", "inputs": [tensor], "outputs": [{"name": "label"}]}).encode(),
        ),
    ]


def statuses(port: int, requests: list[bytes]) -> Counter[int]:
    """Send the requests down one connection, many at once, and count the statuses of the answers."""
    found: Counter[int] = Counter()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        rest = b""
        for start in range(0, len(requests), 20):
            part = requests[start : start + 20]
            sock.sendall(b"".join(part))
            for _ in part:
                while b"\r\n\r\n" not in rest:
                    more = sock.recv(1 << 16)
                    assert more, "the server closed the connection"
                    rest += more
                head, _, rest = rest.partition(b"\r\n\r\n")
                length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))[15:])
                while len(rest) < length:
                    rest += sock.recv(1 << 16)
                rest = rest[length:]
                found[int(head[9:12])] += 1
    return found


def test_20_000_mutated_bodies(at: tuple[Any, int]) -> None:
    kinds, total = bodies(), Counter[int]()
    before = metric(at[1], "process_resident_memory_bytes")

    def send(seed: int) -> None:
        rng = random.Random(seed)
        requests = []
        for number in range(5000):
            path, kind, data = kinds[number % len(kinds)]
            data = mutated(data, rng)
            requests.append(HEAD.format(path=path, kind=kind, length=len(data)).encode() + data)
        total.update(statuses(at[1], requests))

    threads = [threading.Thread(target=send, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total.total() == 20_000
    assert set(total) <= {200, 400, 413, 422, 503}, total
    assert total[200] > 500
    assert total[400] > 500
    assert total[422] > 500
    assert metric(at[1], "process_resident_memory_bytes") < before + (100 << 20)
    assert metric(at[1], "beholder_held_bytes") == 0
    assert metric(at[1], "beholder_pending") == 0


def test_mutated_heads(at: tuple[Any, int]) -> None:
    rng = random.Random(0)
    good = HEAD.format(path="/predict?model=colours", kind="image/png", length=3).encode() + b"abc"
    for _ in range(400):
        with socket.create_connection(("127.0.0.1", at[1]), timeout=10) as sock:
            sock.sendall(mutated(good, rng))
            sock.shutdown(socket.SHUT_WR)
            try:
                reply = sock.recv(1 << 16)
            except ConnectionResetError:
                continue
            assert not reply.startswith(b"HTTP/1.1 5"), reply[:200]
    assert asked(at[1], "GET", "/healthz")[0] == 200


def test_slow_loris_keeps_nobody_else_waiting(at: tuple[Any, int]) -> None:
    kept = [socket.create_connection(("127.0.0.1", at[1]), timeout=10) for _ in range(400)]
    for sock in kept:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nA: ")
    begun = time.perf_counter()
    slowest = 0.0
    open_ones = set(kept)
    while open_ones and time.perf_counter() - begun < 20:
        for sock in list(open_ones):
            try:
                sock.sendall(b"b")
            except OSError:
                open_ones.discard(sock)
        start = time.perf_counter()
        assert asked(at[1], "POST", "/predict", picture())[0] == 200
        slowest = max(slowest, time.perf_counter() - start)
        time.sleep(0.2)
    for sock in kept:
        sock.close()
    assert not open_ones
    assert time.perf_counter() - begun > 1
    assert slowest < 2


def test_10_000_connections_opened_and_left(at: tuple[Any, int]) -> None:
    for number in range(50):
        socks = [socket.create_connection(("127.0.0.1", at[1]), timeout=20) for _ in range(200)]
        for place, sock in enumerate(socks):
            if place % 3 == 1:
                sock.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
            if place % 3 == 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves with a reset
            sock.close()
        if number % 10 == 0:
            assert asked(at[1], "GET", "/healthz")[0] in (200, 503)
    for _ in range(100):
        if metric(at[1], "beholder_connections") == 1:
            break
        time.sleep(0.1)
    assert metric(at[1], "beholder_connections") == 1
    assert metric(at[1], "beholder_held_bytes") == 0


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of so many pixels, all zero, in few bytes."""
    rows = zlib.compress(bytes(min((width * 3 + 1) * height, 64 << 20)), 9)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_bombs_are_refused_and_take_no_memory(at: tuple[Any, int]) -> None:
    before = metric(at[1], "process_resident_memory_bytes")
    bombs = [bomb(60_000, 60_000), bomb(1 << 30, 1), bomb(1001, 1000), b"PK\3\4" + bytes(1000), zlib.compress(bytes(1 << 20))]
    for data in bombs:
        assert asked(at[1], "POST", "/predict", data)[0] == 422
    packed = zlib.compress(bytes(50 << 20), 9)
    assert asked(at[1], "POST", "/predict", packed, {"Content-Encoding": "deflate"})[0] == 415
    said = json.loads(asked(at[1], "POST", "/predict", form(*bombs[:3] * 10), {"Content-Type": FORM})[1])
    assert {answer["error"]["code"] for answer in said["answers"]} == {"too-many-pixels"}
    for body in (
        b"\r\n--xy" * 300_000,
        b"--xyz\r\n" * 200_000,
        b"--xyz\r\n\r\n" + b"\r" * 1_900_000,
        b"[" * 1_900_000,
        b'{"inputs":' * 100_000,
    ):
        start = time.perf_counter()
        for path in ("/predict", "/v2/models/colours/infer"):
            assert asked(at[1], "POST", path, body, {"Content-Type": FORM})[0] in (400, 413)
        assert time.perf_counter() - start < 10
    assert metric(at[1], "process_resident_memory_bytes") < before + (150 << 20)


def test_what_the_description_says_is_what_comes(at: tuple[Any, int]) -> None:
    """Schemathesis makes requests of /openapi.json, fit and unfit ones, and compares the answers with it."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import given, settings

    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{at[1]}/openapi.json")
    # No schema can say that bytes are a picture; 501 (no heat map without torch) and 503 are answers, not faults.
    unfit = [schemathesis.checks.positive_data_acceptance, schemathesis.checks.not_a_server_error]
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 12
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=25, deadline=None, database=None)
        def check(case: Any) -> None:
            reply = case.call(timeout=20)
            assert reply.status_code < 500 or reply.status_code in (501, 503)
            case.validate_response(reply, excluded_checks=unfit)

        check()
