"""The review's HTTP server: what may be looked at and decided about the findings of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beholder.review.door import Answer, Door, Guarded, plain
from beholder.review.session import Session, View

PAGE = 200
"""Findings in one answer at most."""


class Server(Door):
    """Serves one review session. following: the command that goes on from it."""

    page = {  # noqa: RUF012 (a constant of the class)
        "": "page.html",
        "base.css": "base.css",
        "page.css": "page.css",
        "page.js": "page.js",
        "grid.js": "grid.js",
        "dom.js": "dom.js",
        "board.js": "board.js",
        "bidi.js": "../base/bidi.js",
    }

    def __init__(self, session: Session, *, following: str = "", port: int = 0) -> None:
        super().__init__(Handler, session.pictures, session.knows, port=port)
        self.session, self.following = session, following

    def rest(self) -> None:
        """Wait until no decision is being written; later ones are refused."""
        self.session.close()


class Handler(Guarded):
    """One connection of the review page."""

    server: Server

    def look(self, path: str, asked: dict[str, str]) -> Answer | None:
        """Answer with the summary, the findings in view, or some of them whole."""
        session = self.server.session
        if path == "summary":
            return plain({**session.summary(), "following": self.server.following})
        if path == "view":
            return plain(session.view(_view(asked)))
        if path == "findings":
            ids = [int(word) for word in asked.get("ids", "").split(",")[:PAGE] if word]
            return plain(session.findings(ids))
        if path == "boxes":
            number = int(asked.get("picture", ""))
            return plain(session.drawn(number)) if session.knows(number) else None
        return None

    def decide(self, path: str, body: dict[str, Any]) -> Answer | None:
        """Take decisions, take them back, or end the review."""
        session = self.server.session
        extra: dict[str, object] = {}
        if path == "decide":
            session.decide([_change(row) for row in body["changes"]])
        elif path == "accept":
            extra["accepted"] = session.accept(_view(body))
        elif path == "undo":
            extra["undone"] = session.undo()
        elif path == "finish":
            self.last = True
        else:
            return None
        return plain({**session.progress(), **extra})


def _change(row: Any) -> tuple[int, str, str]:
    """Return (picture, what, box) of [picture, what] or [picture, what, box]. Raises `ValueError`, `TypeError`."""
    picture, what, box = row if len(row) == 3 else (*row, "")
    return int(picture), str(what), str(box)


def _view(asked: Mapping[str, Any]) -> View:
    return View(*(str(asked.get(name, "")) for name in ("check", "label", "show")))
