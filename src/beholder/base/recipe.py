"""A run as one value: nested frozen dataclasses ⇄ TOML ⇄ `--set a.b=c`.

"auto" or 0 means: chosen from the data, the net and the machine, and said aloud with its reason.
"""

from __future__ import annotations

import dataclasses
import operator
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from beholder.base.brief import changed
from beholder.base.errors import UsageError, did_you_mean
from beholder.base.fields import DataRecipe, DetectRecipe, GenerateRecipe, NetRecipe, TestRecipe, TrainRecipe
from beholder.base.registry import name_of
from beholder.base.renamed import RENAMED, current
from beholder.base.synonyms import synonym


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run: the same recipe, source and seed on the same machine give the same bundle.

    task: auto (by the source: single, multi where a picture carries several labels, detect where it has boxes) | a name of
        `beholder.tasks` | detect | crops (each box a picture of its own) | module:name
    """

    name: str = "quick"
    task: str = "auto"
    seed: int = field(default=0, metadata={"range": (0, 2**31 - 1)})
    data: DataRecipe = field(default_factory=DataRecipe)
    net: NetRecipe = field(default_factory=NetRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    test: TestRecipe = field(default_factory=TestRecipe)
    generate: GenerateRecipe = field(default_factory=GenerateRecipe)
    detect: DetectRecipe = field(default_factory=DetectRecipe)

    __repr__ = changed

    def set(self, **changes: object) -> Recipe:
        """Return a recipe with fields changed by name; `set(lr=0.1)` finds `train.lr`, `set(net="cnn")` finds `net.name`.

        Raises `UsageError` for a name that is in no section or in two, and for a value of a wrong type or range.
        """
        recipe = self
        for name, value in changes.items():
            recipe = _change(recipe, find(name), value)
        return recipe

    def override(self, assignments: Iterable[str]) -> Recipe:
        """Return a recipe changed by texts such as "train.lr=0.1", as `--set` takes them."""
        recipe = self
        for text in assignments:
            path, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"--set takes NAME=VALUE, not '{text}'", code="bad-set", hint="for example --set train.lr=0.1")
            recipe = _change(recipe, path.strip(), value.strip())
        return recipe

    def essence(self) -> Recipe:
        """Return the recipe without what cannot change its result: data.memory, data.workers, net.licence are the defaults."""
        data, net = dataclasses.replace(self.data, memory=0, workers=0), dataclasses.replace(self.net, licence="permissive")
        return dataclasses.replace(self, data=data, net=net)

    def flat(self) -> dict[str, object]:
        """Return dotted name → value of every field."""
        return {path: value_of(self, path) for path in names()}

    def toml(self) -> str:
        """Return the recipe as TOML; `from_toml` reads it back to an equal value."""
        top = [f"{f.name} = {_toml(getattr(self, f.name))}" for f in fields(self) if not is_dataclass(getattr(self, f.name))]
        for section in (f.name for f in fields(self) if is_dataclass(getattr(self, f.name))):
            value = getattr(self, section)
            top += ["", f"[{section}]", *(f"{f.name} = {_toml(getattr(value, f.name))}" for f in fields(value))]
        return "\n".join(top) + "\n"


def names() -> list[str]:
    """Return the dotted name of every field of a recipe."""
    found = []
    for f in fields(Recipe):
        value = getattr(Recipe(), f.name)
        found += [f"{f.name}.{g.name}" for g in fields(value)] if is_dataclass(value) else [f.name]
    return found


def from_toml(text: str, *, where: str = "recipe", done: bool = False) -> Recipe:
    """Read a recipe; fields that are absent keep their defaults. Raises `UsageError` that names the place.

    done: it is of a finished run: old names are read without a warning, and names of plug-ins that are not here any more
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not TOML: {error}", code="bad-recipe", hint="see docs/RECIPES.md") from error
    recipe = Recipe()
    for path, value in _flatten(table):
        recipe = _change(recipe, path, value, done=done)
    return recipe


def named() -> list[str]:
    """Return the names of the recipes that come with Beholder."""
    return sorted(p.name.removesuffix(".toml") for p in files("beholder.recipes").iterdir() if p.name.endswith(".toml"))


def load(name: str | Path) -> Recipe:
    """Return a recipe by its name or by the path of a TOML file. Raises `UsageError`."""
    if not isinstance(name, (str, Path)):
        hint = f"give a Recipe, a name ({', '.join(named())}) or the path of a .toml file; fields by name: lr=0.01"
        raise UsageError(f"a recipe is not given as {type(name).__name__}", code="unknown-recipe", hint=hint)
    if name in named():
        return from_toml((files("beholder.recipes") / f"{name}.toml").read_text("utf-8"), where=f"recipe '{name}'")
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        try:
            return from_toml(path.read_text("utf-8"), where=str(name))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{name} is not a recipe: {error}", code="bad-recipe", hint="see docs/RECIPES.md") from error
    hint = did_you_mean(str(name), named()) + ", or the path of a .toml file"
    raise UsageError(f"there is no recipe '{name}'", code="unknown-recipe", hint=hint)


