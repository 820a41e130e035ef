"""Made pictures on disk: a grid to look at, or a folder of class folders, which is a source again, marked as made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from beholder.base.arrays import U8
from beholder.base.errors import UsageError
from beholder.base.files import check_writable, folder_atomic, telling_disk_errors
from beholder.bundle.generator import Generator
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

    label: a class; "": the classes in turn. Each PNG says in its metadata that it is synthetic, and by what it was made.
    Raises `UsageError` for what is no generator, a class that it does not know, or a place that is taken.
    """
    made = made if isinstance(made, Generator) else Generator.load(made)
    out = Path(out)
    labels = made.labels(max(n, 1), label=label)
    with stopping():
        if out.suffix.lower() == ".png":
            if n > GRID:
                raise UsageError(
                    f"a grid of {n:,} pictures", code="bad-number", hint=f"{GRID:,} at most; --out FOLDER takes more"
                )
            check_writable(out, option="--out", file=True)
            images, labels = made.sample(n, label=label, seed=seed)
            with telling_disk_errors(out):
                _save(grid(list(images)), out, made, seed)
        else:
            if n < 1:
                made.sample(n, label=label)
            _check_free(out)
            with folder_atomic(out) as folder:
                _write(made, labels, folder, seed)
    names = made.classes or ("",)
    counts = np.bincount(labels, minlength=len(names))
    return Sampled(out, {names[k]: int(count) for k, count in enumerate(counts) if count})


GRID = 4096
"""Pictures in a grid, at most."""


def _check_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        hint = "name a new folder, or an empty one; --out NAME.png writes a grid"
        raise UsageError(f"{out} is there already", code="place-taken", hint=hint)


def _write(made: Generator, labels: Any, folder: Path, seed: int) -> None:
    names = [_plain(name, k) for k, name in enumerate(made.classes)] or [""]
    for name in names:
        (folder / name).mkdir(exist_ok=True)
    at = 0
    for images in made.chunks(labels, seed=seed):
        check_stop()
        for image in images:
            _save(image, folder / names[int(labels[at])] / f"{at:06d}.png", made, seed)
            at += 1


def _plain(name: str, k: int) -> str:
    """Return a class as the name of a folder: as it is, where a file system takes it."""
    plain = re.sub(r"[/\\:*?\"<>|\x00-\x1f]", "_", name).strip(". ") or f"class {k}"
    return plain if plain == name else f"{plain} ({k})"


def _save(image: U8, path: Path, made: Generator, seed: int) -> None:
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    marked = PngInfo()
    marked.add_itxt(MARK, f"made by {made.path.name if made.path else 'a generator'} ({made.config.shape.kind}), seed {seed}")
    marked.add_text("Software", "Beholder")
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path, "PNG", pnginfo=marked)
