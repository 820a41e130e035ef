"""Every form in which a picture may be given (path, array, tensor, open file, …), as encoded bytes or as an array."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from beholder.base import events
from beholder.base.arrays import Values
from beholder.base.errors import PictureError, UsageError
from beholder.base.limits import LIMITS
from beholder.image import array_of
from beholder.sources import objects, remote
from beholder.sources.folder import file_bytes, listing
from beholder.sources.listing import is_picture

Taken = bytes | Values
Say = Callable[[str], object]

FORMS = "a path, bytes, an open file, a Pillow picture, an array or tensor (H, W), (H, W, C) or (C, H, W), or a list of these"
"""What counts as a picture, in words."""


def one(given: object, *, bits: int = 0, say: Say = events.note, allow_download: bool = False) -> Taken:
    """Return one picture as encoded bytes, or as an array that `beholder.image.load` takes.

    given: see `FORMS`, and https://…, s3://… and gs://… where `allow_download`; a tensor (C, H, W) is one picture, floats lie
    in 0..1 or, which is said, in 0..255, and whole numbers of any type in 0..255 or 0..65535; bits: as `PixelPolicy` has them
    Raises `UsageError` for what is no picture at all, `PictureError` for one that cannot be read.
    """
    if isinstance(given, (str, os.PathLike)):
        return _named(os.fspath(given), allow_download)
    if isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given)
    if isinstance(given, Image.Image):
        return array_of(given)
    if callable(read := getattr(given, "read", None)):
        return _read(given, read)
    if _is_tensor(given):
        return _array(_channels_first(_numbers(given)), bits, say)
    if hasattr(given, "__array__"):
        return _array(_numbers(given), bits, say)
    raise no_picture(given)


def several(given: object) -> Iterator[tuple[str, object]] | None:
    """Return (what to call it, picture) of a folder, a list or a batch (N, H, W, C) or (N, C, H, W); None for one picture.

    Each picture is one that `one` takes. Raises `UsageError` (no-pictures, no-picture), `PictureError` (bad-array).
    """
    if isinstance(given, (str, os.PathLike)):
        folder = Path(os.fsdecode(os.fspath(given)))
        return ((name, name) for name in _inside(folder)) if str(given) and is_folder(folder) else None
    if isinstance(given, (bytes, bytearray, memoryview, Image.Image)) or hasattr(given, "read"):
        return None
    if hasattr(given, "__array__"):
        return _batch(given)
    if isinstance(given, Iterable) and not isinstance(given, (dict, set, frozenset)):
        return _listed(given)
    return None


def _listed(pictures: Iterable[object]) -> Iterator[tuple[str, object]]:
    for number, picture in enumerate(pictures):
        if isinstance(picture, (int, float, list, tuple)):
            hint = "give one flat list of pictures; a picture of plain numbers as np.array(numbers, np.uint8)"
            raise UsageError(f"picture {number} of the list is {_kind(picture)}", code="no-picture", hint=hint)
        yield str(picture) if isinstance(picture, (str, os.PathLike)) else f"picture {number}", picture


def _batch(given: Any) -> Iterator[tuple[str, object]] | None:
    """Return the pictures of an array with four axes, or those that an array of names names; None for one picture."""
    if _is_tensor(given):
        return ((f"picture {number}", picture) for number, picture in enumerate(given)) if given.ndim == 4 else None
    values: Values = _numbers(given)
    if values.ndim == 1 and values.dtype.kind in "OUST" and values.size:
        return _listed(values.tolist())
    if values.ndim != 4:
        return None
    values = np.moveaxis(values, 1, 3) if values.shape[3] not in (1, 3, 4) and values.shape[1] in (1, 3, 4) else values
    return ((f"picture {number}", picture) for number, picture in enumerate(values))


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Say of an error inside the block which picture it is about."""
    try:
        yield
    except PictureError as error:
        if not name or name in error.message:
            raise
        raise PictureError(f"{name}: {error.message}", code=error.code, hint=error.hint) from error


