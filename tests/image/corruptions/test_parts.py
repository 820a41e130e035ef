"""The pieces of the corruptions beside those who compute the same: Pillow, SciPy, colorsys."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from sklearn.datasets import load_sample_images

from beholder.image.corruptions.digital import contrast, pixelate
from beholder.image.corruptions.filters import convolved, disk, enlarged, smoothed, streaks
from beholder.image.corruptions.jpeg import compressed
from beholder.image.corruptions.noise import gaussian_noise, impulse_noise, poisson, shot_noise
from beholder.image.corruptions.strength import strength
from beholder.image.corruptions.weather import brightness, fog, plasma
from beholder.machine.draws import Draws

CPU = torch.device("cpu")


def draws(n: int = 1, *, seed: int = 0) -> Draws:
    return Draws(seed, 0, range(n), device=CPU, name="test")


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


# --- draws and strength ----------------------------------------------------------------------------------------------


def test_uniform_and_normal_are_what_they_are_called() -> None:
    source = draws(4)
    assert stats.kstest(source.uniform("a", 50_000).flatten(), "uniform").pvalue > 0.001
    assert stats.kstest(source.normal("b", 50_001).flatten(), "norm").pvalue > 0.001


def test_pictures_streams_and_seeds_are_independent() -> None:
    fields = [draws(2, seed=seed).normal(stream, 20_000) for seed in (0, 1) for stream in ("a", "b")]
    table = torch.cat(fields).numpy()
    off = np.corrcoef(table)[~np.eye(len(table), dtype=bool)]
    assert np.abs(off).max() < 4.5 / np.sqrt(20_000)
    beside = np.corrcoef(table[0, :-1], table[0, 1:])[0, 1]
    assert abs(beside) < 4.5 / np.sqrt(20_000)


@pytest.mark.parametrize(("side", "value"), [(28, 0.1), (32, 0.1), (224, 0.38), (448, 0.38), (64, 0.1609)])
def test_strength_between_the_published_sizes(side: int, value: float) -> None:
    images = torch.zeros(1, 3, side, side + 9)
    assert strength(images, 5, (0.1,) * 5, (0.38,) * 5) == pytest.approx(value, abs=1e-4)


def test_lengths_grow_with_large_pictures_and_zeros_are_met_linearly() -> None:
    assert strength(torch.zeros(1, 1, 448, 448), 1, (1,) * 5, (4,) * 5, length=True) == pytest.approx(8)
    assert 0 < strength(torch.zeros(1, 1, 64, 64), 1, (0,) * 5, (4,) * 5) < 4


# --- noise -----------------------------------------------------------------------------------------------------------


def test_poisson_is_that_of_scipy() -> None:
    rates, uniform = torch.linspace(0, 12, 5000), draws().uniform("u", 5000)[0]
    expected = stats.poisson.ppf(np.maximum(uniform.double().numpy(), 1e-12), rates.double().numpy())
    # At the very step a float32 sum may fall to either side.
    assert (poisson(rates, uniform).numpy() != np.maximum(expected, 0)).mean() < 0.002
    many = torch.full((20_000,), 40.0)
    counts = poisson(many, draws().uniform("v", 20_000)[0])
    assert counts.mean() == pytest.approx(40, abs=0.2)
    assert counts.var() == pytest.approx(40, rel=0.04)


def test_noise_has_the_published_size() -> None:
    grey = torch.full((8, 3, 224, 224), 0.5)
    assert (gaussian_noise(grey, 2, draws(8)) - grey).std() == pytest.approx(0.12, rel=0.01)
    assert (shot_noise(grey[:1], 3, draws()) - 0.5).var() == pytest.approx(0.5 / 12, rel=0.02)
    made = impulse_noise(grey, 5, draws(8))
    assert [float((made == level).float().mean()) for level in (0, 1)] == pytest.approx([0.135, 0.135], abs=0.002)


# --- blur ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.4, 1.5, 6.0])
def test_smoothing_is_that_of_scipy(sigma: float) -> None:
    images = noise(1, 1, 24, 31)
    expected = ndimage.gaussian_filter(images[0, 0].double().numpy(), sigma, mode="reflect", truncate=9)
    assert np.abs(smoothed(images, sigma)[0, 0].numpy() - expected).max() < (2e-3 if sigma > 5 else 1e-5)


def test_convolution_is_that_of_scipy() -> None:
    images, kernels = noise(2, 3, 20, 17), noise(2, 5, 5)
    found = convolved(images, kernels)
    for b in range(2):
        for c in range(3):
            expected = ndimage.convolve(images[b, c].numpy(), kernels[b].numpy(), mode="nearest")
            assert np.abs(found[b, c].numpy() - expected).max() < 1e-4


def test_a_disk_has_its_area() -> None:
    assert 1 / disk(6, 0.1, CPU).max() == pytest.approx(np.pi * 36, rel=0.02)
    assert disk(0.3, 0.0, CPU).max() == pytest.approx(1)


def test_streaks_lie_along_their_angle_on_one_side() -> None:
    level, steep = streaks(21, 5.0, torch.tensor([0.0, 90.0]))
    middle = level.shape[-1] // 2
    right = level[middle, middle:]
    assert right.sum() == pytest.approx(1, abs=1e-5)
    assert right[5] / right[0] == pytest.approx(np.exp(-0.5), rel=1e-4)
    assert steep[: middle + 1, middle].sum() == pytest.approx(1, abs=1e-4)


def test_enlarging_shows_the_middle() -> None:
    ramp = torch.arange(9.0).expand(1, 1, 9, 9)
    assert enlarged(ramp, 2.0)[0, 0, 4].tolist() == pytest.approx([2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6])


# --- weather ---------------------------------------------------------------------------------------------------------


def test_brightness_is_that_of_hsv() -> None:
    images = noise(1, 3, 6, 5)
    images[0, :, 0, 0] = 0
    made = brightness(images, 4, draws())
    for pixel, lit in zip(images[0].flatten(1).T.tolist(), made[0].flatten(1).T.tolist(), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        assert lit == pytest.approx(colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1)), abs=1e-5)


def test_a_cloud_is_rougher_with_less_decay() -> None:
    smooth, rough = (plasma(draws(), 128, 128, decay=decay, stream="a") for decay in (3.0, 1.3))
    assert (smooth.min(), smooth.max()) == (0, 1)
    assert rough.diff(dim=2).abs().mean() > 3 * smooth.diff(dim=2).abs().mean()
    assert plasma(draws(2), 5, 300, decay=2.0, stream="a").shape == (2, 5, 300)


def test_fog_keeps_the_largest_value() -> None:
    images = noise(2, 3, 32, 32) * 0.8
    assert fog(images, 5, draws(2)).max() <= images.max()


# --- digital ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [7, 25, 60, 95])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_is_that_of_pillow(quality: int, mode: str) -> None:
    photo = Image.fromarray(load_sample_images().images[0]).resize((83, 61)).convert(mode)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    expected = np.atleast_3d(np.asarray(Image.open(buffer), np.float32)).transpose(2, 0, 1)
    given = torch.from_numpy(np.atleast_3d(np.asarray(photo)).transpose(2, 0, 1).copy()).float()[None] / 255
    found = (compressed(given, quality)[0] * 255).numpy()
    assert np.abs(found - expected).mean() < 1.0
    lost = np.abs(expected - given[0].numpy() * 255).mean()
    assert np.abs(found - given[0].numpy() * 255).mean() == pytest.approx(lost, rel=0.05)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_pixelate_is_that_of_pillow(severity: int) -> None:
    share = (0.95, 0, 0.85, 0, 0.65)[severity - 1]
    levels = (noise(1, 1, 32, 32) * 255).round()
    picture = Image.fromarray(levels[0, 0].numpy().astype(np.uint8))
    small = picture.resize((int(32 * share),) * 2, Image.Resampling.BOX)
    expected = np.asarray(small.resize((32, 32), Image.Resampling.BOX), np.float32)
    assert np.abs(pixelate(levels, severity, draws())[0, 0].numpy() - expected).max() <= 1


def test_contrast_keeps_the_mean_of_each_channel() -> None:
    images = noise(1, 3, 32, 32)
    made = contrast(images, 5, draws())
    assert torch.allclose(made.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=1e-5)
    assert made.std() == pytest.approx(0.15 * float(images.std()), rel=0.05)
