"""Nets of the user's at the verb `train` and at `load`: a module, a function, a class."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import beholder
from beholder.base import events
from beholder.base.errors import BeholderError, BundleError, UsageError

FIELDS: dict[str, Any] = {"epochs": 2, "batch": 12, "precision": "fp32", "flip": "none", "augment": "none"}


class Small(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.say = nn.Linear(3, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.say(images.mean((2, 3)))


Small.__module__ = "__main__"  # as in a notebook


@pytest.fixture(scope="module")
def parts() -> beholder.Parts:
    y = np.arange(72) % 3
    x = np.clip(60 + 60 * y[:, None, None, None] + np.random.default_rng(0).normal(size=(72, 8, 8, 3)) * 9, 0, 255)
    with events.only("warn"):
        return beholder.split(beholder.scan((x.astype(np.uint8), y)), seed=0, near=False)


def trained(parts: beholder.Parts, **fields: Any) -> beholder.Bundle:
    with events.only("warn"):
        found = beholder.train(parts, **{**FIELDS, **fields})
    assert isinstance(found, beholder.Bundle)
    return found


def same(one: nn.Module, two: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_an_object_is_copied_and_trained_from_the_weights_that_it_has(parts: beholder.Parts, tmp_path: Path) -> None:
    mine, path = Small(), tmp_path / "m.beholder"
    before = [p.clone() for p in mine.parameters()]
    model = trained(parts, net=mine, out=path, lr=1e-9)
    assert all(torch.equal(a, b) for a, b in zip(before, mine.parameters(), strict=True))
    torch.testing.assert_close(model.net.get_parameter("net.say.weight"), before[0], atol=1e-5, rtol=0)
    assert model.config.net.name == "given:Small"
    assert "made with" in " ".join(model.config.notes)
    for how in ({}, {"trust": True}):
        with pytest.raises(BundleError) as caught:
            beholder.load(path, **how)
        assert (caught.value.code, "net=" in caught.value.hint) == ("net-not-given", True)
    for given in (Small(), Small, lambda classes: Small(classes)):
        found = beholder.load(path, net=given)
        assert isinstance(found, beholder.Bundle)
        assert same(found.net, model.net)


def test_a_local_function_resumes_to_the_bit(parts: beholder.Parts, tmp_path: Path) -> None:
    whole = trained(parts, net=lambda classes: Small(classes))
    path = tmp_path / "m.beholder"

    def stop(event: events.Event) -> None:
        if event.message == "training":
            raise KeyboardInterrupt

    with events.listen(stop, alone=True), pytest.raises(beholder.Interrupted):
        beholder.train(parts, net=lambda classes: Small(classes), out=path, **FIELDS)
    assert same(trained(parts, net=lambda classes: Small(classes), out=path, resume=True).net, whole.net)


def test_what_a_module_holds_is_stored_by_name(parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("beholder_test_door")
    exec(
        "from torch import nn\ndef make(classes): return nn.Sequential(nn.Flatten(), nn.Linear(192, classes))", module.__dict__
    )
    monkeypatch.setitem(sys.modules, "beholder_test_door", module)
    path = tmp_path / "m.beholder"
    assert trained(parts, net=module.make, out=path).config.net.name == "beholder_test_door:make"
    assert beholder.load(path, trust=True).config.net.name == "beholder_test_door:make"
    assert beholder.Recipe().set(net=module.make).net.name == "beholder_test_door:make", "other verbs take it by name"
    with pytest.raises(BundleError, match="code of its maker"):
        beholder.load(path)
    beholder.load(path, net=module.make)


@pytest.mark.parametrize(
    "net", [3, ["cnn"], nn.Linear(3, 3), lambda: 1 / 0, lambda: "cnn"], ids=["number", "list", "layer", "raises", "text"]
)
def test_what_is_no_net_is_refused(parts: beholder.Parts, net: Any) -> None:
    with pytest.raises(UsageError) as caught:
        trained(parts, net=net)
    assert caught.value.code in ("bad-net", "net-failed")
    assert caught.value.hint


def test_a_net_where_none_is_wanted(parts: beholder.Parts, tmp_path: Path) -> None:
    trained(parts, net="logistic", out=tmp_path / "m.beholder")
    with pytest.raises(BeholderError, match="needs no other"):
        beholder.load(tmp_path / "m.beholder", net=Small())
    with pytest.raises(UsageError, match="named here") as caught:
        beholder.Recipe().set(net=Small())
    assert "beholder.train" in caught.value.hint


def test_another_net_than_it_was_trained_with(parts: beholder.Parts, tmp_path: Path) -> None:
    trained(parts, net=Small, out=tmp_path / "m.beholder")
    other = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    with pytest.raises(BundleError) as caught:
        beholder.load(tmp_path / "m.beholder", net=other)
    assert (caught.value.code, caught.value.hint) == ("inconsistent", "give the net that it was trained with")
