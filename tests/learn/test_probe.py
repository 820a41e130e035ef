from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from beholder.base.fields import NetRecipe
from beholder.base.recipe import load
from beholder.base.records import PixelPolicy
from beholder.data.cache import Pixels
from beholder.learn.probe import MOST, features_name, fitted, refitted, seen
from beholder.machine.device import Precision
from beholder.nets.head import fit
from beholder.runtime.features import Run
from beholder.runtime.inference import BATCH, Normal, embed
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study.steps import steps
from beholder.tasks.single import SINGLE


@pytest.mark.parametrize("size", [(150, 140), (100, 70)])
def test_features_that_the_audit_computed_are_not_computed_again(
    weights: str, tmp_path: Path, draw: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """The audit looks at every picture but those of the test part, the probe at none; a second run at none at all."""
    source = draw(tmp_path / "set", each=14, size=size)
    counted: list[int] = []

    def counting(run: Run, pixels: Pixels, *rest: Any, **more: Any) -> Tensor:
        counted.append(len(pixels))
        return embed(run, pixels, *rest, **more)

    monkeypatch.setattr("beholder.learn.probe.embed", counting)
    recipe = load("quick").set(weights=weights, epochs=1, batch=16, audit="report")
    first = steps(source, recipe=recipe)
    parts = first.bundle.config.parts
    assert counted == [parts["train"] + parts["valid"]]
    second = steps(source, recipe=recipe)
    assert len(counted) == 1
    mine, theirs = first.bundle.net.state_dict(), second.bundle.net.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_what_there_was_no_time_for_is_computed_next_time_and_what_random_weights_see_is_not_kept() -> None:
    side = 160  # large enough for batches of 32
    images = np.repeat(np.arange(100, dtype=np.uint8), side * side).reshape(100, side, side)
    pictures = digested(scan((images, np.arange(100) % 2)))
    normal, policy = Normal((0.0,), (1 / 255,), torch.device("cpu")), PixelPolicy(side, side, 1)
    asked: list[int] = []

    def run(images: Tensor) -> Tensor:
        asked.append(len(images))
        return images.flatten(1)[:, :1] * torch.tensor([[1.0, 1e4]])

    def told(**more: Any) -> tuple[Any, Tensor]:
        return seen(pictures, policy, lambda pixels: run, normal, **more)

    rows, found = told(name="n", least=1, enough=lambda: True)
    assert 1 <= len(rows) == sum(asked) <= BATCH
    assert found[:, 0].tolist() == pytest.approx(rows.tolist(), abs=0.01)
    some = len(rows)
    rows, found = told(name="n")
    assert (rows.tolist(), sum(asked)) == (list(range(100)), 100)
    assert found.max() == MOST
    rows, again = told(name="n")
    assert sum(asked) == 100
    assert torch.equal(again[:, 0].round(), torch.from_numpy(rows).float())
    for _ in range(2):
        assert len(told(name="")[0]) == 100
    assert sum(asked) == 300
    assert len(told(name="", least=40, enough=lambda: True)[0]) >= 40 > some


def test_a_head_is_fitted_on_what_was_seen_and_keeps_the_best_penalty() -> None:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(200, 8, generator=draws)
    y = torch.nn.functional.one_hot((x[:, 0] > 0).long(), 2).float()
    fits: list[float] = []

    def right(logits: Tensor, goal: Tensor) -> float:
        fits.append(float((logits.argmax(1) == goal.argmax(1)).float().mean()))
        return fits[-1]

    there = np.arange(50)
    head = fitted((x, y), (x[:50], y[:50]), there, right, task=SINGLE, weights=None)
    assert len(fits) == 4
    assert (head.trained, head.chosen) == (200, 50)
    assert float((head.logits.argmax(1) == y[:50].argmax(1)).float().mean()) == max(fits)
    fits.clear()
    fitted((x, y), (x[:50], y[:50]), there, right, task=SINGLE, weights=None, enough=lambda: True)
    assert len(fits) == 1


def test_a_head_that_learns_from_both_parts_is_judged_by_heads_that_have_not_seen_the_fold() -> None:
    draws = torch.Generator().manual_seed(0)
    x, z = torch.randn(60, 4, generator=draws), torch.randn(20, 4, generator=draws)
    y, goal = (torch.nn.functional.one_hot((each[:, 0] > 0).long(), 2).float() for each in (x, z))
    fold, how = np.arange(20) % 5, {"task": SINGLE, "weights": None}
    head = fitted((x, y), (z, goal), np.arange(20), lambda logits, _: float(logits.mean()), **how)
    both = refitted(head, (x, y), (z, goal), fold, **how)
    weight, bias = fit(torch.cat([x, z]), torch.cat([y, goal]), task=SINGLE, decay=head.decay)
    assert torch.equal(both.weight, weight)
    assert torch.equal(both.bias, bias)
    assert (both.trained, both.chosen, both.decay) == (head.trained, head.chosen, head.decay)
    assert not torch.allclose(both.logits, z @ weight.T + bias, atol=1e-3)
    wrong = goal.clone()
    wrong[fold == 2] = 1 - goal[fold == 2]
    other = refitted(head, (x, y), (z, wrong), fold, **how)
    assert torch.equal(other.logits[fold == 2], both.logits[fold == 2]), "their labels are not known to who judges them"
    assert not torch.equal(other.logits[fold == 1], both.logits[fold == 1])


def test_features_have_a_name_where_the_weights_are_known() -> None:
    policy, precision = PixelPolicy(128, 128, 3, "squash", (0, 0, 0)), Precision("fp32", torch.float32, "asked")
    net = NetRecipe(name="timm:test_resnet")
    name = features_name(net, "abc", policy, precision)
    assert name == features_name(replace(net, width=1.0, weights="elsewhere"), "abc", policy, precision)
    others = [
        features_name(net, "abd", policy, precision),
        features_name(net, "abc", replace(policy, height=96), precision),
        features_name(net, "abc", policy, precision, side=128),
        features_name(net, "abc", policy, replace(precision, name="bf16")),
    ]
    assert len({name, *others}) == 5
    assert features_name(net, "", policy, precision) == ""
