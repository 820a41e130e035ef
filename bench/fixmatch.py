"""What does FixMatch reach beside `train --unlabelled`? CIFAR-10, a few labels a class, a small net from random weights.

    .venv/bin/python bench/fixmatch.py LABELS SEEDS MINUTES [POOL] [WIDTH] [RATIO] [RATE]

LABELS: a class; SEEDS: how often, or FIRST:END; MINUTES: of training by CPU time, for FixMatch and again for labels alone. The
labelled and the test pictures (2,000) are those of `bench/unlabelled.py cifar10 LABELS SEEDS 2000 2000`, and so is the pool
with POOL 2000; with "all" (default) it is every other training picture. WIDTH: of fastnet (default: 0.25); RATIO: how many
without a label to one with in a batch, μ (default: 3; the paper has 7); RATE: of learning (default: 0.03, the paper's).

Plain FixMatch: K. Sohn et al., FixMatch: simplifying semi-supervised learning with consistency and confidence, NeurIPS (2020).
What a weakly changed picture (mirrored, moved) is said to be by 0.95 or more, its strongly changed twin (RandAugment, cutout)
has to be, too: λ = 1, SGD with Nesterov's momentum, η cos(7πk/16K), and the test by a moving average of the weights. What is
not the paper's: eight pictures share the draws of RandAugment, for speed; weakly changed pictures pass the net on
their own, without gradients; the first layer whitens, from the labelled pictures. Labels alone: the same without a pool,
weakly changed. Prints a line a seed: the test error of both, and of how much of the pool FixMatch's net is
sure by 0.95 at its end, and how much of that is right; then the means.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel
from torchvision.transforms import v2
from unlabelled import SETS, SHARED, drawn, sampled

from beholder import image
from beholder.base import events
from beholder.base.fields import DataRecipe
from beholder.base.records import Pictures
from beholder.data.geometry import shift
from beholder.data.survey import choose_policy, survey
from beholder.nets.fastnet import FastNet, fastnet
from beholder.nets.init import initialise
from beholder.sources import scan

SURE, BATCH, DECAY, AVERAGE = 0.95, 32, 5e-4, 0.999
MOVE, HOLE, TOGETHER = 4, 16, 8
"""Pixels by which a picture is moved at most; the side of what cutout hides; pictures that share a draw of RandAugment."""

STRONG = [v2.RandAugment(num_ops=2, magnitude=m, fill=[127.0] * 3) for m in range(2, 21, 2)]


@dataclass
class Cell:
    """Pictures uint8 (N, 3, 32, 32) and their classes int64 (N,): with labels, without (classes only to judge), of the test."""

    x: Tensor
    y: Tensor
    pool: Tensor
    truth: Tensor
    test: Tensor
    goal: Tensor


def decoded(pictures: Pictures) -> Tensor:
    """Return all pictures as uint8 (N, 3, 32, 32)."""
    policy, _ = choose_policy(survey(pictures), DataRecipe())
    x = np.empty((len(pictures), policy.channels, policy.height, policy.width), np.uint8)
    for row, key in enumerate(pictures.keys):
        x[row] = image.load(pictures.store.read(key), policy)
    return torch.from_numpy(x)


def cells(labels: int, seeds: range, pool: int) -> list[Cell]:
    """Return what is learnt from and tested for each seed; pool 0: all training pictures that have no label."""
    some, units = sampled("cifar10", pool or 2000, 2000)
    whole = scan(SHARED / SETS["cifar10"])
    x, y = decoded(whole), torch.from_numpy(whole.targets)
    place = {key: row for row, key in enumerate(whole.keys)}
    found = []
    for seed in seeds:
        rows = drawn(some, units, labels, pool or 2000, 2000, seed)
        mine, theirs, held = (np.array([place[some.keys[k]] for k in each]) for each in (rows.labelled, rows.pool, rows.test))
        if not pool:
            theirs = np.setdiff1d(np.flatnonzero(whole.parts != 2), mine)
        found.append(Cell(*(values[torch.from_numpy(each)] for each in (mine, theirs, held) for values in (x, y))))
    return found


def weak(x: Tensor) -> Tensor:
    """Return pictures mirrored by chance and moved by up to `MOVE` pixels."""
    right, down = torch.randint(-MOVE, MOVE + 1, (2, len(x)))
    return shift(x, torch.rand(len(x)) < 0.5, torch.zeros(len(x), dtype=torch.bool), right, down)


def strong(x: Tensor) -> Tensor:
    """Return pictures changed by two operations of RandAugment, of a magnitude by chance, with a grey hole in each."""
    x = torch.cat([STRONG[int(torch.randint(len(STRONG), ()))](some) for some in weak(x).split(TOGETHER)])
    places, middle = torch.arange(32), torch.randint(32, (2, len(x), 1))
    down, across = (places - middle >= -HOLE // 2) & (places - middle < HOLE // 2)
    return x.masked_fill((down[:, None, :, None] & across[:, None, None, :]), 127)


class Scaled(nn.Module):
    """A net that takes uint8 (B, 3, 32, 32), normalised by the pictures given first."""

    def __init__(self, net: FastNet, x: Tensor) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)
        pixels = x.float().transpose(0, 1).flatten(1)
        self.mean, self.deviation = pixels.mean(1)[:, None, None], pixels.std(1)[:, None, None]
        initialise(net, "whitening", sample=self.scaled(x))

    def scaled(self, x: Tensor) -> Tensor:
        return ((x.float() - self.mean) / self.deviation).to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits float32 (B, K)."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(self.scaled(x)).float()


def loss_of(net: nn.Module, cell: Cell, ratio: int) -> Tensor:
    """Return FixMatch's loss of a batch drawn by chance; with a ratio of 0, that of labels alone."""
    rows = torch.randint(len(cell.x), (BATCH,))
    x, y = weak(cell.x[rows]), cell.y[rows]
    if not ratio:
        return functional.cross_entropy(net(x), y)
    theirs = cell.pool[torch.randint(len(cell.pool), (BATCH * ratio,))]
    with torch.no_grad():
        sure, named = net(weak(theirs)).softmax(1).max(1)
    own, other = net(torch.cat([x, strong(theirs)])).split([BATCH, len(theirs)])
    each = functional.cross_entropy(other, named, reduction="none")
    return functional.cross_entropy(own, y) + (each * (sure >= SURE)).mean()


