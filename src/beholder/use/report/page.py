"""The page: its parts in their order, each made and rendered apart, so that one that fails leaves the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from beholder.base import events
from beholder.use import summary
from beholder.use.report import audited, beyond, cost, figures, mistakes, record, sealed
from beholder.use.report.room import Room
from beholder.use.words import Words

Context = Mapping[str, Any]

PARTS: Mapping[str, Callable[[Room], Context | None]] = {
    "scores": figures.headline,
    "curves": figures.curves,
    "confusion": figures.confusion,
    "classes": figures.classes,
    "mistakes": mistakes.mistakes,
    "labels": audited.labels,
    "calibration": beyond.calibration,
    "abstention": beyond.abstention,
    "strangers": beyond.strangers,
    "corruptions": beyond.corruptions,
    "slices": beyond.slices,
    "sealed": sealed.sealed,
    "cost": cost.cost,
    "audit": audited.audit,
    "data": record.data,
    "others": beyond.others,
    "time": record.time,
    "made": record.made,
    "again": record.again,
}
"""Part → what its template parts/NAME.html is given; None leaves the part out."""

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
    environment = _environment(room.words)
    scores, evaluation = room.scores, room.evaluation
    said = summary.summary(scores, evaluation.sections, bad=len(evaluation.bad), unleaked=evaluation.unleaked, words=room.words)
    name, score = next(iter(scores.headline.items()))
    headline = {"name": room.words.named("score", name), "score": score} if scores.n else None
    return environment.get_template("page.html").render(
        title=record.title(room),
        style=Markup(_read("style.css")),
        script=Markup(_read("page.js")),
        headline=headline,
        findings=said.findings,
        weaknesses=said.weaknesses,
        advice=said.advice,
        parts=_parts(room, environment),
    )


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


@cache
def _environment(words: Words) -> Environment:
    loader = FunctionLoader(lambda name: _read(name if "/" in name or name == "page.html" else f"parts/{name}"))
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["t"] = words
    environment.filters.update(percent=words.percent, between=words.between, cut=cut)
    return environment


def cut(text: str, most: int = 60) -> str:
    """Return a text of at most `most` characters, its middle left out where it is longer."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 + 1 :]}"


def _read(name: str) -> str:
    return files("beholder.use.report").joinpath(name).read_text("utf-8")
