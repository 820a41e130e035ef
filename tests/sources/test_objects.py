"""Requests to object storage: what is tried again, what is final, and the same for Google Cloud Storage."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from tests.loopback import Quiet, listening
from tests.sources.conftest import Storage

import beholder
from beholder.base import events
from beholder.base.errors import BeholderError, MachineError, PictureError, UsageError
from beholder.sources import objects, scan


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited between attempts."""
    found: list[float] = []
    monkeypatch.setattr(objects.time, "sleep", found.append)
    return found


def failing(errors: list[Exception]) -> Callable[[], str]:
    def work() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    return work


def test_pauses_double_between_attempts(pauses: list[float]) -> None:
    with events.listen(alone=True):
        assert objects.tried(failing([ConnectionResetError("reset")] * 4), "s3://bucket/a") == "done"
        assert pauses == [0.5, 1.0, 2.0, 4.0]
        with pytest.raises(MachineError, match=r"s3://bucket/a cannot be read after 5 attempts: reset") as caught:
            objects.tried(failing([ConnectionResetError("reset")] * 5), "s3://bucket/a")
    assert caught.value.code == "download-failed"


@pytest.mark.parametrize(
    ("error", "code"),
    [(PermissionError("no"), "forbidden"), (FileNotFoundError("none"), "path-missing")],
    ids=["forbidden", "missing"],
)
def test_what_another_attempt_would_not_mend_is_final(error: Exception, code: str, pauses: list[float]) -> None:
    with pytest.raises(BeholderError) as caught:
        objects.tried(failing([error]), "s3://bucket/a")
    assert (caught.value.code, pauses) == (code, [])


def test_errors_of_the_program_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        objects.tried(failing([ZeroDivisionError()]), "s3://bucket/a")


def test_secrets_in_messages_of_libraries_are_left_out() -> None:
    error = ConnectionError("cannot reach https://me:pass@host/bucket?X-Amz-Signature=abc")
    with events.listen(alone=True), pytest.raises(MachineError) as caught:
        objects.tried(failing([error] * 5), "s3://bucket/a")
    assert "https://host/bucket" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("pass@", "abc"))


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_the_extra_is_named_where_it_is_not_installed(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(objects.importlib, "import_module", missing)
    with pytest.raises(MachineError, match=objects.LIBRARIES[scheme]) as caught:
        scan(f"{scheme}://bucket/set", allow_download=True)
    assert caught.value.hint == "pip install 'beholder[objects]'"


def test_single_pictures_share_a_client_and_other_credentials_have_another(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    core = importlib.import_module("s3fs.core")

    class Counted(core.S3FileSystem):  # type: ignore[misc, name-defined]
        def __init__(self, **how: object) -> None:
            super().__init__(**how)
            made.append(self)

    monkeypatch.setattr(core, "S3FileSystem", Counted)
    urls = [storage.write(f"{k}.png", b"%d" % k) for k in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda url: objects.picture(url, allow_download=True), urls)) == [b"%d" % k for k in range(8)]
    assert len(made) == 1
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert objects.system(urls[0]) is objects.system(f"s3://{storage.bucket}-2/x")
    assert len(made) == 2


def test_after_an_error_of_the_service_credentials_are_looked_for_anew(storage: Storage, pauses: list[float]) -> None:
    before = objects.system("s3://bucket/a")
    with pytest.raises(UsageError):
        objects.tried(failing([FileNotFoundError("none")]), "s3://bucket/a")
    assert objects.system("s3://bucket/a") is before
    with pytest.raises(MachineError):
        objects.tried(failing([PermissionError("no")]), "s3://bucket/a")
    assert objects.system("s3://bucket/a") is not before


def test_addresses_are_told_from_paths() -> None:
    assert [objects.is_object(text) for text in ("s3://b/x", "gs://b", "s3", "S3://b", "/s3://b", "https://b", "s3:/b")] == [
        True, True, False, False, False, False, False,
    ]  # fmt: skip


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[int, bytes]]]:
    """The part of Google's JSON API that lists and reads; the objects of "bucket": generation and bytes by name."""
    pytest.importorskip("gcsfs", reason="gcsfs is not installed")
    held: dict[str, tuple[int, bytes]] = {}

    class Handler(Quiet):
        def do_GET(self) -> None:
            split = urlsplit(self.path)
            asked = {key: values[0] for key, values in parse_qs(split.query).items()}
            _, _, rest = split.path.partition("/b/")
            bucket, _, name = rest.partition("/o")
            if bucket != "bucket":
                self.send(404, b"{}")
            elif name.strip("/"):
                generation, data = held.get(unquote(name.strip("/")), (0, b""))
                right = generation and asked.get("generation", str(generation)) == str(generation)
                first, last = (self.headers.get("Range") or f"bytes=0-{len(data)}")[6:].split("-")
                self.send(206 if right else 404, data[int(first) : int(last) + 1] if right else b"{}")
            else:
                self.send(200, json.dumps(self.listed(asked.get("prefix", ""), asked.get("delimiter", ""))).encode())

        def listed(self, prefix: str, delimiter: str) -> dict[str, object]:
            names = [name for name in sorted(held) if name.startswith(prefix)]
            deep = {name for name in names if delimiter and delimiter in name[len(prefix) :]}
            folders = {prefix + name[len(prefix) :].partition("/")[0] + "/" for name in deep}
            rows = [
                {"name": name, "bucket": "bucket", "size": str(len(held[name][1])), "generation": str(held[name][0])}
                for name in names
                if name not in deep
            ]
            return {"kind": "storage#objects", "items": rows, "prefixes": sorted(folders)}

        def send(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setitem(__import__("fsspec").config.conf, "gs", {"token": "anon"})
    monkeypatch.setitem(__import__("fsspec").config.conf, "gcs", {"token": "anon"})
    with listening(Handler) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        yield held


def test_google_cloud_storage(google: dict[str, tuple[int, bytes]], leaves: Path, tmp_path: Path) -> None:
    beholder.cache(tmp_path / "cache")
    for number, file in enumerate(sorted(leaves.rglob("*.png")), start=1):
        google[f"set/{file.relative_to(leaves).as_posix()}"] = number, file.read_bytes()
    with events.listen(alone=True):
        found, local = scan("gs://bucket/set", allow_download=True), scan(leaves)
    assert (list(found.keys), found.classes) == (list(local.keys), local.classes)
    assert all(found.store.read(key) == local.store.read(key) for key in local.keys[3:])
    google[f"set/{found.keys[0]}"] = 99, google[f"set/{found.keys[0]}"][1]
    with pytest.raises(PictureError) as changed:
        found.store.read(found.keys[0])
    assert changed.value.code == "changed"
    with pytest.raises(UsageError) as caught:
        scan("gs://other/set", allow_download=True)
    assert caught.value.code == "path-missing"
