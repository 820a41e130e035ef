"""What `tune` searches: a range for each field of the recipe that is open, and the candidates that it starts with."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe, find, load, named, value_of
from beholder.nets.choose import DIALLED

Params = dict[str, Any]
"""Field of the recipe → the value that a candidate has there; of a factor, the factor."""


class Trial(Protocol):
    """The part of an Optuna trial that is used here; a finished one answers with the values that it had."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number between low and high."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices."""


@dataclass(frozen=True)
class Range:
    """What a field may be: a number from `low` to `high` (log: on a logarithmic scale), or one of `choices`.

    factor: the number is a factor on what the recipe would be given there, and 1 changes nothing
    usual: what a candidate has there that is not about this field; own: whether it stands for the recipe as it is
    """

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    factor: bool = False
    choices: tuple[Any, ...] = ()
    usual: Any = 1.0
    own: bool = True

    def of(self, trial: Trial, path: str) -> Any:
        """Return what a trial suggests for the field `path`."""
        if self.choices:
            return trial.suggest_categorical(path, self.choices)
        return trial.suggest_float(path, self.low, self.high, log=self.log)


RANGES: Mapping[str, Range] = {
    "net.width": Range(0.5, 2.0, log=True, factor=True),
    "net.dropout": Range(0.0, 0.5, usual=0.0),
    "data.augment": Range(choices=("auto", "light", "standard", "strong"), usual="auto"),
    "data.strength": Range(0.0, 2.0, factor=True),
    "data.mixup": Range(0.0, 0.4, usual=0.0),
    "train.optimiser": Range(choices=("auto", "adamw", "sgd"), usual="auto"),
    "train.lr": Range(0.2, 5.0, log=True, factor=True),
    "train.weight_decay": Range(0.1, 10.0, log=True, factor=True),
    "train.smoothing": Range(0.0, 0.2, usual=0.1),
    "train.freeze": Range(0.0, 0.8, usual=0.4),
    "train.layer_decay": Range(0.6, 1.0, usual=1.0),
    "train.class_weights": Range(choices=("none", "balanced"), usual="none"),
}
"""The declared ranges, by field. `net.name` and `data.size` have theirs from the nets at hand."""

FACTORS = ("train.lr", "train.weight_decay", "net.width", "data.strength")
"""Fields of which the range may be a factor: their usual value is chosen by the net, the pictures and the machine."""

VARIED: Mapping[str, tuple[str, ...]] = {
    "data": ("size", "fit", "channels", "background", "augment", "strength", "flip", "mixup", "cutmix", "grow"),
    "net": ("name", "init", "width", "dropout", "enlarge"),
    "train": (
        *("batch", "lr", "optimiser", "schedule", "momentum", "weight_decay", "smoothing", "class_weights", "clip"),
        *("averaging", "precision", "freeze", "layer_decay", "probe", "mirror", "teacher_weight", "temperature", "subset"),
    ),
}
"""Fields that a candidate may vary, by section: how a net learns from the same pictures, in the same time.

