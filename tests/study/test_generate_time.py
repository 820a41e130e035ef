"""After its training a generator is measured and shown as far as there is time, and what was left out is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.base import events
from beholder.base.deadline import NEVER, Deadline
from beholder.bundle.generator import Generator
from beholder.data.cache import cached
from beholder.learn.generate import generate as learnt
from beholder.study import generate as module
from beholder.study import worth


class Time:
    """A clock that stands still but for what is done."""

    def __init__(self) -> None:
        self.now, self.each = 1000.0, 0.01

    def until(self, left: float) -> Deadline:
        return Deadline(self.now + left, lambda: self.now)


SHUFFLED = np.random.default_rng(9).permutation(1797)
"""Digits in an order without drift; the source has the first 400."""


class Slow(Generator):
    """Takes `each` seconds for a picture, whatever is done with it."""

    clock: Time
    each: float
    rows: list[int]

    def _take(self, n: int) -> None:
        self.rows.append(n)
        self.clock.now += self.each * n

    def chunks(self, labels: Any, *, seed: int = 0) -> Any:
        self._take(len(labels))
        return super().chunks(labels, seed=seed)

    def bounds(self, images: Any, labels: Any, *, draws: int = 1, seed: int = 0) -> Any:
        self._take(draws * len(images))
        return super().bounds(images, labels, draws=draws, seed=seed)

    def latents(self, images: Any, labels: Any) -> Any:
        self._take(len(images))
        return super().latents(images, labels)

    def rebuilt(self, images: Any, labels: Any) -> Any:
        self._take(len(images))
        return super().rebuilt(images, labels)

    def between(self, images: Any, labels: Any, **how: Any) -> Any:
        self._take(len(images))
        return super().between(images, labels, **how)


@pytest.fixture(scope="module")
def parts() -> beholder.Parts:
    from sklearn.datasets import load_digits

    found, some = load_digits(), SHUFFLED[:400]
    order = some[np.argsort(found.target[some], kind="stable")]  # class by class, as folders are
    x = np.rint(found.images[order] * (255 / 16)).astype(np.uint8)
    with events.listen(alone=True):
        return beholder.split(beholder.scan((x, found.target[order].astype(np.int64))), seed=0, near=False, val=0.25)


@pytest.fixture(scope="module")
def trained(parts: beholder.Parts) -> dict[str, Generator]:
    with events.listen(alone=True):
        return {kind: learnt(parts, kind=kind, epochs=1, maps=8, precision="fp32") for kind in ("vae", "gan")}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The clock, and features by a net that takes half a second to open and as long for a picture as the generator does."""
    found = Time()

    def features_of(pictures: Any, *given: Any, **how: Any) -> Any:
        minutes, n = given[3], len(pictures)
        count = n if not minutes else max(20, min(n, int(60 * minutes / found.each)))
        found.now += 0.2 + found.each * count
        rows = np.full((n, 4), np.nan, np.float32)
        rows[:count] = np.random.default_rng(n).normal(size=(count, 4))
        return rows

    monkeypatch.setattr(worth, "features_of", features_of)
    monkeypatch.setattr(worth, "slowness", lambda: 1.0)
    return found


def slow(made: Generator, clock: Time, each: float) -> Slow:
    clock.each = each
    found = Slow(made.config, made.net, made.recipe, made.history)
    found.clock, found.each, found.rows = clock, each, []
    return found


ALL = {"vae": ("bits per dimension", "kernel distance and recall", *module.REBUILT), "gan": ("kernel distance and recall",)}


