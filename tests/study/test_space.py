"""The ranges of a search: what is open, what a person says instead, and what comes of a point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe, load, names
from beholder.study.space import (
    PORTFOLIO,
    RANGES,
    VARIED,
    Range,
    candidate,
    changed,
    factors,
    portfolio,
    space,
    suggest,
    usual,
)

SMALL: dict[str, Any] = {"net": "fastnet", "pretrained": False, "nets": ("auto", "resnet")}
PHOTOS: dict[str, Any] = {"net": "timm:x", "pretrained": True, "nets": ("auto", "timm:y"), "sizes": (0, 256)}


class Low:
    """A trial that suggests the first choice and the lowest number."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return low

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[0]


def made(recipe: Recipe, params: dict[str, Any], ranges: Any) -> Recipe:
    return candidate(recipe, params, ranges, width=lambda net: {"auto": 0.5, "resnet": 1.0}[net])


@pytest.mark.parametrize("how", [SMALL, PHOTOS])
def test_the_usual_point_is_the_recipe_itself(how: dict[str, Any]) -> None:
    ranges = space(load("quick"), **how)
    found = made(load("quick"), usual(ranges), ranges)
    assert found == load("quick")
    assert set(factors(usual(ranges), ranges).values()) == {1.0}


def test_what_a_person_set_stays_and_the_rest_depends_on_the_net() -> None:
    asked = load("quick").set(net="cnn", lr=0.01, mixup=0.2)
    ranges = space(asked, net="cnn", pretrained=False, nets=("auto",))
    assert not {"net.name", "train.lr", "data.mixup", "train.freeze", "train.class_weights"} & set(ranges)
    assert {"net.width", "train.optimiser", "train.weight_decay"} <= set(ranges)
    photos = space(load("quick"), **PHOTOS, skewed=True)
    assert {"train.freeze", "train.layer_decay", "data.size", "train.class_weights"} <= set(photos)
    assert not {"net.width", "train.optimiser"} & set(photos)
    assert "train.smoothing" in space(load("sprint"), net="fastnet", pretrained=False), "the named recipe's own is open"
    assert space(load("sprint"), net="fastnet", pretrained=False)["train.smoothing"].usual == 0.2


def test_a_point_becomes_a_recipe_and_factors_on_what_a_run_plans() -> None:
    ranges = space(load("quick"), **SMALL)
    changes = {"net.name": "resnet", "net.width": 0.5, "data.strength": 3.0, "train.lr": 2.0, "data.augment": "strong"}
    point = {**usual(ranges), **changes}
    found = made(load("quick").set(strength=0.5), point, ranges)
    assert (found.net.name, found.net.width, found.data.strength, found.data.augment) == ("resnet", 0.5, 1.5, "strong")
    assert found.train.lr == 0
    assert factors(point, ranges) == {"train.lr": 2.0, "train.weight_decay": 1.0}
    lowest = suggest(Low(), ranges)
    assert lowest["train.lr"] == RANGES["train.lr"].low
    assert lowest.keys() == ranges.keys()


@pytest.mark.parametrize("pretrained", [False, True])
def test_the_portfolio_is_of_points_of_the_space_each_once(pretrained: bool) -> None:
    ranges = space(load("quick"), **(PHOTOS if pretrained else SMALL), skewed=True)
    points = portfolio(ranges, pretrained=pretrained)
    assert points[0] == usual(ranges)
    assert len(points) >= 5
    for point in points:
        assert point.keys() == ranges.keys()
        for path, value in point.items():
            kept = ranges[path]
            assert value in kept.choices if kept.choices else kept.low <= value <= kept.high
        made(load("quick"), {**point, "net.name": "auto"}, ranges)
    named = {path for changes in PORTFOLIO[pretrained] for path in changes}
    assert named <= {*RANGES, "net.name", "data.size"}
    assert len(portfolio({"train.lr": RANGES["train.lr"]}, pretrained=False)) < len(points)


