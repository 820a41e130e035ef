"""The one door through which nets are built."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from beholder.base.errors import BundleError, UsageError
from beholder.base.fields import NetRecipe
from beholder.nets.build import build, create, known, wants
from beholder.nets.spec import NetSpec


@pytest.mark.parametrize(
    ("name", "hint"), [("fastent", "fastnet"), ("timm:resnet81", "resnet"), ("timm:mobilnetv2_100", "mobilenetv2_100")]
)
def test_a_wrong_name_gets_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        create(NetRecipe(name=name), channels=3, size=(32, 32), classes=4)
    assert caught.value.code == "unknown-net"
    assert hint in caught.value.hint
    with pytest.raises(UsageError):
        wants(NetRecipe(name=name))


@pytest.mark.parametrize(
    ("name", "full"),
    [("resnet50", "timm:resnet50"), ("ResNet18", "timm:resnet18"), ("mobilenetv2_100.ra_in1k", "timm:mobilenetv2_100.ra_in1k"),
     ("resnet", "resnet"), ("cnn", "cnn"), ("auto", "auto"), ("timm:resnet50", "timm:resnet50"), ("my:net", "my:net")],
)  # fmt: skip
def test_a_bare_name_of_timm_is_found(name: str, full: str) -> None:
    assert known(NetRecipe(name=name, width=2.0)) == NetRecipe(name=full, width=2.0)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("mobilenet_v3_small", "timm has mobilenetv3_small_050"), ("fastnett", "did you mean 'fastnet'"),
     ("resnt50", "'resnet50'"), ("", "known: logistic"), ("qqqqqq", "known: logistic")],
)  # fmt: skip
def test_a_name_that_nobody_knows_gets_the_nearest_of_all(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        known(NetRecipe(name=name))
    assert caught.value.code == "unknown-net"
    assert hint in caught.value.hint


def test_auto_is_not_a_net() -> None:
    with pytest.raises(UsageError) as caught:
        create(NetRecipe(), channels=3, size=(32, 32), classes=4)
    assert caught.value.code == "net-not-chosen"


def test_an_argument_that_the_net_does_not_know_is_a_damaged_bundle() -> None:
    with pytest.raises(BundleError, match="depth"):
        build(NetSpec("cnn", 1, 8, 8, 3, args={"depth": 4}))


@pytest.mark.parametrize("key", ["checkpoint_path", "pretrained_cfg", "pretrained"])
def test_a_bundle_cannot_make_timm_read_files(key: str) -> None:
    with pytest.raises(BundleError) as caught:
        build(NetSpec("timm:test_resnet", 3, 32, 32, 3, args={key: "evil.pth"}))
    assert key in caught.value.message


def test_create_is_a_function_of_the_seed() -> None:
    sample = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def made(seed: int) -> dict[str, torch.Tensor]:
        return create(
            NetRecipe(name="fastnet", width=0.25), channels=3, size=(16, 16), classes=4, sample=sample, seed=seed
        ).net.state_dict()

    first, again, other = made(1), made(1), made(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    assert torch.equal(first["whiten.weight"], other["whiten.weight"])


def test_weights_of_our_own_nets_come_from_a_file_and_the_head_is_refitted(tmp_path: Path) -> None:
    donor = build(NetSpec("cnn", 1, 8, 8, 7, width=0.25), seed=5)
    save_file(donor.state_dict(), tmp_path / "w.safetensors")
    recipe = NetRecipe(name="cnn", width=0.25, weights=str(tmp_path / "w.safetensors"))
    made = create(recipe, channels=1, size=(8, 8), classes=3)
    assert made.pretrained
    assert torch.equal(made.net.state_dict()["layers.0.weight"], donor.state_dict()["layers.0.weight"])
    assert made.net.state_dict()["head.weight"].shape[0] == 3
    with pytest.raises(UsageError) as caught:
        create(NetRecipe(name="cnn", width=0.5, weights=recipe.weights), channels=1, size=(8, 8), classes=3)
    assert caught.value.code == "other-architecture"
