"""The table of pretrained backbones, and which are on this machine."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from beholder.base.errors import UsageError
from beholder.base.fields import NetRecipe
from beholder.nets import backbones as module
from beholder.nets import onboard, pretrained
from beholder.nets.backbones import (
    LONGEST,
    MACHINES,
    NEAR,
    SOURCES,
    at_hand,
    backbones,
    best_first,
    cost,
    default,
    licences_at_hand,
)
from beholder.nets.build import build
from beholder.nets.features import head
from beholder.nets.licences import permissive
from beholder.nets.names import listed
from beholder.nets.spec import NetSpec

ONBOARD = [f"timm:{name}" for name in onboard.BACKBONES]


@pytest.mark.parametrize("row", backbones(), ids=lambda row: row.name)
def test_the_table_holds_what_timm_builds(row: module.Backbone) -> None:
    config = pretrained.published(row.name)
    assert config["input_size"] == (3, row.side, row.side)
    assert row.source in SOURCES
    assert (row.quality is None) == (row.figure == "") == (row.source == "")
    spec = NetSpec(f"timm:{row.name}", 3, row.side, row.side, config["num_classes"] or 1)
    with torch.device("meta"):
        net = build(spec)
    own = 0 if config["num_classes"] else sum(p.numel() for p in net.get_classifier().parameters())  # type: ignore[operator]
    assert sum(p.numel() for p in net.parameters()) - own == row.parameters
    assert (row.head == "linear") == (head(net) is not None)


def test_no_backbone_is_listed_twice_and_the_best_come_first() -> None:
    names = [row.name for row in backbones()]
    assert len(set(names)) == len(names) >= 30
    figures = [row.quality or 0 for row in best_first()]
    assert figures == sorted(figures, reverse=True)
    assert figures[0] > 80


@pytest.mark.parametrize("kind", MACHINES)
def test_the_default_is_the_fastest_of_the_best_that_are_quick_enough(kind: str) -> None:
    row = default(kind)
    usual = next(other for other in backbones() if other.name == f"{onboard.USUAL}.in1k")
    assert cost(usual, kind) == 1
    quick = [other for other in backbones() if permissive(other.licence) and other.head == "linear" and other.quality]
    costs = {other.name: cost(other, kind) or 99 for other in quick}
    quick = [other for other in quick if costs[other.name] <= LONGEST]
    assert row in quick
    assert (row.quality or 0) > (usual.quality or 0)
    for other in quick:
        assert (other.quality or 0) <= (row.quality or 0) + NEAR
        assert costs[other.name] >= costs[row.name] or (other.quality or 0) < (row.quality or 0) + NEAR


def test_the_cost_is_that_on_the_slowest_machine_and_unknown_where_one_is() -> None:
    row = module.backbones()[1]
    usual = module.backbones()[0]
    assert cost(row, "cpu") == max(getattr(usual, name) / getattr(row, name) for name in MACHINES["cpu"])
    assert cost(dataclasses.replace(row, i7=None, i9=None), "cpu") == pytest.approx((usual.zen4 or 0) / (row.zen4 or 1))
    assert cost(dataclasses.replace(row, rtx4090=None), "gpu") is None


def test_licences_at_hand_are_named() -> None:
    assert licences_at_hand()[ONBOARD[0]] == "Apache-2.0"


def test_at_hand_are_those_on_board_the_largest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onboard, "installed", lambda name: True)
    assert [net.name for net in at_hand(NetRecipe())] == ONBOARD[::-1]
    monkeypatch.setattr(onboard, "installed", lambda name: name != "tf_efficientnet_lite1")
    assert [net.name for net in at_hand(NetRecipe(dropout=0.5))] == [ONBOARD[2], ONBOARD[0]]
    assert at_hand(NetRecipe(dropout=0.5))[0].dropout == 0.5
    monkeypatch.setattr(onboard, "installed", lambda name: False)
    assert at_hand(NetRecipe()) == ()


def test_at_hand_is_what_the_cache_of_the_hub_holds_by_its_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onboard, "installed", lambda name: name == onboard.USUAL)
    monkeypatch.setattr(module.hub, "empty", lambda: False)
    there = {"timm/resnet18.a1_in1k", "timm/convnextv2_nano.fcmae_ft_in22k_in1k", "timm/tiny_vit_11m_224.dist_in22k_ft_in1k"}
    monkeypatch.setattr(module.hub, "cached", lambda config: Path("w") if config["hf_hub_id"] in there else None)
    tiny, usual, old = "timm:tiny_vit_11m_224.dist_in22k_ft_in1k", ONBOARD[0], "timm:resnet18.a1_in1k"
    assert [net.name for net in at_hand(NetRecipe())] == [tiny, usual, old]
    free = "timm:convnextv2_nano.fcmae_ft_in22k_in1k"
    assert [net.name for net in at_hand(NetRecipe(licence="any"))] == [tiny, free, usual, old]


def test_a_named_net_is_the_only_one_at_hand() -> None:
    assert [net.name for net in at_hand(NetRecipe(name=ONBOARD[0]))] == ONBOARD[:1]
    for name in ("timm:resnet18", "fastnet", "package:function"):
        assert at_hand(NetRecipe(name=name)) == ()
    assert at_hand(NetRecipe(weights="none")) == ()


def test_weights_at_a_path_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onboard, "installed", lambda name: name == onboard.USUAL)
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    given = str(tmp_path)
    with pytest.raises(UsageError) as caught:
        at_hand(NetRecipe(weights=given))
    assert caught.value.code == "net-not-chosen"
    assert at_hand(NetRecipe(name="timm:resnet18", weights=given)) == (NetRecipe(name="timm:resnet18", weights=given),)
    assert at_hand(NetRecipe(name="fastnet", weights=given)) == ()
    (tmp_path / "config.json").write_text('{"architecture": "test_resnet", "pretrained_cfg": {}}')
    first, second = at_hand(NetRecipe(weights=given))
    assert first == NetRecipe(name="timm:test_resnet", weights=given)
    assert second == NetRecipe(name=ONBOARD[0])


def test_names_are_listed_without_the_table() -> None:
    assert listed() == [row.name for row in backbones()]
