"""logistic, mlp, cnn."""

import pytest
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
    layers = [m for m in cnn(channels=3, size=(32, 32), classes=10).modules() if not list(m.children())]
    assert [type(m).__name__ for m in layers] == ["Conv2d", "ReLU", "MaxPool2d", "Flatten", "Dropout", "Linear"]
    conv = layers[0]
    assert isinstance(conv, nn.Conv2d)
    assert (conv.out_channels, conv.kernel_size, conv.padding, conv.stride) == (32, (3, 3), (0, 0), (1, 1))


def test_width_multiplies_the_hidden_channels() -> None:
    net = mlp(channels=1, size=(8, 8), classes=3, width=0.25)
    assert [m.out_features for m in net.modules() if isinstance(m, nn.Linear)] == [128, 128, 3]


def test_cnn_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(UsageError) as caught:
        cnn(channels=1, size=(3, 9), classes=2)
    assert caught.value.code == "too-small"
    assert cnn(channels=1, size=(4, 4), classes=2).head is not None
