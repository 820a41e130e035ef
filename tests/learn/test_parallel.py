"""Several processes train the net that one would have trained, whatever becomes of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import beholder
from beholder.base import events
from beholder.base.errors import UsageError
from beholder.learn import followed, parallel
from beholder.learn.checkpoint import Due
from beholder.learn.monitors import Tally
from beholder.machine import launch, ranks
from beholder.tasks.task import Turn

SMALL: dict[str, Any] = {"net": "cnn", "width": 0.25, "batch": 12, "seed": 3, "precision": "fp32", "augment": "strong"}
WIDE: dict[str, Any] = {**SMALL, "net": "tests.learn.ranked:net", "task": "tests.learn.ranked:TASK"} | {"width": 1.0}


@pytest.fixture
def parts(leaves: Path) -> beholder.Parts:
    return beholder.split(beholder.scan(leaves), seed=0)


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The loss of every step."""
    found: list[float] = []
    add = Tally.add

    def noted(self: Tally, loss: Any, right: Any) -> None:
        found.append(float(loss.detach()))
        add(self, loss, right)

    monkeypatch.setattr(Tally, "add", noted)
    return found


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that were started."""
    made: list[subprocess.Popen[bytes]] = []
    child = launch._child

    def noted(*given: int) -> subprocess.Popen[bytes]:
        made.append(child(*given))
        return made[-1]

    monkeypatch.setattr(launch, "_child", noted)
    return made


@contextmanager
def at(step: int, act: Callable[[], object]) -> Iterator[list[str]]:
    """Act once when so many steps are done; yield the warnings that are heard."""
    done, warned = [], []

    def hear(event: events.Event) -> None:
        if event.name == "training" and event.fields["done"] >= step and not done:
            done.append(act())
        if event.kind == "warn":
            warned.append(event.message)

    with events.listen(hear):
        yield warned


def trained(parts: beholder.Parts, losses: list[float], **how: Any) -> list[float]:
    losses.clear()
    beholder.train(parts, **how)
    return list(losses)


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_losses_of_100_steps_in_float64_are_those_of_one_process(
    parts: beholder.Parts, losses: list[float], world: int
) -> None:
    epochs = -(-100 // max(1, len(parts.train) // 12))
    one = trained(parts, losses, **WIDE, epochs=epochs)
    assert len(one) >= 100
    several = trained(parts, losses, **WIDE, epochs=epochs, launch=f"local:{world}")
    assert several == pytest.approx(one, rel=1e-9)


def test_losses_in_float32_are_those_of_one_process(parts: beholder.Parts, losses: list[float]) -> None:
    """With batch norms, mixup and pictures that are varied."""
    how = {**SMALL, "net": "fastnet", "width": 0.25, "mixup": 0.3, "epochs": 5, "optimiser": "sgd", "lr": 0.01}
    one = trained(parts, losses, **how)
    assert trained(parts, losses, **how, launch="local:2")[:10] == pytest.approx(one[:10], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "more"),
    [("multi", {}), ("ordinal", {}), ("single", {"class_weights": "balanced"}), ("single", {"net": "mlp", "micro": 3})],
)
def test_every_task_is_learnt_by_several(parts: beholder.Parts, losses: list[float], task: str, more: dict[str, Any]) -> None:
    how = {
        **SMALL,
        "task": task,
        "epochs": 2,
        **more,
        **({"order": ",".join(parts.train.classes)} if task == "ordinal" else {}),
    }
    one = trained(parts, losses, **how)
    assert trained(parts, losses, **how, launch="local:2") == pytest.approx(one, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(3))
def test_a_process_that_is_killed_is_missed_and_the_others_go_on(
    parts: beholder.Parts, losses: list[float], children: list[Any], moment: int
) -> None:
    step = random.Random(moment).randrange(1, 12)
    one = trained(parts, losses, **WIDE, epochs=6)
    with at(step, lambda: children[0].kill()) as warned:
        several = trained(parts, losses, **WIDE, epochs=6, launch="local:3")
    assert several == pytest.approx(one, rel=1e-6), "no step is left out or taken twice"
    assert [message.rpartition(" ")[2] for message in warned if "going on from step" in message] == ["2"]
    assert all(child.poll() is not None for child in children)


def test_a_process_that_is_lost_before_the_first_step_costs_nothing_but_its_speed(
    parts: beholder.Parts, losses: list[float], children: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trained(parts, losses, **SMALL, epochs=2)
    opened = followed._open

    def killed(*given: Any) -> None:
        children[0].kill()
        children[0].wait()
        opened(*given)

    monkeypatch.setattr(followed, "_open", killed)
    with at(10**9, lambda: None) as warned:
        assert trained(parts, losses, **SMALL, epochs=2, launch="local:2") == pytest.approx(one, rel=1e-6)
    assert any("going on from step" in message for message in warned)


def test_a_process_that_dies_at_its_start_is_not_waited_for(
    parts: beholder.Parts, losses: list[float], children: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trained(parts, losses, **SMALL, epochs=2)
    monkeypatch.setattr(sys, "executable", "false")
    with at(10**9, lambda: None) as warned:
        assert trained(parts, losses, **SMALL, epochs=2, launch="local:2") == pytest.approx(one, rel=1e-6)
    assert [child.poll() for child in children] == [1]
    assert any("processes that did not come: 1" in message for message in warned)


@pytest.mark.slow
def test_validation_is_shared_and_a_process_that_dies_in_one_is_missed(
    parts: beholder.Parts, losses: list[float], children: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores are those of one process; the one that is lost has the validation begin anew, by those that are left."""
    one = beholder.train(parts, **WIDE, epochs=4)
    asked: list[int] = []
    ask = parallel.Team.asked

    def noted(team: parallel.Team) -> None:
        asked.append(team._group.ranks.world)
        if len(asked) == 2:
            children[0].kill()
            children[0].wait()
        ask(team)

    monkeypatch.setattr(parallel.Team, "asked", noted)
    losses.clear()
    with at(10**9, lambda: None) as warned:
        several = beholder.train(parts, **WIDE, epochs=4, launch="local:3")
    assert asked == [3, 3, 2, 2, 2], "four validations of one batch, of which the second was done again"
    assert [message.rpartition(" ")[2] for message in warned if "going on from step" in message] == ["2"]
    for name in ("loss", "valid_loss", "valid_score"):
        assert [row[name] for row in several.history] == pytest.approx([row[name] for row in one.history], rel=1e-5)


