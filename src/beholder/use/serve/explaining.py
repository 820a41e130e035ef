"""What takes longer than an answer, one at a time: heat maps, by the net where torch is loaded, and nearest pictures."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from PIL import Image

from beholder.base.errors import PictureError, UsageError
from beholder.bundle.recogniser import Recogniser
from beholder.data.encode import thumbnail
from beholder.data.limits import Limits
from beholder.use.serve.nearby import Nearby
from beholder.use.serve.refusal import Refusal, overload

SIDE = 1024
"""Pixels of the longer side of a heat map at most."""

WAITING = 8
"""Requests that may wait for one."""

Made = TypeVar("Made")


class Explainer:
    """Makes heat maps, and looks for nearest pictures, in a thread of its own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beholder-explain")
        self._waiting = 0

    def admit(self) -> None:
        """Raise 503 where too many wait."""
        if self._waiting >= WAITING:
            raise overload(self._waiting)

    async def png(self, recogniser: Recogniser, picture: bytes, *, label: str | None, limits: Limits) -> bytes:
        """Return the picture in grey with the heat over it, as PNG. Raises `Refusal`: 422, 501 needs-torch, 503."""
        return await self._made(lambda: _drawn(recogniser, picture, label, limits))

    async def near(self, nearby: Nearby | None, picture: bytes, *, limits: Limits) -> list[dict[str, Any]]:
        """Return what `Nearby.like` says of a picture. Raises `Refusal`: 422, 501 no-index, 503."""
        if nearby is None:
            hint = "start the server with --like SOURCE, the source that the bundle was trained on"
            raise Refusal(501, "no-index", "the server was not given the training pictures", hint=hint)
        return await self._made(lambda: nearby.like(picture, limits=limits))

    async def _made(self, work: Callable[[], Made]) -> Made:
        self.admit()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except PictureError as error:
            raise Refusal(422, error.code, error.message) from None
        except UsageError as error:
            raise Refusal(422, error.code, error.message, hint=error.hint) from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _drawn(recogniser: Any, picture: bytes, label: str | None, limits: Limits) -> bytes:
    if not hasattr(recogniser, "net"):
        hint = "serve the bundle with --explain, or from a folder that was not exported"
        raise Refusal(501, "needs-torch", "heat maps need the net in torch, and this is served by another engine", hint=hint)
    from beholder.use.explain import explain
    from beholder.use.explain.draw import overlay

    small, _ = thumbnail(picture, side=SIDE, limits=limits)
    found = explain(recogniser, small, label=label)
    out = io.BytesIO()
    Image.fromarray(overlay(found.picture, found.heat)).save(out, "PNG")
    return out.getvalue()
