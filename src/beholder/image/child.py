"""The child process: decodes one picture after the other for `sandbox`, until its input ends.

A question is two lengths, uint32 and uint64, then JSON and the file's bytes; an answer is the same, with pixels for bytes.
What decoders print is thrown away, Ctrl-C is the parent's affair, and a clock ends a child whose parent is gone.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from beholder.base.arrays import U8
from beholder.base.errors import PictureError
from beholder.base.limits import Limits
from beholder.image.kinds import kind
from beholder.image.refusal import out_of_memory, refusing

HEAD = struct.Struct("<IQ")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
IDLE = 60
"""Seconds without a question after which a child ends by itself."""

_ROADS = {"HEIF": "heif", "DICOM": "dicom", "TIFF": "tiff", "JPEG2000": "jpeg2000"}


def answer(question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], U8 | None]:
    """Return what is said, and the pixels (H, W) or (H, W, 3) where they were asked for and could be had."""
    limits = Limits(**question["limits"])
    try:
        with refusing():
            road = import_module(f"beholder.image.{_ROADS.get(kind(data), 'pillow')}")
            if question["wants"] == "header":
                return {"header": asdict(road.header(data, limits))}, None
            if question["wants"] == "top":
                return {"top": road.top(data, limits) if hasattr(road, "top") else 0}, None
            background, bits = tuple(question["background"]), question["bits"]
            pixels = np.ascontiguousarray(road.pixels(data, question["channels"], background, limits, bits))
            return {"shape": pixels.shape}, pixels
    except PictureError as error:
        return {"error": {"message": error.message, "code": error.code, "hint": error.hint}}, None


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the questions end; an empty answer comes first, to say that all is ready."""
    base = _address_space()
    answers.write(HEAD.pack(0, 0))
    answers.flush()
    while True:
        _clock(IDLE)
        head = questions.read(HEAD.size)
        if len(head) < HEAD.size:
            return
        sizes = HEAD.unpack(head)
        question = json.loads(questions.read(sizes[0]))
        _clock(question["limits"]["seconds"] + 5)
        _bound(base + question["limits"]["memory"])
        try:
            said, pixels = answer(question, questions.read(sizes[1]))
        except MemoryError:
            error = out_of_memory()
            said, pixels = {"error": {"message": error.message, "code": error.code, "hint": error.hint}}, None
        text = json.dumps(said).encode()
        answers.write(HEAD.pack(len(text), 0 if pixels is None else pixels.nbytes) + text)
        if pixels is not None:
            answers.write(pixels.data)
        answers.flush()
        del pixels


def _clock(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _address_space() -> int:
    """Return the bytes of address space in use beyond those resident; 0 where the system does not tell."""
    try:
        size, resident = Path("/proc/self/statm").read_text("ascii").split()[:2]
    except OSError:
        return 0
    return (int(size) - int(resident)) * os.sysconf("SC_PAGE_SIZE")


def _bound(size: int) -> None:
    """Let the address space grow to `size` bytes at most; more raises MemoryError, or ends the process."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _calm() -> None:
    """Keep decoders to one thread each, for children run side by side, and let freed memory be used again at once.

    By default glibc gives a picture's memory back to the system after each: 880 page faults a photo, a third of the time.
    """
    from PIL import AvifImagePlugin, Image

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = None  # Limits.pixels says how many, before anything is decoded
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):  # another C library
            for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
                ctypes.CDLL(None).mallopt(option, 32 << 20)


def main() -> None:
    """Serve on standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _calm()
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected, not to be looked into
    serve(sys.stdin.buffer, answers)
