"""docs/REFERENCE.md is what docs/reference.py makes of the public names."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import beholder

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs import reference  # noqa: E402


def test_the_page_is_that_of_the_present_names() -> None:
    assert reference.PAGE.read_text("utf-8") == reference.page(), "run `make docs`"


def test_every_public_name_has_its_place() -> None:
    text = reference.PAGE.read_text("utf-8")
    for name in beholder.__all__:
        assert name == "__version__" or f"\n### beholder.{name}\n" in text, name


def test_what_pages_and_examples_import_for_code_of_ones_own_has_its_place() -> None:
    text = reference.PAGE.read_text("utf-8")
    pages = [ROOT / "docs" / "PYTORCH.md", *(ROOT / "docs" / "howto").glob("*.md"), *(ROOT / "examples").glob("*.py")]
    found = {
        (module, name.strip())
        for page in pages
        for module, names in re.findall(r"^from (beholder\.[\w.]+) import (.+)$", page.read_text("utf-8"), re.MULTILINE)
        for name in names.split(",")
    }
    assert {("beholder.learn.alone", "fit"), ("beholder.tasks.errors", "by_error")} <= found
    for module, name in sorted(found):
        assert f"\n### {module}.{name}\n" in text or f"`{module}.{name}`" in text, f"{module}.{name}"


class Base:
    """A base."""

    def kept(self) -> None:
        """Return nothing."""


class Noun(Base):
    """A noun with a *star*.

    n: a number, of more
       than one line
    a, b: others
    Raises `X`.
    """

    def __call__(self, x: int, *, far: bool = True, near: object = object()) -> str:
        """Answer."""
        return ""

    @property
    def size(self) -> int:
        """Return the size."""
        return 1

    def bare(self) -> None: ...

    def _own(self) -> None:
        """Nobody's business."""


Noun.__module__ = Base.__module__ = "beholder.tests"


def test_members_are_public_documented_and_inherited() -> None:
    assert [name for name, _ in reference.members(Noun)] == ["kept", "__call__", "size"]


def test_signatures_and_docstrings_become_markdown() -> None:
    assert reference.code("noun", Noun.__call__) == "```py\nnoun(x: int, *, far: bool = True, near: object = …) -> str\n```\n"
    assert (
        reference.words(Noun)
        == "A noun with a \\*star\\*.\n\n- `n`: a number, of more than one line\n- `a`, `b`: others\n\nRaises `X`.\n"
    )
    assert "(\n    a,\n    b,\n)" in reference.code("f" * 100, lambda a, b: None)
