"""The default net."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from beholder.base.errors import UsageError
from beholder.nets import choose as module
from beholder.nets.choose import Choice, choose, dial, pretrained_at_hand


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
    monkeypatch.setattr(module.hub, "reachable", lambda: network)
    return choose(n=n, classes=10, height=side, width=side, weights=weights, device=device)


def test_small_pictures_get_the_fast_net(monkeypatch: pytest.MonkeyPatch) -> None:
    many = chosen(monkeypatch, 32)
    assert (many.name, many.width) == ("fastnet", 0.5)
    assert "1,330" in many.reason
    assert chosen(monkeypatch, 32, device="cuda").width == 1.0
    few = chosen(monkeypatch, 8, 1800)
    assert few.width == 0.5
    assert "1800 pictures of 8x8" in few.reason


def test_photos_get_a_pretrained_backbone_where_weights_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = chosen(monkeypatch, 256, 2000, cached=True)
    assert on_cpu.name == "timm:resnet18"
    assert "55 pictures/s" in on_cpu.reason
    assert chosen(monkeypatch, 256, 2000, network=True, device="cuda:0").name == "timm:convnext_tiny"


def test_photos_without_weights_start_from_scratch_small_and_say_what_that_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    for choice, why in (
        (chosen(monkeypatch, 256, 2000), "network does not answer"),
        (chosen(monkeypatch, 256, 2000, cached=True, weights="none"), "you asked for none"),
    ):
        assert (choice.name, choice.size) == ("fastnet", 96)
        assert why in choice.reason
        assert "tens of points" in choice.reason


def test_between_the_two_a_residual_net(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, 96).name == "resnet"


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


def test_many_pictures_and_the_minutes_for_them_get_a_wider_net() -> None:
    assert dial("fastnet", n=42_500, device="cpu", minutes=12) == 0.75
    assert dial("fastnet", n=42_500, device="cpu", minutes=5) == 0.5
    assert dial("fastnet", n=5_000, device="cpu", minutes=60) == 0.5
    assert dial("resnet", n=42_500, device="cpu", minutes=60) == 0.5
