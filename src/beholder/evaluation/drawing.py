"""Copies of pictures with boxes and labels drawn on them. The pictures themselves are never written to."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from beholder import image
from beholder.base.arrays import U8, Values
from beholder.base.errors import UsageError
from beholder.base.files import write_atomic
from beholder.base.limits import LIMITS, Limits
from beholder.base.records import Detection, Detections
from beholder.bundle.given import one
from beholder.image.lettering import font, plain

MARK = "drawn by Beholder"
"""The comment of a drawing: by it one of an earlier run is told from a file that is somebody's own."""

COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
"""Colours that the colour-blind tell apart too (M. Okabe, K. Ito, "Color universal design", 2008), class after class."""

DARK, LIGHT = (16, 16, 20), (255, 255, 255)
JPEGS = (".jpg", ".jpeg")
HEAD, SIGNATURES = 2048, (b"\xff\xd8\xff", b"\x89PNG")
LONGEST = 60
"""Letters of a label that are drawn, at most."""


def drawn(picture: object, found: Detections, out: str | Path, *, classes: Sequence[str] = (), limits: Limits = LIMITS) -> Path:
    """Write a copy of a picture, upright, with the boxes and labels of `found`, and return its path.

    picture: a path, encoded bytes, an array, …, as a bundle takes them; out: its ending says JPEG, else it is PNG; a drawing
    of before is written anew, any other file is left alone; classes: in whose order colours are given
    Raises `PictureError` for a picture that cannot be read, `UsageError` (place-taken) where another file is in the way.
    """
    path, data = Path(out), one(picture)
    if isinstance(picture, (str, os.PathLike)) and path.exists() and path.samefile(picture):
        raise UsageError(f"{path} is the picture itself", code="place-taken", hint="choose another folder with --draw")
    _check(path)
    made = marked(image.decode(data, channels=3, limits=limits), found, classes=classes)
    write_atomic(path, _encoded(made, path), option="--draw")
    return path


def marked(pixels: U8, found: Detections, *, classes: Sequence[str] = ()) -> U8:
    """Return uint8 (H, W, 3) with the boxes of `found` drawn on it, the surest on top, labels over all of them.

    pixels: uint8 (H, W, 3) of a picture as large as `found` says, or of any other size
    """
    page = Image.fromarray(pixels)
    pen = ImageDraw.Draw(page)
    line = max(2, round(max(page.size) / 320))
    size = max(12, round(max(page.size) / 45))
    scale = (page.width / max(1, found.width), page.height / max(1, found.height))
    order = {name: k for k, name in enumerate(classes or sorted({box.label for box in found.boxes}))}
    placed = [
        (box, tuple(value * scale[k % 2] for k, value in enumerate(box.box)), COLOURS[order.get(box.label, 0) % len(COLOURS)])
        for box in reversed(found.boxes)
    ]
    for _, corners, colour in placed:
        _frame(pen, corners, colour, line, page.size)
    for box, corners, colour in placed:
        _label(pen, box, corners, colour, size, page.size)
    return np.array(page)


def _frame(pen: ImageDraw.ImageDraw, corners: tuple[float, ...], colour: Any, line: int, size: tuple[int, int]) -> None:
    """Draw a box in its colour, with a dark edge around it that shows on any ground."""
    left, top, right, bottom = corners
    right, bottom = max(left, min(right, size[0]) - 1), max(top, min(bottom, size[1]) - 1)
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=DARK, width=line + 2)
    pen.rectangle((left, top, right, bottom), outline=colour, width=line)


def _label(
    pen: ImageDraw.ImageDraw, box: Detection, corners: tuple[float, ...], colour: Any, size: int, page: tuple[int, int]
) -> None:
    """Write name and probability on a ground of the box's colour: above the box, or inside it where there is no room."""
    name = plain(box.label)
    text = f"{name[:LONGEST]}{'…' if len(name) > LONGEST else ''} {box.p:.2f}".replace("\n", " ")
    face = font(text, size)
    wide, tall = pen.textlength(text, face) + size // 2, round(1.35 * size)
    left = max(0.0, min(corners[0], page[0] - wide))
    top = corners[1] - tall if corners[1] >= tall else min(corners[1], page[1] - tall)
    pen.rectangle((left, top, left + wide, top + tall), fill=colour)
    ink = DARK if sum(part * weight for part, weight in zip(colour, (0.299, 0.587, 0.114), strict=True)) > 100 else LIGHT
    pen.text((left + size // 4, top + tall / 2), text, ink, face, anchor="lm")


def _encoded(pixels: U8, path: Path) -> bytes:
    buffer, made = io.BytesIO(), Image.fromarray(pixels)
    if path.suffix.lower() in JPEGS:
        made.save(buffer, "jpeg", quality=92, comment=MARK.encode())
    else:
        info = PngInfo()
        info.add_text("Comment", MARK)
        made.save(buffer, "png", pnginfo=info)
    return buffer.getvalue()


def _check(path: Path) -> None:
    """Raise `UsageError` (place-taken) where a file lies at `path` that is no drawing."""
    if os.path.lexists(path) and not _is_drawing(path):
        hint = "choose another folder with --draw"
        raise UsageError(f"{path} exists and is no drawing of Beholder's", code="place-taken", hint=hint)


def _is_drawing(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(HEAD)  # Pillow writes comments before the pixels
    return head.startswith(SIGNATURES) and MARK.encode() in head


class Drawings:
    """A folder of drawings, each under the name that its picture has below where it was found.

    roots: what was walked, names are kept below these; classes: in whose order colours are given. May be used by several
    threads at once.
    """

    def __init__(self, folder: str | Path, *, roots: Sequence[str | Path] = (), classes: Sequence[str] = ()) -> None:
        self.folder = Path(folder)
        self._roots = [PurePath(root) for root in roots]
        self._classes = tuple(classes)
        self._taken: set[str] = set()
        self._guard = threading.Lock()

    def add(self, name: str, picture: bytes | Values | str | Path, found: Detections) -> Path:
        """Write the drawing of the picture of this name and return its path. Raises as `drawn` does."""
        return drawn(picture, found, self.place(name), classes=self._classes)

    def place(self, name: str) -> Path:
        """Return where the drawing of a picture goes; of two pictures of one name the second gets a number."""
        path = PurePath(name)
        root = max((root for root in self._roots if root in path.parents), key=lambda root: len(root.parts), default=None)
        inside = path.relative_to(root) if root is not None else PurePath(path.name) if path.is_absolute() else path
        parts = [part for part in inside.parts if part not in ("..", ".", inside.anchor)] or ["picture"]
        if PurePath(parts[-1]).suffix.lower() not in (*JPEGS, ".png"):
            parts[-1] += ".png"
        wanted, number = self.folder.joinpath(*parts), 1
        with self._guard:
            free = wanted
            while str(free).casefold() in self._taken:
                number += 1
                free = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
            self._taken.add(str(free).casefold())
        return free
