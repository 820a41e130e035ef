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
from beholder.base.choices import AUGMENTATIONS, OPTIMISERS, SCHEDULES
from beholder.base.errors import UsageError, did_you_mean
from beholder.base.renamed import RENAMED, current
from beholder.base.synonyms import synonym


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """From a source to batches.

    size: pixels of the training picture's side (0: chosen)      fit: auto | squash | pad | crop
    channels: 0 (chosen) | 1 | 3                                 augment: auto | none | light | standard | strong
    strength: factor on every range of the augmentation          on_bad: report | skip | stop
    background: colour under transparent and letter-boxed pixels val, test: their shares, where the source has no split
    audit: report (say what is found, leave contradictions out, resolve leaks) | fix (also exact duplicates: only
        what cannot be wrong) | relabel (follow every suggestion, outside the test part) | off
    decisions: path of a reviewed audit.csv ("": none): what a person decided there is done; what is undecided is not touched
    leaks: duplicates across given parts: drop (leave out the one in the earlier part) | move (into the later part)
    group_from: a regular expression; pictures in whose names it finds the same (a patient, a track) stay in one part ("": none)
    grow: side at which training pictures begin, as a share of the full one (0: chosen; 1: full size throughout)
    memory: MiB of decoded pixels that may stay in memory (0: a third of what is free)
    workers: threads that decode and that read batches ahead (0: one per core); like memory, it changes no batch
    order: the classes from the lowest to the highest, with commas between, for --task ordinal ("": by the numbers in them)
    pixels: most millions of pixels of one picture; larger JPEGs are scaled while they are decoded, all else is refused
    unlabelled: a source of pictures without labels ("": none), which join the training part where that helps
    synthetic: a source of made pictures with labels, or auto: made here ("": none); they join where that helps, too
    """

    size: int = field(default=0, metadata={"range": (0, 4096)})
    fit: str = field(default="auto", metadata={"choices": ("auto", "squash", "pad", "crop")})
    channels: int = field(default=0, metadata={"choices": (0, 1, 3)})
    augment: str = field(default="auto", metadata={"choices": ("auto",), "table": AUGMENTATIONS})
    strength: float = field(default=1.0, metadata={"range": (0.0, 4.0)})
    flip: str = field(default="auto", metadata={"choices": ("auto", "none", "horizontal", "both")})
    mixup: float = field(default=0.0, metadata={"range": (0.0, 10.0)})
    cutmix: float = field(default=0.0, metadata={"range": (0.0, 10.0)})
    grow: float = field(default=0.0, metadata={"range": (0.0, 1.0)})
    audit: str = field(default="report", metadata={"choices": ("report", "fix", "relabel", "off")})
    decisions: str = ""
    group_from: str = ""
    order: str = ""
    leaks: str = field(default="drop", metadata={"choices": ("drop", "move")})
    on_bad: str = field(default="report", metadata={"choices": ("report", "skip", "stop")})
    background: str = "#ffffff"
    val: float = field(default=0.15, metadata={"range": (0.01, 0.9)})
    test: float = field(default=0.15, metadata={"range": (0.01, 0.9)})
    memory: int = field(default=0, metadata={"range": (0, 1 << 24)})
    workers: int = field(default=0, metadata={"range": (0, 256)})
    pixels: int = field(default=100, metadata={"range": (1, 4000)})
    unlabelled: str = ""
    synthetic: str = ""

    __repr__ = changed


