from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from beholder.base import events
from beholder.machine import devices
from beholder.machine.compile import compiled
from beholder.machine.device import Precision

FP32 = Precision("fp32", torch.float32, "")
IMAGES = torch.zeros(4, 3, 8, 8)


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))


@pytest.mark.parametrize("asked", ["auto", "no"])
def test_on_a_cpu_it_is_left_alone_unless_asked_for(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    net = _net()
    found = compiled(net, IMAGES, FP32, asked=asked)
    assert (found.model, found.reason) == (net, "")


def test_trying_it_out_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics of the trial batch and its gradients would make a compiled run another run."""
    seen: list[torch.Size] = []

    class Wrapped(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, images: Tensor) -> Tensor:
            seen.append(images.shape)
            found: Tensor = self.inner(images)
            return found

    monkeypatch.setattr(torch, "compile", lambda net, dynamic: Wrapped(net))
    net = _net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = compiled(net, IMAGES + 1, FP32, asked="yes")
    assert isinstance(found.model, Wrapped)
    assert "compiled in" in found.reason
    assert seen == [IMAGES.shape]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_every_shape_is_compiled_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Size] = []
    monkeypatch.setattr(torch, "compile", lambda net, dynamic: net)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    net.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    compiled(net, IMAGES, FP32, asked="yes", others=[torch.zeros(4, 3, 5, 5), torch.zeros(4, 3, 6, 6)])
    assert [shape[-1] for shape in seen] == [8, 5, 6]


@pytest.mark.parametrize(
    ("steps", "seconds", "others", "compiles"),
    [
        (0, 0.0, 0, True),  # nothing is planned
        (100, 0.0, 0, False),  # 50 s
        (400, 0.0, 0, True),  # 200 s
        (400, 100.0, 0, False),  # no more than the minutes
        (400, 0.0, 1, False),  # two shapes take twice as long to compile
        (700, 400.0, 1, True),
    ],
)
def test_a_run_too_short_to_pay_for_compiling_is_left_as_it_is(
    steps: int, seconds: float, others: int, compiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device that compiles by itself, whose step takes half a second, by a clock that each look moves by that."""
    monkeypatch.setattr(devices, "_kinds", lambda path: {"fake": replace(devices.CPU, compiles=True)})
    now = iter(range(10_000))
    monkeypatch.setattr("beholder.machine.compile.time.monotonic", lambda: 0.5 * next(now))
    made: list[nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda net, dynamic: made.append(net) or net)
    net = _net().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = compiled(net, IMAGES, FP32, steps=steps, seconds=seconds, others=[IMAGES] * others)
    assert bool(made) == compiles
    assert ("too few for it to pay" in found.reason) == (not compiles)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.training
    assert all(p.grad is None for p in net.parameters())


def test_a_compiler_that_fails_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> nn.Module:
        raise RuntimeError("no C++ compiler was found\nand much more")

    monkeypatch.setattr(torch, "compile", fail)
    heard: list[events.Event] = []
    net = _net()
    with events.listen(heard.append, alone=True):
        assert compiled(net, IMAGES, FP32, asked="yes").model is net
    (warning,) = heard
    assert warning.kind == "warn"
    assert "no C++ compiler was found" in warning.message
    assert "much more" not in warning.message
    assert "train.compile=no" in str(warning.fields["hint"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_net_computes_the_same() -> None:
    net = _net()
    found = compiled(net, IMAGES, FP32, asked="yes")
    if not found.reason:
        pytest.skip("nothing to compile with here")
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(found.model.eval()(images), net.eval()(images), atol=1e-5)
