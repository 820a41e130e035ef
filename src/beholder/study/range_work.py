"""What a worker does: the pictures of one range through a model, or their facts, into one part."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.errors import UsageError
from beholder.base.files import write_atomic
from beholder.base.limits import LIMITS, allow
from beholder.base.names import Names
from beholder.base.records import Pictures, Store
from beholder.duplicates.facts import looked
from beholder.image.sandbox import decoders
from beholder.sources import scan
from beholder.sources.digest import CHUNK
from beholder.sources.folder import FolderStore
from beholder.sources.unlabelled import table
from beholder.study.columns import BOXES, FACTS_OF, LABELS, errors_of, of_facts, of_lines, written
from beholder.study.plan import PLAN, Plan, digest, keys_of, model_digest, versions

BATCH = 32
"""Pictures that go through the net at once, and after which a worker says how far it is."""

Columns = Generator[int, None, dict[str, Any]]
"""Yields how many pictures are through, and returns the columns of the part."""


@dataclass(frozen=True)
class _Job:
    """A plan, opened. model: a recogniser or a finder, None for facts; store: where the pictures are."""

    folder: Path
    plan: Plan
    store: Store
    model: Any


def work(folder: str, index: int, threads: int) -> Iterator[int]:
    """Compute range `index` of the plan in `folder` and write its part; yield how many of its pictures are through.

    threads: of the net and of decoding; 0: as many as they take by themselves. Raises `UsageError` (not-shared, other-version,
    other-model), `MachineError` where the part cannot be written.
    """
    try:
        text = (Path(folder) / PLAN).read_bytes()
    except OSError as error:
        hint = "the folder of the parts and the source have to be on a disk that all machines share, under the same path"
        raise UsageError(f"there is no plan in {folder} here", code="not-shared", hint=hint) from error
    job = _opened(folder, text, threads)
    yield 0
    pictures = table(job.store, Names.of(keys_of(job.folder, index)))
    start, _ = job.plan.within(index)
    about: dict[str, Any] = {"kind": job.plan.kind, "range": index, "of": job.plan.ranges, "digest": digest(pictures.keys)}
    if job.plan.kind == FACTS_OF:
        columns = yield from _facts(job, pictures, start, about, threads)
    else:
        columns = yield from _answers(job, pictures, start, about, threads)
    by = {"net": job.plan.net, "weights": job.plan.weights}
    about |= {**by, "engine": job.plan.engine, "classes": job.plan.classes}
    named = {"features": by, "probabilities": {"classes": json.dumps(job.plan.classes)}}
    write_atomic(job.folder / job.plan.name(index), written(columns, about, named=named), option="--parts")


@lru_cache(maxsize=1)
def _opened(folder: str, text: bytes, threads: int) -> _Job:
    """Return the plan of these bytes with its model and source. A process that carries out several ranges opens them once."""
    plan = Plan(**json.loads(text))
    if plan.asked["versions"] != versions():
        hint = "install the same versions on all machines"
        raise UsageError("this machine has other versions than the plan was made with", code="other-version", hint=hint)
    if plan.millions * 1_000_000 != LIMITS.pixels:
        allow(plan.millions)
    store: Store = FolderStore(Path(plan.root)) if plan.root else _scanned(plan).store
    return _Job(Path(folder), plan, store, None if plan.kind == FACTS_OF else _model(plan, threads))


def _scanned(plan: Plan) -> Pictures:
    return scan(plan.source, labels=plan.labels, allow_download=plan.allow_download)


def _model(plan: Plan, threads: int) -> Any:
    path = Path(plan.model)
    if model_digest(path) != plan.asked["model"]:
        text = f"the model at {path} is not the one that the plan was made with"
        raise UsageError(text, code="other-model", hint="run again with that one, or give another folder for the parts")
    if plan.kind == BOXES:
        from beholder.runtime.finders import fastest_finder

        return fastest_finder(path, engine=plan.engine, trust=plan.trust, threads=threads).ready()
    from beholder.runtime.engines import fastest

    return fastest(path, engine=plan.engine, trust=plan.trust, threads=threads).ready()


def _answers(job: _Job, pictures: Pictures, start: int, about: dict[str, Any], threads: int) -> Columns:
    lines: list[dict[str, Any]] = []
    with closing(_lines(job, pictures, threads)) as each:  # type: ignore[type-var]
        for line in each:
            lines.append({**line, "path": job.plan.prefix + line["path"]})
            if len(lines) % BATCH == 0:
                yield len(lines)
    about |= {"pictures": len(lines), "errors": errors_of(lines)}
    classes = len(job.plan.classes) if job.plan.kind == LABELS else 0
    return of_lines(lines, start, classes=classes, features=job.plan.features)


def _lines(job: _Job, pictures: Pictures, threads: int) -> Iterator[dict[str, Any]]:
    workers = max(2, threads) if threads else 0
    if job.plan.kind == BOXES:
        from beholder.evaluation.predict_boxes import predict as on_boxes

        asked = {"threshold": job.plan.asked["threshold"], "most": job.plan.asked["most"]}
        return on_boxes(job.model, pictures, workers=workers, **asked)
    from beholder.evaluation.predict import predict

    return predict(job.model, pictures, batch=BATCH, workers=workers, features=bool(job.plan.features))


def _facts(job: _Job, pictures: Pictures, start: int, about: dict[str, Any], threads: int) -> Columns:
    chunks = [range(at, min(at + CHUNK, len(pictures))) for at in range(0, len(pictures), CHUNK)]
    found, done = [], 0
    with decoders(threads) as (pool, _):
        for rows in pool.map(lambda chunk: looked(pictures, chunk), chunks):
            found.append(rows)
            done += len(rows)
            yield done
    rows = np.concatenate(found)
    codes, counts = np.unique(rows["error"], return_counts=True)
    errors = {code.decode(): int(n) for code, n in zip(codes.tolist(), counts, strict=True) if code}
    about |= {"pictures": len(rows), "errors": errors}
    return of_facts(rows, [job.plan.prefix + key for key in pictures.keys], start)
