"""What is decided of a run before its pictures are decoded, and what is refused. No picture is read."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError, UsageError
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, PixelPolicy
from beholder.learn import prepare
from beholder.learn.material import Beside, Said
from beholder.learn.prepare import TRAINING, Before
from beholder.machine.device import Precision
from beholder.nets.spec import Wants

CPU = torch.device("cpu")
EXACT = Precision("fp32", torch.float32, "asked")
POLICY = PixelPolicy(20, 24, 3)


def test_what_are_no_parts_is_refused() -> None:
    with pytest.raises(UsageError, match="there are no parts in list") as error:
        prepare.prepare([1], Recipe())  # type: ignore[arg-type]
    assert error.value.code == "no-parts"
    assert error.value.hint == "beholder.split(beholder.scan(source)) makes them; beholder.steps takes the source itself"


@pytest.mark.parametrize("teacher", [None, "a teacher"])
def test_parts_task_net_and_teacher_are_checked_before_any_picture(monkeypatch: pytest.MonkeyPatch, teacher: Any) -> None:
    calls: list[Any] = []
    raw: Any = Parts(*(SimpleNamespace(with_labels=lambda: "labelled") for _ in range(3)))
    there: Any = Parts(*(SimpleNamespace(classes=("a", "b")) for _ in range(3)))
    monkeypatch.setattr(prepare, "asked", lambda task, pictures: calls.append(("asked", task, pictures)) or "multi")
    monkeypatch.setattr(prepare, "named", lambda name: f"task {name}")
    monkeypatch.setattr(
        prepare, "arranged", lambda parts, task, *, order: calls.append(("arranged", parts is raw, task, order)) or there
    )
    monkeypatch.setattr(prepare, "check", lambda recipe, classes, task: calls.append(("check", classes, task)))
    monkeypatch.setattr(prepare, "allow_as", lambda data: calls.append(("allow", data.memory)))
    monkeypatch.setattr(
        prepare, "taught_by", lambda recipe, *, beside: (recipe.set(teacher="t"), replace(beside, teacher=teacher))
    )
    monkeypatch.setattr(prepare, "check_teacher", lambda *given: calls.append(("teacher", *given)))
    monkeypatch.setattr(prepare, "known", lambda net: replace(net, name=f"known {net.name}"))
    said = Said()
    recipe = Recipe().set(task="auto", order="a,b", memory=7, net="cnn")
    parts, found, name, beside = prepare._checked(raw, recipe, Beside(own=3), said)
    assert (parts, name, found.net.name, found.train.teacher) == (there, "multi", "known cnn", "t")
    assert (beside.own, beside.teacher) == (3, teacher)
    taught = [("teacher", teacher, there, "task multi", said)] if teacher else []
    assert calls == [
        ("asked", "auto", "labelled"),
        ("arranged", True, "task multi", "a,b"),
        ("check", ("a", "b"), "task multi"),
        ("allow", 7),
        *taught,
    ]


def material(n: int = 30, classes: tuple[str, ...] = ("a", "b")) -> Any:
    return SimpleNamespace(pixels=np.zeros(n), pictures=SimpleNamespace(classes=classes))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """With what the width was measured."""
    found: list[Any] = []

    def dialled(*given: Any, **how: Any) -> Any:
        found.append((given, how))
        return SimpleNamespace(width=0.25, batch=96, why="it is narrow")

    monkeypatch.setattr(prepare, "dialled", dialled)
    return found


def dial(recipe: Recipe, said: Said, **more: Any) -> Any:
    how = {"wished": 0.5, "until": Deadline(100.0, lambda: 0.0), "before": None} | more
    return prepare._dialled(recipe, POLICY, material(), CPU, EXACT, said, **how)


def test_a_width_is_measured_where_there_is_a_budget(asked: list[Any]) -> None:
    said, recipe = Said(), Recipe().set(net="fastnet")
    found, most = dial(recipe, said)
    assert (found.net.width, most) == (0.25, 96)
    assert replace(found, net=recipe.net) == recipe
    assert said.notes == ["net: it is narrow"]
    assert asked == [
        (
            (recipe.net, POLICY),
            {"n": 30, "classes": 2, "asked": 0.5, "seconds": TRAINING * 100.0, "on": CPU, "precision": EXACT},
        )
    ]


@pytest.mark.parametrize(("net", "left"), [("fastnet", math.inf), ("cnn", 100.0)])
def test_no_width_is_measured_without_a_budget_or_for_another_net(asked: list[Any], net: str, left: float) -> None:
    said, recipe = Said(), Recipe().set(net=net, width=0.75)
    assert dial(recipe, said, until=Deadline(left, lambda: 0.0)) == (recipe, 0)
    assert asked == said.notes == []


@pytest.mark.parametrize(("wished", "width", "kept"), [(0.0, 0.125, 0.125), (0.0, 0.0, 0.75), (0.75, 0.125, 0.75)])
def test_a_resumed_run_has_the_width_and_the_batch_that_it_had_unless_a_width_is_asked_for(
    asked: list[Any], wished: float, width: float, kept: float
) -> None:
    found, most = dial(Recipe().set(net="fastnet", width=0.75), Said(), wished=wished, before=Before(None, width, 48))
    assert (found.net.width, most, asked) == (kept, 48, [])


@pytest.mark.parametrize(
    ("before", "measured"), [(None, True), (Before(None, 0, 0, ""), True), (Before(None, 0, 0, "horizontal"), False)]
)
def test_a_resumed_run_flips_as_it_had_found(monkeypatch: pytest.MonkeyPatch, before: Before | None, measured: bool) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(prepare, "as_before", lambda flips: f"as {flips}")
    monkeypatch.setattr(prepare, "wanted", lambda *given, until: calls.append((given, until)) or "measured")
    train, valid = (SimpleNamespace(pictures=f"{name} pictures", pixels=f"{name} pixels") for name in ("train", "valid"))
    until = Deadline()
    found: Any = prepare._flips("recipe", train, valid, until, before)  # type: ignore[arg-type]
    assert found == ("measured" if measured else "as horizontal")
    both = (("train pictures", "train pixels"), ("valid pictures", "valid pixels"))
    assert calls == ([(("recipe", *both), until)] if measured else [])


@pytest.mark.parametrize(
    ("size", "smaller", "asked", "found", "said"),
    [
        (None, None, 0, None, 0),
        ((224, 192), (160, 128), 0, (160, 128), 1),
        ((224, 192), (224, 192), 0, (224, 192), 0),
        ((224, 192), (160, 128), 64, (224, 192), 0),
    ],
)
def test_a_cpu_is_given_smaller_pictures_unless_a_size_is_asked_for(
    size: Any, smaller: Any, asked: int, found: Any, said: int
) -> None:
    notes: list[str] = []
    want: Any = SimpleNamespace(size=size, size_on=lambda kind: smaller if kind == "cpu" else None)
    assert prepare._size(want, Recipe().set(size=asked), CPU, notes.append) == found
    assert len(notes) == said
    assert all(note.startswith("pixels: 128 × 160 instead of the 192 × 224 of the weights") for note in notes)


@pytest.mark.parametrize(("width", "found"), [(0.0, 0.25), (0.5, 0.5)])
def test_a_net_that_is_named_has_the_width_of_so_many_pictures(
    monkeypatch: pytest.MonkeyPatch, width: float, found: float
) -> None:
    monkeypatch.setattr(prepare, "dial", lambda name, *, n, device: {("cnn", 30, "cpu"): 0.25}[name, n, device])
    recipe, size = prepare._with_net(Recipe().set(net="cnn", width=width), None, range(30), CPU, lambda _: None)  # type: ignore[arg-type]
    assert (recipe.net.name, recipe.net.width, size) == ("cnn", found, None)


@pytest.mark.parametrize(
    ("width", "side", "found", "size"), [(0.0, 0, 0.75, None), (0.5, 0, 0.5, None), (0.0, 64, 0.75, (64, 64))]
)
def test_a_net_that_is_not_named_is_chosen_by_the_pictures(
    monkeypatch: pytest.MonkeyPatch, width: float, side: int, found: float, size: Any
) -> None:
    given: dict[str, Any] = {}
    said: list[str] = []
    choice = SimpleNamespace(name="resnet", width=0.75, size=side, reason="it is good")
    monkeypatch.setattr(prepare, "choose", lambda **how: given.update(how) or choice)
    looked: Any = SimpleNamespace(height=20, width=24)
    train: Any = type("Train", (), {"classes": ("a", "b"), "__len__": lambda self: 30})()
    recipe, sides = prepare._with_net(Recipe().set(net="auto", width=width, weights="none"), looked, train, CPU, said.append)
    assert (recipe.net.name, recipe.net.width, sides) == ("resnet", found, size)
    assert given == {"n": 30, "classes": 2, "height": 20, "width": 24, "weights": "none", "device": "cpu"}
    assert said == ["net: resnet: it is good"]


def part(*, counts: list[int], multi: bool = False, n: int = 5, bad: Any = ()) -> Any:
    pixels = type("Pixels", (), {"bad": bad, "__len__": lambda self: n})()
    return SimpleNamespace(pictures=SimpleNamespace(multi=multi, counts=lambda: np.array(counts)), pixels=pixels)


@pytest.mark.parametrize(
    ("counts", "multi", "n", "gone", "code"),
    [
        ([3, 0], False, 5, [], "one-class"),
        ([3, 1], False, 5, ["oak"], "lost-class"),
        ([3, 1], False, 0, [], "no-valid"),
        ([3, 0], True, 0, [], "no-valid"),
        ([3, 0], True, 1, [], None),
        ([3, 1], False, 1, [], None),
    ],
)
def test_too_little_to_learn_from_is_refused(
    monkeypatch: pytest.MonkeyPatch, counts: list[int], multi: bool, n: int, gone: list[str], code: str | None
) -> None:
    monkeypatch.setattr(prepare, "nothing_left", lambda *_: gone)
    parts: Any = SimpleNamespace(train=None, valid=None)
    train, valid = part(counts=counts, multi=multi), part(counts=counts, n=n)
    if code is None:
        prepare._check_learnable(parts, train, valid)
        return
    with pytest.raises(DataError) as error:
        prepare._check_learnable(parts, train, valid)
    assert error.value.code == code
    assert error.value.hint


def test_a_net_is_normalised_as_it_wants_or_as_its_pictures_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "statistics", lambda pixels: ((0.3,) * 3, (0.4,) * 3))
    pixels: Any = SimpleNamespace(shape=(3, 20, 24))
    assert prepare._normal(Wants(), pixels, CPU).mean == (0.3,) * 3
    want: Any = SimpleNamespace(normalisation=lambda channels: ((0.1,) * channels, (0.2,) * channels))
    found = prepare._normal(want, pixels, CPU)
    assert (found.mean, found.std, found.device) == ((0.1,) * 3, (0.2,) * 3, CPU)


@pytest.mark.parametrize(("minutes", "n", "count"), [(0.0, 100, 64), (5.0, 100, 16), (0.0, 7, 7)])
def test_the_scales_of_a_first_step_are_said_and_what_vanishes_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, minutes: float, n: int, count: int
) -> None:
    asked: list[int] = []
    losses: list[Any] = []
    layers = [SimpleNamespace(activation=a, gradient=g) for a, g in ((0.5, None), (2.0, 0.125), (1.0, 0.001))]

    def scales(net: Any, images: Any, loss: Any) -> Any:
        losses.append(loss(torch.zeros(2, 2)))
        return layers

    monkeypatch.setattr(prepare, "sample", lambda train, normal, count: asked.append(count) or ("images", torch.ones(2, 2)))
    monkeypatch.setattr(prepare, "scales", scales)
    monkeypatch.setattr(prepare, "warnings_of", lambda found: ["it vanishes"] if found is layers else [])
    prepared: Any = SimpleNamespace(
        train=material(n),
        normal=None,
        recipe=SimpleNamespace(train=SimpleNamespace(minutes=minutes)),
        task=SimpleNamespace(loss=lambda logits, targets: float((targets - logits).sum())),
        said=Said(),
    )
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        prepare.check_scales("net", prepared)  # type: ignore[arg-type]
    assert (asked, losses) == ([count], [4.0])
    said = "first step: activations 0.5 to 2, gradients 0.001 to 0.12 (RMS, smallest to largest layer)"
    assert prepared.said.notes == [said]
    assert [event.name for event in heard if event.kind == "warn"] == ["it vanishes"]
