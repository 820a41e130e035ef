"""Made pictures on disk: a grid to look at, or a folder of class folders, which is a source again, marked as made."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from beholder.base import events
from beholder.base.arrays import U8
from beholder.base.errors import UsageError
from beholder.base.files import check_writable, folder_atomic, write_atomic
from beholder.bundle.generator import Generator, check_asked
from beholder.machine.stop import check_stop, stopping
from beholder.reporting.generated import grid

MARK = "synthetic"
"""The key of the text in each PNG that says by what it was made."""


@dataclass(frozen=True)
class Sampled:
    """Where made pictures were written, and how many of each class."""

    path: Path
    counts: dict[str, int]

    def json(self) -> dict[str, Any]:
        """Return {"path", "counts"}."""
        return {"path": str(self.path), "counts": self.counts}

    def __str__(self) -> str:
        return f"{sum(self.counts.values()):,} made pictures in {self.path}"


def sample(
    made: Generator | str | Path, *, n: int = 64, label: str = "", seed: int = 0, out: str | Path = "grid.png"
) -> Sampled:
    """Write n made pictures to `out`: a grid in one PNG where it ends in .png, else a new folder with a folder for each class.

    label: a class; "": the classes in turn. Each PNG says in its metadata that it is synthetic, and by what it was made; a grid
    takes the place of an earlier one, and of no other picture.
    Raises `UsageError` for what is no generator, a class that it does not know, a bad n or seed, or a place that is taken.
    """
    made, out = made if isinstance(made, Generator) else Generator.load(made), Path(out)
    check_asked(n, seed)
    as_grid = out.suffix.lower() == ".png"
    if as_grid and n > GRID:
        raise UsageError(f"a grid of {n:,} pictures", code="bad-number", hint=f"{GRID:,} at most; --out FOLDER takes more")
    labels = made.labels(n, label=label)
    with stopping():
        if as_grid:
            _check_made(out)
            check_writable(out, option="--out", file=True)
            images, labels = made.sample(n, label=label, seed=seed)
            write_atomic(out, _png(grid(list(images)), made, seed))
        else:
            _check_free(out)
            with folder_atomic(out) as folder:
                _write(made, labels, folder, seed)
    names = made.classes or ("",)
    counts = np.bincount(labels, minlength=len(names))
    return Sampled(out, {names[k]: int(count) for k, count in enumerate(counts) if count})


GRID = 4096
"""Pictures in a grid, at most."""

HEAD = 4096
"""Bytes at the beginning of a PNG in which what it says of itself stands, before its pixels."""

PICTURES = (".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
"""Endings of names of pictures, in which no grid is written."""


def _check_made(out: Path) -> None:
    """Raise `UsageError` (place-taken) where `out` is there and no PNG that says that it was made, as `_png` writes it."""
    if not out.exists():
        return
    if out.is_file():
        with out.open("rb") as file:
            head = file.read(HEAD)
        if head.startswith(b"\x89PNG") and b"iTXt" + MARK.encode() + b"\0" in head:
            return
    raise UsageError(
        f"{out} is there already", code="place-taken", hint="name a new file: only an earlier grid is written over"
    )


def _check_free(out: Path) -> None:
    if out.suffix.lower() in PICTURES:
        raise UsageError(f"{out} is the name of a picture", code="bad-out", hint=f"a grid is a PNG: {out.with_suffix('.png')}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        hint = "name a new folder, or an empty one; --out NAME.png writes a grid"
        raise UsageError(f"{out} is there already", code="place-taken", hint=hint)


def _write(made: Generator, labels: Any, folder: Path, seed: int) -> None:
    names = [_plain(name, k) for k, name in enumerate(made.classes)] or [""]
    for name, known in zip(names, made.classes, strict=False):
        if name != known:
            hint = "no folder can have the name of the class: name it so before it joins that class in training"
            events.warn(f"pictures of the class {known!r} lie in the folder {name!r}", hint=hint)
    for name in names:
        (folder / name).mkdir(exist_ok=True)
    at = 0
    for images in made.chunks(labels, seed=seed):
        check_stop()
        for image in images:
            (folder / names[int(labels[at])] / f"{at:06d}.png").write_bytes(_png(image, made, seed))
            at += 1


def _plain(name: str, k: int) -> str:
    """Return a class as the name of a folder: as it is, where this machine's file system takes it and `scan` reads it so."""
    refused = r"[/\\:*?\"<>|\x00-\x1f]" if os.name == "nt" else r"[/\x00-\x1f]"
    plain = re.sub(refused, "_", name).strip(". " if os.name == "nt" else " ").lstrip(".") or f"class {k}"
    return plain if plain == name else f"{plain} ({k})"


def _png(image: U8, made: Generator, seed: int) -> bytes:
    """Return a picture (C, H, W) as a PNG that says that it is made."""
    pixels, buffer = np.ascontiguousarray(image.transpose(1, 2, 0)), io.BytesIO()
    marked = PngInfo()
    marked.add_itxt(MARK, f"made by {made.path.name if made.path else 'a generator'} ({made.config.shape.kind}), seed {seed}")
    marked.add_text("Software", "Beholder")
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", pnginfo=marked)
    return buffer.getvalue()
