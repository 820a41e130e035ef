"""The pages in Chinese follow those in English: the same headings, code, formulas, links, tables and lists.

    python docs/chinese.py    copy code that is out of step into the pages in Chinese, and say what else is

Comments in code may be translated, and words in formulas. tests/test_chinese.py compares.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs.links import links  # noqa: E402
from docs.snippets import FENCE, Block, blocks  # noqa: E402

PAIRS = {
    ROOT / "README.md": ROOT / "README.zh-CN.md",
    **{page: ROOT / "docs" / "zh" / "tutorial" / page.name for page in sorted((ROOT / "docs" / "tutorial").glob("*.md"))},
}
"""English page → its page in Chinese."""


def plain(block: Block) -> tuple[str, str, str, str]:
    """Return what of a block has to be the same: language, mark, and the text without comments."""
    text = block.text
    if block.language == "python":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        starts = {token.start[0]: token.start[1] for token in tokens if token.type == tokenize.COMMENT}
        lines = text.splitlines()
        text = "\n".join(line[: starts.get(number, len(line))].rstrip() for number, line in enumerate(lines, start=1))
    elif block.language == "math":
        text = re.sub(r"\\text\{[^}]*\}", r"\\text{}", text)
    elif not block.language:
        text = "\n".join(re.sub(r"\s+#.*", "", line) for line in text.splitlines())
    return block.language, block.mark, block.words if block.mark == "excerpt" else "", text


def targets(page: Path) -> list[str]:
    """Return where the links of a page lead, in alphabetical order; a page in Chinese counts as that in English."""
    english = {chinese.resolve(): page.resolve() for page, chinese in PAIRS.items()}
    found = []
    for link in links(page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        whole = (page.parent / path).resolve()
        same = english.get(whole, whole)
        found.append(link if "://" in link else f"{same.relative_to(ROOT)}#{anchor}")
    return sorted(found)


def shape(page: Path) -> dict[str, list[object]]:
    """Return all that the two pages have in common, by name."""
    text = page.read_text("utf-8")
    prose = FENCE.sub("", text)
    rows = [line.replace("`|`", "").replace("\\|", "") for line in prose.splitlines() if line.startswith("|")]
    return {
        "headings (levels)": [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)],
        "code and formulas": [plain(block) for block in blocks(text)],
        "links": list(targets(page)),
        "tables (columns of each row)": [row.count("|") - 1 for row in rows],
        "lists": re.findall(r"^(\d+\.|-) ", prose, re.MULTILINE),
    }


def differences(english: Path, chinese: Path) -> list[str]:
    """Return in sentences in what a page in Chinese is out of step with the English one."""
    if not chinese.exists():
        return [f"{chinese.relative_to(ROOT)} is not there"]
    theirs, said = shape(chinese), []
    for name, ours in shape(english).items():
        if ours != theirs[name]:
            missing = [item for item in ours if item not in theirs[name]]
            more = [item for item in theirs[name] if item not in ours]
            counts = f"{len(ours)} and {len(theirs[name])}"
            said.append(f"{chinese.relative_to(ROOT)}: {name}: {counts}; not there: {missing}; too much: {more}")
    return said


def followed(english: str, chinese: str) -> str:
    """Return the page in Chinese with the English code wherever it differs by more than comments."""
    ours, theirs = blocks(english), blocks(chinese)
    if len(ours) == len(theirs):
        for block, old in reversed(list(zip(ours, theirs, strict=True))):
            if plain(block)[3] != plain(old)[3]:
                chinese = chinese[: old.start] + block.text + chinese[old.end :]
    return chinese


if __name__ == "__main__":
    for page, translated in PAIRS.items():
        translated.write_text(followed(page.read_text("utf-8"), translated.read_text("utf-8")), "utf-8")
        sys.stdout.writelines(f"{line}\n" for line in differences(page, translated))
