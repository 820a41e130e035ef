"""A run as one value: nested frozen dataclasses ⇄ TOML ⇄ `--set a.b=c`.

"auto" or 0 means: chosen from the data, the net and the machine, and said aloud with its reason.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from beholder.base.errors import UsageError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """From a source to batches.

    size: pixels of the training picture's side (0: chosen)      fit: auto | squash | pad | crop
    channels: 0 (chosen) | 1 | 3                                 augment: auto | none | light | standard | strong
    strength: factor on every range of the augmentation          on_bad: report | skip | stop
    background: colour under transparent and letter-boxed pixels valid, test: their shares, where the source has no split
    audit: report (say what is found, mend contradictions and leaks) | fix (follow every suggestion) | off
    decisions: path of a reviewed audit.csv: what a person decided there is done, and else what it suggests ("": there is none)
    leaks: twins across given parts: drop (the one in the earlier part is left out) | move (it joins its twin in the later part)
    grow: side at which training pictures begin, as a share of the full one (0: chosen; 1: full size throughout)
    memory: MiB of decoded pixels that may stay in memory (0: a third of what is free)
    workers: threads that decode and that read batches ahead (0: one per core); like memory, it changes no batch
    """

    size: int = field(default=0, metadata={"range": (0, 4096)})
    fit: str = field(default="auto", metadata={"choices": ("auto", "squash", "pad", "crop")})
    channels: int = field(default=0, metadata={"choices": (0, 1, 3)})
    augment: str = field(default="auto", metadata={"choices": ("auto", "none", "light", "standard", "strong")})
    strength: float = field(default=1.0, metadata={"range": (0.0, 4.0)})
    flip: str = field(default="auto", metadata={"choices": ("auto", "none", "horizontal", "both")})
    mixup: float = field(default=0.0, metadata={"range": (0.0, 10.0)})
    cutmix: float = field(default=0.0, metadata={"range": (0.0, 10.0)})
    grow: float = field(default=0.0, metadata={"range": (0.0, 1.0)})
    audit: str = field(default="report", metadata={"choices": ("report", "fix", "off")})
    decisions: str = ""
    leaks: str = field(default="drop", metadata={"choices": ("drop", "move")})
    on_bad: str = field(default="report", metadata={"choices": ("report", "skip", "stop")})
    background: str = "#ffffff"
    valid: float = field(default=0.15, metadata={"range": (0.01, 0.9)})
    test: float = field(default=0.15, metadata={"range": (0.01, 0.9)})
    memory: int = field(default=0, metadata={"range": (0, 1 << 24)})
    workers: int = field(default=0, metadata={"range": (0, 256)})


@dataclass(frozen=True, kw_only=True)
class NetRecipe:
    """Which net, and its initial weights.

    name: auto, a name of `beholder nets`, timm:NAME, or module:function of yours
    weights: auto | none | PATH of a safetensors file or of a folder in timm's local-dir form
    init: auto | default | kaiming | xavier | orthogonal | lsuv | whitening | zero-residual
    width: factor on the number of channels of the nets that have that dial (0: chosen)
    """

    name: str = "auto"
    weights: str = "auto"
    init: str = "auto"
    width: float = field(default=0.0, metadata={"range": (0.0, 16.0)})
    dropout: float = field(default=0.0, metadata={"range": (0.0, 0.95)})


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """How it learns.

    epochs, batch, lr: 0 = chosen                                minutes: wall-clock budget (0: none)
    optimiser: auto | sgd | adam | adamw | muon | sphere         schedule: auto | constant | cosine | onecycle | trapezoid
    precision: auto | fp32 | bf16 | fp16                         averaging: decay of the weights' moving average (0: off)
    class_weights: none | balanced                               clip: largest norm of the gradient (0: off)
    patience: epochs without a better validation score before stopping early (0: never)
    effort: factor on the number of epochs that is chosen
    freeze: with pretrained weights, share of the layers, from the pixels on, that stay as they are (below 0: chosen)
    layer_decay: with pretrained weights, factor on the rate from each layer to the one below it (0: chosen)
    compile: auto | yes | no, by torch.compile; auto: on a GPU
    probe: with pretrained weights, first fit a linear head on frozen features, which fine-tuning then has to beat
    """

    epochs: int = field(default=0, metadata={"range": (0, 100_000)})
    effort: float = field(default=1.0, metadata={"range": (0.01, 100.0)})
    minutes: float = field(default=0.0, metadata={"range": (0.0, 1e6)})
    batch: int = field(default=0, metadata={"range": (0, 1 << 16)})
    lr: float = field(default=0.0, metadata={"range": (0.0, 100.0)})
    optimiser: str = field(default="auto", metadata={"choices": ("auto", "sgd", "adam", "adamw", "muon", "sphere")})
    schedule: str = field(default="auto", metadata={"choices": ("auto", "constant", "cosine", "onecycle", "trapezoid")})
    momentum: float = field(default=0.9, metadata={"range": (0.0, 0.9999)})
    weight_decay: float = field(default=-1.0, metadata={"range": (-1.0, 10.0)})
    smoothing: float = field(default=0.1, metadata={"range": (0.0, 0.9)})
    class_weights: str = field(default="none", metadata={"choices": ("none", "balanced")})
    clip: float = field(default=0.0, metadata={"range": (0.0, 1e6)})
    averaging: float = field(default=0.999, metadata={"range": (0.0, 0.99999)})
    patience: int = field(default=0, metadata={"range": (0, 100_000)})
    precision: str = field(default="auto", metadata={"choices": ("auto", "fp32", "bf16", "fp16")})
    freeze: float = field(default=-1.0, metadata={"range": (-1.0, 1.0)})
    layer_decay: float = field(default=0.0, metadata={"range": (0.0, 1.0)})
    compile: str = field(default="auto", metadata={"choices": ("auto", "yes", "no")})
    probe: bool = True
    mirror: bool = True


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run: the same recipe, source and seed on the same machine give the same bundle."""

    name: str = "quick"
    seed: int = field(default=0, metadata={"range": (0, 2**31 - 1)})
    data: DataRecipe = DataRecipe()
    net: NetRecipe = NetRecipe()
    train: TrainRecipe = TrainRecipe()

    def set(self, **changes: object) -> Recipe:
        """Return a recipe with fields changed by name; `set(lr=0.1)` finds `train.lr`, `set(net="cnn")` finds `net.name`.

        Raises `UsageError` for a name that is in no section or in two, and for a value of a wrong type or range.
        """
        recipe = self
        for name, value in changes.items():
            recipe = _change(recipe, _find(name), value)
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
        """Return the recipe without what cannot change its result: data.memory and data.workers are at their defaults."""
        return dataclasses.replace(self, data=dataclasses.replace(self.data, memory=0, workers=0))

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


