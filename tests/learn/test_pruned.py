"""Training on a part of the pictures in each epoch: its loss, its clock, and a run that is cut and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import beholder
from beholder.base import events
from beholder.base.files import file_sha256
from beholder.learn.checkpoint import Due
from beholder.learn.clock import Clock
from beholder.learn.distil import distilled
from beholder.learn.turned import turned, weighed
from beholder.tasks.multi import MULTI
from beholder.tasks.ordinal import ORDINAL
from beholder.tasks.single import SINGLE

FIELDS: dict[str, Any] = {
    "net": "cnn",
    "width": 0.25,
    "epochs": 6,
    "batch": 4,
    "averaging": 0.9,
    "precision": "fp32",
    "seed": 3,
}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def parts(leaves: Path) -> beholder.Parts:
    return beholder.split(beholder.scan(leaves), seed=0)


@pytest.mark.parametrize("task", [SINGLE, MULTI, ORDINAL, "teacher"], ids=lambda task: getattr(task, "name", task))
@pytest.mark.parametrize("balanced", [False, True])
def test_losses_of_pictures_have_the_mean_that_the_task_has(task: Any, balanced: bool) -> None:
    draws = torch.Generator().manual_seed(0)
    labels = torch.eye(4)[torch.randint(0, 4, (8,), generator=draws)]
    taught = task == "teacher"
    task = distilled(SINGLE, weight=0.4, temperature=2.0, classes=4) if taught else task
    targets = torch.cat([labels, torch.rand(8, 4, generator=draws).softmax(1)], 1) if taught else labels
    logits = torch.randn(8, task.width(4), generator=draws)
    weights = torch.tensor([0.5, 1.0, 2.0, 1.0]) if balanced else None
    heard: list[torch.Tensor] = []
    loss = weighed(task, heard.append)
    how: dict[str, Any] = {"smoothing": 0.1, "weights": weights}
    alike = loss(logits, torch.cat([targets, torch.ones(8, 1)], 1), **how)
    torch.testing.assert_close(alike, task.loss(logits, targets, **how))
    factors = torch.rand(8, 1, generator=draws)
    each = torch.stack([task.loss(logits[k : k + 1], targets[k : k + 1], **how) for k in range(8)])
    torch.testing.assert_close(heard[0], each)
    torch.testing.assert_close(loss(logits, torch.cat([targets, factors], 1), **how), (each * factors[:, 0]).mean())


def test_the_turns_of_a_pruned_run_step_on_the_weighed_loss() -> None:
    net, images, heard = torch.nn.Linear(5, 4), torch.ones(2, 5), list[torch.Tensor]()
    turns = turned(SINGLE.turns, weighed(SINGLE, heard.append), 4)
    targets = torch.cat([torch.eye(4)[:2], torch.tensor([[0.0], [2.0]])], 1)
    (turn,) = turns(net, images, targets, smoothing=0.0, weights=None)
    torch.testing.assert_close(turn.loss, -net(images).log_softmax(1)[1, 1])
    assert heard[0].shape == (2,)


def test_the_clock_plans_epochs_of_different_lengths_and_its_schedule_ends_at_1() -> None:
    clock, done = Clock(steps_per_epoch=10, epochs=8, seconds=0), [0.0]
    lengths = [10, 7, 6, 6, 5, 5, 5, 10]
    for epoch, steps in enumerate(lengths):
        clock.lengthened(epoch, 0, steps, last=0.125)
        assert clock.total == sum(lengths[:epoch]) + steps + max(0, 6 - epoch) * steps + (10 if epoch < 7 else 0)
        for _ in range(steps):
            assert not clock.over
            clock.tick()
            done.append(clock.done)
    assert clock.over
    assert clock.step == sum(lengths)
    assert (np.diff(done) > 0).all()
    assert done[-1] == 1.0
    assert [clock.late(epoch, last=0.125) for epoch in (6, 7)] == [True, True], "the schedule is over"
    again = Clock(steps_per_epoch=10, epochs=8, seconds=0)
    again.resume(step=20, total=40, spent=1.0, done=0.4)
    again.lengthened(2, 3, 6, last=0.125)
    assert again.total == 20 - 3 + 6 + 4 * 6 + 10
    assert [again.late(epoch, last=0.125) for epoch in (6, 7)] == [False, True]


@pytest.mark.parametrize("subset", ["random:0.5", "prune:0.5"])
@pytest.mark.parametrize("moment", ["training", "epoch"])
def test_a_run_that_was_cut_ends_in_the_same_bits(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subset: str, moment: str
) -> None:
    whole, out = tmp_path / "whole.beholder", tmp_path / "cut.beholder"
    bundle = beholder.train(parts, out=whole, subset=subset, mixup=0.3, **FIELDS)
    steps = np.diff([0, *(row["step"] for row in bundle.history)])
    n = bundle.config.parts["train"] // 4
    if subset.startswith("random"):
        assert (steps == max(1, round(0.5 * bundle.config.parts["train"]) // 4)).all()
    else:
        assert steps[0] == steps[-1] == n
        assert steps[1:-1].min() < n

    def at(event: events.Event) -> None:
        late = event.fields.get("done", 0) >= steps[0] + 2
        if (moment == "training" and event.message == moment and late) or event.message.startswith(f"{moment} 3:"):
            raise Killed

    monkeypatch.setattr(Due, "__bool__", lambda self: True)
    with events.listen(at, alone=True), pytest.raises(Killed):
        beholder.train(parts, out=out, subset=subset, mixup=0.3, **FIELDS)
    beholder.train(parts, out=out, resume=True, subset=subset, mixup=0.3, **FIELDS)
    assert file_sha256(out / "model.safetensors") == file_sha256(whole / "model.safetensors")


def test_a_budget_bounds_a_pruned_run_too(parts: beholder.Parts) -> None:
    bundle = beholder.train(parts, subset="prune:0.3", minutes=1, **{**FIELDS, "epochs": 3, "net": "mlp"})
    assert 0 < bundle.history[-1]["step"] <= 3 * (bundle.config.parts["train"] // 4)
    assert bundle.config.clock == ""
