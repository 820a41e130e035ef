"""The first layer: strides, paddings, groups, dilations, scaled weights, large inputs; and what is no convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.explanation.look.pages import CLOSE, close, convolved
from timm.layers import ScaledStdConv2d
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from beholder.explanation.look import first as module
from beholder.explanation.look.blob import Blob
from beholder.explanation.look.first import Convolution, convolution, dense, facts, middle
from beholder.explanation.look.trace import First

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided": {"stride": (2, 3), "padding": (1, 2)},
    "grouped": {"groups": 3, "padding": 1},
    "dilated": {"dilation": (2, 1), "padding": "same"},
    "reflected": {"padding": 2, "padding_mode": "reflect"},
    "circular": {"padding": (2, 1), "padding_mode": "circular", "stride": 2},
    "no bias": {"bias": False},
}


def ran(layer: nn.Module, x: Tensor) -> First:
    with torch.inference_mode():
        return First("stem", layer, x, layer(x))


def layer(kind: type[nn.Conv2d] = nn.Conv2d, channels: int = 3, **fields: Any) -> nn.Conv2d:
    torch.manual_seed(0)
    return kind(channels, 6, 3, **fields)


def by_numpy(conv: Convolution) -> np.ndarray:
    how = {"stride": conv.stride, "pads": conv.pads, "dilation": conv.dilation, "groups": conv.groups}
    return convolved(conv.given.astype(np.float64), conv.weight.astype(np.float64), conv.bias.astype(np.float64), **how)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [3, 9])
def test_every_value_follows_from_the_numbers(kind: str, channels: int) -> None:
    first = ran(layer(channels=channels, **KINDS[kind]), torch.randn(1, channels, 13, 11))
    found = convolution(first)
    assert found is not None
    assert np.abs(by_numpy(found) - first.gave[0].numpy()).max() < 2e-6
    assert found.error < CLOSE
    assert ("padded" in found.note) == (kind in ("reflected", "circular"))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("side", [12, 13])
def test_padding_as_tensorflow_does_it(stride: int, side: int) -> None:
    first = ran(layer(Conv2dSame, stride=stride), torch.randn(1, 3, side, side))
    found = convolution(first)
    assert found is not None
    assert np.abs(by_numpy(found) - first.gave[0].numpy()).max() < 2e-6
    assert sum(found.pads[:2]) == max((-(-side // stride) - 1) * stride + 3 - side, 0)


@pytest.mark.parametrize("fields", [{}, {"stride": 2, "padding": 1}, {"groups": 3}])
def test_weights_that_a_layer_rescales_are_those_that_it_multiplies_by(fields: dict[str, Any]) -> None:
    scaled = layer(ScaledStdConv2d, **fields)
    first = ran(scaled, torch.randn(1, 3, 12, 12))
    found = convolution(first)
    assert found is not None
    assert "rescales" in found.note
    stored = scaled.weight.detach().numpy()
    assert not np.allclose(found.weight, stored, atol=1e-3)
    wide = stored.reshape(6, -1).astype(np.float64)
    standard = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + scaled.eps)
    scale = scaled.gain.detach().numpy().reshape(6, 1) * scaled.scale
    assert np.abs(found.weight.reshape(6, -1) - standard * scale).max() < 1e-5
    assert np.abs(by_numpy(found) - first.gave[0].numpy()).max() < 1e-4


class Squared(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input * input)


def test_what_is_no_convolution_is_not_taken_for_one() -> None:
    first = ran(layer(Squared), torch.randn(1, 3, 9, 9))
    assert convolution(first) is None
    told = facts(first, first.given, Blob())
    assert told is not None
    assert told["kind"] == "none"
    assert "something else" in told["why"]
    assert facts(None, first.given, Blob()) is None


def test_pixels_are_not_written_twice_and_other_inputs_are() -> None:
    x = torch.randn(1, 3, 9, 9)
    first = ran(layer(padding=1), x)
    same, other = facts(first, x, Blob()), facts(first, x * 2, Blob())
    assert same is not None
    assert other is not None
    assert same["pixels"]
    assert same["input"] is None
    assert other["input"]["shape"] == [3, 9, 9]
    assert same["channels"] == list(range(6))
    assert same["span"] == [0, 9, 0, 9]
    n, y, x0 = same["start"]
    assert 0 <= n < 6
    assert 0 <= y < 9 > x0


def test_of_an_input_too_large_the_middle_is_kept_and_only_places_that_it_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INPUT", 3 * 10 * 10)
    assert middle((3, 20, 20), 1, 300) == (5, 5, 10, 10)
    assert middle((3, 10, 10), 1, 300) == (0, 0, 10, 10)
    x = torch.randn(1, 3, 20, 20)
    told = facts(ran(layer(padding=1, stride=2), x), x, Blob())
    assert told is not None
    assert told["window"] == [5, 5, 10, 10]
    low, high, *_ = told["span"]
    for y in range(10):
        inside = 2 * y - 1 >= 5 and 2 * y + 2 <= 15
        assert inside == (low <= y < high)


def test_of_too_many_weights_those_of_channels_that_vary_most_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1, 3, 9, 9)
    wide = layer(padding=1)
    wide.weight.data[2] *= 100
    wide.weight.data[4] *= 50
    first, blob = ran(wide, x), Blob()
    blob.add(np.zeros(244, np.uint8))  # the pixels
    monkeypatch.setattr(module, "WHOLE", 244 + 2 * 27 * 4)
    told = facts(first, x, blob)
    assert told is not None
    assert told["channels"] == [2, 4]
    assert told["weight"]["shape"] == [2, 3, 3, 3]
    assert told["of"] == 6


def test_a_dense_layer_of_pixels_and_one_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    x, linear = torch.randn(1, 3, 4, 5), nn.Linear(60, 7)
    told = dense(ran(linear, x.flatten(1)), x, Blob())
    assert (told["kind"], told["pixels"], told["size"]) == ("dense", True, [3, 4, 5])
    pieces, per = torch.randn(1, 4, 60), nn.Linear(60, 7)
    other = dense(ran(per, pieces), x, Blob())
    assert (other["pixels"], other["size"]) == (False, [4, 60])
    assert other["error"] < CLOSE
    monkeypatch.setattr(module, "INPUT", 50)
    assert "too many for a page" in dense(ran(linear, x.flatten(1)), x, Blob())["why"]


def test_close_is_no_tautology() -> None:
    assert not close([1.0, 2.0], [1.0, 2.00001])
