from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter

from .conftest import Picture, Set


def blur(picture: Picture) -> Picture:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(4)))


FAULTS: dict[str, Callable[[Picture], Picture]] = {
    "dark": lambda p: (p * 0.2).astype(np.uint8),
    "bright": lambda p: (250 + p // 51).astype(np.uint8),
    "contrast": lambda p: (120 + p // 16).astype(np.uint8),
    "blurred": blur,
    "uniform": lambda p: np.full_like(p, 90),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(name: str, clean: Set, found: Callable[..., set[int]]) -> None:
    assert found(name, clean) == set()
    for row in (3, 17):
        clean[row] = FAULTS[name](clean[row])
    assert found(name, clean) == {3, 17}
