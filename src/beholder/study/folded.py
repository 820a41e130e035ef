"""Out-of-fold probabilities: for each picture, the prediction of a classifier trained on the other folds.

`heads` fits linear heads on features that are there already; `nets` trains a small net per fold; `pooled` weighs several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from beholder.base import events
from beholder.base.errors import Interrupted
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures
from beholder.bundle.bundle import Bundle
from beholder.data.cache import Pixels, cached
from beholder.data.folds import folds
from beholder.learn.train import train
from beholder.machine.device import device, precision
from beholder.machine.pace import contended, restored
from beholder.machine.placement import evaluating
from beholder.nets.features import classify
from beholder.nets.head import minimised, regressed
from beholder.runtime.features import Run
from beholder.runtime.inference import Normal, embed, runner
from beholder.tasks.task import Task

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

DECAYS = (0.02, 0.08, 0.005, 0.3)
"""Strengths of the L2 penalty that are tried on one fold; that of the least loss there serves all."""

COMPONENTS = 512
"""Principal components of the features that a head is fitted on: a fit takes less time for nearly the same predictions."""

SMALL = 1_000_000
"""Numbers in all features below which one thread is quicker: others that are waited for cost seconds on a busy machine."""

Progress = Callable[[int, int], None]


def heads(
    features: F32,
    targets: F32,
    fold: I64,
    *,
    task: Task,
    progress: Progress | None = None,
    enough: Callable[[], bool] = bool,
) -> F32:
    """Return out-of-fold probabilities, float32 (N, K), of logistic regressions on the principal components of the features.

    Rows of NaN for the folds that are left when `enough`, asked after each fit, says so.
    features: (N, F) without NaN; targets: (N, K), one-hot or multi-hot; fold: (N,).
    The components are found without labels, so no label is seen by the head that judges it. Full-batch L-BFGS.
    """
    found = torch.from_numpy(head_logits(features, targets, fold, task=task, progress=progress, enough=enough))
    return np.asarray(task.activation(found).numpy())


def head_logits(
    features: F32,
    targets: F32,
    fold: I64,
    *,
    task: Task,
    weights: Tensor | None = None,
    progress: Progress | None = None,
    enough: Callable[[], bool] = bool,
) -> F32:
    """Return out-of-fold logits, float32 (N, W), as `heads` returns probabilities; weights: of the classes, (K,)."""
    with restored():
        if features.size < SMALL or contended():
            torch.set_num_threads(1)
        return _heads(features, targets, fold, task=task, weights=weights, progress=progress, enough=enough)


def _heads(
    features: F32,
    targets: F32,
    fold: I64,
    *,
    task: Task,
    weights: Tensor | None,
    progress: Progress | None,
    enough: Callable[[], bool],
) -> F32:
    x, y = components(torch.from_numpy(features), COMPONENTS), torch.from_numpy(targets)
    names = np.unique(fold).tolist()
    held = [torch.from_numpy(fold == name) for name in names]
    tried: list[Tensor] = []
    for decay in DECAYS:
        if not (tried and enough()):
            tried.append(_fitted(x, y, held[0], decay, task=task, weights=weights))
    losses = [float(task.loss(logits, y[held[0]])) for logits in tried]
    decay = DECAYS[int(np.argmin(losses))]
    found = torch.full((len(y), task.width(y.shape[1])), torch.nan)
    for k, mask in enumerate(held):
        if k and enough():
            break
        logits = tried[int(np.argmin(losses))] if k == 0 else _fitted(x, y, mask, decay, task=task, weights=weights)
        found[mask] = logits
        if progress:
            progress(k + 1, len(held))
    return np.asarray(found.numpy())


def components(x: Tensor, count: int) -> Tensor:
    """Return the first principal components of standardised columns, float32 (N, C), with a mean square of 1.

    C is `count`, or less where x (N, F) has fewer columns or rows: those that are there span no more.
    """
    x = (x - x.mean(0)) / x.std(0, correction=0).clamp(min=1e-4)
    if x.size(1) > count:
        x = torch.from_numpy(_projected(x.double().numpy(), min(count, len(x)))).float()
    return x / x.square().mean().sqrt().clamp(min=1e-6)


def _projected(x: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Return the rows of x (N, F) along its first principal axes, float64 (N, count), from the smaller of x·xᵀ and xᵀ·x.

    In float64, by relatively robust representations: in float32 divide and conquer, which torch has alone, does not converge on
    features of which many are zero for all pictures, as those of ReLU6 are.
    """
    from scipy.linalg import eigh

    few = len(x) < x.shape[1]
    size = len(x) if few else x.shape[1]
    values, vectors = eigh(x @ x.T if few else x.T @ x, subset_by_index=[size - count, size - 1], driver="evr")
    found: npt.NDArray[np.float64] = vectors * np.sqrt(np.maximum(values, 0)) if few else x @ vectors
    return found


def _fitted(x: Tensor, y: Tensor, held: Tensor, decay: float, *, task: Task, weights: Tensor | None) -> Tensor:
    """Return the logits (M, K) of the held-out rows, by a logistic regression on all others."""
    weight, bias = regressed(x[~held], y[~held], task=task, decay=decay, weights=weights, steps=40)
    return x[held] @ weight.T + bias


