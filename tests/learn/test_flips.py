"""Flips are measured: what a mirror changes is found whatever the classes are called, and what it does not is flipped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from beholder.base.deadline import Deadline
from beholder.base.recipe import Recipe
from beholder.base.records import Pictures, PixelPolicy
from beholder.data.cache import cached
from beholder.learn import flips
from beholder.learn.flips import Flips, as_before, measured, wanted
from beholder.nets.head import fit
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.tasks.multi import MULTI

Picture = npt.NDArray[np.uint8]


def noisy(picture: Image.Image, rng: np.random.Generator) -> Picture:
    seen = np.asarray(picture) + rng.normal(0, 10, (*picture.size, 3))
    return np.clip(seen, 0, 255).astype(np.uint8)


def arrow(label: int, rng: np.random.Generator) -> Picture:
    """An arrow to the left (0) or to the right (1), of any colours."""
    picture = Image.new("RGB", (32, 32), tuple(int(v) for v in rng.integers(0, 90, 3)))
    outline = [(8, 16), (18, 8), (18, 13), (25, 13), (25, 19), (18, 19), (18, 24)]
    x, y = (int(v) for v in rng.integers(-3, 4, 2))
    points = [((a if label == 0 else 31 - a) + x, b + y) for a, b in outline]
    ImageDraw.Draw(picture).polygon(points, fill=tuple(int(v) for v in rng.integers(150, 255, 3)))
    return noisy(picture, rng)


def letter(label: int, rng: np.random.Generator) -> Picture:
    picture = Image.new("RGB", (32, 32))
    place = tuple(16 + rng.uniform(-2, 2, 2))
    ImageDraw.Draw(picture).text(place, "bdo"[label], font=ImageFont.load_default(size=22), fill="white", anchor="mm")
    return noisy(picture, rng)


def blot(label: int, rng: np.random.Generator) -> Picture:
    """A disc or a square anywhere: the same thing from every side."""
    picture = Image.new("RGB", (32, 32), (60, 60, 60))
    x, y = rng.uniform(3, 13, 2)
    pen = ImageDraw.Draw(picture)
    (pen.ellipse if label else pen.rectangle)((x, y, x + 16, y + 16), fill=(200, 200, 80 + 100 * label))
    return noisy(picture, rng)


def parts(make: Callable[[int, np.random.Generator], Picture], names: tuple[str, ...], n: int = 240) -> list[flips.Part]:
    """A training and a validation part of a third of that."""
    rng = np.random.default_rng(0)
    labels = np.arange(n + n // 3) % len(names)
    held = digested(scan(([make(int(label), rng) for label in labels], [names[label] for label in labels])))
    some: list[Pictures] = [held.take(np.arange(n)), held.take(np.arange(n, len(held)))]
    return [(part, cached(part, PixelPolicy(32, 32))) for part in some]


@pytest.mark.parametrize("names", [("33", "34"), ("00033", "00034"), ("x", "y")])
def test_arrows_are_never_mirrored_by_any_names(names: tuple[str, ...]) -> None:
    """Upside down they point where they did."""
    found = measured(*parts(arrow, names))
    assert (found.horizontal, found.vertical) == (False, True)
    assert "becomes" in found.why


def test_one_pair_of_letters_that_a_mirror_exchanges_is_enough() -> None:
    found = measured(*parts(letter, ("first", "second", "third")))
    assert found.horizontal is False
    assert "'first' becomes 'second'" in found.why


def test_things_that_are_the_same_from_every_side_are_flipped_whatever_they_are_called() -> None:
    found = measured(*parts(blot, ("left", "right")))
    assert (found.horizontal, found.vertical) == (True, True)


def test_few_pictures_tell_nothing_and_that_is_said() -> None:
    found = measured(*parts(arrow, ("33", "34"), n=12))
    assert found.horizontal is None
    assert "too few" in found.why


@pytest.mark.parametrize("names", [("33", "34"), ("00033", "00034")])
def test_arrows_are_known_from_few_pictures(names: tuple[str, ...]) -> None:
    """Thirty of each, and ten to validate on: those of training are asked about too, by heads that did not see them."""
    assert measured(*parts(arrow, names, n=60)).horizontal is False


def test_classes_that_no_head_can_tell_say_nothing_of_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flips, "backbone", lambda seconds, total: None)
    found = measured(*parts(lambda label, rng: noisy(Image.new("RGB", (32, 32)), rng), ("a1", "b1")))
    assert found.horizontal is None
    assert "cannot tell" in found.why


def test_a_backbone_that_knows_things_from_either_side_is_asked_where_edges_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, int]] = []

    def colour(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return pictures[:, :, 8:24, 8:24].mean(axis=(2, 3)).astype(np.float32)  # no side in it

    def given(seconds: float, total: int) -> flips.Features:
        asked.append((seconds, total))
        return colour

    monkeypatch.setattr(flips, "backbone", given)
    monkeypatch.setattr(flips, "KNOWN", 1.1)
    train, valid = parts(blot, ("a1", "b1"))
    found = measured(train, valid, seconds=7)
    assert found.horizontal is True
    assert "backbone" in found.why
    assert asked == [(7, 240 + 3 * 80)]


def test_several_labels_are_measured_one_by_one() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (400, 2)).astype(np.uint8)
    labels[labels.sum(axis=1) == 0] = 1
    pictures = []
    for left, bright in labels.tolist():
        one = arrow(0 if left else 1, rng).astype(int)
        pictures.append(np.clip(one + 60 * bright, 0, 255).astype(np.uint8))
    held = digested(scan((pictures, labels)))
    assert held.multi
    some = [held.take(np.arange(300)), held.take(np.arange(300, 400))]
    found = measured(*((part, cached(part, PixelPolicy(32, 32))) for part in some))
    assert found.horizontal is False
    assert found.vertical is True


def test_what_a_recipe_says_is_not_measured() -> None:
    train, valid = parts(arrow, ("33", "34"), n=60)
    for fields in ({"flip": "both"}, {"augment": "none"}, {"strength": 0.0}):
        assert wanted(Recipe().set(**fields), train, valid) is None


def test_the_answer_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    train, valid = parts(arrow, ("33", "34"), n=120)
    first = wanted(Recipe(), train, valid)
    monkeypatch.setattr(flips, "measured", lambda *_, **__: Flips(why="asked again"))
    assert first is not None
    assert wanted(Recipe(), train, valid) == first
    assert wanted(Recipe(), valid, train) == Flips(why="asked again")


def test_without_time_nothing_is_flipped_by_names_and_nothing_is_remembered() -> None:
    train, valid = parts(arrow, ("ants", "bees"), n=60)
    found = wanted(Recipe(), train, valid, until=Deadline(1.0, now=lambda: 0.0))
    assert found is not None
    assert (found.horizontal, found.vertical, found.whole) == (False, False, False)
    assert "no time" in found.why
    again = wanted(Recipe(), train, valid)
    assert again is not None
    assert again.whole


def test_a_resumed_run_flips_as_it_did() -> None:
    for axes in ("none", "horizontal", "vertical", "horizontal vertical"):
        found = as_before(axes)
        assert {axis for axis in ("horizontal", "vertical") if getattr(found, axis)} == set(axes.split()) - {"none"}


def test_labels_that_most_pictures_have_count_less_in_the_head_of_several_labels() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    y = np.stack([x[:, 0] + rng.normal(size=200) > -2, x[:, 1] + rng.normal(size=200) > 0], 1).astype(np.int64)
    said = flips._head(x, y)
    goal = torch.from_numpy(y).float()
    weights = (200 - goal.sum(0)) / goal.sum(0)
    assert float(weights[0]) < 0.2
    weight, bias = fit(torch.from_numpy(x), goal, task=MULTI, decay=flips.PENALTY / 400, weights=weights)
    seen = rng.normal(size=(500, 3)).astype(np.float32)
    assert np.array_equal(said(seen), (torch.from_numpy(seen) @ weight.T + bias).numpy() > 0)
