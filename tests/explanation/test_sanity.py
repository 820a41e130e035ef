"""Sanity of heat maps: they add up, they agree with Captum, they depend on the weights, they find what matters."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import beholder
from beholder.explanation import log_odds, maps
from beholder.explanation.faithful import areas
from beholder.explanation.gradcam import feature_map, gradcam
from beholder.explanation.gradients import integrated
from beholder.explanation.occlusion import occlusion
from beholder.tasks.single import SINGLE


@pytest.fixture(scope="module")
def net(make) -> nn.Module:
    return make("resnet").net


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def score(logits: torch.Tensor) -> torch.Tensor:
    return log_odds(logits, torch.tensor([0, 1]).repeat(len(logits) // 2), task=SINGLE)


def test_shares_of_integrated_gradients_add_up(net, batch) -> None:
    """Completeness: Sundararajan et al. 2017, section 3."""
    plain = torch.zeros_like(batch)
    shares = integrated(lambda x: score(net(x)), batch, plain, steps=128)
    with torch.no_grad():
        wanted = score(net(batch)) - score(net(plain))
    torch.testing.assert_close(shares.sum(dim=(1, 2, 3)), wanted, rtol=0.01, atol=0.01 * float(wanted.abs().max()))


def captum_attr():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("captum.attr", reason="captum is not installed")


def test_integrated_gradients_are_those_of_captum(net, batch) -> None:
    attr = captum_attr()
    ours = integrated(lambda x: score(net(x)), batch, torch.zeros_like(batch), steps=16)
    theirs = attr.IntegratedGradients(lambda x: score(net(x))).attribute(batch, n_steps=16, method="gausslegendre")
    torch.testing.assert_close(ours, theirs.float(), rtol=1e-3, atol=1e-5)


def test_grad_cam_is_that_of_captum(net, batch) -> None:
    attr = captum_attr()
    place = feature_map(net, batch[:1])
    assert place is not None
    assert place.cells == (8, 8)
    theirs = attr.LayerGradCam(lambda x: score(net(x)), place.module).attribute(batch.clone(), relu_attributions=True)
    wide = torch.nn.functional.interpolate(theirs, (32, 32), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(gradcam(net, batch, score), wide.detach(), rtol=1e-3, atol=1e-6)


def test_occlusion_is_that_of_captum(net) -> None:
    attr = captum_attr()
    batch = torch.randn(2, 3, 36, 36, generator=torch.Generator().manual_seed(0))
    found = attr.Occlusion(lambda x: score(net(x))).attribute(batch, (3, 6, 6), strides=(3, 3, 3), baselines=0)
    torch.testing.assert_close(occlusion(net, batch, score), found.mean(dim=1).relu(), rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> tuple[beholder.Bundle, np.ndarray, np.ndarray]:
    """A bundle that tells squares from stripes in noise, its pictures uint8 (N, 3, 24, 24), and their targets int (N,)."""
    rng = np.random.default_rng(0)
    images = rng.integers(60, 196, (240, 24, 24, 3)).astype(np.uint8)
    targets = np.arange(240) % 2
    for image, kind in zip(images, targets, strict=True):
        top, left = rng.integers(0, 16, 2)
        shape = np.ones((8, 8), bool) if kind else np.abs(np.subtract.outer(np.arange(8), np.arange(8))) < 2
        image[top : top + 8, left : left + 8][shape] = (240, 240, 30)
    parts = beholder.split(beholder.scan((images, targets)))
    bundle = beholder.train(parts, net="fastnet", width=0.25, epochs=12, batch=16, mirror=False, augment="none")
    return bundle, np.ascontiguousarray(images[:48].transpose(0, 3, 1, 2)), targets[:48]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradcam", "gradients", "occlusion"])
def test_random_weights_give_another_map(marked, method: str) -> None:
    """Adebayo et al., "Sanity checks for saliency maps", 2018: the weights of every layer are shuffled."""
    bundle, images, targets = marked
    images, targets = images[:16], targets[:16]
    before = maps(bundle, images, classes=targets, method=method)
    strange = copy.deepcopy(bundle.net)
    layers = [module for module in strange.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in reversed(layers):
            flat = layer.weight.detach().flatten()
            layer.weight.data = flat[torch.randperm(len(flat))].view_as(layer.weight)
    after = maps(beholder.Bundle(bundle.config, strange, bundle.recipe), images, classes=targets, method=method)
    assert np.mean([ranks_agree(a, b) for a, b in zip(before, after, strict=True)]) < 0.35
    assert ranks_agree(before[0], before[0]) == pytest.approx(1)


def ranks_agree(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two maps; 0 where one is the same everywhere."""
    rank = [np.unique(x, return_inverse=True)[1].ravel().astype(float) for x in (a, b)]
    if min(r.std() for r in rank) == 0:
        return 0.0
    return float(np.corrcoef(*rank)[0, 1])


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("method", ["gradcam", "gradients", "occlusion"])
def test_on_real_pictures_maps_beat_random_ones(photos, method: str) -> None:
    """Deletion and insertion, paired with smooth random maps: better by more than two standard errors, both."""
    bundle, images = photos
    named = bundle.probabilities(images).argmax(axis=1)
    gone, shown = areas(bundle, images, maps(bundle, images, method=method), named, steps=6)
    chance_gone, chance_shown = areas(bundle, images, blobs(len(images), images.shape[2:]), named, steps=6)
    for better in (chance_gone - gone, shown - chance_shown):
        assert better.mean() > 2 * better.std(ddof=1) / np.sqrt(len(better))


def blobs(n: int, size: tuple[int, int]) -> np.ndarray:
    """Smooth random maps, (n, H, W): 7×7 cells of noise, enlarged, so that they cover in patches as heat does."""
    noise = torch.rand(n, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(noise, size, mode="bilinear", align_corners=False)[:, 0].numpy()


@pytest.fixture(scope="module")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[beholder.Bundle, np.ndarray]:
    """`fastnet` trained for six epochs on 8,000 pictures of CIFAR-10; 100 of its test pictures, uint8 (100, 3, 32, 32)."""
    pictures = beholder.scan(shared / "data" / "cifar10.zip")
    rows = np.sort(np.random.default_rng(0).permutation(len(pictures))[:8000])
    parts = beholder.split(pictures.take(rows))
    bundle = beholder.train(parts, net="fastnet", width=0.5, epochs=6)
    rows = np.random.default_rng(0).permutation(len(parts.test))[:100]
    return bundle, np.stack([bundle.pixels(parts.test.store.read(parts.test.keys[i])) for i in rows])
