"""Plans, presets, the whole of an augmentation, and mixing."""

from __future__ import annotations

import runpy
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from beholder.base.errors import UsageError
from beholder.data import augment as room
from beholder.data.augment import PRESETS, Augment, augment, mix, preset
from beholder.machine.draws import Draws

FIELDS = [field.name for field in fields(Augment)]
EVERYTHING = replace(preset("strong", strength=2.0, flip="both"), erase=1.0)


def noise(number: int = 16, channels: int = 3, height: int = 12, width: int = 10) -> Tensor:
    return torch.rand((number, channels, height, width), generator=torch.Generator().manual_seed(0))


def draws(number: int = 16, *, epoch: int = 0) -> Draws:
    return Draws(0, epoch, torch.arange(number))


def one_hot(number: int, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.arange(number) % classes, classes).float()


@pytest.mark.parametrize("plan", [Augment(), preset("none", strength=3.0), preset("strong", strength=0.0, flip="none")])
def test_a_plan_of_nothing_returns_the_images_themselves(plan: Augment) -> None:
    images = noise()
    assert augment(images, draws(), plan) is images


@pytest.mark.parametrize("name", PRESETS.names())
def test_no_strength_is_no_augmentation(name: str) -> None:
    assert preset(name, strength=0.0) == Augment()


@pytest.mark.parametrize("name", [name for name in PRESETS.names() if name != "none"])
def test_more_strength_is_more_change(name: str) -> None:
    images = noise(64, 3, 32, 32)

    def change(strength: float) -> float:
        return float((augment(images, draws(64), preset(name, strength=strength, flip="none")) - images).abs().mean())

    assert 0.01 < change(0.3) < change(1.5)


