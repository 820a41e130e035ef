from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from torch import nn

from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.learn import calibrate
from beholder.tasks import TASKS, check, named
from beholder.tasks.task import Turn


class Fixed(nn.Module):
    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits


LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.1, 0.2]])
TARGETS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def _turn(task: str, smoothing: float, weights: torch.Tensor | None = None) -> Turn:
    net = Fixed(LOGITS.clone())
    (turn,) = list(named(task).turns(net, torch.zeros(2, 1, 1, 1), TARGETS, smoothing=smoothing, weights=weights))
    return turn


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_single_is_cross_entropy_with_smoothed_targets(smoothing: float) -> None:
    p = np.exp(LOGITS.numpy().astype(float))
    p /= p.sum(1, keepdims=True)
    soft = TARGETS.numpy() * (1 - smoothing) + smoothing / 3
    turn = _turn("single", smoothing)
    assert float(turn.loss.detach()) == pytest.approx(-(soft * np.log(p)).sum(1).mean(), abs=1e-6)
    assert (turn.who, float(turn.right)) == ("net", 0.5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_multi_is_binary_cross_entropy_with_smoothed_targets(smoothing: float) -> None:
    p = 1 / (1 + np.exp(-LOGITS.numpy().astype(float)))
    soft = TARGETS.numpy() * (1 - smoothing) + smoothing / 2
    expected = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean()
    assert float(_turn("multi", smoothing).loss.detach()) == pytest.approx(expected, abs=1e-6)


def test_class_weights_multiply_what_pictures_of_a_class_cost() -> None:
    weights = np.array([3.0, 1.0, 0.5])
    z, truth = LOGITS.numpy().astype(float), TARGETS.numpy().astype(float)
    logs = z - np.log(np.exp(z).sum(1, keepdims=True))
    one = _turn("single", 0.0, torch.tensor(weights).float())
    assert float(one.loss.detach()) == pytest.approx(-(truth * weights * logs).sum(1).mean(), abs=1e-6)
    yes, no = -np.log1p(np.exp(-z)), -np.log1p(np.exp(z))
    several = _turn("multi", 0.0, torch.tensor(weights).float())
    assert float(several.loss.detach()) == pytest.approx(-(truth * weights * yes + (1 - truth) * no).mean(), abs=1e-6)


def test_weights_of_balance_make_classes_count_alike() -> None:
    weights = named("single").balance(np.array([80, 20, 0]), 100)
    assert weights[0] * 80 == pytest.approx(weights[1] * 20)
    assert weights[2] == 0
    assert named("multi").balance(np.array([10, 99, 0]), 100).tolist() == pytest.approx([9.0, 0.05, 20.0])


def test_what_a_task_has_not_is_refused_before_anything_is_trained() -> None:
    plain = replace(named("single"), calibrations=("none",), operating=())
    for fields in ({"calibrate": "vector"}, {"target_risk": 0.1}, {"sensitivity": 0.9, "positive": "a"}):
        with pytest.raises(UsageError, match="takes no test") as refused:
            calibrate.check(Recipe().set(**fields), ("a", "b"), plain)
        assert refused.value.code == "unused-field"
        calibrate.check(Recipe().set(**fields), ("a", "b"), named("ordinal"))
    calibrate.check(Recipe(), ("a", "b"), plain)


def test_a_plug_in_adds_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        type(TASKS), "_plugins", lambda self: {"mine": EntryPoint("mine", "beholder.tasks.multi:MULTI", "beholder.tasks")}
    )
    assert "mine" in TASKS.names()
    assert named("mine") is named("multi")


def test_a_task_is_named_by_the_table_or_by_module_and_name() -> None:
    assert [named(name).name for name in TASKS.names()] == TASKS.names()
    assert named("beholder.tasks.multi:MULTI") is named("multi")
    with pytest.raises(UsageError) as unknown:
        named("singel")
    assert unknown.value.code == "unknown-task"
    assert "single" in str(unknown.value.hint)
    with pytest.raises(UsageError, match="is no task"):
        named("beholder.tasks.single:loss")
    check("beholder.tasks.multi:MULTI", trust=True)
    with pytest.raises(UsageError) as foreign:
        check("beholder.tasks.multi:MULTI", trust=False)
    assert foreign.value.code == "untrusted"
