"""Build the documents as a site: `make site` writes it into site/. Nothing is fetched, and the pages fetch nothing.

The pages are the Markdown files as they lie in the repository. For the generator they are copied to build/site, where

- formulas (```math, and $`…`$ in a line, which GitHub shows) become MathML, which browsers show without a script;
- a heading gets the anchor that it has on GitHub;
- a link to a file that is no page, such as a source file, leads to a page that shows it;
- the navigation follows docs/README.md.

Then every link is looked up, and every page looked through for what a browser would fetch from elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs.links import links, slug  # noqa: E402

CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
MATHS = re.compile(r"^```math\n(?P<block>.*?)^```$|^```.*?^```$|\$`(?P<inline>[^`\n]+)`\$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
"""Formulas; and code, so that no formula is looked for in it."""
HEADING = re.compile(r"^(#{1,6} +)(.+?) *$", re.MULTILINE)
PICTURES = (".png", ".jpg", ".svg")
LANGUAGES = {".py": "python", ".toml": "toml", ".js": "js", ".css": "css", ".html": "html", ".json": "json", ".yaml": "yaml"}


def pages() -> list[Path]:
    """Return the Markdown pages of the repository."""
    found = [path for path in (ROOT / "docs").rglob("*.md") if "build" not in path.parts]
    return sorted([*ROOT.glob("*.md"), *found])


def outside(text: str, change: Callable[[str], str]) -> str:
    """Return a page with `change` applied to all that is not code."""
    parts = CODE.split(text)
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))


def maths(text: str) -> str:
    """Return a page whose formulas in TeX have become MathML."""
    from latex2mathml.converter import convert

    def formula(found: re.Match[str]) -> str:
        if found["block"]:
            return f'<div class="formula">{convert(found["block"].strip(), display="block")}</div>'
        if not found["inline"]:
            return found[0]
        return f"<span>{convert(found['inline'])}</span>"  # a line that begins with <math> would be a block

    return MATHS.sub(formula, text)


def headed(text: str) -> str:
    """Return a page whose headings name their anchors: those that `docs.links.anchors` gives, in the same order."""
    seen: dict[str, int] = {}

    def heading(found: re.Match[str]) -> str:
        name = slug(found[2])
        seen[name] = seen.get(name, -1) + 1
        return f"{found[1]}{found[2]} {{#{name}{f'-{seen[name]}' if seen[name] else ''}}}"

    fenced = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if number % 2 else HEADING.sub(heading, part) for number, part in enumerate(fenced))


def linked(text: str, page: Path, shown: set[Path]) -> str:
    """Return a page whose links to files that are no pages lead to pages that show them; these files are added to `shown`."""

    def link(found: re.Match[str]) -> str:
        path, mark, anchor = found[1].partition("#")
        target = (page.parent / path).resolve()
        if not path or "://" in path or target.suffix in (".md", *PICTURES) or not target.exists():
            return found[0]
        if target.is_dir():
            return f"]({path.rstrip('/')}/README.md{mark}{anchor})"
        shown.add(target)
        return f"]({path}.md)"

    return outside(text, lambda part: re.sub(r"\]\(([^)\s]+)\)", link, part))


def stage(folder: Path) -> None:
    """Write what the generator reads into a new folder: the pages, the files that they show, pictures, settings."""
    shutil.rmtree(folder, ignore_errors=True)
    shown: set[Path] = set()
    for page in pages():
        text = page.read_text("utf-8")
        for path in (page.parent / link for link in links(text) if link.endswith(PICTURES) and "://" not in link):
            _write(folder, path.resolve(), path.read_bytes())
        _write(folder, page, headed(maths(linked(text, page, shown))).encode())
    for path in shown:
        fence = f"# {path.relative_to(ROOT)}\n\n````{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text('utf-8')}\n````\n"
        _write(folder, path.with_name(path.name + ".md"), fence.encode())
    settings = (ROOT / "zensical.toml").read_text("utf-8")
    assert "nav = []" in settings
    (folder / "zensical.toml").write_text(settings.replace("nav = []", f"nav = {_toml(navigation())}"), "utf-8")


def _write(folder: Path, path: Path, data: bytes) -> None:
    target = folder / "pages" / path.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def navigation() -> list[tuple[str, object]]:
    """Return (title, page) and (section, such pairs) as docs/README.md sorts them: its headings, the first link of a line."""
    index = ROOT / "docs" / "README.md"
    made: list[tuple[str, object]] = [("Beholder", "README.md")]
    for line in index.read_text("utf-8").splitlines():
        if line.startswith("## "):
            made.append((line[3:], []))
        elif found := re.match(r"(?:- |\| )\[([^\]]+)\]\(([^)#]+\.md)\)", line):
            section = made[-1][1]
            assert isinstance(section, list), line
            section.append((found[1], os.path.relpath(index.parent / found[2], ROOT)))
    return made


def _toml(pairs: list[tuple[str, object]]) -> str:
    rows = (f"{{{json.dumps(name)} = {_toml(to) if isinstance(to, list) else json.dumps(to)}}}" for name, to in pairs)
    return f"[{', '.join(rows)}]"


def build(folder: Path, site: Path) -> None:
    """Build the site by way of `folder`. Raises `CalledProcessError` with what the generator says."""
    stage(folder)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--config-file", str(folder / "zensical.toml")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    shutil.rmtree(site, ignore_errors=True)
    shutil.move(folder / "html", site)


class Page(HTMLParser):
    """What a built page names: anchors, links, and what a browser fetches for it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down one tag."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.fetched.append(given.get("href", ""))
        elif "src" in given:
            self.fetched.append(given["src"])


def wrong(site: Path) -> list[str]:
    """Return a line for each link of a site that leads nowhere, and for each thing that a page would fetch from elsewhere."""
    found = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    said = []
    for path, page in found.items():
        said += [f"{path.relative_to(site)} fetches {link}" for link in page.fetched if _elsewhere(link, path)]
        for link in page.links:
            to, _, anchor = unquote(link).partition("#")
            target = (path.parent / to).resolve() if to else path.resolve()
            target = target / "index.html" if target.is_dir() else target
            if "://" in link or link.startswith("mailto:"):
                continue
            if not target.exists() or (anchor and target in found and anchor not in found[target].ids):
                said.append(f"{path.relative_to(site)} links to {link}")
    styles = ((path, path.read_text("utf-8")) for path in site.rglob("*.css"))
    said += [
        f"{path.relative_to(site)} fetches {url}"
        for path, text in styles
        for url in re.findall(r"url\([\"']?(https?:[^)\"']+)", text)
    ]
    return said


def _elsewhere(link: str, path: Path) -> bool:
    return not link.startswith("data:") and ("//" in link or not (path.parent / unquote(link.partition("?")[0])).exists())


if __name__ == "__main__":
    build(ROOT / "build" / "site", ROOT / "site")
    if lines := wrong(ROOT / "site"):
        sys.exit("\n".join(lines))
