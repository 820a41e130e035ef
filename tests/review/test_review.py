"""The review without a browser: what is decided, what is written, and who is let in."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beholder.base import events
from beholder.base.errors import DataError, MachineError, UsageError
from beholder.base.records import Finding
from beholder.quality.audit import Findings, decided, read
from beholder.quality.clean import clean
from beholder.quality.decisions import continued, reopened, with_decisions
from beholder.review import review
from beholder.review.server import Server
from beholder.review.session import Session, View
from beholder.sources import scan

ROWS = (
    Finding("", "imbalance", 0.9, "rust has 3 times as many"),
    Finding("rust/00.png", "dark", 0.7, "is dark"),
    Finding("rust/01.png", "dark", 0.9, "is dark"),
    Finding("rust/00.png", "twins", 1.0, "is a twin", "drop", "healthy/00.png"),
    Finding("mildew/00.png", "labels", 0.8, "has the wrong label", "relabel:rust"),
)


@pytest.fixture
def found(leaves: Path) -> Findings:
    return Findings(scan(leaves), ROWS, {"dark": 36, "twins": 36, "labels": 36})


@pytest.fixture
def session(found: Findings, tmp_path: Path) -> Session:
    return Session(found, tmp_path / "audit.csv")


def number(session: Session, key: str) -> int:
    return list(session.pictures.keys).index(key)


def written(session: Session) -> dict[str, str]:
    return decided(read(session.path))


# --- decisions ---


def test_findings_stand_by_check_the_surest_first(session: Session) -> None:
    view = session.view(View())
    shown = session.findings(view["ids"])  # type: ignore[arg-type]
    assert [(row["key"], row["check"]) for row in shown] == [
        ("rust/01.png", "dark"),
        ("rust/00.png", "dark"),
        ("rust/00.png", "twins"),
        ("mildew/00.png", "labels"),
    ]
    assert shown[2]["other"] == {"picture": 0, "key": "healthy/00.png", "label": "healthy", "part": "", "decided": ""}
    assert view["open"] == "1111"


def test_a_decision_is_in_the_file_at_once_and_undo_takes_it_out(session: Session) -> None:
    a, b = number(session, "rust/00.png"), number(session, "healthy/00.png")
    session.decide([(a, "keep"), (b, "drop")])
    assert written(session) == {"rust/00.png": "keep", "healthy/00.png": "drop"}
    assert session.view(View())["open"] == "1001"
    session.decide([(a, "drop")])
    assert written(session)["rust/00.png"] == "drop"
    assert session.undo() == [a]
    assert written(session)["rust/00.png"] == "keep"
    assert session.undo() == [a, b]
    assert written(session) == {}
    assert session.undo() == []
    assert read(session.path)[0] == ROWS[0]


def test_progress_counts_pictures(session: Session) -> None:
    session.decide([(number(session, "rust/00.png"), "drop")])
    session.decide([(number(session, "mildew/00.png"), "relabel:new one")])
    assert session.progress() == {
        "findings": 4, "decided": 3, "kept": 0, "dropped": 1, "relabelled": 1, "undo": 2,
        "waiting": {"dark": 1, "twins": 0, "labels": 0},
    }  # fmt: skip


def test_views_filter_by_check_class_and_state(session: Session) -> None:
    assert session.view(View(check="dark"))["ids"] == [0, 1]
    assert session.view(View(label="mildew"))["ids"] == [3]
    assert session.view(View(label="no such"))["ids"] == []
    assert session.view(View(check="no such"))["ids"] == []
    session.decide([(number(session, "rust/00.png"), "keep")])
    assert session.view(View(show="open"))["ids"] == [0, 3]
    assert session.view(View("dark", "rust", "decided"))["ids"] == [1]


def test_all_suggestions_in_view_are_one_step(session: Session) -> None:
    session.decide([(number(session, "mildew/00.png"), "keep")])
    assert session.accept(View()) == 2
    assert written(session) == {"rust/01.png": "keep", "rust/00.png": "drop", "mildew/00.png": "keep"}
    session.undo()
    assert written(session) == {"mildew/00.png": "keep"}


@pytest.mark.parametrize("what", ["no", "relabel:", "relabel: x", "relabel:a\nb", "relabel:" + "x" * 201, "Drop"])
def test_what_is_no_decision_is_refused(what: str, session: Session) -> None:
    with pytest.raises(UsageError):
        session.decide([(number(session, "rust/01.png"), what)])
    with pytest.raises(UsageError):
        session.decide([(5, "drop")])  # no finding names it
    assert session.decisions == {}


def test_a_full_disk_takes_no_decision(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise MachineError("the disk is full", code="disk-full")

    monkeypatch.setattr("beholder.review.session.write_atomic", full)
    with pytest.raises(MachineError):
        session.decide([(number(session, "rust/01.png"), "drop")])
    assert session.decisions == {}
    assert session.progress()["undo"] == 0


def test_doubts_of_labels_stand_first_and_what_a_person_has_to_look_at_cannot_be_accepted(leaves: Path, tmp_path: Path) -> None:
    rows = (
        Finding("rust/00.png", "dark", 0.9, "w"),
        Finding("rust/01.png", "dark", 0.8, "w"),
        Finding("rust/02.png", "duplicate", 1.0, "w", "drop", "rust/03.png"),
        Finding("rust/00.png", "label", 0.8, "w", "review"),
        Finding("rust/02.png", "label", 0.6, "w", "review"),
        Finding("rust/04.png", "label", 0.99, "w", "relabel:mildew"),
        Finding("rust/05.png", "conflict", 1.0, "w", "drop", "mildew/05.png"),
    )
    session = Session(Findings(scan(leaves), rows, {}), tmp_path / "audit.csv")
    assert [row["name"] for row in session.summary()["checks"]] == ["conflict", "label", "dark", "duplicate"]  # type: ignore[attr-defined]
    assert [row.score for row in session.rows[:4]] == [1.0, 0.99, 0.8, 0.6]
    assert session.view(View()) == {
        "ids": list(range(7)),
        "pictures": session.view(View())["pictures"],
        "open": "1" * 7,
        "able": "1100111",
    }
    assert session.accept(View()) == 4
    assert written(session) == {
        "rust/05.png": "drop",
        "rust/04.png": "relabel:mildew",
        "rust/01.png": "keep",
        "rust/02.png": "drop",
    }


def test_the_counts_are_those_of_the_file_and_of_clean(session: Session, leaves: Path, tmp_path: Path) -> None:
    session.decide(
        [(number(session, "rust/00.png"), "keep"), (number(session, "healthy/00.png"), "drop")]
    )  # no finding is about this one
    session.decide([(number(session, "mildew/00.png"), "relabel:rust")])
    told = session.progress()
    waiting = sum(told["waiting"].values())  # type: ignore[attr-defined]
    assert (told["findings"], told["decided"], waiting) == (len(session.view(View())["ids"]), 3, 1)  # type: ignore[arg-type]
    done = clean(leaves, apply=session.path, out=tmp_path / "out")
    assert (told["dropped"], told["relabelled"]) == (done.dropped, done.relabelled) == (1, 1)


# --- from one audit to the next ---


def test_decisions_come_back_and_outlive_an_audit(session: Session, found: Findings) -> None:
    session.decide([(number(session, "rust/00.png"), "keep"), (number(session, "healthy/00.png"), "drop")])
    again = Session(reopened(found.pictures, session.path), session.path)
    assert again.decisions == session.decisions
    assert again.view(View())["open"] == "1001"
    anew = continued(replace(found, rows=ROWS[:2]), session.path)
    assert decided(anew.rows) == session.decisions
    assert decided(with_decisions(anew, {"healthy/00.png": ""}).rows) == {"rust/00.png": "keep"}


def test_decisions_about_another_source_stay(session: Session, found: Findings, tmp_path: Path, draw: Any) -> None:
    other = scan(draw(tmp_path / "other" / "deep", each=2).parent / "deep")
    other = replace(other, keys=[f"x{key}" for key in other.keys])
    session.save()
    assert continued(Findings(other, (), {}), session.path).rows == ()
    session.decide([(number(session, "rust/00.png"), "keep")])
    with pytest.raises(DataError) as refused:
        continued(Findings(other, (), {}), session.path)
    assert refused.value.code == "other-audit"
    with pytest.raises(DataError, match="not in the source"):
        Session(Findings(other, ROWS, {}), session.path)
    (tmp_path / "letter.csv").write_text("dear,sir\n1,2\n")
    with pytest.raises(DataError):
        continued(found, tmp_path / "letter.csv")


# --- the server ---


@pytest.fixture
def server(session: Session) -> Iterator[Server]:
    with Server(session, following="next") as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server: Server, path: str, body: Any = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    given = {"Origin": f"http://127.0.0.1:{server.port}", "Content-Type": "application/json"} if body is not None else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    sent = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    connection.request("GET" if body is None else "POST", path, sent, given)
    answer = connection.getresponse()
    found = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return found


def test_only_who_knows_the_secret_is_let_in(server: Server) -> None:
    inside = f"/{server.token}/"
    assert len(server.token) >= 32
    assert server.server_address[0] == "127.0.0.1"
    assert ask(server, inside)[0] == 200
    for path in ("/", "/page.js", f"/{server.token[:-1]}/", f"/{server.token}x/summary", "//", "/%00/", f"/x{inside}"):
        assert ask(server, path)[:2] == (403, b""), path
    assert ask(server, inside, Host="evil.example")[0] == 403
    assert ask(server, inside, Host=f"evil.example:{server.port}")[0] == 403
    assert ask(server, inside, Host=f"localhost:{server.port}")[0] == 200
    assert ask(server, inside + "summary", Sec_Fetch_Site="cross-site")[0] == 403


def test_only_the_page_itself_decides(server: Server) -> None:
    path, body = f"/{server.token}/decide", {"changes": [[number(server.session, "rust/01.png"), "drop"]]}
    assert ask(server, path, body, Origin="http://evil.example")[0] == 400
    assert ask(server, path, body, Origin="null")[0] == 400
    assert ask(server, path, body, Content_Type="text/plain")[0] == 400
    assert ask(server, path, b"x" * 10, Content_Length=str(2 << 20))[0] == 400
    assert ask(server, path, b"[1")[0] == 400
    assert ask(server, path, b"[" * 100_000)[0] == 400
    assert ask(server, path, {"changes": [[0, "nonsense"]]})[0] == 400
    assert ask(server, path, {"changes": 3})[0] == 400
    assert ask(server, path)[0] == 404
    assert server.session.decisions == {}
    status, said, _ = ask(server, path, body)
    assert (status, json.loads(said)["dropped"]) == (200, 1)
    assert written(server.session) == {"rust/01.png": "drop"}
    assert json.loads(ask(server, f"/{server.token}/undo", {})[1])["undone"] == [number(server.session, "rust/01.png")]


def test_no_path_leads_to_a_file(server: Server, leaves: Path) -> None:
    inside = f"/{server.token}/"
    for path in ("../server.py", "server.py", "%2e%2e/server.py", "small/rust/00.png", "small/../../etc/passwd", "small/-1",
                 "small/99999999999999", "small/1e3", "huge/0", "small/", "about/x", "small/%C2%B2", "small/5"):  # fmt: skip
        assert ask(server, inside + path)[0] == 404, path
    assert ask(server, inside + "findings?ids=x")[0] == 400
    assert ask(server, inside + "findings?ids=-5,99,0")[0] == 200


def test_pictures_are_made_anew(server: Server, leaves: Path) -> None:
    row = number(server.session, "rust/01.png")
    with (leaves / "rust" / "01.png").open("ab") as file:
        file.write(b"what a stranger hid behind the picture")
    status, body, headers = ask(server, f"/{server.token}/small/{row}")
    assert (status, headers["content-type"]) == (200, "image/png")
    assert b"stranger" not in body
    assert json.loads(ask(server, f"/{server.token}/about/{row}")[1]) == {
        "format": "PNG", "width": 24, "height": 20, "bytes": (leaves / "rust" / "01.png").stat().st_size,
    }  # fmt: skip
    (leaves / "rust" / "00.png").write_bytes(b"<script>alert(1)</script>")
    assert ask(server, f"/{server.token}/large/{number(server.session, 'rust/00.png')}")[:2] == (204, b"")
    assert "error" in json.loads(ask(server, f"/{server.token}/about/{number(server.session, 'rust/00.png')}")[1])


def test_every_answer_is_guarded(server: Server) -> None:
    for path in ("/", f"/{server.token}/", f"/{server.token}/page.js", f"/{server.token}/none"):
        headers = ask(server, path)[2]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert "python" not in headers["server"].lower()


def test_after_the_end_nothing_is_decided(server: Server) -> None:
    server.rest()
    status, said, _ = ask(server, f"/{server.token}/decide", {"changes": [[number(server.session, "rust/01.png"), "drop"]]})
    assert (status, json.loads(said)["error"]) == (400, "the review has ended")


# --- the verb ---


def test_the_verb_serves_until_the_person_finishes(found: Findings, tmp_path: Path) -> None:
    def finish(address: str) -> None:
        port, token = int(address.split(":")[2].split("/")[0]), address.split("/")[3]
        for path, body in (("decide", {"changes": [[24, "drop"]]}), ("finish", {})):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            headers = {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
            connection.request("POST", f"/{token}/{path}", json.dumps(body), headers)
            assert connection.getresponse().status == 200
            connection.close()

    with events.listen(alone=True):
        done = review(found, tmp_path / "audit.csv", source="my leaves", ready=finish)
    assert str(done) == f"2 of 4 findings decided (pictures: 0 kept, 1 dropped, 0 relabelled) in {tmp_path / 'audit.csv'}"
    assert done.json()["dropped"] == 1
    assert decided(read(tmp_path / "audit.csv")) == {"rust/00.png": "drop"}


def test_a_port_that_is_taken_is_a_clear_error(server: Server, found: Findings, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        review(found, tmp_path / "other.csv", port=server.port)
    assert refused.value.code == "port-taken"


def test_pictures_with_several_labels_are_kept_or_dropped_only(found: Findings, tmp_path: Path) -> None:
    several = replace(found.pictures, targets=np.eye(3, dtype=np.uint8)[found.pictures.targets])
    session = Session(replace(found, pictures=several), tmp_path / "audit.csv")
    assert session.view(View(label="mildew"))["ids"] == [3]
    with pytest.raises(UsageError):
        session.decide([(number(session, "rust/00.png"), "relabel:healthy")])
    assert session.accept(View()) == 2
    assert session.summary()["multi"] is True