def pooled(tables: Sequence[F32], targets: F32, *, task: Task) -> F32:
    """Return the weighted geometric mean of several out-of-fold probabilities (of several labels: of odds), float32 (N, K).

    tables: each (N, K), rows of NaN where nothing is said; targets: (N, K), one-hot or multi-hot.
    The weights, 0 at least, are those under which the given labels are most probable: who knows nothing has none, and
    mistakes that only one of them makes are outvoted. A row that one of them is silent on is what the first of the others says.
    Source: Genest & Zidek, Combining probability distributions, Statistical Science 1 (1986): logarithmic pools.
    """
    found = tables[0].copy()
    for table in tables[1:]:
        silent = np.isnan(found).any(axis=1)
        found[silent] = table[silent]
    known = np.isfinite(np.stack(tables)).all(axis=(0, 2))
    if known.any():
        logs = torch.stack([_logs(torch.from_numpy(table[known]), task=task) for table in tables])
        logits = torch.tensordot(_weights(logs, torch.from_numpy(targets[known]), task=task), logs, dims=1)
        found[known] = task.activation(logits).numpy()
    return found


def _logs(p: Tensor, *, task: Task) -> Tensor:
    """Return logarithms of probabilities, or of several labels of odds."""
    p = p.clamp(1e-6, 1 - 1e-6)
    return p.logit() if task.several else p.log()


def _weights(logs: Tensor, targets: Tensor, *, task: Task) -> Tensor:
    """Return the weights (T,) of log-probabilities (T, N, K) under which the targets (N, K) are most probable."""
    roots = torch.full((len(logs),), len(logs) ** -0.5, requires_grad=True)  # their squares are the weights
    minimised([roots], lambda: task.loss(torch.tensordot(roots.square(), logs, dims=1), targets), steps=40)
    return roots.detach().square()


Done = Callable[[I64, F32, F32 | None], None]


def nets(pictures: Pictures, fold: I64, recipe: Recipe, *, minutes: float = 0.0, known: F32, done: Done) -> None:
    """Train a net for each fold on the others, and hand over what it says of its own.

    pictures: all readable, with digests; fold: int64 (N,); minutes: about what all of it may take (0: as long as it needs)
    known: (N, K), rows of NaN but for pictures that were judged before: their folds are not judged again
    done:  takes (rows int64 (M,) of a fold, probabilities float32 (M, K), features float32 (N, F) of all pictures by the first
           fold's net, else None) as soon as a fold is judged
    A tenth of what a net may see chooses its weights. Raises what `train` raises, `Interrupted` after Ctrl-C included.
    """
    names = np.unique(fold).tolist()
    for number, name in enumerate(names):
        held = np.flatnonzero(fold == name)
        if np.isfinite(known[held]).all():
            continue
        inside = np.flatnonzero(fold != name)
        tenth = folds(pictures.take(inside), count=10, seed=recipe.seed) == 0
        parts = Parts(*(pictures.take(rows) for rows in (inside[~tenth], inside[tenth], held)))
        events.progress("nets in folds", number, len(names))
        with events.only("warn", "progress"), _named_interruption():
            bundle = train(parts, recipe=recipe.set(minutes=minutes / len(names), task="auto", order=""), whole_run=True)
            pixels = cached(pictures, bundle.policy)
            normal = Normal(bundle.config.mean, bundle.config.std, device())
            with evaluating(bundle.net, on=normal.device):
                run = runner(bundle.net, pixels, normal, precision(device(), recipe.train.precision).dtype)
                said = _judged(bundle, pixels.subset(held), run)
                done(held, said, None if number else embedded(bundle, pixels, run, mirror=False))
    events.progress("nets in folds", len(names), len(names))


@contextmanager
def _named_interruption() -> Iterator[None]:
    """Say of what it was that Ctrl-C came in: `train` inside knows only that it was interrupted."""
    try:
        yield
    except Interrupted as error:
        message = "interrupted while nets learnt to judge the labels"
        hint = "what was found out before is remembered; the net that was learning begins anew"
        raise Interrupted(message, hint=hint, exit_code=error.exit_code) from error


def embedded(bundle: Bundle, pixels: Pixels, run: Run, *, mirror: bool) -> F32:
    """Return the features of the pictures, float32 (M, F), as the bundle's net sees them."""
    normal = Normal(bundle.config.mean, bundle.config.std, device())
    return np.asarray(embed(run, pixels, normal, mirror=mirror).numpy())


def _judged(bundle: Bundle, pixels: Pixels, run: Run) -> F32:
    """Return probabilities, float32 (M, K), from the mean logits of a picture and, where the net was so trained, its mirror."""
    views = [embedded(bundle, pixels, run, mirror=mirror) for mirror in ((False, True) if bundle.config.mirror else (False,))]
    with torch.inference_mode():
        logits = torch.stack([classify(bundle.net, torch.from_numpy(view).to(device())) for view in views]).mean(0)
    return np.asarray(bundle.task.activation(logits).cpu().numpy())
