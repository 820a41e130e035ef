"""Nets of the user's."""

import sys
import types
from collections.abc import Callable

import pytest
import torch
from torch import nn

from beholder.base.errors import BundleError, UsageError
from beholder.base.fields import NetRecipe
from beholder.nets.build import build, check, create, wants
from beholder.nets.custom import lent, lent_name
from beholder.nets.features import classify, features, head
from beholder.nets.spec import NetSpec

MODULE = "beholder_test_own"


def install(monkeypatch: pytest.MonkeyPatch, function: object) -> NetRecipe:
    module = types.ModuleType(MODULE)
    module.make = function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)
    return NetRecipe(name=f"{MODULE}:make", dropout=0.25, width=2.0)


def made(recipe: NetRecipe) -> nn.Module:
    return create(recipe, channels=1, size=(6, 5), classes=3).net


def test_it_is_called_with_what_it_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def make(classes: int, *, size: tuple[int, int], dropout: float, depth: int = 7) -> nn.Module:
        given.update(classes=classes, size=size, dropout=dropout, depth=depth)
        return nn.Sequential(nn.Flatten(), nn.Linear(30, classes))

    made(install(monkeypatch, make))
    assert given == {"classes": 3, "size": (6, 5), "dropout": 0.25, "depth": 7}


def test_kwargs_get_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def make(**options: object) -> nn.Module:
        given.update(options)
        return nn.Sequential(nn.Flatten(), nn.Linear(30, 3))

    made(install(monkeypatch, make))
    assert given == {"channels": 1, "size": (6, 5), "classes": 3, "width": 2.0, "dropout": 0.25}


@pytest.mark.parametrize(
    ("tail", "has_head"),
    [(nn.Linear(4, 3), True), (nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), False), (nn.Identity(), False)],
    ids=["linear", "softmax", "none"],
)
def test_features_are_what_the_last_linear_layer_is_given(
    monkeypatch: pytest.MonkeyPatch, tail: nn.Module, has_head: bool
) -> None:
    width = 3 if isinstance(tail, nn.Identity) else 4
    net = made(
        install(
            monkeypatch, lambda: nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), tail)
        )
    ).eval()
    images = torch.rand(5, 1, 6, 5)
    seen = features(net, images)
    assert (head(net) is not None) == has_head
    assert seen.shape == (5, 4 if has_head else 3)
    torch.testing.assert_close(classify(net, seen), net(images))


def raising() -> nn.Module:
    raise ValueError("no such layer")


def leaving() -> nn.Module:
    sys.exit("no weights")


@pytest.mark.parametrize(
    ("function", "code"),
    [
        (lambda: 3, "bad-net"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(30, 4)), "bad-net"),
        (lambda: nn.Linear(99, 3), "net-failed"),
        (raising, "net-failed"),
        (leaving, "net-failed"),
        (42, "bad-net"),
    ],
    ids=["no-module", "wrong-logits", "wrong-input", "raises", "leaves", "no-function"],
)
def test_a_bad_net_gets_a_clear_error(monkeypatch: pytest.MonkeyPatch, function: Callable[[], object], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        made(install(monkeypatch, function))
    assert caught.value.code == code
    assert MODULE in caught.value.message
    assert "channels" in caught.value.hint


@pytest.mark.parametrize("asked", [made, check])
def test_a_module_that_is_not_there(asked: Callable[[NetRecipe], object]) -> None:
    with pytest.raises(UsageError) as caught:
        asked(NetRecipe(name="no_such_module:net"))
    assert caught.value.code == "import-failed"


def test_probabilities_are_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def ending(tail: nn.Module) -> str:
        net = nn.Sequential(nn.Flatten(), nn.Linear(30, 3), tail)
        return " ".join(create(install(monkeypatch, lambda: net), channels=1, size=(6, 5), classes=3).notes)

    assert "leave the softmax" in ending(nn.Softmax(1))
    assert "softmax" not in ending(nn.ReLU())


def test_a_net_is_called_by_where_it_can_be_imported_from() -> None:
    assert lent_name(raising) == f"{__name__}:raising"
    assert lent_name(nn.Linear) == "torch.nn.modules.linear:Linear"
    assert lent_name(nn.Linear(1, 1)) == "given:Linear"
    assert lent_name(lambda: None).startswith("given:test_a_net")
    with pytest.raises(UsageError, match="not given as int"):
        lent_name(3)


def test_only_the_net_of_that_name_is_lent() -> None:
    mine = nn.Sequential(nn.Flatten(), nn.Linear(30, 3))
    with lent(mine, "given:Mine"):
        assert build(NetSpec("given:Mine", 1, 6, 5, 3)).head is not mine[1]
        with pytest.raises(BundleError) as caught:
            build(NetSpec("given:Other", 1, 6, 5, 3))
    assert caught.value.code == "net-not-given"


def test_a_bundle_may_not_name_code_to_run_unless_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def make(classes: int) -> nn.Module:
        ran.append(classes)
        return nn.Sequential(nn.Flatten(), nn.Linear(30, classes))

    spec = NetSpec(install(monkeypatch, make).name, 1, 6, 5, 3)
    with pytest.raises(BundleError) as caught:
        build(spec)
    assert caught.value.code == "untrusted-net"
    assert "trust" in caught.value.hint
    assert ran == []
    assert wants(NetRecipe(name=spec.name)).size is None
    build(spec, trust=True)
    assert ran == [3]
