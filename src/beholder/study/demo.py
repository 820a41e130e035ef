"""The demonstration: the six steps on real handwritten digits that come with scikit-learn, offline."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from beholder.base.files import telling_disk_errors
from beholder.base.recipe import load
from beholder.study.steps import Outcome, steps


def demo(out: Path) -> Outcome:
    """Train, test and save a model of 1,797 handwritten digits of 8×8 pixels into the folder `out`, with ten to try it on.

    Source of the pictures: E. Alpaydin & C. Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    outcome = steps((x, digits.target.astype(np.int64)), recipe=load("quick"), out=out / "digits.beholder")
    assert isinstance(outcome, Outcome)  # digits have no boxes
    tried = [next(i for i, target in enumerate(outcome.evaluation.targets) if target == digit) for digit in range(10)]
    with telling_disk_errors(out / "pictures"):
        (out / "pictures").mkdir(exist_ok=True)
        for digit, index in enumerate(tried):
            Image.fromarray(x[int(outcome.evaluation.keys[index])]).save(out / "pictures" / f"{digit}.png")
    return dataclasses.replace(outcome, example=str(out / "pictures"))
