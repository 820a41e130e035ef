"""The sentences that sinks make of events: names and numbers in, English out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fields = Mapping[str, Any]


def _rates(fields: Fields) -> str:
    return ", ".join(f"{name} {rate:.0f}" for name, rate in fields["rates"].items())


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def _values(params: Mapping[str, float | str]) -> str:
    said = ((name, value if isinstance(value, str) else f"{value:.3g}") for name, value in params.items())
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in said) or "the recipe as it is"


SENTENCES: Mapping[str, str | Callable[[Fields], str]] = {
    "step": lambda f: f"[{f['number']}/6] {f['title']}" + (f": {f['what']}" if f["what"] else ""),
    "epoch": lambda f: (
        f"epoch {f['epoch']}: loss {f['loss']:.3f}, validation loss {f['valid_loss']:.3f}, "
        f"validation score {f['valid_score']:.4f}{' (best so far)' if f['best'] else ''}"
        if f["valid_score"] == f["valid_score"]
        else f"epoch {f['epoch']}: loss {f['loss']:.3f}"  # of what is not scored
    ),
    "stopped-early": "stopped early: {epochs} epochs without a better score",
    "not-finite": "{what}; going on at half the rate from epoch {epoch}, step {step}",
    "rank-lost": "{what}; going on from step {step} with the processes that are left: {left}",
    "resumed": "resumed at step {step} of {steps} (epoch {epoch})",
    "little-time": (
        "only {left:.0f} s of the {seconds:.0f} s budget are left for training: what follows it takes {after:.0f} s"
    ),
    "stall": (
        "the pixels were streamed, for they take more than data.memory allows: training waited {stall:.1f} s for them, "
        "{share:.1%} of its time"
    ),
    "busy": "the machine is busy with other work: everything takes about {times:.1f} times as long as it could",
    "threads": lambda f: (
        f"threads: {f['threads']} at this moment (pictures/s: {_rates(f)})"
        if f["rates"]
        else f"threads: {f['threads']} again, as other programs are done"
    ),
    "engine": lambda f: f"{f['what']} by {f['engine']}" + (f" (pictures/s: {_rates(f)})" if f["rates"] else ""),
    "engines": lambda f: f"engines, pictures/s: {_rates(f)}",
    "validation-sample": "validation during training on {n} of {of} pictures",
    "floor": "floor: {what} reaches {valid_score:.4f} on validation",
    "trial": lambda f: f"trial {f['trial']}: validation score {f['valid_score']:.4f} ({_values(f['params'])})",
    "best-trial": lambda f: f"best of {f['trials']} trials, number {f['trial']}: {_values(f['params'])}",
    "first-bundle": "a first model is in {path}: a linear head, fitted on {trained:,} of {of:,} training pictures",
    "tried": lambda f: (
        f"tried: {f['what']}: "
        + (f"{f['score']:.4f} on {f['n']:,} pictures, " if f["score"] is not None else "")
        + f"{f['seconds']:.0f} s; {f['outcome']}"
    ),
    "expected": lambda f: (
        f"validation says {f['score']:.4f} on {f['n']:,} pictures"
        + (f"; as the best of {f['candidates']} candidates that is worth {f['value']:.4f}" if f["candidates"] > 1 else "")
        + f"; a test of {f['tested']:,} pictures should lie within {f['low']:.3f} to {f['high']:.3f}"
    ),
    "split": lambda f: f"{sum(f['parts'].values())} pictures in {f['classes']} classes ({f['labels']}): {_counts(f['parts'])}",
    "operating-point": "operating point for {what}: threshold {threshold:.4g}; {reason}",
}
"""Name of an event → its sentence. An event of another name is a sentence already."""

FIGURES: Mapping[str, str] = {
    "epoch": "epoch {}",
    "loss": "loss {:.3f}",
    "accuracy": "accuracy {:.3f}",
    "divergence": "divergence {:.0%} of it",
    "told": "real told from made {:.2f}",
    "rate": "{:.0f} pictures/s",
    "left": "{:.0f} s left",
}
"""Field of a progress event → how it is shown beside `done/total`; other fields are not."""


def sentence(name: str, fields: Fields) -> str:
    """Return what an event says."""
    known = SENTENCES.get(name, name)
    return known(fields) if callable(known) else known.format_map(fields) if name in SENTENCES else name


def progress(task: str, fields: Fields) -> str:
    """Return how far a task is, with the figures that are known of it."""
    done, total = fields["done"], fields["total"]
    shown = (form.format(fields[name]) for name, form in FIGURES.items() if name in fields)
    return "  ".join([f"{task} {done}/{total}" if total else f"{task} {done}", *shown])
