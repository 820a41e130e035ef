"""The verb `look`: one picture goes through one net, on a page that shows every step with its numbers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beholder.base import files
from beholder.base.arrays import F64, I64, U8
from beholder.base.brief import shown
from beholder.base.errors import UsageError
from beholder.base.records import Prediction
from beholder.bundle.bundle import Bundle, load
from beholder.bundle.finder import Finder
from beholder.bundle.format import finds_boxes
from beholder.bundle.generator import Generator
from beholder.bundle.given import one
from beholder.bundle.recogniser import Picture
from beholder.data.loader import normalised
from beholder.explanation import class_index
from beholder.explanation.look import first, head, pixels, step, trace
from beholder.explanation.look.blob import Blob
from beholder.explanation.look.fit import fitted
from beholder.image import decode
from beholder.machine.pace import contended, restored
from beholder.machine.placement import evaluating
from beholder.tasks import TASKS


@dataclass(frozen=True, eq=False)
class Look:
    """One picture's way through one net.

    label, p: the class that the page begins with, and its probability; prediction: the bundle's answer
    facts:    all that the page says, as plain JSON values; arrays lie in html. `step` is None but for logistic, mlp and cnn of
              moderate size with a task of Beholder's own
    html:     the page
    """

    label: str
    p: float
    prediction: Prediction
    facts: dict[str, Any] = field(repr=False)
    html: str = field(repr=False)

    __repr__ = shown

    def save(self, path: str | Path) -> Path:
        """Write the page as NAME.html; return its path. Raises `UsageError` (bad-out), `MachineError` where it cannot."""
        path = files.page(path)
        files.write_atomic(path, self.html.encode("utf-8", "replace"))
        return path

    def json(self) -> dict[str, Any]:
        """Return {"label", "p", "prediction", "probabilities", "net", "layers", "bytes", "step"} as plain JSON values."""
        said = self.facts["step"]
        names = ("truth", "loss", "alpha", "after")
        return {
            "label": self.label,
            "p": self.p,
            "prediction": self.prediction.label,
            "probabilities": self.prediction.probabilities,
            "net": self.facts["net"]["name"],
            "layers": len(self.facts["layers"]) + self.facts["left_out"]["layers"],
            "bytes": len(self.html.encode("utf-8", "replace")),
            "step": None if said is None else {name: said[name] for name in names},
        }


def look(
    model: Bundle | Finder | str | Path,
    picture: Picture,
    *,
    label: str | None = None,
    out: str | Path | None = None,
    trust: bool = False,
    net: object = None,
    allow_download: bool = False,
) -> Look:
    """Show how a picture, in any form that a bundle takes, goes through its net, on one page of at most 2 MB, offline.

    label: the true class, from which a plain net learns in the step that is shown, and whose logit is taken apart first; of
    several labels with ";" between. None: the prediction. out: where to write the page, NAME.html
    trust, net: as `load` takes them, where the model is a path; allow_download: fetch a picture that is not on this machine
    Raises `PictureError` for a picture that cannot be read; `UsageError` for an unknown class, another ending of `out`, a
    model of boxes (finds-boxes) or a generator (a-generator).
    """
    if isinstance(model, Generator):
        hint = "beholder.sample makes pictures with it; look is for models of labels"
        raise UsageError("this model makes pictures and recognises none", code="a-generator", hint=hint)
    if isinstance(model, Finder) or (isinstance(model, (str, os.PathLike)) and finds_boxes(Path(model))):
        hint = "beholder explain shows where it finds a box; look is for models of labels"
        raise UsageError("this model finds boxes, and its head answers at thousands of places", code="finds-boxes", hint=hint)
    if out is not None:
        files.page(out)
    bundle = model if isinstance(model, Bundle) else load(model, trust=trust, net=net)
    truth = None if label is None else asked(bundle, label)
    name = Path(os.fsdecode(os.fspath(picture))).name if isinstance(picture, (str, os.PathLike)) else ""
    data = one(picture, bits=bundle.policy.bits, allow_download=allow_download)
    whole, image = decode(data, channels=3, background=bundle.policy.background, bits=bundle.policy.bits), bundle.pixels(data)
    with restored(), evaluating(bundle.net, on=torch.device("cpu")):
        if contended():
            torch.set_num_threads(1)  # threads that wait for each other take longer than one
        found = _look(bundle, whole, image, truth, name)
    if out is not None:
        found.save(out)
    return found


def asked(bundle: Bundle, label: str) -> I64:
    """Return the classes that a label names, int64 (n,): one, or with ";" between, where a picture may carry several."""
    if bundle.task.several and label not in bundle.classes:
        return np.array([class_index(bundle, name) for name in label.split(";") if name], np.int64)
    return np.array([class_index(bundle, label)], np.int64)


def _look(bundle: Bundle, whole: U8, image: U8, truth: I64 | None, name: str) -> Look:
    logits, features = (rows[0] for rows in bundle.outputs(image[None]))
    row = bundle.activated(logits[None])[0]
    prediction = bundle.guess(row)
    answer = np.flatnonzero(bundle.answers(row[None])[0]) if bundle.task.several else bundle.task.family.foremost(row[None])
    held = answer if truth is None else truth
    at = int(held[0]) if len(held) else int(row.argmax())
    x = normalised(torch.from_numpy(image)[None], bundle.config.mean, bundle.config.std)
    blob, seen = Blob(), trace.traced(bundle.net, x)
    facts: dict[str, Any] = {
        "picture": name,
        "net": {"name": bundle.config.net.name, "parameters": sum(p.numel() for p in bundle.net.parameters())},
        "task": bundle.config.task,
        "several": bundle.task.several,
        "prediction": {"label": prediction.label, "p": prediction.p, "abstain": bool(prediction.abstain)},
        "pixels": pixels.facts(bundle, whole, image, blob),
        "first": head.named_units(bundle, seen.first, first.facts(seen.first, x, blob), at),
        "head": head.facts(bundle, features, head.logits_of(bundle, features, logits), first=at, blob=blob),
        "no_step": (why := no_step(bundle)),
        "step": None if why else _step(bundle, image, held, given=truth is not None),
    }
    facts, html = fitted(facts, seen.layers, blob)
    return Look(bundle.classes[at], float(row[at]), prediction, facts, html)


def no_step(bundle: Bundle) -> str:
    """Return why no step of a plain net is shown, "" where one is, and for nets that are not plain."""
    layers, pixels = step.layers_of(bundle.net), bundle.policy
    if layers is None:
        return ""
    if bundle.config.task not in TASKS.builtin:
        return f"No step is shown: the task of this model, {bundle.config.task}, brings a loss of its own."
    count = step.products(layers, (pixels.channels, pixels.height, pixels.width))
    if count > step.MOST:
        return f"No step is shown: one pass through this net takes {count:,} products, too many to learn from while you wait."
    return ""


def _step(bundle: Bundle, image: U8, held: I64, *, given: bool) -> dict[str, Any] | None:
    """Return a step of a plain net towards the classes `held`, with who said that they are true; None for another net."""
    truth = np.zeros(len(bundle.classes))
    truth[held] = 1.0
    found = step.facts(bundle.net, exact(bundle, image), truth, bundle.task.family)
    if found is None:
        return None
    names = [bundle.classes[k] for k in held]
    return {**step.shortened(found, truth), "truth": ";".join(names), "given": given}


def exact(bundle: Bundle, image: U8) -> F64:
    """Return a picture uint8 (C, H, W) normalised in float64: (v / 255 − mean) / std for each channel."""
    mean, std = (np.asarray(row, np.float64)[:, None, None] for row in (bundle.config.mean, bundle.config.std))
    return np.asarray((image / 255.0 - mean) / std)


__all__ = ["Look", "look"]
