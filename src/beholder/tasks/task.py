"""The value that a task is, and a turn of its loss. What needs torch imports it where it is used: serving does without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from beholder.measure.calibration import METHODS
from beholder.measure.families import Family
from beholder.measure.scores import Scores

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Statistic:
    """A score as a function of resamples (each int64 (N,): how often a picture was drawn), to values float64 (R,).

    least, most: between what the score lies
    """

    values: Callable[[Sequence[Ints]], Floats]
    least: float = 0.0
    most: float = 1.0


@dataclass(frozen=True)
class Turn:
    """`who` steps on `loss` (a scalar). `right`: share of the batch that was right, for the eye; a scalar tensor.

    whole: False for a piece of a batch, whose gradients are kept for the step on the last one
    """

    who: str
    loss: Tensor
    right: Tensor
    whole: bool = True


Turns = Callable[..., Iterator[Turn]]
"""(net, images float32 (B, C, H, W), targets float32 (B, K), *, smoothing, weights float32 (K,) or None) → turns of a batch."""


Objective = Callable[[npt.NDArray[np.floating], npt.NDArray[np.floating]], float]
"""(logits (N, W), targets (N, K)) → a score on validation, the higher the better; NaN where it is undefined."""


@dataclass(frozen=True, repr=False)
class Task:
    """A task. N or B pictures, K classes, W = family.width(K) logits a picture; targets are float32 (B, K), hot or soft.

    family:     how logits become probabilities and answers, and whether a picture may carry several labels
    loss:       tensors (logits (B, W), targets, *, smoothing, weights) → scalar, in float32
    turns:      how a batch becomes turns of loss; `alone` makes it of a loss, for a net that learns by itself
    activation: tensor of logits (B, W) → probabilities (B, K), what `family` computes; it is part of exported graphs
    balance:    (pictures of each class int64 (K,), pictures) → class weights float64 (K,), as `loss` takes them
    score:      (probabilities (N, K), targets int (N,) or 0 and 1 (N, K), classes, *, thresholds, groups) → scores, the first
                of which is the one that matters
    objective:  the validation score by which weights are chosen; objectives: by name, those that a person may ask for instead
                (`tasks.objectives`), with the task's own
    compared:   (probabilities, targets, answers) → name of a score → it in resamples, for pairs of models
    measure:    what `family.right` is called: accuracy | labels
    bias:       (pictures of each class int64 (K,)) → first bias of the last layer, float64 (W,); None: zeros
    order:      (class names, as asked: names or ()) → the order of the classes; None: as they are
    share:      whether the objective is a share in 0..1, said in per cent
    calibrations, operating, sections: which calibration methods and operating points apply (with prediction sets: "sets"), and
                which sections of a test do not
    """

    name: str
    family: Family
    loss: Callable[..., Tensor]
    turns: Turns
    activation: Callable[[Tensor], Tensor]
    balance: Callable[[Ints, int], Floats]
    score: Callable[..., Scores]
    objective: Objective
    compared: Callable[[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]], Mapping[str, Statistic]]
    objectives: Mapping[str, Objective] = field(default_factory=dict)
    measure: str = "accuracy"
    bias: Callable[[Ints], Floats] | None = None
    order: Callable[[Sequence[str], Sequence[str]], Sequence[str]] | None = None
    share: bool = True
    calibrations: tuple[str, ...] = METHODS
    operating: tuple[str, ...] = ("risk", "sensitivity", "sets")
    without: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Task({self.name!r})"

    @property
    def several(self) -> bool:
        """Return True where a picture may carry several labels."""
        return self.family.several

    def width(self, classes: int) -> int:
        """Return how many logits the last layer has for so many classes."""
        return self.family.width(classes)

    def targets(self, hot: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
        """Return hot targets (N, K) as scores take them: int64 (N,), or uint8 (N, K) where there may be several."""
        return hot.astype(np.uint8) if self.several else hot.argmax(axis=1)


def alone(loss: Callable[..., Tensor], right: Callable[[Tensor, Tensor], Tensor]) -> Turns:
    """Return the turns of a net that learns by itself: one a batch, by `loss`; right: (logits, targets) → share."""

    def turns(net: Any, images: Tensor, targets: Tensor, *, smoothing: float, weights: Tensor | None) -> Iterator[Turn]:
        logits = net(images).float()
        yield Turn("net", loss(logits, targets, smoothing=smoothing, weights=weights), right(logits.detach(), targets))

    return turns
