"""Values of a net's pixels find back to the picture's own: the inverse of every way to fit."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.base.records import PixelPolicy
from beholder.image.fit import fitted, placed, unfitted

SIZES = [(60, 90), (90, 60), (31, 200), (24, 24), (20, 12), (500, 333)]


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [(24, 24), (20, 32)])
def test_a_ramp_comes_back_as_itself(fit: str, size: tuple[int, int], target: tuple[int, int]) -> None:
    policy = PixelPolicy(*target, channels=1, fit=fit, background=(255, 255, 255))
    down = np.repeat(np.linspace(0, 250, size[0])[:, None], size[1], axis=1)
    across = np.repeat(np.linspace(0, 250, size[1])[None, :], size[0], axis=0)
    rows, columns = _kept(size, policy)
    for ramp in (down, across):
        found = unfitted(fitted(ramp.astype(np.uint8), policy).astype(np.float32), *size, policy)
        assert found.shape == size
        assert found.dtype == np.float32
        apart = np.abs(found - ramp)[rows, columns]
        assert apart.mean() < 2 + 60 / _cells(size, policy)
        assert apart.max() < 3 + 450 / _cells(size, policy)


def _cells(size: tuple[int, int], policy: PixelPolicy) -> float:
    _, _, tall, wide = placed(*size, policy)
    return min(tall, wide, *size)


def _kept(size: tuple[int, int], policy: PixelPolicy) -> tuple[slice, slice]:
    """Return the rows and columns of the picture that the policy keeps, less one at the edges."""
    if policy.fit != "crop":
        return slice(None), slice(None)
    scale = max(policy.height / size[0], policy.width / size[1])
    tall, wide = policy.height / scale, policy.width / scale
    top, left = (size[0] - tall) / 2, (size[1] - wide) / 2
    return slice(int(top) + 1, int(top + tall) - 1), slice(int(left) + 1, int(left + wide) - 1)


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
@pytest.mark.parametrize("centre", [(30, 45), (14, 38), (48, 52)])
def test_a_spot_comes_back_to_its_place(fit: str, centre: tuple[int, int]) -> None:
    picture = np.zeros((60, 90), np.uint8)
    picture[centre[0] - 4 : centre[0] + 4, centre[1] - 4 : centre[1] + 4] = 255
    policy = PixelPolicy(40, 40, channels=1, fit=fit, background=(0, 0, 0))
    heat = unfitted(fitted(picture, policy).astype(np.float32), 60, 90, policy)
    rows, columns = np.mgrid[:60, :90]
    found = (heat * rows).sum() / heat.sum(), (heat * columns).sum() / heat.sum()
    assert found == pytest.approx((centre[0] - 0.5, centre[1] - 0.5), abs=0.6)


def test_what_was_cut_off_is_cold_and_a_letter_box_reaches_no_pixel() -> None:
    hot = np.ones((20, 20), np.float32)
    cut = unfitted(hot, 20, 60, PixelPolicy(20, 20, fit="crop"))
    assert np.array_equal(cut, np.repeat((np.arange(60) // 20 == 1)[None].astype(np.float32), 20, axis=0))
    boxed = np.zeros((20, 20), np.float32)
    boxed[:5] = boxed[15:] = 1
    assert not unfitted(boxed, 20, 40, PixelPolicy(20, 20, fit="pad")).any()
