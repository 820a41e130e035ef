"""The labelling page's server with a session that only writes down what it is asked: who is let in, and what is passed on."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beholder.base import events
from beholder.base.errors import UsageError
from beholder.base.records import Pictures
from beholder.review.door import opened
from beholder.review.labelling import LabelServer
from beholder.sources import scan


class Recorder:
    """A session that holds what it was asked."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures, self.asked, self.closed = pictures, [], False

    @property
    def pictures(self) -> Pictures:
        return self._pictures

    def summary(self) -> dict[str, object]:
        return {"classes": ["<b>&", "rust"]}

    def shown(self, *, size: int) -> dict[str, object]:
        return self._note("shown", size)

    def act(self, do: str, rows: list[int], *, turn: int, size: int, label: int = -1, left: Any = ()) -> dict[str, object]:
        if self.closed:
            raise UsageError("labelling has ended", code="ended", hint="start it again")
        return self._note(do, rows, turn, size, label, *left)

    def undo(self, *, turn: int, size: int) -> dict[str, object]:
        return self._note("undo", turn, size)

    def presorted(self, least: float) -> dict[str, object]:
        return self._note("presorted", least)

    def presort(self, least: float, *, turn: int, size: int) -> dict[str, object]:
        return self._note("presort", least, turn, size)

    def close(self) -> None:
        self.closed = True

    def _note(self, *what: Any) -> dict[str, object]:
        self.asked.append(what)
        return {"turn": len(self.asked)}


@pytest.fixture
def server(leaves: Path) -> Iterator[LabelServer]:
    with LabelServer(Recorder(scan(leaves))) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server: LabelServer, path: str, body: Any = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    given = {"Origin": f"http://127.0.0.1:{server.port}", "Content-Type": "application/json"} if body is not None else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    sent = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    connection.request("GET" if body is None else "POST", path, sent, given)
    answer = connection.getresponse()
    found = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return found


def test_the_page_and_what_it_loads_are_there_and_nothing_else(server: LabelServer) -> None:
    inside = f"/{server.token}/"
    page = ask(server, inside)
    assert (page[0], page[2]["content-type"]) == (200, "text/html; charset=utf-8")
    for name in ("base.css", "label.css", "label.js", "picks.js", "dom.js", "bidi.js"):
        assert ask(server, inside + name)[0] == 200, name
    for name in ("page.js", "page.css", "server.py", "../door.py", "%2e%2e/door.py", "label.html", "small/rust/00.png",
                 "small/-1", "small/36", "small/1e1", "huge/0", "about/x", "small/%C2%B2", ""):  # fmt: skip
        assert ask(server, inside + name)[0] == (404 if name else 200), name
    assert b"http" not in page[1].replace(b"https://", b"http://").replace(b"<!doctype html>", b"")


def test_only_who_knows_the_secret_is_let_in(server: LabelServer) -> None:
    inside = f"/{server.token}/"
    for path in ("/", "/label.js", f"/{server.token[:-1]}/", "//", f"/x{inside}"):
        assert ask(server, path)[:2] == (403, b""), path
    assert ask(server, inside, Host="evil.example")[0] == 403
    assert ask(server, inside + "summary", Sec_Fetch_Site="cross-site")[0] == 403
    assert server.server_address[0] == "127.0.0.1"
    for path in ("/", inside, inside + "label.js", inside + "none"):
        headers = ask(server, path)[2]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_only_the_page_itself_acts_and_sense_is_asked_for(server: LabelServer) -> None:
    path, body = f"/{server.token}/label", {"turn": 0, "size": 12, "pictures": [3, 4], "label": 1}
    assert ask(server, path, body, Origin="http://evil.example")[0] == 400
    assert ask(server, path, body, Origin="null")[0] == 400
    assert ask(server, path, body, Content_Type="text/plain")[0] == 400
    assert ask(server, path, b"x" * 10, Content_Length=str(2 << 20))[0] == 400
    wrong = [{}, *({**body, name: value} for name, value in (("turn", None), ("pictures", 3), ("size", "x"), ("label", [])))]
    for odd in (b"[1", b"[]", *wrong):
        assert ask(server, path, odd)[0] == 400, odd
    for odd in ({"least": 2}, {"least": "nan"}, {"least": None}):
        assert ask(server, f"/{server.token}/presort", {**body, **odd})[0] == 400
    assert ask(server, f"/{server.token}/grid")[0] == 400
    assert ask(server, f"/{server.token}/burn", body)[0] == 404
    assert ask(server, path)[0] == 404
    assert server.session.asked == []
    assert ask(server, path, {**body, "left": [7]})[0] == 200
    assert server.session.asked == [("label", [3, 4], 0, 12, 1, 7)]


def test_every_action_is_passed_on(server: LabelServer) -> None:
    body = {"turn": 7, "size": 500, "pictures": [0], "least": 0.9}
    for do in ("reject", "skip", "unusable", "again", "undo", "presort"):
        assert ask(server, f"/{server.token}/{do}", body)[0] == 200
    assert ask(server, f"/{server.token}/grid?size=30")[0] == 200
    assert ask(server, f"/{server.token}/presorted?least=0.95")[0] == 200
    assert server.session.asked == [
        ("reject", [0], 7, 80, -1), ("skip", [0], 7, 80, -1), ("unusable", [0], 7, 80, -1), ("again", [0], 7, 80, -1),
        ("undo", 7, 80), ("presort", 0.9, 7, 80), ("shown", 30), ("presorted", 0.95),
    ]  # fmt: skip


def test_pictures_are_made_anew(server: LabelServer, leaves: Path) -> None:
    row = list(server.pictures.keys).index("rust/01.png")
    with (leaves / "rust" / "01.png").open("ab") as file:
        file.write(b"what a stranger hid behind the picture")
    status, body, headers = ask(server, f"/{server.token}/small/{row}")
    assert (status, headers["content-type"]) == (200, "image/png")
    assert b"stranger" not in body


def test_the_server_ends_when_the_person_does(leaves: Path) -> None:
    session = Recorder(scan(leaves))

    def finish(address: str) -> None:
        port, token = int(address.split(":")[2].split("/")[0]), address.split("/")[3]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
        connection.request("POST", f"/{token}/finish", "{}", headers)
        assert connection.getresponse().status == 200
        connection.close()

    said: list[str] = []
    with events.listen(lambda event: said.append(event.message), alone=True):
        opened(lambda: LabelServer(session), 0).run(what="labelling", said="held at once", ready=finish)
    assert session.closed
    assert said[0].startswith("labelling on http://127.0.0.1:")


def test_a_port_that_is_taken_is_a_clear_error(server: LabelServer, leaves: Path) -> None:
    with pytest.raises(UsageError) as refused:
        opened(lambda: LabelServer(Recorder(scan(leaves)), port=server.port), server.port)
    assert refused.value.code == "port-taken"