@pytest.mark.parametrize("name", PRESETS.names())
@pytest.mark.parametrize("strength", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_presets_keep_shape_type_and_range(name: str, strength: float, channels: int) -> None:
    images = noise(8, channels, 13, 21)
    varied = augment(images, draws(8), preset(name, strength=strength, size=13))
    assert varied.shape == images.shape
    assert varied.dtype == torch.float32
    assert 0 <= float(varied.min()) <= float(varied.max()) <= 1 + 1e-5


def test_unknown_words_are_usage_errors_with_a_hint() -> None:
    with pytest.raises(UsageError, match="did you mean 'standard'"):
        preset("standart")
    with pytest.raises(UsageError, match="did you mean 'horizontal'"):
        preset("light", flip="horizontl")


def test_light_only_moves_whole_pixels() -> None:
    plan = preset("light", size=32)
    assert not plan.bends
    assert not plan.recolours
    varied = augment(noise(), draws(), plan)
    assert set(varied.flatten().tolist()) <= set(noise().flatten().tolist())


def test_flip_choices() -> None:
    images = noise()

    def seen(flip: str) -> set[tuple[int, ...]]:
        varied = augment(images, draws(), replace(preset("light", flip=flip), translate=0.0))
        ways = [(), (-1,), (-2,), (-1, -2)]
        return {way for new, old in zip(varied, images, strict=True) for way in ways if torch.equal(new, old.flip(way))}

    assert seen("none") == {()}
    assert seen("auto") == seen("horizontal") == {(), (-1,)}
    assert seen("both") == {(), (-1,), (-2,), (-1, -2)}


def test_each_picture_is_flipped_in_every_second_epoch() -> None:
    images = noise()
    plan = Augment(alternate=True)
    first, second, third = (augment(images, draws(epoch=epoch), plan) for epoch in (0, 1, 2))
    assert torch.equal(first, second.flip(-1))
    assert torch.equal(first, third)
    assert not torch.equal(first, images)


@given(st.permutations(list(range(16))), st.integers(1, 16))
def test_a_picture_varies_the_same_in_any_company(order: list[int], number: int) -> None:
    images, index = noise(), torch.tensor(order[:number])
    together = augment(images, draws(), EVERYTHING)[index]
    apart = augment(images[index], Draws(0, 0, index), EVERYTHING)
    assert torch.allclose(together, apart, atol=1e-5)


def test_epochs_and_seeds_differ() -> None:
    images = noise()
    assert not torch.allclose(augment(images, draws(), EVERYTHING), augment(images, draws(epoch=1), EVERYTHING))
    other = augment(images, Draws(1, 0, torch.arange(16)), EVERYTHING)
    assert not torch.allclose(augment(images, draws(), EVERYTHING), other)


@pytest.mark.parametrize("plan", [preset("light"), preset("standard")])
def test_bytes_and_floats_give_the_same(plan: Augment) -> None:
    pixels = (noise() * 255).to(torch.uint8)
    varied = augment(pixels, draws(), plan)
    varied = varied.float() / 255 if varied.dtype == torch.uint8 else varied
    assert torch.allclose(varied, augment(pixels.float() / 255, draws(), plan), atol=1e-6)


@pytest.mark.parametrize(
    ("plan", "low", "high"),
    [
        (Augment(translate=0.25), -3, 3),
        (Augment(translate=0.1), -1, 1),
    ],
)
def test_every_move_up_to_the_reach_is_as_likely(plan: Augment, low: int, high: int) -> None:
    """A picture whose value is its column: what is seen in the middle tells how far it was moved."""
    images = torch.arange(12.0).expand(4000, 1, 12, 12) / 12
    seen = 6 - (augment(images, draws(4000), plan)[:, 0, 6, 6] * 12).round().long()
    assert int(seen.min()) == low
    assert int(seen.max()) == high
    assert stats.chisquare(np.bincount((seen - low).numpy())).pvalue > 0.01


@pytest.mark.parametrize("field", ["brightness", "contrast", "saturation", "erase", "rotate", "crop", "scale", "aspect"])
def test_each_range_alone_changes_pictures(field: str) -> None:
    images = noise()
    varied = augment(images, draws(), Augment(**{field: 20.0 if field == "rotate" else 0.5}))
    changed = (varied - images).abs().amax((1, 2, 3)) > 1e-3
    assert int(changed.sum()) >= (4 if field == "erase" else 14)


def test_erase_hides_the_share_and_at_the_rate_asked() -> None:
    plan = Augment(erase=0.5, erase_area=(0.1, 0.3))
    boxes = room.hidden(draws(4000), plan, 40, 30)
    area = (boxes[:, 2] * boxes[:, 3]).double() / 1200
    assert abs(float((area > 0).double().mean()) - 0.5) < 0.03
    hit = area[area > 0]
    slack = 20 / 1200
    assert 0.1 - slack <= float(hit.min()) <= 0.11 + slack
    assert 0.29 - slack <= float(hit.max()) <= 0.3 + slack


def test_mix_is_off_by_default_and_for_one_picture() -> None:
    images, targets = noise(), one_hot(16, 4)
    assert mix(images, targets, draws(), preset("strong")) == (images, targets)
    mixed, _ = mix(images[:1], targets[:1], draws(1), Augment(mixup=1.0))
    assert torch.equal(mixed, images[:1])


@given(st.integers(0, 200), st.booleans(), st.floats(0.1, 2.0))
def test_targets_sum_to_one_and_tell_what_is_in_the_picture(epoch: int, cut: bool, alpha: float) -> None:
    """Every picture is of one value, its own index: its mean tells the share of each of the two."""
    number = 6
    images = torch.arange(float(number)).reshape(-1, 1, 1, 1).expand(number, 3, 9, 7).contiguous()
    targets = torch.eye(number)
    plan = Augment(cutmix=alpha) if cut else Augment(mixup=alpha)
    mixed, shares = mix(images, targets, draws(number, epoch=epoch), plan)
    assert torch.allclose(shares.sum(1), torch.ones(number), atol=1e-6)
    told = (shares * torch.arange(float(number))).sum(1)
    assert torch.allclose(mixed.mean((1, 2, 3)), told, atol=1e-4)
    assert torch.allclose(shares.diag(), shares.diag()[:1].expand(number)), "one share for the whole batch"
    if cut:
        assert set(mixed.unique().tolist()) <= set(range(number)), "cutmix blends no pixel"


def test_shares_follow_the_beta_distribution() -> None:
    images, targets = torch.zeros(2, 1, 1, 1), torch.eye(2)
    shares = [float(mix(images, targets, draws(2, epoch=e), Augment(mixup=0.4))[1][0, 0]) for e in range(2000)]
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.01


def test_with_both_each_batch_takes_one() -> None:
    images, targets = noise(), one_hot(16, 4)
    plan = Augment(mixup=1.0, cutmix=1.0)
    blended = 0
    for epoch in range(100):
        mixed, _ = mix(images, targets, draws(epoch=epoch), plan)
        whole = (mixed == images) | (mixed == images.roll(1, 0))
        blended += not bool(whole.all())
    assert 30 < blended < 70


def test_mixing_does_not_depend_on_the_order_of_the_batch() -> None:
    images, targets = noise(4), one_hot(4, 4)
    index = torch.tensor([2, 0, 3, 1])
    _, here = mix(images, targets, draws(4), Augment(mixup=1.0))
    _, there = mix(images[index], targets[index], Draws(0, 0, index), Augment(mixup=1.0))
    assert torch.equal(here.amax(1).sort().values, there.amax(1).sort().values)


def test_the_figure_of_the_docs_shows_every_function_and_can_be_drawn_again(root: Path, tmp_path: Path) -> None:
    script = root / "docs" / "figures" / "augmentation.py"
    figure = runpy.run_path(str(script))
    # The fields that say how, rather than how far, belong to the functions flip and erase.
    told = {"flip" if field in ("horizontal", "vertical", "alternate") else field.removesuffix("_area") for field in FIELDS}
    assert set(figure["FUNCTIONS"]) == told
    figure["draw"](tmp_path / "again.png")
    assert 50_000 < (tmp_path / "again.png").stat().st_size < 300_000
    assert script.with_suffix(".png").is_file()
