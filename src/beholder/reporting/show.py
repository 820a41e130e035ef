"""The verb `show`: what a notebook shows of a value, also outside of one."""

from __future__ import annotations

import html as escaping
import sys
import tempfile
from pathlib import Path
from typing import Any

from beholder.base.brief import cut
from beholder.base.errors import UsageError
from beholder.base.events import note
from beholder.base.files import page, write_atomic
from beholder.base.records import Pictures
from beholder.machine.browser import opened
from beholder.reporting.display import html

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>:root {{ color-scheme: light dark; }} body {{ margin: 2rem; background: Canvas; color: CanvasText; }}</style>
</head><body>
{body}</body></html>
"""


def show(value: Any, *, out: str | Path | None = None, allow_download: bool = False) -> Any:
    """Show pictures, findings, scores, predictions, a model or its test as a notebook would; lists of them, too.

    value: what a function of Beholder returned; the path of a bundle; or what `scan` takes
    out: the HTML file to write instead: one file that needs no network; allow_download: fetch a source that is not here
    In a notebook the value is displayed and nothing returned; elsewhere a page is written to a temporary file, opened in the
    browser where there is a screen, and its path returned. Raises `UsageError`: cannot-show for what has no such form,
    bad-out; `MachineError`; and what `scan` raises.

    >>> import beholder
    >>> page = beholder.show(beholder.Score(0.9, 0.8, 0.95, 100), out="score.html")  # doctest: +SKIP
    """
    out = None if out is None else page(out)
    if isinstance(value, (str, Path)):
        value = _opened(value, allow_download)
    made = html(value)
    if made is None and (pictures := _scanned(value)) is not None:
        value, made = pictures, html(pictures)
    if made is None:
        hint = "show takes pictures, parts, findings, scores, predictions, models, tests and lists of them"
        raise UsageError(f"{cut(type(value).__name__)} cannot be shown", code="cannot-show", hint=hint)
    if out is None and "ipykernel" in sys.modules:
        from IPython.display import HTML, display

        display(HTML(made))
        return None
    path = out or Path(tempfile.mkdtemp(prefix="beholder-")) / "show.html"
    text = PAGE.format(title=escaping.escape(cut(repr(value), 80)), body=made)
    write_atomic(path, text.encode("utf-8", "replace"))
    if out is None:
        seen = opened(path.resolve().as_uri())
        note(f"the page is {path}" if seen else f"no browser could be opened: open {path} yourself")
    return path


def _opened(name: str | Path, allow_download: bool) -> Any:
    """Return the model of a bundle, or the pictures of a source."""
    from beholder.bundle import format
    from beholder.bundle.door import load
    from beholder.bundle.generator import Generator
    from beholder.sources import scan

    path = Path(name)
    if not (path / format.CONFIG).is_file():
        return scan(name, labels=None, allow_download=allow_download)
    return Generator.load(path) if format.makes_pictures(path) else load(path)


def _scanned(value: Any) -> Pictures | None:
    """Return the pictures of arrays, a data set or a list of paths; None for what is no source."""
    from beholder.sources import scan

    paths = isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(each, (str, Path)) for each in value)
    try:
        return scan(value, labels=False if paths else None)
    except UsageError as error:
        if error.code != "bad-source":
            raise
        return None
