"""What a run does before its first step: threads, the budget, and whether there is time to fine-tune. Nothing is trained."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.learn import begin
from beholder.learn.budget import CLOSING, OPENING, TESTING, Budget
from beholder.learn.finish import Tempo
from beholder.learn.prepare import Said
from beholder.machine.pace import BUSY


@pytest.mark.parametrize(
    ("times", "waiting", "minutes", "warned", "chosen"),
    [
        (1.0, False, 0.0, 0, 0),
        (1.0, False, 5.0, 0, 0),
        (BUSY, True, 5.0, 1, 0),
        (50.0, True, 5.0, 1, 0),
        (50.0, True, 0.0, 1, 1),
        (1.0, True, 0.0, 0, 1),
    ],
)
def test_threads_are_chosen_only_on_a_busy_machine_without_a_budget(
    monkeypatch: pytest.MonkeyPatch, times: float, waiting: bool, minutes: float, warned: int, chosen: int
) -> None:
    picked: list[int] = []
    monkeypatch.setattr(begin, "slowness", lambda: times)
    monkeypatch.setattr(begin, "contended", lambda: waiting)
    monkeypatch.setattr(begin, "sample", lambda *_: (None, None))
    monkeypatch.setattr(begin, "_choose_threads", lambda *_: picked.append(1))
    prepared: Any = SimpleNamespace(
        recipe=SimpleNamespace(train=SimpleNamespace(minutes=minutes)),
        train=None,
        normal=None,
        created=SimpleNamespace(net=None),
    )
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        begin._tell_busy(prepared)
    assert [event.fields["times"] for event in heard if event.name == "busy"] == [times] * warned
    assert len(picked) == chosen


def test_a_machine_that_is_idle_at_the_second_look_is_not_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([50.0, 1.0])
    monkeypatch.setattr(begin, "slowness", lambda: next(looks))
    monkeypatch.setattr(begin, "contended", lambda: False)
    monkeypatch.setattr(begin, "_choose_threads", lambda *_: pytest.fail("chosen"))
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        begin._tell_busy(SimpleNamespace(recipe=SimpleNamespace(train=SimpleNamespace(minutes=0.0))))  # type: ignore[arg-type]
    assert heard == []


@pytest.mark.parametrize(
    ("device", "most", "count", "tried", "said"),
    [
        ("cpu", 4, 2, 1, ["training with 2 of 4 threads, which is quicker at this moment"]),
        ("cpu", 4, 4, 1, []),
        ("cpu", 1, 1, 0, []),
        ("meta", 4, 2, 0, []),
    ],
)
def test_threads_are_tried_on_the_cpu_where_there_are_several(
    monkeypatch: pytest.MonkeyPatch, device: str, most: int, count: int, tried: int, said: list[str]
) -> None:
    given: list[Any] = []

    def threads(*those: Any) -> int:
        given.append(those)
        return count

    monkeypatch.setattr(torch, "get_num_threads", lambda: most)
    monkeypatch.setattr(begin, "threads", threads)
    prepared: Any = SimpleNamespace(
        normal=SimpleNamespace(device=SimpleNamespace(type=device)), precision="bf16", said=Said(), net=None
    )
    begin._choose_threads(prepared, "net", "images")  # type: ignore[arg-type]
    assert given == [("net", "images", "bf16")] * tried
    assert prepared.said.notes == said


def until(left: float) -> Deadline:
    return Deadline(left, now=lambda: 0.0)


def with_head(each: float = 0.5, n: int = 10, **more: Any) -> tuple[Any, Any]:
    """A run of n training and 5 validation pictures, and its head; the features of a picture took `each` seconds."""
    recipe = SimpleNamespace(train=SimpleNamespace(minutes=1.0, probe=True))
    train, valid = (SimpleNamespace(pixels=np.zeros(count), targets=torch.zeros(count, 2)) for count in (n, 5))
    prepared: Any = SimpleNamespace(train=train, valid=valid, recipe=recipe, said=Said(), **more)
    return prepared, SimpleNamespace(each=each)


@pytest.mark.parametrize(("left", "hopeless"), [(23.0, False), (22.9, True), (0.0, True), (math.inf, False)])
def test_fine_tuning_is_hopeless_where_two_epochs_and_closing_exceed_the_time(
    monkeypatch: pytest.MonkeyPatch, left: float, hopeless: bool
) -> None:
    """Two epochs of ten pictures take 20 s, closing on a machine that is twice as slow as usual 3 s."""
    monkeypatch.setattr(begin, "slowness", lambda: 2.0)
    prepared, head = with_head()
    assert begin._hopeless(prepared, head, until(left)) is hopeless


def test_a_run_that_does_not_train_reckons_with_what_features_took() -> None:
    prepared, head = with_head(each=0.5)
    found = begin._unmeasured(prepared, SimpleNamespace(test=range(20)), head, 7.0, 2.0, 3)  # type: ignore[arg-type]
    assert found == Budget(60.0, 7.0, after=CLOSING + 2.0 + 0.5 * (20 + 3 + 5))


@pytest.mark.parametrize(
    ("hopeless", "going_on", "left_out", "measured"),
    [(True, False, True, False), (True, True, False, True), (False, False, False, True)],
)
def test_a_budget_is_measured_unless_fine_tuning_is_left_out(
    monkeypatch: pytest.MonkeyPatch, hopeless: bool, going_on: bool, left_out: bool, measured: bool
) -> None:
    monkeypatch.setattr(begin, "_hopeless", lambda *_: hopeless)
    monkeypatch.setattr(begin, "budget_of", lambda prepared, parts, *room: Budget(60.0, *room[:1], validation=9.0))
    monkeypatch.setattr(begin, "_tempo", lambda prepared, limits, head: Tempo(0.25, 8.0))
    prepared, head = with_head(each=0.5)
    room = (3.0, 2.0, 1)
    limits, tempo = begin._time_for(prepared, SimpleNamespace(test=[]), head, until(1.0), room, going_on=going_on)  # type: ignore[arg-type]
    assert tempo.left_out is left_out
    assert (limits.validation == 9.0) is measured
    assert limits.began == 3.0
    assert tempo == (Tempo(1.0, 0.0, left_out=True) if left_out else Tempo() if going_on else Tempo(0.25, 8.0))
    assert bool(prepared.said.notes) is left_out


@pytest.mark.parametrize(("minutes", "seconds"), [(5.0, 60 * TESTING * 5.0), (0.0, math.inf)])
def test_what_is_measured_is_what_will_be_done(monkeypatch: pytest.MonkeyPatch, minutes: float, seconds: float) -> None:
    """The engine is chosen once, for the pictures of the test part; nothing is shown while the time is taken."""
    chosen: list[Any] = []
    tested: list[Any] = []
    validated: list[Any] = []
    monkeypatch.setattr(begin.finish, "config_of", lambda prepared: "config")
    monkeypatch.setattr(begin, "Bundle", lambda *given: given)
    monkeypatch.setattr(begin, "engine", lambda *given, **how: chosen.append((given, how)) or "engine")
    monkeypatch.setattr(begin, "outputs", lambda *given, **how: tested.append((given, how)))
    monkeypatch.setattr(begin, "validate", lambda *given, **how: validated.append((given, how)))
    monkeypatch.setattr(begin, "budget", lambda *given, **how: (given, how))
    prepared, _ = with_head(created=SimpleNamespace(net="net"), normal="normal", precision="fp32", task="task")
    prepared.recipe.train.minutes = minutes
    prepared.valid.pixels = pixels = SimpleNamespace(subset=lambda rows: rows.tolist())
    parts: Any = SimpleNamespace(test=range(20))
    given, how = begin.budget_of(prepared, parts, 7.0, 2.0, 3)  # type: ignore[misc]
    assert given == (prepared, parts.test)
    assert (how["began"], how["closing"], how["again"]) == (7.0, CLOSING + OPENING + 2.0, 3)
    how["tested"](2)
    how["tested"](3)
    bundle = ("config", "net", prepared.recipe)
    assert chosen == [((bundle, pixels), {"pictures": 20, "seconds": seconds})]
    assert tested == [((bundle, list(range(n))), {"run": "engine", "label": ""}) for n in (2, 3)]
    how["validated"](3)
    ((net, some, targets, *rest), named), *others = validated
    assert (net, some, len(targets), rest, named, others) == ("net", [0, 1, 2], 3, ["normal", "fp32"], {"task": "task"}, [])


def planned(*, pretrained: bool, paced: bool = False, n: int = 100, batch: int = 10) -> Any:
    created = SimpleNamespace(net=torch.nn.Linear(2, 2), pretrained=pretrained)
    prepared, _ = with_head(n=n, created=created, plan=SimpleNamespace(freeze=0.0, batch=batch, epochs=80))
    prepared.normal, prepared.precision, prepared.paced = "normal", "fp32", paced
    return prepared


@pytest.mark.parametrize(
    ("left", "each", "tempo", "why"),
    [
        (110.0, 0.5, Tempo(0.5, 2.0), ""),  # an epoch is 50 s, and half of the 10 s of a validation: two epochs
        (109.0, 0.5, Tempo(0.5, 109 / 55, left_out=True), "fine-tuning is left out: there is time for 2.0 epochs"),
        (0.5, 0.5, Tempo(0.2, 0.5 / 25, left_out=True), "fine-tuning is left out: there is time for 0.0 epochs"),
        (39.0, 0.5, Tempo(0.2, 39 / 25, left_out=True), "fine-tuning is left out: there is time for 1.6 epochs"),  # unmeasured
    ],
)
def test_fine_tuning_has_two_epochs_or_is_left_out(
    monkeypatch: pytest.MonkeyPatch, left: float, each: float, tempo: Tempo, why: str
) -> None:
    chosen: list[int] = []
    asked: list[int] = []
    monkeypatch.setattr(begin, "sample", lambda train, normal, count: asked.append(count) or ("images", None))
    monkeypatch.setattr(begin, "seconds_each", lambda net, images, precision: each)
    monkeypatch.setattr(begin, "_choose_threads", lambda *_: chosen.append(1))
    monkeypatch.setattr(Budget, "training", lambda self: left)
    prepared = planned(pretrained=True)
    found = begin._tempo(prepared, Budget(1000.0, 0.0, validation=10.0), SimpleNamespace(each=0.1))  # type: ignore[arg-type]
    assert found == tempo
    assert prepared.said.notes == ([f"{why}; the head on frozen features stays"] if why else [])
    assert (len(chosen), asked) == ((1, [begin.SAMPLE]) if left > 40 else (0, []))


@pytest.mark.parametrize(
    ("left", "batch", "tempo", "why"),
    [
        (300.0, 10, Tempo(1.0, 3.0), ""),  # 30 steps
        (299.0, 10, Tempo(1.0, 2.99, left_out=True), "training is left out: there is time for 30 steps"),
        (300.0, 100, Tempo(1.0, 3.0, left_out=True), "training is left out: there is time for 3 steps"),
    ],
)
def test_a_net_from_random_weights_has_thirty_steps_or_is_left_out(
    monkeypatch: pytest.MonkeyPatch, left: float, batch: int, tempo: Tempo, why: str
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(begin, "sample", lambda train, normal, count: asked.append(count) or ("images", None))
    monkeypatch.setattr(begin, "seconds_each", lambda *_: 1.0)
    monkeypatch.setattr(begin, "_choose_threads", lambda *_: pytest.fail("they were tried when the width was chosen"))
    monkeypatch.setattr(Budget, "training", lambda self: left)
    prepared = planned(pretrained=False, paced=True, batch=batch)
    assert begin._tempo(prepared, Budget(1000.0, 0.0, validation=10.0), None) == tempo
    assert asked == [min(batch, 64)]
    assert prepared.said.notes == ([f"{why}, and a regression on pixels is worth more"] if why else [])


def test_without_a_budget_or_a_floor_no_step_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin, "seconds_each", lambda *_: pytest.fail("timed"))
    assert begin._tempo(planned(pretrained=True), Budget(0.0, 0.0), SimpleNamespace(each=0.1)) == Tempo()  # type: ignore[arg-type]
    assert begin._tempo(planned(pretrained=True), Budget(60.0, 0.0), None) == Tempo()


@pytest.mark.parametrize(
    ("pretrained", "left", "left_out", "seconds"),
    [
        (True, 100.0, False, None),
        (False, math.inf, False, None),
        (False, 100.0, False, 100 * begin.SHARE),
        (False, 100.0, True, 40.0),
    ],
)
def test_the_floor_has_its_share_of_the_time_and_all_of_it_where_there_is_no_net(
    monkeypatch: pytest.MonkeyPatch, pretrained: bool, left: float, left_out: bool, seconds: float | None
) -> None:
    monkeypatch.setattr(begin, "on_pixels", lambda prepared, valid, end, *, instead: (valid, end.left, instead))
    monkeypatch.setattr(Budget, "training", lambda self: 40.0)
    prepared: Any = SimpleNamespace(created=SimpleNamespace(pretrained=pretrained))
    found: Any = begin._floor(prepared, "valid", until(left), Budget(100.0, 0.0), left_out=left_out)  # type: ignore[arg-type]
    assert found == (None if seconds is None else ("valid", pytest.approx(seconds), left_out))


@pytest.mark.parametrize(
    ("pretrained", "probe", "left", "looks", "heads"),
    [
        (True, True, math.inf, True, True),
        (True, True, 100.0, False, True),
        (True, False, 100.0, True, False),
        (False, True, begin.LEISURE, False, False),
        (False, True, begin.LEISURE + 1, True, False),
    ],
)
def test_scales_are_looked_at_where_there_is_leisure_and_a_head_is_fitted_on_pretrained_features(
    monkeypatch: pytest.MonkeyPatch, pretrained: bool, probe: bool, left: float, looks: bool, heads: bool
) -> None:
    looked: list[int] = []
    monkeypatch.setattr(begin, "check_scales", lambda *_: looked.append(1))
    monkeypatch.setattr(begin, "headed", lambda prepared, stop, end: (stop, end.left))
    prepared, _ = with_head(created=SimpleNamespace(net="net", pretrained=pretrained))
    prepared.recipe.train.probe = probe
    found: Any = begin._first_look(prepared, "stop", until(left))  # type: ignore[arg-type]
    assert found == (("stop", left) if heads else None)
    assert bool(looked) is looks


@pytest.mark.parametrize(
    ("objective", "device", "facts"),
    [
        ("auto", "cpu", ["a reason", "precision: fp32: as asked"]),
        ("macro_f1", "meta", ["explained cat", "a reason", "precision: fp32: as asked", "repeats meta"]),
    ],
)
def test_facts_are_the_plan_the_precision_and_what_is_not_usual(
    monkeypatch: pytest.MonkeyPatch, objective: str, device: str, facts: list[str]
) -> None:
    monkeypatch.setattr(begin, "explained", lambda task, positive: f"explained {positive}")
    monkeypatch.setattr(begin, "repeats", lambda on: f"repeats {on.type}")
    prepared: Any = SimpleNamespace(
        normal=SimpleNamespace(device=torch.device(device)),
        precision=SimpleNamespace(name="fp32", reason="as asked"),
        recipe=SimpleNamespace(train=SimpleNamespace(objective=objective), test=SimpleNamespace(positive="cat")),
        plan=SimpleNamespace(reasons=("a reason",)),
        task=None,
    )
    assert begin._facts(prepared) == facts
