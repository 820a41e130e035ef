"""Write docs/REFERENCE.md: every name of `beholder.__all__`, and of `OWN`, with its signature and docstring.

Run by `make docs`; tests/test_reference.py compares.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

import beholder  # noqa: E402

PAGE = ROOT / "docs" / "REFERENCE.md"
WIDTH = 100
ARGUMENT = re.compile(r"((?:[a-z]\w*, +)*[a-z]\w*): +")
"""The beginning of a line of a docstring that tells of arguments."""

HEAD = """\
# Reference

Every public name of `import beholder`, as its docstring describes it, and below them what
[a loop and a task of your own](#for-a-loop-and-a-task-of-your-own) are built of. What is not here is internal and may change.
The command line is in [CLI.md](CLI.md); the fields of a recipe, which `beholder.train` takes by name, are in
[RECIPES.md](RECIPES.md).

This page is made by `make docs`.
"""


OWN = (
    *("data.survey:survey", "data.survey:choose_policy", "data.cache:cached", "data.loader:Batches", "data.loader:statistics"),
    *("data.augment:preset", "data.augment:augment", "data.augment:mix", "machine.draws:Draws", "learn.alone:fit"),
    *(
        "tasks.task:alone",
        "tasks.errors:by_error",
        "tasks.single:balance",
        "measure.families:through",
        "measure.intervals:wilson",
    ),
)
"""What stands in no `__all__` and is used by the pages and examples for those who write a loop or a task of their own."""

OWN_HEAD = """\
## For a loop and a task of your own

What [PYTORCH.md](PYTORCH.md), the how-to guides and [angle.py](../examples/angle.py) are built of. These names stay as the
others above do. The task of one label a picture is `beholder.tasks.single.SINGLE`, and its family of outputs
`beholder.measure.families.CATEGORICAL`; `dataclasses.replace` makes others of them.
"""


def page() -> str:
    """Return the whole page."""
    names = [name for name in beholder.__all__ if not name.startswith("_")]
    found = {name: getattr(beholder, name) for name in names}
    errors = [name for name in names if isinstance(found[name], type) and issubclass(found[name], BaseException)]
    classes = [name for name in names if isinstance(found[name], type) and name not in errors]
    functions = [name for name in names if name not in (*errors, *classes)]
    parts = [HEAD]
    for title, some in (("Functions", functions), ("Classes", classes), ("Errors", errors)):
        parts += [f"## {title}\n", " · ".join(f"[{name}](#beholder{name.lower()})" for name in some) + "\n"]
        parts += [entry(name, found[name]) for name in some]
    parts.append(OWN_HEAD)
    for target in OWN:
        module, _, name = target.partition(":")
        parts.append(entry(f"{module}.{name}", getattr(import_module(f"beholder.{module}"), name)))
    return "\n".join(parts)


def entry(name: str, value: Any) -> str:
    """Return what is said of one public name."""
    parts = [f"### beholder.{name}\n"]
    if isinstance(value, type) and issubclass(value, BaseException):
        bases = [base.__name__ for base in value.__bases__ if base.__name__ in beholder.__all__]
        parts += [*(f"A kind of [{base}](#beholder{base.lower()}).\n" for base in bases), words(value)]
        return "\n".join(parts)
    if callable(value):
        parts += [code(f"beholder.{name}", value)]
    parts += [words(value), f"In {_file(value)}.\n"]
    if isinstance(value, type):
        kind = name.rpartition(".")[2]
        parts += [f"**`{kind}.{member}`**{_kind(item)}\n\n" + _member(kind, member, item) for member, item in members(value)]
    return "\n".join(parts)


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that beholder gives a class, inherited ones too, if they have a docstring."""
    seen: dict[str, Any] = {}
    for owner in reversed(kind.__mro__):
        if owner.__module__.split(".")[0] == "beholder":
            seen |= vars(owner)
    for name, item in seen.items():
        called = isinstance(item, property | classmethod | staticmethod) or inspect.isfunction(item)
        if called and (name == "__call__" or not name.startswith("_")) and inspect.getdoc(_bare(item)):
            yield name, item


def _bare(item: Any) -> Any:
    return item.fget if isinstance(item, property) else getattr(item, "__func__", item)


def _kind(item: Any) -> str:
    return " (property)" if isinstance(item, property) else ""


def _member(owner: str, name: str, item: Any) -> str:
    if isinstance(item, property):
        return words(_bare(item))
    called = owner.lower() if name == "__call__" else f"{owner.lower()}.{name}"
    return code(called, _bare(item)) + "\n" + words(_bare(item))


def code(name: str, value: Any) -> str:
    """Return a call of `value` with all its parameters, as a block; "" where it has no signature."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    given = [*_parameters([p for p in signature.parameters.values() if p.name not in ("self", "cls")])]
    back = (
        ""
        if signature.return_annotation in (signature.empty, "None", None)
        else f" -> {_annotation(signature.return_annotation)}"
    )
    line = f"{name}({', '.join(given)}){back}"
    if len(line) > WIDTH:
        line = f"{name}(\n" + "".join(f"    {one},\n" for one in given) + f"){back}"
    return f"```py\n{line}\n```\n"


def _parameters(parameters: list[inspect.Parameter]) -> Iterator[str]:
    starred = False
    for p in parameters:
        starred |= p.kind is p.VAR_POSITIONAL
        if p.kind is p.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        kind = "" if p.annotation is p.empty else f": {_annotation(p.annotation)}"
        gap = " = " if kind else "="
        yield f"{stars}{p.name}{kind}" + ("" if p.default is p.empty else gap + _default(p.default))


def _annotation(value: Any) -> str:
    return value if isinstance(value, str) else inspect.formatannotation(value)


def _default(value: Any) -> str:
    shown = repr(value)
    return "…" if " at 0x" in shown or "<" in shown or len(shown) > 40 else shown


def words(value: Any) -> str:
    """Return a docstring as Markdown: prose in paragraphs, a list of what it says of each argument, examples as blocks."""
    paragraphs = (inspect.getdoc(value) or "").split("\n\n")
    return "\n".join(f"{_paragraph(text)}\n" for text in paragraphs if text.strip())


def _paragraph(text: str) -> str:
    lines = text.strip("\n").splitlines()
    if lines[0].startswith(">>>") or all(line.startswith("    ") for line in lines):
        return f"```{'pycon' if lines[0].startswith('>>>') else 'text'}\n{text}\n```"
    items: list[str] = []
    for line in lines:
        if found := ARGUMENT.match(line):
            names = ", ".join(f"`{name.strip()}`" for name in found[1].split(","))
            items.append(f"- {names}: {_escaped(line[found.end() :].strip())}")
        elif not items or line.startswith(("Raises ", "Source: ", "Source (")):
            items.append(_escaped(line))
        else:
            items[-1] += " " + _escaped(line.strip())
    made = items[0]
    for before, item in pairwise(items):
        made += ("\n" if before.startswith("- ") and item.startswith("- ") else "\n\n") + item
    return made


def _escaped(text: str) -> str:
    parts = text.split("`")
    return "`".join(part if number % 2 else re.sub(r"([*_<>|\[\]$])", r"\\\1", part) for number, part in enumerate(parts))


def _file(value: Any) -> str:
    path = Path(inspect.getsourcefile(inspect.unwrap(value)) or "").resolve().relative_to(ROOT).as_posix()
    return f"[`{path.removeprefix('src/beholder/')}`](../{path})"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
