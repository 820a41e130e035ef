from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from .conftest import Set, photograph


def test_a_picture_of_another_size_is_found(clean: Set, found: Callable[..., set[int]]) -> None:
    assert found("size", clean) == set()
    clean[5], clean[6] = photograph(5, 20, 24), photograph(6, 400, 600)
    assert found("size", clean) == {5, 6}


def test_a_picture_of_another_shape_is_found(clean: Set, found: Callable[..., set[int]]) -> None:
    assert found("aspect", clean) == set()
    clean[5], clean[6] = photograph(5, 40, 400), photograph(6, 400, 40)
    assert found("aspect", clean) == {5, 6}


def test_sizes_that_all_differ_are_not_odd(found: Callable[..., set[int]]) -> None:
    rng = np.random.default_rng(0)
    many = [photograph(k, int(side), int(side * 1.3)) for k, side in enumerate(rng.uniform(48, 160, 30))]
    assert found("size", many) == set()


def test_an_enlarged_picture_is_found(clean: Set, found: Callable[..., set[int]]) -> None:
    assert found("upscaled", clean) == set()
    small = Image.fromarray(clean[4]).resize((32, 24), Image.Resampling.LANCZOS)
    clean[4] = np.asarray(small.resize((128, 96), Image.Resampling.BICUBIC))
    assert found("upscaled", clean) == {4}