def from_toml(text: str, *, where: str = "recipe") -> Recipe:
    """Read a recipe; fields that are absent keep their defaults. Raises `UsageError` that names the place."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not TOML: {error}", code="bad-recipe", hint="see docs/RECIPES.md") from error
    recipe = Recipe()
    for path, value in _flatten(table):
        recipe = _change(recipe, path, value)
    return recipe


def named() -> list[str]:
    """Return the names of the recipes that come with Beholder."""
    return sorted(p.name.removesuffix(".toml") for p in files("beholder.recipes").iterdir() if p.name.endswith(".toml"))


def load(name: str) -> Recipe:
    """Return a recipe by its name or by the path of a TOML file."""
    if name in named():
        return from_toml((files("beholder.recipes") / f"{name}.toml").read_text("utf-8"), where=f"recipe '{name}'")
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        try:
            return from_toml(path.read_text("utf-8"), where=name)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{name} is not a recipe: {error}", code="bad-recipe", hint="see docs/RECIPES.md") from error
    hint = did_you_mean(name, named()) + ", or the path of a .toml file"
    raise UsageError(f"there is no recipe '{name}'", code="unknown-recipe", hint=hint)


def _find(name: str) -> str:
    if name == "net":
        return "net.name"
    matches = [path for path in names() if path.split(".")[-1] == name and path != "name"]
    if len(matches) != 1:
        known = sorted({path.split(".")[-1] for path in names()})
        raise UsageError(f"no recipe field is called '{name}'", code="unknown-field", hint=did_you_mean(name, known))
    return matches[0]


def _change(recipe: Recipe, path: str, value: object) -> Recipe:
    if path not in names():
        near = [p for p in names() if p.split(".")[-1] == path.split(".")[-1]]
        hint = f"did you mean '{near[0]}'?" if near else did_you_mean(path, names())
        raise UsageError(f"no recipe field is called '{path}'", code="unknown-field", hint=hint)
    section, _, name = path.rpartition(".")
    owner: Any = getattr(recipe, section) if section else recipe
    changed = dataclasses.replace(owner, **{name: _checked(owner, name, path, value)})
    return dataclasses.replace(recipe, **{section: changed}) if section else changed


def _checked(owner: Any, name: str, path: str, value: object) -> object:
    kind = typing.get_type_hints(type(owner))[name]
    if isinstance(kind, types.UnionType):
        raise TypeError(f"{path}: recipes hold plain types")
    converted = _convert(kind, path, value)
    rules = next(f for f in fields(owner) if f.name == name).metadata
    if "choices" in rules and converted not in rules["choices"]:
        known = [str(choice) for choice in rules["choices"]]
        raise UsageError(f"{path} cannot be '{value}'", code="bad-value", hint=did_you_mean(str(value), known))
    if "range" in rules and not rules["range"][0] <= converted <= rules["range"][1]:
        low, high = rules["range"]
        raise UsageError(
            f"{path} cannot be {value}", code="bad-value", hint=f"it lies between {_plain(low)} and {_plain(high)}"
        )
    return converted


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
