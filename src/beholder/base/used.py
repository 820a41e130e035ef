"""Recipe fields that a verb does not use: they are refused, never stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe, find, load, named, names, value_of

_DATA = ("data.audit", "data.decisions", "data.leaks", "data.val", "data.test")
_AUDIT = ("seed", "net.name", "net.weights", "net.licence", "train.precision")
_HEADS = ("train.precision", "train.objective", "train.class_weights")
_AUGMENTS = tuple(f"data.{name}" for name in ("augment", "strength", "flip", "mixup", "cutmix", "grow"))
_PROMISES = tuple(path for path in names() if path.startswith("test.") and path != "test.positive")

_JOINS = ("data.unlabelled", "data.synthetic")
_PICTURES = tuple(path for path in names() if path.startswith("generate."))
_FINDS = tuple(path for path in names() if path.startswith("detect."))
_GENERATE = (*_PICTURES, *_FINDS)
_BOXES = (
    *(f"data.{name}" for name in ("size", "fit", "channels", "background", "augment", "strength", "flip", "mixup", "cutmix")),
    *(f"data.{name}" for name in ("val", "test", "group_from", "on_bad", "memory", "workers", "pixels")),
    *("net.name", "net.weights", "net.licence", *_FINDS),
    *(f"train.{name}" for name in ("epochs", "minutes", "batch", "lr", "weight_decay", "averaging", "precision", "clip")),
    *("name", "task", "seed"),
)
_MAKES = (
    *("data.size", "data.fit", "data.channels", "data.background", "data.val", "data.test", "data.group_from", "data.on_bad"),
    *("data.memory", "data.workers", "data.pixels", "train.epochs", "train.minutes", "train.batch", "train.lr"),
    *("train.averaging", "train.precision", "train.clip"),
)

_CHOOSES = (
    *("name", "task", "seed", "train.precision", "net.name", "net.weights", "net.licence", "net.enlarge", *_DATA),
    *(f"data.{name}" for name in ("group_from", "order", "size", "fit", "channels", "background", "on_bad")),
    *(f"data.{name}" for name in ("memory", "workers", "pixels")),
)
"""What `shrink` goes by: how the source is read and split, and the pretrained net that looks at the pictures."""

UNUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "train": (
        (*_DATA, "data.group_from", *_JOINS, *_GENERATE),
        "its parts are given: say it to beholder.split or beholder.audit, or give the source to beholder.steps",
    ),
    "steps": (_PICTURES, "they are of beholder.generate"),
    "labels": (_FINDS, "they are for pictures with boxes: COCO, Pascal VOC, YOLO, or a table of boxes"),
    "generate": (
        tuple(path for path in names() if path not in (*_MAKES, *_PICTURES, "name", "seed")),
        "it takes those of the section generate, and data.size, train.minutes, train.epochs, train.batch, train.lr, seed, …",
    ),
    "detect": (
        tuple(path for path in names() if path not in _BOXES),
        "a detector takes those of the section detect, and data.size, net.name, train.minutes, train.epochs, train.batch, …",
    ),
    "detect --parts": (
        ("data.val", "data.test", "data.group_from"),
        "its parts are given: say it to beholder.split, or give the source to beholder.steps",
    ),
    "tune": (("train.minutes", *_JOINS, *_GENERATE), "tune has minutes of its own: minutes=10, or --minutes 10"),
    "curve": (
        (
            *(*_AUGMENTS, *_PROMISES, *_GENERATE, *_JOINS),
            *(path for path in names() if path.startswith("train.") and path not in _HEADS),
        ),
        "a curve of heads trains no net, which train=True, or --train, does; its time is minutes=10, or --minutes 10",
    ),
    "curve --train": (
        (*_PROMISES, *_GENERATE, "train.minutes", *_JOINS),
        "a curve makes no promises; its time is minutes=10, or --minutes 10",
    ),
    "shrink": (
        tuple(path for path in names() if path not in _CHOOSES),
        "it trains no model; --curve (curve=True) takes an objective too, and with --train (train=True) what training takes",
    ),
    "shrink --curve": (
        tuple(path for path in names() if path not in (*_CHOOSES, *_HEADS, "test.positive")),
        "a curve of heads trains no net, which train=True, or --train, does; its time is minutes=10, or --minutes 10",
    ),
    "shrink --train": (
        (*_PROMISES, *_GENERATE, "train.minutes", *_JOINS),
        "a curve makes no promises; its time is minutes=10, or --minutes 10",
    ),
    "audit": (
        (
            *_DATA,
            *("task", "data.order", "data.augment", "data.strength", "data.grow", *_JOINS),
            *(path for path in names() if path.startswith(("net.", "train.", "test.")) and path not in _AUDIT),
            *_GENERATE,
        ),
        "an audit trains no model; its time is minutes=10, or --minutes 10",
    ),
    "calibrate": (
        tuple(path for path in names() if not path.startswith("test.")),
        "it changes no weights, and takes the fields of the section test: target_risk, sensitivity, positive, coverage, …",
    ),
}
"""Verb → the fields that have no effect there, and what to do instead."""


def changed(recipe: Recipe | str | Path, fields: Mapping[str, object], *, verb: str = "") -> Recipe:
    """Return a recipe, by name or path too, with fields changed by name; those that `verb` does not use are refused.

    Raises `UsageError` as `refuse` and `check_pieces` do.
    """
    asked = (recipe if isinstance(recipe, Recipe) else load(recipe)).set(**fields)
    if verb:
        refuse(verb, fields, recipe=asked)
    check_pieces(asked)
    return asked


def check_pieces(recipe: Recipe) -> None:
    """Raise `UsageError` (one-piece) where batches are computed in pieces by what follows the losses of whole ones."""
    if recipe.train.micro and recipe.train.subset.startswith("prune"):
        hint = "take train.subset=random:F, or train.micro=0"
        raise UsageError("train.subset=prune:F follows the losses of whole batches", code="one-piece", hint=hint)


def refuse(verb: str, given: Iterable[str], *, recipe: Recipe | None = None) -> None:
    """Raise `UsageError` (unused-field) for fields that `verb` does not use.

    given: names of fields that were set, to whatever value; recipe: its fields that are other than in the recipe it began as
    """
    fields, hint = UNUSED[verb]
    asked = {find(name, warn=False) for name in given}
    if recipe is not None:
        base = load(recipe.name) if recipe.name in named() else Recipe()
        asked |= {path for path in fields if value_of(recipe, path) != value_of(base, path)}
    idle = [path for path in fields if path in asked]
    if idle:
        words = "these recipe fields have" if len(idle) > 1 else "this recipe field has"
        raise UsageError(f"{words} no effect in {verb}: {', '.join(idle)}", code="unused-field", hint=hint)
