"""What is used of other packages that they do not document: each is held by a test that says what breaks without it.

The list is that of docs/ARCHITECTURE.md, "Private interfaces that are used".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="it sends itself a signal")
DOCUMENT = Path(__file__).parents[2] / "docs" / "ARCHITECTURE.md"

UVICORN = {
    "HttpToolsProtocol(config, server_state, app_state, _loop)": "connections cannot be made (server/connection.py)",
    "HttpToolsProtocol: app_state is the state of each scope": "the guard cannot abort a connection (server/guard.py)",
    "HttpToolsProtocol.on_message_begin": "slow and endless headers are not noticed (server/connection.py)",
    "HttpToolsProtocol.on_headers_complete": "requests under way are not counted (server/connection.py)",
    "HttpToolsProtocol.on_body": "long bodies are taken for long headers (server/connection.py)",
    "HttpToolsProtocol.on_response_complete": "idle connections and slow readers are not noticed (server/connection.py)",
    "HttpToolsProtocol.shutdown": "a stopping server cuts requests that are on their way (server/connection.py)",
    "Server.handle_exit": "SIGTERM ends the process with 143, a second signal is not heeded (server/run.py)",
    "Server.shutdown": "nobody is told that the server stops (server/run.py)",
    "Server.should_exit": "the server cannot be stopped from within (server/run.py)",
    "Server.force_exit": "a second signal drops nothing (server/run.py)",
    "Server.servers": "a stopping server resets connections that are queued (server/run.py)",
    "Server.server_state": "a stopping server loses the connections that were queued (server/run.py)",
    "Config(callback_notify, timeout_notify)": "workers share no metrics and outlive their parent (server/run.py)",
    "scope['route'] of FastAPI": "requests are counted by path no more (server/guard.py)",
}
"""What is used of uvicorn and FastAPI, and what breaks without it."""


@pytest.fixture(scope="module")
def used() -> Iterator[set[str]]:
    """Yield what of `UVICORN` is there: told by a server that answers one request, is sent SIGTERM, and leaves."""
    found: set[str] = set()
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # a signal that uvicorn does not catch must not end the tests
    try:
        with contextlib.suppress(ImportError, TypeError), socket.create_server(("127.0.0.1", 0)) as sock:
            serve(sock, found)
        yield found
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(sock: socket.socket, found: set[str]) -> None:
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    def noting(base: type, *names: str) -> type:
        def note(name: str) -> Any:
            def noted(self: Any, *arguments: Any, **named: Any) -> Any:
                found.add(f"{base.__name__}.{name}")
                return getattr(base, name)(self, *arguments, **named)

            return noted

        return type(base.__name__, (base,), {name: note(name) for name in names})

    class Protocol(
        noting(HttpToolsProtocol, "on_message_begin", "on_headers_complete", "on_body", "on_response_complete", "shutdown")
    ):
        def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
            super().__init__(config, server_state, {**app_state, "mine": self}, _loop)
            found.add("HttpToolsProtocol(config, server_state, app_state, _loop)")

    class Server(noting(uvicorn.Server, "shutdown")):
        def handle_exit(self, sig: int, frame: Any) -> None:
            found.add("Server.handle_exit")
            self.should_exit = True

    async def ticked() -> None:
        found.add("Config(callback_notify, timeout_notify)")

    app = FastAPI()

    @app.post("/{name}")
    async def post(request: Request, name: str) -> str:
        if isinstance(request.scope["state"].get("mine"), Protocol):
            found.add("HttpToolsProtocol: app_state is the state of each scope")
        if getattr(request.scope.get("route"), "path", "") == "/{name}":
            found.add("scope['route'] of FastAPI")
        return (await request.body()).decode()

    config = uvicorn.Config(
        app,
        http=Protocol,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=5,
        callback_notify=ticked,
        timeout_notify=0,
    )
    server = Server(config)
    client = threading.Thread(target=ask, args=(server, sock.getsockname()[1], found), daemon=True)
    client.start()
    server.run([sock])
    client.join(20)
    forced(config, found)


def held(server: Any) -> Iterator[str]:
    """Yield what a server with one open connection has to hold."""
    if all(one.is_serving() for one in server.servers):
        yield "Server.servers"
    if len(server.server_state.connections) == 1:
        yield "Server.server_state"


def ask(server: Any, port: int, found: set[str]) -> None:
    """Send a request, then SIGTERM while the connection is open; end the server where it does not heed that."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nb")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
            os.kill(os.getpid(), signal.SIGTERM)
            until = time.monotonic() + 5
            while not server.should_exit and time.monotonic() < until:
                time.sleep(0.01)
            found.update(held(server))
            server.should_exit = True
            if sock.recv(1) == b"":  # the server closed it
                found.add("Server.should_exit")
    finally:
        server.should_exit = True


def forced(config: Any, found: set[str]) -> None:
    """Note whether a server with a task that does not end leaves at once where it is forced to."""
    import uvicorn

    server = uvicorn.Server(config)
    server.should_exit = server.force_exit = True

    async def leave() -> None:
        server.servers = []
        server.lifespan = config.lifespan_class(config)
        task = asyncio.ensure_future(asyncio.sleep(20))
        server.server_state.tasks.add(task)
        try:
            async with asyncio.timeout(2):
                await server.shutdown()
            found.add("Server.force_exit")
        finally:
            task.cancel()

    with contextlib.suppress(TimeoutError):
        asyncio.run(leave())


@pytest.mark.parametrize("name", UVICORN)
def test_private_interface_is_there(used: set[str], name: str) -> None:
    versions = ", ".join(f"{package} {version(package)}" for package in ("uvicorn", "fastapi", "starlette"))
    assert name in used, f"{name} is gone, or does something else, in {versions}: {UVICORN[name]}"


def test_what_is_used_is_listed() -> None:
    section = DOCUMENT.read_text("utf-8").partition("## Private interfaces that are used")[2].partition("\n## ")[0]
    assert not [name for name in UVICORN if f"`{name}`" not in section]
