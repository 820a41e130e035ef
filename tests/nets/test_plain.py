"""logistic, mlp, cnn."""

import pytest
import torch
from torch import nn

from beholder.base.errors import UsageError
from beholder.nets.plain import cnn, logistic, mlp


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_parameters_are_those_of_the_textbook() -> None:
    assert count(logistic(channels=1, size=(28, 28), classes=10)) == 7850
    # Keras: Conv2D(32, 3) 320 + Dense(10) on 13*13*32 = 54,090
    assert count(cnn(channels=1, size=(28, 28), classes=10)) == 320 + 54_090
    assert count(mlp(channels=1, size=(28, 28), classes=10)) == 784 * 512 + 512 + 512 * 512 + 512 + 5130


def test_cnn_is_conv_relu_pool_flatten_dense() -> None:
    net = cnn(channels=3, size=(32, 32), classes=10)
    conv = net.layers[0]
    assert isinstance(conv, nn.Conv2d)
    assert (conv.out_channels, conv.kernel_size, conv.padding, conv.stride) == (32, (3, 3), (0, 0), (1, 1))
    spelled = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), net.head)
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ours, theirs = net(images), spelled(images)
    assert torch.equal(ours, theirs)
    slopes = [torch.autograd.grad(out.square().sum(), list(net.parameters())) for out in (ours, theirs)]
    assert all(torch.equal(a, b) for a, b in zip(*slopes, strict=True))


def test_width_multiplies_the_hidden_channels() -> None:
    net = mlp(channels=1, size=(8, 8), classes=3, width=0.25)
    assert [m.out_features for m in net.modules() if isinstance(m, nn.Linear)] == [128, 128, 3]


def test_cnn_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(UsageError) as caught:
        cnn(channels=1, size=(3, 9), classes=2)
    assert caught.value.code == "too-small"
    assert cnn(channels=1, size=(4, 4), classes=2).head is not None
