"""Decoding in child processes: a picture that crashes its decoder, exhausts memory or hangs costs only that picture.

A child is started when the first picture needs one, and kept: a thread that decodes has one to itself meanwhile. Children only
decode; pixels are resized by the caller, so they are the same wherever they were decoded.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.arrays import U8
from beholder.base.errors import MachineError, PictureError
from beholder.base.limits import Limits
from beholder.image.child import HEAD
from beholder.image.kinds import Header
from beholder.image.refusal import out_of_memory

PROGRAM = "from beholder.image.child import main; main()"
START = 60.0
"""Seconds that a child may take until it is ready."""

_BEGIN = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "


def header(data: bytes, limits: Limits) -> Header:
    """Return size and kind of a picture. Raises `PictureError` with the codes of `decode`."""
    said, _ = _CHILDREN.ask({"wants": "header", "limits": asdict(limits)}, data)
    return Header(**said["header"])


def top(data: bytes, limits: Limits) -> int:
    """Return the largest value of a picture of whole numbers of more than 8 bits, else 0. Raises as `decode` does."""
    said, _ = _CHILDREN.ask({"wants": "top", "limits": asdict(limits)}, data)
    return int(said["top"])


def decode(data: bytes, channels: int, background: tuple[int, int, int], limits: Limits, bits: int = 0) -> U8:
    """Return an upright picture (H, W) or (H, W, 3); (H, W) only where `channels` is 1 or the picture is grey.

    Raises `PictureError`: crashed, too-slow, out-of-memory, interrupted, and what the decoders refuse.
    """
    question = {"wants": "pixels", "channels": channels, "background": background, "limits": asdict(limits), "bits": bits}
    said, payload = _CHILDREN.ask(question, data)
    return np.frombuffer(payload, np.uint8).reshape(said["shape"])


def needs(kind: str) -> None:
    """Refuse a format whose library is not installed (needs-extra)."""
    for name, module, extra in (("HEIF", "pillow_heif", "heif"), ("DICOM", "pydicom", "dicom")):
        if kind == name and not _installed(module):
            hint = f"pip install 'beholder[{extra}]'"
            raise PictureError(f"{name} pictures need the library {module.replace('_', '-')}", code="needs-extra", hint=hint)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # the name is blocked
        return False


@contextmanager
def decoders(workers: int = 0) -> Iterator[tuple[ThreadPoolExecutor, threading.Event]]:
    """A pool of threads that decode (0: one per core), and an event that is set once the block is left.

    However it is left, what was not begun is dropped, and what is decoded apart is given up at once, so it never takes long.
    """
    stop = threading.Event()

    def begin() -> None:
        _CHILDREN.local.stop = stop

    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="beholder-decode", initializer=begin)
    try:
        yield pool, stop
    finally:
        stop.set()
        _CHILDREN.give_up(stop)
        pool.shutdown(cancel_futures=True)


def running() -> int:
    """Return how many children of this process there are."""
    return len(_CHILDREN.idle) + len(_CHILDREN.busy)


class _Child:
    """One child process.

    ended: why it was ended, if it was: too-slow or interrupted; due: when it is to be, monotonic; stop: whose event gives it up
    """

    def __init__(self) -> None:
        path = [str(Path(__file__).parents[2]), *map(str, sys.path)]
        command = [sys.executable or "python", "-I", "-c", _BEGIN + PROGRAM, json.dumps(path)]
        self.ended = ""
        self.greeted = False
        self.due = 0.0
        self.stop: threading.Event | None = None
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise _no_start(str(error.strerror), "close other programs, or raise the limit on processes") from error

    def end(self, why: str) -> None:
        self.ended = self.ended or why
        self.process.kill()

    def close(self) -> int:
        """End the process, take its exit status, close its pipes."""
        self.process.kill()
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        return status

    def ask(self, question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytearray]:
        """Return the answer. Raises `EOFError` or `OSError` when the child dies of it."""
        assert self.process.stdin is not None
        text = json.dumps(question).encode()
        self.process.stdin.write(HEAD.pack(len(text), len(data)) + text)
        self.process.stdin.write(data)
        self.process.stdin.flush()
        length, size = HEAD.unpack(self._read(HEAD.size))
        return json.loads(self._read(length)), self._read(size)

    def greet(self) -> None:
        """Wait until the child is ready. Raises `MachineError` where it ends before: that is no fault of a picture."""
        try:
            self.greeted = self.greeted or bool(self._read(HEAD.size))
        except EOFError:
            status = self.close()
            if status <= 0:
                raise
            raise _no_start(f"exit status {status}", "see what `python -c 'import beholder.image.child'` says") from None

    def _read(self, size: int) -> bytearray:
        assert self.process.stdout is not None
        out = bytearray(size)
        view, at = memoryview(out), 0
        while at < size:
            got = self.process.stdout.readinto(view[at:])  # type: ignore[attr-defined]
            if not got:
                raise EOFError
            at += got
        return out


class _Children:
    """The children of this process, idle or busy, and a thread that ends those that take too long."""

    def __init__(self) -> None:
        self.local = threading.local()
        self.known = False
        self._anew()

    def _anew(self) -> None:
        """Begin without children. A forked process does: pipes and threads cannot be shared."""
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.wakes = math.inf
        self.watcher: threading.Thread | None = None
        self.parents = getattr(self, "idle", [])  # kept, or Popen would complain that they still run
        self.idle: list[_Child] = []
        self.busy: set[_Child] = set()

    def ask(self, question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytearray]:
        """Return a child's answer; a second one is asked where the first dies, which may not have been the picture's fault."""
        seconds, status = question["limits"]["seconds"], 0
        for _ in range(2):
            child = self._taken()
            try:
                child.greet()
                self._allow(child, seconds)
                said, payload = child.ask(question, data)
            except (OSError, EOFError):
                status = self._lost(child)
                if child.ended:
                    break
            except BaseException:
                self._lost(child)
                raise
            else:
                self._back(child)
                if "error" in said:
                    raise PictureError(said["error"].pop("message"), **said["error"])
                return said, payload
        raise _dead(child.ended, status, seconds)

    def give_up(self, stop: threading.Event) -> None:
        with self.lock:
            for child in self.busy:
                if child.stop is stop:
                    child.end("interrupted")

    def close(self) -> None:
        """End all children of this process."""
        with self.lock:
            children = [*self.idle, *self.busy]
            self.idle.clear()
        for child in children:
            child.close()

    def _taken(self) -> _Child:
        stop = getattr(self.local, "stop", None)
        if stop is not None and stop.is_set():
            raise _dead("interrupted", 0, 0)
        with self.lock:
            child = self._living()
            child.stop, child.due = stop, time.monotonic() + START
            self.busy.add(child)
            if self.watcher is None:
                self.watcher = threading.Thread(target=self._watch, name="beholder-watch", daemon=True)
                self.watcher.start()
            return child

    def _allow(self, child: _Child, seconds: float) -> None:
        """Let a child that is ready take so many seconds from now on."""
        with self.lock:
            child.due = time.monotonic() + seconds
            if child.due < self.wakes:
                self.changed.notify()

    def _living(self) -> _Child:
        """Return an idle child that lives, or a new one."""
        while self.idle:
            child = self.idle.pop()
            if child.process.poll() is None:
                return child
            child.close()
        if not self.known:
            self.known = True
            atexit.register(self.close)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._anew)
        return _Child()

    def _watch(self) -> None:
        """End children that are overdue; asleep until the first of them may be."""
        with self.lock:
            while True:
                now = time.monotonic()
                for child in self.busy:
                    if child.due <= now:
                        child.end("too-slow")
                self.wakes = min((child.due for child in self.busy if not child.ended), default=math.inf)
                self.changed.wait(None if self.wakes == math.inf else self.wakes - now)

    def _back(self, child: _Child) -> None:
        with self.lock:
            self.busy.discard(child)
            if not child.ended:
                self.idle.append(child)
                return
        child.close()

    def _lost(self, child: _Child) -> int:
        with self.lock:
            self.busy.discard(child)
        return child.close()


_CHILDREN = _Children()


def _no_start(why: str, hint: str) -> MachineError:
    return MachineError(f"cannot start a process to decode pictures in: {why}", code="cannot-start", hint=hint)


def _dead(ended: str, status: int, seconds: float) -> PictureError:
    """Return the error for a picture whose child was ended, or died with `status`."""
    if ended == "interrupted":
        return PictureError("decoding was interrupted", code="interrupted", hint="run again")
    if ended == "too-slow":
        hint = "save it anew with another program, or raise Limits.seconds"
        return PictureError(f"decoding the picture took more than {seconds:g} s", code="too-slow", hint=hint)
    if status == -9:  # by the system, which does so where memory is short
        return out_of_memory()
    text = f"the picture crashed its decoder (signal {-status})" if status < 0 else f"the decoder ended with status {status}"
    hint = "leave it out, or save it anew with another program"
    return PictureError(text, code="crashed", hint=hint)
