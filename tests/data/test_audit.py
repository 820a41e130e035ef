from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import beholder
from beholder.base.errors import DataError, UsageError
from beholder.base.records import Finding, Pictures
from beholder.data.audit import COLUMNS, Findings, applied, audit, read
from beholder.data.checks import CHECKS, Check, Evidence, Marks
from beholder.data.digest import digested
from beholder.data.facts import facts
from beholder.data.sources import scan


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
        assert check.suggestion in ("keep", "drop", "relabel")


def test_the_document_names_every_check(root: Path) -> None:
    text = (root / "docs" / "DATA_QUALITY.md").read_text("utf-8")
    assert [name for name in CHECKS.names() if f"| `{name}` |" not in text] == []


def test_a_sound_set_has_no_finding(pictures: Pictures) -> None:
    found = audit(
        Evidence(pictures, facts(pictures)), names=["unreadable", "extension", "dark", "size", "aspect", "grey", "mode"]
    )
    assert len(found) == 0
    assert found.keep == list(pictures.keys)
    assert found.json()["checks"]["dark"] == {"looked": 36, "found": 0}


def test_checks_without_their_evidence_are_left_out_and_said(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    needy = Check(lambda _: Marks(np.ones(36)), 0.5, "s", "h", "labels", needs=("probabilities",))
    monkeypatch.setattr("beholder.data.audit.CHECKS", {"needy": needy} | {"x": needy})

    class Fake:
        def names(self) -> list[str]:
            return ["needy"]

        def load(self, name: str) -> Check:
            return needy

    monkeypatch.setattr("beholder.data.audit.CHECKS", Fake())
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


def test_following_suggestions_drops_and_relabels_and_drop_wins(pictures: Pictures) -> None:
    found = findings(
        pictures,
        Finding("rust/00.png", "label", 0.9, "w", "relabel:mildew"),
        Finding("rust/01.png", "label", 0.9, "w", "relabel:mildew"),
        Finding("rust/01.png", "dark", 0.9, "w", "drop"),
        Finding("rust/02.png", "dark", 0.9, "w", "keep"),
    )
    assert found.drop == ["rust/01.png"]
    assert found.relabel == {"rust/00.png": "mildew"}
    assert len(found.keep) == 34
    kept = found.kept
    assert "rust/01.png" not in list(kept.keys)
    assert kept.labels(list(kept.keys).index("rust/00.png")) == ("mildew",)
    assert kept.labels(list(kept.keys).index("rust/02.png")) == ("rust",)
    assert pictures.labels(list(pictures.keys).index("rust/00.png")) == ("rust",)


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
