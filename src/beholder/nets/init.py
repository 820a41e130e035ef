"""Initial weights: named schemes, and a check of the scales that they give.

    default        as the layers were built                        kaiming     He et al. 2015: N(0, 2/fan_in), for ReLU
    xavier         Glorot & Bengio 2010: uniform, as Keras         orthogonal  Saxe et al. 2014, times √2 for ReLU
    lsuv           Mishkin & Matas 2016: orthonormal, then every layer scaled to outputs of unit variance on a sample
    whitening      the first convolution decorrelates patches of a sample, and is frozen; the rest as built
    zero-residual  kaiming, and the last norm scale of every residual branch zero (Goyal et al. 2017)

Biases become zero, except under `default` and `whitening`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from beholder.base.errors import UsageError, did_you_mean
from beholder.machine.placement import lent
from beholder.nets.features import Net, head

SCHEMES = ("default", "kaiming", "xavier", "orthogonal", "lsuv", "whitening", "zero-residual")
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Layer: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
EPSILON = 5e-4
"""Added to the eigenvalues of the patches' covariance, so that directions without signal are not blown up."""


def scheme_of(net: nn.Module, asked: str, *, sample: Tensor | None = None) -> str:
    """Return the scheme to apply: what is asked for, or for "auto" the net's own; `default` where that needs a sample."""
    scheme = (net.scheme if isinstance(net, Net) else "default") if asked == "auto" else asked
    return "default" if asked == "auto" and scheme in ("whitening", "lsuv") and sample is None else scheme


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Return the name of the first tensor that holds NaN or infinity, "" where none does."""
    return next((name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()), "")


def initialise(net: nn.Module, scheme: str, *, sample: Tensor | None = None, seed: int = 0) -> None:
    """Set the net's weights by a scheme, in place; a pure function of (net, scheme, sample, seed).

    sample: images float32 (B, C, H, W), normalised; lsuv and whitening raise `UsageError` without one.
    """
    scheme = scheme_of(net, scheme, sample=sample)
    if scheme not in SCHEMES:
        hint = did_you_mean(scheme, ("auto", *SCHEMES))
        raise UsageError(f"there is no initialisation '{scheme}'", code="unknown-init", hint=hint)
    if scheme == "default":
        return
    if scheme in ("lsuv", "whitening") and sample is None:
        raise UsageError(f"'{scheme}' looks at pictures and was given none", code="no-sample", hint="give sample=images")
    with torch.no_grad():
        if scheme == "whitening":
            whiten(_first(net), cast(Tensor, sample))
            return
        _fill(net, scheme, torch.Generator().manual_seed(seed))
        if scheme == "zero-residual":
            _zero_branches(net)
        if scheme == "lsuv":
            _unit_variance(net, cast(Tensor, sample))


def layers(net: nn.Module) -> list[Layer]:
    """Return every dense and convolutional layer in the order of `net.modules()`."""
    return [module for module in net.modules() if isinstance(module, LAYERS)]


def _fill(net: nn.Module, scheme: str, generator: torch.Generator) -> None:
    last = head(net)
    for layer in layers(net):
        gain = 1.0 if layer is last or scheme == "lsuv" else 2.0**0.5  # no ReLU follows the head
        weight = torch.empty(layer.weight.shape)
        if scheme == "xavier":
            nn.init.xavier_uniform_(weight, generator=generator)
        elif scheme in ("orthogonal", "lsuv"):
            nn.init.orthogonal_(weight, gain=gain, generator=generator)
        else:
            fan_in = weight[0].numel()
            weight.normal_(0.0, gain / fan_in**0.5, generator=generator)
        layer.weight.copy_(weight)
        layer.weight.requires_grad_(True)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _zero_branches(net: nn.Module) -> None:
    # timm's residual blocks and ours say by this method which norm ends their branch.
    blocks = [module for module in net.modules() if callable(getattr(module, "zero_init_last", None))]
    if not blocks:
        raise UsageError("the net has no residual branches that could start at zero", code="bad-init", hint="use kaiming")
    for block in blocks:
        block.zero_init_last()  # type: ignore[operator]


def _unit_variance(net: nn.Module, sample: Tensor) -> None:
    """Scale the layers in the order of execution. Outputs are linear in the weights (biases are zero), so one pass does it."""
    done: set[nn.Module] = set()

    def scale(layer: nn.Module, _: object, out: Tensor) -> Tensor | None:
        deviation = float(out.float().std())
        if layer in done or deviation < 1e-8:
            return None
        done.add(layer)
        cast(Layer, layer).weight.div_(deviation)
        return out / deviation

    hooks = [layer.register_forward_hook(scale) for layer in layers(net)]
    try:
        with as_in_training(net):
            net(sample)
    finally:
        for hook in hooks:
            hook.remove()


def _first(net: nn.Module) -> nn.Conv2d:
    found = next((layer for layer in layers(net)), None)
    if isinstance(found, nn.Conv2d) and found.groups == 1:
        return found
    raise UsageError("whitening needs a net that begins with a convolution", code="bad-init", hint="use init kaiming or lsuv")


def whiten(layer: nn.Conv2d, sample: Tensor) -> None:
    """Make a convolution's filters the whitening directions of the sample's patches, both signs, and freeze them.

    A filter is an eigenvector of the patches' covariance over the root of (eigenvalue + EPSILON), largest first. A layer with
    fewer filters than 2·C·k·k gets the first ones; one with more keeps its other filters as they are, scaled like the first.
    Its bias starts at minus the filters' response to the mean patch, so that the outputs are centred.
    """
    kernel = cast(tuple[int, int], layer.kernel_size)
    patches = nn.functional.unfold(sample.float(), kernel, dilation=layer.dilation)  # (B, C·k·k, L)
    flat = patches.transpose(1, 2).reshape(-1, patches.shape[1]).double()
    mean = flat.mean(0)
    covariance = (flat - mean).T @ (flat - mean) / len(flat)
    values, vectors = torch.linalg.eigh(covariance)
    rows = (vectors / (values + EPSILON).sqrt()).T.flip(0)
    filters = torch.cat([rows, -rows]) if layer.out_channels >= 2 * len(rows) else rows.repeat_interleave(2, 0)
    if layer.out_channels < 2 * len(rows):
        filters[1::2] *= -1
    count = min(len(filters), layer.out_channels)
    layer.weight[:count] = filters[:count].reshape(count, *layer.weight.shape[1:]).to(layer.weight)
    if layer.bias is not None:
        layer.bias[:count] = -(filters[:count] @ mean).to(layer.bias)
    layer.weight.requires_grad_(count < layer.out_channels)


@contextmanager
def as_in_training(net: nn.Module) -> Iterator[None]:
    """Run batch norms on batch statistics as in training, but nothing random; modes and buffers are put back after."""
    with lent(net, buffers=True):
        net.eval()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                module.train()
        yield


@dataclass(frozen=True)
class Scale:
    """What one layer does at the first step: RMS of its outputs, and of the loss's gradient with respect to its weights.

    gradient is None where the weights are frozen or took no part.
    """

    layer: str
    activation: float
    gradient: float | None


def scales(net: nn.Module, images: Tensor, loss: Callable[[Tensor], Tensor]) -> list[Scale]:
    """Return the scales of every layer with weights, in the order in which they run; the net is left as it was.

    images: float32 (B, C, H, W), normalised; loss: from logits (B, K) to a scalar.
    """
    found: dict[str, float] = {}
    weights = {
        name: module.weight for name, module in net.named_modules() if isinstance(getattr(module, "weight", None), nn.Parameter)
    }

    def watch(name: str, out: object) -> None:
        if isinstance(out, Tensor) and name not in found:
            found[name] = _rms(out)

    hooks = [net.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: watch(name, out)) for name in weights]
    try:
        with as_in_training(net), torch.enable_grad():
            value = loss(net(images))
            learning = [name for name in found if weights[name].requires_grad]
            asked = [cast(Tensor, weights[name]) for name in learning]
            slopes = torch.autograd.grad(value, asked, allow_unused=True) if asked else ()
    finally:
        for hook in hooks:
            hook.remove()
    gradients = {name: None if slope is None else _rms(slope) for name, slope in zip(learning, slopes, strict=True)}
    return [Scale(name, activation, gradients.get(name)) for name, activation in found.items()]


def _rms(values: Tensor) -> float:
    return float(values.detach().float().square().mean().sqrt())


ACTIVATIONS = (1e-4, 1e4)
"""Below and above these, outputs have vanished or exploded: half precision loses them, and so do the layers that follow."""
GRADIENTS = (1e-5, 1e5)
"""The same for a layer's gradient, relative to the median of all layers."""


