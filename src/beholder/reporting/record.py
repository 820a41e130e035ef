"""The report's sections on data, time profile, configuration, and how to reproduce the run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beholder.reporting.context import ROWS, Room

ARRAYS = "arrays"
"""What a source in memory is called: it has no name of its own and cannot stand in a command."""


def title(room: Room) -> str:
    """Return what the report is about: the name of the source, or of the bundle where the source is in memory."""
    source, path = room.evaluation.source, room.bundle.path
    if source == ARRAYS:
        return path.stem if path else room.words("page.pictures")
    return Path(source).name or source


def data(room: Room) -> dict[str, Any]:
    """Return what was tested, the sizes of the parts, remarks, and pictures that could not be read."""
    evaluation = room.evaluation
    return {
        "n": room.scores.n,
        "source": evaluation.source,
        "seconds": evaluation.seconds,
        "sizes": room.config.parts,
        "notes": [room.words.said(note) for note in (*evaluation.notes, *room.scores.notes)],
        "bad": evaluation.bad[:ROWS],
        "bad_hidden": max(0, len(evaluation.bad) - ROWS),
    }


def time(room: Room) -> dict[str, Any] | None:
    """Return where the time of training went, where that was recorded."""
    profile = room.config.profile
    if not profile:
        return None
    return {"rate": _rate(room, profile), "seconds": profile["seconds"], "wall": profile["wall"]}


def _rate(room: Room, profile: Mapping[str, Any]) -> str:
    if "pictures_per_second" not in profile:
        return ""
    rate, words = f"{profile['pictures_per_second']:,.0f}", room.words
    said = words("time.rate", n=profile["pictures"], rate=rate)
    if "tflops" not in profile:
        return said
    peak, share = f"{profile['peak_tflops']:.3f}", words.percent(profile["share_of_peak"])
    flops = words("time.flops", flops=f"{profile['tflops']:.3f}", share=share, precision=profile["precision"], peak=peak)
    return said + words("form.space") + flops


def made(room: Room) -> dict[str, Any]:
    """Return what the bundle records of pixels, net and machine, what was decided and why, and the recipe."""
    words, config = room.words, room.config
    tables = [("pixels", config.pixels.json()), ("net", config.net.json()), ("machine", config.machine)]
    tables[2:2] = [("initial", asdict(config.initial_weights))] if config.initial_weights else []
    facts = [(words(f"made.{name}"), list(_flat(values))) for name, values in tables]
    return {"facts": facts, "decisions": config.notes, "recipe": room.bundle.recipe.toml()}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def reproduce(room: Room) -> dict[str, Any]:
    """Return the commands that make the same bundle and the same report."""
    source, path = room.evaluation.source, room.bundle.path
    name = shlex.quote(path.name if path else "MODEL.beholder")
    where = "SOURCE" if source == ARRAYS else shlex.quote(source)
    lang = "" if room.words.lang == "en" else f" --lang {room.words.lang}"
    return {
        "commands": [
            f"beholder train {where} --recipe {name}/recipe.toml --out AGAIN.beholder{lang}",
            f"beholder evaluate {name} {where} --report report.html{lang}",
        ]
    }
