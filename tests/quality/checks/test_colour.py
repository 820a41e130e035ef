from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .conftest import Set


def test_grey_among_coloured_is_found(clean: Set, found: Callable[..., set[int]]) -> None:
    assert found("grey", clean) == set()
    clean[2] = np.repeat(clean[2].mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    assert found("grey", clean) == {2}


def test_a_grey_set_has_no_grey_findings(clean: Set, found: Callable[..., set[int]]) -> None:
    grey = [np.repeat(p[..., :1], 3, axis=2) for p in clean]
    assert found("grey", grey) == set()


def test_another_mode_is_found(clean: Set, found: Callable[..., set[int]]) -> None:
    assert found("colour-mode", clean) == set()
    clean[2] = clean[2][..., 0]
    clean[9] = np.concatenate([clean[9], np.full((*clean[9].shape[:2], 1), 255, np.uint8)], axis=2)
    assert found("colour-mode", clean) == {2, 9}