@pytest.mark.slow
def test_a_process_that_hangs_is_noticed_and_the_others_go_on(
    parts: beholder.Parts, losses: list[float], children: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "HANG", 3.0)
    monkeypatch.setattr(launch, "LEAVING", 0.5)
    one = trained(parts, losses, **WIDE, epochs=4)
    with at(3, lambda: children[0].send_signal(signal.SIGSTOP)) as warned:
        several = trained(parts, losses, **WIDE, epochs=4, launch="local:3")
    assert several == pytest.approx(one, rel=1e-6)
    assert [message.rpartition(" ")[2] for message in warned if "going on from step" in message] == ["2"]
    assert children[0].poll() is not None


@pytest.mark.slow
def test_a_run_is_resumed_by_another_number_of_processes(
    parts: beholder.Parts, losses: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Due, "__bool__", lambda self: True)
    one = trained(parts, losses, **WIDE, epochs=4)

    class Cut(BaseException):
        pass

    def cut() -> None:
        raise Cut

    out = tmp_path / "m.beholder"
    with at(5, cut), pytest.raises(Cut):
        trained(parts, losses, **WIDE, epochs=4, out=out, launch="local:3")
    before = list(losses)
    after = trained(parts, losses, **WIDE, epochs=4, out=out, launch="local:2", resume=True)
    assert [*before[: len(one) - len(after)], *after] == pytest.approx(one, rel=1e-6)
    assert beholder.load(out, trust=True).classes == parts.train.classes


