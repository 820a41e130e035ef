"""Requests at the edge of what HTTP allows, and beyond it: each is answered as one, refused, or dropped in a bounded time."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator

import pytest
from tests.server.fakes import BLUE, Served, picture, served
from tests.server.test_connection import closed_after

from beholder.server.guard import Access

HOST = b"Host: localhost\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=xyz\r\n"


@pytest.fixture(scope="module")
def at() -> Iterator[Served]:
    with served(head_seconds=1, body_seconds=30, idle_seconds=1) as found:
        yield found


def statuses(said: bytes) -> list[int]:
    """Return the statuses of all answers in what came back, those with 100 too."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d+) ", said)]


def asked(at: Served, head: bytes, body: bytes = b"", *, path: bytes = b"/predict") -> list[int]:
    """Return the statuses for a POST with these lines for headers."""
    return statuses(at.raw(b"POST " + path + b" HTTP/1.1\r\n" + HOST + head + b"\r\n" + body))


# --- whose page asks, and whom ---


def test_a_host_header_is_a_name_and_a_port_and_nothing_else() -> None:
    with served(access=Access(hosts=("pets.example",))) as at:
        for host, status in (
            ("localhost.:80", 200),
            ("pets.example.", 200),
            ("localhost:", 200),
            ("[::ffff:127.0.0.1]", 200),
            ("localhost:80@evil.example", 421),
            ("localhost:80x", 421),
            ("127.0.0.1@evil.example", 421),
            ("[::1].evil.example", 421),
            ("[::1", 421),
            ("::1", 421),
            ("localhost..", 421),
            ("evil.example.", 421),
            ("localhost/evil.example", 421),
        ):
            assert at.ask("GET", "/healthz", headers={"Host": host})[0] == status, host


def test_an_origin_that_is_no_address_is_wrong_and_no_fault_of_the_server(at: Served) -> None:
    own = f"127.0.0.1:{at.port}"
    for origin in ("http://[evil", "http://[::1", f"http://{own}/", f"http://evil@{own}", f"ftp://{own}", own, "", "null"):
        status, said, _ = at.ask("POST", "/predict", picture(), {"Origin": origin})
        assert (status, said["error"]["code"]) == (403, "wrong-origin"), origin
    assert at.ask("POST", "/predict", picture(), {"Host": "[::1]:80", "Origin": "http://[::1]:80"})[0] == 200


@pytest.mark.parametrize("header", ["Host: evil.example", "Origin: null", "X-API-Key: a", "Content-Type: image/png"])
def test_headers_that_decide_something_are_there_once(at: Served, header: str) -> None:
    line = header.encode() + b"\r\n"
    twice = line if header.startswith("Host") else line + line
    assert asked(at, twice + b"Connection: close\r\nContent-Length: 1\r\n", b"x") == [400]


def test_without_a_key_only_the_page_is_open() -> None:
    with served(access=Access(keys=("abc",))) as at:
        assert at.ask("GET", "/")[0] == at.ask("GET", "/page.js")[0] == 200
        for path in (
            "/v2/models/{name}/versions/{number}",
            "/v2/models/{name}/versions/{number}/infer",
            "/healthz/",
            "/page.js/",
            "//healthz",
            "/healthz%00",
            "/v2",
            "/metrics",
        ):
            assert at.ask("GET", path)[0] == 401, path
        assert asked(at, b"X-API-Key: abd\r\nAuthorization: Basic abc\r\nConnection: close\r\n") == [401]


# --- paths and methods ---


def test_only_the_page_s_own_files_are_served(at: Served) -> None:
    for path in (
        "/..%2fapp.py",
        "/%2e%2e/app.py",
        "/page/../page.js",
        "/page/page.js",
        "//page.js",
        "/page.js/",
        "/page.js%00",
        "/page.js%00.html",
        "/PAGE.JS",
        "/page%252ejs",
        "/index.html",
        "/\\..\\app.py",
        "//evil.example/",
        "/models/",
    ):
        status, said, headers = at.ask("GET", path)
        assert (status, said["error"]["code"]) == (404, "no-such-path"), path
        assert "location" not in headers


def test_a_request_line_that_is_odd_is_refused(at: Served) -> None:
    for line, status in (
        (b"OPTIONS * HTTP/1.1", (400, 404, 405)),
        (b"CONNECT evil.example:80 HTTP/1.1", (400, 404, 405)),
        (b"GET http://evil.example HTTP/1.1", (400,)),
        (b"GET /\xff HTTP/1.1", (400, 404)),
        (b"PRI * HTTP/2.0", (400,)),
        (b"GET / HTTP/1.1\r\n folded: yes", (400,)),
        (b"GET / HTTP/1.1\r\nA : b", (400,)),
        (b"GET / HTTP/1.1\r\nA\0: b", (400,)),
    ):
        found = statuses(at.raw(line + b"\r\n" + HOST + b"Connection: close\r\n\r\n"))
        assert len(found) == 1 and found[0] in status, (line, found)  # noqa: PT018