All others are one for a whole search: what the pictures, their labels and their parts are, how long a run is, by which score
candidates are compared, what is fitted after training, and what changes no result (threads, memory).
"""

SCRATCH, PRETRAINED = ("net.width", "train.optimiser"), ("train.freeze", "train.layer_decay", "net.dropout")
"""Fields that are open for nets from random weights alone, and for pretrained ones alone."""


def space(
    recipe: Recipe, *, net: str, pretrained: bool, nets: Sequence[str] = (), sizes: Sequence[int] = (), skewed: bool = False
) -> dict[str, Range]:
    """Return field → range of what is open: what a person set beside the named recipe stays as it is.

    net: what the recipe as it is trains; nets, sizes: that may be tried instead of what is chosen ("auto" or the recipe's)
    skewed: whether classes differ so much in size that weights for them are worth a try
    """
    base = load(recipe.name) if recipe.name in named() else Recipe()
    closed = (*(SCRATCH if pretrained else PRETRAINED), *(() if skewed else ("train.class_weights",)))
    found = {path: kept for path, kept in RANGES.items() if path not in closed}
    if not pretrained and net not in DIALLED and "net.width" in found and net != "cnn":
        del found["net.width"]
    if len(nets) > 1:
        found = {"net.name": Range(choices=tuple(nets), usual=nets[0]), **found}
    if len(sizes) > 1:
        found["data.size"] = Range(choices=tuple(sizes), usual=sizes[0])
    opened = {path: kept for path, kept in found.items() if value_of(recipe, path) == value_of(base, path)}
    return {path: _around(kept, value_of(recipe, path)) for path, kept in opened.items()}


def _around(kept: Range, value: Any) -> Range:
    """Return a range whose usual value is the recipe's own, where that is a choice or a number within it."""
    if kept.factor or value in ("auto", 0, -1.0, 0.0):
        return kept
    inside = value in kept.choices if kept.choices else kept.low <= value <= kept.high
    return replace(kept, usual=value) if inside else kept


def changed(found: Mapping[str, Range], given: Mapping[str, object] | str | Path | None) -> dict[str, Range]:
    """Return the ranges with those of a person in their place: field → a list of choices, {low, high, log, factor}, or false.

    given: the table itself, or the path of a TOML file that holds it
    Raises `UsageError` (bad-space) for what is no range, and for fields that no candidate may vary.
    """
    if given is None:
        return dict(found)
    table = _read(Path(given)) if isinstance(given, (str, Path)) else given
    ranges, asked = dict(found), {find(name): said for name, said in table.items()}
    _check_varied(path for path, said in asked.items() if said is not False)
    for path, said in asked.items():
        if said is False:
            ranges.pop(path, None)
        else:
            ranges[path] = _range(path, said)
    return ranges


def nets(given: Mapping[str, object] | str | Path | None) -> tuple[str, ...]:
    """Return the nets that a person's ranges name. Raises what `changed` raises."""
    return tuple(str(name) for name in changed({}, given).get("net.name", Range()).choices)


def _check_varied(paths: Iterable[str]) -> None:
    may = {f"{section}.{name}" for section, inner in VARIED.items() for name in inner}
    if fixed := [path for path in paths if path not in may]:
        hint = "; ".join(f"of {section}: {', '.join(inner)}" for section, inner in VARIED.items())
        what = f"the candidates of a search cannot vary {', '.join(fixed)}"
        raise UsageError(what, code="bad-space", hint=f"they can vary, {hint}")


def _read(path: Path) -> dict[str, object]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no table of ranges: {error}", code="bad-space", hint="see docs/TUNING.md") from error
    found: dict[str, object] = {}
    for section, inner in table.items():
        nested = isinstance(inner, dict) and is_dataclass(getattr(Recipe(), section, None))
        found |= {f"{section}.{name}": value for name, value in inner.items()} if nested else {section: inner}
    return found


def _range(path: str, said: object) -> Range:
    """Return the range that a person gave for a field; each of its values must be one that the field takes."""
    if isinstance(said, Range):
        return said
    kind = type(value_of(Recipe(), path))
    numbers = f"{path} = {{low = 0.1, high = 1.0, log = true}}, or " if kind is float else ""
    hint = f"{path} = [{_CHOICES[kind]}], or {numbers}{path} = false"
    bad = UsageError(f"'{said}' is no range for {path}", code="bad-space", hint=hint)
    if isinstance(said, (list, tuple)) and said:
        for choice in said:
            Recipe().override([f"{path}={choice}"])
        return Range(choices=tuple(said), usual=said[0], own=False)
    if not isinstance(said, Mapping) or not {"low", "high"} <= set(said) <= {"low", "high", "log", "factor"}:
        raise bad
    log, factor = bool(said.get("log", False)), bool(said.get("factor", False))
    try:
        low, high = float(said["low"]), float(said["high"])
    except (TypeError, ValueError):
        raise bad from None
    sound = -math.inf < low < high < math.inf and (low > 0 or not log) and (not factor or (low >= 0 and path in FACTORS))
    if kind is not float or not sound:
        raise bad
    for value in () if factor else (low, high):
        Recipe().override([f"{path}={value}"])
    usual = 1.0 if factor and low <= 1 <= high else (low * high) ** 0.5 if log else (low + high) / 2
    return Range(low, high, log, factor, usual=usual, own=factor)


_CHOICES = {str: '"a", "b"', int: "1, 2", float: "0.1, 0.2", bool: "true, false"}


def suggest(trial: Trial, ranges: Mapping[str, Range]) -> Params:
    """Return a value for every range, as a trial suggests them."""
    return {path: kept.of(trial, path) for path, kept in ranges.items()}


def usual(ranges: Mapping[str, Range]) -> Params:
    """Return the point that stands for the recipe as it is."""
    return {path: kept.usual for path, kept in ranges.items()}


PLANNED = ("train.lr", "train.weight_decay")
"""Fields of which the usual value is only known once a run is planned: the factors on them are applied there."""


def factors(params: Mapping[str, Any], ranges: Mapping[str, Range]) -> dict[str, float]:
    """Return the parameters that are factors on what a run plans by itself: rate and weight decay."""
    return {path: params[path] for path in PLANNED if path in params and ranges[path].factor}


def candidate(
    recipe: Recipe, params: Mapping[str, Any], ranges: Mapping[str, Range], *, width: Callable[[str], float]
) -> Recipe:
    """Return the recipe with every parameter but `factors`; the usual values leave what the recipe says.

    width: name of a net, as the recipe has it → the width that it would be given
    """
    later = factors(params, ranges)
    for path, value in params.items():
        if path in later or (ranges[path].own and value == ranges[path].usual):
            continue
        if ranges[path].factor and path == "data.strength":
            value = min(4.0, recipe.data.strength * value)
        if ranges[path].factor and path == "net.width":
            value = round(width(str(params.get("net.name", recipe.net.name))) * value, 3)
        recipe = recipe.set(**{path: value})
    return recipe


PORTFOLIO: Mapping[bool, Sequence[Params]] = {
    False: (
        {},
        {"train.lr": 2.0, "data.augment": "light", "data.strength": 0.6, "train.smoothing": 0.15},
        {"data.augment": "strong", "train.weight_decay": 3.0, "net.width": 1.5},
        {"net.width": 1.6, "train.lr": 0.8},
        {"net.name": 1, "train.lr": 0.7},
        {"net.width": 0.7, "train.lr": 1.5, "data.strength": 0.5, "train.smoothing": 0.05},
        {"train.optimiser": "adamw", "train.class_weights": "balanced", "data.mixup": 0.2},
    ),
    True: (
        {},
        {"train.freeze": 0.0, "train.layer_decay": 0.8},
        {"train.lr": 2.5, "train.weight_decay": 3.0},
        {"net.name": 1},
        {"train.freeze": 0.0, "train.layer_decay": 0.85, "data.augment": "strong", "data.mixup": 0.2, "train.lr": 1.5},
        {"train.lr": 0.4, "train.freeze": 0.6, "train.class_weights": "balanced"},
        {"net.name": 2, "train.freeze": 0.2},
    ),
}
"""The candidates that a study starts with, for nets from random weights and for pretrained ones: what each changes.

The first is the recipe as it is. A number as `net.name` is a place among the nets at hand.
"""


def portfolio(ranges: Mapping[str, Range], *, pretrained: bool) -> list[Params]:
    """Return the candidates to start with, as points of the space, without what is not open in it and what is there twice."""
    found: list[Params] = []
    for changes in PORTFOLIO[pretrained]:
        point = usual(ranges)
        for path, value in changes.items():
            kept = ranges.get(path)
            if kept is None:
                continue
            if path == "net.name":
                value = kept.choices[min(int(value), len(kept.choices) - 1)]
            inside = value in kept.choices if kept.choices else kept.low <= value <= kept.high
            point[path] = value if inside else point[path]
        if point not in found:
            found.append(point)
    return found
