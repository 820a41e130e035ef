"""Archives fetched from the network: only when that was allowed, whole or absent, and resumed where they broke off."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from beholder.base import events
from beholder.base.brief import without_secrets
from beholder.base.errors import DataError, MachineError, UsageError
from beholder.base.files import fsync_folder, sha256, telling_disk_errors
from beholder.base.limits import LIMITS, Limits
from beholder.base.locks import share
from beholder.machine.folders import cache_folder
from beholder.sources import archive
from beholder.sources.folder import too_many_bytes

TRIES = 5
"""Attempts in a row that bring nothing before a download is given up."""

PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""

_CHUNK = 1 << 20
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class _BrokenError(Exception):
    """The connection broke, or the server had trouble: another attempt may bring more."""


@dataclass(frozen=True)
class _Version:
    """What the server calls the bytes that a partial file began with. tag: its ETag or time of last change, "" if none."""

    url: str
    tag: str
    total: int


def is_url(text: str) -> bool:
    """Return True for a source that lies elsewhere, at http: or https:."""
    return re.match(r"https?://", text, re.IGNORECASE) is not None


def is_archive(url: str) -> bool:
    """Return True for an address whose path names a zip or tar."""
    return archive.is_archive(Path(unquote(urlsplit(url).path).rpartition("/")[2]))


def fetched(url: str, *, limits: Limits = LIMITS, allow_download: bool = False, root: Path | None = None) -> Path:
    """Return the copy of a remote zip or tar in the cache folder (or `root`), downloaded if it is not there yet.

    Certificates are verified; plain http is for this machine alone. A download that broke off goes on where it stopped.
    Raises `UsageError` (not-https, unknown-source, download-not-allowed), `DataError` (too-many-bytes, bad-download),
    `MachineError` (download-failed, disk-full).
    """
    name = _checked(url)
    folder = cache_folder(root) / "downloads" / sha256(url.encode())[:32]
    place = folder / name
    if place.is_file():
        os.utime(folder)
        return place
    if not allow_download:
        raise not_allowed(without_secrets(url))
    events.note(f"downloading {without_secrets(url)} to {folder}", path=str(place))
    with telling_disk_errors(place, option="--cache"):
        folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"part-{name}"
    _download(url, part, limits)
    if place.is_file():  # another process was faster
        return place
    try:
        archive.listing(part, limits=limits)
    except DataError as error:
        _forget(part)
        what = error.message.replace(str(part), without_secrets(url))
        raise DataError(f"what was downloaded is refused: {what}", code="bad-download", hint=error.hint) from error
    with telling_disk_errors(place, option="--cache"):
        part.replace(place)
        fsync_folder(folder)
    _forget(part)
    return place


def picture(url: str, *, limits: Limits = LIMITS, allow_download: bool = False) -> bytes:
    """Return the bytes of a remote picture, which is not kept. Certificates are verified; plain http is for this machine alone.

    Raises `UsageError` (not-https, download-not-allowed), `PictureError` (too-many-bytes), `MachineError` (download-failed).
    """
    _check_encrypted(url)
    if not allow_download:
        raise not_allowed(without_secrets(url))
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "beholder"})
    try:
        with _opener(url).open(request, timeout=TIMEOUT) as answer:
            data: bytes = answer.read(limits.bytes + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        why = f"{getattr(error, 'code', '')} {getattr(error, 'reason', '') or error or type(error).__name__}"
        raise MachineError(
            f"{without_secrets(url)} cannot be had: {why.strip()}", code="download-failed", hint="check the address"
        ) from error
    if len(data) > limits.bytes:
        raise too_many_bytes(without_secrets(url), len(data), limits.bytes)
    return data


def not_allowed(what: str) -> UsageError:
    """Return the error for a source that is not on this machine, and may not be fetched."""
    hint = "--allow-download fetches it (allow_download=True in Python)"
    return UsageError(f"{what} is not on this machine, and downloads were not allowed", code="download-not-allowed", hint=hint)


def _checked(url: str) -> str:
    """Return the file's name of a URL that may be asked for."""
    split = urlsplit(url)
    _check_encrypted(url)
    name = re.sub(r"[^\w.-]", "_", unquote(split.path).rpartition("/")[2])
    if not archive.is_archive(Path(name)):
        raise UsageError(
            f"{without_secrets(url)} names no zip or tar",
            code="unknown-source",
            hint="of remote files, only zips and tars are sources",
        )
    return name


def _check_encrypted(url: str) -> None:
    split = urlsplit(url)
    if split.scheme.lower() != "https" and split.hostname not in _LOOPBACK:
        raise UsageError(f"{without_secrets(url)} is not encrypted", code="not-https", hint="give an https:// address")


def _download(url: str, part: Path, limits: Limits) -> None:
    """Fill `part`, on and on from what it has, until the server has sent all that it announced."""
    idle = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _attempt(url, part, limits)
            return
        except _BrokenError as error:
            if isinstance(error, _RestartError):
                _forget(part)
            grown = part.exists() and part.stat().st_size > before
            idle = 1 if grown else idle + 1
            if idle >= TRIES:
                text = f"the download of {without_secrets(url)} broke off: {error}"
                hint = "run again: it goes on where it stopped"
                raise MachineError(text, code="download-failed", hint=hint) from error
            events.note(f"the connection broke ({error}); trying again")
            time.sleep(PAUSE * 2 ** (idle - 1))


