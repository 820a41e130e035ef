"""What is said of a picture, the same in a file of lines and over the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.bundle.recogniser import Recogniser
from beholder.bundle.stranger import judged


def answers(recogniser: Recogniser, images: npt.NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Return {"label", "p", "probabilities", …} for each of `images`, uint8 (N, C, height, width), N ≥ 1.

    Where the recogniser has an operating point, sets or references there are "abstain", "positive", "set" (see `Guess`),
    "stranger" (bool) and "strangeness" (in [0, 1]) too.
    """
    logits, features = recogniser.outputs(images)
    found: list[dict[str, Any]] = []
    for row in recogniser.activated(logits):
        guess = recogniser.guess(row)
        beyond = {"abstain": guess.abstain, "positive": guess.positive, "set": guess.set}
        found.append(
            {"label": guess.label, "p": guess.p, "probabilities": guess.probabilities}
            | {name: value for name, value in beyond.items() if value is not None}
        )
    strange = judged(recogniser, logits, features)
    if strange is not None:
        for answer, is_stranger, share in zip(found, *strange, strict=True):
            answer.update(stranger=bool(is_stranger), strangeness=round(float(share), 4))
    return found
