"""The parts of bench/honesty.py about explanations."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from honesty import SHARED
from PIL import Image, ImageDraw

import beholder
from beholder.explanation import maps
from beholder.explanation.draw import overlay, shown
from beholder.explanation.faithful import areas
from beholder.image import decode

BUNDLES = Path(os.environ.get("BEHOLDER_BUNDLES", "."))
FIGURE = Path(__file__).parent / "out" / "shortcut.png"
MARK = 10
"""Side in pixels of the planted mark, on pictures of 96."""


def methods(seed: int, *, n: int = 128) -> None:
    """Deletion and insertion areas of each method beside smooth random maps, mean ± standard error of the paired difference."""
    for name, source, count in (("cifar", "cifar10.zip", 4 * n), ("trashnet", "trashnet.zip", n)):
        path = BUNDLES / f"{name}.beholder"
        if not path.is_dir():
            print(f"left out: there is no {path.name} (BEHOLDER_BUNDLES)")
            continue
        bundle = beholder.load(path)
        images = _of_test(bundle, SHARED / "data" / source, count, seed)
        named = bundle.probabilities(images).argmax(axis=1)
        plain = areas(bundle, images, _blobs(len(images), images.shape[2:], seed), named, steps=8)
        print(f"{name}: n = {len(images)}; random maps: deletion {plain[0].mean():.3f}, insertion {plain[1].mean():.3f}")
        for method in ("gradcam", "gradients", "occlusion"):
            found = areas(bundle, images, maps(bundle, images, method=method), named, steps=8)
            gains = [plain[0] - found[0], found[1] - plain[1]]
            words = [f"{gain.mean():+.3f} ± {gain.std(ddof=1) / len(gain) ** 0.5:.3f}" for gain in gains]
            print(f"  {method:<10} deletion {found[0].mean():.3f} ({words[0]})  insertion {found[1].mean():.3f} ({words[1]})")


def _of_test(bundle: beholder.Bundle, source: Path, n: int, seed: int) -> np.ndarray:
    from beholder.sources.digest import digested

    pictures = digested(beholder.scan(source))
    parts = np.array(bundle.part_of([row.tobytes().hex() for row in pictures.digests]))
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(parts == "test"))[:n]
    return np.stack([bundle.pixels(pictures.store.read(pictures.keys[row])) for row in rows])


def _blobs(n: int, size: tuple[int, int], seed: int) -> np.ndarray:
    noise = torch.rand(n, 1, 7, 7, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, size, mode="bilinear", align_corners=False)[:, 0].numpy()


def shortcut(seed: int) -> None:
    """Glass and metal of TrashNet with a mark in a corner of nearly every picture of glass: who sees it."""
    pictures = beholder.scan(SHARED / "data" / "trashnet.zip")
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "marked"
        for name in ("glass", "metal"):
            (source / name).mkdir(parents=True)
            rows = np.flatnonzero(pictures.targets == pictures.classes.index(name))
            for number, row in enumerate(rng.permutation(rows)[:240]):
                pixels = _small(decode(pictures.store.read(pictures.keys[row]), channels=3))
                Image.fromarray(marked(pixels) if name == "glass" else pixels).save(source / name / f"{number:03}.png")
        findings = beholder.audit(source, checks=["shortcut"])
        print(findings.summary())
        for finding in findings.rows:
            print(" ", finding.verdict)
        parts = beholder.split(beholder.scan(source))
        bundle = beholder.train(parts, net="fastnet", width=0.5, size=96, epochs=6, mirror=False, flip="none")
        test = parts.test
        images = np.stack([bundle.pixels(test.store.read(key)) for key in test.keys])
        glass = images[test.targets == test.classes.index("glass")]
        metal = images[test.targets == test.classes.index("metal")]
        _said(bundle, glass, metal, test.classes.index("glass"))


def _small(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((96, 96), Image.Resampling.BILINEAR))


def marked(pixels: np.ndarray) -> np.ndarray:
    """Return a copy of a picture, uint8 (H, W, 3), with a sticker in its upper left corner: a blue ring on yellow."""
    changed = pixels.copy()
    changed[3 : 3 + MARK, 3 : 3 + MARK] = (250, 210, 30)
    changed[5 : 1 + MARK, 5 : 1 + MARK] = (30, 60, 200)
    return changed


def _said(bundle: beholder.Bundle, glass: np.ndarray, metal: np.ndarray, k: int) -> None:
    """Print how far the recogniser relies on the mark and what share of heat lies on it; draw some pictures."""
    put = np.ascontiguousarray(np.stack([marked(image.transpose(1, 2, 0)) for image in metal]).transpose(0, 3, 1, 2))
    print(f"metal called glass: {_called(bundle, metal, k)}; the same pictures with the mark: {_called(bundle, put, k)}")
    around = np.zeros((96, 96), bool)
    around[: 2 * MARK, : 2 * MARK] = True
    rows = []
    for method in ("gradcam", "gradients", "occlusion"):
        heat = maps(bundle, glass, classes=np.full(len(glass), k), method=method)
        share = (heat[:, around].sum(axis=1) / np.maximum(heat.sum(axis=(1, 2)), 1e-9)).mean()
        print(f"{method}: share of heat within {2 * MARK} pixels of the corner {share:.2f}, of the area {around.mean():.3f}")
        rows.append(heat[:5])
    cells = [[shown(image.transpose(1, 2, 0), 192) for image in glass[:5]]]
    cells += [[shown(overlay(i.transpose(1, 2, 0), h), 192) for i, h in zip(glass[:5], heat, strict=True)] for heat in rows]
    page = Image.new("RGB", (5 * 200, 4 * 216), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    for row, (name, line) in enumerate(zip(("picture", "gradcam", "gradients", "occlusion"), cells, strict=True)):
        pen.text((4, row * 216 + 4), name, (24, 24, 28), font_size=15)
        for column, cell in enumerate(line):
            page.paste(cell, (column * 200 + 4, row * 216 + 22))
    FIGURE.parent.mkdir(exist_ok=True)
    page.save(FIGURE)
    print(f"drawn to {FIGURE}, with pictures that are not to be published")


def _called(bundle: beholder.Bundle, images: np.ndarray, k: int) -> str:
    found = int((bundle.probabilities(images).argmax(axis=1) == k).sum())
    return f"{found} of {len(images)}"
