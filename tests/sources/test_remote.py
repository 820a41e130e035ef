from __future__ import annotations

import io
import ssl
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.loopback import Quiet, listening

from beholder.base import events
from beholder.base.errors import BeholderError, DataError, MachineError, UsageError
from beholder.base.limits import Limits
from beholder.machine.folders import cache_folder
from beholder.sources import remote, scan
from beholder.sources.remote import fetched


def packed(size: int = 300_000) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a/1.png", bytes(size))
        file.writestr("b/1.png", b"picture")
    return out.getvalue()


WHOLE = packed()


@dataclass
class Server:
    """A server on loopback. ways: what it does with each path; asked: (path, Range header) of each request."""

    address: str = ""
    ways: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def url(self, path: str) -> str:
        return self.address + path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(Quiet):
        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers.get("Range")))
            state.ways[self.path](self)
            self.close_connection = True

    monkeypatch.setattr(remote, "PAUSE", 0.0)
    monkeypatch.setattr(remote, "TIMEOUT", 20.0)
    monkeypatch.setenv("no_proxy", "*")
    with listening(Handler) as state.address:
        yield state


def send(
    request: BaseHTTPRequestHandler,
    data: bytes,
    *,
    status: int = 200,
    length: int | None = None,
    cut: int | None = None,
    **more: str,
) -> None:
    """Answer with `data`; announce another length; or break off after `cut` bytes."""
    request.send_response(status)
    if length != -1:
        request.send_header("Content-Length", str(len(data) if length is None else length))
    for name, value in more.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(data if cut is None else data[:cut])
    request.wfile.flush()


def ranged(request: BaseHTTPRequestHandler, data: bytes = WHOLE, *, cut: int | None = None, tag: str = '"1"') -> None:
    """Answer as a server that knows ranges."""
    asked = request.headers.get("Range")
    if asked and request.headers.get("If-Range") == tag:
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(data):
            send(request, b"", status=416)
            return
        span = f"bytes {start}-{len(data) - 1}/{len(data)}"
        send(request, data[start:], status=206, cut=cut, ETag=tag, Content_Range=span)
    else:
        send(request, data, cut=cut, ETag=tag)


def fetch(url: str, root: Path, **more: int) -> Path:
    with events.listen(alone=True):
        return fetched(url, limits=Limits(**more), allow_download=True, root=root)


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def test_a_zip_is_fetched_once_and_scanned(server: Server, home: Path) -> None:
    server.ways["/set.zip"] = ranged
    with pytest.raises(UsageError) as caught:
        scan(server.url("/set.zip"))
    assert caught.value.code == "download-not-allowed"
    assert "--allow-download" in caught.value.hint
    assert server.asked == []
    with events.listen(alone=True):
        pictures = scan(server.url("/set.zip"), allow_download=True)
    assert list(pictures.keys) == ["a/1.png", "b/1.png"]
    assert pictures.store.read("b/1.png") == b"picture"
    assert len(scan(server.url("/set.zip"))) == 2, "what is there needs no permission"
    assert len(server.asked) == 1
    assert str(cache_folder()) in pictures.store.name


def test_a_broken_connection_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.ways["/set.zip"] = lambda request: ranged(request, cut=100_000)
    place = fetch(server.url("/set.zip"), tmp_path)
    assert place.read_bytes() == WHOLE
    assert [span for _, span in server.asked] == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]
    assert left(tmp_path) == ["set.zip"]


