"""With what the two phases of a detector are run: batches, rates, clocks, threads. No net is trained."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from beholder.base.deadline import Deadline
from beholder.base.recipe import Recipe
from beholder.base.records import PixelPolicy
from beholder.bundle.config import Tried
from beholder.data.augment import Augment
from beholder.learn import phases
from beholder.learn.material import Said
from beholder.learn.monitors import Best

CPU = torch.device("cpu")


def run(*, left: float = math.inf, after: float = 0.0, weights: str | None = "birds", **fields: Any) -> Any:
    """A run of 30 training and 10 validation pictures; left: seconds of the budget."""
    config = SimpleNamespace(
        pixels=PixelPolicy(8, 12, 3, background=(51, 102, 255)),
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        initial_weights=weights,
        classes=("a", "b"),
    )
    made: Any = SimpleNamespace(
        recipe=Recipe().set(**{"seed": 7, "memory": 64, "workers": 3, **fields}),
        config=config,
        batch=16,
        on=CPU,
        precision="fp32",
        train=range(30),
        valid=range(10),
        said=Said(),
        autocast="autocast",
    )
    return phases.Phases(made, None, None, None, False, Deadline(left, now=lambda: 0.0), after, None)  # type: ignore[arg-type]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the batches were made with."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(phases, "BoxedBatches", lambda pixels, boxes, **how: found.update(how, pixels=pixels, boxes=boxes))
    monkeypatch.setattr(phases, "free_memory", lambda on: 4_000)
    return found


def test_batches_are_of_the_net_and_what_is_moved_in_has_the_grey_of_the_background(given: dict[str, Any]) -> None:
    """The background (51, 102, 255) is on average 136 of 255."""
    part: Any = SimpleNamespace(material=SimpleNamespace(pixels="pixels"), boxes="boxes")
    plan = Augment(horizontal=0.5)
    run()._batches(part, plan)
    assert given.pop("outside") == pytest.approx(136 / 255)
    assert given == {
        "pixels": "pixels",
        "boxes": "boxes",
        "batch": 16,
        "seed": 7,
        "device": CPU,
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        "plan": plan,
        "memory": 64 * 2**20,
        "workers": 3,
    }
    run(memory=0)._batches(part, plan)
    assert given["memory"] == 1_000


@pytest.mark.parametrize(
    ("left", "after", "seconds"), [(math.inf, 5.0, math.inf), (60.0, 5.0, 55.0), (60.0, 0.0, 60.0), (3.0, 5.0, 0.0)]
)
def test_training_has_what_the_caller_does_not_need_afterwards(left: float, after: float, seconds: float) -> None:
    assert run(left=left, after=after).time_left == seconds


@pytest.mark.parametrize(
    ("left", "epochs", "seconds", "most", "given"),
    [
        (math.inf, 0, 0.0, 5 * phases.EPOCHS, 0.0),
        (math.inf, 3, 0.0, 15, 0.0),
        (60.0, 0, 40.0, 5 * phases.ENDLESS, 40.0),
        (60.0, 3, 0.2, 15, 1.0),
    ],
)
def test_a_phase_ends_with_its_epochs_or_with_its_time(
    left: float, epochs: int, seconds: float, most: int, given: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(phases, "Clock", lambda **how: asked.update(how))
    it = run(left=left, epochs=epochs)
    it._look = 0.5
    it._clock(5, 4, seconds)
    assert asked["steps_per_epoch"] * asked["epochs"] == most
    assert (asked["seconds"], asked["every"]) == (given, 4)
    assert asked["validation"] == asked["after"] == phases.PASS * 0.5 * 10


@pytest.mark.parametrize(("clip", "used"), [(0.0, phases.CLIP), (2.0, 2.0)])
def test_the_loop_is_told_how_a_detector_learns(monkeypatch: pytest.MonkeyPatch, clip: float, used: float) -> None:
    monkeypatch.setattr(phases, "weights_of", lambda recipe, train, on: ("weights", train, on))
    frozen = [nn.Linear(1, 1)]
    found = run(clip=clip)._settings(frozen)
    assert (found.schedule, found.precision, found.smoothing, found.clip) == (phases.cosine, "fp32", 0.0, used)
    assert found.weights == ("weights", range(30), CPU)
    assert (found.seed, found.grow, found.frozen, found.right) == (7, 1.0, frozen, "placed")


def net() -> nn.Module:
    found = nn.ModuleDict({"backbone": nn.Linear(2, 3), "head": nn.Linear(3, 2), "still": nn.Linear(1, 1)})
    found["still"].requires_grad_(False)
    return found


@pytest.mark.parametrize(("asked", "decay"), [(-1.0, phases.DECAY), (0.0, 0.0), (0.5, 0.5)])
def test_a_backbone_learns_slower_and_vectors_do_not_decay(asked: float, decay: float) -> None:
    made = net()
    factors = {"backbone.weight": 0.25, "backbone.bias": 0.25}
    player = run(weight_decay=asked)._player(made, 0.4, factors)
    (optimiser,) = player.optimisers
    groups = {
        name: (group["lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for name, weight in made.named_parameters()
        if any(weight is each for each in group["params"])
    }
    assert groups == {
        "backbone.weight": (0.1, decay),
        "backbone.bias": (0.1, 0.0),
        "head.weight": (0.4, decay),
        "head.bias": (0.4, 0.0),
    }
    assert isinstance(optimiser, torch.optim.AdamW)
    assert player.module is made
    assert player.best is not None


@pytest.mark.parametrize(("averaging", "kept"), [(0.0, False), (0.9, True)])
def test_an_average_is_kept_where_it_is_asked_for(averaging: float, kept: bool) -> None:
    average = run(averaging=averaging)._player(net(), 0.1, {}).average
    assert (average is not None) is kept
    assert average is None or average.decay == 0.9


@pytest.mark.parametrize(
    ("busy", "most", "count", "tried", "said"),
    [
        (True, 4, 2, True, ["training with 2 of 4 threads, which is quicker at this moment"]),
        (True, 4, 4, True, []),
        (False, 4, 2, False, []),
        (True, 1, 1, False, []),
    ],
)
def test_threads_are_tried_where_the_machine_is_busy(
    monkeypatch: pytest.MonkeyPatch, busy: bool, most: int, count: int, tried: bool, said: list[str]
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(phases, "contended", lambda: busy)
    monkeypatch.setattr(torch, "get_num_threads", lambda: most)
    monkeypatch.setattr(phases, "step_of", lambda run, autocast: (run, autocast))
    monkeypatch.setattr(phases, "quickest", lambda work, *, most: calls.append((work, most)) or count)
    monkeypatch.setattr(phases, "machine_of", lambda made: {"threads": "n"})
    renewed: list[Any] = []
    it = run()
    it._settle("a run", SimpleNamespace(renew=renewed.append), going_on=False)
    assert calls == [(("a run", "autocast"), most)] * tried
    assert it.made.said.notes == said
    assert renewed == [{"threads": "n"}]


@pytest.mark.parametrize(("chosen", "threads"), [({"threads": "3"}, 3), ({}, 8)])
def test_a_resumed_run_takes_the_threads_that_it_had(
    monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], threads: int
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr(phases, "quickest", lambda *_, **__: pytest.fail("tried"))
    folder = SimpleNamespace(chosen=lambda: chosen, renew=lambda _: pytest.fail("renewed"))
    run()._settle(None, folder, going_on=True)
    assert taken == [threads]


def test_what_was_before_a_resumed_phase_is_recalled() -> None:
    rows = [
        Tried("head", "a head", 0.5, 10, 1.0, 2.0, "7 steps", ((1.5, 0.25), (3.0, 0.5))),
        Tried("training", "x", None, 10, 3.0, 2.0, "0 steps"),
    ]
    it = run()
    it._recall({"history": [{"loss": 1.0}], "tried": [{**vars(row), "curve": [list(at) for at in row.curve]} for row in rows]})
    assert it.history == [{"loss": 1.0}]
    assert it.tried == rows
    it._recall({})
    assert (it.history, it.tried) == ([], [])


def test_the_best_weights_of_a_phase_are_put_into_the_net() -> None:
    made, best = nn.Linear(1, 1), Best()
    nn.init.constant_(made.weight, 1.0)
    it, this = run(), SimpleNamespace(net=made, best=best)
    it._take(this)
    assert made.weight.item() == 1.0, "none was validated"
    best.weights = {"weight": torch.tensor([[2.0]]), "bias": torch.zeros(1)}
    it._take(this)
    assert made.weight.item() == 2.0


@pytest.mark.parametrize(
    ("weights", "views", "first"), [("birds", 0, True), ("birds", 3, True), ("birds", -1, False), (None, 0, False)]
)
def test_a_head_comes_first_on_a_pretrained_backbone(weights: str | None, views: int, first: bool) -> None:
    assert run(weights=weights, views=views)._heads_first is first


class Looks:
    """Stands in for the views: each takes one second and 100 bytes."""

    shapes = ((1, 2, 2),)
    n = 30

    def __init__(self) -> None:
        self.views = 0
        self.now = 10.0

    @property
    def bytes(self) -> int:
        return 100 * self.views

    def see(self, *, autocast: Any) -> None:
        assert autocast == "autocast"
        self.views += 1
        self.now += 1.0


@pytest.mark.parametrize(
    ("left", "seconds", "asked", "before", "memory", "views", "said"),
    [
        (math.inf, math.inf, 0, 0, 10**6, phases.VIEWS, 0),
        (math.inf, math.inf, 6, 0, 10**6, 6, 0),
        (60.0, 20.0, 0, 0, 10**6, 7, 0),  # 35 % of 20 s
        (60.0, 20.0, 0, 5, 10**6, 5, 0),  # as many as the run had that is resumed
        (60.0, 2.0, 0, 0, 10**6, 1, 0),
        (900.0, 600.0, 0, 0, 10**6, phases.MOST_VIEWS, 0),
        (math.inf, math.inf, 6, 0, 1200, 4, 1),  # a quarter of the memory holds three more
    ],
)
def test_views_are_as_many_as_there_is_time_and_memory_for(
    monkeypatch: pytest.MonkeyPatch, left: float, seconds: float, asked: int, before: int, memory: int, views: int, said: int
) -> None:
    looks = Looks()
    monkeypatch.setattr(phases, "Views", lambda batches, maps: looks)
    monkeypatch.setattr(phases, "free_memory", lambda on: memory)
    monkeypatch.setattr(phases, "time", SimpleNamespace(monotonic=lambda: looks.now))
    it = run(left=left, views=asked)
    it.made.net, it.made.plan = SimpleNamespace(maps=None), Augment()
    monkeypatch.setattr(phases, "evaluating", lambda net: torch.no_grad())
    it._batches = lambda part, plan: None
    it.stop = False
    found, shapes = it._seen(seconds, before)
    assert (found, found.views, shapes) == (looks, views, looks.shapes)
    assert it._epoch_seconds == phases.STEP
    *few, last = it.made.said.notes
    assert last == f"the frozen backbone looked at {views} views of 30 pictures, 1.0 s each"
    assert few == [f"memory holds {views} views of each picture, not {asked}"] * said


@pytest.mark.parametrize(
    ("memory", "left", "fits"),
    [
        (10**9, math.inf, True),
        (1_280 / phases.MAPS, math.inf, True),  # forty pictures of 16 half floats
        (1_279 / phases.MAPS, math.inf, False),
        (10**9, 50.0, True),  # a picture takes a quarter of a second, all of them ten
        (10**9, 49.0, False),
    ],
)
def test_maps_are_kept_where_memory_and_time_hold_them(
    monkeypatch: pytest.MonkeyPatch, memory: float, left: float, fits: bool
) -> None:
    times = iter([100.0, 104.0])
    monkeypatch.setattr(phases, "free_memory", lambda on: memory)
    monkeypatch.setattr(phases, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(phases, "evaluating", lambda net: torch.no_grad())
    it = run(left=left)
    it.made.net = SimpleNamespace(maps=lambda images: [torch.zeros(len(images), 2, 2, 2), torch.zeros(len(images), 8, 1, 1)])
    it.made.autocast = torch.no_grad
    asked: list[Any] = []

    def at(epoch: int, rows: torch.Tensor) -> Any:
        asked.append((epoch, rows.tolist()))
        return SimpleNamespace(images=torch.zeros(len(rows), 3, 8, 12))

    it._batches = lambda part, plan: SimpleNamespace(at=at)
    assert it._affords_maps() is fits
    assert asked == [(0, list(range(16)))]
    assert it._look == 0.25
    said = ["maps of a frozen backbone would take 0.0 GiB and 10 s of 40 pictures: all is trained at once"]
    assert it.made.said.notes == ([] if fits else said)


def test_a_look_at_cached_maps_finds_what_the_net_finds_and_ends_when_it_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    plain = SimpleNamespace(see=lambda *, autocast: seen.append("maps"), rows=lambda: iter([torch.ones(2), torch.ones(1)]))
    monkeypatch.setattr(phases, "Views", lambda batches, maps: plain)
    monkeypatch.setattr(phases, "evaluating", lambda net: torch.no_grad())
    monkeypatch.setattr(phases, "detected", lambda rows, config: [float(row) for row in rows])
    it = run()
    it.made.net, it.made.autocast = SimpleNamespace(maps=None), torch.no_grad
    plans: list[Augment] = []
    it._batches = lambda part, plan: plans.append(plan)
    see = it._looking([(1, 2, 2)])
    assert seen == ["maps"]
    assert plans == [Augment()], "validation pictures are looked at as they are"
    double: Any = torch.nn.Module()
    double.forward = lambda rows: 2 * rows
    assert see(double, lambda: False) == [2.0, 2.0, 2.0]
    assert see(double, lambda: True) is None
    assert seen == ["maps"], "they are cached"
