"""The verb `predict`: one dict a picture, in order; decoding runs ahead of the net, a bad picture is a line like any other."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.arrays import U8
from beholder.base.errors import PictureError, UsageError
from beholder.base.records import Pictures
from beholder.bundle import given
from beholder.bundle.answers import answers
from beholder.bundle.given import is_folder
from beholder.bundle.recogniser import Recogniser
from beholder.sources import objects, remote, scan
from beholder.sources.archive import is_archive
from beholder.sources.folder import listing
from beholder.sources.listing import is_picture

_Work = tuple[str, "Future[U8]"]
_Read = Callable[[], Any]


def predict(
    bundle: Recogniser | str | Path,
    paths: str | Path | Pictures | Iterable[str | Path],
    *,
    batch: int = 32,
    workers: int = 0,
    features: bool = False,
    allow_download: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield {"path", "label", "p", "probabilities", …} or {"path", "error": {"code", "message"}} for every picture, in order.

    Where the bundle has an operating point, sets or references, a line also has "abstain", "positive", "set", "ood" and
    "ood_score" (see `Prediction`).
    paths: pictures, folders and archives, which are walked, or one of these; read lazily, so a long list or a pipe is not held
    in memory; or what `scan` returns; features: a line has "features" too, float32 (F,)
    allow_download: whether paths may be addresses, https://…, s3://…, gs://…, of pictures, archives, or folders of objects
    Raises `UsageError` for what is no path or may not be fetched, `DataError` for an archive that cannot be read.
    """
    workers = workers or min(8, os.cpu_count() or 1)
    bundle = _ready(bundle)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[_Work] = deque()
        try:
            for name, read in each_picture(paths, allow_download=allow_download):
                waiting.append((name, pool.submit(_pixels, bundle, read)))
                if len(waiting) >= 3 * batch:
                    yield from _lines(bundle, [waiting.popleft() for _ in range(batch)], features)
            while waiting:
                yield from _lines(bundle, [waiting.popleft() for _ in range(min(batch, len(waiting)))], features)
        finally:
            for _, future in waiting:
                future.cancel()


def _ready(bundle: Recogniser | str | Path) -> Recogniser:
    if not isinstance(bundle, Recogniser):
        from beholder.bundle.bundle import opened  # with torch, which exports do without

        bundle = opened(bundle)
    return bundle.ready()


def each_picture(
    paths: str | Path | Pictures | Iterable[str | Path], *, allow_download: bool = False
) -> Iterator[tuple[str, _Read]]:
    """Yield the name of each picture, and what reads it; of an address only where `allow_download`."""
    if isinstance(paths, Pictures):
        yield from ((str(key), partial(paths.store.read, key)) for key in paths.keys)
        return
    each = paths if isinstance(paths, Iterable) and not isinstance(paths, (str, os.PathLike)) else [paths]
    for path in each:
        if not isinstance(path, (str, os.PathLike)):
            hint = "bundle(picture) takes arrays, tensors, bytes and Pillow's pictures"
            raise UsageError(f"predict takes paths, not {type(path).__name__}", code="no-path", hint=hint)
        if isinstance(path, str) and (remote.is_url(path) or objects.is_object(path)):
            yield from _elsewhere(path, allow_download)
            continue
        root = Path(path)
        if is_folder(root):
            yield from each_picture(str(root / name) for name in sorted(listing(root).names) if is_picture(name))
        elif is_archive(root) and os.path.isfile(root):  # noqa: PTH113 (a name too long is no file)
            found = scan(root, labels=False)
            yield from ((f"{path}/{key}", read) for key, read in each_picture(found))
        else:
            yield str(path), partial(str, path)


def _elsewhere(address: str, allow_download: bool) -> Iterator[tuple[str, _Read]]:
    """Yield the pictures at an address: those of an archive, those below a folder of objects, or the one that it names."""
    one = not remote.is_archive(address) if remote.is_url(address) else is_picture(address)
    if one:
        yield address, partial(given.one, address, allow_download=allow_download)
        return
    found = scan(address, labels=False, allow_download=allow_download)
    yield from ((f"{address.rstrip('/')}/{key}", read) for key, read in each_picture(found))


def _pixels(bundle: Recogniser, read: _Read) -> U8:
    return bundle.pixels(read())


def _lines(bundle: Recogniser, work: list[_Work], features: bool) -> Iterator[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    images, rows = [], []
    for path, future in work:
        line: dict[str, Any] = {"path": path}
        try:
            images.append(future.result())
            rows.append(line)
        except PictureError as error:
            line["error"] = {"code": error.code, "message": error.message}
        lines.append(line)
    if images:
        for line, answer in zip(rows, answers(bundle, np.stack(images), keep=features), strict=True):
            line.update(answer)
    yield from lines
