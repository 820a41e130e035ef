"""A client of `beholder serve`, without other dependencies."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from beholder.base.errors import MachineError, PictureError, UsageError
from beholder.base.records import Detection, Detections, Prediction
from beholder.bundle.given import one
from beholder.bundle.recogniser import Picture
from beholder.image.encode import png

_BOUNDARY = "beholder-7d2f9c41a6b8e035"


class Client:
    """Asks a server for what a bundle would say.

    address: such as http://127.0.0.1:8000; key: where the server wants one; model: which of its bundles, the first where None;
    timeout: seconds for one request; tries: how often a request is sent while the server has too much to do (503), with the
    pauses that it asks for; certificate: a PEM file to trust, beside those that the system trusts.

    >>> client = Client("http://127.0.0.1:8000")
    >>> client.address
    'http://127.0.0.1:8000'
    """

    def __init__(
        self,
        address: str,
        *,
        key: str | None = None,
        model: str | None = None,
        timeout: float = 60.0,
        tries: int = 5,
        certificate: str | Path | None = None,
    ) -> None:
        url = urlsplit(address)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise UsageError(f"{address!r} is no address of a server", code="bad-address", hint="such as http://127.0.0.1:8000")
        self.address = address.rstrip("/")
        self.model = model
        self._path = url.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._tries = tries
        port = url.port
        if url.scheme == "https":
            trusted = ssl.create_default_context(cafile=str(certificate) if certificate else None)
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                url.hostname, port, timeout=timeout, context=trusted
            )
        else:
            self._connection = http.client.HTTPConnection(url.hostname, port, timeout=timeout)

    def __call__(self, picture: Picture, *, threshold: float | None = None, most: int | None = None) -> Prediction | Detections:
        """Recognise one picture: a path, encoded bytes, an array (H, W) or (H, W, C), …, as a bundle does.

        threshold, most: as `predict` has them. Raises `PictureError` for one that cannot be read.
        """
        said = self.predict([picture], threshold=threshold, most=most)[0]
        if "error" in said:
            raise PictureError(said["error"]["message"], code=said["error"]["code"])
        if "boxes" in said:
            boxes = tuple(Detection(box["label"], box["p"], tuple(box["box"])) for box in said["boxes"])
            return Detections(said["width"], said["height"], boxes)
        found: dict[str, Any] = {name: said[name] for name in ("abstain", "positive", "ood", "ood_score") if name in said}
        if "set" in said:
            found["set"] = tuple(said["set"])
        return Prediction(label=said["label"], p=said["p"], probabilities=said["probabilities"], **found)

    def predict(
        self, pictures: Iterable[Picture], *, threshold: float | None = None, most: int | None = None, batch: int = 16
    ) -> list[dict[str, Any]]:
        """Return {"label", "p", "probabilities", …} or {"error": {"code", "message"}} for each picture, in their order.

        Of a detector {"width", "height", "boxes": [{"label", "p", "box"}, …]}; threshold: least probability of a box, and
        most: boxes of a picture; None: as its bundle has them.
        pictures: paths, encoded bytes, arrays (H, W) or (H, W, C), …, as a bundle takes them; batch: pictures in one request.
        """
        wanted = {"threshold": threshold, "most": most}
        query = {name: None if value is None else str(value) for name, value in wanted.items()}
        found: list[dict[str, Any]] = []
        waiting: list[bytes] = []
        for picture in pictures:
            waiting.append(_encoded(picture))
            if len(waiting) == batch:
                found += self._answers(waiting, query)
                waiting = []
        return found + self._answers(waiting, query) if waiting else found

    def explain(self, picture: Picture, *, label: str | None = None) -> bytes:
        """Return a PNG that shows where in a picture (a path, encoded bytes, an array (H, W) or (H, W, C)) the answer is found.

        label: what speaks for this class; for the most probable one where None.
        """
        return self._ask("POST", "/explain", {"class": label}, _encoded(picture), "application/octet-stream")

    def models(self) -> list[dict[str, Any]]:
        """Return what the server serves: name, classes, task, … of each."""
        found: list[dict[str, Any]] = json.loads(self._ask("GET", "/models"))
        return found

    def ready(self) -> bool:
        """Return whether the server takes pictures now."""
        try:
            self._once("GET", "/readyz", None, {})
        except (OSError, http.client.HTTPException, MachineError):
            return False
        return True

    def close(self) -> None:
        """Close the connection; the next question opens it again."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answers(self, pictures: Sequence[bytes], query: dict[str, str | None]) -> list[dict[str, Any]]:
        body = _form(pictures)
        said = json.loads(self._ask("POST", "/predict", query, body, f"multipart/form-data; boundary={_BOUNDARY}"))
        found: list[dict[str, Any]] = said["answers"]
        return found

    def _ask(
        self, method: str, path: str, asked: dict[str, str | None] | None = None, body: bytes | None = None, kind: str = ""
    ) -> bytes:
        query = urlencode({name: value for name, value in {**(asked or {}), "model": self.model}.items() if value is not None})
        headers = {"Content-Type": kind} if kind else {}
        for last in [False] * (self._tries - 1) + [True]:
            try:
                return self._once(method, f"{path}?{query}" if query else path, body, headers)
            except _Busy as busy:
                if last:
                    raise
                time.sleep(busy.seconds)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if last or not isinstance(error, (ConnectionError, http.client.HTTPException)):
                    hint = "is it running, and is that its address?"
                    raise MachineError(f"{self.address} does not answer: {error}", code="no-server", hint=hint) from None
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        self._connection.request(method, self._path + path, body, {**self._headers, **headers})
        reply = self._connection.getresponse()
        data = reply.read()
        if reply.status < 300:
            return data
        raise _refused(reply, data)


class _Busy(MachineError):
    """The server has too much to do. seconds: until it wants to be asked again."""

    seconds = 1.0


def _refused(reply: http.client.HTTPResponse, data: bytes) -> Exception:
    try:
        said = json.loads(data)["error"]
        code, message, hint = str(said["code"]), str(said["message"]), str(said.get("hint", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message, hint = "odd", f"the server said {reply.status} {reply.reason}", ""
    if reply.status == 503:
        busy = _Busy(message, code=code, hint=hint)
        after = reply.headers.get("Retry-After", "1")
        busy.seconds = float(after) if after.isdecimal() else 1.0
        return busy
    if reply.status >= 500:
        return MachineError(message, code=code, hint=hint)
    return UsageError(message, code=code, hint=hint)


def _encoded(picture: Picture) -> bytes:
    data = one(picture)
    return data if isinstance(data, bytes) else png(data)[0]


def _form(pictures: Sequence[bytes]) -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="picture"\r\n\r\n'.encode()
    return b"".join(part for data in pictures for part in (head, data, b"\r\n")) + f"--{_BOUNDARY}--\r\n".encode()
