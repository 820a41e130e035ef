from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from .conftest import Picture, Set, photograph


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


def soft(picture: Picture, radius: float = 0.7) -> Picture:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def test_where_all_are_soft_only_what_is_softer_was_enlarged(found: Callable[..., set[int]]) -> None:
    scans = [soft(photograph(k)) for k in range(30)]
    assert found("low-detail", scans) == set()
    scans[4] = np.asarray(Image.fromarray(scans[4]).resize((43, 32)).resize((128, 96), Image.Resampling.BICUBIC))
    assert found("low-detail", scans) == {4}


def test_most_of_a_set_may_be_enlarged(clean: Set, found: Callable[..., set[int]]) -> None:
    for k in range(20):
        small = Image.fromarray(clean[k]).resize((64, 48), Image.Resampling.LANCZOS)
        clean[k] = np.asarray(small.resize((128, 96), Image.Resampling.BICUBIC))
    assert found("low-detail", clean) == set(range(20))


def test_an_enlarged_picture_is_found(clean: Set, found: Callable[..., set[int]]) -> None:
    assert found("low-detail", clean) == set()
    small = Image.fromarray(clean[4]).resize((32, 24), Image.Resampling.LANCZOS)
    clean[4] = np.asarray(small.resize((128, 96), Image.Resampling.BICUBIC))
    assert found("low-detail", clean) == {4}
