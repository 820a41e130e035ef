from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import beholder
from beholder.base.errors import DataError, UsageError
from beholder.base.records import Finding, Pictures
from beholder.base.registry import Registry
from beholder.duplicates.facts import facts
from beholder.quality.audit import COLUMNS, Findings, applied, audit, read
from beholder.quality.checks import CHECKS, Check, Evidence, Marks
from beholder.sources import scan
from beholder.sources.digest import digested


@pytest.fixture
def pictures(leaves: Path) -> Pictures:
    return digested(scan(leaves))


def findings(pictures: Pictures, *rows: Finding) -> Findings:
    return Findings(pictures, rows, {"dark": len(pictures)})


def test_every_check_says_what_it_means_and_what_to_do() -> None:
    for name in CHECKS.names():
        check = CHECKS.load(name)
        assert isinstance(check, Check)
        assert check.sentence
        assert check.hint
        assert 0 < check.limit <= 1
        assert check.suggestion in ("keep", "drop", "relabel", "review")


def test_the_document_names_every_check(root: Path) -> None:
    text = (root / "docs" / "DATA_QUALITY.md").read_text("utf-8")
    assert [name for name in CHECKS.names() if f"| `{name}` |" not in text] == []


def test_a_sound_set_has_no_finding(pictures: Pictures) -> None:
    found = audit(
        Evidence(pictures, facts(pictures)), names=["unreadable", "extension", "dark", "size", "aspect", "grey", "colour-mode"]
    )
    assert len(found) == 0
    assert found.keep == list(pictures.keys)
    assert found.json()["checks"]["dark"] == {"looked": 36, "found": 0}


