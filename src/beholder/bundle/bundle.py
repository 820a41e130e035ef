"""The bundle: a model with its classes, its pixel policy, its recipe, its scores and its split."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from beholder.base.arrays import F16, F32, I8, U8
from beholder.base.errors import BundleError, UsageError
from beholder.base.recipe import Recipe, from_toml
from beholder.base.records import PARTS
from beholder.base.spans import span
from beholder.bundle import card, format, ood
from beholder.bundle.config import Config
from beholder.bundle.infer import fitting, outputs
from beholder.bundle.kept import Kept, plain
from beholder.bundle.recogniser import Recogniser
from beholder.data.known import LARGEST, none
from beholder.duplicates.hashing import LENGTH
from beholder.machine.device import device
from beholder.machine.placement import moved
from beholder.nets.build import built
from beholder.nets.init import not_finite
from beholder.tasks import check


@dataclass(eq=False, repr=False)
class Bundle(Kept, Recogniser):
    """A trained model.

    config:  what config.json holds (docs/BUNDLE.md)
    net:     the network in evaluation mode, float32, on the CPU until `to` moves it
    history: one dict per validation: epoch, step, seconds, loss, valid_loss, valid_score, lr
    splits:  (SHA-256 of the file as 64 hexadecimal digits, part name) of every picture of the three parts
    path:    where it is saved; None before that
    hashes:  perceptual hashes of the pictures that were trained and chosen on, int8 (M, 64); (0, 64) where none are kept
    audit:   what the audit found and what was done about it, as audit.csv; "" where there was none
    references: float16 (M, F), features of validation pictures, for OOD detection; None where there are none
    """

    config: Config
    net: nn.Module
    recipe: Recipe
    history: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)
    splits: list[tuple[str, str]] = field(default_factory=list)
    path: Path | None = None
    readings: list[dict[str, Any]] = field(default_factory=list)
    audit: str = ""
    hashes: I8 = field(default_factory=none, repr=False)
    references: F16 | None = None
    engine: str = field(default="torch fp32", repr=False)

    def outputs(self, images: U8, *, batch: int | None = None) -> tuple[F32, F32]:
        """Return logits float32 (N, W), not calibrated, and features float32 (N, F) for uint8 (N, C, height, width).

        batch: pictures at once; None: as many as suit the device.
        """
        on = next(self.net.parameters()).device
        batch = batch or fitting(on, *images.shape[2:])
        rows = []
        for start in range(0, len(images), batch):
            part = torch.from_numpy(images[start : start + batch]).to(on)
            rows.append([values.cpu().numpy() for values in outputs(self.net, part, self.config)])
        if not rows:
            return np.zeros((0, self.width), np.float32), np.zeros((0, 0), np.float32)
        return np.concatenate([row[0] for row in rows]), np.concatenate([row[1] for row in rows])

    def ready(self) -> Bundle:
        """Return the same bundle with its net on the best device of this machine."""
        return self.to(device())

    def to(self, on: str | torch.device) -> Bundle:
        """Return the same bundle with its net, which both then share, on a device. Raises `MachineError` (out-of-memory)."""
        return replace(self, net=moved(self.net, torch.device(on)))

    def save(self, path: str | Path) -> Path:
        """Write the bundle to the folder `path` (whole or not at all) and return that path.

        Raises `UsageError` if something that is not a bundle lies there, `MachineError` if the disk is full or closed.
        """
        with span("save"):
            self._write(Path(path))
        self.path = Path(path)
        return self.path

    def _write(self, path: Path) -> None:
        weights = {name: value.detach().cpu().contiguous().clone() for name, value in self.net.state_dict().items()}
        format.write(
            path,
            self.config,
            {
                format.WEIGHTS: save(weights),
                "recipe.toml": self.recipe.toml().encode(),
                "scores.json": plain(self.scores),
                "history.json": plain(self.history),
                "splits.csv": splits_text(self.splits),
                "readings.json": plain(self.readings),
                "README.md": card.text(self.config, self.scores, self.recipe).encode("utf-8", "replace"),
                **({"audit.csv": self.audit.encode("utf-8", "surrogateescape")} if self.audit else {}),
                **({format.HASHES: _npy(self.hashes)} if len(self.hashes) else {}),
                **({} if self.references is None else {ood.FILE: ood.encoded(self.references)}),
            },
        )


def opened(bundle: Bundle | str | Path, *, trust: bool = False) -> Bundle:
    """Return a bundle, or what lies at its path, as `load` does. Raises `UsageError` for what is neither."""
    return bundle if isinstance(bundle, Bundle) else load(bundle, trust=trust)


def load(path: str | Path, *, trust: bool = False, net: object = None) -> Bundle:
    """Return the bundle in the folder `path`, verified before any weight is used.

    trust: also take nets and tasks of your own (`module:function`), which runs their code.
    net: a net of yours, as `train` was given it: a function that makes it, or an nn.Module, of which a copy gets the weights
    Raises `UsageError` if there is none, or one that makes pictures or finds boxes; `BundleError` if it is damaged, foreign or
    of a newer schema.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise format.no_bundle(path)
    path = Path(path)
    config = format.verified(path)
    try:
        check(config.task, trust=trust)
        made = built(config.net, trust=trust, given=net)
        weights = load_file(path / format.WEIGHTS)
        if name := not_finite(weights):
            what = f"the tensor '{name}' holds NaN or infinity"
            raise BundleError(f"{path} cannot be used: {what}", code="not-finite", hint="train it again")
        made.load_state_dict(weights, strict=True)
        rows = csv.reader(io.StringIO((path / "splits.csv").read_text("utf-8")))
        return Bundle(
            config=config,
            net=made.eval(),
            recipe=from_toml((path / "recipe.toml").read_text("utf-8"), where=str(path / "recipe.toml"), done=True),
            history=json.loads((path / "history.json").read_bytes()),
            scores=json.loads((path / "scores.json").read_bytes()),
            splits=[(row[0], row[1]) for row in rows][1:],
            path=path,
            readings=format.readings(path),
            audit=_audit(path),
            hashes=_hashes(path),
            references=ood.read(path, config),
        )
    except UsageError as error:
        raise BundleError(f"{path} cannot be used here: {error.message}", code="unusable", hint=error.hint) from error
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError, SafetensorError) as error:
        text = f"{path} cannot be used: its parts do not fit together ({type(error).__name__}: {error})"
        hint = "train it again, or update Beholder" if net is None else "give the net that it was trained with"
        raise BundleError(text, code="inconsistent", hint=hint) from error


def _audit(path: Path) -> str:
    file = path / "audit.csv"
    return file.read_bytes().decode("utf-8", "surrogateescape") if file.is_file() else ""


def _npy(table: I8) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, table, allow_pickle=False)
    return buffer.getvalue()


def _hashes(path: Path) -> I8:
    """Return the hashes in a bundle; none where there are none, or what lies there is something else."""
    file = path / format.HASHES
    if not file.exists():
        file = path / "likeness.npy"  # its name in schema 1
    try:
        if not file.is_file() or file.stat().st_size > LENGTH * LARGEST + 4096:
            return none()
        table = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return none()
    return table if table.dtype == np.int8 and table.ndim == 2 and table.shape[1] == LENGTH else none()


def splits_text(splits: Sequence[tuple[str, str]]) -> bytes:
    """Return splits.csv: the digest and the part of every picture."""
    lines = ["digest,part", *(f"{digest},{part}" for digest, part in splits if part in PARTS)]
    return ("\n".join(lines) + "\n").encode()