def warnings_of(scales: Sequence[Scale]) -> list[str]:
    """Return a sentence for each way in which activations or gradients vanish, explode or are not finite.

    Exact zeros are passed over where layers before them still learn: so do branches that start at zero by design.
    """
    said = [
        _say([s.layer for s in scales if not math.isfinite(s.activation)], "gives values that are not finite"),
        _say([s.layer for s in scales if 0 < s.activation < ACTIVATIONS[0]], "hardly gives anything (RMS below 1e-4)"),
        _say([s.layer for s in scales if ACTIVATIONS[1] < s.activation < math.inf], "gives huge values (RMS above 1e4)"),
    ]
    learned = [(s.layer, s.gradient) for s in scales if s.gradient is not None]
    infinite = [layer for layer, gradient in learned if not math.isfinite(gradient)]
    finite = [gradient for _, gradient in learned if math.isfinite(gradient)]
    said.append(_say(infinite, "has a gradient that is not finite"))
    typical = statistics.median([gradient for gradient in finite if gradient > 0] or [0.0])
    small = [layer for layer, gradient in learned if 0 < gradient < GRADIENTS[0] * typical]
    large = [layer for layer, gradient in learned if GRADIENTS[1] * typical < gradient < math.inf and typical > 0]
    first = next((i for i, (_, gradient) in enumerate(learned) if gradient != 0), len(learned))
    said += [
        _say([layer for layer, _ in learned[:first]], "gets no gradient at all: it cannot learn"),
        _say(small, "has a vanishing gradient (below 1e-5 of the median)"),
        _say(large, "has an exploding gradient (above 1e5 times the median)"),
    ]
    return [sentence for sentence in said if sentence]


def _say(names: list[str], what: str) -> str:
    if not names:
        return ""
    return f"layer {names[0]} {what}" + (f", and {len(names) - 1} more layers" if len(names) > 1 else "")