def test_checks_without_their_evidence_are_left_out_and_said(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    needy = Check(lambda _: Marks(np.ones(36)), 0.5, "s", "h", "labels", needs=("probabilities",))
    monkeypatch.setattr("beholder.quality.checks.NEEDY", needy, raising=False)
    monkeypatch.setattr("beholder.quality.audit.CHECKS", Registry("check", {"needy": "beholder.quality.checks:NEEDY"}))
    found = audit(Evidence(pictures, facts(pictures)))
    assert len(found) == 0
    assert "needy" in found.notes[0]
    with_them = audit(Evidence(pictures, facts(pictures), probabilities=np.ones((36, 3), np.float32)))
    assert len(with_them) == 36


def test_an_unknown_check_is_a_usage_error(pictures: Pictures) -> None:
    with pytest.raises(UsageError, match="there is no check named 'darkness'"):
        audit(Evidence(pictures, facts(pictures)), names=["darkness"])


def test_a_limit_can_be_given(pictures: Pictures) -> None:
    evidence = Evidence(pictures, facts(pictures))
    assert len(audit(evidence, names=["dark"], limits={"dark": 0.0})) == 36


def test_suggestions_stand_apart_from_decisions_and_only_these_and_what_is_certain_are_followed(pictures: Pictures) -> None:
    found = findings(
        pictures,
        Finding("rust/00.png", "label", 0.9, "w", "relabel:mildew"),
        Finding("rust/01.png", "label", 0.9, "w", "review"),
        Finding("rust/01.png", "dark", 0.9, "w", "drop"),
        Finding("rust/02.png", "dark", 0.9, "w", "keep"),
        Finding("rust/03.png", "label", 0.9, "w", "review", "", "relabel:healthy"),
        Finding("rust/04.png", "label", 0.9, "w", "relabel:mildew", "", "keep"),
        Finding("rust/05.png", "label", 0.9, "w", "relabel:mildew", "", "drop"),
        Finding("rust/06.png", "conflict", 1.0, "w", "drop"),
        Finding("rust/07.png", "conflict", 0.9, "w", "review"),
        Finding("rust/08.png", "conflict", 1.0, "w", "drop", "", "keep"),
        Finding("rust/09.png", "duplicate", 1.0, "w", "drop", "rust/00.png"),
        Finding("rust/10.png", "duplicate", 1.0, "w", "drop", "rust/05.png"),  # what it is a copy of is left out by decision
        Finding("rust/11.png", "unreadable", 1.0, "w", "drop"),
    )
    assert found.decisions == {
        "rust/03.png": "relabel:healthy",
        "rust/04.png": "keep",
        "rust/05.png": "drop",
        "rust/08.png": "keep",
    }
    kinds = {"rust/00.png": "relabel:mildew", "rust/01.png": "drop", "rust/03.png": "review", "rust/04.png": "relabel:mildew"}
    assert {key: found.suggestions[key] for key in kinds} == kinds
    assert "rust/02.png" not in found.suggestions
    assert found.drop == ["rust/06.png", "rust/11.png", "rust/09.png", "rust/05.png"]
    assert found.relabel == {"rust/03.png": "healthy"}
    assert len(found.keep) == 36 - 4 - 1
    kept = found.kept
    where = {key: kept.labels(row)[0] for row, key in enumerate(kept.keys)}
    assert set(pictures.keys) - set(where) == set(found.drop)
    assert {key: label for key, label in where.items() if label != key.split("/")[0]} == {"rust/03.png": "healthy"}
    assert [found.json()[name] for name in ("drop", "relabel", "review", "decided")] == [6, 3, 2, 4]


def test_a_class_that_is_new_comes_last(pictures: Pictures) -> None:
    after = applied(pictures, {"rust/00.png": "relabel:blight"})
    assert after.classes == ("healthy", "mildew", "rust", "blight")
    assert after.labels(list(after.keys).index("rust/00.png")) == ("blight",)


def test_the_table_comes_back_as_it_was_written(pictures: Pictures, tmp_path: Path) -> None:
    rows = (
        Finding('a, b\n"c".png', "dark", 0.25, 'it says "no"', "drop", "x;y.png"),
        Finding("\udcff.png", "label", 1.0, "w", "relabel:ü"),
    )
    path = findings(pictures, *rows).save(tmp_path / "audit.csv")
    assert path.read_text("utf-8", "surrogateescape").splitlines()[0] == ",".join(COLUMNS)
    assert read(path) == list(rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("picture,check\na,b\n", "no column suggestion"),
        ("picture,suggestion\na,maybe\n", "line 2: the suggestion is 'maybe'"),
        ("picture,suggestion\na,relabel:\n", "line 2"),
        ("picture,suggestion,decided\na,review,review\n", "line 2: the decision is 'review'"),
        ("picture,suggestion,score\na,keep,high\n", "the score is 'high'"),
        ("", "no column picture"),
    ],
)
def test_a_wrong_table_is_a_clear_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "audit.csv").write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path / "audit.csv")
    assert caught.value.hint


def test_a_table_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "audit.csv")


def test_the_verb_takes_a_source(leaves: Path) -> None:
    (leaves / "rust" / "00.png").write_bytes(b"")
    found = beholder.audit(leaves)
    assert "rust/00.png" in found.drop
    assert "rust/00.png" not in list(found.kept.keys)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("above", ["", "sep={}\r\n"])
def test_an_audit_that_a_spreadsheet_saved_again(mark: str, encoding: str, above: str, tmp_path: Path) -> None:
    lines = [
        ("picture", "check", "score", "verdict", "suggestion", "other", "decided"),
        ("Käfer/1.png", "label", "0.9", "it looks like mildew", "relabel:mildew", "", " Relabel: mildew "),
        ("Käfer/2.png", "dark", '"0,69"', "almost all of it is dark", "keep", "", "DROP"),
    ]
    text = above.format(mark) + "\r\n".join(mark.join(line) for line in lines) + "\r\n"
    (tmp_path / "audit.csv").write_bytes(text.encode(encoding))
    found = read(tmp_path / "audit.csv")
    assert [(row.picture, row.score, row.decided) for row in found] == [
        ("Käfer/1.png", 0.9, "relabel:mildew"),
        ("Käfer/2.png", 0.69, "drop"),
    ]
