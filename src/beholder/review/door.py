"""The HTTP server behind every page that a person decides on: this machine only, one secret address, pictures by their number,
nothing from the disk by name.
"""

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
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qs, urlsplit

from beholder import image
from beholder.base import events
from beholder.base.errors import BeholderError, PictureError, UsageError
from beholder.base.records import Pictures
from beholder.image import encode

BODY = 1 << 20
"""Bytes of a request's body at most."""

SIDES = {"small": 320, "large": 1280}
"""Pixels of a picture's longer side, by the size that the page may ask for."""

SHELF = 64 << 20
"""Bytes of encoded pictures that are kept."""

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


def plain(value: object) -> Answer:
    """Return an answer of JSON."""
    return Answer(as_json(value))


def as_json(value: object) -> bytes:
    """Return a value as JSON in ASCII."""
    return json.dumps(value).encode("ascii")


class Door(ThreadingHTTPServer):
    """Serves one page on 127.0.0.1. address: the page, with the secret that every request must carry.

    pictures: those that are shown by their number; shows: whether a number may be asked for
    """

    daemon_threads = True
    request_queue_size = 64
    page: ClassVar[Mapping[str, str]] = {}
    """The files of the page: what is asked for → the file, "" being the page itself."""

    def __init__(self, handler: type[Guarded], pictures: Pictures, shows: Callable[[int], bool], *, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.pictures, self.shows = pictures, shows
        self.token = secrets.token_urlsafe(24)
        self.port = int(self.server_address[1])
        self.hosts = (f"127.0.0.1:{self.port}", f"localhost:{self.port}")
        self.address = f"http://127.0.0.1:{self.port}/{self.token}/"
        self._shelf: OrderedDict[tuple[int, str], Answer] = OrderedDict()
        self._held = 0
        self._guard = threading.Lock()
        self._decoders = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser that hangs up is no error."""

    def rest(self) -> None:
        """Wait until no decision is being written; later ones are refused."""

    def run(self, *, what: str, said: str, ready: Callable[[str], None] | None) -> None:
        """Serve until the person finishes or presses Ctrl-C.

        what: is done on the page, such as "reviewing"; said: what a person should know; ready: called with the address
        """
        with self:
            events.note(f"{what} on {self.address}\n{said}")
            if ready is not None:
                threading.Thread(target=ready, args=(self.address,), daemon=True).start()
            try:
                self.serve_forever(poll_interval=0.1)
            except KeyboardInterrupt:
                pass
            self.rest()

    def picture(self, number: int, size: str) -> Answer:
        """Return a picture of the source as PNG or JPEG, made anew; 204 where it cannot be read."""
        with self._guard:
            found = self._shelf.get((number, size))
            if found is not None:
                self._shelf.move_to_end((number, size))
                return found
        pictures = self.pictures
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
        pictures = self.pictures
        try:
            data = pictures.store.read(pictures.keys[number])
            head = image.header(data)
        except PictureError as error:
            return {"error": error.message}
        size = len(data) if isinstance(data, bytes) else data.nbytes
        return {"format": head.format, "width": head.width, "height": head.height, "bytes": size}


D = TypeVar("D", bound="Door")


def opened(make: Callable[[], D], port: int) -> D:
    """Return the server that `make` makes. Raises `UsageError` (port-taken)."""
    try:
        return make()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on port {port}: {reason}", code="port-taken", hint="choose another --port, or none for a free one"
        ) from error


_KINDS = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}


class Guarded(BaseHTTPRequestHandler):
    """One connection. Every path begins with the secret; a request without it learns nothing at all."""

    server: Door
    server_version = "beholder"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    last = False
    """Whether the program ends once this request is answered."""

    def look(self, path: str, asked: dict[str, str]) -> Answer | None:
        """Answer a request to look at something; None: there is no such thing."""
        raise NotImplementedError

    def decide(self, path: str, body: dict[str, Any]) -> Answer | None:
        """Answer a request to decide something; None: there is no such thing."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer a request to look at something."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer a request to decide something."""
        self._answer(self._post)
        if self.last:  # only now, so that the page has its answer before the program leaves
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
            answer = Answer(as_json({"error": error.message, "hint": error.hint, "code": error.code}), status=status)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            answer = Answer(as_json({"error": "the request makes no sense"}), status=400)
        self._send(answer or Answer(as_json({"error": "there is no such thing"}), status=404))

    def _get(self, path: str, asked: dict[str, str]) -> Answer | None:
        if path in self.server.page:
            name = self.server.page[path]
            return Answer(files("beholder.review").joinpath(name).read_bytes(), _KINDS[name.rpartition(".")[2]])
        verb, _, number = path.partition("/")
        if not number:
            return self.look(verb, asked)
        if verb in ("about", *SIDES) and number.isdecimal() and len(number) < 12 and self.server.shows(int(number)):
            return plain(self.server.about(int(number))) if verb == "about" else self.server.picture(int(number), verb)
        return None

    def _post(self, path: str, asked: dict[str, str]) -> Answer | None:
        body = self._body()
        if body is None:
            text = "a decision comes from the page itself, as JSON of at most 1 MiB"
            return Answer(as_json({"error": text}), status=400)
        return self.decide(path, body)

    def _body(self) -> dict[str, Any] | None:
        """Return the body as an object; None where it is none, too long, or not sent by the page itself."""
        length = self.headers.get("Content-Length", "")
        origin = self.headers.get("Origin", "")
        is_json = self.headers.get("Content-Type", "").partition(";")[0].strip() == "application/json"
        if not length.isdecimal() or int(length) > BODY or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            return None
        data = self.rfile.read(int(length))
        if not is_json or origin not in [f"http://{host}" for host in self.server.hosts]:
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