@pytest.mark.parametrize("kind", ["vae", "gan"])
@pytest.mark.parametrize(("left", "each"), [(0.5, 0.01), (5.0, 0.01), (5.0, 0.05)])
def test_it_ends_in_time_whatever_a_picture_takes(
    parts: beholder.Parts,
    trained: dict[str, Generator],
    clock: Time,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: str,
    left: float,
    each: float,
) -> None:
    made, until = slow(trained[kind], clock, each), clock.until(left)
    found = module._finished(made, parts, tmp_path / "g.beholder", until)
    shown = module.FEW_IN_ROW * 10
    opened = 3 * (0.2 + 20 * each) + 24 * each  # what features take whatever there is time for, and their pairs
    assert clock.now <= until.at + shown * each + (opened if found.features is not None else 0.0) + 1e-6
    said = made.scores["said"]
    if found.left_out:
        assert said[-1] == f"left out for lack of time: {', '.join(found.left_out)}; give more --minutes"
        assert set(found.left_out) <= set(ALL[kind])
    assert ("features" in made.scores) is ("kernel distance and recall" not in found.left_out)
    page = (tmp_path / "g.beholder" / "report.html").read_text("utf-8")
    assert ">Samples</h2>" in page
    assert (">Map of the latent space</h2>" in page) is (kind == "vae" and "map of the latent space" not in found.left_out)
    assert all(words in page for words in said[-1:])


@pytest.mark.parametrize(("kind", "left", "left_out"), [("vae", 0.0, ALL["vae"]), ("gan", 0.0, ALL["gan"]), ("vae", 60.0, ())])
def test_what_there_is_no_time_for_is_left_out_and_the_rest_is_not(
    parts: beholder.Parts,
    trained: dict[str, Generator],
    clock: Time,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    left: float,
    left_out: tuple[str, ...],
) -> None:
    made, until = slow(trained[kind], clock, 0.001), clock.until(left)
    found = module.measured(made, parts, until)
    _, missing = module.shown(made, parts, found, until)
    assert (*found.left_out, *missing) == left_out


