"""Write the option tables of docs/CLI.md from the commands themselves: `make docs`. tests/test_docs.py compares them."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from beholder.cli.commands import app

PAGE = Path(__file__).with_name("CLI.md")
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


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
