"""Labels as a task wants them: one class or several for each picture, in the classes of a model and in their order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError, UsageError
from beholder.base.names import position
from beholder.base.records import Parts, Pictures
from beholder.sources.listing import one_class
from beholder.tasks.task import Task


def arranged(parts: Parts, task: Task, *, order: str = "") -> Parts:
    """Return parts with targets and the order of classes that a task learns; order, errors: as for `classes_of`."""
    classes = classes_of(parts.train, task, order=order)
    return Parts(*(in_classes(part, classes, task) for _, part in parts.items()))


def classes_of(pictures: Pictures, task: Task, *, order: str = "") -> tuple[str, ...]:
    """Return the classes in the order in which a task learns them; order: their names with commas between, or "".

    Raises `DataError` where there is one class (one-class), or pictures carry several labels and the task takes one;
    `UsageError` for classes without an order, or an order where the task has none.
    """
    if order and task.order is None:
        hint = "leave data.order out, or train with --task ordinal"
        raise UsageError(f"classes have no order in the task '{task.name}'", code="unused-field", hint=hint)
    _check_labels(pictures, task)
    if len(pictures.classes) < 2:  # sources with boxes may have one
        raise one_class(pictures.store.name, pictures.classes)
    names = tuple(name.strip() for name in order.split(",") if name.strip())
    return pictures.classes if task.order is None else tuple(task.order(pictures.classes, names))


def _check_labels(pictures: Pictures, task: Task) -> None:
    if pictures.multi and not task.several:
        hint = "give pictures of one label each, or train with --task multi"
        what = f"the source has several labels for a picture, the task '{task.name}' takes one"
        raise DataError(what, code="other-task", hint=hint)


def in_classes(pictures: Pictures, classes: tuple[str, ...], task: Task) -> Pictures:
    """Return pictures with targets in the order of `classes`, matched by name, as many for each picture as the task takes.

    Raises `DataError` for pictures of other classes, or with several labels where the task takes one.
    """
    _check_labels(pictures, task)
    if pictures.classes == classes and pictures.multi == task.several:
        return pictures
    places = np.array([position(name, classes) for name in pictures.classes], np.int64)
    unknown = [name for name, place in zip(pictures.classes, places.tolist(), strict=True) if place < 0]
    hint = "the bundle knows: " + ", ".join(classes[:20])
    if unknown and len(unknown) == len(pictures.classes):
        some = ", ".join(unknown[:5])
        raise DataError(f"none of the source's classes is known to the bundle: {some}", code="other-classes", hint=hint)
    targets = _several(pictures, places, len(classes)) if task.several else _one(pictures, places, unknown, hint)
    return dataclasses.replace(pictures, targets=targets, classes=classes)


def _one(pictures: Pictures, places: npt.NDArray[np.int64], unknown: Sequence[str], hint: str) -> npt.NDArray[np.int64]:
    targets = places[pictures.targets]
    lost = int((targets < 0).sum())
    if lost:
        what = f"{lost} pictures are of classes that the bundle does not know: {', '.join(unknown[:5])}"
        raise DataError(what, code="other-classes", hint=f"leave them out; {hint}")
    return targets


def _several(pictures: Pictures, places: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.uint8]:
    hot = pictures.targets if pictures.multi else np.eye(len(pictures.classes), dtype=np.uint8)[pictures.targets]
    lost = int(hot[:, places < 0].any(axis=1).sum())
    if lost:
        events.warn(f"{lost} pictures carry labels that the bundle does not know; those labels are not scored")
    targets = np.zeros((len(pictures), k), np.uint8)
    targets[:, places[places >= 0]] = hot[:, places >= 0]
    return targets