def _named(name: str | bytes, allow_download: bool) -> bytes:
    """Return the bytes of a file, or of what an address names."""
    text = os.fsdecode(name)
    if not text:
        raise UsageError("the name of the picture is empty", code="no-picture", hint=f"give {FORMS}")
    if remote.is_url(text):
        return remote.picture(text, allow_download=allow_download)
    if objects.is_object(text):
        return objects.picture(text, allow_download=allow_download)
    if scheme := re.match(r"[a-z][a-z0-9+.-]+(?=://)", text, re.IGNORECASE):
        raise UsageError(
            f"{text} cannot be fetched: {scheme[0]}",
            code="no-picture",
            hint="give a path, or an https://, s3:// or gs:// address",
        )
    if is_folder(Path(text)):
        raise UsageError(
            f"{text} is a folder", code="no-picture", hint="give it alone, not in a list: its pictures are the list"
        )
    return file_bytes(text)


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at a path."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name with a zero byte, or too long: reading it says so
        return False


def _inside(folder: Path) -> list[str]:
    names = [str(folder / name) for name in sorted(listing(folder).names) if is_picture(name)]
    if not names:
        raise UsageError(f"there is no picture in {folder}", code="no-pictures", hint="name a folder that holds some")
    return names


def _read(given: object, read: Callable[[int], Any]) -> bytes:
    """Return what is left in an open file, or all of it where nothing is: it was just written."""
    try:
        data = read(LIMITS.bytes + 1)
        if not data and (seek := getattr(given, "seek", None)) is not None:
            seek(0)
            data = read(LIMITS.bytes + 1)
    except Exception as error:  # files in all libraries raise what they like
        why = f"{type(error).__name__}: {error}"
        raise PictureError(
            f"the open file cannot be read: {why}", code="unreadable", hint="open it with open(path, 'rb')"
        ) from error
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise UsageError(
            f"the open file gives {type(data).__name__}, not bytes", code="no-picture", hint="open it with open(path, 'rb')"
        )
    return bytes(data)


def _is_tensor(given: object) -> bool:
    """Return True for a tensor of torch; nobody who has not imported torch has one."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(given, torch.Tensor)


def _numbers(given: Any) -> Any:
    """Return an array or a tensor, wherever it lies, as an array of NumPy."""
    try:
        if _is_tensor(given):
            given = given.detach().cpu()
            given = given.float() if str(given.dtype) == "torch.bfloat16" else given.resolve_conj().resolve_neg()
            return np.asarray(given.numpy())
        return np.asarray(given)
    except Exception as error:  # what libraries raise of arrays that are on a device, sparse, ragged, …
        raise PictureError(
            f"{_kind(given)} is no plain array: {error}", code="bad-array", hint="give it as a NumPy array of uint8 (H, W, 3)"
        ) from error


def _channels_first(values: Values) -> Values:
    """Return a tensor's (C, H, W) as (H, W, C), where its first axis can be the channels."""
    return np.asarray(values.transpose(1, 2, 0)) if values.ndim == 3 and values.shape[0] in (1, 3, 4) else values


def _array(values: Values, bits: int, say: Say) -> Values:
    """Return an array of a type that `load` takes. Raises `PictureError` (bad-array) for values that are no pixels."""
    if values.dtype in (np.uint8, np.uint16, bool) or not values.size:
        return values
    if values.dtype.kind not in "iuf":
        raise PictureError(f"an array of {values.dtype} is no picture", code="bad-array", hint=f"give {FORMS}")
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        return values  # `load` refuses it, and says why
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        say("floats from 0 to 1 are taken as levels from black to white")
        return values
    whole = values.dtype.kind in "iu"
    if low >= 0 and high <= 255 and not (whole and bits):
        if not whole:
            say(f"floats from {low:g} to {high:g} are taken as levels of 255")
        return np.asarray(np.rint(values), np.uint8)
    if whole and low >= 0 and high <= 65535:
        return values.astype(np.uint16)
    hint = "give uint8 in 0..255, uint16, or floats in 0..1; the bundle normalises by itself"
    raise PictureError(f"values from {low:g} to {high:g} are no pixels", code="bad-array", hint=hint)


def _kind(given: object) -> str:
    name = type(given).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def no_picture(given: object) -> UsageError:
    """Return the error for what is no picture in any form."""
    hint = f"give {FORMS}"
    if hasattr(given, "store") or hasattr(given, "train"):
        hint = "beholder.evaluate(bundle, pictures) scores pictures with labels; beholder.predict(bundle, paths) takes paths"
    return UsageError(f"{_kind(given)} is no picture", code="no-picture", hint=hint)
