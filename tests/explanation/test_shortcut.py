"""A planted shortcut: a mark in the corner of one class is named by the audit and lit up by the heat maps."""

from __future__ import annotations

import numpy as np
import pytest

import beholder
from beholder.duplicates.facts import facts
from beholder.explanation import maps
from beholder.quality.checks import Evidence
from beholder.quality.checks.shortcuts import SHORTCUT, shortcut
from beholder.sources.digest import digested

MARK = 6


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N, 24, 24, 3) of soft noise, of any brightness, with a square; int (N,). Class 1 has a mark in its corner."""
    rng = np.random.default_rng(0)
    targets = np.arange(200) % 2
    base = rng.integers(60, 150, (200, 1, 1, 3)) + rng.integers(-25, 25, (200, 24, 24, 3))
    images = base.clip(0, 255).astype(np.uint8)
    for image, kind in zip(images, targets, strict=True):
        top, left = rng.integers(7, 15, 2)
        image[top : top + 8, left : left + 8] += np.uint8(20 + 10 * kind)
        if kind:
            image[1 : 1 + MARK, 1 : 1 + MARK] = (250, 250, 240)
    return images, targets


def test_the_audit_names_it(planted) -> None:
    pictures = digested(beholder.scan(planted))
    remarks = [remark for remark in shortcut(Evidence(pictures, facts(pictures))) if remark.score >= SHORTCUT.limit]
    assert any("can be told by corners alone" in remark.verdict for remark in remarks)


def test_the_audit_is_silent_without_it(planted) -> None:
    images, targets = planted
    plain = images[:, ::-1, ::-1].copy()
    plain[:, -MARK - 1 :, -MARK - 1 :] = plain[:, : MARK + 1, : MARK + 1]
    pictures = digested(beholder.scan((plain, targets)))
    remarks = [remark for remark in shortcut(Evidence(pictures, facts(pictures))) if "corners" in remark.verdict]
    assert all(remark.score < SHORTCUT.limit for remark in remarks)


@pytest.mark.slow
def test_the_heat_lies_on_it_and_covering_it_changes_the_answer(planted) -> None:
    images, targets = planted
    parts = beholder.split(beholder.scan((images, targets)))
    fields = {"width": 0.25, "epochs": 8, "batch": 16, "augment": "none", "flip": "none", "mirror": False}
    bundle = beholder.train(parts, net="fastnet", precision="fp32", **fields)
    marked = np.ascontiguousarray(images[targets == 1][:32].transpose(0, 3, 1, 2))
    named = np.ones(len(marked), np.int64)
    for method, least in (("gradcam", 0.4), ("gradients", 0.5), ("occlusion", 0.5)):
        heat = maps(bundle, marked, classes=named, method=method)
        corner = heat[:, : 2 * MARK, : 2 * MARK].sum(axis=(1, 2)) / heat.sum(axis=(1, 2))
        assert corner.mean() > least, method
    bare = marked.copy()
    bare[:, :, : MARK + 1, : MARK + 1] = bare.mean(axis=(2, 3), keepdims=True)
    assert bundle.probabilities(marked)[:, 1].mean() > bundle.probabilities(bare)[:, 1].mean() + 0.3
