"""From a recipe or a spec to a net: the one door through which nets are built."""

from __future__ import annotations

import dataclasses
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from beholder.base.errors import BundleError, UsageError, did_you_mean
from beholder.base.fields import NetRecipe
from beholder.machine import keras
from beholder.nets import custom, hub, init, norms, pretrained
from beholder.nets.enlarge import enlarged
from beholder.nets.features import head
from beholder.nets.names import NETS
from beholder.nets.spec import Initial, NetSpec, Wants


@dataclass(frozen=True)
class Created:
    """A net with its initial weights, the spec that builds it again, and what was decided on the way, in sentences.

    initial: the pretrained weights that it begins with, None for random ones
    """

    net: nn.Module
    spec: NetSpec
    initial: Initial | None = None
    notes: tuple[str, ...] = ()

    @property
    def pretrained(self) -> bool:
        """Return whether it begins with pretrained weights."""
        return self.initial is not None


def known(recipe: NetRecipe) -> NetRecipe:
    """Return the recipe with the full name of a net of timm: resnet50 is timm:resnet50, as no net of the house is called so.

    Raises `UsageError` (unknown-net), which names the nearest of both.
    """
    name = recipe.name
    if name == "auto" or ":" in name or name in NETS.names():
        return recipe
    import timm

    architecture, dot, tag = name.partition(".")
    if timm.is_model(architecture.lower()):
        return dataclasses.replace(recipe, name=f"timm:{architecture.lower()}{dot}{tag}")
    models = timm.list_models()
    begins = [model for model in models if architecture and _squeezed(model).startswith(_squeezed(architecture))]
    hint = f"timm has {', '.join(begins[:4])}" if begins else did_you_mean(name, [*NETS.names(), *models])
    if hint.startswith("known"):
        hint = "known: " + ", ".join(NETS.names())
    raise UsageError(
        f"there is no net named '{name}'",
        code="unknown-net",
        hint=f"{hint.removesuffix('?')}, or any net of timm by its name, or module:function of yours",
    )


