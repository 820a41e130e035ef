"""The verb `predict` of a detector: one dict a picture, in order; decoding runs ahead of the net, as for labels."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.base.errors import PictureError
from beholder.base.records import Detections, Pictures
from beholder.bundle.finder import Finder, Looked, check_asked
from beholder.bundle.found import Answered, answers, said
from beholder.evaluation.drawing import Drawings
from beholder.evaluation.predict import each_picture


@dataclass(frozen=True)
class _Work:
    """A picture on its way: its name, what reads it, and what the net is given of it."""

    name: str
    read: Callable[[], Any]
    looked: Future[Looked]


def predict(
    finder: Finder | str | Path,
    paths: str | Path | Pictures | Iterable[str | Path],
    *,
    threshold: float | None = None,
    most: int | None = None,
    draw: Drawings | None = None,
    batch: int = 8,
    workers: int = 0,
    allow_download: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield {"path", "width", "height", "boxes": [{"label", "p", "box": [left, top, right, bottom]}, …]} for every picture.

    In their order, boxes in pixels of the upright picture, the surest first; {"path", "error": {"code", "message"}} for a
    picture that cannot be read. What is held in memory does not grow with the number of pictures.
    finder: a detector, or the path of its bundle or graph; paths, allow_download: as of `evaluation.predict.predict`
    threshold: least probability of a box, 0 to 1, None: that of its class; most: boxes of a picture, up to 2,000, None: as the
    bundle has it; draw: where a copy of each picture with its boxes goes; then a line has "drawn", its path, None where the
    picture has gone since
    Raises `UsageError` for what is no path or no share, `DataError` for an archive that cannot be read.
    """
    check_asked(threshold, most)
    found = _ready(finder)
    workers = workers or min(8, os.cpu_count() or 1)
    asked = {"threshold": threshold, "most": most}
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[_Work] = deque()
        try:
            for name, read in each_picture(paths, allow_download=allow_download):
                waiting.append(_Work(name, read, pool.submit(_looked, found, read)))
                if len(waiting) >= 3 * batch:
                    yield from _lines(found, [waiting.popleft() for _ in range(batch)], asked, pool, draw)
            while waiting:
                some = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
                yield from _lines(found, some, asked, pool, draw)
        finally:
            for item in waiting:
                item.looked.cancel()


def _ready(finder: Finder | str | Path) -> Finder:
    if isinstance(finder, Finder):
        return finder.ready()
    from beholder.runtime.finders import fastest_finder

    return fastest_finder(finder, probe=False)


def _looked(finder: Finder, read: Callable[[], Any]) -> Looked:
    return finder.looked(read())


def _lines(
    finder: Finder, work: list[_Work], asked: dict[str, Any], pool: ThreadPoolExecutor, draw: Drawings | None
) -> Iterator[dict[str, Any]]:
    each = _answered(finder, work, asked)
    drawings = [_drawn(pool, draw, item, answer) for item, answer in zip(work, each, strict=True)]
    for item, answer, drawing in zip(work, each, drawings, strict=True):
        yield {"path": item.name, **said(answer), **(drawing.result() if drawing else {})}


def _answered(finder: Finder, work: list[_Work], asked: dict[str, Any]) -> list[Answered]:
    """Return what is said of each picture, in their order."""
    found: list[Answered | None] = []
    looked = []
    for item in work:
        try:
            looked.append(item.looked.result())
            found.append(None)
        except PictureError as error:
            found.append({"error": {"code": error.code, "message": error.message}})
    told = iter(answers(finder, looked, **asked) if looked else ())
    return [next(told) if answer is None else answer for answer in found]


def _drawn(pool: ThreadPoolExecutor, draw: Drawings | None, item: _Work, answer: Answered) -> Future[dict[str, Any]] | None:
    if draw is None or not isinstance(answer, Detections):
        return None

    def work() -> dict[str, Any]:
        try:
            return {"drawn": str(draw.add(item.name, item.read(), answer))}
        except PictureError:  # it is not there any more
            return {"drawn": None}

    return pool.submit(work)