@pytest.mark.slow
def test_pixels_are_sent_to_a_process_that_has_no_cache_of_them(
    parts: beholder.Parts, losses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trained(parts, losses, **WIDE, epochs=2)
    described = followed._described

    def elsewhere(*given: Any) -> dict[str, Any]:
        found = described(*given)
        found["pixels"]["shards"] = ["/nowhere/at/all"]
        return found

    monkeypatch.setattr(followed, "_described", elsewhere)
    assert trained(parts, losses, **WIDE, epochs=2, launch="local:2") == pytest.approx(one, rel=1e-9)


def test_other_sources_are_refused_before_the_first_step(
    parts: beholder.Parts, losses: list[float], children: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "_sources", lambda: "others")
    with pytest.raises(UsageError, match="process 1: sources is") as error:
        trained(parts, losses, **SMALL, epochs=2, launch="local:2")
    assert error.value.code == "ranks-differ"
    assert losses == []
    assert all(child.poll() == 0 for child in children)


@pytest.mark.parametrize("asked", ["local", "local:0", "local:x", "ray:0", "8", "local:65"])
def test_launches_that_are_none_are_refused(parts: beholder.Parts, asked: str) -> None:
    with pytest.raises(UsageError) as error:
        beholder.train(parts, **SMALL, epochs=1, launch=asked)
    assert error.value.code == "bad-launch"


def test_what_one_process_alone_can_do_is_refused(parts: beholder.Parts) -> None:
    for how in ({"subset": "prune:0.5"}, {"batch": 2}):
        with pytest.raises(UsageError) as error:
            beholder.train(parts, **{**SMALL, "epochs": 1, **how}, launch="local:3")
        assert error.value.code == "one-rank"


def turn(loss: float = 0.5, right: float = 0.25) -> Turn:
    return Turn("net", torch.tensor(loss, requires_grad=True), torch.tensor(right))


class Group:
    """The other ranks, as far as the first one hears of them. others: the sum of what they give."""

    lost = False

    def __init__(self, others: Any = None, *, gone: bool = False) -> None:
        self.told: list[list[float]] = []
        self.given: list[torch.Tensor] = []
        self.others, self.gone = others, gone

    def tell(self, values: list[float]) -> list[float]:
        if self.gone:
            raise ranks.LostRankError("a process is gone")
        self.told.append(values)
        return values

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        self.given.append(values)
        return values

    def sum_to_first(self, values: torch.Tensor) -> torch.Tensor:
        return values + self.others

    def total(self, values: torch.Tensor) -> torch.Tensor:
        return values


def net_of_three() -> torch.nn.Module:
    """A weight and a bias, of which the bias is not learnt, and another bias on which no loss depends."""
    net = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Linear(1, 1))
    net[0].bias.requires_grad_(False)
    net[1].weight.requires_grad_(False)
    return net


def test_gradients_are_flat_and_zeros_where_the_loss_does_not_depend_on_a_parameter() -> None:
    net = net_of_three()
    params = [p for p in net.parameters() if p.requires_grad]
    params[0].grad = torch.tensor([[2.0, 3.0]])
    assert [slopes.tolist() for slopes in parallel._slopes(params)] == [[2.0, 3.0], [0.0]]
    found = parallel._flat(parallel._slopes(params), turn())
    assert found.tolist() == [2.0, 3.0, 0.0, 0.5, 0.25]
    assert not found.requires_grad
    double = parallel._flat([torch.zeros(1, dtype=torch.float64)], turn())
    assert double.dtype == torch.float64


def test_the_first_rank_has_the_gradient_the_loss_and_the_share_of_all() -> None:
    net, group = net_of_three(), Group(torch.tensor([10.0, 20.0, 30.0, 1.0, 0.5]))
    team = parallel.Team(group, net, 8, lambda: None, lambda: (parallel.Alone(), 1))  # type: ignore[arg-type]
    net[0].weight.grad = torch.tensor([[2.0, 3.0]])
    whole = team.whole(turn())
    assert net[0].weight.grad.tolist() == [[12.0, 23.0]]
    assert net[1].bias.grad is None, "no loss depends on it"
    assert (float(whole.loss), float(whole.right), whole.who) == (1.5, 0.75, "net")
    assert team.share(torch.zeros(3, 2)) == 3 / 8
    alone = parallel.Alone()
    one = turn()
    assert (alone.share(torch.zeros(3, 2)), alone.whole(one)) == (1.0, one)


