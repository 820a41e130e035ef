"""The review's HTTP server: this machine only, one secret address, pictures by their number, nothing from the disk by name."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from beholder import image
from beholder.base.errors import BeholderError, PictureError
from beholder.image import encode
from beholder.review.session import Session, View

BODY = 1 << 20
"""Bytes of a request's body at most."""

PAGE = 200
"""Findings in one answer at most."""

SIDES = {"small": 320, "large": 1280}
"""Pixels of a picture's longer side, by the size that the page may ask for."""

SHELF = 64 << 20
"""Bytes of encoded pictures that are kept."""

_FIXED = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "grid.js": ("grid.js", "text/javascript; charset=utf-8"),
    "bidi.js": ("../base/bidi.js", "text/javascript; charset=utf-8"),
}

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True)
class Answer:
    """What goes back. body: bytes; kind: its media type; status: of HTTP; keep: whether the browser may keep it."""

    body: bytes
    kind: str = "application/json"
    status: int = 200
    keep: bool = False


class Server(ThreadingHTTPServer):
    """Serves one review session on 127.0.0.1. address: the page, with the secret that every request must carry."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, session: Session, *, following: str = "", port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.session = session
        self.following = following
        self.token = secrets.token_urlsafe(24)
        self.port = int(self.server_address[1])
        self.hosts = (f"127.0.0.1:{self.port}", f"localhost:{self.port}")
        self.address = f"http://127.0.0.1:{self.port}/{self.token}/"
        self._shelf: OrderedDict[tuple[int, str], Answer] = OrderedDict()
        self._held = 0
        self._guard = threading.Lock()
        self._decoders = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))

    def rest(self) -> None:
        """Wait until no decision is being written; later ones are refused."""
        self.session.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser that hangs up is no error."""

    def picture(self, number: int, size: str) -> Answer:
        """Return a picture of the source as PNG or JPEG, made anew; 204 where it cannot be read."""
        with self._guard:
            found = self._shelf.get((number, size))
            if found is not None:
                self._shelf.move_to_end((number, size))
                return found
        pictures = self.session.pictures
        try:
            with self._decoders:
                body, kind = encode.thumbnail(
                    pictures.store.read(pictures.keys[number]), side=SIDES[size], bits=pictures.bits or 0
                )
            answer = Answer(body, f"image/{kind}", keep=True)
        except PictureError:
            answer = Answer(b"", status=204)
        with self._guard:
            if (number, size) not in self._shelf:
                self._shelf[number, size] = answer
                self._held += len(answer.body)
            while self._held > SHELF and len(self._shelf) > 1:
                self._held -= len(self._shelf.popitem(last=False)[1].body)
        return answer

    def about(self, number: int) -> dict[str, object]:
        """Return {"format", "width", "height", "bytes"} of a picture, or {"error": sentence}."""
        pictures = self.session.pictures
        try:
            data = pictures.store.read(pictures.keys[number])
            head = image.header(data)
        except PictureError as error:
            return {"error": error.message}
        size = len(data) if isinstance(data, bytes) else data.nbytes
        return {"format": head.format, "width": head.width, "height": head.height, "bytes": size}


class Handler(BaseHTTPRequestHandler):
    """One connection. Every path begins with the secret; a request without it learns nothing at all."""

    server: Server
    server_version = "beholder"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    _last = False

    def do_GET(self) -> None:
        """Answer a request to look at something."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer a request to decide something."""
        self._answer(self._post)
        if self._last:  # only now, so that the page has its answer before the program leaves
            self.close_connection = True
            self.server.shutdown()

    def log_message(self, format: str, *args: object) -> None:
        """Write no log: stderr belongs to the person."""

    def _answer(self, make: Callable[[str, dict[str, str]], Answer | None]) -> None:
        url = urlsplit(self.path)
        _, token, rest = (*url.path.split("/", 2), "", "")[:3]
        allowed = hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode())
        allowed = allowed and self.headers.get("Host", "") in self.server.hosts
        allowed = allowed and self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        if not allowed:
            self._send(Answer(b"", status=403), close=True)
            return
        try:
            asked = {key: values[-1] for key, values in parse_qs(url.query, max_num_fields=8).items()}
            answer = make(rest, asked)
        except BeholderError as error:
            status = 400 if error.exit_code == 2 else 507
            answer = Answer(_json({"error": error.message, "hint": error.hint}), status=status)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            answer = Answer(_json({"error": "the request makes no sense"}), status=400)
        self._send(answer or Answer(_json({"error": "there is no such thing"}), status=404))

    def _get(self, path: str, asked: dict[str, str]) -> Answer | None:
        if path in _FIXED:
            name, kind = _FIXED[path]
            return Answer(files("beholder.review").joinpath(name).read_bytes(), kind)
        session, (verb, _, number) = self.server.session, path.partition("/")
        if verb == "summary" and not number:
            return Answer(_json({**session.summary(), "following": self.server.following}))
        if verb == "view" and not number:
            return Answer(_json(session.view(_view(asked))))
        if verb == "findings" and not number:
            ids = [int(word) for word in asked.get("ids", "").split(",")[:PAGE] if word]
            return Answer(_json(session.findings(ids)))
        if verb in ("about", *SIDES) and number.isdecimal() and len(number) < 12 and session.knows(int(number)):
            return Answer(_json(self.server.about(int(number)))) if verb == "about" else self.server.picture(int(number), verb)
        return None

    def _post(self, path: str, asked: dict[str, str]) -> Answer | None:
        body = self._body()
        if body is None:
            return Answer(_json({"error": "a decision comes from the page itself, as JSON of at most 1 MiB"}), status=400)
        session = self.server.session
        extra: dict[str, object] = {}
        if path == "decide":
            session.decide([(int(picture), str(what)) for picture, what in body["changes"]])
        elif path == "accept":
            extra["accepted"] = session.accept(_view(body))
        elif path == "undo":
            extra["undone"] = session.undo()
        elif path == "finish":
            self._last = True
        else:
            return None
        return Answer(_json({**session.progress(), **extra}))

    def _body(self) -> dict[str, Any] | None:
        """Return the body as an object; None where it is none, too long, or not sent by the page itself."""
        length = self.headers.get("Content-Length", "")
        origin = self.headers.get("Origin", "")
        plain = self.headers.get("Content-Type", "").partition(";")[0].strip() == "application/json"
        if not length.isdecimal() or int(length) > BODY or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            return None
        data = self.rfile.read(int(length))
        if not plain or origin not in [f"http://{host}" for host in self.server.hosts]:
            return None
        found = json.loads(data)
        return found if isinstance(found, dict) else None

    def _send(self, answer: Answer, *, close: bool = False) -> None:
        self.send_response(answer.status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "private, max-age=600" if answer.keep else "no-store")
        if answer.status != 204:
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
        if close or self.close_connection:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)


def _view(asked: Mapping[str, Any]) -> View:
    return View(*(str(asked.get(name, "")) for name in ("check", "label", "show")))


def _json(value: object) -> bytes:
    return json.dumps(value).encode("ascii")
