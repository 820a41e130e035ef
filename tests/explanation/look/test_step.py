"""One step of backpropagation: loss, slopes, changes and the loss after it are those of torch's autograd in float64."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.explanation.look.pages import bundle, close, forward, picture, weights
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.explanation.look import exact
from beholder.explanation.look.step import ALPHA, RATES, facts, layers_of, shortened
from beholder.measure.families import BERNOULLI, CATEGORICAL, SEQUENTIAL, Family
from beholder.nets.build import build
from beholder.nets.plain import Stack
from beholder.nets.spec import NetSpec

FAMILIES = {"single": CATEGORICAL, "multi": BERNOULLI, "ordinal": SEQUENTIAL}


def loss_of(family: Family, z: Tensor, truth: Tensor) -> Tensor:
    if family is CATEGORICAL:
        return -(truth * F.log_softmax(z, 0)).sum()
    if family is BERNOULLI:
        return F.binary_cross_entropy_with_logits(z, truth, reduction="sum")
    k = int(truth.argmax())
    asked = torch.arange(len(z)) <= k
    return F.binary_cross_entropy_with_logits(z[asked], (torch.arange(len(z)) < k).double()[asked], reduction="sum")


@pytest.mark.parametrize("net", ["logistic", "mlp", "cnn"])
@pytest.mark.parametrize("task", FAMILIES)
def test_one_step_is_that_of_autograd(net: str, task: str) -> None:
    made, family = bundle(net, task=task, size=9), FAMILIES[task]
    x = exact(made, made.pixels(picture()))
    truth = np.array([1.0, 0, 1, 0]) if task == "multi" else np.array([0, 0, 1.0, 0])
    found = facts(made.net, x, truth, family)
    assert found is not None
    twin = copy.deepcopy(made.net).double()
    logits = twin(torch.from_numpy(x)[None])[0]
    loss = loss_of(family, logits, torch.from_numpy(truth))
    [delta] = torch.autograd.grad(loss, logits, retain_graph=True)
    loss.backward()
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-12)
    assert np.allclose(found["delta"], delta.numpy(), atol=1e-14)
    assert np.allclose(found["logits"], logits.detach().numpy(), rtol=1e-12)
    for told in found["layers"]:
        changes(told, twin.get_submodule(told["name"]))
    for alpha, rate in zip(RATES, found["rates"], strict=True):
        after = copy.deepcopy(twin)
        with torch.no_grad():
            for weight, old in zip(after.parameters(), twin.parameters(), strict=True):
                weight -= alpha * old.grad  # type: ignore[operator]
            expected = loss_of(family, after(torch.from_numpy(x)[None])[0], torch.from_numpy(truth)).item()
        assert rate["after"] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found["after"] == next(rate["after"] for rate in found["rates"] if rate["alpha"] == ALPHA) < found["loss"]


def changes(told: dict, module: nn.Module) -> None:
    """What the step says of a layer's weights is −α times autograd's slope."""
    slope, bias = module.weight.grad.numpy(), module.bias.grad.numpy()  # type: ignore[union-attr, operator]
    if told["kind"] == "conv":
        assert np.allclose(told["dw"], -ALPHA * slope[told["unit"]], atol=1e-14)
        assert np.abs(slope).sum(axis=(1, 2, 3)).argmax() == told["unit"]
        assert told["db"] == pytest.approx(-ALPHA * bias[told["unit"]], abs=1e-14)
        return
    assert len(told["cells"]) == 12
    for cell in told["cells"]:
        assert cell["dw"] == pytest.approx(-ALPHA * slope[cell["unit"], cell["input"]], abs=1e-14)
        assert cell["new"] == pytest.approx(cell["w"] - ALPHA * cell["delta"] * cell["x"], abs=1e-15)
    assert [one["delta"] for one in told["biases"]] == pytest.approx(bias[[one["unit"] for one in told["biases"]]].tolist())
    assert max(abs(cell["dw"]) for cell in told["cells"]) == pytest.approx(ALPHA * np.abs(slope).max())


@pytest.mark.parametrize("net", ["logistic", "mlp", "cnn"])
def test_the_loss_is_that_of_the_file_of_weights(net: str, tmp_path) -> None:
    made = bundle(net)
    x = exact(made, made.pixels(picture()))
    found = facts(made.net, x, np.eye(4)[1], CATEGORICAL)
    assert found is not None
    z = forward(net, x, weights(made, tmp_path))
    assert close(found["logits"], z)
    assert found["loss"] == pytest.approx(np.log(np.exp(z).sum()) - z[1], rel=1e-9)
    p = np.exp(z) / np.exp(z).sum()
    assert close(found["delta"], p - np.eye(4)[1])


def test_of_many_logits_those_with_the_largest_slopes_are_shown() -> None:
    delta = np.linspace(-0.5, 1, 1000)
    found = shortened({"logits": delta * 2, "delta": delta, "loss": 3.0}, np.eye(1000)[7])
    assert len(found["rows"]) == 300
    assert found["rows"][0] == {"at": 999, "logit": 2.0, "delta": 1.0, "y": 0.0}
    assert (found["count"], found["loss"]) == (1000, 3.0)
    assert "delta" not in found
    assert shortened({"logits": [1.0], "delta": [0.5]}, np.eye(2)[0])["rows"][0]["y"] is None


def test_equal_values_of_a_pooling_window_learn_as_torch_has_them() -> None:
    made = bundle("cnn", size=8)
    found = facts(made.net, np.zeros((3, 8, 8)), np.eye(4)[0], CATEGORICAL)  # all values of a map are its bias
    twin = copy.deepcopy(made.net).double()
    F.cross_entropy(twin(torch.zeros(1, 3, 8, 8).double()), torch.tensor([0])).backward()
    assert found is not None
    kernel = found["layers"][-1]
    assert kernel["db"] == pytest.approx(-ALPHA * twin.layers[0].bias.grad[kernel["unit"]].item())


def test_nets_that_are_not_plain_have_no_step() -> None:
    spec = NetSpec("resnet", 3, 16, 16, 4, 0.25)
    assert layers_of(build(spec)) is None
    assert facts(build(spec), np.zeros((3, 16, 16)), np.eye(4)[0], CATEGORICAL) is None
    assert layers_of(Stack([nn.Flatten(), nn.Tanh()], nn.Linear(4, 2))) is None
    assert layers_of(Stack([nn.Conv2d(3, 2, 3, padding=1), nn.Flatten()], nn.Linear(4, 2))) is None
