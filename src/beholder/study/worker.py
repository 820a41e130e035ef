"""A process that carries out slices: what it works on lies in a folder; jobs come in as lines of JSON, results go out."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from beholder.base import events
from beholder.base.errors import BeholderError, UsageError
from beholder.base.files import write_atomic
from beholder.base.recipe import from_toml
from beholder.base.records import Parts, Pictures
from beholder.learn.followed import identity
from beholder.machine.workers import end_without
from beholder.sources import scan
from beholder.sources.objects import is_object
from beholder.study.search import Job, Slice
from beholder.study.trial import Field, Limits, advanced

Source = str | Path | tuple[Any, Any] | Pictures


def written(field: Field, source: Source, *, net: str = "auto", task: str = "single", allow_download: bool = False) -> None:
    """Write what slices are tried on into its folder, for processes that read the source anew.

    net, task: of the recipe; where they are a person's own, their files have to be the same everywhere
    allow_download: whether whoever leads may fetch the source, and with that the others
    Raises `UsageError` (in-memory) for a source that has no place, and what `scan` raises.
    """
    field.folder.mkdir(parents=True, exist_ok=True)
    if isinstance(source, tuple):
        np.savez(field.folder / "source.npz", x=np.asarray(source[0]), y=np.asarray(source[1]))
        source = field.folder / "source.npz"
    name = source.store.name if isinstance(source, Pictures) else str(source)
    parts = (field.parts.train, field.parts.valid)
    placed = not isinstance(source, Pictures) or Path(name).exists() or is_object(name)
    found = scan(name, allow_download=allow_download) if placed else None
    if found is None or not {key for part in parts for key in part.keys} <= set(found.keys):
        hint = "give the path of a source, or leave workers at 1"
        raise UsageError("several workers cannot read pictures in memory", code="in-memory", hint=hint)
    arrays: dict[str, Any] = {}
    for part, pictures in zip(("train", "valid"), parts, strict=True):
        assert pictures.digests is not None
        arrays |= {f"{part}_targets": pictures.targets, f"{part}_groups": pictures.groups, f"{part}_digests": pictures.digests}
    np.savez(field.folder / "parts.npz", **arrays)
    said = {
        "source": str(Path(name).resolve()) if Path(name).exists() else name,
        "classes": list(field.parts.train.classes),
        "bits": field.parts.train.bits,
        "keys": [list(part.keys) for part in parts],
        **{"limits": asdict(field.limits), "seconds": field.seconds, "flips": field.flips},
        **{"net": net, "task": task, "alike": identity(net, task), "allow_download": allow_download},
    }
    write_atomic(field.folder / "field.json", json.dumps(said).encode())


def read(folder: Path) -> Field:
    """Return what `written` was given; its test part is empty.

    Raises `UsageError` (other-version) where versions or sources are not those of whoever wrote it, and what `scan` raises.
    """
    said = json.loads((folder / "field.json").read_text("utf-8"))
    own, wanted = identity(said["net"], said["task"]), said["alike"]
    if other := [f"{name} is {own.get(name)}, not {value}" for name, value in wanted.items() if own.get(name) != value]:
        hint = "install the same versions of beholder and torch on every machine"
        raise UsageError(f"{platform.node()} cannot take part: {'; '.join(other)}", code="other-version", hint=hint)
    whole = scan(said["source"], allow_download=said["allow_download"])
    row_of = {key: row for row, key in enumerate(whole.keys)}
    with np.load(folder / "parts.npz", allow_pickle=False) as arrays:
        train, valid = (_part(whole, row_of, said, arrays, at) for at in (0, 1))
    parts = Parts(train, valid, train.take(np.zeros(0, np.int64)))
    return Field(parts, folder, Limits(**said["limits"]), said["seconds"], said["flips"])


def _part(whole: Pictures, row_of: Mapping[str, int], said: Mapping[str, Any], arrays: Any, at: int) -> Pictures:
    """Return a part with the labels, groups and digests that it had."""
    name = ("train", "valid")[at]
    rows = np.array([row_of[key] for key in said["keys"][at]], np.int64)
    own = {field: arrays[f"{name}_{field}"] for field in ("targets", "groups", "digests")}
    return replace(whole.take(rows), classes=tuple(said["classes"]), bits=said["bits"], **own)


def work(folder: Path, *, threads: int, memory: int, jobs: TextIO, results: TextIO) -> None:
    """Carry out jobs, one a line of `jobs`, and write what came of each, one a line of `results`, until there are no more.

    The first line of `results` says that it is ready, {}, or what keeps it from that.

    threads: to compute with; memory: MiB of decoded pixels, where the recipe leaves that open
    """
    torch.set_num_threads(threads)
    with events.listen(alone=True):
        try:
            field = read(folder)
        except BeholderError as error:
            told = {"message": error.message, "code": error.code, "hint": error.hint}
            _say(results, {"error": {"kind": type(error).__name__, **told}})
            return
        _say(results, {})
        for line in jobs:
            _say(results, asdict(shared(field, Job(**json.loads(line)), threads, memory)))


def shared(field: Field, job: Job, threads: int, memory: int) -> Slice:
    """Return what a job gave with this process's share of the machine, of which its recipe then says nothing."""
    asked = from_toml(job.recipe, done=True)
    here = asked.set(memory=asked.data.memory or memory, workers=asked.data.workers or threads)
    found = advanced(field, replace(job, recipe=here.toml()))
    if "recipe" not in found.facts:
        return found
    made = from_toml(found.facts["recipe"], done=True).set(memory=asked.data.memory, workers=asked.data.workers)
    return replace(found, facts={**found.facts, "recipe": made.toml()})


def main() -> None:
    """Work as the command line says: folder, threads, memory and the number of the process that asked."""
    folder, threads, memory, parent = sys.argv[1:5]
    end_without(int(parent))
    results, sys.stdout = sys.stdout, sys.stderr
    work(Path(folder), threads=int(threads), memory=int(memory), jobs=sys.stdin, results=results)


def _say(results: TextIO, said: Mapping[str, Any]) -> None:
    results.write(json.dumps(said) + "\n")
    results.flush()
