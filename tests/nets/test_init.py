"""Initial weights, against what their papers promise."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from beholder.base.errors import UsageError
from beholder.base.fields import NetRecipe
from beholder.nets.build import NETS, build, create
from beholder.nets.features import Net
from beholder.nets.init import SCHEMES, Scale, initialise, layers, scales, warnings_of, whiten
from beholder.nets.spec import NetSpec


class Chain(Net):
    """Linear layers with an activation between them."""

    def __init__(self, wide: list[int], activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.layers = nn.Sequential(*[m for a, b in pairwise(wide) for m in (nn.Linear(a, b), activation())])
        self.head = nn.Linear(wide[-1], 10)

    def body(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(images.flatten(1))
        return out


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(n: int = 64, channels: int = 3, size: int = 12) -> torch.Tensor:
    """Smooth pictures, as photos are: neighbouring pixels and channels are alike."""
    rough = noise(n, channels, size, size) + noise(n, 1, size, size, seed=1)
    return nn.functional.avg_pool2d(rough, 3, stride=1, padding=1) + 0.5


def net_of(name: str, width: float = 0.25) -> nn.Module:
    return build(NetSpec(name, 3, 12, 12, 4, width=width), seed=1)


def test_kaiming_keeps_the_second_moment_through_relu_layers() -> None:
    """He et al. 2015, eq. 10: Var[y] of every pre-activation stays 2 for unit inputs to ReLU, E[relu(y)²] stays 1."""
    net = Chain([1000] * 5)  # over seeds the figure is 0.99 with a spread of 0.07; of 7 layers of 400 units it would be 0.27
    initialise(net, "kaiming", seed=0)
    out = net.body(noise(512, 1000, seed=9)).detach()  # not the weights' seed: the two would be the same numbers
    assert float(out.square().mean()) == pytest.approx(1.0, abs=0.25)
    assert all(float(layer.bias.detach().abs().max()) == 0 for layer in layers(net) if layer.bias is not None)


def test_kaiming_counts_the_fan_in_of_convolutions() -> None:
    conv = nn.Conv2d(64, 256, 3)
    initialise(conv, "kaiming", seed=0)
    assert float(conv.weight.detach().std()) == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)


def test_xavier_is_keras_default() -> None:
    """Glorot uniform: bounds √(6 / (fan_in + fan_out)), receptive field counted in both; bias zero."""
    net = build(NetSpec("cnn", 3, 16, 16, 10), seed=0)
    initialise(net, "xavier", seed=0)
    conv, dense = layers(net)
    for layer, fans in ((conv, 3 * 9 + 32 * 9), (dense, dense.weight.shape[1] + 10)):
        limit = math.sqrt(6 / fans)
        assert float(layer.weight.detach().abs().max()) <= limit
        assert float(layer.weight.detach().std()) == pytest.approx(limit / math.sqrt(3), rel=0.05)
        assert layer.bias is not None
        assert float(layer.bias.detach().abs().max()) == 0


def test_orthogonal_is_orthogonal() -> None:
    net = Chain([40, 40, 20])
    initialise(net, "orthogonal", seed=0)
    first, second, last = (layer.weight for layer in layers(net))
    torch.testing.assert_close(first @ first.T, 2 * torch.eye(40), rtol=0, atol=1e-4)
    torch.testing.assert_close(second @ second.T, 2 * torch.eye(20), rtol=0, atol=1e-4)
    torch.testing.assert_close(last @ last.T, torch.eye(10), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet"])
def test_lsuv_gives_every_layer_unit_variance(name: str) -> None:
    net, sample = net_of(name), correlated()
    before = {key: value.clone() for key, value in net.named_buffers()}
    initialise(net, "lsuv", sample=sample, seed=0)
    assert all(torch.equal(value, before[key]) for key, value in net.named_buffers())
    deviations: list[float] = []
    for layer in layers(net):
        layer.register_forward_hook(lambda _, __, out: deviations.append(float(out.detach().std())))
    net.train()(sample)
    assert deviations == pytest.approx([1.0] * len(deviations), abs=1e-3)
    assert len(deviations) == len(layers(net))


@pytest.mark.parametrize("channels", [1, 3])
def test_whitened_patches_have_identity_covariance_in_both_signs(channels: int) -> None:
    conv, sample = nn.Conv2d(channels, 8 * channels, 2), 3 * noise(64, channels, 12, 12) + 1
    whiten_in_place(conv, sample)
    out = conv(sample).detach().permute(0, 2, 3, 1).reshape(-1, 8 * channels).double()
    half = 4 * channels
    torch.testing.assert_close(out[:, :half], -out[:, half:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.cov(out[:, :half].T, correction=0), torch.eye(half).double(), rtol=0, atol=2e-3)
    torch.testing.assert_close(out.mean(0), torch.zeros(2 * half).double(), rtol=0, atol=1e-4)


def whiten_in_place(conv: nn.Conv2d, sample: torch.Tensor) -> None:
    with torch.no_grad():
        whiten(conv, sample)


def test_whitening_freezes_the_first_layer_and_leaves_the_rest() -> None:
    net = net_of("fastnet")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    initialise(net, "whitening", sample=correlated())
    changed = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"whiten.weight", "whiten.bias"}
    assert not net.get_parameter("whiten.weight").requires_grad
    assert net.get_parameter("whiten.bias").requires_grad


def test_another_scheme_unfreezes_it() -> None:
    net = net_of("fastnet")
    initialise(net, "whitening", sample=correlated())
    initialise(net, "kaiming")
    assert net.get_parameter("whiten.weight").requires_grad


def test_directions_without_signal_are_not_blown_up() -> None:
    conv, flat = nn.Conv2d(3, 24, 2), torch.ones(8, 3, 6, 6)
    whiten_in_place(conv, flat)
    assert float(conv.weight.detach().abs().max()) <= 1 / math.sqrt(5e-4) + 1e-3
    assert float(conv(flat).detach().abs().max()) < 1e-3


def test_zero_residual_makes_every_branch_silent() -> None:
    net = net_of("resnet")
    initialise(net, "zero-residual")
    scale = {key: float(value.abs().max()) for key, value in net.state_dict().items() if "norm2.weight" in key}
    assert len(scale) == 6
    assert set(scale.values()) == {0.0}
    with pytest.raises(UsageError) as caught:
        initialise(net_of("cnn"), "zero-residual")
    assert caught.value.code == "bad-init"


@pytest.mark.parametrize("name", NETS.names())
def test_auto_is_sound_for_every_net(name: str) -> None:
    sample = correlated()
    made = create(NetRecipe(name=name, width=0.25), channels=3, size=(12, 12), classes=4, sample=sample)
    found = scales(made.net, sample, lambda logits: nn.functional.cross_entropy(logits, torch.arange(64) % 4))
    assert warnings_of(found) == []
    assert len(found) >= len(layers(made.net))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_is_a_function_of_the_seed(scheme: str) -> None:
    def made(seed: int) -> list[torch.Tensor]:
        net = net_of("resnet")
        initialise(net, scheme, sample=correlated(), seed=seed)
        return list(net.state_dict().values())

    state = torch.random.get_rng_state()
    assert all(torch.equal(a, b) for a, b in zip(made(3), made(3), strict=True))
    if scheme not in ("default", "whitening"):
        assert any(not torch.equal(a, b) for a, b in zip(made(3), made(4), strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_unknown_scheme_and_missing_sample() -> None:
    with pytest.raises(UsageError) as caught:
        initialise(net_of("cnn"), "kaimin")
    assert "kaiming" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        initialise(net_of("cnn"), "lsuv")
    assert caught.value.code == "no-sample"
    with pytest.raises(UsageError) as caught:
        initialise(net_of("mlp"), "whitening", sample=correlated())
    assert caught.value.code == "bad-init"


def cross_entropy(logits: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 4)


def test_scales_are_those_of_a_real_step_and_leave_the_net_alone() -> None:
    net, images = net_of("resnet"), correlated()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.eval()
    found = {scale.layer: scale for scale in scales(net, images, cross_entropy)}
    assert not net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert all(not m._forward_hooks for m in net.modules())
    net.train()
    cross_entropy(net(images)).backward()
    for name, scale in found.items():
        grad = net.get_submodule(name).weight.grad
        assert isinstance(grad, torch.Tensor)
        assert scale.gradient == pytest.approx(float(grad.square().mean().sqrt()), rel=1e-4)
    first = next(iter(found.values()))
    stem = nn.functional.conv2d(images, net.get_parameter("stem.weight"), padding=1)
    assert first.layer == "stem"
    assert first.activation == pytest.approx(float(stem.detach().square().mean().sqrt()), rel=1e-4)


@pytest.mark.parametrize(("factor", "activation", "word"), [(0.02, nn.Sigmoid, "vanishing"), (30.0, nn.ReLU, "huge")])
def test_vanishing_and_exploding_are_said(factor: float, activation: type[nn.Module], word: str) -> None:
    net = Chain([100] * 12, activation)
    initialise(net, "kaiming", seed=0)
    with torch.no_grad():
        for layer in layers(net):
            layer.weight.mul_(factor)
    said = warnings_of(scales(net, noise(32, 100), cross_entropy))
    assert any(word in sentence for sentence in said), said


def test_a_dead_start_and_nan_are_said_but_a_zero_branch_is_not() -> None:
    assert warnings_of([Scale("stem", 1.0, 0.1), Scale("branch", 1.0, 0.0), Scale("head", 1.0, 0.1)]) == []
    dead = warnings_of([Scale("stem", 1.0, 0.0), Scale("next", 1.0, 0.0), Scale("head", 1.0, 0.1)])
    assert dead == ["layer stem gets no gradient at all: it cannot learn, and 1 more layers"]
    assert "not finite" in warnings_of([Scale("a", math.nan, 0.1)])[0]
    assert warnings_of([Scale("frozen", 1.0, None)]) == []
