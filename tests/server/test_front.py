"""What goes around Ray's HTTP proxy, with an application in the place of Ray."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from beholder.machine import told
from beholder.server import front
from beholder.server.bounds import Bounds
from beholder.server.front import Front
from beholder.server.guard import HEADERS

BOUNDS = Bounds(body=100, held=150, seconds=3.0)


class Ray:
    """Reads a body as Ray's proxy does, until it ends or the client is gone, and then answers; 0: without a word."""

    def __init__(self, status: int, *, ours: bool = False) -> None:
        self.status = status
        self.headers = list(HEADERS) if ours else []
        self.read = 0
        self.gone = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            self.read += len(message["body"])
            if not message["more_body"]:
                break
        self.gone = message["type"] == "http.disconnect"
        if self.status and not self.gone:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            await send({"type": "http.response.body", "body": b"of Ray", "more_body": False})


def through(
    app: Any, *pieces: bytes, path: str = "/predict", headers: dict[str, str] | None = None, kind: str = "http"
) -> tuple[int, Any, dict[bytes, bytes]]:
    """Return status, body and headers of what a request with these pieces of a body gets; 0 where it gets nothing."""
    coming = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    coming.append({"type": "http.request", "body": b"", "more_body": False})
    said: list[Message] = []

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        said.append(message)

    given = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": kind, "method": "POST", "path": path, "headers": given, "query_string": b""}
    asyncio.run((app if isinstance(app, Front) else Front(app, bounds=BOUNDS))(scope, receive, send))
    if kind != "http":
        return 0, said, {}
    body = b"".join(message["body"] for message in said[1:])
    return said[0]["status"], json.loads(body) if body[:1] == b"{" else body, dict(said[0]["headers"])


def test_an_answer_of_a_replica_passes_as_it_is() -> None:
    for status in (200, 401, 404, 500, 503):
        assert through(Ray(status, ours=True), b"x" * 40, b"x" * 60)[:2] == (status, b"of Ray")


@pytest.mark.parametrize(
    ("status", "code"), [(404, "no-replica"), (500, "no-replica"), (0, "no-replica"), (408, "no-answer"), (503, "overloaded")]
)
def test_what_ray_refuses_is_said_as_the_server_says_it(status: int, code: str) -> None:
    found, said, headers = through(Ray(status), b"x")
    assert (found, said["error"]["code"], headers[b"retry-after"]) == (503, code, b"1")
    assert set(HEADERS) <= set(headers.items())
    assert through(Ray(status), path="/v2/health/ready")[1]["error"].endswith(f"({code})")


def test_what_breaks_on_the_way_is_a_lost_replica() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    assert through(broken)[1]["error"]["code"] == "no-replica"


def test_a_body_that_is_too_long_is_no_longer_read() -> None:
    ray = Ray(200, ours=True)
    assert through(ray, headers={"content-length": "101"})[:1] == (413,)
    assert through(ray, b"x", headers={"content-encoding": "gzip"})[:1] == (415,)
    assert not ray.read
    status, said, _ = through(ray, b"x" * 60, b"x" * 60, b"x" * 60)
    assert (status, said["error"]["code"]) == (413, "body-too-large")
    assert ray.gone
    assert ray.read == 60


def test_all_bodies_together_are_bounded_and_let_go_of() -> None:
    app = Front(Ray(200, ours=True), bounds=BOUNDS)
    with app._held.room() as room:
        room.take(100)
        assert through(app, b"x" * 60)[1]["error"]["code"] == "overloaded"
        assert through(app, headers={"content-length": "60"})[1]["error"]["code"] == "overloaded"
        assert through(app, b"x" * 40)[0] == 200
    assert app._held.used == 0
    assert through(app, b"x" * 60)[0] == 200


def test_paths_of_ray_are_left_alone_and_web_sockets_are_refused() -> None:
    assert through(Ray(503), path="/-/healthz")[:2] == (503, b"of Ray")
    assert through(Ray(200), kind="websocket")[1] == [{"type": "websocket.close"}]


def test_the_bounds_are_those_that_the_proxy_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEHOLDER_CACHE", "/somewhere")
    variables = told.telling(vars(BOUNDS))
    assert variables["BEHOLDER_CACHE"] == "/somewhere"
    monkeypatch.setenv("BEHOLDER_BOUNDS", variables["BEHOLDER_BOUNDS"])
    (middleware,) = front.middlewares()
    assert (middleware.cls, middleware.kwargs) == (Front, {"bounds": BOUNDS})
    monkeypatch.delenv("BEHOLDER_BOUNDS")
    assert front.middlewares()[0].kwargs == {"bounds": Bounds()}
