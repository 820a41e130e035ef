"""PyTorch's optimisers without `torch.compile` and the profiling hooks around each step.

Their methods are decorated so that `torch.compile` leaves them alone, which imports the compiler when they are first called:
a third of the time from the start of a process to its first step (docs/LOG.md). What the decorators wrap is called here.
PyTorch also wraps `step` for its profiler and for hooks, of which there are none here, unless it is marked as wrapped: a third
of the optimiser's time in a small net.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch


def bare(step: Callable[..., Any]) -> Any:
    """Return the method `step` of an optimiser, without gradients, and marked so that PyTorch wraps nothing else around it."""
    plain: Any = torch.no_grad()(step)
    plain.hooked = True
    return plain


class Base(torch.optim.Optimizer):
    """An optimiser whose own methods stand bare; those that a subclass gives are as they are."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad.zero_()


def _bare(kind: Any) -> Any:
    """Return an optimiser of torch.optim whose `step` stands bare, too."""
    return type(kind.__name__, (Base, kind), {"step": bare(unwrap(kind.step)), "__doc__": f"torch.optim.{kind.__name__}."})


SGD, Adam, AdamW = (_bare(kind) for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW))
