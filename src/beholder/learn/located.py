"""How good a detector is on the validation part: what weights are chosen by, and from which score on boxes are told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from beholder.base.boxes import Boxes
from beholder.base.errors import BundleError
from beholder.bundle.detector import detected
from beholder.bundle.finder import Config
from beholder.data.loader import Readable, plain
from beholder.learn.monitors import Validate
from beholder.machine.device import Precision, autocast
from beholder.machine.placement import evaluating
from beholder.measure.detection_calibration import fit, outcomes
from beholder.measure.detection_matching import IGNORED, RIGHT, Matches, matched
from beholder.measure.detection_points import operating_points
from beholder.measure.detection_precision import average_precision
from beholder.measure.detections import Detected, Found

Seeing = Callable[[nn.Module, Callable[[], bool]], list[Detected] | None]
"""(net, whether it is enough) → what is found in each validation picture; None once it was enough."""

UNKNOWN, LEAST = 0.3, 0.05
"""Threshold where validation pictures do not tell of any, and the least of all: nobody wants to be shown less."""

FEW = 20
"""True boxes of a class at which its own threshold counts as much as that of all classes together."""


def looking(pixels: Readable, config: Config, precision: Precision, on: torch.device, *, batch: int = 8) -> Seeing:
    """Return what looks for boxes in pictures with a net that takes them as they are."""

    @torch.inference_mode()
    def see(net: nn.Module, enough: Callable[[], bool]) -> list[Detected] | None:
        found: list[Detected] = []
        with evaluating(net):
            for images in plain(pixels, batch=batch, device=on, mean=config.mean, std=config.std):
                if enough():
                    return None
                with autocast(on, precision):
                    seen = net(images.contiguous(memory_format=torch.channels_last))
                found += detected(seen, config)
        return found

    return see


def scored_by(see: Seeing, truth: Boxes, classes: int) -> Validate:
    """Return how the net is scored: by its average precision on the validation part, over COCO's ten overlaps.

    truth: in pixels of the net's pictures, as what is found there
    """

    def score(nets: Mapping[str, nn.Module], enough: Callable[[], bool]) -> dict[str, tuple[float, float]] | None:
        try:
            found = see(nets["net"], enough)
        except BundleError as error:
            if error.code != "not-finite":
                raise
            return {"net": (math.nan, math.nan)}  # the lowest of all scores
        if found is None:
            return None
        matches = matched(truth, Found.of(found), classes, sizes=("all",))
        ap = average_precision(matches)
        mean = float(np.nanmean(ap)) if np.isfinite(ap).any() else 0.0
        return {"net": (1 - mean, mean)}

    return score


def together(matches: Matches) -> float:
    """Return the score from which on F1 over the boxes of all classes is highest; 1 where nothing was found.

    Boxes of one score are taken all or none, whatever their order.
    """
    states = matches.states[:, 0, 0]
    kept = states != IGNORED
    order = np.argsort(-matches.scores[kept], kind="stable")
    scores, right = matches.scores[kept][order], states[kept][order] == RIGHT
    if not len(scores):
        return 1.0
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    f1 = 2 * np.cumsum(right)[ends] / (ends + 1 + matches.counted[:, 0].sum())
    return float(scores[ends[int(f1.argmax())]])


def operating(found: list[Detected], truth: Boxes, classes: int) -> dict[str, Any]:
    """Return the fields of a config that validation decides: the calibration of scores, and each class's threshold.

    A score becomes the share of such boxes that were right at an overlap of 0.5; the threshold is where F1 is highest, and of
    a class with few boxes lies between its own and that of all classes together.
    """
    matches = matched(truth, Found.of(found), classes, overlaps=(0.5,), sizes=("all",))
    shape = fit(*outcomes(matches))
    points = operating_points(matches)
    pooled = together(matches)
    least = []
    for point in points:
        own = pooled if point.threshold is None else point.threshold
        share = point.n / (point.n + FEW)
        both = shape(np.array([own, pooled])) if len(matches.rows) else np.array([UNKNOWN, UNKNOWN])
        least.append(max(LEAST, float(share * both[0] + (1 - share) * both[1])))
    return {"calibration": (tuple(shape.scores), tuple(shape.shares)), "thresholds": tuple(least)}
