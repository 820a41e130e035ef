"""The code on the pages of docs/: Python runs and prints what the page says, quotations are the source's, commands end well."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs import snippets  # noqa: E402

TUTORIAL = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
LONG = {"5-validation.md", "6-testing.md", "SKLEARN.md"}
"""Pages that train several times: slow."""

PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
ELSEWHERE = {"ARCHITECTURE.md", "CHANGELOG.md"}
"""Sketches and history; test_docs.py looks at the names in them. It runs README.md, shortened."""


def title(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def running(pages: list[Path]) -> list[Any]:
    """Return those pages that have Python to run, once: what is in Chinese has the code of the English page."""
    wanted = [p for p in pages if p.name not in ELSEWHERE and "zh" not in p.relative_to(ROOT).parts]
    found = [p for p in wanted if any(block.runs for block in snippets.blocks(p.read_text("utf-8")))]
    return [pytest.param(p, id=title(p), marks=[pytest.mark.slow] if p.name in LONG else []) for p in found]


@pytest.mark.parametrize("page", running(PAGES))
def test_the_python_of_a_page_runs_and_prints_what_it_says(
    page: Path, leaves: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.chdir(leaves.parent)
    (leaves.parent / "new.jpg").write_bytes((leaves / "rust" / "00.png").read_bytes())
    scope: dict[str, Any] = {"__name__": "__main__"}
    for block, shown in snippets.outputs(snippets.blocks(page.read_text("utf-8"))):
        printed = snippets.run(block.text, page.name, scope)
        if shown is not None:
            assert snippets.alike(shown.text, printed, varies=shown.mark == "varies"), f"it prints\n{printed}"
    assert not recwarn.list


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [p for p in TUTORIAL if any(b.commands for b in snippets.blocks(p.read_text("utf-8")))], ids=title
)
def test_the_commands_of_the_tutorial_end_well(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _digits(tmp_path / "digits.npz")
    for block in snippets.blocks(page.read_text("utf-8")):
        for command in block.commands:
            words = [sys.executable, "-m", "beholder", *shlex.split(command)[1:]]
            done = subprocess.run(words, capture_output=True, text=True, timeout=250, check=False)
            assert done.returncode == 0, done.stderr
            assert done.stdout


def _digits(path: Path) -> None:
    import numpy as np
    from sklearn.datasets import load_digits

    digits = load_digits()
    np.savez(path, x=(digits.images * 15).astype(np.uint8), y=digits.target)


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_what_is_quoted_from_the_source_stands_there(page: Path) -> None:
    for block in snippets.blocks(page.read_text("utf-8")):
        if block.mark == "excerpt":
            assert snippets.quoted(block.text, (ROOT / block.words).read_text("utf-8")), (
                f"{block.words} has no more\n{block.text}"
            )


def test_every_chapter_quotes_the_source_has_a_figure_a_formula_and_exercises_with_answers() -> None:
    chapters = [page for page in TUTORIAL if page.name[0].isdigit()]
    assert [page.name[0] for page in chapters] == list("123456")
    for page in chapters:
        text = page.read_text("utf-8")
        found = snippets.blocks(text)
        assert sum(block.mark == "excerpt" for block in found) >= 2, page.name
        assert sum(block.runs for block in found) >= 3, page.name
        assert f"../figures/tutorial-{page.name[0]}.png" in text
        assert sum(block.language == "math" for block in found) >= 2, page.name
        exercises, _, answers = text.partition("## Exercises")[2].partition("<details")
        numbers = [re.findall(r"^(\d)\. ", part, re.MULTILINE) for part in (exercises, answers)]
        assert numbers[0] == numbers[1] == list("12345"), page.name


# --- what compares ---------------------------------------------------------------------------------------------------

PAGE = """\
```python
print("a", 1)
```

```text
a 1
```

<!-- not run: it has no end -->
```python
while True: ...
```

<!-- excerpt: src/x.py -->
```python
return 1
```

```
beholder nets --json  # all of them
ls
```
"""


def test_blocks_say_what_is_run_what_it_prints_and_what_is_quoted() -> None:
    found = snippets.blocks(PAGE)
    assert [(b.language, b.mark, b.runs) for b in found] == [
        ("python", "", True), ("text", "", False), ("python", "not run", False), ("python", "excerpt", False), ("", "", False)
    ]  # fmt: skip
    assert [b.commands for b in found][-1] == ["beholder nets --json"]
    ((code, shown),) = snippets.outputs(found)
    assert shown is not None
    assert snippets.run(code.text, "page", {}) == shown.text
    assert snippets.filled(PAGE.replace("a 1\n", "old\n"), "page") == PAGE


@pytest.mark.parametrize(
    ("said", "printed", "same"),
    [
        ("accuracy 0.95 of 269", "accuracy 0.97 of 269", True),
        ("accuracy 0.95 of 269", "accuracy 0.82 of 269", False),
        ("accuracy 0.95 of 269", "accuracy 0.95 of 270", False),
        ("accuracy 0.95", "loss 0.95", False),
        ("3.0e-07", "5.1e-07", True),
        ("3.0e-07", "3.0e-03", False),
        ("a 0.1", "a 0.1 0.2", False),
        ("off by 0e-9", "off by 0e-9", True),
        ("off by 0e-9", "off by 1e-9", False),
        ("off by 2e-9", "off by 0e-9", False),
    ],
)
def test_outputs_are_alike_in_words_and_about_so_in_numbers(said: str, printed: str, same: bool) -> None:
    assert snippets.alike(said, printed) is same


def test_where_numbers_vary_words_still_count() -> None:
    assert snippets.alike("a 1 of 9", "a 2 of 8", varies=True)
    assert not snippets.alike("a 1 of 9", "b 1 of 9", varies=True)


def test_a_quotation_is_consecutive_lines_whatever_their_indentation() -> None:
    source = "def f():\n    a = 1\n    if a:\n        return a\n"
    assert snippets.quoted("a = 1\nif a:\n    return a\n", source)
    assert not snippets.quoted("a = 1\nreturn a\n", source)
    assert not snippets.quoted("a = 1\nif a:\nreturn a\n", source)
