"""Out-of-fold probabilities: for each picture, what a classifier says that learnt from the other folds only.

`heads` fits linear heads on features that are there already; `nets` trains a small net per fold; `pooled` weighs several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from beholder.base import events
from beholder.base.errors import Interrupted
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures
from beholder.bundle.bundle import Bundle
from beholder.bundle.infer import activated
from beholder.data.cache import Pixels, cached
from beholder.data.folds import folds
from beholder.learn.probe import Normal, embed, runner
from beholder.learn.train import train
from beholder.machine.device import device, precision
from beholder.nets.engine import Run
from beholder.nets.features import classify

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

DECAYS = (0.005, 0.02, 0.08, 0.3)
"""Strengths of the L2 penalty that are tried on one fold; that of the least loss there serves all."""

COMPONENTS = 512
"""Principal components of the features that a head is fitted on: a fit takes less time for nearly the same guesses."""

SMALL = 1_000_000
"""Numbers in all features below which one thread is quicker: others that are waited for cost seconds on a busy machine."""

Progress = Callable[[int, int], None]


def heads(features: F32, targets: F32, fold: I64, *, multi: bool, progress: Progress | None = None) -> F32:
    """Return out-of-fold probabilities, float32 (N, K), of logistic regressions on the principal components of the features.

    features: (N, F) without NaN; targets: (N, K), one-hot or multi-hot; fold: (N,).
    The components are found without labels, so no label is seen by the head that judges it. Full-batch L-BFGS.
    """
    with _threads(1 if features.size < SMALL else torch.get_num_threads()):
        return _heads(features, targets, fold, multi=multi, progress=progress)


def _heads(features: F32, targets: F32, fold: I64, *, multi: bool, progress: Progress | None) -> F32:
    x, y = components(torch.from_numpy(features), COMPONENTS), torch.from_numpy(targets)
    names = np.unique(fold).tolist()
    held = [torch.from_numpy(fold == name) for name in names]
    tried = [_fitted(x, y, held[0], decay, multi=multi) for decay in DECAYS]
    losses = [float(_loss(logits, y[held[0]], multi=multi)) for logits in tried]
    decay = DECAYS[int(np.argmin(losses))]
    found = torch.empty_like(y)
    for k, mask in enumerate(held):
        logits = tried[int(np.argmin(losses))] if k == 0 else _fitted(x, y, mask, decay, multi=multi)
        found[mask] = logits.sigmoid() if multi else logits.softmax(1)
        if progress:
            progress(k + 1, len(held))
    return np.asarray(found.numpy())


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def components(x: Tensor, count: int) -> Tensor:
    """Return the first principal components of standardised columns, float32 (N, min(count, F)), with a mean square of 1."""
    x = (x - x.mean(0)) / x.std(0).clamp(min=1e-4)
    if x.size(1) > count:
        _, vectors = torch.linalg.eigh(x.T @ x / len(x))
        x = x @ vectors[:, -count:]
    return x / x.square().mean().sqrt().clamp(min=1e-6)


def _fitted(x: Tensor, y: Tensor, held: Tensor, decay: float, *, multi: bool) -> Tensor:
    """Return the logits (M, K) of the held-out rows, by a logistic regression on all others."""
    z, goal = x[~held], y[~held]
    w = torch.zeros(y.size(1), x.size(1), requires_grad=True)
    b = torch.zeros(y.size(1), requires_grad=True)
    solver = torch.optim.LBFGS([w, b], max_iter=40, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        total = _loss(z @ w.T + b, goal, multi=multi) + decay * w.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(loss)  # type: ignore[no-untyped-call]
    return (x[held] @ w.T + b).detach()


def _loss(logits: Tensor, y: Tensor, *, multi: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, y) if multi else F.cross_entropy(logits, y)


def pooled(tables: Sequence[F32], targets: F32, *, multi: bool) -> F32:
    """Return the weighted geometric mean of several out-of-fold probabilities (with `multi`: of odds), float32 (N, K).

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
        logs = torch.stack([_logs(torch.from_numpy(table[known]), multi=multi) for table in tables])
        logits = torch.tensordot(_weights(logs, torch.from_numpy(targets[known]), multi=multi), logs, dims=1)
        found[known] = (logits.sigmoid() if multi else logits.softmax(1)).numpy()
    return found


def _logs(p: Tensor, *, multi: bool) -> Tensor:
    """Return logarithms of probabilities, or with `multi` of odds."""
    p = p.clamp(1e-6, 1 - 1e-6)
    return p.logit() if multi else p.log()


def _weights(logs: Tensor, targets: Tensor, *, multi: bool) -> Tensor:
    """Return the weights (T,) of log-probabilities (T, N, K) under which the targets (N, K) are most probable."""
    roots = torch.full((len(logs),), len(logs) ** -0.5, requires_grad=True)  # their squares are the weights
    solver = torch.optim.LBFGS([roots], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        total = _loss(torch.tensordot(roots.square(), logs, dims=1), targets, multi=multi)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(loss)  # type: ignore[no-untyped-call]
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
            bundle = train(parts, recipe=recipe.set(minutes=minutes / len(names)))
            pixels = cached(pictures, bundle.policy)
            bundle = bundle.to(device())
            normal = Normal(tuple(bundle.config["mean"]), tuple(bundle.config["std"]), device())
            run = runner(bundle.net, pixels, normal, precision(device(), recipe.train.precision))
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
    normal = Normal(tuple(bundle.config["mean"]), tuple(bundle.config["std"]), device())
    return np.asarray(embed(run, pixels, normal, mirror=mirror).numpy())


def _judged(bundle: Bundle, pixels: Pixels, run: Run) -> F32:
    """Return probabilities, float32 (M, K), from the mean logits of a picture and, where the net was so trained, its mirror."""
    views = [
        embedded(bundle, pixels, run, mirror=mirror) for mirror in ((False, True) if bundle.config["mirror"] else (False,))
    ]
    with torch.inference_mode():
        logits = torch.stack([classify(bundle.net, torch.from_numpy(view)) for view in views]).mean(0)
    return np.asarray(activated(logits, multi=bundle.multi).numpy())
