"""The links of Markdown pages: where they lead, and the anchors that a page offers, by the rules of GitHub."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def links(text: str) -> list[str]:
    """Return the targets of all links and pictures of a page, code left out."""
    return LINK.findall(CODE.sub("", text))


def slug(heading: str) -> str:
    """Return the anchor of a heading: lower case, letters, digits, hyphens and underscores; spaces become hyphens."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Return the anchors of a page; one that comes again has -1, -2, … after it."""
    seen: Counter[str] = Counter()
    found = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for heading in HEADING.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        name = slug(heading)
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def broken(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere: no such file, or no such heading in it. https:// is not looked at."""
    wrong = []
    for link in links(page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if link.startswith("https://"):
            continue
        headed = target.suffix == ".md" and target.is_file() and anchor
        if not target.exists() or (headed and anchor not in anchors(target.read_text("utf-8"))):
            wrong.append(link)
    return wrong
