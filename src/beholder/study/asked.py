"""What is to be done with the boxes of a source, before anything is loaded that learns them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.base.errors import DataError, UsageError
from beholder.base.recipe import Recipe
from beholder.base.records import Pictures

if TYPE_CHECKING:
    from beholder.study.detect import Outcome as Found


def wanted(pictures: Pictures, task: str) -> bool:
    """Return whether boxes are to be learnt: where a source has them, unless another task is named.

    Raises `DataError` (no-boxes) where they are asked for and there are none.
    """
    if task == "detect" and pictures.boxes is None:
        hint = "COCO, Pascal VOC, YOLO and tables with xmin,ymin,xmax,ymax have some: docs/DETECTION.md"
        raise DataError(f"there are no boxes in {pictures.store.name}", code="no-boxes", hint=hint)
    return task in ("auto", "detect") and pictures.boxes is not None


def on_boxes(pictures: Pictures, recipe: Recipe, *, launch: str, **how: Any) -> Found:
    """Return what the six steps make of pictures with boxes; how: as `study.detect.detected` takes it.

    Raises `UsageError` (one-rank) where several processes are asked for.
    """
    from beholder.learn.followed import one_process
    from beholder.study.detect import detected  # with torchvision, which labels do without

    one_process(launch)
    return detected(pictures, recipe, **how)


def crops(source: Any, recipe: Recipe) -> tuple[Any, Recipe]:
    """Return the source and the recipe; where each box is to be a picture: boxes:SOURCE, and the task by its labels."""
    if recipe.task != "crops":
        return source, recipe
    if not isinstance(source, (str, Path)):
        hint = 'scan them so: beholder.scan("boxes:cells.json")'
        raise UsageError("the pictures are read already: their boxes cannot be cut out", code="no-crops", hint=hint)
    text = str(source)
    return text if text.startswith("boxes:") else f"boxes:{text}", replace(recipe, task="auto")
