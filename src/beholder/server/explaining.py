"""Slow requests, one at a time: heat maps (where torch is loaded) and nearest pictures."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import quote

from PIL import Image

from beholder.base.errors import PictureError, UsageError
from beholder.base.limits import Limits
from beholder.bundle.finder import Finder
from beholder.bundle.recogniser import Recogniser
from beholder.image.encode import thumbnail
from beholder.server.nearby import Nearby
from beholder.server.refusal import Refusal, overload, too_slow

SIDE = 1024
"""Pixels of the longer side of a heat map at most."""

WAITING = 8
"""Requests that may wait for one."""

SAID = ("Beholder-Map", "Beholder-Covered", "Beholder-Remark")
"""Headers of a heat map: sound, doubtful or empty; the probabilities behind that; both in a sentence, percent-encoded."""

Made = TypeVar("Made")

Said = dict[str, str]


class Explainer:
    """Makes heat maps, and looks for nearest pictures, in a thread of its own.

    seconds: that a request waits for one at most; waiting: how many are being made, or wait to be
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beholder-explain")
        self.waiting = 0

    def admit(self) -> None:
        """Raise 503 where too many wait."""
        if self.waiting >= WAITING:
            raise overload(self.waiting)

    async def png(
        self, recogniser: Recogniser | Finder, picture: bytes, *, label: str | None, limits: Limits
    ) -> tuple[bytes, Said]:
        """Return the picture in grey with the heat over it, as PNG, and headers that say how far to trust it.

        Raises `Refusal`: 422, 501 needs-torch, 503.
        """
        return await self._made(lambda: _drawn(recogniser, picture, label, limits))

    async def near(self, nearby: Nearby | None, picture: bytes, *, limits: Limits) -> list[dict[str, Any]]:
        """Return what `Nearby.like` says of a picture. Raises `Refusal`: 422, 501 no-index, 503."""
        if nearby is None:
            hint = "start the server with --like SOURCE, the source that the bundle was trained on"
            raise Refusal(501, "no-index", "the server was not given the training pictures", hint=hint)
        return await self._made(lambda: nearby.like(picture, limits=limits))

    async def _made(self, work: Callable[[], Made]) -> Made:
        self.admit()
        loop, job = asyncio.get_running_loop(), self._pool.submit(work)
        self.waiting += 1
        job.add_done_callback(lambda _: _soon(loop, self._left))  # it goes on where nobody waits any more, and counts
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(job)
        except TimeoutError:
            raise too_slow(self._seconds) from None
        except PictureError as error:
            raise Refusal(422, error.code, error.message) from None
        except UsageError as error:
            raise Refusal(422, error.code, error.message, hint=error.hint) from None

    def _left(self) -> None:
        self.waiting -= 1

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:  # the loop has ended
        pass


def _drawn(recogniser: Any, picture: bytes, label: str | None, limits: Limits) -> tuple[bytes, Said]:
    if not hasattr(recogniser, "net"):
        hint = "serve the bundle with --explain, or from a folder that was not exported"
        raise Refusal(501, "needs-torch", "heat maps need the net in torch, and this is served by another engine", hint=hint)
    from beholder.explanation import explain
    from beholder.explanation.draw import overlay

    small, _ = thumbnail(picture, side=SIDE, limits=limits, bits=recogniser.policy.bits)
    found = explain(recogniser, small, label=label)
    out = io.BytesIO()
    Image.fromarray(overlay(found.picture, found.heat)).save(out, "PNG")
    covered = ";".join(f"{name}={found.covered[name]:.4g}" for name in ("share", "p", "elsewhere"))
    return out.getvalue(), dict(zip(SAID, (found.verdict, covered, quote(found.remark, safe=" ,:.'()-")), strict=True))
