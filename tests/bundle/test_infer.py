from __future__ import annotations

import numpy as np
import torch
from torch import nn

from beholder.bundle.infer import activated, outputs
from beholder.data.loader import normalised


def test_normalising_is_the_textbook_formula() -> None:
    images = torch.randint(0, 256, (3, 3, 5, 4), dtype=torch.uint8)
    mean, std = (0.2, 0.5, 0.7), (0.1, 0.2, 0.3)
    expected = (images.numpy() / 255 - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    assert np.allclose(normalised(images, mean, std).numpy(), expected, atol=1e-5)


def test_the_mirror_average_is_invariant_under_mirroring() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(3 * 36, 4)).eval()
    images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    config = {"mean": [0.5], "std": [0.25], "mirror": True}
    there, back = outputs(net, images, config), outputs(net, images.flip(-1), config)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(there, back, strict=True))
    assert not torch.allclose(outputs(net, images, config | {"mirror": False})[0], there[0], atol=1e-4)


def test_probabilities_are_softmax_or_one_sigmoid_per_class() -> None:
    values = torch.tensor([[0.0, 1.0, -1.0]])
    assert torch.allclose(activated(values, multi=False).sum(1), torch.ones(1))
    assert torch.allclose(activated(values, multi=True), 1 / (1 + torch.exp(-values)))


def test_inference_leaves_no_gradient_and_no_batch_dependence() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    config = {"mean": [0.5], "std": [0.25], "mirror": True}
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    together = outputs(net, images, config)[0]
    alone = torch.cat([outputs(net, image[None], config)[0] for image in images])
    assert torch.allclose(together, alone, atol=1e-6)
    assert not together.requires_grad
