"""The bundle of a net that makes pictures, a VAE or a GAN: the same folder as a model's, with a config of its own."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from beholder.base.arrays import F32, I64, U8, Values
from beholder.base.brief import cut, listed, within
from beholder.base.display import html
from beholder.base.errors import BundleError, UsageError, did_you_mean
from beholder.base.numbers import check_seed, whole
from beholder.base.recipe import Recipe, from_toml
from beholder.base.records import PixelPolicy
from beholder.bundle import format
from beholder.bundle.bundle import splits_text
from beholder.bundle.config import SCHEMA, File
from beholder.bundle.metadata import front
from beholder.machine.placement import evaluating
from beholder.nets.init import not_finite
from beholder.nets.likelihood import LIKELIHOODS

CHUNK = 256
"""Pictures whose noise is drawn at once: the first of more pictures are those of fewer."""

LARGEST = 64
"""Pixels of the side of pictures that can be made."""

MOST = 10_000_000
"""Pictures that can be asked for at a time."""


@dataclass(frozen=True)
class Shape:
    """What a generative net is built of: kind vae | gan, the fields of the recipe's section `generate`, a GAN's patches."""

    kind: str
    maps: int
    likelihood: str = "logistic"
    beta: float = 1.0
    penalty: float = 0.5
    vary: bool = False
    patch: int = 1


@dataclass(frozen=True, kw_only=True)
class Config:
    """The fields of config.json of a generator; `kind` is "generator".

    labels: whether a picture may carry several of the classes; shares: of the classes among the training pictures
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    kind: str = format.GENERATOR
    classes: tuple[str, ...]
    several: bool = False
    shares: tuple[float, ...] = ()
    pixels: PixelPolicy
    shape: Shape
    plan: Mapping[str, Any] = field(default_factory=dict)
    precision: str = ""
    parameters: int = 0
    seconds: float = 0.0
    machine: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    files: Mapping[str, File] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        found: dict[str, Any] = json.loads(json.dumps({"schema": SCHEMA, **asdict(self)}))
        return found


def built(config: Config) -> nn.Module:
    """Return the net of a generator with initial weights."""
    from beholder.nets.gan import Gan
    from beholder.nets.vae import Vae

    pixels, shape = config.pixels, config.shape
    size: dict[str, Any] = {
        **{"channels": pixels.channels, "size": (pixels.height, pixels.width), "classes": len(config.classes)},
        "width": shape.maps,
    }
    if shape.kind == "vae":
        return Vae(**size, pixels=shape.likelihood, beta=shape.beta)
    return Gan(**size, patch=shape.patch, penalty=shape.penalty, augment=shape.vary)


