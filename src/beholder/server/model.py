"""One bundle that is being served: pictures are decoded in threads, gathered into batches, answered; the queue is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import Values
from beholder.base.errors import PictureError
from beholder.bundle.finder import Finder
from beholder.bundle.recogniser import NOT_FINITE_HINT, Recogniser
from beholder.server.answering import PLAIN, Asked, Given, answering
from beholder.server.batching import Batcher, Sizes
from beholder.server.bounds import Bounds
from beholder.server.nearby import Nearby
from beholder.server.refusal import Refusal, not_finite, overload, too_slow

if TYPE_CHECKING:
    from beholder.machine.pace import Nimble

Encoded = bytes | Values


@dataclass(eq=False)
class Job:
    """The pictures of one request. answers: in their order; remaining: not yet answered; timing: of the one answered last."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]
    answers: list[dict[str, Any]]
    remaining: int
    guard: threading.Lock = field(default_factory=threading.Lock)
    timing: dict[str, float] = field(default_factory=dict)
    dropped: bool = False
    error: Exception | None = None

    def settle(self, index: int, answer: dict[str, Any], timing: dict[str, float]) -> None:
        """Note one answer; wake the request when it was the last."""
        with self.guard:
            self.answers[index] = answer
            self.remaining -= 1
            last = self.remaining == 0
            if last:
                self.timing = timing
        if last:
            self._wake()

    def fail(self, error: Exception) -> None:
        """Give the whole request up."""
        with self.guard:
            self.error, self.dropped = error, True
        self._wake()

    def _wake(self) -> None:
        try:
            self.loop.call_soon_threadsafe(self._done)
        except RuntimeError:  # the loop has ended, and with it the waiting request
            pass

    def _done(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


@dataclass(eq=False, slots=True)
class Item:
    """One picture on its way: since when, how long it was decoded, and its pixels once they are there."""

    job: Job
    index: int
    entered: float
    asked: Asked
    decoding: float = 0.0
    image: Given | None = None


class Model:
    """A model with its queue.

    pending: pictures accepted and not yet answered; pace: seconds a picture under load; batches: runs by their size;
    outcomes: pictures by what became of them; says: the words of an answer; answers: what an answer is, labels or boxes;
    explains: what makes its heat maps; nearby: its training pictures, where the server was given them
    """

    def __init__(self, name: str, recogniser: Recogniser | Finder, *, bounds: Bounds, pool: ThreadPoolExecutor) -> None:
        self.name = name
        self.recogniser = recogniser
        self.pending = 0
        self.pace = 0.0
        self.batches: dict[int, int] = {}
        self.outcomes = {"answered": 0, "unreadable": 0}
        self.says: frozenset[str] = frozenset()
        self.answers = answering(recogniser)
        self.explains: Recogniser | Finder = recogniser
        self.nearby: Nearby | None = None
        self._bounds = bounds
        self._pool = pool
        self._since = 0.0
        self._nimble = _nimble(recogniser)
        self._batcher: Batcher[Item] = Batcher(
            self._run, sizes=Sizes(most=bounds.batch, bound=bounds.patience), wanted=lambda item: not item.job.dropped
        )

    def about(self) -> dict[str, Any]:
        """Return {"name", "classes", "height", "width", "channels", "engine", "explains", "likes"}, and what `answers` says."""
        policy = self.recogniser.policy
        return {
            "name": self.name,
            "classes": list(self.recogniser.classes),
            **self.answers.about(),
            "height": policy.height,
            "width": policy.width,
            "channels": policy.channels,
            "engine": self.recogniser.engine,
            "explains": self.answers.explainable and hasattr(self.explains, "net"),
            "likes": self.nearby is not None,
        }

    def admit(self, n: int = 1) -> None:
        """Raise 503 where `n` more pictures would have to wait too long, or would not fit the queue."""
        wait = self.pending * self.pace
        if wait > self._bounds.patience or self.pending + n > self._bounds.queue:
            raise overload(wait)

    async def answered(
        self, pictures: Sequence[Encoded], asked: Asked = PLAIN
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Return an answer a picture, in order, {"error": …} for one that cannot be read, and the timing in milliseconds.

        pictures: encoded files, or arrays as `beholder.image.load` takes them, at least one. The timing is of the picture
        answered last: queue_ms, decode_ms, infer_ms. asked: what is wanted of each.
        Raises `Refusal`: overloaded, no-answer, not-finite, or internal.
        """
        self.admit(len(pictures))
        loop = asyncio.get_running_loop()
        job = Job(loop, loop.create_future(), [{} for _ in pictures], len(pictures))
        if self.pending == 0:
            self._since = perf_counter()
        self.pending += len(pictures)
        try:
            for index, picture in enumerate(pictures):
                self._pool.submit(self._decode, picture, Item(job, index, perf_counter(), asked))
            async with asyncio.timeout(self._bounds.seconds):
                await job.future
        except TimeoutError:
            raise too_slow(self._bounds.seconds) from None
        finally:
            job.dropped = True
            self._left(len(pictures))
        if job.error is not None:
            raise Refusal(500, "internal", f"the net failed: {type(job.error).__name__}") from job.error
        if all(answer.get("error", {}).get("code") == "not-finite" for answer in job.answers):
            raise not_finite()
        unreadable = sum("error" in answer for answer in job.answers)
        self.outcomes["unreadable"] += unreadable
        self.outcomes["answered"] += len(job.answers) - unreadable
        return job.answers, job.timing

    def warm(self) -> None:
        """Recognise a picture that nobody sent, so that the first request does not wait for libraries to be loaded."""
        policy = self.recogniser.policy
        grey = np.full((policy.height + 1, policy.width + 1, policy.channels), 128, np.uint8)
        image = self.answers.given(grey, self._bounds.limits)
        for _ in range(2):
            start = perf_counter()
            said = self.answers.answers([image], [PLAIN])[0]
            self.says = frozenset(said.keys() - {"error"})
            self.pace = perf_counter() - start
        if "error" in said:
            events.warn(f"{self.name}: of a plain grey picture, {said['error']['message']}", hint=NOT_FINITE_HINT)

    def close(self, *, wait: bool = True) -> None:
        """Answer what waits, then end the thread; do not wait for that unless `wait`."""
        self._batcher.close(wait=wait)

    def _left(self, n: int) -> None:
        """Take `n` pictures off the queue, and learn from how long they took while it was never empty."""
        now = perf_counter()
        self.pace += 0.1 * ((now - self._since) / n - self.pace)
        self.pending -= n
        self._since = now

    def _decode(self, picture: Encoded, item: Item) -> None:
        if item.job.dropped:
            return
        start = perf_counter()
        try:
            item.image = self.answers.given(picture, self._bounds.limits)
            item.decoding = perf_counter() - start
            self._batcher.put(item)
        except PictureError as error:
            answer = {"error": {"code": error.code, "message": error.message}}
            item.decoding = perf_counter() - start
            item.job.settle(item.index, answer, _timing(item, 0.0))
        except Exception as error:  # noqa: BLE001  (a thread that dies silently would leave the request waiting)
            item.job.fail(error)

    def _run(self, items: Sequence[Item]) -> None:
        start = perf_counter()
        self.batches[len(items)] = self.batches.get(len(items), 0) + 1
        if self._nimble is not None:
            self._nimble.begin()
        try:
            found = self.answers.answers(
                [item.image for item in items if item.image is not None], [item.asked for item in items]
            )
        except Exception as error:  # noqa: BLE001  (as above; the requests say it, and the thread goes on)
            for item in items:
                item.job.fail(error)
            return
        if self._nimble is not None:
            self._nimble.done(len(items))
        seconds = perf_counter() - start
        for item, answer in zip(items, found, strict=True):
            item.job.settle(item.index, answer, _timing(item, seconds))


def _nimble(recogniser: Recogniser | Finder) -> Nimble | None:
    """Return what chooses the threads of batches that torch computes on the CPU; None of others, which have their own."""
    net = getattr(recogniser, "net", None)
    weight = None if net is None else next(net.parameters(), None)
    if weight is None or weight.device.type != "cpu":
        return None
    import torch

    from beholder.machine.pace import Nimble

    return Nimble(most=torch.get_num_threads())


def _timing(item: Item, inferring: float) -> dict[str, float]:
    """Return the timing of a picture that is answered now, in milliseconds."""
    queued = perf_counter() - item.entered - item.decoding - inferring
    timing = {"queue_ms": max(0.0, queued), "decode_ms": item.decoding, "infer_ms": inferring}
    return {name: round(1000 * seconds, 3) for name, seconds in timing.items()}
