"""Write what the documents quote from the source: the option tables of CLI.md, the ladder and tree of ARCHITECTURE.md.

Run by `make docs`; tests/test_docs.py compares.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from beholder.cli.commands import app

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.test_architecture import LEVEL, LEVELS, MODULES, inside, target  # noqa: E402
from tests.test_architecture import room as room_of  # noqa: E402

PAGE = ROOT / "docs" / "CLI.md"
HOUSE = ROOT / "docs" / "ARCHITECTURE.md"
TREE = re.compile(r"(<!-- tree -->\n).*?(<!-- end -->)", re.DOTALL)
LADDER = re.compile(r"(<!-- ladder -->\n).*?(<!-- end -->)", re.DOTALL)
BLOCK = re.compile(r"(<!-- options: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def commands() -> dict[str, Any]:
    """Return the commands by name, as typer built them."""
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def table(name: str) -> str:
    """Return the Markdown table of one command: argument or option, default, what it does."""
    rows = ["| argument or option | default | what |", "|---|---|---|"]
    for param in commands()[name].params:
        if param.param_type_name == "argument":
            rows.append(_row(f"`{param.metavar}`", "required", param.help))
        else:
            names = " / ".join(f"`{word}`" for word in (*param.opts, *param.secondary_opts))
            rows.append(_row(names, _default(param), param.help))
    return "\n".join(rows) + "\n"


def _row(name: str, default: str, words: str) -> str:
    return f"| {name} | {default} | {words} |".replace("`|`", "`\\|`")


def _default(param: Any) -> str:
    if param.required:
        return "required"
    if isinstance(param.default, Enum):
        return f"`{param.default.value}`"
    if isinstance(param.default, bool):
        return "on" if param.default else "off"
    return "" if param.default in (None, [], ()) else f"`{param.default}`"


def page(text: str) -> str:
    """Return the page with each block between its two comments replaced by the present table."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{table(found[2])}\n{found[3]}", text)


AROUND = """\
examples/               programs to read and to run, each tested
tests/                  mirrors src; contracts/ runs over registries
bench/                  the measurements behind every figure that is quoted
docs/                   {pages}
"""


def tree(source: Path = ROOT / "src" / "beholder") -> str:
    """Return every module below `source`, one a line, with the first sentence of its docstring."""
    return "```\nsrc/beholder/\n" + "\n".join(_branches(source, depth=1)) + f"\n{_around()}```\n"


def _around() -> str:
    return AROUND.format(pages=", ".join(sorted(path.stem for path in PAGE.parent.glob("*.md"))))


def _branches(folder: Path, *, depth: int) -> list[str]:
    found = [path for path in folder.glob("*.py") if path.name != "__init__.py" or depth == 1]
    lines = [_leaf(path.name, path, depth=depth) for path in sorted(found)]
    for room in sorted(path.parent for path in folder.glob("*/__init__.py")):
        lines += [_leaf(room.name + "/", room / "__init__.py", depth=depth), *_branches(room, depth=depth + 1)]
    return lines


def _leaf(name: str, path: Path, *, depth: int) -> str:
    words = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    first = re.split(r"(?<![A-Z])\.(?:\s|$)", " ".join(words.split("\n\n")[0].split()), maxsplit=1)[0]
    return f"{'  ' * depth + name:<22} {first}"


def ladder() -> str:
    """Return the levels from top to bottom: each package, its modules, and how many of its imports lead to which other."""
    lines = []
    for level in range(len(LEVELS) - 2, -1, -1):
        for room in sorted(LEVELS[level]):
            here = [name for name in MODULES if room_of(name) == room]
            below = Counter(room_of(target(found.name)) for name in here for found in inside(name))
            order = sorted((name for name in below if name not in (room, "")), key=lambda name: (-LEVEL[name], name))
            to = " ".join(f"{name} {below[name]}" for name in order)
            lines.append(f"{level:>2}  {room:<12} {len(here):>3}  {'→ ' + to if to else ''}".rstrip())
        lines.append("")
    return "```\n" + "\n".join(lines[:-1]) + "\n```\n"


def house(text: str) -> str:
    """Return the page on the architecture with the present ladder and tree between their comments."""
    text = LADDER.sub(lambda found: f"{found[1]}\n{ladder()}\n{found[2]}", text)
    return TREE.sub(lambda found: f"{found[1]}\n{tree()}\n{found[2]}", text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    HOUSE.write_text(house(HOUSE.read_text("utf-8")), "utf-8")
