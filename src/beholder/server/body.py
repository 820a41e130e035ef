"""Request bodies within limits: one picture as it is, or many as parts of a form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from typing import TYPE_CHECKING, TypeVar

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from starlette.requests import ClientDisconnect, Request

from beholder.server.bounds import Bounds
from beholder.server.refusal import Refusal, overload

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "files"
"""The field of a form that holds pictures; `file` and `image` are understood too."""

FIELDS = (FIELD, "file", "image")

Found = TypeVar("Found")

ASIDE = 256 << 10
"""Bytes of a body from which on it is taken apart off the event loop."""

KIND_HEAD = 1 << 10
"""Bytes of the Content-Type of a form at most: the time to read its parameters grows with the square of their number."""

PART_HEAD = 8 << 10
"""Bytes of the headers of one part at most."""


class Held:
    """The bytes of all bodies that are in memory. used: now; most: at most."""

    def __init__(self, most: int) -> None:
        self.used = 0
        self.most = most

    @contextmanager
    def room(self) -> Iterator[Room]:
        """Yield room for one request, released in any case."""
        room = Room(self)
        try:
            yield room
        finally:
            self.used -= room.taken


class Room:
    """What one request may hold. taken: bytes."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self.taken = 0

    def look(self, size: int) -> None:
        """Raise 503 where there is no room for `size` bytes more now. Nothing is taken: what is announced need never come."""
        if self._held.used + size > self._held.most:
            raise overload(1.0)

    def take(self, size: int) -> None:
        """Take `size` bytes more. Raises 503 where all requests together hold too much."""
        self.look(size)
        self._held.used += size
        self.taken += size


def announced(request: Request, bounds: Bounds) -> int:
    """Return the length of the body as its header has it, 0 where unknown. Raises 413, and 415 where it is compressed."""
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        hint = "send it as it is: pictures are compressed already"
        raise Refusal(415, "encoded-body", f"the body is encoded as {coding[:40]!r}", hint=hint)
    length = request.headers.get("content-length", "0")
    size = int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else 0
    if size > bounds.body:
        raise too_large(bounds)
    return size


async def whole(request: Request, bounds: Bounds, room: Room) -> bytes:
    """Return the body. Raises `Refusal`: 408 too-slow-body, 413 body-too-large, 415, 400 incomplete-body, 503 overloaded."""
    size = announced(request, bounds)
    room.look(size)
    chunks: list[bytes] = []
    read = 0
    try:
        async with asyncio.timeout(bounds.body_seconds):
            async for chunk in request.stream():
                read += len(chunk)
                if read > bounds.body:
                    raise too_large(bounds)
                room.take(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        raise Refusal(
            408, "too-slow-body", f"the body did not come within {bounds.body_seconds:g} s", headers={"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Refusal(400, "incomplete-body", "the connection was closed before the body ended") from None
    return b"".join(chunks)


async def aside(work: Callable[[], Found], size: int) -> Found:
    """Return what `work` returns; off the event loop where the body of `size` bytes would hold it up."""
    return work() if size < ASIDE else await asyncio.get_running_loop().run_in_executor(None, work)


def is_form(request: Request) -> bool:
    """Return whether the body says that it is a form with parts."""
    return request.headers.get("content-type", "").lstrip().lower().startswith("multipart/form-data")


def parts(body: bytes, content_type: str, *, most: int) -> list[bytes]:
    """Return the pictures of a form: what its fields `files`, `file` and `image` hold, in order.

    Raises `Refusal`: 400 bad-form, no-pictures; 413 too-many-parts.
    """
    if len(content_type) > KIND_HEAD:
        raise _bad_form("its Content-Type is too long")
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary("")
    if not boundary:
        raise _bad_form("its Content-Type names no boundary")
    form = _Form(most)
    try:
        parser = MultipartParser(boundary.encode("latin-1", "replace"), form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _bad_form(str(error)[:120]) from None
    if not form.ended:
        raise _bad_form("it has no end")
    if not form.found:
        raise Refusal(400, "no-pictures", "the form holds no picture", hint=f"send each as a field named {FIELD}")
    return form.found


class _Form:
    """What the parser of a form calls. found: the pictures; ended: whether the last boundary came."""

    def __init__(self, most: int) -> None:
        self.found: list[bytes] = []
        self.ended = False
        self._most = most
        self._count = 0
        self._name = bytearray()
        self._value = bytearray()
        self._fields = 0
        self._head = 0
        self._wanted = False
        self._data: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        """Return what the parser is to call for each event."""
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._count += 1
        if self._count > self._most:
            raise Refusal(413, "too-many-parts", f"a request holds {self._most} pictures at most", hint="send several requests")
        self._head, self._wanted, self._data = 0, False, []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._value += data[start:end]

    def _grow(self, size: int) -> None:
        self._head += size
        if self._head > PART_HEAD:
            raise _bad_form("a part has too long headers")

    def _header_end(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            header = Message()
            header["Content-Disposition"] = self._value.decode("latin-1").replace("\r", " ").replace("\n", " ")
            self._wanted = header.get_param("name", header="content-disposition") in FIELDS
        self._name.clear()
        self._value.clear()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._wanted:
            self._data.append(data[start:end])

    def _part_end(self) -> None:
        if self._wanted:
            self.found.append(b"".join(self._data))

    def _end(self) -> None:
        self.ended = True


def too_large(bounds: Bounds) -> Refusal:
    """Return 413 for a body that is longer than the bounds allow."""
    hint = "send fewer or smaller pictures, or start the server with a larger --body"
    return Refusal(413, "body-too-large", f"a request is {bounds.body} bytes at most", hint=hint)


def _bad_form(why: str) -> Refusal:
    return Refusal(400, "bad-form", f"the form cannot be read: {why}", hint=f"curl -F {FIELD}=@a.jpg sends one")
