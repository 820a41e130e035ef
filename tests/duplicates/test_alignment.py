"""Pictures laid over each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from beholder.duplicates.alignment import SIZE, agreement

Pictures = npt.NDArray[np.uint8]


def grain(seed: int, side: int = SIZE) -> Image.Image:
    """Soft spots all over, (side, side)."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (side // 6, side // 6)).astype(np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


def stack(*pictures: Image.Image) -> Pictures:
    return np.stack([np.asarray(p.resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for p in pictures])


def test_a_picture_agrees_with_itself_and_with_no_other() -> None:
    one, other = grain(0), grain(1)
    (same, apart), light = agreement(stack(one, one), stack(one, other))
    assert light[0] == pytest.approx(0, abs=0.05)
    assert same == pytest.approx(1, abs=1e-4)
    assert apart < 0.4


def test_pairs_none_of_which_agrees_are_judged_too() -> None:
    scores, _ = agreement(stack(*(grain(k) for k in range(4))), stack(*(grain(k) for k in range(10, 14))))
    assert scores.max() < 0.6


@pytest.mark.parametrize("box", [(10, 0, 192, 192), (9, 9, 183, 183), (0, 9, 186, 190), (4, 8, 190, 186)])
def test_what_was_cut_off_is_found_and_does_not_count(box: tuple[int, int, int, int]) -> None:
    picture = grain(2, 192)
    cut = picture.crop(box)
    assert agreement(stack(picture, cut), stack(cut, picture))[0].min() > 0.95


def test_gain_and_offset_do_not_count() -> None:
    picture = grain(3)
    other = Image.fromarray((np.asarray(picture) * 0.6 + 40).astype(np.uint8))
    score, light = agreement(stack(picture), stack(other))
    assert score[0] > 0.98
    assert light[0] < 2


def test_light_that_falls_on_one_side_is_seen() -> None:
    picture = grain(3)
    shade = np.linspace(1, 0.6, SIZE)[None]
    [score], [light] = agreement(stack(picture), stack(Image.fromarray((np.asarray(picture) * shade).astype(np.uint8))))
    assert score > 0.9
    assert light > 4


def test_a_stamp_does_not_count_but_half_a_picture_does() -> None:
    picture = grain(4)
    stamped, halved = picture.copy(), picture.copy()
    stamped.paste(255, (4, 8, 24, 16))
    halved.paste(grain(5).crop((0, 0, 64, 40)), (0, 0))
    small, large = agreement(stack(picture, picture), stack(stamped, halved))[0]
    assert small > 0.95
    assert large < 0.8


def test_even_surfaces_agree_with_nothing() -> None:
    even = np.full((2, SIZE, SIZE), 120, np.uint8)
    assert agreement(even, even)[0].tolist() == [0, 0]


def test_no_pairs() -> None:
    assert agreement(np.zeros((0, SIZE, SIZE), np.uint8), np.zeros((0, SIZE, SIZE), np.uint8))[0].shape == (0,)
