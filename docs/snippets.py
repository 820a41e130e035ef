"""The code on a page of the documents: what is run, what it has to print, and what is quoted from the source.

    python docs/snippets.py PAGE.md …    run the pages and write what their Python prints into them

A page is one program: its ```python blocks run in their order, in one namespace. A ```text block right after one is what it
prints: words exactly, numbers about (`alike`). What stands in an HTML comment right before a block says how it is taken:

    <!-- not run: REASON -->       it cannot run by itself
    <!-- excerpt: src/….py -->     it is quoted: consecutive lines of that file, indentation aside
    <!-- varies: REASON -->        what is printed has other numbers on another machine; its words are the same

tests/test_snippets.py runs all pages and compares.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"(?:^<!-- (not run|excerpt|varies): ([^\n]+?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language ("" where none is named), its text, the comment before it, where it lies in the page."""

    language: str
    text: str
    mark: str
    words: str
    start: int
    end: int

    @property
    def runs(self) -> bool:
        """Return whether it is Python that is run."""
        return self.language == "python" and not self.mark

    @property
    def commands(self) -> list[str]:
        """Return the lines of a block without a language that call the command."""
        lines = self.text.splitlines() if not self.language and not self.mark else []
        return [line.partition("  #")[0].strip() for line in lines if line.startswith("beholder ")]


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    return [Block(m[3], m[4], m[1] or "", m[2] or "", m.start(4), m.end(4)) for m in FENCE.finditer(page)]


def outputs(found: list[Block]) -> list[tuple[Block, Block | None]]:
    """Return every block of Python that is run, with the block of what it prints, or None."""
    after = [*found[1:], None][: len(found)]
    return [
        (block, next_ if next_ is not None and next_.language == "text" else None)
        for block, next_ in zip(found, after, strict=True)
        if block.runs
    ]


def run(text: str, name: str, scope: dict[str, Any]) -> str:
    """Run one block in `scope`, and return what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(text, name, "exec"), scope)
    return out.getvalue()


def quoted(text: str, source: str) -> bool:
    """Return whether a text is consecutive lines of a source, indentation aside."""
    wanted = textwrap.dedent(text).strip("\n").split("\n")
    lines = source.split("\n")
    here = (lines[i : i + len(wanted)] for i in range(len(lines) - len(wanted) + 1))
    return any(textwrap.dedent("\n".join(some)).split("\n") == wanted for some in here)


def alike(said: str, printed: str, *, varies: bool = False) -> bool:
    """Return whether two outputs have the same words and whole numbers, and other numbers to within 0.05, or a tenth.

    varies: whether numbers may be any
    """
    if NUMBER.sub("#", said).split() != NUMBER.sub("#", printed).split():
        return False
    return varies or all(_near(a, b) for a, b in zip(NUMBER.findall(said), NUMBER.findall(printed), strict=True))


def _near(a: str, b: str) -> bool:
    if "." not in a + b:
        return a == b
    x, y = (float(text.replace(",", "")) for text in (a, b))
    if "e" not in a + b:
        return abs(x - y) <= max(0.05, 0.1 * abs(x))
    return x == y or (x * y > 0 and 0.1 <= y / x <= 10)


def filled(page: str, name: str) -> str:
    """Return a page with what its Python prints, run in the present folder, in the blocks that say so."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    edits = [(shown, run(block.text, name, scope)) for block, shown in outputs(blocks(page))]
    for shown, printed in reversed(edits):
        if shown is not None:
            page = page[: shown.start] + printed + page[shown.end :]
    return page


if __name__ == "__main__":
    for path in [Path(argument).resolve() for argument in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            path.write_text(filled(path.read_text("utf-8"), path.name), "utf-8")
            os.chdir(ROOT)
