"""Models of Keras as nets."""

from __future__ import annotations

import copy
import random
import sys
import types
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import beholder
from beholder.base import events
from beholder.base.errors import BundleError, UsageError
from beholder.base.fields import NetRecipe
from beholder.base.files import file_sha256
from beholder.explanation.gradcam import feature_map
from beholder.learn.checkpoint import Due
from beholder.machine.keras import keras as library
from beholder.nets.build import build, create, wants
from beholder.nets.custom import lent
from beholder.nets.features import classify, features, head
from beholder.nets.keras import FromKeras
from beholder.nets.spec import NetSpec
from beholder.runtime import exported
from beholder.runtime.export import export

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")

MODULE = "beholder_test_keras"
C, SIZE, K = 3, (9, 8), 4


def first(channels: int, size: tuple[int, int], classes: int) -> Any:
    """Channels first, a Dense and then an Activation."""
    k = library()
    how = {"data_format": "channels_first"}
    return k.Sequential(
        [
            k.Input((channels, *size)),
            k.layers.Conv2D(5, 3, activation="relu", **how),
            k.layers.GlobalAveragePooling2D(**how),
            k.layers.Dense(classes),
            k.layers.Activation("softmax"),
        ]
    )


def textbook(channels: int, size: tuple[int, int], classes: int, end: Any = "softmax") -> Any:
    k = library()
    return k.Sequential(
        [
            k.Input((*size, channels)),
            k.layers.Conv2D(5, 3, activation="relu"),
            k.layers.BatchNormalization(),
            k.layers.MaxPooling2D(),
            k.layers.Flatten(),
            k.layers.Dropout(0.5, seed=3),
            k.layers.Dense(classes, activation=end),
        ]
    )


def unbuilt(classes: int) -> Any:
    """No Input: its layers are made when it is first called; a Softmax at its end."""
    k = library()
    return k.Sequential([k.layers.Conv2D(5, 3), k.layers.Flatten(), k.layers.Dense(classes), k.layers.Softmax()])


def subclass(classes: int) -> Any:
    k = library()

    class Mine(k.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.see, self.flat = k.layers.Conv2D(5, 3), k.layers.Flatten()
            self.say = k.layers.Dense(classes, activation="softmax")

        def call(self, x: Any) -> Any:
            return self.say(self.flat(self.see(x)))

    return Mine()


def of_two(channels: int, size: tuple[int, int], classes: int) -> Any:
    """A model inside a model, without a bias at the end, for logits."""
    k = library()
    inner = k.Sequential([k.Input((*size, channels)), k.layers.Conv2D(5, 3), k.layers.GlobalAveragePooling2D()])
    images = k.Input((*size, channels))
    return k.Model(images, k.layers.Dense(classes, use_bias=False)(inner(images)))


def sigmoids(channels: int, size: tuple[int, int], classes: int) -> Any:
    return textbook(channels, size, classes, "sigmoid")


FORMS = [first, textbook, unbuilt, subclass, of_two, sigmoids]


def install(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any]) -> str:
    module = types.ModuleType(MODULE)
    module.make = function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)
    return f"keras:{MODULE}:make"


def spec(name: str, classes: int = K) -> NetSpec:
    return NetSpec(name, C, *SIZE, classes)


@pytest.mark.parametrize("form", FORMS)
def test_it_gives_the_logits_of_the_model(monkeypatch: pytest.MonkeyPatch, form: Callable[..., Any]) -> None:
    images = torch.rand(6, C, *SIZE)
    given = images if form is first else images.permute(0, 2, 3, 1)
    said: list[torch.Tensor] = []

    def make(channels: int, size: tuple[int, int], classes: int) -> Any:
        arguments = {"channels": channels, "size": size, "classes": classes}
        model = form(**{name: arguments[name] for name in arguments if name in form.__code__.co_varnames})
        said.append(model(given, training=False).detach())
        return model

    created = create(NetRecipe(name=install(monkeypatch, make)), channels=C, size=SIZE, classes=K)
    net = created.net.eval()
    assert isinstance(net, FromKeras)
    logits = net(images)
    link: Callable[[torch.Tensor], torch.Tensor] = {"sigmoids": torch.sigmoid, "of_two": lambda z: z}.get(
        form.__name__, lambda z: z.softmax(1)
    )
    torch.testing.assert_close(link(logits), said[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(classify(net, features(net, images)), logits)
    assert (head(net) is None) == (form is subclass)
    assert any("was taken off" in note for note in created.notes) == (form is not of_two)
    place = feature_map(net, images[:1])
    assert place is not None
    assert (place.last, place.cells) == (form is not first, (7, 6) if form is not textbook and form is not sigmoids else (3, 3))


def test_a_spec_and_a_seed_say_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    name = install(monkeypatch, textbook)
    random.seed(5)
    before = random.getstate()
    one, two, other = (build(spec(name), trust=True, seed=seed).state_dict() for seed in (0, 0, 1))
    assert random.getstate() == before
    assert list(one) == list(two), "Keras counts its layers through, and names them so"
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["v000_kernel"], other["v000_kernel"])
    assert one["v000_kernel"].shape == (5, C, 3, 3)


def test_training_changes_what_it_should_and_nothing_in_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    net = build(spec(install(monkeypatch, textbook)), trust=True)
    twin, images = copy.deepcopy(net), torch.rand(6, C, *SIZE) + 3
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.train()
    first_time, second = net(images), net(images)
    assert not torch.equal(first_time, second), "dropout draws anew"
    first_time.sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for key, p in net.named_parameters() if "bias" not in key)
    changed = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.partition("_")[2] for key in changed} == {"moving_mean", "moving_variance", "seed_generator_state"}
    assert all(torch.equal(value, before[key]) for key, value in twin.state_dict().items())
    net.eval()
    assert torch.equal(net(images), net(images))
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin.eval()(images), net(images))


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of NumPy, about Keras
def test_the_model_is_given_back_with_the_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    net = build(spec(install(monkeypatch, textbook)), trust=True).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert isinstance(net, FromKeras)
    net.model.save(tmp_path / "net.keras")
    again = library().models.load_model(tmp_path / "net.keras")
    images = torch.rand(4, C, *SIZE)
    torch.testing.assert_close(again(images.permute(0, 2, 3, 1)).detach(), net(images).detach())


