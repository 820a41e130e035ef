"""Object storage on this machine: S3 by moto's server, and a front to it that has troubles."""

from __future__ import annotations

import http.client
import io
import itertools
import logging
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.loopback import Quiet, listening

_NUMBERS = itertools.count()


@dataclass
class Storage:
    """S3 on loopback. bucket: a name that exists; address: of the service; client: fsspec's file system."""

    bucket: str
    address: str
    client: Any

    def put(self, folder: Path, name: str) -> str:
        """Copy all files of a folder below a name in the bucket; return the address of that."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.write(f"{name}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return f"s3://{self.bucket}/{name}/"

    def write(self, name: str, data: bytes) -> str:
        """Write an object; return its address."""
        self.client.pipe_file(f"{self.bucket}/{name}", data)
        return f"s3://{self.bucket}/{name}"


@dataclass
class Front:
    """Stands before the service. troubles: what the next requests of a picture or tar meet: a status, or "cut".

    asked: how often each path was asked for
    """

    troubles: list[int | str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)


@pytest.fixture(scope="session")
def _s3() -> Iterator[str]:
    pytest.importorskip("moto", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def storage(_s3: str, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An empty bucket, credentials that mean nothing, and no other service of the cloud to be asked."""
    import s3fs

    from beholder.sources import objects

    said = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_ENDPOINT_URL": _s3}
    for name, value in {
        **said,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "no_proxy": "*",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "FSSPEC_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(objects, "PAUSE", 0.0)
    client = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    bucket = f"bucket-{next(_NUMBERS)}"
    client.mkdir(bucket)
    return Storage(bucket, _s3, client)


@pytest.fixture
def front(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """A front to the service, at which sources are read from now on."""
    state, lock = Front(), threading.Lock()

    class Handler(Quiet):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            with lock:
                state.asked[path] += 1
                trouble = state.troubles.pop(0) if state.troubles and path.endswith((".png", ".tar", ".zip")) else 200
            status, headers, data = trouble, {}, b""
            if not isinstance(trouble, int) or trouble == 200:
                service = http.client.HTTPConnection(storage.address.removeprefix("http://"))
                service.request("GET", self.path, headers=dict(self.headers))
                answer = service.getresponse()
                status, headers, data = answer.status, dict(answer.headers), answer.read()
                service.close()
            self.send_response(int(status))
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if trouble == "cut" else data)
            self.close_connection = trouble == "cut"

    with listening(Handler) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield state


def packed(files: dict[str, bytes]) -> bytes:
    """Return a tar of files by name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()
