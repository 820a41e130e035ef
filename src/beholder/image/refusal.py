"""Files that are refused: messages and reason codes."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from beholder.base.errors import BeholderError, PictureError
from beholder.base.limits import Limits

_TRUNCATED = re.compile(
    r"truncat|unexpected end|not enough|broken data stream|too short|end of file|incomplete|less than expected", re.IGNORECASE
)

PASSING = frozenset(
    {"crashed", "out-of-memory", "too-slow", "interrupted", "needs-extra", "no-decoder", "unreadable", "changed"}
)
"""Reason codes that tell of the machine or the moment as much as of the file: nobody should remember them of it."""

_TOO_LARGE = (Image.DecompressionBombError, OverflowError)


@contextmanager
def refusing() -> Iterator[None]:
    """Turn whatever a decoder raises at a bad file into a `PictureError` with a reason code."""
    try:
        yield
    except BeholderError:
        raise
    except MemoryError as error:
        raise out_of_memory() from error
    except _TOO_LARGE as error:
        raise PictureError(f"the picture is too large: {error}", code="too-many-pixels", hint="make it smaller") from error
    except Exception as error:  # decoders raise nearly every class there is
        ends = isinstance(error, (EOFError, struct.error)) or _TRUNCATED.search(str(error))
        raise bad("truncated" if ends else "damaged", str(error) or type(error).__name__) from error


def bad(code: str, why: str) -> PictureError:
    """Return the error for a file that is `truncated` or `damaged`."""
    return PictureError(f"the picture is {code}: {why}", code=code, hint="fetch it again, or leave it out")


def out_of_memory() -> PictureError:
    """Return the error for a picture that needs more memory than one may take."""
    return PictureError(
        "the picture needs more memory than one picture may take", code="out-of-memory", hint="make it smaller, or leave it out"
    )


def no_decoder(what: str) -> PictureError:
    """Return the error for a picture that is sound, perhaps, but coded in a way that nobody here can show."""
    hint = "save it as JPEG, PNG or TIFF of 8 or 16 bits with the program that made it"
    return PictureError(f"the picture is coded in a way that cannot be decoded here: {what}", code="no-decoder", hint=hint)


def not_a_picture() -> PictureError:
    """Return the error for a file that begins as no known format does."""
    hint = "known: JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF, JPEG 2000; by extras HEIF and DICOM"
    return PictureError("the file is not a picture of a known format", code="not-a-picture", hint=hint)


def check_bytes(data: bytes, limits: Limits) -> None:
    """Refuse an empty file (empty) and one that is too long (too-many-bytes)."""
    if not data:
        raise PictureError("the file is empty", code="empty", hint="fetch it again, or leave it out")
    if len(data) > limits.bytes:
        text = f"the file has {len(data):,} bytes, more than the limit of {limits.bytes:,}"
        hint = "make the picture smaller, or raise Limits.bytes"
        raise PictureError(text, code="too-many-bytes", hint=hint)


def check_pixels(height: int, width: int, limits: Limits) -> None:
    """Refuse a size that is no size (damaged) or too large (too-many-pixels); asked before any pixel is decoded."""
    if height * width > limits.pixels:
        text = f"the picture has {width:,} × {height:,} pixels, more than the limit of {limits.pixels:,}"
        hint = "make it smaller, or allow more, in millions: data.pixels=N, predict --pixels N, or BEHOLDER_PIXELS=N"
        raise PictureError(text, code="too-many-pixels", hint=hint)
    if height <= 0 or width <= 0:
        raise PictureError(f"the picture has {width} × {height} pixels", code="damaged", hint="fetch it again")


def hush() -> None:
    """Keep Pillow's own warnings (odd metadata) off the user's terminal: what matters here is raised."""
    if not any(rule[0] == "ignore" and rule[3] == _PILLOW for rule in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)


_PILLOW = re.compile(r"PIL\.")
