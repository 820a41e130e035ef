from __future__ import annotations

import subprocess
import sys
from inspect import unwrap

import pytest
import torch
from torch import nn

from beholder.learn import bare

KINDS = {
    "sgd": (bare.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "adam": (bare.Adam, torch.optim.Adam, {"lr": 0.01}),
    "adamw": (bare.AdamW, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_a_light_optimiser_is_the_one_of_torch_to_the_bit(name: str, fused: bool) -> None:
    ours, theirs, options = KINDS[name]
    ends = []
    for kind in (ours, theirs):
        torch.manual_seed(0)
        net = nn.Linear(7, 3)
        optimiser = kind(net.parameters(), fused=fused, **options)
        for step in range(6):
            if step == 3:  # through a checkpoint
                state = optimiser.state_dict()
                optimiser = kind(net.parameters(), fused=fused, **options)
                optimiser.load_state_dict(state)
            net(torch.randn(5, 7)).square().sum().backward()
            optimiser.step()
            optimiser.zero_grad()
            assert all(p.grad is None for p in net.parameters())
        ends.append(net.weight.detach().clone())
    assert isinstance(optimiser, torch.optim.Optimizer)
    assert torch.equal(*ends)


def test_what_is_private_to_torch_is_as_it_was_when_this_was_written() -> None:
    """If this fails after an update of torch, steps are slower and the compiler is loaded; the weights are the same."""
    said = f"torch {torch.__version__} (written for 2.15):"
    for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        assert unwrap(kind.step) is not kind.step, f"{said} {kind.__name__}.step hides what it wraps; the profiler is called"
    for name in ("add_param_group", "state_dict", "load_state_dict"):
        method = getattr(torch.optim.Optimizer, name)
        assert unwrap(method) is not method, f"{said} Optimizer.{name} hides what it wraps: the compiler is loaded for it"
    step = bare.SGD.step
    bare.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    assert bare.SGD.step is step, f"{said} `hooked` is not heeded any more: each step is wrapped for the profiler"


def test_training_steps_do_not_load_the_compiler() -> None:
    code = """
import sys, torch
from torch import nn
from beholder.learn.optim import optimiser
for name in ("sgd", "adam", "adamw", "muon"):
    net = nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3))
    made = optimiser(net, name, lr=0.1, momentum=0.9, weight_decay=0.1, head=net[1])
    net(torch.randn(5, 7)).sum().backward()
    for o in made:
        o.step()
        o.zero_grad()
        o.load_state_dict(o.state_dict())
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