def test_a_download_given_up_is_resumed_by_the_next_run(server: Server, tmp_path: Path) -> None:
    answers = iter([100_000, 0, 0, 0, 0, 0])
    server.ways["/set.zip"] = lambda request: ranged(request, cut=next(answers))
    with pytest.raises(MachineError, match=r"100,000 of 300,2\d\d bytes came") as caught:
        fetch(server.url("/set.zip"), tmp_path)
    assert caught.value.code == "download-failed"
    assert left(tmp_path) == ["part-set.zip", "part-set.zip.json"]
    server.asked.clear()
    server.ways["/set.zip"] = ranged
    assert fetch(server.url("/set.zip"), tmp_path).read_bytes() == WHOLE
    assert [span for _, span in server.asked] == ["bytes=100000-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    other = packed(200_000)
    answers = iter([lambda r: ranged(r, cut=100_000), lambda r: ranged(r, other, tag='"2"')])
    server.ways["/set.zip"] = lambda request: next(answers)(request)
    assert fetch(server.url("/set.zip"), tmp_path).read_bytes() == other


def test_a_range_of_something_else_is_not_appended(server: Server, tmp_path: Path) -> None:
    def wrong(request: BaseHTTPRequestHandler) -> None:
        send(request, b"x" * 100, status=206, ETag='"1"', Content_Range="bytes 5-104/300000")

    answers = iter([lambda r: ranged(r, cut=100_000), wrong, ranged])
    server.ways["/set.zip"] = lambda request: next(answers)(request)
    assert fetch(server.url("/set.zip"), tmp_path).read_bytes() == WHOLE
    assert [span for _, span in server.asked] == [None, "bytes=100000-", None]


def test_a_server_without_ranges(server: Server, tmp_path: Path) -> None:
    cuts = iter([100_000, None])
    server.ways["/set.tar.zip"] = lambda request: send(request, WHOLE, cut=next(cuts))
    assert fetch(server.url("/set.tar.zip"), tmp_path).read_bytes() == WHOLE


def test_a_range_that_does_not_exist_any_more(server: Server, tmp_path: Path) -> None:
    answers = iter([lambda r: ranged(r, cut=100_000), lambda r: send(r, b"", status=416), ranged])
    server.ways["/set.zip"] = lambda request: next(answers)(request)
    assert fetch(server.url("/set.zip"), tmp_path).read_bytes() == WHOLE


@pytest.mark.parametrize("length", [len(WHOLE) + 1000, 10**15])
def test_a_length_that_promises_too_much(server: Server, tmp_path: Path, length: int) -> None:
    server.ways["/set.zip"] = lambda request: send(request, WHOLE, length=length)
    with pytest.raises(BeholderError) as caught:
        fetch(server.url("/set.zip"), tmp_path)
    assert caught.value.code == ("too-many-bytes" if length == 10**15 else "download-failed")
    assert "set.zip" not in left(tmp_path)


def test_a_length_that_promises_too_little_leaves_no_file(server: Server, tmp_path: Path) -> None:
    server.ways["/set.zip"] = lambda request: send(request, WHOLE, length=1000)
    with pytest.raises(DataError) as caught:
        fetch(server.url("/set.zip"), tmp_path)
    assert caught.value.code == "bad-download"
    assert server.url("/set.zip") in caught.value.message
    assert left(tmp_path) == []


def test_no_length_at_all(server: Server, tmp_path: Path) -> None:
    server.ways["/set.zip"] = lambda request: send(request, WHOLE, length=-1)
    assert fetch(server.url("/set.zip"), tmp_path).read_bytes() == WHOLE
    server.ways["/set.zip?again"] = server.ways["/set.zip"]
    with pytest.raises(DataError) as caught:
        fetch(server.url("/set.zip?again"), tmp_path, download=5)
    assert caught.value.code == "too-many-bytes"


def test_more_than_the_limit(server: Server, tmp_path: Path) -> None:
    server.ways["/set.zip"] = ranged
    with pytest.raises(DataError, match="300,2") as caught:
        fetch(server.url("/set.zip"), tmp_path, download=100_000)
    assert caught.value.code == "too-many-bytes"
    assert left(tmp_path) == []


def redirect(to: str) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda request: send(request, b"", status=302, Location=to)


def test_redirects(server: Server, tmp_path: Path) -> None:
    server.ways["/set.zip"] = redirect("/other")
    server.ways["/other"] = ranged
    assert fetch(server.url("/set.zip"), tmp_path).read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("/set.zip", "leads in a circle"),
        ("http://192.0.2.1/set.zip", "not encrypted"),
        ("file:///etc/passwd", "what is not asked"),
        ("ftp://127.0.0.1/set.zip", "not encrypted"),
    ],
)
def test_redirects_that_are_not_followed(server: Server, tmp_path: Path, to: str, words: str) -> None:
    server.ways["/set.zip"] = redirect(to)
    with pytest.raises(MachineError, match=words) as caught:
        fetch(server.url("/set.zip"), tmp_path)
    assert caught.value.code == "download-failed"
    assert len(server.asked) <= 6


def test_a_chain_of_redirects_ends(server: Server, tmp_path: Path) -> None:
    for i in range(20):
        server.ways[f"/{i}.zip"] = redirect(f"/{i + 1}.zip")
    with pytest.raises(MachineError, match="leads in a circle"):
        fetch(server.url("/0.zip"), tmp_path)
    assert len(server.asked) <= 7


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (500, remote.TRIES), (503, remote.TRIES)])
def test_refusals(server: Server, tmp_path: Path, status: int, asked: int) -> None:
    server.ways["/set.zip?token=secret"] = lambda request: send(request, b"", status=status)
    with pytest.raises(MachineError, match=str(status)) as caught:
        fetch(server.url("/set.zip?token=secret"), tmp_path)
    assert "secret" not in str(caught.value)
    assert len(server.asked) == asked


def test_what_is_no_archive_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.ways["/set.zip"] = lambda request: send(request, b"<html>please log in</html>")
    with pytest.raises(DataError) as caught:
        fetch(server.url("/set.zip"), tmp_path)
    assert caught.value.code == "bad-download"
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://example.org/set.zip", "not-https"),
        ("http://127.0.0.1.example.org/set.zip", "not-https"),
        ("https://example.org/page.html", "unknown-source"),
        ("https://example.org/", "unknown-source"),
    ],
)
def test_addresses_that_are_not_asked(tmp_path: Path, url: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        fetch(url, tmp_path)
    assert caught.value.code == code


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(MachineError, match="refused") as caught:
        fetch("http://127.0.0.1:9/set.zip", tmp_path)
    assert caught.value.code == "download-failed"


def test_certificates_are_verified() -> None:
    handlers = remote._opener("https://example.org/set.zip").handlers
    contexts = [handler._context for handler in handlers if hasattr(handler, "_context")]
    assert [(context.verify_mode, context.check_hostname) for context in contexts] == [(ssl.CERT_REQUIRED, True)]
