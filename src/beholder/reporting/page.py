"""The page: its sections in order, each rendered on its own, so that one that fails leaves the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from beholder.base import events
from beholder.base.bidi import isolating
from beholder.evaluation import summary, verdict
from beholder.evaluation.words import Words
from beholder.reporting import audited, beyond, cost, figures, mistakes, record, reuse, search, tried
from beholder.reporting.context import Room

Context = Mapping[str, Any]

PARTS: Mapping[str, Callable[[Room], Context | None]] = {
    "scores": figures.headline,
    "tried": tried.tried,
    "search": search.search,
    "curves": figures.curves,
    "confusion": figures.confusion,
    "classes": figures.classes,
    "mistakes": mistakes.mistakes,
    "labels": audited.labels,
    "calibration": beyond.calibration,
    "selective": beyond.selective,
    "ood": beyond.ood,
    "corruptions": beyond.corruptions,
    "slices": beyond.slices,
    "reuse": reuse.reuse,
    "cost": cost.cost,
    "audit": audited.audit,
    "data": record.data,
    "others": beyond.others,
    "time": record.time,
    "made": record.made,
    "reproduce": record.reproduce,
}
"""Part → what its template parts/NAME.html is given; None leaves the part out."""

PAGES = ("page.html", "sheet.html", "growth.html", "kept.html", "generated.html", "detected.html")
"""Templates of whole pages: of a test; what the others share; of curves (`growth.py`, `kept.py`), a generator, a detector."""

ODD = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, TemplateError)
"""What goes wrong where a section holds other keys or values than its part expects."""


@dataclass(frozen=True)
class Part:
    """One section of the page, rendered."""

    name: str
    title: str
    html: Markup


def page(room: Room) -> str:
    """Return the report as HTML text."""
    environment = environment_of(room.words, isolating(room.scores.classes))
    scores, evaluation = room.scores, room.evaluation
    said = summary.summary(scores, evaluation.sections, bad=len(evaluation.bad), unleaked=evaluation.unleaked, words=room.words)
    name, score = next(iter(scores.headline.items()))
    headline = {"name": room.words.named("score", name), "score": score, "range": scores.ranges.get(name)} if scores.n else None
    return environment.get_template("page.html").render(
        title=record.title(room),
        style=Markup(read("style.css")),
        script=Markup(read("page.js")),
        headline=headline,
        findings=[*_ahead(room), *said.findings],
        weaknesses=said.weaknesses,
        advice=said.advice,
        parts=_parts(room, environment),
    )


def _ahead(room: Room) -> list[str]:
    """Return what is to be known before any figure: that the clock cut the run or the test, and that a floor was not beaten."""
    tested, words = room.evaluation, room.words
    said = (
        verdict.clock(room.config, words),
        verdict.sampled(len(tested.targets), tested.whole, words),
        verdict.unbeaten(room.config, words),
    )
    return [sentence for sentence in said if sentence]


def _parts(room: Room, environment: Environment) -> list[Part]:
    found = []
    for name, make in PARTS.items():
        try:
            context = make(room)
            if context is not None:
                title = room.words(f"{name}.title")
                html = environment.get_template(f"parts/{name}.html").render(title=title, **context)
                found.append(Part(name, title, Markup(html)))
        except ODD as error:
            events.warn(f"the report leaves out its part '{name}': {type(error).__name__}: {error}")
    return found


def environment_of(words: Words, isolate: Callable[[str], str]) -> Environment:
    """Return what renders templates; each value is escaped, and names in it turn nothing around them."""
    environment = Environment(
        loader=FunctionLoader(lambda name: read(name if "/" in name or name in PAGES else f"parts/{name}")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: isolate(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.globals["t"] = words
    environment.filters.update(percent=words.percent, figure=words.figure, between=words.between, cut=cut)
    return environment


def cut(text: str, most: int = 60) -> str:
    """Return a text of at most `most` characters, its middle left out where it is longer."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 + 1 :]}"


def read(name: str) -> str:
    """Return a template, a style or a script of this package."""
    return files("beholder.reporting").joinpath(name).read_text("utf-8")
