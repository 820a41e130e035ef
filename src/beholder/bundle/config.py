"""What config.json says of a bundle, as typed values: schema 2. docs/BUNDLE.md describes every field.

A value of a wrong type, an unknown key and values that do not fit each other are refused by name, before a wrong answer comes
of them. Whether anything was changed since it was written is told by hashes (`format`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar

from beholder.base.errors import BeholderError, BundleError
from beholder.base.records import PixelPolicy
from beholder.bundle import schema1
from beholder.measure import calibration, conformal, ood
from beholder.measure.calibration import Calibration
from beholder.measure.conformal import Sets
from beholder.measure.optimism import Expected
from beholder.measure.selective import Operating
from beholder.nets.spec import Initial, NetSpec
from beholder.tasks import TASKS, named

SCHEMA = 2
FITS = ("squash", "pad", "crop")
TIMM = ("architecture", "num_classes", "model_args", "pretrained_cfg", "label_names")
"""What timm reads in a folder of its local-dir form: written beside the fields, and follows from them."""


@dataclass(frozen=True)
class File:
    """Size in bytes and SHA-256 of a file, as hexadecimal digits."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Ood:
    """What out-of-distribution pictures are told by, fitted on validation.

    score:  by which `predict` judges                    accept: share of the validation pictures that pass, in 0..1
    n:      validation pictures behind it                rows, sha256: of references.npy
    thresholds: by score                                 levels: quantiles of `score`, in equal steps from 0 to 1
    """

    score: str
    accept: float
    n: int
    rows: int
    sha256: str
    thresholds: Mapping[str, float]
    levels: tuple[float, ...]


@dataclass(frozen=True)
class Baseline:
    """What the net was measured against on validation.

    score: what it reaches; trained, chosen: pictures behind it; net: the net's score, None where it took no step
    kept: whether it took the net's place
    """

    name: str
    score: float
    trained: int
    chosen: int
    net: float | None
    kept: bool


@dataclass(frozen=True)
class Tried:
    """A candidate that was tried.

    rung: floor | head | short run | slice | training | seeds; what: its name
    score: on `n` pictures that it did not learn from, None where it has none
    began, seconds: when it began, in seconds from the start of the run, and what it cost; outcome: why it ended, or was kept
    curve: (seconds from the start of the run, score) of each validation
    """

    rung: str
    what: str
    score: float | None
    n: int
    began: float
    seconds: float
    outcome: str
    curve: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Audited:
    """What the audit found, findings by check (None: there was none), and how many pictures were changed by it."""

    policy: str
    found: Mapping[str, int] | None = None
    dropped: int = 0
    relabelled: int = 0
    moved: int = 0


