"""Licences of pretrained weights: what is permissive, and what is refused unless it was asked for."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from beholder.base.errors import UsageError
from beholder.base.fields import NetRecipe
from beholder.base.recipe import Recipe
from beholder.nets import choose, onboard, pretrained
from beholder.nets.backbones import backbones, default
from beholder.nets.build import check, create, wants
from beholder.nets.licences import allowed, permissive


@pytest.mark.parametrize(
    ("licence", "wanted"),
    [
        *((name, True) for name in ("apache-2.0", "Apache-2.0", "MIT", "bsd-3-clause", " mit ")),
        *((name, False) for name in ("cc-by-nc-4.0", "fair-noncommercial-research-license", "apple-ascl", "gpl-3.0")),
        *((name, None) for name in ("", "unknown", "None")),
    ],
)
def test_permissive_licences(licence: str, wanted: bool | None) -> None:
    assert permissive(licence) is wanted
    assert allowed(licence, "any")
    assert allowed(licence, "permissive") == (wanted is not False)


def test_no_default_is_other_than_permissive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Recipe().net.licence == "permissive"
    assert all(permissive(one.licence) for one in onboard.BACKBONES.values())
    for kind, device in (("cpu", "cpu"), ("gpu", "cuda")):
        assert permissive(default(kind).licence)
        for there in (True, False):
            monkeypatch.setattr(choose, "pretrained_at_hand", lambda name, there=there: there)
            name = choose.photos(device, fetch=False)[0].removeprefix("timm:")
            assert permissive(pretrained.source(name, "auto").licence)


@pytest.mark.parametrize("name", ["convnextv2_nano", "convnextv2_nano.fcmae_ft_in22k_in1k", "fastvit_t8"])
def test_weights_that_are_not_permissive_are_refused_before_they_are_fetched(name: str) -> None:
    for door in (check, wants, lambda net: create(net, channels=3, size=(64, 64), classes=2)):
        with pytest.raises(UsageError, match="licence") as caught:
            door(NetRecipe(name=f"timm:{name}"))
        assert caught.value.code == "licence"
        assert "--set net.licence=any" in caught.value.hint
    check(NetRecipe(name=f"timm:{name}", weights="none"))


def test_weights_of_any_licence_may_be_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pretrained.hub, "fetch", lambda config: tmp_path)
    check(NetRecipe(name="timm:convnextv2_nano", licence="any"))


def _folder(path: Path, name: str, **config: object) -> str:
    """Write weights of a tiny net to a folder in timm's local-dir form."""
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", num_classes=3)
    save_file(net.state_dict(), path / "model.safetensors")
    cfg = {"input_size": [3, 64, 64], "first_conv": "conv1.0", "classifier": "fc", "num_classes": 3, **config}
    (path / "config.json").write_text(json.dumps({"architecture": name, "num_classes": 3, "pretrained_cfg": cfg}))
    return str(path)


def test_weights_at_a_path_are_the_users_choice_and_their_licence_is_named(tmp_path: Path) -> None:
    net = NetRecipe(name="timm:test_resnet", weights=_folder(tmp_path, "test_resnet", license="cc-by-nc-4.0", tag="mine"))
    made = create(net, channels=3, size=(64, 64), classes=3)
    assert made.initial is not None
    assert made.initial.licence == "cc-by-nc-4.0"
    assert any("cc-by-nc-4.0" in note for note in made.notes)


def test_weights_at_a_path_that_timm_knows_have_the_licence_that_it_states(tmp_path: Path) -> None:
    weights = _folder(tmp_path, "test_resnet", tag="r160_in1k")
    known = pretrained.initial("timm:test_resnet", weights)
    assert known is not None
    assert known.licence == "apache-2.0"
    refused = _folder(tmp_path, "convnextv2_nano", tag="fcmae_ft_in22k_in1k")
    with pytest.raises(UsageError, match=r"cc-by-nc-4\.0") as caught:
        check(NetRecipe(name="timm:convnextv2_nano", weights=refused))
    assert caught.value.code == "licence"
    check(NetRecipe(name="timm:convnextv2_nano", weights=refused, licence="any"))


def test_what_no_one_states_is_said(tmp_path: Path) -> None:
    weights = _folder(tmp_path, "test_resnet", tag="mine")
    made = create(NetRecipe(name="timm:test_resnet", weights=weights), channels=3, size=(64, 64), classes=3)
    assert any("licence not stated" in note for note in made.notes)


def test_the_table_states_the_licences_that_timm_does() -> None:
    for row in backbones():
        assert pretrained.published(row.name)["license"] == row.licence, row.name


def test_another_licence_rule_is_the_same_run() -> None:
    assert Recipe().set(licence="any").essence() == Recipe().essence()
