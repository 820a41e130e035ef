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
from beholder.data.audit import Findings, decided, followed, read
from beholder.data.decisions import continued, reopened, with_decisions
from beholder.data.sources import scan
from beholder.use.review import review
from beholder.use.review.desk import Desk, View
from beholder.use.review.server import Server

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
def desk(found: Findings, tmp_path: Path) -> Desk:
    return Desk(found, tmp_path / "audit.csv")


def number(desk: Desk, key: str) -> int:
    return list(desk.pictures.keys).index(key)


def written(desk: Desk) -> dict[str, str]:
    return decided(read(desk.path))


# --- decisions ---


def test_findings_stand_by_check_the_surest_first(desk: Desk) -> None:
    view = desk.view(View())
    shown = desk.findings(view["ids"])  # type: ignore[arg-type]
    assert [(row["key"], row["check"]) for row in shown] == [
        ("rust/01.png", "dark"),
        ("rust/00.png", "dark"),
        ("rust/00.png", "twins"),
        ("mildew/00.png", "labels"),
    ]
    assert shown[2]["other"] == {"picture": 0, "key": "healthy/00.png", "label": "healthy", "part": "", "decided": ""}
    assert view["open"] == "1111"


def test_a_decision_is_in_the_file_at_once_and_undo_takes_it_out(desk: Desk) -> None:
    a, b = number(desk, "rust/00.png"), number(desk, "healthy/00.png")
    desk.decide([(a, "keep"), (b, "drop")])
    assert written(desk) == {"rust/00.png": "keep", "healthy/00.png": "drop"}
    assert followed(read(desk.path)) == {"mildew/00.png": "relabel:rust", "healthy/00.png": "drop"}
    assert desk.view(View())["open"] == "1001"
    desk.decide([(a, "drop")])
    assert written(desk)["rust/00.png"] == "drop"
    assert desk.undo() == [a]
    assert written(desk)["rust/00.png"] == "keep"
    assert desk.undo() == [a, b]
    assert written(desk) == {}
    assert desk.undo() == []
    assert read(desk.path)[0] == ROWS[0]


def test_progress_counts_pictures(desk: Desk) -> None:
    desk.decide([(number(desk, "rust/00.png"), "drop")])
    desk.decide([(number(desk, "mildew/00.png"), "relabel:new one")])
    assert desk.progress() == {
        "suspects": 3, "decided": 2, "kept": 0, "dropped": 1, "relabelled": 1, "undo": 2,
        "waiting": {"dark": 1, "twins": 0, "labels": 0},
    }  # fmt: skip


def test_views_filter_by_check_class_and_state(desk: Desk) -> None:
    assert desk.view(View(check="dark"))["ids"] == [0, 1]
    assert desk.view(View(label="mildew"))["ids"] == [3]
    assert desk.view(View(label="no such"))["ids"] == []
    assert desk.view(View(check="no such"))["ids"] == []
    desk.decide([(number(desk, "rust/00.png"), "keep")])
    assert desk.view(View(show="open"))["ids"] == [0, 3]
    assert desk.view(View("dark", "rust", "decided"))["ids"] == [1]


def test_all_suggestions_in_view_are_one_step(desk: Desk) -> None:
    desk.decide([(number(desk, "mildew/00.png"), "keep")])
    assert desk.accept(View()) == 2
    assert written(desk) == {"rust/01.png": "keep", "rust/00.png": "drop", "mildew/00.png": "keep"}
    desk.undo()
    assert written(desk) == {"mildew/00.png": "keep"}


@pytest.mark.parametrize("what", ["no", "relabel:", "relabel: x", "relabel:a\nb", "relabel:" + "x" * 201, "Drop"])
def test_what_is_no_decision_is_refused(what: str, desk: Desk) -> None:
    with pytest.raises(UsageError):
        desk.decide([(number(desk, "rust/01.png"), what)])
    with pytest.raises(UsageError):
        desk.decide([(5, "drop")])  # no finding names it
    assert desk.decisions == {}