@dataclass(frozen=True, kw_only=True)
class Config:
    """The fields of config.json."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    task: str
    task_options: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...]
    pixels: PixelPolicy
    mean: tuple[float, ...]
    std: tuple[float, ...]
    net: NetSpec
    mirror: bool = False
    thresholds: tuple[float, ...]
    calibration: Calibration | None = None
    operating_points: tuple[Operating, ...] = ()
    prediction_sets: Sets | None = None
    ood: Ood | None = None
    initial_weights: Initial | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    precision: str = ""
    parameters: int = 0
    seconds: float = 0.0
    machine: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    objective: str = ""
    valid_score: float | None = None
    floor: Baseline | None = None
    tried: tuple[Tried, ...] = ()
    expected: Expected | None = None
    search: Mapping[str, Any] | None = None
    clock: str = ""
    minutes_needed: float = 0.0
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    audit: Audited | None = None
    profile: Mapping[str, Any] | None = None
    files: Mapping[str, File] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Return the version of Beholder that trained it."""
        return self.machine.get("beholder", "?")

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values: the schema, the fields that are not None, and what timm reads."""
        own = {name: value for name, value in asdict(self).items() if value is not None}
        found: dict[str, Any] = json.loads(json.dumps({"schema": SCHEMA, **own, **self._timm()}))
        return found

    def _timm(self) -> dict[str, Any]:
        name, pixels, count = self.net.name, self.pixels, self.net.classes
        found: dict[str, Any] = {"architecture": name.removeprefix("timm:"), "num_classes": count}
        if not name.startswith("timm:"):
            return found
        args = dict(self.net.args)
        larger = int(str(args.pop("enlarge", 0))) / max(pixels.height, pixels.width) or 1
        shape = [pixels.channels, *(max(1, round(side * larger)) for side in (pixels.height, pixels.width))]
        return {
            **found,
            "model_args": args | ({"in_chans": pixels.channels} if pixels.channels != 3 else {}),
            "pretrained_cfg": {"input_size": shape, "mean": self.mean, "std": self.std, "num_classes": count},
            "label_names": self.classes,
        }


def read(values: Mapping[str, Any], where: object) -> Config:
    """Return the config that JSON values of schema 1 or 2 say.

    where: the bundle or graph, as an error calls it
    Raises `BundleError` (inconsistent) that names what does not fit, `newer-schema` where this Beholder is too old.
    """
    from pydantic import ValidationError

    schema = values.get("schema", 1)
    if type(schema) is not int or schema > SCHEMA:
        raise newer(schema, where)
    try:
        values = schema1.upgraded(values, [*TIMM, *(each.name for each in fields(Config))]) if schema == 1 else values
        own = {name: value for name, value in values.items() if name not in ("schema", *TIMM)}
        found: Config = _adapter().validate_json(json.dumps(own), strict=True)
        wrong = [*_wrong(found), *_wrong_timm(found, values)]
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    except BeholderError as error:  # of a net that nobody can build
        wrong = [error.message]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        wrong = [f"a value is missing or of a wrong kind ({type(error).__name__}: {error})"]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        text = f"{where} cannot be used: its parts do not fit together: {'; '.join(wrong[:5])}{more}"
        hint = "update Beholder, train it again, or export it again from a bundle that is whole"
        raise BundleError(text, code="inconsistent", hint=hint)
    return found


def newer(schema: object, where: object) -> BundleError:
    """Return what to say of a schema that is not known."""
    text = f"{where} has bundle schema {schema}, this Beholder reads up to {SCHEMA}"
    hint = "update Beholder: pip install --upgrade beholder"
    return BundleError(text, code="newer-schema", hint=hint)


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Config)


def _wrong(config: Config) -> list[str]:
    """Return a sentence about each thing that does not fit."""
    k, own = len(config.classes), ":" in config.task
    if not own and config.task not in TASKS.names():
        return [f"no task is called {config.task!r} here; if a plug-in has it, install that"]
    width = config.net.classes if own else named(config.task).width(k)  # whose code is somebody's own is not run here
    fits = _fits_net(config, k, width) | _fits_validation(config, k, width)
    return [sentence for sentence, right in fits.items() if not right]


def _fits_net(config: Config, k: int, width: int) -> dict[str, bool]:
    """Return sentence → whether it is untrue, of k classes told by so many logits, of pixels and net."""
    pixels, net = config.pixels, config.net
    size, built = (pixels.channels, pixels.height, pixels.width), (net.channels, net.height, net.width_px)
    return {
        "classes are no list of names": k > 0,
        "two classes have the same name": len(set(config.classes)) == k,
        f"the net: {net.classes} classes, of which {k} have a name": net.classes == width,
        f"pixels: {size}": min(size) > 0,
        f"the net is built for {built}, the pixels are {size}": size == built,
        f"pixels: fit {pixels.fit!r}": pixels.fit in FITS,
        f"pixels: background {pixels.background}": all(0 <= value <= 255 for value in pixels.background),
        f"pixels: bits {pixels.bits}": pixels.bits == 0 or 8 <= pixels.bits <= 64,
        f"mean has {len(config.mean)} numbers for {pixels.channels} channels": len(config.mean) == pixels.channels,
        f"std is {config.std}": len(config.std) == pixels.channels and min(config.std) > 0,
    }


def _fits_validation(config: Config, k: int, width: int) -> dict[str, bool]:
    """Return the same of what was fitted on validation."""
    scaling, sets, kept, cuts = config.calibration, config.prediction_sets, config.ood, config.thresholds
    named = ("", *config.classes)
    return {
        f"thresholds: not {k} numbers from 0 to 1": len(cuts) == k and all(0 <= value <= 1 for value in cuts),
        f"calibration: not a known method, {width} numbers above 0 as scale, {width} as bias, and n": scaling is None
        or (
            (scaling.method in calibration.METHODS and len(scaling.scale) == len(scaling.bias) == width)
            and min(*scaling.scale, scaling.n + 1) > 0
        ),
        f"prediction_sets: not a known kind, a coverage within 0 to 1, {k} thresholds, {k} counts, and n": sets is None
        or (
            (sets.kind in conformal.KINDS and 0 < sets.coverage < 1 and len(sets.thresholds) == len(sets.counts) == k)
            and min(*sets.counts, sets.n) >= 0
        ),
        "ood: not a known score with a threshold, accept within 0 to 1, and levels that rise": kept is None
        or (
            (kept.score in ood.NAMES and kept.score in kept.thresholds and 0 < kept.accept < 1)
            and bool(kept.levels)
            and list(kept.levels) == sorted(kept.levels)
        ),
    } | {
        f"operating point of kind {point.kind!r}: there is no class {point.label!r}": point.label in named
        and point.kind in ("risk", "sensitivity")
        and bool(point.label) == (point.kind == "sensitivity")
        for point in config.operating_points
    }


def _wrong_timm(config: Config, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what timm would read otherwise than what the fields say."""
    said = config.json()
    for name in TIMM:
        if name in values and values[name] != said.get(name):
            yield f"{name}: {values[name]!r} does not fit the net and the classes"
