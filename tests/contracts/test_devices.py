"""What runs on the CPU runs on every device that is there, and both agree within the stated tolerances.

Needs torch, torchvision and timm only, so that `bench/gpu.sh` can run it where nothing else of Beholder's is installed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.contracts.conftest import PRESENT
from tests.contracts.tolerances import GRADIENTS, LOGITS, LOSS, PIXELS, PROBABILITIES, apart, distance
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.base.choices import AUGMENTATIONS, OPTIMISERS
from beholder.data.augment import augment, mix, preset
from beholder.data.loader import Batches
from beholder.explanation import METHODS
from beholder.image.corruptions import CORRUPTIONS, corrupt
from beholder.learn.optim import optimiser
from beholder.machine import devices
from beholder.machine.compile import compiled
from beholder.machine.device import Precision, autocast, precision, seed
from beholder.machine.draws import Draws
from beholder.machine.memory import peak_memory
from beholder.machine.peak import peak
from beholder.machine.trial import DTYPES, trains
from beholder.nets.build import NETS, build
from beholder.nets.detector import built as detector_of
from beholder.nets.detector import corners
from beholder.nets.features import features, head
from beholder.nets.gan import Gan
from beholder.nets.spec import DetectorSpec, NetSpec
from beholder.nets.vae import Vae
from beholder.runtime.inference import Held, Normal, embed, runner
from beholder.tasks import TASKS, named

CPU = torch.device("cpu")
TIMM = ["timm:test_resnet", "timm:test_vit", "timm:test_convnext"]
NAMES = [*NETS.names(), *TIMM]
K = 5


def net_of(name: str, side: int = 32) -> nn.Module:
    args = {"zero_init_last": False} if name == "timm:test_resnet" else {}
    return build(NetSpec(name, 3, side, side, K, width=1.0 if ":" in name else 0.5, args=args), seed=1)


def images(n: int = 6, *, side: int = 32) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def last(given: Tensor) -> Tensor:
    return given.contiguous(memory_format=torch.channels_last)


def step_of(net: nn.Module, given: Tensor, dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
    """Return logits in evaluation, and gradients in training, of a copy of a net on the device of what it is given."""
    own = copy.deepcopy(net).to(given.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inside = Precision("", dtype, "")
    with autocast(given.device, inside), torch.no_grad():
        logits = own.eval()(last(given)).float()
    targets = torch.arange(len(given), device=given.device) % K
    for module in own.modules():
        module.train(not isinstance(module, (nn.Dropout, nn.modules.dropout._DropoutNd)))
    with autocast(given.device, inside):
        out = own(last(given))
    F.cross_entropy(out.float(), targets).backward()
    return logits, {name: p.grad for name, p in own.named_parameters() if p.grad is not None}


def test_a_gpu_is_among_the_devices() -> None:
    if len(PRESENT) == 1:
        pytest.skip("there is no GPU here (torch.cuda.is_available() and torch.backends.mps.is_available() are False)")
    assert PRESENT[1] in ("cuda", "mps")


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_gradients_agree(name: str, each_device: torch.device) -> None:
    net = net_of(name)
    wanted, slopes = step_of(net, images(), torch.float32)
    found, theirs = step_of(net, images().to(each_device), torch.float32)
    assert wanted.std() > 0
    assert apart(found, wanted) <= LOGITS["fp32"]
    assert theirs.keys() == slopes.keys()
    assert distance(theirs, slopes) <= GRADIENTS
    assert float((found.softmax(1).cpu() - wanted.softmax(1)).abs().max()) <= PROBABILITIES["fp32"]


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
@pytest.mark.parametrize("name", NAMES)
def test_lower_precisions_stay_near(name: str, kind: str, each_device: torch.device) -> None:
    if not trains(each_device, kind):
        assert precision(each_device).name != kind
        return
    net = net_of(name)
    wanted, _ = step_of(net, images(), torch.float32)
    found, _ = step_of(net, images().to(each_device), DTYPES[kind])
    assert apart(found, wanted) <= LOGITS[kind]
    assert float((found.softmax(1).cpu() - wanted.softmax(1)).abs().max()) <= PROBABILITIES[kind]


@pytest.mark.parametrize("name", ["fastnet", "timm:test_resnet"])
def test_what_the_device_does_with_float32_by_itself_stays_near(name: str, each_device: torch.device) -> None:
    net = net_of(name)
    wanted, _ = step_of(net, images(), torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends.cudnn, "allow_tf32", True)
        found, _ = step_of(net, images().to(each_device), torch.float32)
    assert apart(found, wanted) <= LOGITS["tf32"]


def test_draws_are_the_same_bit_for_bit(each_device: torch.device) -> None:
    here, there = (Draws(3, 2, torch.arange(9), device=on) for on in (CPU, each_device))
    for draw in (lambda d: d.uniform("a"), lambda d: d.uniform("b", 4, 5), lambda d: d.alternating("c")):
        found = draw(there)
        assert found.device.type == each_device.type
        assert torch.equal(found.cpu(), draw(here))


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_pictures_are_varied_alike(name: str, each_device: torch.device) -> None:
    plan = replace(preset(name, size=32, flip="both"), mixup=0.2, cutmix=1.0)
    made = []
    for on in (CPU, each_device):
        draws = Draws(0, 1, torch.arange(6), device=on)
        made.append(mix(augment(images().to(on), draws, plan), torch.eye(6, device=on), draws, plan))
    (pictures, targets), (theirs, mixed) = made
    assert torch.allclose(mixed.cpu(), targets)
    assert float((theirs.cpu() - pictures).abs().mean()) <= PIXELS


@pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])
def test_batches_are_the_same(resident: bool, each_device: torch.device) -> None:
    pixels = Held(np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8))
    how: dict[str, Any] = {"batch": 8, "seed": 3, "mean": (0.5,) * 3, "std": (0.25,) * 3, "plan": preset("light", size=16)}
    both = [Batches(pixels, torch.eye(40), device=on, memory=resident << 30, **how) for on in (CPU, each_device)]
    assert [made.resident for made in both] == [resident] * 2
    for one, other in zip(*(made.epoch(2) for made in both), strict=True):
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.targets, other.targets.cpu())
        assert torch.allclose(one.images, other.images.cpu(), atol=1e-5)


@pytest.mark.parametrize("name", CORRUPTIONS.names())
def test_corruptions_are_the_same(name: str, each_device: torch.device) -> None:
    wanted = corrupt(images(3), name, 3, [0, 1, 2])
    found = corrupt(images(3).to(each_device), name, 3, [0, 1, 2])
    assert found.device.type == each_device.type
    assert float((found.cpu() - wanted).abs().mean()) <= PIXELS


def losses(rule: str, on: torch.device) -> list[float]:
    """Return the loss before and after five steps on one batch."""
    net = net_of("fastnet").to(on).train()
    given, targets = last(images(10).to(on)), torch.arange(10, device=on) % K
    made = optimiser(net, rule, lr=0.005, momentum=0.9, weight_decay=0.01, head=head(net), batch=10)
    found = []
    for step in range(6):
        seed(on, step)
        loss = F.cross_entropy(net(given).float(), targets)
        found.append(float(loss.detach()))
        loss.backward()
        for each in made:
            each.step()
            each.zero_grad(set_to_none=True)
    return [found[0], found[-1]]


@pytest.mark.parametrize("rule", OPTIMISERS.names())
def test_optimisers_learn_alike(rule: str, each_device: torch.device) -> None:
    before, after = losses(rule, CPU)
    first, last = losses(rule, each_device)
    bf16 = rule in ("muon", "sphere") and each_device.type == "cuda"  # whose products CUDA takes in bf16, as published
    assert first == pytest.approx(before, rel=1e-4)
    assert last == pytest.approx(after, rel=5 * LOSS if bf16 else LOSS)
    assert after < before


@pytest.mark.parametrize("name", TASKS.names())
def test_losses_and_probabilities_of_every_task_agree(name: str, each_device: torch.device) -> None:
    task, chance = named(name), torch.Generator().manual_seed(0)
    logits = torch.randn(12, task.width(K), generator=chance)
    targets = (
        (torch.rand(12, K, generator=chance) < 0.4).float() if task.several else F.one_hot(torch.arange(12) % K, K).float()
    )
    weights = torch.linspace(0.5, 1.5, K)

    def turn(on: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        given = logits.to(on).requires_grad_()
        options: dict[str, Any] = {"smoothing": 0.1, "weights": weights.to(on)}
        (made,) = task.turns(lambda shown: shown, given, targets.to(on), **options)
        made.loss.backward()
        assert given.grad is not None
        return made.loss, made.right, given.grad, task.activation(logits.to(on))

    for found, wanted in zip(turn(each_device), turn(CPU), strict=True):
        assert apart(found, wanted) <= LOGITS["fp32"]


def test_a_detector_agrees(each_device: torch.device) -> None:
    torch.manual_seed(0)
    net = detector_of(DetectorSpec("resnet10t", 3, 3, maps=16, depth=1)).eval()
    with torch.no_grad():
        wanted = net(last(images(2, side=64)))
        found = copy.deepcopy(net).to(each_device)(last(images(2, side=64).to(each_device)))
        assert apart(corners(found), corners(wanted)) <= LOGITS["fp32"]
    assert apart(found[0], wanted[0]) <= LOGITS["fp32"]


GENERATORS: dict[str, Callable[[], nn.Module]] = {
    "vae": lambda: Vae(channels=3, size=(16, 16), classes=K, width=8),
    "gan": lambda: Gan(channels=3, size=(16, 16), classes=K, width=8),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_what_generates_draws_the_same_pictures(name: str, each_device: torch.device) -> None:
    torch.manual_seed(0)
    net: Any = GENERATORS[name]().eval()
    made = []
    for on in (CPU, each_device):
        own = copy.deepcopy(net).to(on)
        with torch.no_grad():
            made.append(own.drawn(torch.eye(K, device=on)[:4], own.noise(4, torch.Generator().manual_seed(0))))
    assert apart(made[1], made[0]) <= LOGITS["fp32"]


@pytest.mark.parametrize("name", METHODS.names())
def test_heat_maps_agree(name: str, each_device: torch.device) -> None:
    net, shown = net_of("timm:test_vit" if name == "rollout" else "resnet", 64).eval(), images(2, side=64)
    method = METHODS.load(name)
    wanted = method(net, shown, lambda logits: logits[:, 0])
    found = method(copy.deepcopy(net).to(each_device), shown.to(each_device), lambda logits: logits[:, 0])
    assert apart(found, wanted) <= 10 * LOGITS["fp32"]


def test_features_of_many_pictures_agree(each_device: torch.device) -> None:
    net = net_of("timm:test_resnet").eval()
    pixels = Held(np.random.default_rng(0).integers(0, 256, (70, 3, 32, 32), dtype=np.uint8))
    made = []
    for on in (CPU, each_device):
        own, normal = copy.deepcopy(net).to(on), Normal((0.5,) * 3, (0.25,) * 3, on)
        made.append(embed(runner(own, pixels, normal, torch.float32, pictures=70, label=""), pixels, normal))
    assert made[1].device == CPU
    assert apart(made[1], made[0]) <= LOGITS["fp32"]
    with torch.no_grad():
        shown = (torch.from_numpy(pixels.images[:4]).float() / 255 - 0.5) / 0.25
        assert apart(made[0][:4], features(net, last(shown))) <= LOGITS["fp32"]


@pytest.mark.parametrize("asked", ["auto", "no"])
def test_a_net_is_compiled_where_its_device_says_so(asked: str, each_device: torch.device) -> None:
    net = net_of("cnn").to(each_device)
    made = compiled(net, last(images().to(each_device)), Precision("fp32", torch.float32, ""), asked=asked)
    kind = devices.kind(each_device)
    assert (made.model is net) or (asked == "auto" and kind.compiles)
    with torch.no_grad():
        given = last(images().to(each_device))
        assert apart(made.model.eval()(given), net.eval()(given)) <= LOGITS["fp32"]


def test_speed_and_memory_are_measured(each_device: torch.device) -> None:
    assert peak(each_device, torch.float32, seconds=0.02) > 1e8
    found = peak_memory(lambda: torch.ones(8, 1024, 1024, device=each_device).sum(), each_device)
    if devices.kind(each_device).memory is not None:
        assert found is not None
        assert found[1] >= 32 * 2**20
