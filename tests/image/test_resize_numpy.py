from __future__ import annotations

import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beholder.base.records import PixelPolicy
from beholder.image import load
from beholder.image.resize_numpy import resized

SIDES = st.integers(1, 400)


def picture(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height * 1000 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 3 + 1, width // 3 + 1, 3), dtype=np.uint8))
    return np.array(coarse.resize((width, height), Image.Resampling.BILINEAR))


def oracle(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    made = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
    return made[0].permute(1, 2, 0).numpy()


@given(SIDES, SIDES, SIDES, SIDES)
def test_the_pixels_are_those_of_torch(height: int, width: int, tall: int, wide: int) -> None:
    pixels = picture(height, width)
    said = f"torch {torch.__version__} (written for 2.15) rounds or weighs in another way: `resized` has to follow it"
    assert np.array_equal(resized(pixels, tall, wide), oracle(pixels, tall, wide)), said


@pytest.mark.parametrize("size", [(1700, 2300, 192, 224), (150, 4000, 224, 224), (64, 64, 64, 64), (64, 64, 64, 10)])
def test_large_pictures_and_half_resizes_too(size: tuple[int, int, int, int]) -> None:
    pixels = picture(*size[:2])
    assert np.array_equal(resized(pixels, *size[2:]), oracle(pixels, *size[2:]))


def test_a_picture_is_resized_without_torch_to_the_same_pixels() -> None:
    code = (
        "import sys, zlib, numpy as np; from beholder.image import load; from beholder.base.records import PixelPolicy;"
        "a = np.random.default_rng(0).integers(0, 256, (90, 121, 3), dtype=np.uint8);"
        "p = PixelPolicy(height=32, width=32, channels=3, fit='pad', background=(1, 2, 3));"
        "print('torch' in sys.modules, zlib.crc32(load(a, p)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
    picture = np.random.default_rng(0).integers(0, 256, (90, 121, 3), dtype=np.uint8)
    policy = PixelPolicy(height=32, width=32, channels=3, fit="pad", background=(1, 2, 3))
    assert said.split() == ["False", str(zlib.crc32(load(picture, policy)))]