def test_a_person_gives_other_ranges_in_a_table_or_in_toml(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        '"net.name" = ["fastnet", "resnet"]\n"data.mixup" = false\n'
        "[train]\nlr = {low = 0.001, high = 0.1, log = true}\nweight_decay = {low = 0.5, high = 2.0, factor = true}\n"
    )
    ranges = changed(space(load("quick"), **SMALL), file)
    assert ranges["net.name"].choices == ("fastnet", "resnet")
    assert "data.mixup" not in ranges
    assert ranges["train.lr"] == Range(0.001, 0.1, True, usual=pytest.approx(0.01), own=False)
    assert ranges["train.weight_decay"].usual == 1.0
    assert made(load("quick"), {"train.lr": 0.02}, ranges).train.lr == 0.02
    assert changed({}, {"lr": [0.1, 0.2]})["train.lr"].choices == (0.1, 0.2)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"lr": 3}, "bad-space"),
        ({"lr": {"low": 1.0}}, "bad-space"),
        ({"lr": {"low": 2.0, "high": 1.0}}, "bad-space"),
        ({"lr": {"low": 0.0, "high": 1.0, "log": True}}, "bad-space"),
        ({"smoothing": {"low": 0.5, "high": 2.0, "factor": True}}, "bad-space"),
        ({"mixup": {"low": "a", "high": 1.0}}, "bad-space"),
        ({"lr": {"low": 0.1, "high": float("inf"), "factor": True}}, "bad-space"),
        ({"lr": {"low": -2.0, "high": 2.0, "factor": True}}, "bad-space"),
        ({"net.name": {"low": 1, "high": 2}}, "bad-space"),
        ({"batch": {"low": 16, "high": 64}}, "bad-space"),
        ({"augment": ["light", "lihgt"]}, "bad-value"),
        ({"lr": {"low": 1.0, "high": 1000.0}}, "bad-value"),
        ({"learning": [1]}, "unknown-field"),
        ("nowhere.toml", "bad-space"),
    ],
)
def test_what_is_no_range_is_refused(said: Any, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed({}, said)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "said", ['"train.lr" = {low = 0.1, high = 1.0, lgo = true}', "lr = {lwo = 0.1}", "[train]\nlr = {lwo = 1}"]
)
def test_a_misspelt_word_of_a_range_is_said_of_that_range(said: str, tmp_path: Path) -> None:
    (tmp_path / "ranges.toml").write_text(said)
    with pytest.raises(UsageError, match=r"is no range for train\.lr") as caught:
        changed({}, tmp_path / "ranges.toml")
    assert caught.value.code == "bad-space"


FIXED = {
    *("name", "task", "seed", "net.weights", "net.licence"),
    *(f"data.{name}" for name in ("audit", "decisions", "group_from", "order", "leaks", "on_bad", "val", "test", "pixels")),
    *("data.memory", "data.workers", "data.unlabelled", "data.synthetic"),
    *(f"train.{name}" for name in ("epochs", "effort", "minutes", "patience", "micro", "compile", "objective", "teacher")),
}


def test_each_field_of_a_recipe_may_vary_or_may_not() -> None:
    may = {f"{section}.{name}" for section, inner in VARIED.items() for name in inner}
    trained = {path for path in names() if not path.startswith(("test.", "generate.", "detect."))}
    assert may | FIXED == trained
    assert not may & FIXED
    assert {*RANGES, "net.name", "data.size"} <= may


def test_what_no_candidate_may_vary_is_refused_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text("seed = [1, 2]\n[data]\nval = {low = 0.1, high = 0.3}\nmixup = [0.0, 0.2]\n")
    with pytest.raises(UsageError) as caught:
        changed({}, tmp_path / "space.toml")
    assert caught.value.code == "bad-space"
    assert caught.value.message == "the candidates of a search cannot vary seed, data.val"
    assert "of data: size, fit, " in caught.value.hint
    for path in [path for path in names() if path.startswith(("test.", "generate.", "detect."))]:
        with pytest.raises(UsageError, match=path):
            changed({}, {path: [1]})
    assert changed({}, {"seed": False}) == {}, "it is not searched in any case"


@pytest.mark.parametrize(
    ("path", "example"),
    [
        ("data.size", "[1, 2], or data.size"),
        ("train.probe", "[true, false], or"),
        ("train.clip", "[0.1, 0.2], or train.clip = {"),
    ],
)
def test_the_hint_shows_a_range_that_the_field_takes(path: str, example: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed({}, {path: 3})
    assert example in caught.value.hint
