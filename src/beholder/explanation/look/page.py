"""The page of `look`: one HTML file that asks nobody for anything, with its style, its scripts and its numbers inside."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from beholder.base.bidi import isolated
from beholder.base.brief import cut
from beholder.base.names import readable

SCRIPTS = ("draw.js", "pixels.js", "convolution.js", "dense.js", "layers.js", "head.js", "step.js", "page.js")
"""In the order in which the page runs them."""

NAME = 80
"""Characters of a name, at most."""


def html(facts: Mapping[str, Any], blob: str) -> str:
    """Return the page as text. facts: plain values; blob: the arrays, as `Blob.text` gives them."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    facts = named(facts)
    return environment.from_string(read("page.html")).render(
        title=isolated(facts["picture"] or "picture"),
        net=isolated(facts["net"]["name"]),
        facts=facts,
        style=Markup(read("page.css")),
        script=Markup("".join(read(name) for name in SCRIPTS)),
        data=Markup(embedded({**facts, "pixels": {**facts["pixels"], "preview": None}})),  # it is the picture's own element
        blob=Markup(blob),
    )


def named(value: Any) -> Any:
    """Return plain values with every text as it can be written, and no longer than a page has room for."""
    if isinstance(value, str):
        return value if value.startswith("data:") else cut(readable(value), 300)
    if isinstance(value, Mapping):
        return {key: cut(readable(inner), NAME) if key == "name" else named(inner) for key, inner in value.items()}
    return [named(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def embedded(facts: Mapping[str, Any]) -> str:
    """Return values as JSON inside a script: no name in them can end it, and what is no number is null."""
    text = json.dumps(_finite(facts), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def read(name: str) -> str:
    """Return the template, the style or a script."""
    return files("beholder.explanation.look").joinpath(name).read_text("utf-8")