def find(name: str, *, warn: bool = True) -> str:
    """Return the dotted path of a field by its name: "train.lr" for "lr", and "net.name" for "net".

    Raises `UsageError` (unknown-field), which names the nearest field, or the one that other tools call so.
    """
    if name == "net":
        return "net.name"
    old = next((path for path in RENAMED["recipe field"] if name == path.split(".")[-1]), name)
    name = current("recipe field", old, warn=warn)
    matches = [path for path in names() if name in (path, path.split(".")[-1]) and path != "name"]
    if len(matches) == 1:
        return matches[0]
    meant = synonym(name)
    short = "net" if meant == "net.name" else meant.split(".")[-1]
    known = sorted({path.split(".")[-1] for path in names()})
    hint = f"did you mean '{short}'?" if meant else did_you_mean(name, known)
    raise UsageError(f"no recipe field is called '{name}'", code="unknown-field", hint=hint)


def value_of(recipe: Recipe, path: str) -> object:
    """Return the value of a field by its dotted path."""
    found: object = operator.attrgetter(path)(recipe)
    return found


def _change(recipe: Recipe, path: str, value: object, *, done: bool = False) -> Recipe:
    path = current("recipe field", path, warn=not done)
    if path not in names():
        near = [p for p in names() if p.split(".")[-1] == path.split(".")[-1]] or [meant for meant in [synonym(path)] if meant]
        hint = f"did you mean '{near[0]}'?" if near else did_you_mean(path, names())
        raise UsageError(f"no recipe field is called '{path}'", code="unknown-field", hint=hint)
    section, _, name = path.rpartition(".")
    owner: Any = getattr(recipe, section) if section else recipe
    changed = dataclasses.replace(owner, **{name: _checked(owner, name, path, value, done=done)})
    return dataclasses.replace(recipe, **{section: changed}) if section else changed


def _checked(owner: Any, name: str, path: str, value: object, *, done: bool) -> object:
    kind = typing.get_type_hints(type(owner))[name]
    if path == "net.name" and callable(value):
        value = _importable(value)
    if isinstance(kind, types.UnionType):
        raise TypeError(f"{path}: recipes hold plain types")
    converted = _convert(kind, path, value)
    rules = next(f for f in fields(owner) if f.name == name).metadata
    open_to = rules.get("table", ())
    if (
        "choices" in rules
        and converted not in rules["choices"]
        and converted not in open_to
        and not (done and "table" in rules)
    ):
        known = [str(choice) for choice in (*rules["choices"], *open_to)]
        raise UsageError(f"{path} cannot be '{value}'", code="bad-value", hint=did_you_mean(str(value), known))
    if "pattern" in rules and re.fullmatch(rules["pattern"], str(converted)) is None:
        hint = "it is off, or random: or prune: with a share between 0 and 1, such as random:0.5"
        raise UsageError(f"{path} cannot be '{value}'", code="bad-value", hint=hint)
    if "range" in rules and not rules["range"][0] <= converted <= rules["range"][1]:
        low, high = rules["range"]
        raise UsageError(
            f"{path} cannot be {value}", code="bad-value", hint=f"it lies between {_plain(low)} and {_plain(high)}"
        )
    return converted


def _importable(net: object) -> str:
    """Return module:name of the function that makes a net. Raises `UsageError` where no module is known to hold it."""
    if not (name := name_of(net)):
        hint = "beholder.train takes it as it is; elsewhere put it into a module and say net='module:function'"
        raise UsageError("a net is named here, not given as an object", code="bad-type", hint=hint)
    return name


def _convert(kind: type, path: str, value: object) -> Any:
    try:
        if kind is bool:
            if isinstance(value, bool):
                return value
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[str(value).lower()]
        if kind is str and isinstance(value, str):
            return value
        if kind in (int, float) and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            number = kind(value)
            if isinstance(value, str) or number == value:
                return number
    except (KeyError, ValueError, OverflowError):
        pass
    raise UsageError(
        f"{path} takes {_WORDS[kind]}, not '{value}'", code="bad-type", hint=f"for example {path}={_EXAMPLES[kind]}"
    )


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_EXAMPLES = {bool: "true", int: "3", float: "0.5", str: "auto"}


def _flatten(table: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{sub}", inner) for sub, inner in value.items())
        else:
            yield key, value


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
    return repr(value)