def test_head_says_what_get_would_and_no_more(at: Served) -> None:
    for path, status in (("/", 200), ("/healthz", 200), ("/models", 200), ("/predict", 405), ("/none", 404)):
        found, body, headers = at.ask("HEAD", path)
        assert (found, body) == (status, b""), path
        assert headers["content-length"] == at.ask("GET", path)[2]["content-length"]
    said = at.raw(
        b"HEAD /predict HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabcGET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    )
    assert statuses(said) == [405, 200]
    assert at.ask("OPTIONS", "/predict")[0] == 405


# --- bodies that are not as long as they say ---


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 1\r\nContent-Length: 1\r\n",
        b"Content-Length: 1\r\nContent-Length: 9\r\n",
        b"Content-Length: 1, 1\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +1\r\n",
        b"Content-Length: 0x1\r\n",
        b"Content-Length: 1_0\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
    ],
)
def test_a_length_that_can_be_read_in_two_ways_is_refused(at: Served, head: bytes) -> None:
    smuggled = b"0\r\n\r\nGET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    assert asked(at, head, smuggled) == [400]


def test_what_is_announced_takes_no_room_before_it_comes() -> None:
    head = b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n"
    with served(body=1_000_000, held=2_000_000, body_seconds=10) as at:
        liars = [socket.create_connection(("127.0.0.1", at.port)) for _ in range(8)]
        for liar in liars:
            liar.sendall(head)
        time.sleep(0.2)
        assert at.ask("POST", "/predict", picture(BLUE))[0] == 200
        for liar in liars[:2]:
            liar.sendall(b"x" * 999_000)
        time.sleep(0.2)
        assert at.ask("POST", "/predict", b"x" * 10_000)[0] == 503
        for liar in liars:
            liar.close()
        time.sleep(0.2)
        assert at.server.service.held.used == 0


def test_a_body_that_nobody_wants_and_that_does_not_end_fills_no_log(at: Served, capfd: pytest.CaptureFixture[str]) -> None:
    head = b"POST /none HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\nx"
    with socket.create_connection(("127.0.0.1", at.port)) as sock:
        sock.sendall(head)
        assert b" 404 " in sock.recv(4096)
        assert closed_after(sock, 10) < 5
    with socket.create_connection(("127.0.0.1", at.port)) as sock:
        sock.sendall(head + b"x" * 300_000)  # and leaves while the server has stopped reading
    time.sleep(0.2)
    assert at.ask("GET", "/healthz")[0] == 200
    assert "failed" not in capfd.readouterr().err


def test_continue_is_said_only_where_the_body_is_wanted(at: Served) -> None:
    data, expecting = picture(BLUE), b"Expect: 100-continue\r\nConnection: close\r\n"
    assert asked(at, expecting + b"Content-Length: %d\r\n" % len(data), data) == [100, 200]
    assert asked(at, expecting + b"Content-Length: 99999999999\r\n") == [413]
    assert asked(at, expecting + b"Content-Length: 9\r\nOrigin: http://evil.example\r\n") == [403]
    assert asked(at, expecting + b"Content-Length: 9\r\n", path=b"/none") == [404]


@pytest.mark.slow
@pytest.mark.parametrize("tail", [b"0\r\nA: ", b"0\r\n" + b"A: b\r\n" * 20, b"1;", b"1;a="])
def test_what_chunks_say_beside_the_body_is_bounded(at: Served, tail: bytes) -> None:
    with socket.create_connection(("127.0.0.1", at.port)) as sock:
        sock.sendall(b"POST /predict HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" + tail)
        sent = 0
        try:
            while sent < 20_000_000:
                sent += sock.send((b"A: b\r\n" if tail.endswith(b"\n") else b"b" * 6) * 10_000)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 20_000_000  # the system holds some of it for the server


def test_parameters_of_a_form_without_end_are_refused(at: Served) -> None:
    status, said, _ = at.ask("POST", "/predict", b"x", {"Content-Type": "multipart/form-data" + ";a=b" * 5000})
    assert (status, said["error"]["code"]) == (400, "bad-form")


# --- connections that want to stay ---


@pytest.mark.parametrize("word", [b"\r\n", b"GET"])
@pytest.mark.parametrize("upgrade", [b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"])
def test_between_two_requests_nothing_keeps_a_connection(at: Served, word: bytes, upgrade: bytes) -> None:
    with socket.create_connection(("127.0.0.1", at.port)) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + upgrade + b"\r\n")
        assert b" 200 " in sock.recv(4096)
        start = time.perf_counter()
        try:
            while time.perf_counter() - start < 5:
                sock.sendall(word)
                word = b"\r\n" if word == b"\r\n" else b"T"
                time.sleep(0.1)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert time.perf_counter() - start < 4


def test_large_requests_in_one_go_are_all_answered(at: Served) -> None:
    data = b"x" * 100_000
    request = b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(data) + data
    assert statuses(at.raw(request * 4, timeout=2)) == [422] * 4


def test_a_head_that_never_ends_is_dropped_also_after_other_requests(at: Served) -> None:
    said = at.raw(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nGET / HTTP/1.1\r\nA: " + b"b" * 200_000)
    assert statuses(said) in ([200, 431], [431], [])
    with socket.create_connection(("127.0.0.1", at.port)) as sock:
        assert closed_after(sock, 3) < 2.5
