"""What holds for every corruption: dtype, range, chance, order of the severities."""

from __future__ import annotations

import itertools
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images
from torch import Tensor

from beholder.base.errors import UsageError
from beholder.base.records import PixelPolicy
from beholder.image import load
from beholder.image.corruptions import CORRUPTIONS, GROUPS, IMAGENET_C, SEVERITIES, corrupt

NAMES = CORRUPTIONS.names()
UNORDERED = {"glass_blur", "elastic", "frost"}


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """Four crops of two photographs, uint8 (4, 3, 48, 40)."""
    pictures = load_sample_images().images
    crops = [picture[top : top + 380, :320] for picture in pictures for top in (0, 40)]
    return torch.from_numpy(np.stack([load(crop, PixelPolicy(48, 40)) for crop in crops]))


def test_the_fifteen_of_imagenet_c_and_the_rest() -> None:
    assert len(IMAGENET_C) == 15
    assert [name for names in GROUPS.values() for name in names] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_dtype_shape_and_range_stay(name: str, photos: Tensor) -> None:
    for images in (photos, photos.float() / 255, photos.half() / 255, photos[:, :1]):
        made = corrupt(images, name, 3, range(4), seed=1)
        assert made.dtype == images.dtype
        assert made.shape == images.shape
        assert made.isfinite().all()
        assert made.min() >= 0
        assert made.max() <= (255 if images.dtype == torch.uint8 else 1)
        assert not torch.equal(made, images)


@pytest.mark.parametrize("name", NAMES)
def test_chance_is_of_seed_and_index_alone(name: str, photos: Tensor) -> None:
    together = corrupt(photos, name, 4, [7, 8, 9, 10], seed=3)
    alone = corrupt(photos[2:3], name, 4, [9], seed=3)
    assert (together[2:3].int() - alone.int()).abs().max() <= 1  # sums in another order
    assert torch.equal(together, corrupt(photos, name, 4, [7, 8, 9, 10], seed=3))


@pytest.mark.parametrize("name", ["gaussian_noise", "glass_blur", "motion_blur", "snow", "frost", "fog", "elastic", "crop"])
def test_other_indices_and_seeds_are_other_chances(name: str, photos: Tensor) -> None:
    same = photos[:1].expand(2, -1, -1, -1)
    made = corrupt(same, name, 5, [0, 1])
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made, corrupt(same, name, 5, [0, 1], seed=1))


@pytest.mark.parametrize("name", NAMES)
def test_change_grows_with_severity(name: str, photos: Tensor) -> None:
    made = [corrupt(photos, name, severity, range(4)).float() for severity in SEVERITIES]
    change = [float((one - photos.float()).abs().mean()) for one in made]
    assert change[0] > 0.1
    if name not in UNORDERED:
        assert all(later > 0.9 * earlier for earlier, later in itertools.pairwise(change)), change
        assert change[-1] > 1.2 * change[0]


@settings(max_examples=40)
@given(st.sampled_from(NAMES), st.integers(1, 5), st.integers(1, 21), st.integers(1, 21), st.sampled_from([1, 3]), st.data())
def test_any_size_and_any_value(name: str, severity: int, height: int, width: int, channels: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, 255))
    images = torch.full((2, channels, height, width), value, dtype=torch.uint8)
    assert corrupt(images, name, severity, [0, 1]).shape == images.shape


def test_nothing_is_nothing() -> None:
    assert corrupt(torch.zeros(0, 3, 8, 8), "fog", 1, []).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("images", "name", "severity", "indices", "code"),
    [
        (torch.zeros(1, 3, 8, 8), "fogg", 1, [0], "unknown-corruption"),
        (torch.zeros(1, 3, 8, 8), "fog", 6, [0], "bad-severity"),
        (torch.zeros(1, 4, 8, 8), "fog", 1, [0], "bad-shape"),
        (torch.zeros(2, 3, 8, 8), "fog", 1, [0], "bad-shape"),
    ],
)
def test_what_cannot_be(images: Tensor, name: str, severity: int, indices: list[int], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        corrupt(images, name, severity, indices)
    assert caught.value.code == code


def test_the_figure_of_the_docs_can_be_drawn_again(root: Path, tmp_path: Path) -> None:
    script = root / "docs" / "figures" / "corruptions.py"
    runpy.run_path(str(script))["draw"](tmp_path / "again.jpg", 12)
    assert (tmp_path / "again.jpg").stat().st_size > 20_000
    assert script.with_suffix(".jpg").is_file()
