"""The command `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from beholder.base.errors import UsageError
from beholder.base.files import check_writable
from beholder.cli.detect import score_boxes
from beholder.cli.generate import worth_of
from beholder.cli.options import AllowDownload, Cache, Json, Lang, Log, Model, Ood, Part, ReportLang, Source, Trust
from beholder.cli.show import json_line, say


def evaluate(
    model: Model,
    source: Source,
    *,
    part: Annotated[Part, typer.Option(help="Which pictures of the source.")] = Part.TEST,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report here.", show_default=False)] = None,
    sections: Annotated[
        str, typer.Option(help="What to look into beyond the scores: none, usual, all, or names with commas between.")
    ] = "usual",
    lang: ReportLang = Lang.EN,
    ood: Ood = None,
    trust: Trust = False,
    log: Log = None,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Score a bundle on SOURCE, each figure with its interval and n."""
    from beholder.bundle.format import finds_boxes, makes_pictures

    if makes_pictures(model):
        if report or ood or sections != "usual" or part is not Part.TEST:
            hint = f"leave them out: the whole source is looked at, and the report is {model / 'report.html'}"
            what = "--report, --part, --sections and --ood are for models that recognise"
            raise UsageError(what, code="unused-option", hint=hint)
        worth_of(model, source, allow_download=allow_download, json=json)
        return
    if finds_boxes(model):
        if ood or sections != "usual":
            hint = "leave them out: a detector has no such sections"
            raise UsageError("--sections and --ood are for models of labels", code="unused-option", hint=hint)
        score_boxes(model, source, part=part.value, report=report, lang=lang.value, allow_download=allow_download, json=json)
        return
    how: dict[str, Any] = {"part": part.value, "report": report, "lang": lang.value}
    score_labels(model, source, sections=sections, ood=ood or [], trust=trust, download=allow_download, json=json, **how)


def score_labels(
    model: Path,
    source: str,
    *,
    part: str,
    report: Path | None,
    lang: str,
    sections: str,
    ood: list[str],
    trust: bool,
    download: bool,
    json: bool,
) -> None:
    """Print the scores of a model of labels on a source, and write its report where that is asked for."""
    from beholder.bundle.bundle import load
    from beholder.evaluation.evaluate import evaluate
    from beholder.evaluation.sections import chosen, examined
    from beholder.sources import scan

    names = chosen(sections)
    for other in ood:
        if not Path(other).exists():  # said before the test is read, not after it
            scan(other, labels=None, allow_download=download)
    if report is not None:
        check_writable(report, option="--report", file=True)
    bundle = load(model, trust=trust)
    evaluation = evaluate(bundle, source, part=part, allow_download=download)
    evaluation = examined(bundle, evaluation, names, ood=ood, allow_download=download)
    say(json_line(evaluation.json()) if json else evaluation)
    if report is not None:
        from beholder.reporting import report as write_report

        write_report(bundle, evaluation, report, lang=lang)