def _squeezed(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def wants(recipe: NetRecipe) -> Wants:
    """Return what the recipe's net asks of the pixels. Reads no weights.

    Raises `UsageError` for an unknown name, weights that are not there, or a licence that the recipe does not allow.
    """
    if recipe.name.startswith("timm:"):
        name = recipe.name.removeprefix("timm:")
        pretrained.check_licence(name, recipe.weights, recipe.licence)
        want = pretrained.wants(name, recipe.weights)
        if not recipe.enlarge:
            return want
        if want.flexible:
            return dataclasses.replace(want, size=None, reason=f"it enlarges its pictures to {recipe.enlarge} pixels")
        raise UsageError(
            f"net.enlarge={recipe.enlarge}: {recipe.name} takes pictures of {want.size} alone",
            code="bad-value",
            hint="leave net.enlarge out; its pictures are enlarged as they are read",
        )
    if recipe.name.startswith(custom.KERAS):
        _check_keras(recipe)
    if recipe.enlarge:
        raise UsageError(
            f"net.enlarge={recipe.enlarge} is for nets of timm, not for '{recipe.name}'",
            code="bad-value",
            hint="--size N reads the pictures larger for any net",
        )
    if ":" not in recipe.name:
        NETS.load(_chosen(recipe.name))
    return Wants(reason=f"net '{recipe.name}' takes pictures as they are")


def _check_keras(recipe: NetRecipe) -> None:
    keras.check()
    if recipe.init not in ("auto", "default"):
        hint = "say it where its layers are made: kernel_initializer='he_normal'"
        raise UsageError(f"net.init={recipe.init} is not for nets of Keras", code="bad-init", hint=hint)


def check(recipe: NetRecipe, *, fetch: bool = True) -> None:
    """Raise what `create` would for a name, or for weights that cannot be had; those of the hub are fetched now, if `fetch`."""
    wants(recipe)
    if ":" in recipe.name and not recipe.name.startswith(("timm:", custom.GIVEN)):
        custom.found(recipe.name)
    if recipe.name.startswith("timm:") and recipe.weights != "none" and (fetch or hub.offline()):
        name = recipe.name.removeprefix("timm:")
        pretrained.obtained(name, pretrained.source(name, recipe.weights))


def build(spec: NetSpec, *, trust: bool = False, seed: int = 0) -> nn.Module:
    """Return the net of a spec with random weights, a pure function of (spec, seed); the global generator is left alone.

    Raises `BundleError`: untrusted-net for a `module:function` net unless `trust`, as building it runs that code, or the net is
    lent (`custom.lent`); net-not-given for one that was lent when it was trained, and is not now.
    """
    function = _function(spec.name, trust=trust)
    given = {
        **{"channels": spec.channels, "size": spec.size, "classes": spec.classes},
        **{"width": spec.width, "dropout": spec.dropout, **spec.args},
    }
    try:
        inspect.signature(function).bind(**given)
    except TypeError as error:
        raise BundleError(
            f"net '{spec.name}' cannot be built: {error}", code="bad-spec", hint="the bundle is of another Beholder, or damaged"
        ) from error
    with _seeded(seed):
        return function(**given)


def built(spec: NetSpec, *, trust: bool = False, given: object = None) -> nn.Module:
    """Return the net of a spec, as `build` does; given: what makes a net of the user's, in the place of what its name says.

    Raises `UsageError` (unused-option) where a net is given for one that its name alone says.
    """
    if given is None:
        return build(spec, trust=trust)
    if ":" not in spec.name or spec.name.startswith("timm:"):
        raise UsageError(f"its net is {spec.name}, which needs no other", code="unused-option", hint="leave net= out")
    custom.lent_name(given)  # or it is no net
    with custom.lent(given, spec.name):
        return build(spec, trust=trust)


def create(
    recipe: NetRecipe, *, channels: int, size: tuple[int, int], classes: int, sample: Tensor | None = None, seed: int = 0
) -> Created:
    """Return the recipe's net with its initial or pretrained weights.

    sample: images float32 (B, C, H, W), normalised, for the schemes that look at data (lsuv, whitening).
    Raises `UsageError` for a name, weights or scheme that cannot be had.
    """
    spec = NetSpec(_chosen(recipe.name), channels, *size, classes, recipe.width or 1.0, recipe.dropout)
    initial = None
    if recipe.name.startswith("timm:"):
        net, spec, initial = _timm(recipe, spec, seed)
    else:
        net = build(spec, trust=True, seed=seed)
        if recipe.weights not in ("auto", "none"):
            initial = pretrained.load_into(net, recipe.weights, head=head(net))
    notes = _initialised(net, recipe, initial=initial, sample=sample, seed=seed)
    return Created(net, spec, initial, (*notes, *getattr(net, "notes", ())))


def _timm(recipe: NetRecipe, spec: NetSpec, seed: int) -> tuple[nn.Module, NetSpec, Initial | None]:
    name = recipe.name.removeprefix("timm:")
    origin = pretrained.source(name, recipe.weights)
    args = {**origin.args, **({"enlarge": recipe.enlarge} if recipe.enlarge else {})}
    spec = NetSpec(spec.name, spec.channels, *spec.size, spec.classes, dropout=spec.dropout, args=args)
    if recipe.weights != "none":
        pretrained.check_licence(name, recipe.weights, recipe.licence)
        with _seeded(seed):
            found = pretrained.pretrained_net(
                name, origin, channels=spec.channels, size=spec.size, classes=spec.classes, dropout=spec.dropout
            )
        if found is not None:
            return enlarged(found[0], recipe.enlarge), spec, found[1]
    return build(spec, seed=seed), spec, None


def _initialised(
    net: nn.Module, recipe: NetRecipe, *, initial: Initial | None, sample: Tensor | None, seed: int
) -> tuple[str, ...]:
    if initial is not None:
        kept = "" if recipe.init in ("auto", "default") else f"; net.init={recipe.init} is not applied to them"
        mended = norms.unfold(net, sample) if sample is not None else 0
        words = f"{mended} batch norms whose statistics were folded into their weights got them back from training pictures"
        start = f"{recipe.name} starts from pretrained weights with a head of its own for these classes{kept}"
        given = "" if recipe.weights != "auto" else "; net.weights=PATH takes others, net.weights=none random ones"
        told = (start, f"pretrained weights: {initial}{given}")
        return (*told, words) if mended else told
    scheme = init.scheme_of(net, recipe.init, sample=sample)
    init.initialise(net, scheme, sample=sample, seed=seed)
    if ":" in recipe.name and scheme == "default" and not recipe.name.startswith("timm:"):
        return (f"{recipe.name} starts from the weights that it was made with",)
    return (f"{recipe.name} starts from random weights, scheme '{scheme}'",)


def _chosen(name: str) -> str:
    if name == "auto":
        raise UsageError("the net is not chosen yet", code="net-not-chosen", hint="name one, or let nets.choose pick it first")
    return name


def _function(name: str, *, trust: bool) -> Callable[..., nn.Module]:
    if name.startswith("timm:"):
        return partial(pretrained.timm_net, model=name.removeprefix("timm:"))
    if ":" not in name:
        if name not in NETS.names():
            hint = did_you_mean(name, NETS.names()) + ", or timm:NAME, or module:function of yours"
            raise UsageError(f"there is no net named '{name}'", code="unknown-net", hint=hint)
        return cast(Callable[..., nn.Module], NETS.load(name))
    if name.startswith(custom.GIVEN) and not custom.is_lent(name):
        raise BundleError(
            f"the net is an object of its maker's program, '{name.removeprefix(custom.GIVEN)}'",
            code="net-not-given",
            hint="give it again: net=MyNet(), or the function that makes it; an exported bundle needs it no more",
        )
    if not trust and not custom.is_lent(name):
        raise BundleError(
            f"the net is code of its maker's, '{name}', which would be imported and run",
            code="untrusted-net",
            hint="if you trust who made it and that module is yours, load with trust=True",
        )
    return partial(custom.custom_net, target=name)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    before = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            random.seed(seed)  # what Keras draws the seeds of its layers from
            yield
    finally:
        random.setstate(before)
