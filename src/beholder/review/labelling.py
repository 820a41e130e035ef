"""The labelling page: what it asks of a session, and the server that hands it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from beholder.base.records import Pictures
from beholder.review.door import Answer, Door, Guarded, plain

MOST = 80
"""Pictures in a grid at most."""


class Labelling(Protocol):
    """A session that pictures are labelled in; every method may be called from several threads.

    size: how many pictures the page has room for; turn: that of the state which the person saw
    """

    @property
    def pictures(self) -> Pictures:
        """Return the pictures, which are shown by their number."""

    def summary(self) -> dict[str, object]:
        """Return what stays as it is: {"source", "pictures", "classes", "out", "following"}."""

    def shown(self, *, size: int) -> dict[str, object]:
        """Return {"turn", "grid", "progress", "unwritten"}: what is to be labelled now, and why the table is behind."""

    def act(
        self, do: str, rows: list[int], *, turn: int, size: int, label: int = -1, left: Sequence[int] = ()
    ) -> dict[str, object]:
        """Take an action on rows of the grid, and return what is to be labelled then, as `shown` does.

        left: rows that are not of the class which the others are given
        """

    def undo(self, *, turn: int, size: int) -> dict[str, object]:
        """Take the last action back, and return its grid, as `shown` does."""

    def presorted(self, least: float) -> dict[str, object]:
        """Return {"count", "estimate"} of the pictures that the head is so sure of and nobody labelled."""

    def presort(self, least: float, *, turn: int, size: int) -> dict[str, object]:
        """Take the head's labels of those pictures, as one action, and return what is to be labelled then."""

    def close(self) -> None:
        """Wait until what is being written is written, and take no action from then on."""


class LabelServer(Door):
    """Serves one labelling session."""

    page = {  # noqa: RUF012 (a constant of the class)
        "": "label.html",
        "base.css": "base.css",
        "label.css": "label.css",
        "label.js": "label.js",
        "picks.js": "picks.js",
        "dom.js": "dom.js",
        "bidi.js": "../base/bidi.js",
    }

    def __init__(self, session: Labelling, *, port: int = 0) -> None:
        count = len(session.pictures)
        super().__init__(LabelHandler, session.pictures, lambda number: number < count, port=port)
        self.session = session

    def rest(self) -> None:
        """Wait until no action is being written; later ones are refused."""
        self.session.close()


class LabelHandler(Guarded):
    """One connection of the labelling page."""

    server: LabelServer

    def look(self, path: str, asked: dict[str, str]) -> Answer | None:
        """Answer with the summary, the grid, or what could be presorted."""
        session = self.server.session
        if path == "summary":
            return plain(session.summary())
        if path == "grid":
            return plain(session.shown(size=_size(asked["size"])))
        if path == "presorted":
            return plain(session.presorted(_share(asked["least"])))
        return None

    def decide(self, path: str, body: dict[str, Any]) -> Answer | None:
        """Take an action, take it back, or end the session."""
        session = self.server.session
        if path == "finish":
            self.last = True
            return plain({})
        turn, size = int(body["turn"]), _size(body["size"])
        if path == "undo":
            return plain(session.undo(turn=turn, size=size))
        if path == "presort":
            return plain(session.presort(_share(body["least"]), turn=turn, size=size))
        if path in ("label", "reject", "skip", "unusable", "again"):
            rows = [int(row) for row in body["pictures"]]
            left = [int(row) for row in body.get("left", ())]
            return plain(session.act(path, rows, turn=turn, size=size, label=int(body.get("label", -1)), left=left))
        return None


def _size(given: object) -> int:
    return min(max(int(str(given)), 1), MOST)


def _share(given: object) -> float:
    share = float(str(given))
    if not 0 <= share <= 1:
        raise ValueError(share)
    return share