def test_what_regularisers_add_is_said_to_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(channels: int, size: tuple[int, int], classes: int) -> Any:
        k = library()
        dense = k.layers.Dense(classes, kernel_regularizer="l2")
        return k.Sequential([k.Input((*size, channels)), k.layers.Flatten(), dense])

    notes = create(NetRecipe(name=install(monkeypatch, make)), channels=C, size=SIZE, classes=K).notes
    assert "weight_decay" in notes[-1]


def test_without_the_prefix_a_model_is_known_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    name = install(monkeypatch, textbook).removeprefix("keras:")
    assert isinstance(build(spec(name), trust=True), FromKeras)
    model, images = textbook(C, SIZE, K), torch.rand(3, C, *SIZE)
    with lent(model, "given:model"):
        net = build(spec("given:model")).eval()
    assert isinstance(net, FromKeras)
    wanted = model(images.permute(0, 2, 3, 1), training=False)
    torch.testing.assert_close(net(images).softmax(1), wanted, msg="the model itself keeps its softmax")


def probabilities(channels: int, size: tuple[int, int], classes: int) -> Any:
    k = library()
    images = k.Input((*size, channels))
    return k.Model(images, k.ops.softmax(k.layers.Dense(classes)(k.layers.Flatten()(images))))


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        (lambda: 3, "bad-net", "returned int, not a keras.Model"),
        (lambda: torch.nn.Linear(3, 3), "bad-net", "not a keras.Model"),
        (lambda classes: textbook(C, SIZE, classes + 1), "bad-net", r"\(2, 5\) for 2 pictures, not \(2, 4\)"),
        (lambda classes: textbook(C, (5, 5), classes), "bad-net", r"pictures are \(None, 9, 8, 3\)"),
        (lambda: unbuilt(0), "net-failed", "raised"),
        (lambda: 1 / 0, "net-failed", "ZeroDivisionError"),
        (probabilities, "bad-net", "no last layer"),
    ],
    ids=["number", "torch", "outputs", "inputs", "no units", "raises", "softmax by itself"],
)
def test_a_bad_model_gets_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any], code: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        build(spec(install(monkeypatch, function)), trust=True)
    assert caught.value.code == code
    assert "softmax" in caught.value.hint


def test_one_output_for_two_classes_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    name = install(monkeypatch, lambda: textbook(C, SIZE, 1, "sigmoid"))
    with pytest.raises(UsageError, match="two classes are two outputs"):
        build(spec(name, classes=2), trust=True)


def test_names_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    name = install(monkeypatch, textbook)
    with pytest.raises(BundleError) as untrusted:
        build(spec(name))
    assert untrusted.value.code == "untrusted-net"
    with pytest.raises(UsageError, match="names no function"):
        build(spec(f"keras:{MODULE}"), trust=True)
    with pytest.raises(UsageError, match="kernel_initializer") as caught:
        raise_hint(NetRecipe(name=name, init="kaiming"))
    assert caught.value.code == "bad-init"


def raise_hint(recipe: NetRecipe) -> None:
    """Ask what a net wants; the hint joins the message."""
    try:
        wants(recipe)
    except UsageError as error:
        raise UsageError(f"{error.message}; {error.hint}", code=error.code, hint=error.hint) from error


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_run_resumes_to_the_bit_and_is_exported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rng, y = np.random.default_rng(0), np.arange(64) % K
    x = np.clip(40 * y[:, None, None, None] + 40 + rng.normal(size=(64, *SIZE, C)) * 12, 0, 255).astype(np.uint8)
    fields: dict[str, Any] = {"net": install(monkeypatch, textbook), "epochs": 3, "batch": 16, "precision": "fp32"}
    fields |= {"flip": "none", "averaging": 0.5}
    monkeypatch.setattr(Due, "__bool__", lambda self: True)
    whole, cut = tmp_path / "whole.beholder", tmp_path / "cut.beholder"

    def kill(event: events.Event) -> None:
        if event.message == "training" and event.fields["done"] == 4:
            raise Killed

    with events.only("warn"):
        parts = beholder.split(beholder.scan((x, y)), seed=0, near=False)
        bundle = beholder.train(parts, out=whole, **fields)
    with events.listen(kill, alone=True), pytest.raises(Killed):
        beholder.train(parts, out=cut, **fields)
    with events.only("warn"):
        beholder.train(parts, out=cut, resume=True, **fields)
        assert file_sha256(cut / "model.safetensors") == file_sha256(whole / "model.safetensors")
        with pytest.raises(BundleError, match="code of its maker"):
            beholder.load(whole)
        loaded = beholder.load(whole, trust=True)
        assert isinstance(loaded, beholder.Bundle)
        export(loaded)
        graph = exported.load(whole)
    images = np.stack([bundle.pixels(picture) for picture in x[:8]])
    np.testing.assert_array_equal(loaded.outputs(images)[0], bundle.outputs(images)[0])
    np.testing.assert_allclose(graph.outputs(images)[0], loaded.outputs(images)[0], atol=1e-4)
    assert beholder.explain(loaded, x[1]).method == "gradcam"
