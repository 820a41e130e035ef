"""The speed-run net."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from beholder.base.errors import UsageError
from beholder.nets.fastnet import fastnet


def spatial(size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width that reach the global pooling."""
    net, seen = fastnet(channels=3, size=size, classes=4, width=0.1).eval(), []
    net.blocks.register_forward_hook(lambda _, __, out: seen.append(out.shape[2:]))
    with torch.no_grad():
        net(torch.randn(1, 3, *size))
    return tuple(seen[0])


def test_at_32_pixels_it_has_the_published_shape() -> None:
    net = fastnet(channels=3, size=(32, 32), classes=10)
    assert net.whiten.weight.shape == (24, 3, 2, 2)
    convolutions = [m for m in net.blocks.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64, 64, 256, 256, 256, 256]
    assert spatial((32, 32)) == (3, 3)
    filters = 24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256
    expected = {"whiten": 24 * 12 + 24, "convolutions": 9 * filters, "norms": 2 * (2 * 64 + 4 * 256), "head": 2560}
    assert sum(p.numel() for p in net.parameters()) == sum(expected.values())


@pytest.mark.parametrize(("size", "expected"), [((8, 8), (3, 3)), ((28, 28), (3, 3)), ((64, 64), (4, 4)), ((96, 96), (6, 6))])
def test_small_pictures_do_not_collapse_and_large_ones_stay_cheap(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert spatial(size) == expected


@settings(max_examples=15)
@given(st.integers(4, 140), st.integers(4, 140), st.sampled_from([1, 3]))
def test_any_size_goes(height: int, width: int, channels: int) -> None:
    net = fastnet(channels=channels, size=(height, width), classes=3, width=0.05).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, channels, height, width)).shape == (1, 3)


def test_width_is_one_dial() -> None:
    half = fastnet(channels=1, size=(28, 28), classes=10, width=0.5)
    assert half.whiten.out_channels == 8
    assert half.head is not None
    assert half.head.in_features == 128


def test_too_small() -> None:
    with pytest.raises(UsageError, match="3x9"):
        fastnet(channels=1, size=(3, 9), classes=2)