def averaged(mean: Tensor, now: Tensor, count: Tensor | int) -> Tensor:
    """Return the moving average, which forgets faster at first: else it would be of the random weights in a short run."""
    return mean.lerp(now, 1 - min(AVERAGE, (1 + int(count)) / (10 + int(count)))) if mean.is_floating_point() else now


def learnt(net: nn.Module, cell: Cell, ratio: int, rate: float, minutes: float) -> tuple[nn.Module, int]:
    """Return the average of the net's weights over a training of so many minutes of CPU time, and its steps."""
    mean, steps, began = AveragedModel(net, avg_fn=averaged, use_buffers=True), 0, time.process_time()
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    optimiser = torch.optim.SGD(weights, lr=rate, momentum=0.9, nesterov=True, weight_decay=DECAY)
    while (done := (time.process_time() - began) / (60 * minutes)) < 1:
        optimiser.param_groups[0]["lr"] = rate * math.cos(7 * math.pi * done / 16)
        optimiser.zero_grad()
        loss_of(net, cell, ratio).backward()
        optimiser.step()
        mean.update_parameters(net)
        steps += 1
    return mean.eval(), steps


@torch.no_grad()
def answers(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return how sure the net is of each picture, float32 (N,), and of which class, int64 (N,)."""
    sure, named = torch.cat([net(some) for some in x.split(500)]).softmax(1).max(1)
    return sure, named


def measured(cell: Cell, seed: int, width: float, ratio: int, rate: float, minutes: float) -> list[float]:
    """Return the test errors of FixMatch and of labels alone, the share of the pool that is sure, and of that what is right."""
    torch.manual_seed(seed)
    first = Scaled(fastnet(channels=3, size=(32, 32), classes=10, width=width), cell.x)
    found = []
    for each in (ratio, 0):
        net, steps = learnt(copy.deepcopy(first), cell, each, rate, minutes)
        found.append(float((answers(net, cell.test)[1] != cell.goal).float().mean()))
        print(f"seed {seed}, {'FixMatch' if each else 'labels alone'}: error {found[-1]:.4f}, {steps} steps", flush=True)
        if each:
            sure, named = answers(net, cell.pool)
            share, right = float((sure >= SURE).float().mean()), float((named == cell.truth)[sure >= SURE].float().mean())
            print(f"  of {len(cell.pool)} without labels {share:.3f} sure, of these right {right:.3f}", flush=True)
    return [*found, share, right]


def main() -> None:
    """Measure."""
    labels, which, minutes, *rest = sys.argv[1:]
    seeds = range(*map(int, which.split(":")))
    pool = int(rest[0]) if rest and rest[0] != "all" else 0
    width, ratio, rate = (float(rest[k]) if len(rest) > k else usual for k, usual in ((1, 0.25), (2, 3), (3, 0.03)))
    torch.set_num_threads(1)
    with events.listen(alone=True):
        given = cells(int(labels), seeds, pool)
    found = []
    for seed, cell in zip(seeds, given, strict=True):
        found.append(measured(cell, seed, width, int(ratio), rate, float(minutes)))
    fixmatch, alone, share, right = np.mean(found, axis=0)
    print(
        f"cifar10 {labels} a class, {len(seeds)} seeds, {minutes} minutes each, fastnet {width:g}, μ = {ratio:g}: error "
        f"of labels alone {alone:.4f}, of FixMatch {fixmatch:.4f} ({fixmatch / alone - 1:+.1%}); sure {share:.3f}, "
        f"of these right {right:.3f}"
    )


if __name__ == "__main__":
    main()
