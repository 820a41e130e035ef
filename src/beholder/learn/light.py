"""PyTorch's optimisers without its compiler.

Their methods are decorated so that `torch.compile` leaves them alone, which imports the compiler when they are first called:
a third of the time from the start of a process to its first step (docs/LOG.md). What the decorators wrap is called here.
"""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch


class Base(torch.optim.Optimizer):
    """An optimiser whose own methods stand bare; those that a subclass gives are as they are."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)


class SGD(Base, torch.optim.SGD):
    """torch.optim.SGD."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step."""
        return unwrap(torch.optim.SGD.step)(self, closure)


class Adam(Base, torch.optim.Adam):
    """torch.optim.Adam."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step."""
        return unwrap(torch.optim.Adam.step)(self, closure)


class AdamW(Base, torch.optim.AdamW):
    """torch.optim.AdamW."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step."""
        return unwrap(torch.optim.AdamW.step)(self, closure)
