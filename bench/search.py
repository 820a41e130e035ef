"""The search of `tune` beside random search with full-length trials, on the same budget of steps.

    .venv/bin/python bench/search.py [PAIRS] [STEPS …]

The search is `beholder.study.search` with the ranges, the portfolio and the shares of `tune`; random search draws from the same
ranges, trains two draws, each as long as half of the budget allows, and takes the better one on validation. Both train the same
small nets (perceptrons on 14 × 14 pixels, averaged weights, cosine schedule, of which the best on validation are kept) on 1,000
pictures, validate on 500 and are tested on up to 5,000; a step of 64 pictures costs 1, whatever the width.
STEPS: the whole budget of a pair, of which a tenth is left for a test; PAIRS differ in pictures, draws and weights.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import beholder
from beholder.base.recipe import load
from beholder.base.records import PixelPolicy
from beholder.data.cache import cached
from beholder.sources.digest import digested
from beholder.study.search import Book, Job, Plan, Single, Slice, searched
from beholder.study.space import Params, portfolio, space
from beholder.study.tune import FINISH, NARROW, SCREEN, SLICE

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
SETS = {"fashion": "fashion-mnist.zip", "signs": "sign-digits.zip"}
TRAIN, VALID, TEST, BATCH = 1000, 500, 5000, 64
RANGES = space(load("quick"), net="fastnet", pretrained=False, nets=("auto", "resnet"))


class Net(nn.Module):
    """A perceptron on 14 × 14 pixels with two hidden layers, the second with a residual branch where `residual`."""

    def __init__(self, width: float, classes: int, *, residual: bool) -> None:
        super().__init__()
        size = max(8, round(64 * width))
        self.one, self.two, self.head = nn.Linear(196, size), nn.Linear(size, size), nn.Linear(size, classes)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.one(x.flatten(1)))
        more = F.relu(self.two(x))
        return self.head(x + more if self.residual else more)


@dataclass
class Problem:
    """Pictures float32 (N, 1, 14, 14) and labels of the three parts, and every candidate's run, kept to go on with."""

    parts: dict[str, tuple[Tensor, Tensor]]
    classes: int
    length: int
    seed: int
    runs: dict[int, Running] = field(default_factory=dict)
    spent: int = 0

    def __call__(self, job: Job) -> Slice:
        params: Params = dict(job.factors)
        run = self.runs.setdefault(job.index, Running(self, params, self.length, self.seed + job.index))
        self.spent += run.to(min(self.length, round(job.epochs)))
        return Slice(score=run.best[0], cost=float(run.step), done=run.step >= self.length, facts={"recipe": ""})

    @torch.inference_mode()
    def score(self, net: nn.Module, part: str) -> float:
        x, y = self.parts[part]
        net.eval()
        found = float((net(x).argmax(1) == y).float().mean())
        net.train()
        return found


class Running:
    """A run of `length` steps under a cosine, which can pause anywhere."""

    def __init__(self, problem: Problem, params: Mapping[str, Any], length: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.problem, self.params, self.length, self.step = problem, params, length, 0
        self.net = Net(params["net.width"], problem.classes, residual=params["net.name"] == "resnet")
        self.optimiser = self._optimiser()
        self.best: tuple[float, float] = (-1.0, 0.0)
        self.average = [weights.detach().clone() for weights in self.net.parameters()]
        ramp = max(1, length // 20)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda t: min((t + 1) / ramp, 0.5 * (1 + math.cos(math.pi * min(1.0, t / length))))
        )
        self.draws = torch.Generator().manual_seed(seed)

    def _optimiser(self) -> torch.optim.Optimizer:
        rate, decay, kind = self.params["train.lr"], self.params["train.weight_decay"], self.params["train.optimiser"]
        if kind == "sgd":
            how = {"lr": 0.05 * rate, "momentum": 0.9, "weight_decay": 5e-4 * decay, "nesterov": True}
            return torch.optim.SGD(self.net.parameters(), **how)
        return torch.optim.AdamW(self.net.parameters(), (3e-3 if kind == "auto" else 1e-3) * rate, weight_decay=0.05 * decay)

    def to(self, step: int) -> int:
        """Train to `step` and return the steps that were taken."""
        began, (x, y), every = self.step, self.problem.parts["train"], max(1, self.length // 12)
        while self.step < step:
            rows = torch.randint(len(x), (BATCH,), generator=self.draws)
            images, targets = self._augmented(x[rows]), F.one_hot(y[rows], self.problem.classes).float()
            if (mixup := self.params["data.mixup"]) > 0.01:
                share = float(np.random.default_rng(self.step).beta(mixup, mixup))
                images = share * images + (1 - share) * images.flip(0)
                targets = share * targets + (1 - share) * targets.flip(0)
            loss = F.cross_entropy(self.net(images), targets, label_smoothing=self.params["train.smoothing"])
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
            self.step += 1
            share = 1 - min(0.999, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.average, [weights.detach() for weights in self.net.parameters()], share)
            if self.step % every == 0 or self.step == step:
                self._validate()
        return self.step - began

    def _validate(self) -> None:
        """Keep the test accuracy of the best weights on validation so far, as `train` keeps the weights."""
        net, problem = self.averaged(), self.problem
        if (found := problem.score(net, "valid")) > self.best[0]:
            self.best = found, problem.score(net, "test")

    @torch.no_grad()
    def averaged(self) -> nn.Module:
        """Return the net with its averaged weights, as `train` validates it."""
        net = copy.deepcopy(self.net)
        for weights, mean in zip(net.parameters(), self.average, strict=True):
            weights.copy_(mean)
        return net

    def _augmented(self, images: Tensor) -> Tensor:
        """Return pictures that are shifted, and with "strong" of other contrast, as far as the strength says."""
        kind, strength = self.params["data.augment"], self.params["data.strength"]
        reach = round({"light": 1, "auto": 1, "standard": 2, "strong": 2}[kind] * strength)
        if reach:
            dx, dy = torch.randint(-reach, reach + 1, (2,), generator=self.draws).tolist()
            images = images.roll((dx, dy), dims=(2, 3))
        if kind == "strong":
            images = images * (1 + 0.4 * strength * (torch.rand(len(images), 1, 1, 1, generator=self.draws) - 0.5))
        return images


def problem(pixels: Tensor, labels: Tensor, length: int, seed: int) -> Problem:
    """Return a problem of pictures drawn by the seed."""
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    ends = (TRAIN, TRAIN + VALID, min(len(order), TRAIN + VALID + TEST))
    rows = (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] : ends[2]])
    parts = {name: (pixels[at], labels[at]) for name, at in zip(("train", "valid", "test"), rows, strict=True)}
    return Problem(parts, int(labels.max()) + 1, length, 1000 * seed)


