"""The bundle of a detector: the same folder as a model's, with a config of its own (`finder.Config`)."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from beholder.base.arrays import U8
from beholder.base.errors import BundleError, UsageError
from beholder.base.recipe import Recipe, from_toml
from beholder.bundle import format
from beholder.bundle.bundle import splits_text
from beholder.bundle.detected import card
from beholder.bundle.finder import Config, Finder, read, unfit
from beholder.bundle.kept import Kept, plain
from beholder.data.loader import normalised
from beholder.machine.device import device
from beholder.machine.placement import evaluating, moved
from beholder.measure.detections import Detected
from beholder.nets.detector import built, found_in
from beholder.nets.init import not_finite

BATCH = 8
"""Pictures at once."""


@dataclass(eq=False, repr=False)
class Detector(Kept, Finder):
    """A trained detector. config, net, recipe, history, scores, splits, path, readings: as in `Bundle`."""

    config: Config
    net: nn.Module
    recipe: Recipe
    history: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)
    splits: list[tuple[str, str]] = field(default_factory=list)
    path: Path | None = None
    readings: list[dict[str, Any]] = field(default_factory=list)
    engine: str = field(default="torch fp32", repr=False)

    @torch.inference_mode()
    def found(self, images: U8, *, most: int | None = None) -> list[Detected]:
        """Return what is found, as `Finder.found` says."""
        on, rows = next(self.net.parameters()).device, list[Detected]()
        config = self.config
        with evaluating(self.net) as net:
            for start in range(0, len(images), BATCH):
                part = torch.from_numpy(images[start : start + BATCH]).to(on)
                part = normalised(part, config.mean, config.std).contiguous(memory_format=torch.channels_last)
                rows += detected(net(part), config, most=most)
        return rows

    def ready(self) -> Detector:
        """Return the same detector with its net on the best device of this machine."""
        return self.to(device())

    def to(self, on: str | torch.device) -> Detector:
        """Return the same detector with its net, which both then share, on a device. Raises `MachineError` (out-of-memory)."""
        return replace(self, net=moved(self.net, torch.device(on)))

    def save(self, path: str | Path) -> Path:
        """Write it to the folder `path`, whole or not at all, and return that path. Raises as `Bundle.save` does."""
        weights = {name: value.detach().cpu().contiguous().clone() for name, value in self.net.state_dict().items()}
        said = {"scores.json": self.scores, "history.json": self.history, "readings.json": self.readings}
        format.write(
            Path(path),
            self.config,
            {
                format.WEIGHTS: save(weights),
                "recipe.toml": self.recipe.toml().encode(),
                **{name: plain(value) for name, value in said.items()},
                "splits.csv": splits_text(self.splits),
                "README.md": card(self.config, self.scores).encode("utf-8", "replace"),
            },
        )
        self.path = Path(path)
        return self.path

    @staticmethod
    def load(path: str | Path) -> Detector:
        """Return the detector in the folder `path`, verified before any weight is used.

        Raises `UsageError` if there is none, or a model of labels (no-detector); `BundleError` if it is damaged.
        """
        path = Path(path)
        values = format.unsealed(path)
        if values.get("kind") != format.DETECTOR:
            raise UsageError(
                f"{path} finds no boxes", code="no-detector", hint="beholder train on a source with boxes makes one"
            )
        config = read(values, path)
        format.check_files(path, config.files)
        try:
            net = built(config.net)
            weights = load_file(path / format.WEIGHTS)
            if name := not_finite(weights):
                what = f"{path} cannot be used: the tensor '{name}' holds NaN or infinity"
                raise BundleError(what, code="not-finite", hint="train it again")
            net.load_state_dict(weights, strict=True)
            recipe = from_toml((path / "recipe.toml").read_text("utf-8"), where=str(path / "recipe.toml"), done=True)
            history, scores = (json.loads((path / name).read_bytes()) for name in ("history.json", "scores.json"))
            rows = list(csv.reader(io.StringIO((path / "splits.csv").read_text("utf-8"))))[1:]
            splits = [(row[0], row[1]) for row in rows]
            return Detector(config, net.eval(), recipe, history, scores, splits, path, format.readings(path))
        except UsageError as error:
            raise BundleError(f"{path} cannot be used here: {error.message}", code="unusable", hint=error.hint) from error
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError, SafetensorError) as error:
            raise unfit(path, f"{type(error).__name__}: {error}") from error


def detected(seen: Any, config: Config, *, most: int | None = None) -> list[Detected]:
    """Return what is found in the pictures that a net has `seen`, in pixels of the net.

    Raises `BundleError` (not-finite) where it answers NaN or infinity.
    """
    if not (torch.isfinite(seen.logits).all() and torch.isfinite(seen.sides).all()):
        raise BundleError("the net answers no numbers, but NaN or infinity", code="not-finite", hint="train it again")
    found = found_in(seen, overlap=config.overlap, most=most or config.most)
    return [
        Detected(corners.double().cpu().numpy(), classes.cpu().numpy(), scores.double().cpu().numpy())
        for corners, classes, scores in found
    ]
