"""The documents as a site: every link resolves, formulas are MathML, and a browser is asked to fetch nothing from elsewhere."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs import build_site, links  # noqa: E402

needs_generator = pytest.mark.skipif(
    not (find_spec("zensical") and find_spec("latex2mathml")), reason="the extra docs is not installed"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build_site.build(folder / "build", folder / "site")
    return folder / "site"


@needs_generator
@pytest.mark.slow
def test_every_link_of_the_site_resolves_and_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    assert build_site.wrong(site) == []
    assert len(list((site / "docs" / "tutorial").glob("*.html"))) == 7
    home = (site / "index.html").read_text("utf-8")
    assert "<title>Beholder" in home
    assert 'href="./docs/tutorial/1-preprocessing.html"' in home, "it is in the navigation"


@needs_generator
@pytest.mark.slow
def test_pages_have_formulas_code_and_sources_that_they_quote(site: Path) -> None:
    page = (site / "docs" / "tutorial" / "4-training.html").read_text("utf-8")
    assert page.count("<math") > 20
    assert "$" not in page.partition("<article")[2].partition("</article")[0]
    assert "\\frac" not in page
    assert "<details>" in page
    source = (site / "src" / "beholder" / "nets" / "plain.py.html").read_text("utf-8")
    assert "feed-forward" in source


@needs_generator
@pytest.mark.browser
def test_a_browser_fetches_only_the_site_itself(site: Path, browser: Any) -> None:
    import functools
    import http.server
    import threading

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_address[1]}"
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for name in (
            "index.html",
            "docs/tutorial/1-preprocessing.html",
            "docs/zh/tutorial/4-training.html",
            "docs/REFERENCE.html",
        ):
            page.goto(f"{here}/{name}", wait_until="networkidle")
        assert page.locator("math").count() == 0
        page.goto(f"{here}/docs/tutorial/4-training.html", wait_until="networkidle")
        wide = page.evaluate("[...document.querySelectorAll('math')].every(m => m.getBoundingClientRect().width > 3)")
        page.close()
        server.shutdown()
    assert wide, "a formula is not drawn"
    assert asked
    assert {url for url in asked if not url.startswith((here, "data:"))} == set()


# --- what makes the pages --------------------------------------------------------------------------------------------


def test_anchors_are_those_of_github() -> None:
    text = (
        "# A `b` & c: [d](e.md)\n## Twice\n```\n# no heading\n```\n## Twice\n## 3.1 Ünï_x-y\n<a id='x'></a><a id=\"own\"></a>\n"
    )
    assert links.anchors(text) == {"a-b--c-d", "twice", "twice-1", "31-ünï_x-y", "own"}


def test_a_link_to_a_page_or_a_heading_that_is_not_there_is_broken(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Here\n", "utf-8")
    page = tmp_path / "a.md"
    page.write_text(
        "# Top\n[1](b.md) [2](b.md#here) [3](b.md#there) [4](c.md) [5](#top) [6](#none) ![7](d.png) [8](https://x.org/y)\n"
        "`[9](not-a-link.md)`\n\n```\n[10](nor-this.md)\n```\n",
        "utf-8",
    )
    assert links.broken(page) == ["b.md#there", "c.md", "#none", "d.png"]


@pytest.mark.skipif(not find_spec("latex2mathml"), reason="the extra docs is not installed")
def test_formulas_become_mathml_and_code_stays() -> None:
    text = "a $`x_1`$ and `$y$`\n\n```math\n\\frac{1}{2}\n```\n\n```\n$z$\n```\n"
    made = build_site.maths(text)
    assert made.count("<math") == 2
    assert "<mfrac>" in made
    assert "`$y$`" in made
    assert "\n$z$\n" in made


def test_headings_carry_the_anchor_that_links_use() -> None:
    text = "## What is what?\n\n```\n## code\n```\n\n## What is what?\n\n### 数据\n"
    made = build_site.headed(text)
    assert "## What is what? {#what-is-what}\n" in made
    assert "## What is what? {#what-is-what-1}\n" in made
    assert "### 数据 {#数据}\n" in made
    assert "\n## code\n" in made


def test_links_to_what_is_no_page_lead_to_one_that_shows_it() -> None:
    shown: set[Path] = set()
    text = "[a](../src/beholder/__init__.py) [b](CLI.md#x) ![c](figures/front.png) [d](https://x.org/a.py) [e](cases/)"
    made = build_site.linked(text, ROOT / "docs" / "x.md", shown)
    assert made == text.replace("__init__.py", "__init__.py.md").replace("(cases/)", "(cases/README.md)")
    assert shown == {ROOT / "src" / "beholder" / "__init__.py"}


def test_what_a_page_would_fetch_or_link_to_in_vain_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url('https://fonts.example.org/x.woff2') }", "utf-8")
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="a.css"><script src="https://cdn.example.org/x.js"></script>'
        '<img src="data:image/png;base64,">'
        '<h1 id="top">A</h1><a href="#top">1</a><a href="b.html">2</a><a href="#none">3</a><a href="https://example.org">4</a>',
        "utf-8",
    )
    assert build_site.wrong(tmp_path) == [
        "a.html fetches https://cdn.example.org/x.js",
        "a.html links to b.html",
        "a.html links to #none",
        "a.css fetches https://fonts.example.org/x.woff2",
    ]


def test_every_page_is_in_the_index_and_so_in_the_navigation() -> None:
    def flat(pairs: list[Any]) -> list[str]:
        return [one for _, to in pairs for one in (flat(to) if isinstance(to, list) else [to])]

    named = flat(build_site.navigation())
    assert len(named) == len(set(named))
    assert set(named) == {page.relative_to(ROOT).as_posix() for page in build_site.pages()} - {"docs/README.md"}