def _attempt(url: str, part: Path, limits: Limits) -> None:
    known = _known(part, url)
    have = part.stat().st_size if known else 0
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "beholder"})
    if known and have:
        request.add_header("Range", f"bytes={have}-")
        if known.tag:
            request.add_header("If-Range", known.tag)
    try:
        with _opener(url).open(request, timeout=TIMEOUT) as answer:
            start, version = _where(answer, url, have, known)
            if version.total > limits.download:
                raise _too_large(url, version.total, limits)
            _remember(part, version)
            _append(answer, part, start, version, limits)
    except urllib.error.HTTPError as error:
        error.close()
        _refused(error, url, part)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            raise MachineError(
                f"{without_secrets(url)} shows a certificate that cannot be verified",
                code="download-failed",
                hint="check the address",
            ) from error
        raise _BrokenError(str(getattr(error, "reason", None) or error or type(error).__name__)) from error


def _where(answer: http.client.HTTPResponse, url: str, have: int, known: _Version | None) -> tuple[int, _Version]:
    """Return the byte at which the answer starts, and the version that it is of. A server may ignore Range and start anew."""
    tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    tag = "" if tag.startswith("W/") else tag
    if answer.status == 206:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if span and known and int(span[1]) == have and int(span[2]) == known.total and tag == known.tag:
            return have, known
        raise _RestartError(have)
    length = answer.headers.get("Content-Length", "")
    return 0, _Version(url, tag, int(length) if length.isdecimal() else -1)


class _RestartError(_BrokenError):
    """What the server sends does not fit what is here: the next attempt starts anew."""

    def __str__(self) -> str:
        return "the file changed on the server"


def _append(answer: IO[bytes], part: Path, start: int, version: _Version, limits: Limits) -> None:
    done = start
    with telling_disk_errors(part, option="--cache"):
        out = part.open("r+b" if start else "wb")
    share(out.fileno())
    with out:
        out.seek(start)
        for chunk in _chunks(answer):
            done += len(chunk)
            if done > limits.download:
                raise _too_large(version.url, done, limits)
            with telling_disk_errors(part, option="--cache"):
                out.write(chunk)
            events.progress("downloading", done, max(version.total, 0))
        with telling_disk_errors(part, option="--cache"):
            out.truncate(done)
            out.flush()
    if done < version.total:
        raise _BrokenError(f"{done:,} of {version.total:,} bytes came")


def _chunks(answer: IO[bytes]) -> Iterator[bytes]:
    while chunk := answer.read(_CHUNK):
        yield chunk


def _too_large(url: str, size: int, limits: Limits) -> DataError:
    text = f"{without_secrets(url)} has {size:,} bytes or more, beyond the limit of {limits.download:,} for a download"
    hint = "fetch it yourself if you trust it, or raise Limits.download"
    return DataError(text, code="too-many-bytes", hint=hint)


def _refused(error: urllib.error.HTTPError, url: str, part: Path) -> None:
    """Raise what an answer of 3xx, 4xx or 5xx means."""
    if error.code == 416:  # nothing of that range: what is here is of another file, or more than it has
        _forget(part)
    if error.code in (408, 416, 425, 429) or error.code >= 500:
        raise _BrokenError(f"the server answered {error.code}") from error
    what = (
        "leads in a circle, or to what is not asked,"
        if 300 <= error.code < 400
        else f"was refused by the server: {error.code} {error.reason}"
    )
    raise MachineError(f"{without_secrets(url)} {what}", code="download-failed", hint="check the address") from error


class _Careful(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, and none from a safe place to one that is not."""

    max_redirections = 5
    max_repeats = 2

    def __init__(self, loopback: bool) -> None:
        self._loopback = loopback

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request that follows a redirect. Raises `MachineError` where it leads to a place that is not encrypted."""
        split = urlsplit(newurl)
        if split.scheme != "https" and not (self._loopback and split.scheme == "http" and split.hostname in _LOOPBACK):
            fp.close()
            text = f"{without_secrets(req.full_url)} leads to a place that is not encrypted: {without_secrets(newurl)}"
            hint = "fetch it yourself if you trust it"
            raise MachineError(text, code="download-failed", hint=hint)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    loopback = urlsplit(url).hostname in _LOOPBACK
    return urllib.request.build_opener(_Careful(loopback), urllib.request.HTTPSHandler(context=context))


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _known(part: Path, url: str) -> _Version | None:
    """Return what a partial file is of, None where there is none, or it cannot be told whether it is of this URL."""
    try:
        found = _Version(**json.loads(_note(part).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.url == url and part.is_file() else None


def _remember(part: Path, version: _Version) -> None:
    with telling_disk_errors(part, option="--cache"):
        _note(part).write_text(json.dumps(asdict(version)))


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
