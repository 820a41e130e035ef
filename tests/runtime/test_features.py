"""The fastest way to run a net gives what the net gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from beholder.nets.features import features
from beholder.nets.norms import without_norms
from beholder.runtime import features as module
from beholder.runtime import picker
from beholder.runtime.features import CLOSE, fastest

IMAGES = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _net() -> nn.Module:
    torch.manual_seed(0)
    net = timm.create_model("mobilenetv2_050", num_classes=3)
    net.train()(torch.randn(16, 3, 64, 64) + 0.5)  # statistics of its own
    return net.eval()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(picker, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(module, "TRIED", 0.0)
    return tmp_path


def test_the_chosen_engine_gives_the_features_of_the_net_in_any_number(place: Path) -> None:
    net = _net()
    found = fastest(net, IMAGES, dtype=torch.float32, machine="chip", pictures=10)
    assert set(found.rates) == {"torch", "torch, norms folded"}
    with torch.inference_mode():
        for count in (1, 5, 8):
            torch.testing.assert_close(found.engine(IMAGES[:count]), features(net, IMAGES[:count]), rtol=1e-3, atol=1e-4)
    assert len(list(place.rglob("*.json"))) == 1


def test_the_choice_is_remembered_for_this_net_and_size_and_forgotten_for_others() -> None:
    net = _net()
    first = fastest(net, IMAGES, dtype=torch.float32, machine="chip", pictures=10)
    again = fastest(net, IMAGES, dtype=torch.float32, machine="chip", pictures=10)
    assert (again.name, again.rates) == (first.name, {})
    assert fastest(net, IMAGES, dtype=torch.float32, machine="other", pictures=10).rates


def test_little_work_is_not_worth_a_trial(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIED", 100.0)
    found = fastest(_net(), IMAGES, dtype=torch.float32, machine="chip", pictures=10)
    assert (found.name, found.rates) == ("torch", {})
    assert not list(place.rglob("*.json"))


@pytest.mark.parametrize("given", [{"seconds": 1.0}, {"slow": 1e6}])
def test_work_for_which_there_is_little_time_or_that_a_busy_machine_delays_is_not_worth_a_trial(
    place: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, float]
) -> None:
    monkeypatch.setattr(module, "TRIED", 2.0)
    many = {"dtype": torch.float32, "machine": "chip", "pictures": 10**6}
    found = fastest(_net(), IMAGES, **many, **given)
    assert (found.name, found.rates) == ("torch", {})
    assert not list(place.rglob("*.json"))


def test_a_way_that_gives_something_else_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    net = _net()
    monkeypatch.setattr(module, "without_norms", lambda net, images: nn.Sequential())
    assert fastest(net, IMAGES, dtype=torch.float32, machine="chip", pictures=10).name == "torch"
    other = timm.create_model("mobilenetv2_050", num_classes=3).eval()
    monkeypatch.setattr(module, "without_norms", lambda net, images: other)
    assert set(fastest(net, IMAGES, dtype=torch.float32, machine="b", pictures=10).rates) == {"torch"}


@torch.inference_mode()
def test_a_net_without_norms_gives_the_same_and_has_none() -> None:
    net = _net()
    found = without_norms(net, IMAGES[:1])
    assert not any(isinstance(m, nn.BatchNorm2d) for m in found.modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 52
    torch.testing.assert_close(found(IMAGES), net(IMAGES), rtol=1e-3, atol=1e-4)


def test_openvino_where_it_is_installed() -> None:
    pytest.importorskip("openvino")
    net = _net()
    run = module._openvino(net, IMAGES, torch.float32)
    with torch.inference_mode():
        wanted = features(net, IMAGES[:5])
    assert run(IMAGES[:5]).shape == wanted.shape
    assert float(torch.cosine_similarity(run(IMAGES[:5]), wanted).min()) > max(CLOSE, 0.999)