@dataclass(eq=False, repr=False)
class Generator:
    """A trained net that makes pictures.

    config, net, recipe, history, scores, splits, path: as in `Bundle`; scores are what is known of its pictures
    """

    config: Config
    net: Any
    recipe: Recipe
    history: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)
    splits: list[tuple[str, str]] = field(default_factory=list)
    path: Path | None = None

    def __repr__(self) -> str:
        pixels, kinds = self.config.pixels, self.config.classes
        size = f"{pixels.width}×{pixels.height}×{pixels.channels} pixels"
        facts = [self.config.shape.kind, listed(kinds) if kinds else "no classes", size, cut(str(self.path or ""))]
        return within("Generator", [fact for fact in facts if fact])

    _repr_html_ = html

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes of which it makes pictures; none where it learnt without labels."""
        return self.config.classes

    def labels(self, n: int, *, label: str = "") -> I64:
        """Return the class of each of n pictures, int64 (N,): all of `label`, or the classes in turn; 0 without classes.

        Raises `UsageError` (unknown-class) for a class that it does not know.
        """
        if not label:
            return np.arange(n) % max(1, len(self.classes))
        if label not in self.classes:
            known = did_you_mean(str(label), self.classes) if self.classes else "it learnt from pictures without labels"
            raise UsageError(f"no class is called '{label}'", code="unknown-class", hint=known)
        return np.full(n, self.classes.index(label), np.int64)

    def dealt(self, n: int) -> I64:
        """Return the class of each of n pictures, int64 (N,), as frequent as among training pictures, and the first of more."""
        shares = np.array(self.config.shares)
        if not shares.sum():
            return self.labels(n)
        found, counts = np.empty(n, np.int64), np.zeros(len(shares))
        for k in range(n):
            found[k] = np.argmax(shares / shares.sum() * (k + 1) - counts)
            counts[found[k]] += 1
        return found

    def sample(self, n: int, *, label: str = "", seed: int = 0) -> tuple[U8, I64]:
        """Return n made pictures, uint8 (N, C, H, W), and the class of each, int64 (N,).

        label: a class; "": the classes in turn. A seed gives the same pictures on the same machine, and the first of more.
        Raises `UsageError` for a class that it does not know, and for an n that is not 1 to `MOST`, and for what is no seed.
        """
        check_asked(n, seed)
        labels = self.labels(n, label=label)
        return np.concatenate(list(self.chunks(labels, seed=seed))), labels

    def chunks(self, labels: I64, *, seed: int = 0) -> Iterator[U8]:
        """Yield made pictures of the classes `labels`, uint8 (≤ 256, C, H, W) at a time."""
        for start in range(0, len(labels), CHUNK):
            yield pixels_of(self._made(labels[start : start + CHUNK], (seed << 20) + start // CHUNK))

    @torch.inference_mode()
    def _made(self, labels: I64, seed: int) -> Tensor:
        noise = self.net.noise(CHUNK, torch.Generator().manual_seed(seed))
        targets = self.targets(labels)
        with evaluating(self.net):
            made: Tensor = self.net.drawn(targets, [row[: len(labels)] for row in noise])
        return made

    def targets(self, labels: I64) -> Tensor:
        """Return one-hot targets float32 (N, K) on the device of the net."""
        on = next(self.net.parameters()).device
        return (
            torch.eye(len(self.classes), device=on)[torch.from_numpy(labels).to(on)]
            if self.classes
            else torch.zeros((len(labels), 0), device=on)
        )

    def hot(self, labels: Values) -> Tensor:
        """Return targets float32 (N, K) of classes (N,), or of 0 and 1 (N, K). Raises `UsageError` for what is neither."""
        labels, known = np.asarray(labels), len(self.classes)
        plain = labels.ndim == 1 and labels.dtype.kind in "iu"
        if plain and (not known or not len(labels) or (labels.min() >= 0 and labels.max() < known)):
            return self.targets(labels)
        if labels.ndim != 2 or labels.shape[1] != known:
            hint = f"whole numbers from 0 to {known - 1}, shape (N,), or 0 and 1 of each class, shape (N, {known})"
            raise UsageError("these are no labels of the generator's classes", code="bad-labels", hint=hint)
        return torch.from_numpy(labels).float()

    def values(self, images: U8) -> Tensor:
        """Return float32 pictures in -1..1. Raises `UsageError` for what is not uint8 (N, C, H, W) of this generator's size."""
        images, pixels = np.asarray(images), self.config.pixels
        size = (pixels.channels, pixels.height, pixels.width)
        if images.dtype != np.uint8 or images.shape[1:] != size:
            what = f"pictures {images.dtype} {images.shape} are not those that it knows"
            raise UsageError(what, code="bad-pictures", hint=f"give uint8 (N, {', '.join(map(str, size))})")
        return values_of(images)

    @torch.inference_mode()
    def rebuilt(self, images: U8, labels: Values) -> U8:
        """Return pictures uint8 (N, C, H, W) as a VAE gives them back from the means of their latents.

        Raises `UsageError` (no-vae) of a GAN.
        """
        net, targets = self._vae("reconstructions"), self.hot(labels)
        return pixels_of(net.drawn(targets, net.units(self.values(images), targets)))

    @torch.inference_mode()
    def between(self, images: U8, labels: Values, *, steps: int = 9) -> U8:
        """Return what lies between two pictures uint8 (2, C, H, W) in a VAE's latents, uint8 (steps, C, H, W).

        Along a great circle, so that all between is as likely as the ends. Raises `UsageError` (no-vae) of a GAN.
        """
        net, targets = self._vae("latents to walk between"), self.hot(labels)
        if len(images) != 2 or len(targets) != 2:
            raise UsageError(f"a way leads from one picture to another, not {len(images)}", code="bad-number", hint="give two")
        share = torch.linspace(0, 1, steps)
        angle = (share * math.pi / 2)[:, None, None, None]
        units = [angle.cos() * row[:1] + angle.sin() * row[1:] for row in net.units(self.values(images), targets)]
        aims = targets[:1] + share[:, None] * (targets[1:] - targets[:1])
        return pixels_of(net.drawn(aims, units))

    @torch.inference_mode()
    def latents(self, images: U8, labels: Values) -> F32:
        """Return the means of a VAE's coarsest latents, float32 (N, D), where they lie in the prior of the picture's class.

        Raises `UsageError` (no-vae) of a GAN.
        """
        found: F32 = self._vae("latents").units(self.values(images), self.hot(labels))[0].flatten(1).numpy()
        return found

    @torch.inference_mode()
    def bounds(self, images: U8, labels: Values, *, draws: int = 1, seed: int = 0) -> F32:
        """Return minus log weights of pictures in nats, float32 (draws, N): the mean over draws is minus the bound (ELBO).

        Minus the log of the mean of the weights is the tighter, importance-weighted bound (Y. Burda et al., 2016).
        Raises `UsageError` (no-vae) of a GAN, which has no likelihood.
        """
        net = self._vae("likelihoods")
        targets = self.hot(labels)
        random, found = torch.Generator().manual_seed(seed), []
        for _ in range(draws):
            rows = []
            for start in range(0, len(images), CHUNK):
                some = slice(start, start + CHUNK)
                terms = net.weighed(self.values(images[some]), targets[some], net.noise(len(images[some]), random))
                rows.append(terms.numpy())
            found.append(np.concatenate(rows))
        return np.stack(found)

    def _vae(self, what: str) -> Any:
        if self.config.shape.kind != "vae":
            raise UsageError(f"a GAN has no {what}", code="no-vae", hint="--kind vae has")
        return self.net.eval()

    def save(self, path: str | Path) -> Path:
        """Write it to the folder `path`, whole or not at all, and return that path. Raises as `Bundle.save` does."""
        weights = {name: value.detach().cpu().contiguous().clone() for name, value in self.net.state_dict().items()}
        said = {"scores.json": self.scores, "history.json": self.history}
        format.write(
            Path(path),
            self.config,
            {
                format.WEIGHTS: save(weights),
                "recipe.toml": self.recipe.toml().encode(),
                **{name: json.dumps(value, indent=1, allow_nan=False).encode() for name, value in said.items()},
                "splits.csv": splits_text(self.splits),
                "README.md": card(self).encode("utf-8", "replace"),
            },
        )
        self.path = Path(path)
        return self.path

    @staticmethod
    def load(path: str | Path) -> Generator:
        """Return the generator in the folder `path`, verified before any weight is used.

        Raises `UsageError` if there is none, or a model that recognises (no-generator); `BundleError` if it is damaged.
        """
        path = Path(path)
        values = format.unsealed(path)
        if values.get("kind") != format.GENERATOR:
            hint = "beholder generate SOURCE makes one"
            raise UsageError(f"{path} recognises pictures and makes none", code="no-generator", hint=hint)
        config = _read(values, path)
        format.check_files(path, config.files)
        try:
            net = built(config)
            weights = load_file(path / format.WEIGHTS)
            if name := not_finite(weights):
                what = f"{path} cannot be used: the tensor '{name}' holds NaN or infinity"
                raise BundleError(what, code="not-finite", hint="train it again")
            net.load_state_dict(weights, strict=True)
            recipe = from_toml((path / "recipe.toml").read_text("utf-8"), where=str(path / "recipe.toml"), done=True)
            history, scores = (json.loads((path / name).read_bytes()) for name in ("history.json", "scores.json"))
            rows = list(csv.reader(io.StringIO((path / "splits.csv").read_text("utf-8"))))[1:]
            return Generator(config, net.eval(), recipe, history, scores, [(row[0], row[1]) for row in rows], path)
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError, SafetensorError) as error:
            raise _unfit(path, f"{type(error).__name__}: {error}") from error


