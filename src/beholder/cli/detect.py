"""What the commands do with a detector: boxes in place of labels."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from beholder.base import cells
from beholder.base.errors import DataError, UsageError
from beholder.base.files import check_writable
from beholder.cli.show import json_line, on_terminal, say, table

Threshold = Annotated[
    float | None,
    typer.Option(help="Detectors: the least score of a box, 0 to 1. Default: that of its class.", show_default=False),
]
MaxBoxes = Annotated[
    int | None, typer.Option(help="Detectors: boxes of a picture at most, up to 2,000.", min=1, max=2000, show_default=False)
]
Draw = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Detectors: write copies of the pictures with their boxes.", show_default=False),
]


def finds(model: Path) -> bool:
    """Return whether a bundle, or an exported file, finds boxes."""
    from beholder.bundle.format import finds_boxes

    if finds_boxes(model):
        return True
    if model.is_file():
        from beholder.runtime.finders import finds_boxes as exported

        return exported(model)
    return False


def unused(**options: object) -> None:
    """Raise `UsageError` (unused-option) for an option of detectors that was given for a model of labels."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        hint = "leave it out: the model tells labels"
        raise UsageError(f"{', '.join(given)} is for detectors", code="unused-option", hint=hint)


def each(paths: list[str]) -> Iterator[str]:
    """Yield what was named, and for - the lines of stdin."""
    for path in paths:
        if path == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield path


def predict_boxes(
    model: Path,
    paths: list[str],
    *,
    as_csv: bool,
    json: bool,
    threshold: float | None,
    most: int | None,
    draw: Path | None,
    engine: str,
    trust: bool,
    allow_download: bool,
) -> None:
    """Print what is found in pictures, a line each, and draw it where that is asked for."""
    from beholder.base import events
    from beholder.evaluation.drawing import Drawings
    from beholder.evaluation.predict_boxes import predict
    from beholder.runtime.finders import fastest_finder

    finder = fastest_finder(model, engine=engine, trust=trust, probe=not few(paths))
    events.note(f"engine: {finder.engine}")
    roots = [path for path in paths if Path(path).is_dir()]
    drawings = None if draw is None else Drawings(draw, roots=roots, classes=finder.classes)
    how: dict[str, Any] = {"threshold": threshold, "most": most, "draw": drawings, "allow_download": allow_download}
    lines = predict(finder, each(paths), **how)
    check_read(*_printed(lines, as_csv=as_csv, plain=json or not on_terminal()))


def few(paths: list[str]) -> bool:
    """Return whether so few pictures are named that trying engines on them does not pay."""
    return len(paths) <= 64 and not any(path == "-" or path.endswith("/") or Path(path).is_dir() for path in paths)


def check_read(read: int, bad: int) -> None:
    """Raise `DataError` (all-unreadable, no-pictures) where not one picture was read."""
    if bad and not read:
        raise DataError("not one picture could be read", code="all-unreadable", hint="see the error of each line above")
    if not read:
        hint = "name pictures, or folders that hold some"
        raise DataError("there is no picture in what was given", code="no-pictures", hint=hint)


def _printed(lines: Iterable[dict[str, Any]], *, as_csv: bool, plain: bool) -> tuple[int, int]:
    """Print lines as JSON, as CSV with a row a box, or as tables; return how many pictures were read, and how many not."""
    read = bad = 0
    if as_csv:
        say("path,label,p,left,top,right,bottom,error")
    for line in lines:
        error = line.get("error")
        read, bad = read + (error is None), bad + (error is not None)
        if as_csv:
            sys.stdout.write(_rows(line))
        elif plain:
            say(json_line(line))
        else:
            _person(line)
    return read, bad


def _rows(line: Mapping[str, Any]) -> str:
    error, boxes = line.get("error"), line.get("boxes", ())
    if error or not boxes:
        return cells.line([line["path"], *[""] * 6, error["code"] if error else ""])
    return "".join(cells.line([line["path"], box["label"], f"{box['p']:.4f}", *box["box"], ""]) for box in boxes)


def _person(line: Mapping[str, Any]) -> None:
    if error := line.get("error"):
        say(f"{line['path']}: {error['code']}: {error['message']}")
        return
    say(f"{line['path']}: {len(line['boxes']):,} boxes")
    rows = [
        {"label": box["label"], "p": round(box["p"], 3), "left, top, right, bottom": ", ".join(f"{v:.0f}" for v in box["box"])}
        for box in line["boxes"]
    ]
    table(rows)


def score_boxes(
    model: Path, source: str, *, part: str, report: Path | None, lang: str, allow_download: bool, json: bool
) -> None:
    """Print the scores of a detector on a source, and write its report where that is asked for."""
    from beholder.bundle.detector import Detector
    from beholder.evaluation.detected import evaluate

    if report is not None:
        check_writable(report, option="--report", file=True)
    detector = Detector.load(model)
    found = evaluate(detector, source, part=part, allow_download=allow_download)
    say(json_line(found.json()) if json else found)
    if report is not None:
        from beholder.reporting.detected import detected_report

        detected_report(detector, found, report, lang=lang)