def test_the_first_rank_says_which_batch_is_next_and_all_of_the_state_where_it_may_differ() -> None:
    net, group = net_of_three(), Group()
    team = parallel.Team(group, net, 8, lambda: None, lambda: (parallel.Alone(), 1))  # type: ignore[arg-type]
    scaler: Any = SimpleNamespace(get_scale=lambda: 4.0)
    team.begin(2, 3, 15, 0.5, scaler)
    team.begin(2, 4, 16, 0.625, scaler)
    state, first, second = group.told
    assert state == [parallel.STATE, 0, 0, 0, 0, 0]
    assert (first, second) == ([parallel.STEP, 2, 3, 15, 0.5, 4.0], [parallel.STEP, 2, 4, 16, 0.625, 4.0])
    assert len(group.given) == len(net.state_dict())
    team.stale()
    team.begin(2, 5, 17, 0.75, scaler)
    assert [kind for kind, *_ in group.told[3:]] == [parallel.STATE, parallel.STEP]
    group.given.clear()
    team.stepped()
    assert group.told[-1] == [parallel.WEIGHTS, 0, 0, 0, 0, 0]
    (given,) = group.given
    assert given.tolist() == [*net[0].weight.flatten().tolist(), *net[1].bias.tolist()]


def test_those_who_hold_the_validation_pictures_answer_along() -> None:
    net, group = net_of_three(), Group(torch.tensor([[1.0, 2.0]]))
    group.ranks = ranks.Ranks(0, 3)
    holds: Any = iter([False, True])
    team = parallel.Team(group, net, 8, lambda: next(holds), lambda: (parallel.Alone(), 1))  # type: ignore[arg-type]
    logits = torch.zeros(1, 2)
    with team.working():
        assert team.validating(net, 4) == ranks.ALONE
        team.asked()
        assert team.answers(logits) is logits
        assert not group.told
    group.told.clear()
    with team.working():
        assert team.validating(net, 4) == group.ranks
        assert len(group.given) == len(net.state_dict())
        team.asked()
        assert [told[:2] for told in group.told] == [[parallel.SCORE, 4], [parallel.ASK, 0]]
        assert team.answers(logits).tolist() == [[1.0, 2.0]]


def test_a_rank_that_is_gone_after_a_step_is_missed_at_the_next_and_moments_are_put_back() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    group, one = Group(), parallel.Alone()
    team = parallel.Team(group, net, 8, lambda: None, lambda: (one, 3))  # type: ignore[arg-type]
    scaler: Any = SimpleNamespace(get_scale=lambda: 1.0)
    team.begin(0, 0, 0, 0.0, scaler)
    net[1].running_mean.fill_(5.0)
    net[0].weight.grad = torch.ones(2, 2)
    group.gone = True
    with pytest.raises(ranks.LostRankError) as lost:
        group.tell([])
    warned: list[events.Event] = []
    with events.listen(warned.append, alone=True):
        assert team.regrouped(lost.value, step=7) is one
    assert net[1].running_mean.tolist() == [0.0, 0.0]
    assert net[0].weight.grad is None
    assert [(event.name, event.fields["step"], event.fields["left"]) for event in warned] == [("rank-lost", 7, 3)]
    team.stepped()
    with pytest.raises(ranks.LostRankError):
        team.begin(0, 1, 1, 0.0, scaler)


@pytest.mark.slow
def test_torchrun_starts_the_same_command(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    x = (rng.integers(0, 120, (120, 12, 12, 1)) + 120 * y[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "two.npz", x=x, y=y)
    command = ["train", "two.npz", "--net", "cnn", "--epochs", "2", "--batch", "16", "--seed", "1", "--audit", "off"]
    command += ["--set", "train.precision=fp32", "--json"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = []
    for number, before in enumerate(([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"])):
        out = tmp_path / f"{number}.beholder"
        words = [sys.executable, *before, "-m", "beholder", *command, "--out", str(out)]
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count('"bundle"') == 1, "one process speaks"
        found.append([row["loss"] for row in beholder.load(out).history])
    assert found[1] == pytest.approx(found[0], rel=1e-3)
