"""A net that is lent is given back as it was, whatever happens. The other device is `meta`, which holds shapes only."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import beholder
from beholder.base.errors import MachineError
from beholder.machine.placement import evaluating, lent, moved

OWN = {
    "bundle/bundle.py",  # a net that was loaded for use
    "bundle/detector.py",  # a net that was loaded for use
    "bundle/generator.py",  # a net that was loaded for use
    "learn/alone.py",  # the net that is being trained
    "learn/finish.py",  # the net that training made
    "learn/first.py",  # a copy
    "learn/generate.py",  # copies
    "learn/flips.py",  # nets that were built here, for this
    "learn/loop.py",  # the net that is being trained
    "learn/monitors.py",  # its average: a copy
    "learn/detected_run.py",  # a copy
    "learn/parallel.py",  # a net that was built here, to compute along
    "learn/phases.py",  # copies
    "learn/profile.py",  # a copy
    "learn/tempo.py",  # a copy
    "machine/compile.py",  # a net that `lent` lends
    "machine/placement.py",
    "nets/init.py",  # a net that `lent` lends
    "nets/norms.py",  # a copy
    "nets/pyramid.py",  # a net that was built here, for this
    "nets/table.py",  # nets that were built here, for this
    "runtime/export/found.py",  # a copy
    "runtime/export/onnx.py",  # a copy
    "runtime/export/others.py",  # a copy
    "runtime/features.py",  # a net that `evaluating` lends
    "study/evidence.py",  # a net that was built here, for this
    "study/foresee.py",  # a net that was built here, for this
    "study/foresee_others.py",  # a net that was built here, for this
    "study/transformer.py",  # a net that was built here, for this
}
"""Who may change the mode of a net without borrowing it, for nobody else has it."""

META, CPU = torch.device("meta"), torch.device("cpu")


class Full(nn.Linear):
    """A layer for which the other device has no memory left: those before it are there already when it is moved."""

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        raise torch.OutOfMemoryError("fake device: tried to allocate 12 bytes")


def test_whoever_changes_the_mode_of_a_net_that_is_not_its_own_borrows_it() -> None:
    source = Path(beholder.__file__).parent
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("eval", "train")
    }
    assert found == OWN, "use evaluating(net), or say in OWN whose net it is"


def net_of(last: type[nn.Linear] = nn.Linear) -> nn.Sequential:
    """A net in training mode whose norm is frozen: in evaluation mode, and one parameter without gradients."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), last(4, 3)).train()
    net[1].eval()
    net[1].weight.requires_grad_(False)
    net(torch.randn(5, 4)).sum().backward()
    return net


def state(net: nn.Module) -> dict[str, object]:
    named = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    return {
        "modes": [module.training for module in net.modules()],
        "learning": [p.requires_grad for p in net.parameters()],
        "tensors": {name: (id(t), t.device, t.data_ptr(), t.tolist()) for name, t in named.items()},
        "gradients": {name: (g.device, g.tolist()) for name, p in net.named_parameters() if (g := p.grad) is not None},
    }


def disturb(net: nn.Module) -> None:
    for module in net.modules():
        module.train(not module.training)
    for parameter in net.parameters():
        parameter.requires_grad_(not parameter.requires_grad)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, torch.OutOfMemoryError, GeneratorExit])
@pytest.mark.parametrize("on", [None, CPU, META])
@pytest.mark.parametrize("use", [lent, evaluating])
def test_a_net_is_given_back_as_it_was(use: Any, on: torch.device | None, error: type[BaseException] | None) -> None:
    net = net_of()
    before = state(net)
    with pytest.raises(error) if error is not None else nullcontext(), use(net, on=on) as same:
        assert same is net
        assert {t.device for t in (*net.parameters(), *net.buffers())} == {on or CPU}
        assert any(module.training for module in net.modules()) == (use is lent)
        disturb(net)
        if error is not None:
            raise error
    assert state(net) == before
    net(torch.randn(2, 4)).sum().backward()


@pytest.mark.parametrize("inference", [False, True])
def test_a_move_that_fails_half_way_leaves_no_part_of_the_net_there(inference: bool) -> None:
    net = net_of(Full)
    before = state(net)
    with (
        torch.inference_mode(inference),
        pytest.raises(MachineError, match="meta has too little memory for a net") as caught,
        evaluating(net, on=META),
    ):
        pytest.fail("it was not moved")
    assert caught.value.code == "out-of-memory"
    assert caught.value.hint
    assert state(net) == before


def test_a_net_that_is_moved_for_good_is_there_or_where_it_was() -> None:
    assert {tensor.device for tensor in moved(net_of(), META).state_dict().values()} == {META}
    net = net_of(Full)
    before = state(net)
    with pytest.raises(MachineError, match="too little memory"):
        moved(net, META)
    assert state(net) == before


def test_whoever_moves_a_net_in_inference_mode_can_still_train_it() -> None:
    net = net_of()
    with torch.inference_mode(), evaluating(net, on=META):
        pass
    net(torch.randn(2, 4)).sum().backward()


def test_without_a_move_the_weights_that_are_written_stay() -> None:
    net = net_of()
    with lent(net, on=CPU), torch.no_grad():
        net[0].weight.fill_(2.0)
    assert bool((net[0].weight == 2.0).all())


def test_tied_weights_stay_tied() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    with lent(net, on=META):
        pass
    assert net[1].weight is net[0].weight
    assert net[0].weight.device == CPU


def test_statistics_of_batches_that_were_seen_are_forgotten_where_that_is_asked() -> None:
    net = nn.BatchNorm1d(4)
    before = net.running_mean.clone()
    with lent(net, buffers=True):
        net(torch.randn(8, 4) + 3)
        assert not torch.equal(net.running_mean, before)
    assert torch.equal(net.running_mean, before)
    assert int(net.num_batches_tracked) == 0
