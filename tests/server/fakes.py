"""A recogniser without a net, which can be told to take its time, and a server of it in a thread or a process of its own."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import numpy as np
from PIL import Image
from tests.configs import config

from beholder.bundle.recogniser import Recogniser
from beholder.server.bounds import Bounds
from beholder.server.guard import Access
from beholder.server.run import Server, listening, prepared

RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)


class Fake(Recogniser):
    """Says which of red, green and blue a picture is.

    seconds: that a run takes, and that each picture adds; nan_for: the colour to which it answers NaN
    """

    def __init__(self, *, run: float = 0.0, each: float = 0.0) -> None:
        self.references = None
        self.config = config(("red", "green", "blue"), size=(3, 8, 8))
        self.seconds = (run, each)
        self.runs: list[int] = []
        self.broken = False
        self.nan_for: int | None = None

    def outputs(self, images: Any, *, batch: int = 256) -> Any:
        if self.broken:
            raise RuntimeError("the net is broken")
        self.runs.append(len(images))
        time.sleep(self.seconds[0] + self.seconds[1] * len(images))
        means = images.mean(axis=(2, 3)).astype(np.float32)
        logits = means / 25
        if self.nan_for is not None:
            logits[means.argmax(axis=1) == self.nan_for] = np.nan
        return logits, means


def picture(colour: tuple[int, int, int] = RED, *, size: tuple[int, int] = (12, 10), kind: str = "PNG") -> bytes:
    """Return an encoded picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


@dataclass
class Served:
    """A server that runs. port: on 127.0.0.1."""

    port: int
    server: Server
    recogniser: Any

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, body (parsed where it is JSON) and headers of one request on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            data = reply.read()
            found = {name.lower(): value for name, value in reply.getheaders()}
            parsed = data and found.get("content-type") == "application/json"
            return reply.status, json.loads(data) if parsed else data, found
        finally:
            connection.close()

    def form(self, *pictures: bytes, path: str = "/predict") -> tuple[int, Any, dict[str, str]]:
        """Return the answer to a form of pictures."""
        return self.ask("POST", path, form(*pictures), {"Content-Type": "multipart/form-data; boundary=xyz"})

    def raw(self, data: bytes, *, timeout: float = 5.0) -> bytes:
        """Return what comes back for these bytes until the server closes, or says no more for `timeout` seconds."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as sock:
            sock.sendall(data)
            found = b""
            try:
                while more := sock.recv(1 << 16):
                    found += more
            except (TimeoutError, ConnectionResetError):
                pass
            return found


def form(*pictures: bytes, name: str = "files") -> bytes:
    """Return the body of a form."""
    head = b'--xyz\r\nContent-Disposition: form-data; name="%s"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    return b"".join(head % name.encode() + data + b"\r\n" for data in pictures) + b"--xyz--\r\n"


@contextmanager
def served(
    recogniser: Any = None,
    *,
    access: Access | None = None,
    name: str = "colours",
    nearby: Any = None,
    certificate: tuple[str, str] | None = None,
    **bounds: Any,
) -> Iterator[Served]:
    """Lend a server in a thread of this process."""
    recogniser = recogniser or Fake()
    models = recogniser if isinstance(recogniser, dict) else {name: recogniser}
    with (
        listening("127.0.0.1", 0) as sock,
        prepared(models, bounds=Bounds(**bounds), access=access or Access(), nearby=nearby, certificate=certificate) as server,
    ):
        thread = threading.Thread(target=server.run, args=([sock],))
        port = sock.getsockname()[1]
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield Served(port, server, recogniser)
        finally:
            server.leave()
            thread.join(20)
            assert not thread.is_alive()


def main() -> None:
    """Serve a fake in this process until SIGTERM; the port is the first line of stdout. Arguments: seconds a run, a picture."""
    run, each = map(float, sys.argv[1:3])
    bounds = Bounds(**json.loads(sys.argv[3])) if len(sys.argv) > 3 else Bounds()
    fake = Fake()
    with listening("127.0.0.1", 0) as sock, prepared({"colours": fake}, bounds=bounds, access=Access()) as server:
        fake.seconds = (run, each)
        print(sock.getsockname()[1], flush=True)
        server.run([sock])
        print(json.dumps({"stopped": True}), flush=True)


if __name__ == "__main__":
    main()
