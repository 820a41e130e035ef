"""The verb `train`: from the three parts of a split to a bundle."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from beholder.base import events
from beholder.base.errors import Interrupted
from beholder.base.files import sha256
from beholder.base.recipe import Recipe, load
from beholder.base.records import Parts
from beholder.base.spans import current, span
from beholder.bundle.bundle import Bundle
from beholder.bundle.format import finished
from beholder.data.digest import digested
from beholder.data.kin import remembered
from beholder.learn.budget import CLOSING, Budget, budget, sampled
from beholder.learn.checkpoint import RunFolder, check_out
from beholder.learn.clock import Clock
from beholder.learn.grow import dearer
from beholder.learn.loop import Run, Settings
from beholder.learn.optim import SCHEDULES, optimiser
from beholder.learn.prepare import Material, Prepared, check_scales, prepare
from beholder.learn.probe import Shown, features_name, fit_head
from beholder.learn.profile import step_flop, summary, tell_stall
from beholder.learn.settle import settle
from beholder.learn.tasks import TASKS
from beholder.learn.validate import score, validate
from beholder.learn.watch import Average, Best, Guard, NotFiniteError
from beholder.machine.chip import settled
from beholder.machine.compile import compiled
from beholder.machine.device import repeats, scaler, telling_memory
from beholder.machine.info import machine
from beholder.machine.peak import peak
from beholder.machine.stop import Stop, stopping
from beholder.nets.depth import decayed, freeze
from beholder.nets.features import head
from beholder.nets.pretrained import weights_hash


def train(
    parts: Parts,
    *,
    recipe: Recipe | str = "quick",
    out: str | Path | None = None,
    resume: bool = False,
    began: float | None = None,
    after: float = 0.0,
    again: int = 0,
    **fields: Any,
) -> Bundle:
    """Train a recogniser on `parts.train`, choose its weights on `parts.valid`, and return it; `parts.test` is not read.

    recipe: a Recipe, the name of one, or the path of a TOML file; `fields` change its fields by name: net="cnn", lr=0.01,
            minutes=10 (a wall-clock budget), seed=1, augment="strong", …
    out:    where to save the bundle; until it is whole its run folder lies beside it, from which `resume` continues
    began:  `time.monotonic()` at which the budget of `minutes` started; default now
    after:  seconds of that budget for what the caller does after the test; again: pictures that the net is given there

    Raises `UsageError` for a wrong field, `DataError` for pictures that cannot be learnt from, and `Interrupted` after
    Ctrl-C, when the best so far has been saved to `out`.
    """
    began = time.monotonic() if began is None else began
    asked = (recipe if isinstance(recipe, Recipe) else load(recipe)).set(**fields)
    path = Path(out) if out is not None else None
    folder = _folder(path)
    with span("prepare"):
        prepared = prepare(parts, asked)
    going_on = folder.begin(_identity(prepared), resume=resume, machine=_machine(prepared)) if folder is not None else False
    with stopping() as stop:
        best, net = Best(), prepared.created.net
        if not going_on:
            check_scales(net, prepared)
        limits = _budget(prepared, parts, began, after, again)
        valid, limits = sampled(prepared.valid, limits, train=len(prepared.train.pixels))
        if prepared.created.pretrained and prepared.recipe.train.probe and not going_on:
            with span("probe"):
                _probe(prepared, valid, best, stop, seconds=limits.training() / 4)
        events.step(4, "training by backpropagation")
        for words in _facts(prepared):
            prepared.said(words)
        run = _run(prepared, net, best, valid=valid, limits=limits, folder=folder, stop=stop)
        if going_on and folder is not None:
            run.resume(folder)
        diverged = _go(run, prepared.plan.batch)
        if not run.batches.resident:
            tell_stall(run.batches.stall, run.clock.spent)
        if run.clock.unused > max(3.0, 0.03 * limits.seconds):
            prepared.said(f"all planned epochs are done, {run.clock.unused:.0f} s before the time is up")
        events.step(5, "validation", _when(best))
        cut = bool(stop) or diverged is not None
        bundle = _bundle(prepared, parts, run, seconds=time.monotonic() - began, cut=cut)
        saved = path is not None and (not cut or (bool(best.weights) and not finished(path)))
        if path is not None and saved:
            bundle.save(path)
    if cut:
        raise _given_up(diverged, path, saved=saved) if diverged else _interrupted(stop, run, path, saved=saved)
    if folder is not None:
        folder.discard()
    return bundle


def _folder(path: Path | None) -> RunFolder | None:
    """Return the run folder of a bundle that may be written to `path`, None where there is no path."""
    if path is None:
        return None
    check_out(path)
    return RunFolder.beside(path)


def _facts(prepared: Prepared) -> list[str]:
    """Return what is to be known of a run before its first step."""
    on, precision = prepared.normal.device, prepared.precision
    unsteady = [repeats(on)] if on.type != "cpu" else []
    return [*prepared.plan.reasons, f"precision: {precision.name}: {precision.reason}", *unsteady]


def _profile(prepared: Prepared, run: Run) -> dict[str, Any]:
    ledger = current()
    if ledger is None:
        return {}
    shape, pictures = prepared.train.pixels.shape, run.clock.taken * run.batches.batch
    share = run.seen / max(1, pictures * shape[1] * shape[2])  # below 1 where pictures grew
    found = summary(
        ledger,
        pictures=pictures,
        flop=round((step_flop(run.net, shape) or 0) * share),
        peak=peak(prepared.normal.device, prepared.precision.dtype),
        precision=prepared.precision.name,
    )
    return {"profile": found}


def _when(best: Best) -> str:
    if not best.weights:
        return "no step was taken"
    when = "with the linear head" if best.epoch < 0 else f"after epoch {best.epoch + 1}"
    return f"best score {best.score:.4f} {when}"


def _interrupted(stop: Stop, run: Run, path: Path | None, *, saved: bool) -> Interrupted:
    at = f"interrupted at step {run.clock.step} of {run.clock.total}"
    if path is None:
        return stop.error(f"{at}; nothing is kept of it", hint="give out= (--out) to have the best so far saved")
    where = f"the best so far is in {path}" if saved else f"{path} is as it was before"
    return stop.error(f"{at}; {where}", hint="run the same command with --resume to go on")


def _go(run: Run, batch: int) -> NotFiniteError | None:
    """Train; return the error of a run that diverged and could not be saved, so that its best is kept before it is raised."""
    try:
        with telling_memory(batch):
            run.go()
    except NotFiniteError as error:
        return error
    return None


def _given_up(error: NotFiniteError, path: Path | None, *, saved: bool) -> NotFiniteError:
    """Return the error of a run that diverged at half the rate too: with what is kept of it."""
    kept = "" if path is None else f"; the best so far is in {path}" if saved else f"; {path} is as it was before"
    said = NotFiniteError(f"at half the rate too, {error.message}{kept}")
    said.keys = error.keys
    return said


def _run(
    prepared: Prepared, net: nn.Module, best: Best, *, valid: Material, limits: Budget, folder: RunFolder | None, stop: Stop
) -> Run:
    recipe, chosen, batches = prepared.recipe.train, prepared.plan, prepared.batches()
    frozen = freeze(net, chosen.freeze)
    made = optimiser(
        net,
        chosen.optimiser,
        lr=chosen.lr,
        momentum=recipe.momentum,
        weight_decay=chosen.weight_decay,
        head=head(net),
        batch=batches.batch,
        factors=decayed(net, chosen.layer_decay),
        bf16=prepared.precision.dtype is torch.bfloat16,
    )
    if (ledger := current()) is not None:
        ledger.settle = lambda: settled(prepared.normal.device)
    model = compiled(net, batches.example(), prepared.precision, asked=recipe.compile)
    if model.reason:
        prepared.said(model.reason)
    every = max(1, chosen.epochs // 40, round(len(valid.pixels) / max(1, len(prepared.train.pixels))))
    return Run(
        net=net,
        model=model.model,
        scaler=scaler(prepared.normal.device, prepared.precision),
        task=TASKS.load("multi" if prepared.multi else "single"),
        optimisers={"net": made},
        batches=batches,
        validate=lambda net, enough: validate(
            net, valid.pixels, valid.targets, prepared.normal, prepared.precision, multi=prepared.multi, enough=enough
        ),
        clock=Clock(
            steps_per_epoch=len(batches),
            epochs=chosen.epochs,
            seconds=limits.left(),
            every=every,
            validation=limits.validation,
            after=limits.after,
            dearer=lambda done: dearer((prepared.policy.height, prepared.policy.width), chosen.grow, done),
        ),
        settings=Settings(
            schedule=SCHEDULES[chosen.schedule],
            precision=prepared.precision,
            smoothing=recipe.smoothing,
            weights=prepared.weights,
            clip=recipe.clip,
            patience=recipe.patience,
            every=every,
            seed=prepared.recipe.seed,
            grow=chosen.grow,
            frozen=frozen,
        ),
        average=Average(net, chosen.averaging) if chosen.averaging > 0 else None,
        folder=folder,
        stop=stop,
        best=best,
        guard=Guard(prepared.train.pictures.keys, eager=prepared.normal.device.type == "cpu"),
    )


def _probe(prepared: Prepared, later: Material, best: Best, stop: Stop, *, seconds: float) -> None:
    """Fit a linear head and offer it to `best`, by its score on what is validated on during training: `later`."""
    train, valid, multi = prepared.train, prepared.valid, prepared.multi
    net, asked = prepared.created.net, prepared.recipe.net
    fitted = fit_head(
        net,
        (_shown(train), train.targets),
        (_shown(valid), lambda logits: score(logits, valid.targets, multi=multi)),
        prepared.normal,
        prepared.precision,
        multi=multi,
        weights=prepared.weights.cpu() if prepared.weights is not None else None,
        stop=stop,
        seconds=seconds,
        name=features_name(asked, weights_hash(asked.name, asked.weights), prepared.policy, prepared.precision),
    )
    if fitted:
        found = validate(net, later.pixels, later.targets, prepared.normal, prepared.precision, multi=multi)
        assert found is not None  # nobody says enough
        loss, reached = found
        best.offer(net, score=reached, loss=loss, epoch=-1)
        _forget(head(net))
        prepared.said(f"a linear head on frozen features reaches {reached:.4f} on validation; training has to beat it")


def _shown(material: Material) -> Shown:
    digests = digested(material.pictures).digests
    assert digests is not None
    return Shown(material.pixels, digests)


def _forget(last: nn.Linear | None) -> None:
    """Set a head to zeros: fine-tuning that starts from the fitted head stays near it and ends lower (docs/LOG.md)."""
    if last is not None:
        for parameter in last.parameters():
            nn.init.zeros_(parameter)


def _budget(prepared: Prepared, parts: Parts, began: float, after: float, again: int = 0) -> Budget:
    net = prepared.created.net.eval()
    trained = Bundle(_config(prepared), net, prepared.recipe)
    return budget(prepared, parts.test, trained, began=began, closing=CLOSING + after, again=again)


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
    }


def _machine(prepared: Prepared) -> dict[str, str]:
    """Return what the bits of the weights depend on besides the recipe and the pictures."""
    facts = machine()
    return {
        **{name: facts[name] for name in ("device_name", "torch")},
        "threads": str(torch.get_num_threads()),
        "precision": prepared.precision.name,
    }


def _config(prepared: Prepared) -> dict[str, Any]:
    """Return what config.json says of the net and the pixels; for a net of timm also what timm itself reads there."""
    policy, normal, spec = prepared.policy, prepared.normal, prepared.created.spec
    args = dict(spec.args) | ({"in_chans": policy.channels} if policy.channels != 3 else {})
    config: dict[str, Any] = {
        "task": "multi" if prepared.multi else "single",
        "classes": list(prepared.classes),
        "num_classes": len(prepared.classes),
        "architecture": spec.name.removeprefix("timm:"),
        "pixels": policy.json(),
        "mean": list(normal.mean),
        "std": list(normal.std),
        "net": spec.json(),
        "mirror": prepared.plan.mirror,
        "thresholds": [0.5] * len(prepared.classes),
    }
    if spec.name.startswith("timm:"):
        shape = [policy.channels, policy.height, policy.width]
        config["model_args"] = args
        config["pretrained_cfg"] = {
            "input_size": shape,
            "mean": list(normal.mean),
            "std": list(normal.std),
            "num_classes": len(prepared.classes),
        }
        config["label_names"] = list(prepared.classes)
    return config


def _bundle(prepared: Prepared, parts: Parts, run: Run, *, seconds: float, cut: bool) -> Bundle:
    """Return the bundle with the best weights on validation, on the CPU."""
    net = prepared.created.net
    if run.best.weights:
        net.load_state_dict(run.best.weights)
    config = {
        **_config(prepared),
        "version": machine()["beholder"],
        "machine": machine(),
        "plan": prepared.plan.json(),
        "precision": prepared.precision.name,
        "parameters": sum(p.numel() for p in net.parameters()),
        "seconds": round(seconds, 2),
        "parts": {name: len(pictures) for name, pictures in parts.items()},
        "valid_score": run.best.score if math.isfinite(run.best.score) else None,
        "interrupted": cut,
        "notes": [*parts.train.notes, *prepared.said.notes],
        **_profile(prepared, run),
    }
    bundle = Bundle(
        config,
        net.to("cpu").eval().requires_grad_(True),
        prepared.recipe,
        history=run.at.history,
        splits=splits_of(parts),
        likeness=remembered(prepared.train.pixels, prepared.valid.pixels),
    )
    if not cut:
        with span("evaluate"):
            _settle(bundle, prepared)
    return bundle


def _settle(bundle: Bundle, prepared: Prepared) -> None:
    """Fit on the validation part what the bundle carries beside its weights; its notes go with those of the run."""
    valid = prepared.valid
    targets = valid.targets.numpy()
    groups = valid.pictures.groups if (valid.pictures.groups >= 0).any() else None
    moved = bundle.to(prepared.normal.device)
    rows = [moved.outputs(valid.pixels.take(some)) for some in _chunks(len(valid.pixels))]
    bundle.to("cpu")
    logits, features = (np.concatenate([row[i] for row in rows]) for i in (0, 1))
    settle(bundle, logits, features, targets.astype(np.uint8) if prepared.multi else targets.argmax(axis=1), groups=groups)


def _chunks(n: int, size: int = 1024) -> list[npt.NDArray[np.int64]]:
    return [np.arange(start, min(start + size, n)) for start in range(0, n, size)]


def splits_of(parts: Parts) -> list[tuple[str, str]]:
    """Return (SHA-256 as hexadecimal digits, part name) of every picture: the manifest that a bundle carries."""
    found = []
    for name, pictures in parts.items():
        digests = digested(pictures).digests
        if digests is not None:
            found += [(row.tobytes().hex(), name) for row in digests]
    return found
