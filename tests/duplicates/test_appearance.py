"""Figures of pictures beside NumPy's, alone and together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFilter

from beholder.duplicates.appearance import QUANTILES, TINTS, describe, sharpness


@given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_pictures_together_are_described_as_each_alone(pixels: np.ndarray) -> None:
    together = describe(pixels)
    for k in range(len(pixels)):
        for name, value in describe(pixels[k : k + 1]).items():
            assert np.allclose(value[0], together[name][k]), name


@given(arrays(np.uint8, st.tuples(st.just(1), st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_figures_are_those_of_numpy(pixels: np.ndarray) -> None:
    luma = np.asarray(Image.fromarray(pixels[0]).convert("L"))
    found = describe(pixels)
    assert found["light"][0] == pytest.approx(np.quantile(luma, QUANTILES, method="inverted_cdf") / 255)
    assert found["spread"][0] == pytest.approx(luma.std() / 255, abs=1e-6)
    share = (np.abs(luma.astype(int) - np.bincount(luma.ravel()).argmax()) <= 4).mean()
    assert found["mode"][0] == pytest.approx(share)
    tint = (pixels[0].max(axis=2) - pixels[0].min(axis=2)).ravel()
    assert found["tint"][0] == pytest.approx(np.quantile(tint, TINTS, method="inverted_cdf") / 255)
    assert all(0 <= float(found[name][0]) <= 1 for name in ("blur", "fine", "mode"))


def test_blurring_more_is_less_sharp_whatever_the_size() -> None:
    rng = np.random.default_rng(0)
    for side in (24, 64, 700):
        picture = Image.fromarray(rng.integers(0, 255, (side, side), dtype=np.uint8))
        found = [sharpness(np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)))[None]) for radius in (0, 1, 2, 4)]
        assert [float(blur[0]) for blur, _ in found] == sorted(float(blur[0]) for blur, _ in found)
        # Whole levels add a little grain of their own where all else is smoothed away.
        assert [float(fine[0]) for _, fine in found[:3]] == sorted((float(fine[0]) for _, fine in found[:3]), reverse=True)
