from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.base.errors import DataError, UsageError
from beholder.base.fields import DataRecipe
from beholder.data.survey import Survey, choose_policy, survey
from beholder.sources import scan

PLAIN = Survey(100, 100, 0, 300, 400, 300, False, 1.3, 1.34, False, {"JPEG": 100})


def of(**changes: object) -> Survey:
    return Survey(**{**PLAIN.__dict__, **changes})  # type: ignore[arg-type]


def test_figures_of_a_folder(leaves: Path) -> None:
    found = survey(scan(leaves))
    assert (found.n, found.sampled, found.bad, found.height, found.width, found.short) == (36, 36, 0, 20, 24, 20)
    assert found.same
    assert found.aspect_low == found.aspect_high == pytest.approx(1.2)
    assert not found.grey
    assert found.formats == {"PNG": 36}


def test_the_sample_is_seeded_and_bad_pictures_are_counted(leaves: Path) -> None:
    for name in ("00", "01", "02"):
        (leaves / f"rust/{name}.png").write_bytes(b"no picture")
    pictures = scan(leaves)
    assert survey(pictures).bad == 3
    assert survey(pictures, sample=5, seed=3) == survey(pictures, sample=5, seed=3)
    assert survey(pictures, sample=5).sampled == 5


def test_unreadable_pictures_only(leaves: Path) -> None:
    for file in leaves.rglob("*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of the 36 pictures") as caught:
        survey(scan(leaves))
    assert caught.value.code == "unreadable"


def grey_jpegs(folder: Path, n: int, coloured: int = 0) -> Path:
    rng = np.random.default_rng(0)
    for i in range(n):
        pixels = np.repeat(rng.integers(0, 256, (32, 32, 1), np.uint8), 3, axis=2)
        if i < coloured:
            pixels[:, :, 2] = 0
        (folder / "ab"[i % 2]).mkdir(exist_ok=True, parents=True)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        (folder / "ab"[i % 2] / f"{i}.jpg").write_bytes(buffer.getvalue())
    return folder


def test_grey_stored_as_rgb_is_grey_but_one_colour_picture_is_colour(tmp_path: Path) -> None:
    assert survey(scan(grey_jpegs(tmp_path / "grey", 40))).grey
    assert not survey(scan(grey_jpegs(tmp_path / "colour", 40, coloured=1))).grey


def test_arrays() -> None:
    grey = survey(scan((np.zeros((4, 8, 6), np.uint8), [0, 1, 0, 1])))
    assert (grey.height, grey.width, grey.grey) == (8, 6, True)
    colour = np.random.default_rng(0).integers(0, 256, (4, 3, 9, 7), np.uint8)
    assert not survey(scan((colour, [0, 1, 0, 1]))).grey


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "grey"), [("brain-mri", True), ("pneumonia", True), ("ants-bees", False), ("trashnet", False)]
)
def test_real_sets(shared: Path, name: str, grey: bool) -> None:
    assert survey(scan(shared / "data" / f"{name}.zip")).grey == grey


@pytest.mark.parametrize(
    ("found", "height", "width"),
    [
        (of(height=28, width=28, short=28, same=True), 28, 28),
        (of(height=20, width=31, short=20, same=True), 20, 31),
        (of(height=33, width=34, short=33, same=False, aspect_low=0.9, aspect_high=1.1), 32, 32),
        (of(height=96, width=96, short=96, same=True), 96, 96),
        (of(height=3, width=3, short=3, same=False), 8, 8),
        (PLAIN, 96, 96),
    ],
)
def test_size_from_the_pictures(found: Survey, height: int, width: int) -> None:
    policy, reason = choose_policy(found, DataRecipe())
    assert (policy.height, policy.width) == (height, width)
    assert f"{width} × {height}" in reason


def test_the_recipe_comes_before_the_net_and_the_net_before_the_pictures() -> None:
    policy, reason = choose_policy(PLAIN, DataRecipe(), size=(224, 192), channels=1)
    assert (policy.height, policy.width, policy.channels) == (224, 192, 1)
    assert "as the net asks" in reason
    recipe = DataRecipe(size=64, channels=3, fit="crop", background="#102030")
    policy, reason = choose_policy(PLAIN, recipe, size=(224, 192), channels=1)
    assert (policy.height, policy.width, policy.channels, policy.fit) == (64, 64, 3, "crop")
    assert policy.background == (16, 32, 48)
    assert "as the recipe asks" in reason


@pytest.mark.parametrize(
    ("low", "high", "size", "fit"),
    [
        (1.0, 1.0, (64, 64), "squash"),
        (1.3, 1.5, (64, 64), "squash"),
        (0.66, 1.5, (64, 64), "squash"),
        (0.4, 2.5, (64, 64), "pad"),
        (2.9, 3.1, (64, 64), "pad"),
        (2.9, 3.1, (64, 192), "squash"),
    ],
)
def test_fit_never_cuts_by_itself(low: float, high: float, size: tuple[int, int], fit: str) -> None:
    policy, reason = choose_policy(of(aspect_low=low, aspect_high=high), DataRecipe(), size=size)
    assert policy.fit == fit
    assert f"{fit}: " in reason


def test_grey_pictures_stay_one_channel_unless_the_net_needs_three() -> None:
    assert choose_policy(of(grey=True), DataRecipe())[0].channels == 1
    assert choose_policy(of(grey=True), DataRecipe(), channels=3)[0].channels == 3
    assert choose_policy(PLAIN, DataRecipe())[0].channels == 3


def test_a_background_that_is_no_colour() -> None:
    with pytest.raises(UsageError) as caught:
        choose_policy(PLAIN, DataRecipe(background="ultrablue"))
    assert caught.value.code == "bad-value"
