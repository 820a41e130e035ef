"""An audit that goes on from an older one: decisions are kept, and nothing that is no audit is overwritten."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest

from beholder.base.errors import DataError
from beholder.quality.audit import decided, read
from beholder.review import review
from beholder.study.examine import audited


def test_an_audit_keeps_what_a_person_decided(leaves: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.csv"
    assert audited(str(leaves), out, checks=["uniform"]).rows == ()
    with out.open("a") as file:
        file.write("rust/00.png,uniform,1,even,drop,,relabel:healthy\n")
    found = audited(str(leaves), out, checks=["uniform"])
    assert decided(found.rows) == decided(read(out)) == {"rust/00.png": "relabel:healthy"}
    assert found.relabel == {"rust/00.png": "healthy"}


@pytest.mark.parametrize("text", ["dear,sir\n", "picture,suggestion,decided\nelsewhere/1.png,keep,drop\n"])
def test_what_is_no_audit_of_the_source_stays_as_it_is(text: str, leaves: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.csv"
    out.write_text(text)
    for go_on in (False, True):
        with pytest.raises(DataError):
            audited(str(leaves), out, go_on=go_on)
        assert out.read_text() == text


def test_going_on_audits_anew_where_there_is_no_audit_or_checks_are_asked(leaves: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.csv"
    assert audited(str(leaves), out, go_on=True, checks=["uniform"]).looked == {"uniform": 36}
    assert audited(str(leaves), out, go_on=True).looked == {}
    assert audited(str(leaves), out, go_on=True, checks=["dark"]).looked == {"dark": 36}


def test_the_page_goes_on_with_the_audit_that_is_there(leaves: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit.csv"
    out.write_text("picture,check,score,verdict,suggestion\nrust/00.png,mine,0.5,my own finding,drop\n")

    def finish(address: str) -> None:
        port, token = int(address.split(":")[2].split("/")[0]), address.split("/")[3]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
        connection.request("POST", f"/{token}/accept", json.dumps({"check": "mine"}), headers)
        assert json.loads(connection.getresponse().read())["accepted"] == 1
        connection.request("POST", f"/{token}/finish", "{}", headers)
        connection.getresponse().read()
        connection.close()

    done = review(audited(str(leaves), out, go_on=True), out, ready=finish)
    assert (done.findings, done.dropped) == (1, 1)
    assert out.read_text().splitlines()[1] == "rust/00.png,mine,0.5000,my own finding,drop,,drop,"
