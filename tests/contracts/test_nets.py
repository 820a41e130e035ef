"""One contract suite over every net in the registry, and over small nets of timm and of a user."""

import dataclasses
import json
import sys
import types

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from beholder.base.fields import NetRecipe
from beholder.nets.build import NETS, build, create
from beholder.nets.features import classify, features, head
from beholder.nets.spec import NetSpec

TIMM = ["timm:test_resnet", "timm:test_vit", "timm:test_convnext"]
OWN = "beholder_contract_net:tiny"
NAMES = [*NETS.names(), *TIMM, OWN]
SIZES = [(8, 8), (9, 13), (28, 28), (32, 20), (64, 64)]
K = 5


@pytest.fixture(autouse=True)
def users_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("beholder_contract_net")

    def tiny(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * size[0] * size[1], classes)
        )

    module.tiny = tiny  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "beholder_contract_net", module)


def spec(name: str, channels: int = 3, size: tuple[int, int] = (32, 32), width: float = 0.25) -> NetSpec:
    return NetSpec(name, channels, *size, K, width=1.0 if name.startswith("timm:") else width)


def images(of: NetSpec, n: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, of.channels, *of.size, generator=torch.Generator().manual_seed(seed))


def net_of(of: NetSpec, seed: int = 0) -> nn.Module:
    return build(of, trust=True, seed=seed)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", [*NETS.names(), OWN])
def test_takes_grey_and_colour_of_any_size(name: str, size: tuple[int, int], channels: int) -> None:
    of = spec(name, channels, size)
    logits = net_of(of)(images(of))
    assert logits.shape == (6, K)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()
    assert logits.std() > 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", TIMM)
def test_timm_takes_grey_and_colour(name: str, channels: int) -> None:
    of = spec(name, channels, (64, 64))
    assert net_of(of)(images(of)).shape == (6, K)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_every_parameter(name: str) -> None:
    of = spec(name)
    if name == "timm:test_resnet":  # its residual branches start at zero by design, which stops the gradient at first
        of = dataclasses.replace(of, args={"zero_init_last": False})
    net = net_of(of).train()
    nn.functional.cross_entropy(net(images(of, 8)), torch.arange(8) % K).backward()
    still = [n for n, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().max() > 0)]
    assert still == []
    frozen = {n.rpartition(".")[0] for n, p in net.named_parameters() if not p.requires_grad}
    assert all(isinstance(net.get_submodule(n), nn.BatchNorm2d) for n in frozen)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_weights_and_nothing_else_is_disturbed(name: str) -> None:
    of = spec(name)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second, other = (net_of(of, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_spec_and_weights_survive_json_and_safetensors_bit_for_bit(name: str) -> None:
    recipe = NetRecipe(name=name, weights="none", width=0.25)
    made = create(recipe, channels=3, size=(32, 32), classes=K, sample=images(spec(name), 16), seed=3)
    back = NetSpec(**json.loads(json.dumps(made.spec.json())))
    assert back == made.spec
    again = net_of(back, seed=99)
    again.load_state_dict(load(save(made.net.state_dict())), strict=True)
    given = images(back)
    with torch.inference_mode():
        assert torch.equal(made.net.eval()(given), again.eval()(given))


@pytest.mark.parametrize("name", NAMES)
def test_features_and_head_agree_with_forward(name: str) -> None:
    of = spec(name)
    net = net_of(of).eval()
    with torch.inference_mode():
        seen = features(net, images(of))
        torch.testing.assert_close(classify(net, seen), net(images(of)), rtol=1e-6, atol=1e-6)
    last = head(net)
    assert last is not None
    assert seen.shape == (6, last.in_features)
    assert last.out_features == K


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_judged_alike_alone_and_in_a_batch(name: str) -> None:
    of = spec(name)
    net, given = net_of(of).eval(), images(of)
    with torch.inference_mode():
        alone = torch.cat([net(given[i : i + 1]) for i in range(len(given))])
        torch.testing.assert_close(alone, net(given), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_bf16_autocast_is_finite_and_near(name: str) -> None:
    of = spec(name)
    net, given = net_of(of).eval(), images(of)
    with torch.inference_mode():
        exact = net(given)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = net(given)
    assert torch.isfinite(rough).all()
    assert (rough.float() - exact).abs().max() < 0.05 * (1 + exact.abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_channels_last_gives_the_same(name: str) -> None:
    of = spec(name)
    net, given = net_of(of).eval(), images(of)
    with torch.inference_mode():
        plain = net(given)
        last = net.to(memory_format=torch.channels_last)(given.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETS.names())
def test_dropout_acts_in_training_only(name: str) -> None:
    of = NetSpec(name, 3, 16, 16, K, width=0.25, dropout=0.5)
    net, given = net_of(of), images(of)
    assert not torch.equal(net.train()(given), net(given))
    assert torch.equal(net.eval()(given), net(given))
