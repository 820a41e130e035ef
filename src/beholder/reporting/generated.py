"""The page of a generator: made pictures, the training pictures nearest to them, what comes back, the losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from beholder.base.arrays import F32, U8, Values
from beholder.base.bidi import isolating
from beholder.base.files import write_atomic
from beholder.bundle.generator import NAMES, Generator
from beholder.evaluation.words import Words
from beholder.reporting import charts as plots
from beholder.reporting.page import environment_of, read

Named = tuple[str, U8]


@dataclass(frozen=True, eq=False)
class Shown:
    """What the page shows; pictures are uint8 (C, H, W), several (N, C, H, W).

    samples: (class, made pictures of it); near: (made, nearest training picture, cosine); usual: median cosine of real pictures
    rebuilt: (picture, as it comes back); between: from one picture to another; mapped: latents (N, D) and classes (N,)
    """

    samples: Sequence[Named]
    near: Sequence[tuple[U8, U8, float]]
    usual: float | None
    rebuilt: Sequence[tuple[U8, U8]]
    between: Sequence[U8]
    mapped: tuple[F32, Values] | None


def generated(shown: Shown, made: Generator, path: Path) -> Path:
    """Write the page of a generator and return its path. Raises `MachineError` where it cannot be written."""
    config = made.config
    environment = environment_of(Words("en"), isolating(config.classes))
    size = f"{config.pixels.width} × {config.pixels.height} pixels"
    html = environment.get_template("generated.html").render(
        style=Markup(read("style.css")),
        title=NAMES[config.shape.kind],
        facts=f"{size}; learnt from {config.parts.get('train', 0):,} pictures in {config.seconds:.0f} s",
        said=made.scores.get("said", ()),
        samples=[(name, row(list(pictures))) for name, pictures in shown.samples],
        near=[(plots.thumbnail(a), plots.thumbnail(b), f"{cosine:.2f}") for a, b, cosine in shown.near],
        usual=None if shown.usual is None else f"{shown.usual:.2f}",
        rebuilt=row([a for a, _ in shown.rebuilt]) if shown.rebuilt else None,
        back=row([b for _, b in shown.rebuilt]) if shown.rebuilt else None,
        between=row(list(shown.between)) if len(shown.between) else None,
        mapped=_map(shown.mapped, config.classes) if shown.mapped is not None else None,
        losses=_losses(made),
        notes=config.notes,
    )
    write_atomic(path, html.encode("utf-8", "replace"))
    return path


def grid(pictures: Sequence[U8], *, columns: int = 0) -> U8:
    """Return pictures uint8 (C, H, W) side by side, uint8 (C, …, …), with two white pixels between them."""
    columns = columns or max(1, int(np.ceil(len(pictures) ** 0.5)))
    rows = -(-len(pictures) // columns)
    channels, height, width = pictures[0].shape
    found = np.full((channels, rows * (height + 2) - 2, columns * (width + 2) - 2), 255, np.uint8)
    for k, picture in enumerate(pictures):
        top, left = (k // columns) * (height + 2), (k % columns) * (width + 2)
        found[:, top : top + height, left : left + width] = picture
    return found


def row(pictures: Sequence[U8]) -> str:
    """Return pictures in one row as a data URI."""
    return plots.thumbnail(grid(pictures, columns=len(pictures)), side=2000)


def _losses(made: Generator) -> dict[str, Any] | None:
    """Return {"title", "curves", "svg", "note"} of the losses over epochs."""
    names = {"loss": "training", "valid_loss": "validation"}
    if made.config.shape.kind == "gan":
        names = {"loss": "generator", "discriminator_loss": "discriminator"}
    drawn = [
        plots.series(made.history, key, name, style)
        for (key, name), style in zip(names.items(), ("first", "second"), strict=True)
    ]
    measure = "bits per dimension" if made.config.shape.kind == "vae" else "loss"
    svg = plots.chart(f"{measure} over epochs", drawn, plots.Axis("epoch", whole=True), plots.Axis(measure))
    return None if svg is None else {"title": f"{measure.capitalize()} over epochs", "curves": drawn, "svg": svg, "note": ""}


SIDE = 420
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0")


def _map(mapped: tuple[F32, Values], classes: Sequence[str]) -> Mapping[str, Any] | None:
    """Return the first two principal components of latents as an SVG, and the colour of each class that has one of its own."""
    rows, labels = mapped
    if len(rows) < 3:
        return None
    centred = rows - rows.mean(0)
    _, _, axes = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    at = centred @ axes[:2].T
    low, high = at.min(0), at.max(0)
    at = (at - low) / np.maximum(high - low, 1e-9) * (SIDE - 20) + 10
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[int(label) % len(COLOURS)]}" fill-opacity="0.8"/>'
        for (x, y), label in zip(at, labels, strict=True)
    )
    svg = f'<svg viewBox="0 0 {SIDE} {SIDE}" role="img" aria-label="Map of the coarsest latents">{dots}</svg>'
    keys = [(escape(name), COLOURS[k]) for k, name in enumerate(classes[: len(COLOURS)])]
    return {"svg": Markup(svg), "keys": keys, "more": max(0, len(classes) - len(COLOURS))}
