"""Optimisers and schedules. An optimiser here is PyTorch's own where there is one; Muon is written out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beholder.base.choices import OPTIMISERS
from beholder.learn import bare
from beholder.machine.devices import kind

Schedule = Callable[[float], float]
"""Factor on the learning rate as a function of the share of training that is done, both in [0, 1]."""


def constant(_done: float) -> float:
    """Return 1 at every point."""
    return 1.0


def cosine(done: float) -> float:
    """Return a linear warm-up over the first 5 %, then half a cosine down to 0 (Loshchilov & Hutter 2017)."""
    warm = 0.05
    if done < warm:
        return (done + 1e-3) / (warm + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm) / (1 - warm))))


def onecycle(done: float) -> float:
    """Return a linear rise from 1/10 over the first 25 %, then a cosine down to 0 (Smith & Topin 2019)."""
    rise = 0.25
    if done < rise:
        return 0.1 + 0.9 * done / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - rise) / (1 - rise))))


def trapezoid(done: float) -> float:
    """Return a warm-up over the first 5 %, a plateau to 40 %, then a line down to 0 (Zhai et al. 2022, section 3.5)."""
    return max(0.0, min(1.0, (done + 1e-3) / 0.05, (1 - done) / 0.6))


def orthogonalised(matrix: Tensor, *, steps: int = 5) -> Tensor:
    """Return float (m, n) whose singular values are close to 1 and whose singular vectors are those of `matrix`.

    A quintic Newton–Schulz iteration, which needs products only. Source: Jordan et al. 2024, "Muon".
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    if x.size(1) >= WIDE * x.size(0) and x.dtype in (torch.float32, torch.float64):
        x = _through_square(x, steps, (a, b, c))
    else:
        for _ in range(steps):
            square = x @ x.T
            x = a * x + (b * square + c * square @ square) @ x
    found: Tensor = x.T if tall else x
    return found


WIDE = 2
"""How many times as wide as high a matrix is from which on the iteration goes through its square."""


def _through_square(x: Tensor, steps: int, polynomial: tuple[float, float, float]) -> Tensor:
    """Return what the same iteration gives, up to rounding, by products of small matrices, but for the first and the last.

    A step multiplies x by q = a + b s + c s², a polynomial of s = x xᵀ; so the next s is q s q, and x is needed only at the
    end. Of filters of 3 × 3 it takes a third of the time. In bf16 the error would grow.
    """
    a, b, c = polynomial
    square = x @ x.T
    whole: Tensor | None = None
    for step in range(steps):
        q = torch.addmm(square, square, square, beta=b, alpha=c)
        q.diagonal().add_(a)
        whole = q if whole is None else q @ whole
        if step < steps - 1:
            square = q @ square @ q
    return x if whole is None else whole @ x