def test_without_a_budget_everything_is_measured_of_all(
    parts: beholder.Parts, trained: dict[str, Generator], clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = slow(trained["vae"], clock, 100.0)
    found = module.measured(made, parts, NEVER)
    page, missing = module.shown(made, parts, found, NEVER)
    assert found.bits is not None
    assert found.bits[0].n == len(parts.valid) >= 99
    assert found.features is not None
    assert found.features.recall.n == len(parts.valid)
    assert (found.left_out, missing) == ((), ())
    assert page.mapped is not None
    assert len(page.mapped[0]) == len(parts.valid)
    assert [len(strip) for _, strip in page.samples] == [12] * 10


def test_where_there_is_time_for_some_pictures_they_are_of_all_classes(
    parts: beholder.Parts, trained: dict[str, Generator], clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = slow(trained["vae"], clock, 0.01)
    given: list[Any] = []
    real = module.bits_of
    monkeypatch.setattr(module, "bits_of", lambda *rest, **how: given.append(rest[2]) or real(*rest, **how))
    bits = module._bits(made, *module._validation(made, parts, 500, NEVER), clock.until(2.0))
    assert bits is not None
    assert 20 <= bits[0].n < len(parts.valid)
    assert np.bincount(given[0]).min() >= 2
    monkeypatch.setattr(module, "MAPPED", 40)
    page, _ = module.shown(made, parts, module.Known(None, None, ()), NEVER)
    assert page.mapped is not None
    counts = np.bincount(page.mapped[1], minlength=10)
    assert (counts.sum(), len(counts)) == (40, 10)
    assert 3 <= counts.min() <= counts.max() <= 5, "each class has nearly its share"


@pytest.mark.parametrize(
    ("minutes", "slowness", "after", "left"),
    [(0.2, 1.0, 1.44 + 2.0, 10.0), (0.4, 2.0, 2.88 + 4.0, 20.0), (15.0, 1.0, 47.0, 898.0)],
)
def test_training_leaves_time_for_what_follows(
    parts: beholder.Parts,
    trained: dict[str, Generator],
    monkeypatch: pytest.MonkeyPatch,
    minutes: float,
    slowness: float,
    after: float,
    left: float,
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(module, "slowness", lambda: slowness)
    monkeypatch.setattr(module, "learnt", lambda *_, **how: given.append(how["after"]) or trained["gan"])
    known = module.Known(None, None, ())
    monkeypatch.setattr(module, "_finished", lambda made, parts, out, until: given.append(until.at) or known)
    with events.listen(alone=True):
        module.generate(parts.train, minutes=minutes, began=50.0)
    assert given == [pytest.approx(after), pytest.approx(50.0 + left)]


def healthy(made: Generator) -> Generator:
    """A generator that makes pictures like those of the source: real ones that no part has."""
    from sklearn.datasets import load_digits

    pictures = np.rint(load_digits().images[SHUFFLED[400:1000], None] * (255 / 16)).astype(np.uint8)

    class Real(Generator):
        def chunks(self, labels: Any, *, seed: int = 0) -> Any:
            yield pictures[: len(labels)]

    return Real(made.config, made.net, made.recipe)


def constant(made: Generator) -> Generator:
    """A generator that makes one picture, whatever it is given."""
    import copy

    net = copy.deepcopy(made.net)
    for weights in net.generator.parameters():
        weights.data.zero_()
    return Generator(made.config, net, made.recipe)


def of_one_mode(made: Generator) -> Generator:
    """A generator that makes one digit over and over, a little noisier each time."""
    real = healthy(made).sample(1)[0]

    class One(Generator):
        def chunks(self, labels: Any, *, seed: int = 0) -> Any:
            noise = np.random.default_rng(seed).integers(0, 9, (len(labels), 1, 8, 8))
            yield np.clip(real + noise, 0, 255).astype(np.uint8)

    return One(made.config, made.net, made.recipe)


@pytest.mark.parametrize(("how", "collapsed"), [(healthy, False), (constant, True), (of_one_mode, True)])
def test_collapse_is_found_and_said_and_health_is_not(
    parts: beholder.Parts,
    trained: dict[str, Generator],
    clock: Time,
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[Generator], Generator],
    collapsed: bool,
) -> None:
    """By the figures that `generate` takes, of pixels in place of a backbone's features."""

    def pixels_of(pictures: Any, *_: Any, **__: Any) -> Any:
        found = cached(pictures, trained["gan"].config.pixels)
        return found.take(np.arange(len(found))).reshape(len(found), -1).astype(np.float32) / 100

    monkeypatch.setattr(worth, "features_of", pixels_of)
    made = how(trained["gan"])
    found = module.measured(made, parts, NEVER)
    assert found.features is not None
    scores = module.scored(found)
    assert scores["features"]["collapsed"] is collapsed
    assert any(said.startswith("collapse: ") for said in scores["said"]) is collapsed
    assert found.features.ceiling.value > 0.6
    if collapsed:
        assert found.features.recall.value < 0.1
    else:
        assert found.features.recall.value > 0.75 * found.features.ceiling.value


def test_a_block_of_the_kernel_distance_is_of_all_classes() -> None:
    """Real pictures lie class by class, made ones do not: made ones of the same two classes in the same shares are near."""
    random = np.random.default_rng(0)
    centres = np.zeros((2, 16), np.float32)
    centres[[0, 1], [0, 1]] = 8.0

    def drawn(labels: np.ndarray) -> np.ndarray:
        return centres[labels] + random.normal(size=(len(labels), 16)).astype(np.float32)

    by_class, in_turn = np.repeat([0, 1], 200), np.tile([0, 1], 200)
    found = [drawn(labels) for labels in (by_class, in_turn, by_class)]
    rows = [np.arange(400)] * 3
    said = worth._features("net", found, rows, np.arange(400), np.random.default_rng(0))
    apart = worth.kid(found[0], found[1]).value
    assert abs(said.kid.value - said.floor.value) < 0.1 * apart
    assert said.kid.low < said.kid.high
    assert said.ceiling.value > 0.8
    assert said.recall.value > 0.8
