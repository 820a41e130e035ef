"""Objects of S3 and Google Cloud Storage through fsspec: listed without being read, and read in one version or not at all.

Credentials are those of the libraries: variables, configuration files, roles of the machine. None is ever printed.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar

from beholder.base import events
from beholder.base.brief import without_secrets
from beholder.base.errors import BeholderError, MachineError, PictureError, UsageError
from beholder.base.limits import LIMITS, Limits
from beholder.machine.network import settings
from beholder.sources.folder import too_many_bytes
from beholder.sources.remote import not_allowed

LIBRARIES = {"s3": "s3fs", "gs": "gcsfs"}
"""The library of each scheme. To add one takes a function in `READERS`, too."""

TRIES = 5
"""Attempts before a request is given up."""

PAUSE = 0.5
"""Seconds before the second attempt; doubled before each further one."""

_T = TypeVar("_T")
_MAKING = threading.Lock()
_CREDENTIALS = "Credential", "TokenRetrieval", "ProfileNotFound", "RefreshError"
_FOREIGN = {"aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "requests", "urllib3"}


@dataclass(frozen=True)
class Object:
    """One object as it was listed. tag: of just this content: the ETag of S3, the generation of Google Cloud Storage."""

    url: str
    size: int
    tag: str


class _ShortError(Exception):
    """Fewer or more bytes came than were asked for."""


def is_object(text: str) -> bool:
    """Return True for an address on object storage, s3:// or gs://."""
    return text.partition("://")[0] in LIBRARIES and "://" in text


def system(url: str) -> Any:
    """Return fsspec's file system for an address: one for all of a scheme, as long as what libraries find it by is the same.

    Raises `MachineError` (missing-library), `UsageError` (bad-address).
    """
    scheme, _, path = url.partition("://")
    bucket = path.partition("/")[0]
    if not bucket or "@" in bucket or ":" in bucket:
        hint = f"write {scheme}://BUCKET/NAME; credentials come from the environment, never from the address"
        raise UsageError(f"{without_secrets(url)} names no bucket", code="bad-address", hint=hint)
    with _MAKING:
        return _client(scheme, os.getpid(), settings())


@lru_cache(maxsize=4)
def _client(scheme: str, _process: int, _settings: frozenset[tuple[str, str]]) -> Any:
    """Return a new file system. A process that was forked has none of its own yet. Raises `MachineError` (missing-library)."""
    library = LIBRARIES[scheme]
    try:
        module = importlib.import_module(f"{library}.core")
    except ImportError as error:
        text = f"{scheme}:// takes {library}, which is not installed"
        raise MachineError(text, code="missing-library", hint="pip install 'beholder[objects]'") from error
    how: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme == "gs":  # of `core`: that of the package itself asks by gRPC first what kind of bucket it is
        return module.GCSFileSystem(**how)
    found = module.S3FileSystem(config_kwargs={"retries": {"total_max_attempts": 1}}, **how)
    found.retries = 1  # `tried` is the one that tries again
    return found


def below(system: Any, url: str) -> Iterator[Object]:
    """Yield the objects below a folder; only their names, sizes and tags are asked for.

    The folders in it are listed one after the other, so that no more than the entries of one are in memory.
    Raises `UsageError` (path-missing), `MachineError` (no-credentials, forbidden, download-failed).
    """
    scheme = url.partition("://")[0]
    for entry in inside(system, url):
        if isinstance(entry, Object):
            yield entry
            continue
        deep = tried(partial(system.find, entry, detail=True), f"{scheme}://{entry}")
        yield from (_object(scheme, found) for found in deep.values() if _is_file(found))


def inside(system: Any, url: str) -> Iterator[Object | str]:
    """Yield what lies right in a folder: objects, and folders by their path. Raises as `below` does."""
    scheme, _, path = url.partition("://")
    path = path.rstrip("/")
    for found in tried(lambda: system.ls(path, detail=True), url):
        if _is_file(found):
            yield _object(scheme, found)
        elif found["name"].rstrip("/") != path:
            yield found["name"].rstrip("/")


def _is_file(entry: Any) -> bool:
    return entry["type"] == "file" and not entry["name"].endswith("/")


def _object(scheme: str, entry: Any) -> Object:
    tag = entry.get("generation") or entry.get("ETag") or ""
    return Object(f"{scheme}://{entry['name']}", int(entry["size"]), str(tag))


def read(system: Any, thing: Object, start: int = 0, size: int | None = None) -> bytes:
    """Return an object's bytes, or `size` of them from `start` on: all of them, and of the version that was listed.

    Raises `PictureError` (changed: it was overwritten or deleted after it was listed), `MachineError` (no-credentials,
    forbidden, download-failed).
    """
    size = thing.size - start if size is None else size

    def once() -> bytes:
        data = READERS[thing.url.partition("://")[0]](system, thing, start, start + size)
        if len(data) != size:
            raise _ShortError(f"{len(data):,} of {size:,} bytes came")
        return data

    try:
        return tried(once, thing.url) if size else b""
    except UsageError as error:  # it is not there
        raise _changed(thing.url) from error