def searching(pixels: Tensor, labels: Tensor, steps: int, seed: int) -> tuple[float, int]:
    """Return the test accuracy of what the search finds, and the steps that it took."""
    length = round((SLICE + NARROW / 3 + FINISH) * steps)
    on = problem(pixels, labels, length, seed)
    book = Book(None, "bench", space=RANGES, seed=seed, portfolio=portfolio(RANGES, pretrained=False))
    each, narrow = SLICE * steps, (SLICE + NARROW / 3) * steps
    plan = Plan(each, narrow, 3, True, lambda _: on.spent + each > SCREEN * steps)
    winner = searched(book, Single(on), plan, make=lambda params: ("", params), told=lambda _: None)
    assert winner is not None
    run = on.runs[winner.index]
    on.spent += run.to(length)
    return run.best[1], on.spent


def drawing(pixels: Tensor, labels: Tensor, steps: int, seed: int) -> tuple[float, int]:
    """Return the same of random search with two trials that fill the budget."""
    length, rng, found = round((SCREEN + NARROW + FINISH) * steps / 2), np.random.default_rng(seed), []
    on = problem(pixels, labels, length, seed)
    for index in range(2):
        run = Running(on, {path: drawn(kept, rng) for path, kept in RANGES.items()}, length, 1000 * seed + 500 + index)
        on.spent += run.to(length)
        found.append(run.best)
    return max(found, key=lambda pair: pair[0])[1], on.spent


def drawn(kept: Any, rng: np.random.Generator) -> Any:
    """Return a value of a range, uniform on its scale."""
    if kept.choices:
        return kept.choices[rng.integers(len(kept.choices))]
    if kept.log:
        return float(np.exp(rng.uniform(math.log(kept.low), math.log(kept.high))))
    return float(rng.uniform(kept.low, kept.high))


def material(name: str) -> tuple[Tensor, Tensor]:
    """Return a set as float32 (N, 1, 14, 14), normalised, and its labels int64 (N,); of a large one 12,000 pictures."""
    pictures = beholder.scan(SHARED / SETS[name])
    rows = np.random.default_rng(0).permutation(len(pictures))[:12_000]
    pixels = cached(digested(pictures.take(np.sort(rows))), PixelPolicy(14, 14, 1))
    images = torch.from_numpy(pixels.take(np.arange(len(pixels)))).float() / 255
    kept = pixels.of(pictures.take(np.sort(rows)))
    return (images - images.mean()) / images.std(), torch.from_numpy(np.asarray(kept.targets))


def main() -> None:
    torch.set_num_threads(1)
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    budgets = [int(word) for word in sys.argv[2:]] or [2400]
    for name in SETS:
        pixels, labels = material(name)
        for steps in budgets:
            began = time.monotonic()
            both = [(searching(pixels, labels, steps, seed), drawing(pixels, labels, steps, seed)) for seed in range(pairs)]
            ours, theirs = (np.array([pair[at][0] for pair in both]) for at in (0, 1))
            spent = [np.mean([pair[at][1] for pair in both]) for at in (0, 1)]
            change = ours - theirs
            error = change.std(ddof=1) / pairs**0.5
            won, lost = int((change > 0).sum()), int((change < 0).sum())
            print(f"{name}, {steps} steps: the search is better in {won} of {pairs} pairs, worse in {lost}", flush=True)
            print(
                f"test accuracy {ours.mean():.4f} against {theirs.mean():.4f}: {change.mean():+.4f} ± {error:.4f}", flush=True
            )
            print(f"steps {spent[0]:.0f} against {spent[1]:.0f}; {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