def check_asked(n: object, seed: object) -> None:
    """Raise `UsageError` (bad-number, bad-seed) for a number of pictures or a seed that is none."""
    whole(n, 1, MOST, code="bad-number", what="pictures cannot be made")
    check_seed(seed)


def values_of(images: U8) -> Tensor:
    """Return float32 pictures in -1..1 of bytes."""
    return torch.from_numpy(np.ascontiguousarray(images)).float() / 127.5 - 1


def pixels_of(images: Tensor) -> U8:
    """Return bytes of pictures in -1..1."""
    found: U8 = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
    return found


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Config)


def _read(values: Mapping[str, Any], path: Path) -> Config:
    from pydantic import ValidationError

    try:
        found: Config = _adapter().validate_json(
            json.dumps({name: value for name, value in values.items() if name != "schema"}), strict=True
        )
    except ValidationError as error:
        raise _unfit(path, "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])) from error
    pixels, shape, shares = found.pixels, found.shape, found.shares
    fits = {
        f"pixels: {pixels.width} × {pixels.height} × {pixels.channels}": pixels.channels in (1, 3)
        and 4 <= min(pixels.height, pixels.width) <= max(pixels.height, pixels.width) <= LARGEST,
        f"shape: {shape}": shape.kind in ("vae", "gan") and 8 <= shape.maps <= 512 and shape.likelihood in LIKELIHOODS,
        "two classes have the same name": len(set(found.classes)) == len(found.classes),
        "shares: not one number for each class": len(shares) == len(found.classes) and min(shares, default=0) >= 0,
    }
    if wrong := [what for what, right in fits.items() if not right]:
        raise _unfit(path, "; ".join(wrong))
    return found


def _unfit(path: Path, what: str) -> BundleError:
    text = f"{path} cannot be used: its parts do not fit together: {what}"
    return BundleError(text, code="inconsistent", hint="update Beholder, or generate it again")


NAMES = {"vae": "Variational autoencoder", "gan": "Generative adversarial network"}


def card(made: Generator) -> str:
    """Return README.md of a generator: what it is, what is known of its pictures, and what they are not."""
    config = made.config
    pixels, n = config.pixels, config.parts.get("train", 0)
    figures = [f"- {said}" for said in made.scores.get("said", ())]
    of = f" of {len(config.classes)} classes: {listed(config.classes)}" if config.classes else ""
    return (
        "\n".join(
            [
                *front("unconditional-image-generation", config.shape.kind, made.scores, tags=(config.shape.kind,)),
                f"# {NAMES[config.shape.kind]}",
                "",
                f"Makes pictures of {pixels.width} × {pixels.height} pixels{of}. Trained with Beholder on {n:,} pictures.",
                "",
                "## What is known of its pictures",
                "",
                *(figures or ["Nothing was measured."]),
                "",
                "## Limits",
                "",
                "Its pictures show nothing that happened. They may repeat training pictures, which no measure can rule "
                "out, and they carry on what is uneven in them. Say that they are made wherever they are shown or trained on.",
                "",
                "## Usage",
                "",
                "```python",
                "import beholder",
                "",
                'pictures, labels = beholder.Generator.load("THIS-FOLDER").sample(64)',
                "```",
            ]
        )
        + "\n"
    )
