"""What HTML for a notebook is made of: titles, facts, bars, tables and pictures as plain values, and the template of them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from beholder.base.arrays import Values
from beholder.base.bidi import isolated
from beholder.base.brief import cut
from beholder.base.errors import BeholderError
from beholder.base.records import Score
from beholder.image import header
from beholder.image.encode import TINY, thumbnail

Block = Mapping[str, Any]
Box = tuple[float, float, float, float]

BYTES, SECONDS = 44_000, 4.0
"""Characters that the pictures of one output may take together, and seconds to make them: what comes after is told in words."""


@dataclass
class _Budget:
    """What is left for pictures: characters, and until when, counted from the first; 0.0 before it."""

    room: int = BYTES
    until: float = 0.0


_budget: ContextVar[_Budget | None] = ContextVar("beholder_display", default=None)


@contextmanager
def bounded() -> Iterator[None]:
    """Let the pictures made inside the block share one budget."""
    token = _budget.set(_budget.get() or _Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def title(text: str, under: str = "") -> Block:
    """Return a title, with a line under it."""
    return {"kind": "title", "text": text, "under": under}


def head(text: str) -> Block:
    """Return a small heading."""
    return {"kind": "head", "text": text}


def lines(texts: Iterable[str]) -> Block:
    """Return sentences."""
    return {"kind": "lines", "lines": list(texts)}


def facts(rows: Iterable[tuple[str, object]]) -> Block:
    """Return names with their values; those without a value are left out."""
    return {"kind": "facts", "rows": [(name, value) for name, value in rows if value not in ("", None)]}


def table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> Block:
    """Return a table."""
    return {"kind": "table", "names": names, "rows": list(rows)}


def bars(rows: Iterable[Mapping[str, Any]]) -> Block:
    """Return bars, each made by `share` or `interval`."""
    return {"kind": "bars", "rows": list(rows)}


def share(name: str, value: float, text: str, *, strong: bool = False) -> dict[str, Any]:
    """Return a bar from 0 to a share in 0..1."""
    return {"name": name, "low": 0.0, "high": _within(value), "at": None, "text": text, "strong": strong}


def interval(name: str, score: Score, *, ends: tuple[float, float] = (0.0, 1.0)) -> dict[str, Any]:
    """Return a score as its interval on a line from one end to the other, with a mark at its value."""
    low, high, at = (_within((v - ends[0]) / (ends[1] - ends[0])) for v in (score.low, score.high, score.value))
    return {"name": name, "low": low, "high": max(low, high), "at": at, "text": str(score), "strong": False}


def _within(value: float) -> float:
    return min(1.0, max(0.0, value)) if value == value else 0.0


def grid(pictures: Iterable[Mapping[str, Any]]) -> Block:
    """Return pictures beside each other, each made by `picture`."""
    return {"kind": "grid", "pictures": list(pictures)}


def beside(*blocks: Block) -> Block:
    """Return blocks beside each other, where the page is wide enough."""
    return {"kind": "beside", "blocks": blocks}


def picture(
    name: str,
    read: Callable[[], bytes | Values | None],
    captions: Sequence[str] = (),
    *,
    boxes: Sequence[tuple[Box, str]] = (),
    side: int = 96,
    bits: int = 0,
) -> dict[str, Any]:
    """Return a small picture with lines under it; what cannot be had, or has no room any more, is told in words.

    read: gives encoded bytes or an array (H, W[, C]), None where the picture is gone; boxes: in pixels of the upright picture
    """
    found: dict[str, Any] = {"name": cut(name, 200), "src": "", "why": "", "lines": [cut(one, 80) for one in captions]}
    held = _budget.get() or _Budget()
    held.until = held.until or time.monotonic() + SECONDS
    if held.room <= 0 or time.monotonic() > held.until:
        return {**found, "why": "not shown here"}
    try:
        data = read()
        if data is None:
            return {**found, "why": "the picture is gone"}
        size = header(data)
        made, kind = thumbnail(data, side=side, bits=bits, most=5_000 * side // 96)
    except BeholderError as error:
        return {**found, "why": cut(error.code.replace("-", " "), 40)}
    except Exception as error:  # noqa: BLE001  (stores of plug-ins and of other libraries raise what they like)
        return {**found, "why": cut(type(error).__name__, 40)}
    src = f"data:image/{kind};base64,{base64.b64encode(made).decode()}"
    if len(src) > held.room:
        held.room = 0
        return {**found, "why": "not shown here"}
    held.room -= len(src)
    wide = round(side * min(1.0, size.width / max(1, size.height)))
    marks = [
        {"x": round(left, 1), "y": round(top, 1), "w": round(right - left, 1), "h": round(bottom - top, 1), "title": said}
        for (left, top, right, bottom), said in boxes[:50]
    ]
    tiny = max(size.width, size.height) <= TINY
    return {**found, "src": src, "width": max(24, wide), "tiny": tiny, "size": (size.width, size.height), "marks": marks}


def rendered(blocks: Iterable[Block]) -> str:
    """Return blocks as HTML: every text in it is escaped, and turns nothing around it."""
    text: str = _template().render(blocks=list(blocks))
    return text


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: isolated(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    return environment.from_string(files("beholder.reporting").joinpath("display.html").read_text("utf-8"))
