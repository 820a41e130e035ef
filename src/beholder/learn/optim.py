"""Optimisers and schedules. An optimiser here is PyTorch's own where there is one; Muon is written out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from beholder.learn import light

Schedule = Callable[[float], float]


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


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine, "onecycle": onecycle, "trapezoid": trapezoid}
"""Name → factor on the learning rate as a function of the share of training that is done, both in [0, 1]."""


def orthogonalised(matrix: Tensor, *, steps: int = 5) -> Tensor:
    """Return float (m, n) whose singular values are close to 1 and whose singular vectors are those of `matrix`.

    A quintic Newton–Schulz iteration, which needs products only. Source: Jordan et al. 2024, "Muon".
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    found: Tensor = x.T if tall else x
    return found


class Muon(light.Base):
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

    @light.bare
    def step(self, closure: Any = None) -> None:
        """Take one step with the gradients that the parameters hold."""
        flag: Tensor | None = getattr(self, "found_inf", None)  # what fused optimisers are told by, see `watch.Guard`
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                gradient = p.grad if flag is None else torch.where(flag > 0, 0.0, p.grad)
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


RATES = {"sgd": 0.05, "adam": 0.001, "adamw": 0.001, "muon": 0.03, "sphere": 0.24}
"""Learning rate at the height of the schedule for a net that starts from random weights; sphere: in batches of 2,000."""

DECAYS = {"sgd": 5e-4, "adam": 0.0, "adamw": 0.02, "muon": 0.03}

BIASES, HEAD, PULL = 0.22, 0.0108, 8e-6
"""Decoupled rates of what Muon leaves over in such a net, as multiples of its rate and of the pictures in a batch: those of
biases, of a head with outputs scaled by the root of its inputs, and the pull of both towards zero. From airbench94_muon."""


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
    """Return the optimisers of one net: one, or two with "muon" (which takes matrices; AdamW takes the head and vectors).

    Biases, norms and other vectors are never decayed. factors: on the rate, by the name of a parameter; 1 where absent.
    "sphere", for `scale_free` nets and short runs: Muon keeps to the sphere, and Nesterov SGD takes head and vectors at rates
    of their own, in proportion to `batch`, the pictures in a step, and decays them too.
    bf16: whether the net computes in it, and so Muon's iteration too.
    """
    dtype = torch.bfloat16 if bf16 else torch.float32
    in_head = {id(p) for p in head.parameters()} if head is not None else set()
    trained = [p for p in net.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2 and id(p) not in in_head]
    vectors = [p for p in trained if p.ndim < 2 and id(p) not in in_head]
    heads = [p for p in trained if id(p) in in_head]
    rates = {id(p): lr * (factors or {}).get(name, 1.0) for name, p in net.named_parameters()}

    def groups(*, matrices_too: bool) -> list[dict[str, Any]]:
        decayed = [*(matrices if matrices_too else []), *(p for p in heads if p.ndim >= 2)]
        plain = [*vectors, *(p for p in heads if p.ndim < 2)]
        if weight_decay == 0:  # one group is one kernel
            decayed, plain = [*decayed, *plain], []
        return [*_by_rate(decayed, rates, weight_decay=weight_decay), *_by_rate(plain, rates, weight_decay=0.0)]

    if name == "sgd":
        return [light.SGD(groups(matrices_too=True), lr=lr, momentum=momentum, nesterov=momentum > 0, fused=_fused(trained))]
    if name == "adam":
        return [light.Adam(groups(matrices_too=True), lr=lr, fused=_fused(trained))]
    if name == "adamw":
        return [light.AdamW(groups(matrices_too=True), lr=lr, fused=_fused(trained))]
    if name == "sphere":
        apart = _apart(vectors, heads, lr=lr, weight_decay=weight_decay, batch=batch)
        sphere = [Muon(matrices, lr=lr, momentum=0.6, sphere=True, steps=3, dtype=dtype)] if matrices else []
        return [*sphere, light.SGD(apart, lr=lr, momentum=0.85, nesterov=True, fused=_fused(trained))]
    rest = groups(matrices_too=False)
    made: list[torch.optim.Optimizer] = []
    if matrices:
        made.append(Muon(_by_rate(matrices, rates), lr=lr, momentum=0.95, weight_decay=weight_decay, dtype=dtype))
    if rest:
        made.append(light.AdamW(rest, lr=lr, fused=_fused(trained)))
    return made


def _apart(
    vectors: list[nn.Parameter], heads: list[nn.Parameter], *, lr: float, weight_decay: float, batch: int
) -> list[dict[str, Any]]:
    """Return groups with decoupled rates. SGD multiplies decay by the rate, so the pull is divided by it."""
    rates = [(vectors, BIASES * batch * lr), (heads, HEAD * batch * lr)]
    return [{"params": p, "lr": rate, "weight_decay": weight_decay * lr / rate} for p, rate in rates if p]


def _by_rate(params: list[nn.Parameter], rates: Mapping[int, float], **fields: float) -> list[dict[str, Any]]:
    """Return one group of parameters for each rate; `rates`: by id."""
    each = sorted({rates[id(p)] for p in params})
    return [{"params": [p for p in params if rates[id(p)] == rate], "lr": rate, **fields} for rate in each]


def _fused(params: list[nn.Parameter]) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in params)
