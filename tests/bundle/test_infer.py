from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tests.configs import config
from torch import nn

from beholder.bundle.infer import outputs
from beholder.data.loader import normalised
from beholder.tasks.multi import MULTI
from beholder.tasks.single import SINGLE


def test_normalising_is_the_textbook_formula() -> None:
    images = torch.randint(0, 256, (3, 3, 5, 4), dtype=torch.uint8)
    mean, std = (0.2, 0.5, 0.7), (0.1, 0.2, 0.3)
    expected = (images.numpy() / 255 - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    assert np.allclose(normalised(images, mean, std).numpy(), expected, atol=1e-5)


def test_the_mirror_average_is_invariant_under_mirroring() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(3 * 36, 4)).eval()
    images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    settings = config(size=(1, 8, 8), mirror=True)
    there, back = outputs(net, images, settings), outputs(net, images.flip(-1), settings)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(there, back, strict=True))
    assert not torch.allclose(outputs(net, images, replace(settings, mirror=False))[0], there[0], atol=1e-4)


def test_probabilities_are_softmax_or_one_sigmoid_per_class() -> None:
    values = torch.tensor([[0.0, 1.0, -1.0]])
    assert torch.allclose(SINGLE.activation(values).sum(1), torch.ones(1))
    assert torch.allclose(MULTI.activation(values), 1 / (1 + torch.exp(-values)))


def test_inference_leaves_no_gradient_and_no_batch_dependence() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    settings = config(size=(1, 8, 8), mirror=True)
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    together = outputs(net, images, settings)[0]
    alone = torch.cat([outputs(net, image[None], settings)[0] for image in images])
    assert torch.allclose(together, alone, atol=1e-6)
    assert not together.requires_grad
