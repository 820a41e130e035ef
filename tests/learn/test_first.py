"""The first bundle of a run with a budget: when it is made, in how much time, and of what. Nothing is trained."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.learn import first


class Calls:
    """What was asked of the functions that stand in for those of a run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, pretrained: bool = True, head: Any = "head") -> None:
        self.prepared: list[Any] = []
        self.seconds: list[float] = []
        self.made: list[Any] = []
        self.saved: list[Path] = []
        prepared = SimpleNamespace(created=SimpleNamespace(pretrained=pretrained))
        bundle = SimpleNamespace(save=self.saved.append)

        def prepare(*given: Any, **how: Any) -> Any:
            self.prepared.append((given, how))
            return prepared

        def headed(given: Any, stop: Any, until: Deadline) -> Any:
            assert given is prepared
            self.seconds.append(until.left)
            events.progress("features", 1, 2)
            events.note("one of many")
            events.warn("a warning")
            return head

        def made(*given: Any) -> Any:
            self.made.append(given)
            return bundle

        for name, stand_in in (("prepare", prepare), ("headed", headed), ("made", made)):
            monkeypatch.setattr(first, name, stand_in)


def asked(path: Path | None, *, left: float = 40.0, probe: bool = True) -> tuple[Any, list[events.Event]]:
    given = (SimpleNamespace(train=range(30)), SimpleNamespace(train=SimpleNamespace(probe=probe)), Deadline(left, lambda: 0.0))
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        first.keep_first(given[0], recipe=given[1], path=path, until=given[2])  # type: ignore[arg-type]
    return given, heard


@pytest.mark.parametrize(("left", "seconds"), [(40.0, 40 * first.SHARE), (1000.0, first.SECONDS)])
def test_it_is_a_head_on_what_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left: float, seconds: float
) -> None:
    head = SimpleNamespace(trained=12)
    calls = Calls(monkeypatch, head=head)
    (parts, recipe, until), heard = asked(tmp_path / "m.beholder", left=left)
    assert calls.prepared == [((parts, recipe), {"until": until})]
    assert calls.seconds == [pytest.approx(seconds)]
    ((_, *made),) = calls.made
    assert made == [parts, head, until]
    assert calls.saved == [tmp_path / "m.beholder"]
    assert [event.name for event in heard] == ["features", "a warning", "first-bundle"], "what is decided is said later"
    said = heard[-1]
    assert said.fields == {"path": str(tmp_path / "m.beholder"), "trained": 12, "of": 30}


@pytest.mark.parametrize("why", ["no path", "no budget", "no probe", "a whole one is there"])
def test_nothing_is_prepared_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str) -> None:
    calls = Calls(monkeypatch)
    monkeypatch.setattr(first, "finished", lambda path: why == "a whole one is there")
    asked(
        None if why == "no path" else tmp_path / "m.beholder",
        left=math.inf if why == "no budget" else 40.0,
        probe=why != "no probe",
    )
    assert calls.prepared == []


@pytest.mark.parametrize(("pretrained", "looked"), [(False, 0), (True, 1)])
def test_no_bundle_without_a_head(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pretrained: bool, looked: int) -> None:
    calls = Calls(monkeypatch, pretrained=pretrained, head=None)
    _, heard = asked(tmp_path / "m.beholder")
    assert len(calls.seconds) == looked
    assert calls.made == calls.saved == []
    assert "first-bundle" not in [event.name for event in heard]


def test_the_bundle_says_that_its_training_is_not_over(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    calibrated: list[Any] = []

    def replaced(this: Any, **changes: Any) -> Any:
        found = copy.copy(this)
        vars(found).update(changes)
        return found

    def config_of(prepared: Any, **fields: Any) -> str:
        told.update(fields, mirror=prepared.plan.mirror)
        return "config"

    monkeypatch.setattr(first, "replace", replaced)
    monkeypatch.setattr(first, "machine", lambda: {"torch": "2"})
    monkeypatch.setattr(first.finish, "config_of", config_of)
    monkeypatch.setattr(first.finish, "splits_of", lambda parts: ("splits", parts))
    monkeypatch.setattr(first.finish, "calibrated", lambda *given, **how: calibrated.append((given, how)))
    monkeypatch.setattr(first, "Bundle", lambda config, net, recipe, splits: SimpleNamespace(**locals()))
    monkeypatch.setattr(first, "give", lambda net, weight, bias: net.load_state_dict({"weight": weight, "bias": bias}))
    net = torch.nn.Linear(3, 2).train()
    before = copy.deepcopy(net.state_dict())
    prepared: Any = SimpleNamespace(
        created=SimpleNamespace(net=net, initial="weights of birds"),
        plan=SimpleNamespace(mirror=True),
        precision=SimpleNamespace(name="bf16"),
        recipe="recipe",
    )
    parts: Any = {"train": range(5), "valid": range(2)}
    head: Any = SimpleNamespace(weight=torch.ones(2, 3), bias=torch.tensor([2.0, 3.0]))
    until = Deadline(9.0, lambda: 0.0)
    found: Any = first.made(prepared, parts, head, until)
    assert told == {
        "machine": {"torch": "2"},
        "precision": "bf16",
        "parameters": 8,
        "initial_weights": "weights of birds",
        "parts": {"train": 5, "valid": 2},
        "interrupted": True,
        "mirror": False,
    }
    assert (found.config, found.recipe, found.splits) == ("config", "recipe", ("splits", parts))
    assert not found.net.training
    torch.testing.assert_close(found.net(torch.tensor([[1.0, 1.0, 1.0]])), torch.tensor([[5.0, 6.0]]))
    torch.testing.assert_close(net.state_dict(), before)
    assert net.training
    assert prepared.plan.mirror, "the run that follows mirrors its pictures"
    ((bundle, there, end), named) = calibrated[0]
    assert (bundle, there.plan.mirror, end, named) == (found, False, until, {"head": head})
