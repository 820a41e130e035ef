"""What a run folder keeps of a run besides its checkpoints, and what a run that is resumed takes over from it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from beholder.base.files import sha256
from beholder.base.recipe import Recipe
from beholder.base.records import Parts
from beholder.learn.checkpoint import RunFolder
from beholder.learn.prepare import Before, Prepared
from beholder.learn.probe import Head
from beholder.machine.info import machine
from beholder.sources.digest import digested


def opened(folder: RunFolder | None, prepared: Prepared, *, resume: bool) -> bool:
    """Return whether the run folder has a checkpoint to go on from; a run with a budget keeps there which pictures it takes."""
    if folder is None:
        return False
    going_on = folder.begin(_identity(prepared), resume=resume, machine=_machine(prepared))
    taken = sample_of(prepared)
    if not going_on and prepared.recipe.train.minutes:
        folder.keep("sample", taken)
    if not going_on and prepared.train.taught is not None:
        folder.keep("taught", {"digests": taken["train"], "logits": prepared.train.taught.logits})
    if not going_on and prepared.own is not None:
        rows = prepared.train.pixels.rows >= prepared.own
        folder.keep("joined", {"digests": taken["train"][rows], "targets": prepared.train.pictures.targets[rows]})
    return going_on


def sample_of(prepared: Prepared) -> dict[str, npt.NDArray[np.uint8]]:
    """Return which pictures a run takes, part → digests uint8 (M, 32)."""
    pictures = {"train": digested(prepared.train.pictures), "valid": digested(prepared.valid.pictures)}
    return {name: part.digests for name, part in pictures.items() if part.digests is not None}


def parts_kept(parts: Parts, own: int | None = None) -> dict[str, npt.NDArray[Any]]:
    """Return what says of each picture in which part it is, and with which labels and group, as arrays to keep.

    own: how many of the training part, its first, are of the source; None: all
    "digests" uint8 (M, 32), "names" uint8 (M, 4), "parts" int8 (M,), "groups" int64 (M,), "classes" text (K,), and "targets"
    int64 (M,), or of several labels a picture uint8 (M, ⌈K / 8⌉), a bit each
    """
    train = parts.train if own is None else parts.train.take(np.arange(own))
    held = [digested(pictures) for pictures in (train, parts.valid, parts.test)]
    targets = np.concatenate([pictures.targets for pictures in held])
    return {
        "digests": np.concatenate([pictures.digests for pictures in held if pictures.digests is not None]),
        "names": np.concatenate([names_of(pictures.keys) for pictures in held]),
        "parts": np.repeat(np.arange(len(held), dtype=np.int8), [len(pictures) for pictures in held]),
        "groups": np.concatenate([pictures.groups for pictures in held]),
        "classes": np.array(parts.train.classes),
        "targets": np.packbits(targets, axis=1) if train.multi else targets,
    }


def names_of(keys: Iterable[str]) -> npt.NDArray[np.uint8]:
    """Return what tells pictures with the same bytes apart, uint8 (N, 4): the CRC-32 of each one's name."""
    sums = [zlib.crc32(key.encode("utf-8", "surrogateescape")) for key in keys]
    return np.array(sums, "<u4").view(np.uint8).reshape(-1, 4)


def before_of(folder: RunFolder) -> Before | None:
    """Return what the run in the folder had chosen by measuring; None where there is none to go on with."""
    chosen = folder.chosen()
    if not chosen:
        return None
    width, batch = float(chosen.get("width", 0) or 0), int(chosen.get("batch", 0) or 0)
    return Before(folder.kept("sample"), width, batch, chosen.get("flips", ""), folder.kept("taught"))


def comparable(recipe: Recipe) -> Recipe:
    """Return a recipe without what may change when its run is resumed: what changes no bit, the budget, the precision."""
    return recipe.essence().set(minutes=0.0, precision="auto")


def _identity(prepared: Prepared) -> dict[str, Any]:
    labels = {"labels": sha256(prepared.train.targets.numpy().tobytes() + prepared.valid.targets.numpy().tobytes())}
    material = {
        name: sha256(part.pictures.digests.tobytes() if part.pictures.digests is not None else b"")
        for name, part in (("train", prepared.train), ("valid", prepared.valid))
    }
    return {
        "recipe": comparable(prepared.recipe).toml(),
        "net": prepared.created.spec.json(),
        "pixels": prepared.policy.json(),
        **material,
        **labels,
        **({"teacher": prepared.train.taught.digest} if prepared.train.taught is not None else {}),
    }


def _machine(prepared: Prepared) -> dict[str, str]:
    """Return what the bits of the weights depend on besides the recipe and the pictures."""
    facts = machine()
    return {
        **{name: facts[name] for name in ("device_name", "torch")},
        "threads": str(torch.get_num_threads()),
        "precision": prepared.precision.name,
        "width": f"{prepared.recipe.net.width or 0:g}",
        "batch": str(prepared.plan.batch),
        "flips": " ".join(prepared.plan.augment.axes) or "none",
    }


def settle(folder: RunFolder | None, prepared: Prepared, head: Head | None, *, going_on: bool) -> None:
    """Compute with the threads of the run that is resumed; of a new one keep what it depends on, and its head, for that day."""
    if folder is None:
        return
    if going_on:
        torch.set_num_threads(int(folder.chosen().get("threads") or torch.get_num_threads()))
        return
    folder.renew(_machine(prepared))
    if head is not None:
        counts = np.array([head.trained, head.chosen])
        values = {"weight": head.weight.numpy(), "bias": head.bias.numpy(), "logits": head.logits.numpy()}
        folder.keep("head", {**values, "rows": head.rows, "counts": counts})


def head_of(folder: RunFolder) -> Head | None:
    """Return the head of the run in the folder; None where it has none."""
    kept = folder.kept("head")
    if kept is None:
        return None
    weight, bias, logits = (torch.from_numpy(kept[name]) for name in ("weight", "bias", "logits"))
    trained, chosen = kept["counts"].tolist()
    return Head(weight, bias, trained, chosen, logits, kept["rows"])
