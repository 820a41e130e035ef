"""Reading ahead from stores that are far away: what will be read next is asked for together, many requests in flight."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

from beholder.base.records import Store

FLIGHTS = 32
"""Requests at a time."""

ROOM = 256 << 20
"""Bytes that are asked for ahead at most; what was asked for first and never read makes room."""


@runtime_checkable
class Far(Protocol):
    """A store that can read ahead."""

    def expect(self, keys: Sequence[str]) -> None:
        """Ask for what will be read next."""


def expect(store: Store, keys: Sequence[str]) -> None:
    """Tell a store which keys will be read next, each once. Only one that is far away does something about it."""
    if isinstance(store, Far):
        store.expect(keys)


class Coming:
    """What has been asked for, by address, until it is taken. Safe to use from several threads at once."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(FLIGHTS, thread_name_prefix="beholder-fetch")
        self._whole = ThreadPoolExecutor(2, thread_name_prefix="beholder-fetch-tar")
        self._lock = threading.Lock()
        self._asked: dict[str, tuple[Future[dict[str, bytes]], int]] = {}
        self._bytes = 0

    def ask(self, sizes: dict[str, int], work: Callable[[], dict[str, bytes]]) -> None:
        """Have `work` done, which gives the bytes of each address in `sizes`, unless they were asked for already."""
        with self._lock:
            if all(address in self._asked for address in sizes) or sum(sizes.values()) > ROOM:
                return
            while self._asked and self._bytes + sum(sizes.values()) > ROOM:
                self._drop(next(iter(self._asked))).cancel()
            future = self._pool.submit(work)
            for address, size in sizes.items():
                if address in self._asked:
                    self._drop(address)
                self._asked[address] = future, size
                self._bytes += size

    def also(self, work: Callable[[], object]) -> None:
        """Have something done beside, such as fetching a whole tar, two at a time; what it raises is lost."""
        self._whole.submit(work)

    def take(self, address: str) -> bytes | None:
        """Return what was asked for, once it has come; None where it was not asked for. Raises what the work raised."""
        with self._lock:
            future = self._drop(address) if address in self._asked else None
        try:
            return None if future is None else future.result().pop(address)
        except CancelledError:
            return None

    def _drop(self, address: str) -> Future[dict[str, bytes]]:
        future, size = self._asked.pop(address)
        self._bytes -= size
        return future
