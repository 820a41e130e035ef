"""A server that answers as the real one does, and misbehaves when told to: for tests of what the page makes of it."""

from __future__ import annotations

import io
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

POLICY = (
    "default-src 'none'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
PAGE = Path(__file__).parents[2] / "src" / "beholder" / "server" / "page"
KINDS = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
NAMES = ("healthy", "mildew", "rust", "<b>spot & blight</b>", "scab", "canker", "wilt")


@dataclass
class Acts:
    """What the stub does next.

    seconds: before each answer; busy: how many answers are 503 first; broken: how many connections are cut; key: asked for;
    beyond: merged into each answer; odd: answer nonsense; explains: whether /explain does; heat: its headers;
    bodies: what came, in order.
    """

    seconds: float = 0.0
    busy: int = 0
    broken: int = 0
    key: str = ""
    odd: bool = False
    explains: bool = True
    multi: bool = False
    names: tuple[str, ...] = ("leaves",)
    heat: dict[str, str] = field(default_factory=dict)
    beyond: dict[str, Any] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


class Stub(ThreadingHTTPServer):
    """Serves the page on a port of this machine. acts: may be changed at any time."""

    daemon_threads = True

    def __init__(self, acts: Acts, *, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.acts = acts
        self.port = int(self.server_address[1])
        self.address = f"http://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def end(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that hangs up is no error."""


class Handler(BaseHTTPRequestHandler):
    server: Stub
    timeout = 30

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path[1:].partition("?")[0] or "index.html"
        if name == "healthz":
            return self._json({"status": "ok"})
        if name == "models":
            task = "multi" if self.server.acts.multi else "single"
            return (
                None
                if self._locked()
                else self._json(
                    [{"name": n, "classes": NAMES, "task": task, "several": task == "multi"} for n in self.server.acts.names]
                )
            )
        if name.startswith("like-"):
            return self._send(200, png((90, 140, 60)), "image/png")
        path = PAGE.parents[1] / "base" / name if name == "bidi.js" else PAGE / name
        if "/" in name or not path.is_file():
            return self._json({"error": {"code": "no-such-path", "message": "not here", "hint": ""}}, 404)
        return self._send(200, path.read_bytes(), KINDS[name.rpartition(".")[2]])

    def do_POST(self) -> None:
        acts = self.server.acts
        body = self.rfile.read(int(self.headers["Content-Length"]))
        acts.asked.append(self.path)
        if acts.broken:
            acts.broken -= 1
            self.close_connection = True
            return None
        if self._locked():
            return None
        if acts.busy:
            acts.busy -= 1
            return self._json(
                {"error": {"code": "overloaded", "message": "too many wait", "hint": ""}}, 503, {"Retry-After": "1"}
            )
        time.sleep(acts.seconds)
        if acts.odd:
            return self._send(200, b"<p>a proxy's page</p>", "text/html")
        if self.path.startswith("/explain"):
            if not acts.explains:
                return self._json(
                    {"error": {"code": "no-net", "message": "the export has no net to look into", "hint": ""}}, 501
                )
            return self._send(200, png((220, 60, 40)), "image/png", acts.heat)
        acts.bodies.append(body)
        return self._predict(body)

    def _predict(self, body: bytes) -> None:
        try:
            Image.open(io.BytesIO(body)).load()
        except (UnidentifiedImageError, OSError):
            return self._json({"error": {"code": "not-a-picture", "message": "the file is no picture", "hint": ""}}, 422)
        p = dict(zip(NAMES, (0.02, 0.05, 0.871, 0.04, 0.01, 0.0085, 0.0005), strict=True))
        answer = {"label": "rust", "p": 0.871, "probabilities": p, **self.server.acts.beyond}
        timing = {"queue_ms": 1.2, "decode_ms": 4.0, "infer_ms": 12.5}
        name = self.path.partition("model=")[2].partition("&")[0]
        return self._json({"model": name, "answers": [answer], "timing": timing})

    def _locked(self) -> bool:
        key = self.server.acts.key
        if key and self.headers.get("Authorization") != f"Bearer {key}":
            self._json({"error": {"code": "no-key", "message": "this needs a key", "hint": ""}}, 401)
            return True
        return False

    def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), "application/json", headers)

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (
            {"Content-Security-Policy": POLICY, "Content-Type": kind, "Content-Length": str(len(body))} | (headers or {})
        ).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def png(colour: tuple[int, int, int], size: tuple[int, int] = (320, 240)) -> bytes:
    """A plain picture of one colour."""
    made = io.BytesIO()
    Image.new("RGB", size, colour).save(made, "PNG")
    return made.getvalue()