class Muon(bare.Base):
    """Momentum, then the nearest orthogonal matrix as the step: for weights of two or more dimensions.

    Convolution filters (out, in, h, w) are taken as matrices (out, in·h·w). The step has root-mean-square size
    `lr · 0.2`, so that rates mean the same as AdamW's (Liu et al. 2025, "Muon is scalable", section 2.2).

    sphere: for weights whose length makes no difference, because a norm follows: they are kept at rows of mean length 1, and
            the step is `lr` times the orthogonal matrix, the same share of every matrix; nothing is decayed
            (K. Jordan, airbench94_muon, 2024).
    dtype:  of the iteration's products; CUDA takes bf16, as published
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        sphere: bool = False,
        steps: int = 5,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._dtype = dtype
        rules = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "sphere": sphere, "steps": steps}
        super().__init__(params, rules)

    @bare.bare
    def step(self, closure: Any = None) -> None:
        """Take one step with the gradients that the parameters hold."""
        flag: Tensor | None = getattr(self, "found_inf", None)  # what fused optimisers are told by, see `watch.Guard`
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                gradient = p.grad if flag is None else p.grad.masked_fill(flag > 0, 0.0)
                state = self.state[p]
                buffer = state.setdefault("momentum_buffer", torch.zeros_like(p))
                buffer.mul_(group["momentum"]).add_(gradient)
                nesterov = gradient.add(buffer, alpha=group["momentum"])
                matrix = nesterov.reshape(p.size(0), -1).to(torch.bfloat16 if p.is_cuda else self._dtype)
                update = orthogonalised(matrix, steps=group["steps"])
                if group["sphere"]:
                    p.mul_(math.sqrt(p.size(0)) / p.norm().clamp(min=1e-12))
                    size = 1.0
                else:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    size = 0.2 * math.sqrt(max(update.shape))
                p.add_(update.view_as(p).to(p.dtype), alpha=-group["lr"] * size)


BIASES, HEAD = 0.22, 0.0108
"""Decoupled rates of what Muon leaves over in a scale-free net, as multiples of its rate and of the pictures in a batch: those
of biases, and of a head with outputs scaled by the root of its inputs. From airbench94_muon."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What an optimiser is made for: the weights of a net that are trained, and the numbers of the recipe.

    matrices, vectors: outside the head, of two dimensions or more, and of fewer; head: those of the head
    rates: by the id of a weight, its own learning rate; batch: pictures in a step; dtype: what the net computes in
    """

    matrices: list[nn.Parameter]
    vectors: list[nn.Parameter]
    head: list[nn.Parameter]
    rates: Mapping[int, float]
    lr: float
    momentum: float
    weight_decay: float
    batch: int
    dtype: torch.dtype

    @property
    def fused(self) -> bool:
        """Return whether PyTorch has one kernel for a step of all of them."""
        every = (*self.matrices, *self.vectors, *self.head)
        return all(kind(p.device).fused and p.is_floating_point() for p in every)

    def groups(self, *, matrices: bool = True) -> list[dict[str, Any]]:
        """Return groups for a torch optimiser, one for each rate and decay; biases, norms and other vectors never decay.

        matrices: those outside the head too
        """
        decayed = [*(self.matrices if matrices else []), *(p for p in self.head if p.ndim >= 2)]
        plain = [*self.vectors, *(p for p in self.head if p.ndim < 2)]
        if self.weight_decay == 0:  # one group is one kernel
            decayed, plain = [*decayed, *plain], []
        return [*self.by_rate(decayed, weight_decay=self.weight_decay), *self.by_rate(plain, weight_decay=0.0)]

    def by_rate(self, params: list[nn.Parameter], **fields: float) -> list[dict[str, Any]]:
        """Return one group of some of the weights for each rate."""
        each = sorted({self.rates[id(p)] for p in params})
        return [{"params": [p for p in params if self.rates[id(p)] == rate], "lr": rate, **fields} for rate in each]


@dataclass(frozen=True)
class Optimiser:
    """One row of `OPTIMISERS`.

    make:       Trained → torch optimisers that share its weights among them
    rate, fine: learning rate at the height of the schedule, for random and for pretrained weights
    decay:      weight decay where the recipe leaves it open
    schedule:   likewise
    batch:      pictures in a step at which `rate` and `decay` hold; with others the rate goes with the root of their number, as
                the noise of a step does, and the decay with the number (0: they hold for any)
    """

    make: Callable[[Trained], list[torch.optim.Optimizer]]
    rate: float = 0.001
    fine: float = 0.0003
    decay: float = 0.02
    schedule: str = "cosine"
    batch: int = 0

    def rate_at(self, batch: int) -> float:
        """Return the rate for random weights in batches of so many pictures."""
        return self.rate * (math.sqrt(batch / self.batch) if self.batch else 1.0)

    def decay_at(self, batch: int) -> float:
        """Return the weight decay in batches of so many pictures."""
        return self.decay * (batch / self.batch if self.batch else 1.0)


def optimiser(
    net: nn.Module,
    name: str,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    head: nn.Module | None = None,
    batch: int = 1,
    factors: Mapping[str, float] | None = None,
    bf16: bool = False,
) -> list[torch.optim.Optimizer]:
    """Return the optimisers of one net by a name in `OPTIMISERS`: one, or two which take different weights.

    factors: on the rate, by the name of a parameter; 1 where absent. bf16: whether the net computes in it
    """
    in_head = {id(p) for p in head.parameters()} if head is not None else set()
    trained = [p for p in net.parameters() if p.requires_grad]
    found: Optimiser = OPTIMISERS.load(name, of=Optimiser)
    weights = Trained(
        matrices=[p for p in trained if p.ndim >= 2 and id(p) not in in_head],
        vectors=[p for p in trained if p.ndim < 2 and id(p) not in in_head],
        head=[p for p in trained if id(p) in in_head],
        rates={id(p): lr * (factors or {}).get(name, 1.0) for name, p in net.named_parameters()},
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        batch=batch,
        dtype=torch.bfloat16 if bf16 else torch.float32,
    )
    with OPTIMISERS.guarded(name):
        return found.make(weights)


def _sgd(w: Trained) -> list[torch.optim.Optimizer]:
    return [bare.SGD(w.groups(), lr=w.lr, momentum=w.momentum, nesterov=w.momentum > 0, fused=w.fused)]


def _adam(w: Trained) -> list[torch.optim.Optimizer]:
    return [bare.Adam(w.groups(), lr=w.lr, fused=w.fused)]


def _adamw(w: Trained) -> list[torch.optim.Optimizer]:
    return [bare.AdamW(w.groups(), lr=w.lr, fused=w.fused)]


def _muon(w: Trained) -> list[torch.optim.Optimizer]:
    """Muon takes the matrices, AdamW the head and the vectors."""
    made: list[torch.optim.Optimizer] = []
    if w.matrices:
        made.append(Muon(w.by_rate(w.matrices), lr=w.lr, momentum=0.95, weight_decay=w.weight_decay, dtype=w.dtype))
    rest = w.groups(matrices=False)
    return [*made, bare.AdamW(rest, lr=w.lr, fused=w.fused)] if rest else made


def _sphere(w: Trained) -> list[torch.optim.Optimizer]:
    """For `scale_free` nets and short runs: Muon keeps to the sphere, Nesterov SGD takes head and vectors and decays them too.

    Their rates are decoupled, in proportion to the batch. SGD multiplies decay by the rate, so the pull is divided by it.
    """
    rates = [(w.vectors, BIASES * w.batch * w.lr), (w.head, HEAD * w.batch * w.lr)]
    groups = [{"params": p, "lr": rate, "weight_decay": w.weight_decay * w.lr / rate} for p, rate in rates if p]
    rest = bare.SGD(groups, lr=w.lr, momentum=0.85, nesterov=True, fused=w.fused)
    return [Muon(w.matrices, lr=w.lr, momentum=0.6, sphere=True, steps=3, dtype=w.dtype), rest] if w.matrices else [rest]


SGD = Optimiser(_sgd, rate=0.05, fine=0.005, decay=5e-4)
ADAM = Optimiser(_adam, fine=0.0002, decay=0.0)
ADAMW = Optimiser(_adamw)
MUON = Optimiser(_muon, rate=0.03, fine=0.002, decay=0.03, schedule="trapezoid")
SPHERE = Optimiser(_sphere, rate=0.24, fine=0.02, decay=0.016, schedule="trapezoid", batch=2000)
