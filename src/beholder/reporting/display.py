"""How the nouns show themselves in a notebook: each as blocks (`reporting/blocks.py`), rendered to HTML without scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from beholder.base.arrays import I64, Values
from beholder.base.brief import cut, listed
from beholder.base.records import Detections, Parts, Pictures, Prediction, Score
from beholder.bundle.given import one
from beholder.reporting import blocks as b

if TYPE_CHECKING:
    from beholder.bundle.recogniser import Recogniser
    from beholder.evaluation.evaluate import Evaluation
    from beholder.quality.audit import Findings

PICTURES, CLASSES, PROBABILITIES, FEW, ROWS = 12, 12, 5, 8, 24
"""At most so many pictures of a set, bars of classes, bars of a prediction, mistakes, suspects or other values of a list, and
predictions of one."""


def html(value: Any) -> str | None:
    """Return a value as HTML; None for what has no such form, or where making it fails: a notebook then shows its repr."""
    try:
        with b.bounded():
            made = list(blocks(value))
        return b.rendered(made) if made else None
    except Exception:  # noqa: BLE001  (a notebook would show a traceback of what is only a decoration)
        return None


def blocks(value: Any) -> Iterator[b.Block]:
    """Yield what a value shows; nothing for what has no such form."""
    for kind in type(value).__mro__:
        if kind.__module__.startswith("beholder.") and kind.__name__ in MAKERS:
            yield from MAKERS[kind.__name__](value)
            return
    if isinstance(value, (list, tuple)):
        yield from _several(value)
    elif hasattr(value, "bundle") and hasattr(value, "evaluation"):  # what `steps` returns, which lies above
        yield from blocks(value.evaluation)
        yield from blocks(value.bundle)


def _many(n: int) -> str:
    return "1 picture" if n == 1 else f"{n:,} pictures"


def _several(values: Sequence[Any]) -> Iterator[b.Block]:
    """Yield predictions beside each other, and other values one after another."""
    kinds = {type(value) for value in values}
    if kinds and kinds <= {Prediction, Detections}:
        most = ROWS
        made = [b.title(_many(len(values))), b.grid(_answered(value) for value in values[:most])]
    else:
        most = FEW
        made = [block for value in values[:most] for block in blocks(value)]
    yield from made
    if made and len(values) > most:
        yield b.lines([f"and {len(values) - most:,} more"])


# --- pictures --------------------------------------------------------------------------------------------------------


def _pictures(pictures: Pictures) -> Iterator[b.Block]:
    kinds = f" of {len(pictures.classes):,} classes" if pictures.labelled else " without labels"
    yield b.title(_many(len(pictures)) + kinds, cut(pictures.store.name, 200))
    yield b.grid(of_set(pictures, int(row)) for row in spread(pictures, PICTURES))
    if pictures.labelled:
        yield from _counts(pictures)
    if pictures.notes:
        yield b.lines(pictures.notes[:FEW])


def of_set(pictures: Pictures, row: int, captions: Sequence[str] | None = None) -> dict[str, Any]:
    """Return one picture of a set, by default with its label under it, and its boxes."""
    key = pictures.keys[row]
    said = [", ".join(pictures.labels(row)) or "no label"] if pictures.labelled else [key.rpartition("/")[2]]
    boxes = []
    if pictures.boxes is not None:
        drawn = pictures.boxes[row]
        names = [pictures.classes[int(k)] for k in drawn.classes]
        boxes = [((c[0], c[1], c[2], c[3]), name) for c, name in zip(drawn.corners.tolist(), names, strict=True)]
    shown = said if captions is None else captions
    return b.picture(key, lambda: pictures.store.read(key), shown, boxes=boxes, bits=pictures.bits or 0)


def spread(pictures: Pictures, most: int) -> I64:
    """Return which rows to show, int64 (≤ most,): the classes in turn, from all over each; else from all over the set."""
    n, k = len(pictures), len(pictures.classes)
    if not pictures.labelled or pictures.multi or n <= most:
        return np.unique(np.linspace(0, max(0, n - 1), min(n, most)).astype(np.int64))
    known = np.flatnonzero(pictures.counts())
    wanted = known if len(known) <= most else known[np.linspace(0, len(known) - 1, most).astype(int)]
    each = max(1, most // max(1, len(wanted), min(k, most)))
    found: list[I64] = []
    for name in wanted.tolist():
        rows = np.flatnonzero(pictures.targets == name)
        found.append(rows[np.unique(np.linspace(0, len(rows) - 1, min(each, len(rows))).astype(int))])
    return np.concatenate(found)[:most]


def _counts(pictures: Pictures) -> Iterator[b.Block]:
    """Yield bars of how many pictures each class has, the largest first."""
    counts = pictures.counts()
    order = np.argsort(-counts, kind="stable")[:CLASSES].tolist()
    top = max(1, int(counts.max(initial=1)))
    yield b.bars(b.share(cut(pictures.classes[k]), counts[k] / top, f"{counts[k]:,}") for k in order)
    if (rest := len(counts) - len(order)) > 0:
        yield b.lines([f"and {rest:,} more classes, of {int(counts.min()):,} to {int(counts[order[-1]]):,} pictures"])


def _parts(parts: Parts) -> Iterator[b.Block]:
    sizes = [(name, len(part)) for name, part in parts.items()]
    whole = max(1, sum(n for _, n in sizes))
    yield b.title(f"{_many(whole)} in three parts", f"{len(parts.train.classes):,} classes: {listed(parts.train.classes)}")
    yield b.bars(b.share(name, n / whole, f"{n:,} ({n / whole:.0%})") for name, n in sizes)
    kinds = parts.train.classes[: 2 * CLASSES]
    each = [part.counts().tolist() if part.classes == parts.train.classes else [] for _, part in parts.items()]
    rows = [(cut(name), *(f"{of[k]:,}" if of else "" for of in each)) for k, name in enumerate(kinds)]
    yield b.table(["class", *(name for name, _ in sizes)], rows)


def _findings(findings: Findings) -> Iterator[b.Block]:
    found = f"{len(findings):,} findings" if len(findings) != 1 else "1 finding"
    yield b.title(f"{found} in {_many(len(findings.pictures))}", cut(findings.pictures.store.name, 200))
    names = ("check", "found", "drop", "relabel", "review", "meaning")
    rows = [[row[name] or "" for name in names] for row in findings.summary() if row["found"]]
    if rows:
        yield b.table(names, rows)
    index = {key: row for row, key in enumerate(findings.pictures.keys)} if findings.rows else {}
    suspects = [row for row in findings.rows if row.picture in index and not row.box]
    first = {row.picture: row for row in reversed(_in_turn(suspects))}
    shown = list(reversed(first.values()))[:FEW]
    if shown:
        yield b.grid(
            of_set(findings.pictures, index[row.picture], (row.check, row.suggestion, row.picture.rpartition("/")[2]))
            for row in shown
        )
    if findings.notes:
        yield b.lines(findings.notes[:FEW])


def _in_turn(rows: Sequence[Any]) -> list[Any]:
    """Return findings so that each check has one before any has its second."""
    turn: Counter[str] = Counter()
    ranked = []
    for place, row in enumerate(rows):
        ranked.append((turn[row.check], place, row))
        turn[row.check] += 1
    return [row for _, _, row in sorted(ranked, key=lambda each: each[:2])]


# --- answers ---------------------------------------------------------------------------------------------------------


def _score(score: Score) -> Iterator[b.Block]:
    ends = (0.0, 1.0) if 0 <= score.low <= score.high <= 1 else None
    yield b.bars([b.interval("", score, ends=ends)]) if ends else b.lines([str(score)])


def _read(answer: Prediction | Detections) -> Callable[[], bytes | Values | None]:
    """Return what reads the picture of an answer; nothing is fetched for it."""

    def read() -> bytes | Values | None:
        given = answer.picture
        return None if given is None or hasattr(given, "read") else one(given, say=lambda _: None)

    return read


def _name(answer: Prediction | Detections) -> str:
    given = answer.picture
    return str(given) if isinstance(given, str) or hasattr(given, "__fspath__") else "picture"


def _prediction(answer: Prediction) -> Iterator[b.Block]:
    marks = ((answer.abstain, "abstains"), (answer.positive, "positive"), (answer.ood, "out of distribution"))
    said = [text for told, text in marks if told]
    under = [f"one of {listed(answer.set)}"] if answer.set else []
    yield b.title(answer.label or "none of the classes", ", ".join([f"p = {answer.p:.3f}", *said, *under]))
    named = set((answer.label or "").split(";")) | {answer.label}
    likely = sorted(answer.probabilities.items(), key=lambda item: -item[1])
    bars = b.bars(b.share(cut(name), p, f"{p:.3f}", strong=name in named) for name, p in likely[:PROBABILITIES])
    rest = len(likely) - PROBABILITIES
    yield b.beside(
        b.grid([b.picture(_name(answer), _read(answer), side=160)]),
        bars,
        b.lines([f"and {rest:,} less likely"] if rest > 0 else []),
    )


def _detections(found: Detections) -> Iterator[b.Block]:
    kinds = Counter(box.label for box in found.boxes)
    yield b.title(f"{len(found):,} found", f"in {found.width} × {found.height} pixels")
    boxes = [(box.box, f"{box.label} {box.p:.2f}") for box in found.boxes]
    rows = [(box.label, f"{box.p:.3f}", ", ".join(f"{v:.0f}" for v in box.box)) for box in found.boxes[:CLASSES]]
    yield b.beside(
        b.grid([b.picture(_name(found), _read(found), boxes=boxes, side=320)]),
        b.table(("class", "found"), [(name, f"{n:,}") for name, n in kinds.most_common(CLASSES)]),
        b.table(("label", "p", "left, top, right, bottom"), rows),
    )


def _answered(answer: Prediction | Detections) -> dict[str, Any]:
    name = _name(answer)
    last = [name.replace("\\", "/").rpartition("/")[2]] if name != "picture" else []
    if isinstance(answer, Prediction):
        return b.picture(name, _read(answer), [answer.label or "none", f"p = {answer.p:.3f}", *last])
    boxes = [(box.box, f"{box.label} {box.p:.2f}") for box in answer.boxes]
    return b.picture(name, _read(answer), [f"{len(answer):,} found", *last], boxes=boxes)


# --- models ----------------------------------------------------------------------------------------------------------


def _model(model: Recogniser) -> Iterator[b.Block]:
    config = model.config
    yield b.title(f"{'Labels' if model.task.several else 'Classifier'} by {config.net.name}", _place(model))
    yield from _scored(getattr(model, "scores", {}) or {})
    objective = "" if config.valid_score is None else f"{config.valid_score:.4f} ({config.objective})"
    yield b.facts([*_common(model, config.classes), ("validation score", objective), ("clock", config.clock)])


def _detector(model: Any) -> Iterator[b.Block]:
    yield b.title(f"Detector on {model.config.net.backbone}", _place(model))
    yield from _scored(getattr(model, "scores", {}) or {})
    yield b.facts(_common(model, model.classes))


def _generator(model: Any) -> Iterator[b.Block]:
    yield b.title(f"Generator ({model.config.shape.kind})", _place(model))
    yield b.facts(_common(model, model.classes))
    yield b.lines([str(said) for said in model.scores.get("said", ())][:FEW])


def _place(model: Any) -> str:
    path = getattr(model, "path", None)
    return "not saved yet" if path is None and hasattr(model, "save") else str(path or "")


def _common(model: Any, classes: Sequence[str]) -> list[tuple[str, object]]:
    config = model.config
    pixels, initial = config.pixels, getattr(config, "initial_weights", None)
    parameters = getattr(config, "parameters", 0)
    return [
        ("classes", f"{len(classes):,}: {listed(classes, most=FEW)}"),
        ("pictures", ", ".join(f"{name} {n:,}" for name, n in config.parts.items())),
        ("input", f"{pixels.width} × {pixels.height} pixels, {pixels.channels} channel{'s' * (pixels.channels != 1)}"),
        ("parameters", f"{parameters:,}" if parameters else ""),
        ("initial weights", str(initial) if initial else ""),
        ("runs on", getattr(model, "engine", "")),
    ]


def _scored(said: Mapping[str, Any]) -> Iterator[b.Block]:
    """Yield the test scores that a bundle carries."""
    kept = said.get("scores", {})
    values = {name: {k: np.nan if v is None else v for k, v in of.items()} for name, of in kept.items()}
    found = {name: Score(of["value"], of["low"], of["high"], int(of["n"])) for name, of in values.items()}
    if found:
        yield from _headline(found)
    else:
        yield b.lines(["not tested"])


def _headline(found: Mapping[str, Score]) -> Iterator[b.Block]:
    """Yield scores: those in 0..1 with their intervals drawn."""
    drawn = {name: score for name, score in found.items() if 0 <= score.low <= score.high <= 1}
    yield b.bars(b.interval(name.replace("_", " "), score) for name, score in drawn.items())
    rest = {name: score for name, score in found.items() if name not in drawn}
    yield b.facts((name.replace("_", " "), str(score)) for name, score in rest.items())


# --- tests -----------------------------------------------------------------------------------------------------------


def _evaluation(found: Evaluation) -> Iterator[b.Block]:
    yield b.title(f"Tested on {_many(found.scores.n)}", cut(found.source, 200))
    yield from _headline(found.scores.headline)
    yield from _weakest(found.scores.classes)
    if found.targets.ndim == 1 and found.pixels is not None:
        wrong = _wrong(found)
        if wrong:
            yield b.head("most confident errors")
            yield b.grid(wrong)
    if found.notes:
        yield b.lines(found.notes[:FEW])


def _weakest(classes: Mapping[str, Mapping[str, Score]]) -> Iterator[b.Block]:
    """Yield the recall of the classes with the lowest."""
    known = {name: of["recall"] for name, of in classes.items() if "recall" in of and of["recall"].value == of["recall"].value}
    if len(known) > 1:
        yield b.head("recall of the classes, the weakest first")
        weakest = sorted(known, key=lambda name: known[name].value)[:CLASSES]
        yield b.bars(b.interval(cut(name), known[name]) for name in weakest)


def _wrong(found: Evaluation) -> list[dict[str, Any]]:
    said, names = found.probabilities.argmax(axis=1), list(found.scores.classes)
    sure = found.probabilities.max(axis=1)
    rows = np.flatnonzero(said != found.targets)
    rows = rows[np.argsort(-sure[rows], kind="stable")][:FEW]
    shown = []
    for row in rows.tolist():
        told = (f"{names[int(said[row])]} ({sure[row]:.2f})", f"is {names[int(found.targets[row])]}")

        def read(row: int = row) -> Values:
            return np.ascontiguousarray(found.thumbnail(row).transpose(1, 2, 0))

        shown.append(b.picture(found.keys[row], read, told))
    return shown


def _detected(found: Any) -> Iterator[b.Block]:
    yield b.title(f"Tested on {_many(found.scores.n)}", cut(found.source, 200))
    yield from _headline(found.scores.headline)
    yield b.lines([*found.findings, *found.notes][:FEW])


MAKERS: Mapping[str, Callable[[Any], Iterator[b.Block]]] = {
    "Pictures": _pictures,
    "Parts": _parts,
    "Findings": _findings,
    "Score": _score,
    "Prediction": _prediction,
    "Detections": _detections,
    "Recogniser": _model,
    "Finder": _detector,
    "Generator": _generator,
    "Evaluation": _evaluation,
    "DetectionEvaluation": _detected,
}
"""Class of Beholder → what yields its blocks: by name, for most of them are defined beside torch."""