def picture(url: str, *, limits: Limits = LIMITS, allow_download: bool = False) -> bytes:
    """Return the bytes of one picture, which are not kept. Many are read sooner as a folder: `sources.scan`.

    Raises `UsageError` (download-not-allowed, path-missing, no-picture), `PictureError` (too-many-bytes, changed), and as
    `system` and `read` do.
    """
    where, (scheme, _, path) = without_secrets(url), url.partition("://")
    if not allow_download:
        raise not_allowed(where)
    found = system(url)
    entry = tried(partial(found.info, path.rstrip("/")), url)
    if not _is_file(entry):
        hint = "give it alone, not in a list: its pictures are the list"
        raise UsageError(f"{where} is a folder", code="no-picture", hint=hint)
    thing = _object(scheme, entry)
    if thing.size > limits.bytes:
        raise too_many_bytes(where, thing.size, limits.bytes)
    return read(found, thing)


def _changed(url: str) -> PictureError:
    text = f"{without_secrets(url)} was overwritten or deleted after it was listed"
    return PictureError(text, code="changed", hint="run again: it is then read as it is now")


def _from_s3(system: Any, thing: Object, start: int, end: int) -> bytes:
    async def body(answer: Any) -> bytes:
        try:
            data: bytes = await answer["Body"].read()
            return data
        finally:
            answer["Body"].close()

    bucket, _, key = thing.url.partition("://")[2].partition("/")
    asked = {"Bucket": bucket, "Key": key, "IfMatch": thing.tag, "Range": f"bytes={start}-{end - 1}"}
    found: bytes = importlib.import_module("fsspec.asyn").sync(system.loop, body, system.call_s3("get_object", **asked))
    return found


def _from_gs(system: Any, thing: Object, start: int, end: int) -> bytes:
    path = thing.url.partition("://")[2]
    found: bytes = system.cat_file(path, start=start, end=end, generation=thing.tag)
    return found


READERS: dict[str, Callable[[Any, Object, int, int], bytes]] = {"s3": _from_s3, "gs": _from_gs}
"""How bytes start … end of just the version that was listed are read."""


def tried(work: Callable[[], _T], url: str) -> _T:
    """Return what a request gives, tried again where the connection breaks or the server has trouble (500, 503, slow down).

    Raises `UsageError` (path-missing), `PictureError` (changed), `MachineError` (no-credentials, forbidden, download-failed).
    """
    where = without_secrets(url)
    for attempt in range(1, TRIES + 1):
        try:
            return work()
        except BeholderError:
            raise
        except Exception as error:  # each library has its own tree of errors
            final = _final(error, url)
            if isinstance(final, MachineError):
                _client.cache_clear()  # the next one asks anew who is to be let in
            if final is not None:
                raise final from error
            why = without_secrets(str(error) or type(error).__name__)
            if attempt == TRIES:
                hint = "check the network and the address of the service (AWS_ENDPOINT_URL), and run again"
                text = f"{where} cannot be read after {TRIES} attempts: {why}"
                raise MachineError(text, code="download-failed", hint=hint) from error
            events.note(f"{where}: {why}; trying again")
            time.sleep(PAUSE * 2 ** (attempt - 1))
    raise AssertionError


def _final(error: Exception, url: str) -> BeholderError | None:
    """Return what an error means that another attempt would not mend, None where it might."""
    where, code = without_secrets(url), _code(error)
    if any(word in type(error).__name__ for word in _CREDENTIALS):
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or GOOGLE_APPLICATION_CREDENTIALS; "
        hint += "of a public bucket, FSSPEC_S3_ANON=true or FSSPEC_GS_TOKEN=anon"
        return MachineError(f"there are no credentials for {where}", code="no-credentials", hint=hint)
    if isinstance(error, PermissionError) or code in ("401", "403"):
        text = f"access to {where} is forbidden" + (f" ({code})" if code else "")
        hint = "ask for permission to list and read it, or check which credentials are used"
        return MachineError(text, code="forbidden", hint=hint)
    if code in ("PreconditionFailed", "412"):
        return _changed(url)
    if isinstance(error, FileNotFoundError) or code in ("NoSuchBucket", "NoSuchKey", "404"):
        bucket = "/".join(where.split("/")[:3])
        what = f"there is no bucket {bucket}" if code == "NoSuchBucket" else f"there is nothing at {where}"
        return UsageError(what, code="path-missing", hint="check the spelling; names are case-sensitive")
    if not isinstance(error, (OSError, _ShortError)) and type(error).__module__.partition(".")[0] not in _FOREIGN:
        raise error
    return None


def _code(error: BaseException) -> str:
    """Return the code that the service gave, such as NoSuchKey or 403; "" where there is none."""
    for found in (error, error.__cause__):
        answer = getattr(found, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code", ""))
        if re.fullmatch(r"\d{3}", str(getattr(found, "code", ""))):
            return str(getattr(found, "code", ""))
    return ""
