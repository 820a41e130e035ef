"""Nets of Keras: their own layers are shown, and the first of them is worked out from its kernel."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from tests.explanation.look.pages import Page, bundle, close, convolved, picture

from beholder.bundle.bundle import Bundle
from beholder.explanation.look import keras as module
from beholder.explanation.look import look
from beholder.machine.keras import keras as library
from beholder.nets.keras import FromKeras, wrapped

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")

C, SIZE, K = 3, 9, 4


def net(body: Callable[[Any], list[Any]], *, last: bool = True) -> FromKeras:
    """Return a net of Keras from its layers, with random weights and statistics."""
    k = library()
    k.utils.set_random_seed(3)
    model = k.Sequential([k.Input((SIZE, SIZE, C) if last else (C, SIZE, SIZE)), *body(k.layers)])
    for layer in model.layers:
        if isinstance(layer, k.layers.BatchNormalization):
            for variable in layer.variables:
                variable.assign(np.linspace(0.5, 1.5, variable.shape[0]))
    return wrapped(model, "it", channels=C, size=(SIZE, SIZE), classes=K)


def stored(made: Bundle, name: str) -> list[np.ndarray]:
    """Return the variables of a layer of the user's model, float64."""
    layer = made.net.held.model.get_layer(name)  # type: ignore[union-attr, operator]
    return [variable.value.detach().numpy().astype(np.float64) for variable in layer.variables]


def textbook(layers: Any) -> list[Any]:
    return [
        layers.Conv2D(5, 3, activation="relu", padding="same", strides=2, name="see"),
        layers.BatchNormalization(name="norm"),
        layers.MaxPooling2D(name="pool"),
        layers.Flatten(name="flat"),
        layers.Dense(6, activation="gelu", name="think"),
        layers.Dense(K, activation="softmax", name="say"),
    ]


def test_its_layers_are_shown_with_maps_of_their_channels() -> None:
    made = bundle(net(textbook), size=SIZE)
    page = Page(look(made, picture()).html)
    rows = page.facts["layers"]
    said = [(row["name"], row["kind"], row["parameters"]) for row in rows]
    assert said == [
        ("see", "Conv2D", 140),
        ("norm", "BatchNormalization", 10),
        ("pool", "MaxPooling2D", 0),
        ("flat", "Flatten", 0),
        ("think", "Dense", 126),
        ("say", "Linear", 28),
    ]
    assert rows[0]["about"] == "5 channels, 3×3, padding same, stride 2×2, then relu"
    assert rows[0]["words"].startswith("Each map is made of all maps before it")
    kernel, bias = stored(made, "see")
    wanted = np.maximum(convolved(page.pixels(), kernel.transpose(3, 2, 0, 1), bias, stride=(2, 2), pads=(1, 1, 1, 1)), 0)
    maps = page.array(rows[0]["maps"]) * (rows[0]["peak"] / 127)
    assert maps.shape == (5, 5, 5)
    assert np.abs(maps - wanted[rows[0]["channels"]]).max() <= rows[0]["peak"] / 254 + 1e-6


def test_the_first_convolution_is_that_of_its_kernel_before_its_activation() -> None:
    made = bundle(net(textbook), size=SIZE)
    page = Page(look(made, picture()).html)
    told = page.facts["first"]
    kernel, bias = stored(made, "see")
    assert (told["kind"], told["name"], told["pixels"], told["pads"]) == ("conv", "see", True, [1, 1, 1, 1])
    assert close(page.array(told["weight"]), kernel.transpose(3, 2, 0, 1))
    assert close(page.array(told["bias"]), bias)
    assert told["error"] < 5e-6
    assert told["note"] == "The layer of Keras applies its activation, relu, to these values."


@pytest.mark.parametrize("last", [True, False])
def test_weights_are_those_of_the_net_not_of_the_model_that_it_was_made_of(last: bool) -> None:
    how = "channels_last" if last else "channels_first"

    def body(layers: Any) -> list[Any]:
        return [
            layers.Conv2D(6, (3, 2), groups=3, dilation_rate=(2, 1), use_bias=False, data_format=how),
            layers.GlobalAveragePooling2D(data_format=how),
            layers.Dense(K),
        ]

    made = bundle(net(body, last=last), size=SIZE)
    kernel = next(parameter for parameter in made.net.parameters() if parameter.ndim == 4)
    kernel.data.mul_(-2)
    page = Page(look(made, picture()).html)
    told = page.facts["first"]
    assert close(page.array(told["weight"]), kernel.detach().numpy())
    assert (told["groups"], told["dilation"], told["error"] < 5e-6) == (3, [2, 1], True)
    assert page.facts["layers"][0]["shape"] == ([5, 8, 6] if last else [6, 5, 8])
    assert page.facts["layers"][0]["total"] == 6


def test_a_model_of_the_user_s_own_class_and_layers_inside_layers_are_walked_too() -> None:
    k = library()

    class Block(k.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name="block")
            self.see = k.layers.Conv2D(5, 3, name="see")

        def call(self, x: Any) -> Any:
            return k.ops.relu(self.see(x))

    class Mine(k.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.block, self.flat, self.say = Block(), k.layers.Flatten(name="flat"), k.layers.Dense(K, name="say")

        def call(self, x: Any) -> Any:
            return self.say(self.flat(self.block(x)))

    made = bundle(wrapped(Mine(), "it", channels=C, size=(SIZE, SIZE), classes=K), size=SIZE)
    page = Page(look(made, picture()).html)
    assert [row["name"] for row in page.facts["layers"]] == ["block.see", "block", "flat", "say"]
    assert (page.facts["first"]["kind"], page.facts["first"]["name"]) == ("conv", "block.see")
    assert page.facts["layers"][1]["low"] == 0


def test_a_dense_first_layer_and_one_that_is_no_plain_convolution() -> None:
    flat = Page(
        look(
            bundle(net(lambda layers: [layers.Flatten(), layers.Dense(7, "tanh"), layers.Dense(K)]), size=SIZE), picture()
        ).html
    )
    told = flat.facts["first"]
    assert (told["kind"], told["of"], "tanh" in told["note"]) == ("dense", 7, True)
    values = flat.array(told["weight"]).astype(np.float64) @ flat.array(told["input"])[0] + flat.array(told["bias"])
    row = flat.facts["layers"][1]
    assert np.tanh(values).max() == pytest.approx(row["high"], rel=1e-5)
    deep = net(lambda layers: [layers.DepthwiseConv2D(3), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(K)])
    told = Page(look(bundle(deep, size=SIZE), picture()).html).facts["first"]
    assert told["kind"] == "none"
    assert told["name"].startswith("depthwise")


def test_sizes_are_said_in_words() -> None:
    layers = library().layers
    assert module.about(layers.MaxPooling2D()) == "2×2, stride 2×2"
    assert module.about(layers.Dense(3, activation="relu")) == "3 units, then relu"
    assert module.about(layers.Activation("gelu")) == "gelu"
    assert module.about(layers.Flatten()) == ""
