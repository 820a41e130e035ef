"""The verb `predict`: one dict a picture, in order; decoding runs ahead of the net, a bad picture is a line like any other."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import PictureError
from beholder.bundle.recogniser import Recogniser
from beholder.data.sources.folder import listing
from beholder.data.sources.listing import is_picture
from beholder.use.answers import answers

_Work = tuple[str, "Future[npt.NDArray[np.uint8]]"]


def predict(bundle: Recogniser, paths: Iterable[str | Path], *, batch: int = 32, workers: int = 0) -> Iterator[dict[str, Any]]:
    """Yield {"path", "label", "p", "probabilities", …} or {"path", "error": {"code", "message"}} for every picture, in order.

    Where the bundle has an operating point or sets, a line also has "abstain", "positive" or "set" (see `Guess`).
    paths: pictures, or folders, which are walked; read lazily, so a long list or a pipe is not held in memory.
    """
    workers = workers or min(8, os.cpu_count() or 1)
    bundle = bundle.ready()
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[_Work] = deque()
        try:
            for path in _pictures(paths):
                waiting.append((path, pool.submit(_pixels, bundle, path)))
                if len(waiting) >= 3 * batch:
                    yield from _lines(bundle, [waiting.popleft() for _ in range(batch)])
            while waiting:
                yield from _lines(bundle, [waiting.popleft() for _ in range(min(batch, len(waiting)))])
        finally:
            for _, future in waiting:
                future.cancel()


def _pictures(paths: Iterable[str | Path]) -> Iterator[str]:
    for path in paths:
        root = Path(path)
        if _is_folder(root):
            yield from (str(root / name) for name in sorted(listing(root).names) if is_picture(name))
        else:
            yield str(path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name with a zero byte, or too long: reading it says so
        return False


def _pixels(bundle: Recogniser, path: str) -> npt.NDArray[np.uint8]:
    return bundle.pixels(path)


def _lines(bundle: Recogniser, work: list[_Work]) -> Iterator[dict[str, Any]]:
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
        for line, answer in zip(rows, answers(bundle, np.stack(images)), strict=True):
            line.update(answer)
    yield from lines
