from __future__ import annotations

import pytest
from tests.server.fakes import picture, served

from beholder.server.guard import Access


def test_only_requests_to_this_host_are_answered() -> None:
    with served(access=Access(hosts=("pets.example",))) as at:
        for host, status in (
            ("localhost", 200),
            ("localhost:1", 200),
            ("127.0.0.1:80", 200),
            ("[::1]:80", 200),
            ("10.1.2.3", 200),
            ("Pets.Example:8000", 200),
            ("evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("", 421),
        ):
            assert at.ask("GET", "/healthz", headers={"Host": host})[0] == status, host
        assert b" 421 " in at.raw(b"GET /healthz HTTP/1.0\r\n\r\n").splitlines()[0]


def test_pages_elsewhere_may_not_ask_unless_named() -> None:
    with served(access=Access(origins=("https://pets.example",))) as at:
        own = f"http://127.0.0.1:{at.port}"
        assert at.ask("POST", "/predict", picture(), {"Origin": own})[0] == 200
        for origin in ("https://pets.example", "https://Pets.example"):
            status, _, headers = at.ask("POST", "/predict", picture(), {"Origin": origin})
            assert (status, headers["access-control-allow-origin"]) == (200, origin)
        for origin in ("https://evil.example", "null", "http://127.0.0.1", f"{own}.evil.example"):
            status, said, headers = at.ask("POST", "/predict", picture(), {"Origin": origin})
            assert (status, said["error"]["code"]) == (403, "wrong-origin")
            assert "access-control-allow-origin" not in headers
        asked = {"Origin": "https://pets.example", "Access-Control-Request-Method": "POST"}
        status, _, headers = at.ask("OPTIONS", "/predict", headers=asked)
        assert (status, headers["access-control-allow-methods"]) == (204, "GET, POST")


def test_keys_are_asked_for_where_there_are_some() -> None:
    with served(access=Access(keys=("abc", "schlüssel"))) as at:
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer abd"}, 401),
            ({"Authorization": "Basic abc"}, 401),
            ({"X-API-Key": ""}, 401),
            ({"Authorization": "Bearer abc"}, 200),
            ({"Authorization": "bearer  abc"}, 200),
            ({"X-API-Key": "abc"}, 200),
            ({"X-API-Key": b"schl\xc3\xbcssel"}, 200),
        ):
            assert at.ask("POST", "/predict", picture(), headers)[0] == status, headers
        assert at.ask("POST", "/predict", picture())[2]["www-authenticate"] == "Bearer"
        assert at.ask("GET", "/models")[0] == 401
        assert [at.ask("GET", path)[0] for path in ("/healthz", "/readyz", "/openapi.json")] == [200] * 3


def test_long_headers_are_refused() -> None:
    with served(head=2000) as at:
        assert at.ask("GET", "/healthz", headers={"A": "b" * 1000})[0] == 200
        status, said, _ = at.ask("GET", "/healthz", headers={"A": "b" * 3000})
        assert (status, said["error"]["code"]) == (431, "headers-too-large")
        endless = at.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 100_000)
        assert endless.startswith(b"HTTP/1.1 431 ") or endless == b""
        assert at.ask("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("word", ["abc", "schlüssel"])
def test_only_the_whole_key_is_one(word: str) -> None:
    access = Access(keys=("other", word))
    assert access.knows(word.encode())
    assert not access.knows(word[:-1].encode())
    assert not access.knows(word.encode() + b"\0")
    assert not access.knows(b"\xff")
    assert not Access().knows(b"")
