"""The demonstration: the six steps on real handwritten digits that come with scikit-learn, offline."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from beholder.base import events
from beholder.base.files import telling_disk_errors
from beholder.base.recipe import Recipe, load
from beholder.study.dryrun import DryRun
from beholder.study.outcome import Outcome
from beholder.study.steps import steps

MINUTES = 2.0
"""Minutes that all of it may take; a quiet machine of two cores needs less than one."""

USUAL: Mapping[str, str | int] = {"net": "fastnet", "epochs": 150}
"""What is chosen for these pictures without a budget. With one it is asked for, so that a slow machine trains the same net, for
as long as there is time."""


def demo(out: Path, *, minutes: float = MINUTES) -> Outcome:
    """Train, test and save a model of 1,797 handwritten digits of 8×8 pixels into the folder `out`, with ten to try it on.

    minutes: where the run is foreseen to take longer it is cut to them, else it is the one without a budget; 0: it never is
    Source of the pictures: E. Alpaydin & C. Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998.
    """
    from sklearn.datasets import load_digits

    began, digits = time.monotonic(), load_digits()
    x = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    source, place = (x, digits.target.astype(np.int64)), out / "digits.beholder"
    outcome = steps(source, recipe=_recipe(source, place, minutes), out=place, began=began)
    assert isinstance(outcome, Outcome)  # digits have no boxes
    tried = [next(i for i, target in enumerate(outcome.evaluation.targets) if target == digit) for digit in range(10)]
    with telling_disk_errors(out / "pictures"):
        (out / "pictures").mkdir(exist_ok=True)
        for digit, index in enumerate(tried):
            Image.fromarray(x[int(outcome.evaluation.keys[index])]).save(out / "pictures" / f"{digit}.png")
    return dataclasses.replace(outcome, example=str(out / "pictures"))


def _recipe(source: tuple[Any, Any], out: Path, minutes: float) -> Recipe:
    """Return the quick recipe, with a budget where this machine, as busy as it is now, would take longer."""
    recipe = load("quick")
    if not minutes:
        return recipe
    within = recipe.set(minutes=minutes, **USUAL)
    with events.listen(lambda _: None, alone=True):
        foreseen = steps(source, recipe=recipe, out=out, dry_run=True)
    assert isinstance(foreseen, DryRun)
    if foreseen.seconds <= 60 * minutes:
        return recipe
    events.note(
        f"all of it would take about {foreseen.seconds:,.0f} s here: training is cut short to end within {minutes:g} minutes"
    )
    return within