def test_a_full_disk_takes_no_decision(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise MachineError("the disk is full", code="disk-full")

    monkeypatch.setattr("beholder.use.review.desk.write_atomic", full)
    with pytest.raises(MachineError):
        desk.decide([(number(desk, "rust/01.png"), "drop")])
    assert desk.decisions == {}
    assert desk.progress()["undo"] == 0


# --- from one audit to the next ---


def test_decisions_come_back_and_outlive_an_audit(desk: Desk, found: Findings) -> None:
    desk.decide([(number(desk, "rust/00.png"), "keep"), (number(desk, "healthy/00.png"), "drop")])
    again = Desk(reopened(found.pictures, desk.path), desk.path)
    assert again.decisions == desk.decisions
    assert again.view(View())["open"] == "1001"
    anew = continued(replace(found, rows=ROWS[:2]), desk.path)
    assert followed(anew.rows) == {"healthy/00.png": "drop"}
    assert decided(anew.rows) == desk.decisions
    assert decided(with_decisions(anew, {"healthy/00.png": ""}).rows) == {"rust/00.png": "keep"}


def test_decisions_about_another_source_are_not_overwritten(desk: Desk, found: Findings, tmp_path: Path, draw: Any) -> None:
    other = scan(draw(tmp_path / "other" / "deep", each=2).parent / "deep")
    other = replace(other, keys=[f"x{key}" for key in other.keys])
    desk.save()
    assert continued(Findings(other, (), {}), desk.path).rows == ()
    desk.decide([(number(desk, "rust/00.png"), "keep")])
    with pytest.raises(DataError) as refused:
        continued(Findings(other, (), {}), desk.path)
    assert refused.value.code == "other-audit"
    with pytest.raises(DataError, match="not in the source"):
        Desk(Findings(other, ROWS, {}), desk.path)
    (tmp_path / "letter.csv").write_text("dear,sir\n1,2\n")
    with pytest.raises(DataError):
        continued(found, tmp_path / "letter.csv")


# --- the server ---


@pytest.fixture
def server(desk: Desk) -> Iterator[Server]:
    with Server(desk, following="next") as made:
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
    path, body = f"/{server.token}/decide", {"changes": [[number(server.desk, "rust/01.png"), "drop"]]}
    assert ask(server, path, body, Origin="http://evil.example")[0] == 400
    assert ask(server, path, body, Origin="null")[0] == 400
    assert ask(server, path, body, Content_Type="text/plain")[0] == 400
    assert ask(server, path, b"x" * 10, Content_Length=str(2 << 20))[0] == 400
    assert ask(server, path, b"[1")[0] == 400
    assert ask(server, path, b"[" * 100_000)[0] == 400
    assert ask(server, path, {"changes": [[0, "nonsense"]]})[0] == 400
    assert ask(server, path, {"changes": 3})[0] == 400
    assert ask(server, path)[0] == 404
    assert server.desk.decisions == {}
    status, said, _ = ask(server, path, body)
    assert (status, json.loads(said)["dropped"]) == (200, 1)
    assert written(server.desk) == {"rust/01.png": "drop"}
    assert json.loads(ask(server, f"/{server.token}/undo", {})[1])["undone"] == [number(server.desk, "rust/01.png")]


def test_no_path_leads_to_a_file(server: Server, leaves: Path) -> None:
    inside = f"/{server.token}/"
    for path in ("../server.py", "server.py", "%2e%2e/server.py", "small/rust/00.png", "small/../../etc/passwd", "small/-1",
                 "small/99999999999999", "small/1e3", "huge/0", "small/", "about/x", "small/%C2%B2", "small/5"):  # fmt: skip
        assert ask(server, inside + path)[0] == 404, path
    assert ask(server, inside + "findings?ids=x")[0] == 400
    assert ask(server, inside + "findings?ids=-5,99,0")[0] == 200


def test_pictures_are_made_anew(server: Server, leaves: Path) -> None:
    row = number(server.desk, "rust/01.png")
    with (leaves / "rust" / "01.png").open("ab") as file:
        file.write(b"what a stranger hid behind the picture")
    status, body, headers = ask(server, f"/{server.token}/small/{row}")
    assert (status, headers["content-type"]) == (200, "image/png")
    assert b"stranger" not in body
    assert json.loads(ask(server, f"/{server.token}/about/{row}")[1]) == {
        "format": "PNG", "width": 24, "height": 20, "bytes": (leaves / "rust" / "01.png").stat().st_size,
    }  # fmt: skip
    (leaves / "rust" / "00.png").write_bytes(b"<script>alert(1)</script>")
    assert ask(server, f"/{server.token}/large/{number(server.desk, 'rust/00.png')}")[:2] == (204, b"")
    assert "error" in json.loads(ask(server, f"/{server.token}/about/{number(server.desk, 'rust/00.png')}")[1])


def test_every_answer_is_guarded(server: Server) -> None:
    for path in ("/", f"/{server.token}/", f"/{server.token}/page.js", f"/{server.token}/none"):
        headers = ask(server, path)[2]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert "python" not in headers["server"].lower()


def test_after_the_end_nothing_is_decided(server: Server) -> None:
    server.rest()
    status, said, _ = ask(server, f"/{server.token}/decide", {"changes": [[number(server.desk, "rust/01.png"), "drop"]]})
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
    assert str(done) == f"1 of 3 suspects decided (0 kept, 1 dropped, 0 relabelled) in {tmp_path / 'audit.csv'}"
    assert done.json()["dropped"] == 1
    assert decided(read(tmp_path / "audit.csv")) == {"rust/00.png": "drop"}


def test_a_port_that_is_taken_is_a_clear_error(server: Server, found: Findings, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        review(found, tmp_path / "other.csv", port=server.port)
    assert refused.value.code == "port-taken"


def test_pictures_with_several_labels_are_kept_or_dropped_only(found: Findings, tmp_path: Path) -> None:
    several = replace(found.pictures, targets=np.eye(3, dtype=np.uint8)[found.pictures.targets])
    desk = Desk(replace(found, pictures=several), tmp_path / "audit.csv")
    assert desk.view(View(label="mildew"))["ids"] == [3]
    with pytest.raises(UsageError):
        desk.decide([(number(desk, "rust/00.png"), "relabel:healthy")])
    assert desk.accept(View()) == 2
    assert desk.summary()["multi"] is True