@dataclass(frozen=True, kw_only=True)
class NetRecipe:
    """Which net, and its initial weights.

    name: auto, a name of `beholder nets`, a name of timm (resnet50 is timm:resnet50), or module:function of yours
    weights: auto (for photos what comes with the install) | none | PATH: safetensors, or a folder in timm's local-dir form
    licence: permissive (pretrained weights of a non-commercial or other licence of its own are refused) | any
    init: auto | default | kaiming | xavier | orthogonal | lsuv | whitening | zero-residual
    width: factor on the number of channels of the nets that have that dial (0: chosen)
    enlarge: side in pixels to which a net of timm enlarges smaller pictures (0: it sees them as they are)
    """

    name: str = "auto"
    weights: str = "auto"
    licence: str = field(default="permissive", metadata={"choices": ("permissive", "any")})
    init: str = "auto"
    width: float = field(default=0.0, metadata={"range": (0.0, 16.0)})
    dropout: float = field(default=0.0, metadata={"range": (0.0, 0.95)})
    enlarge: int = field(default=0, metadata={"range": (0, 1024)})

    __repr__ = changed


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
    objective: the score on validation by which weights, heads and candidates are chosen: auto (the task's own) | accuracy |
        macro_f1 | balanced_accuracy | auroc | map | micro_f1 | sensitivity@S (the sensitivity at a specificity of S) |
        specificity@S | …, as the task has them
    probe: with pretrained weights, first fit a linear head on frozen features, which fine-tuning then has to beat
    teacher: path of a bundle whose probabilities are learnt beside the labels ("": none); teacher_weight: their share of the
        loss; temperature: at which both are softened
    subset: off | random:F (a new share F of the pictures an epoch) | prune:F (this share of those with a low loss is left out)
    """

    epochs: int = field(default=0, metadata={"range": (0, 100_000)})
    effort: float = field(default=1.0, metadata={"range": (0.01, 100.0)})
    minutes: float = field(default=0.0, metadata={"range": (0.0, 1e6)})
    batch: int = field(default=0, metadata={"range": (0, 1 << 16)})
    lr: float = field(default=0.0, metadata={"range": (0.0, 100.0)})
    optimiser: str = field(default="auto", metadata={"choices": ("auto",), "table": OPTIMISERS})
    schedule: str = field(default="auto", metadata={"choices": ("auto",), "table": SCHEDULES})
    momentum: float = field(default=0.9, metadata={"range": (0.0, 0.9999)})
    weight_decay: float = field(default=-1.0, metadata={"range": (-1.0, 10.0)})
    smoothing: float = field(default=0.1, metadata={"range": (0.0, 0.9)})
    class_weights: str = field(default="none", metadata={"choices": ("none", "balanced")})
    clip: float = field(default=0.0, metadata={"range": (0.0, 1e6)})
    averaging: float = field(default=0.999, metadata={"range": (0.0, 0.99999)})
    objective: str = "auto"
    patience: int = field(default=0, metadata={"range": (0, 100_000)})
    precision: str = field(default="auto", metadata={"choices": ("auto", "fp32", "bf16", "fp16")})
    freeze: float = field(default=-1.0, metadata={"range": (-1.0, 1.0)})
    layer_decay: float = field(default=0.0, metadata={"range": (0.0, 1.0)})
    compile: str = field(default="auto", metadata={"choices": ("auto", "yes", "no")})
    probe: bool = True
    mirror: bool = True
    teacher: str = ""
    teacher_weight: float = field(default=0.5, metadata={"range": (0.0, 1.0)})
    temperature: float = field(default=2.0, metadata={"range": (0.1, 100.0)})
    subset: str = field(default="off", metadata={"pattern": r"off|(random|prune):0?\.[0-9]{0,6}[1-9]"})

    __repr__ = changed


@dataclass(frozen=True, kw_only=True)
class TestRecipe:
    """What is fitted on the validation part once the weights are chosen, and then tested.

    calibrate: auto (what proves itself on held-out validation pictures) | none | temperature | vector
    coverage: how often a picture's prediction set holds the right class (0: no sets)
    sets: least (the smallest, may be empty) | adaptive (always hold the prediction)
    per_class: a promise for each class by itself
    target_risk: answer only where at most this share of answers is wrong: selective prediction (0: answer always)
    sensitivity: share of the class `positive` that has to be found (0: no such threshold)
    positive: that class, and the one that train.objective = sensitivity@S or specificity@S is of ("": the mean over all)
    confidence: the level at which the promises of target_risk and sensitivity hold
    """

    __test__ = False

    calibrate: str = field(default="auto", metadata={"choices": ("auto", "none", "temperature", "vector")})
    coverage: float = field(default=0.95, metadata={"range": (0.0, 0.9999)})
    sets: str = field(default="least", metadata={"choices": ("least", "adaptive")})
    per_class: bool = False
    target_risk: float = field(default=0.0, metadata={"range": (0.0, 0.9999)})
    sensitivity: float = field(default=0.0, metadata={"range": (0.0, 0.9999)})
    positive: str = ""
    confidence: float = field(default=0.95, metadata={"range": (0.5, 0.9999)})

    __repr__ = changed


@dataclass(frozen=True, kw_only=True)
class GenerateRecipe:
    """How `generate` learns to make pictures; no other verb uses these fields.

    kind: vae | gan                                   maps: channels of the nets at the largest size (0: chosen)
    likelihood: of a VAE's pixels: logistic (8-bit, discretised) | bernoulli (pixels cut at middle grey)
    beta: weight of a VAE's divergence                 penalty: γ of a GAN's gradient penalties R1 and R2
    vary: whether a GAN's pictures are varied before they are judged: auto (below 20,000 training pictures) | yes | no
    """

    kind: str = field(default="vae", metadata={"choices": ("vae", "gan")})
    maps: int = field(default=0, metadata={"range": (0, 512)})
    likelihood: str = field(default="logistic", metadata={"choices": ("logistic", "bernoulli")})
    beta: float = field(default=1.0, metadata={"range": (0.0, 100.0)})
    penalty: float = field(default=0.5, metadata={"range": (0.0, 1000.0)})
    vary: str = field(default="auto", metadata={"choices": ("auto", "yes", "no")})

    __repr__ = changed


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run: the same recipe, source and seed on the same machine give the same bundle.

    task: auto (by the labels: single, or multi where a picture carries several) | a name of `beholder.tasks` | module:name
    """

    name: str = "quick"
    task: str = "auto"
    seed: int = field(default=0, metadata={"range": (0, 2**31 - 1)})
    data: DataRecipe = DataRecipe()
    net: NetRecipe = NetRecipe()
    train: TrainRecipe = TrainRecipe()
    test: TestRecipe = TestRecipe()
    generate: GenerateRecipe = GenerateRecipe()

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
