"""Every old name still works, warns and stands in the changelog; nobody is warned of what a run left on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

import beholder
from beholder.base import events
from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe, from_toml, names, value_of
from beholder.base.renamed import GONE, RENAMED, TWICE, arguments, current
from beholder.cli.run import run
from beholder.evaluation.chosen import part_named
from beholder.evaluation.sections import chosen
from beholder.quality.audit import read

ROOT = Path(__file__).parents[2]
PAIRS = [(kind, old, new) for kind, table in RENAMED.items() for old, new in table.items()]


@pytest.mark.parametrize(("kind", "old", "new"), PAIRS)
def test_an_old_name_means_the_new_one_warns_and_is_in_the_changelog(kind: str, old: str, new: str) -> None:
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        assert current(kind, old) == new
        assert current(kind, new) == new
        assert current(kind, old, warn=False) == new
    (warning,) = heard
    assert warning.kind == "warn"
    assert old in warning.message
    assert f"write {new}; Beholder {GONE} no longer reads {old}" == warning.fields["hint"]
    assert f"`{old}`" in (ROOT / "CHANGELOG.md").read_text("utf-8").split("## 0.2.0")[1].split("\n## ")[0]


def test_words_of_a_command_line_get_their_current_names_and_values_stay() -> None:
    with events.listen(alone=True):
        assert arguments(["settle", "m", "--accept-risk=0.1", "settle"]) == ["calibrate", "m", "--target-risk=0.1", "settle"]
        assert arguments(["evaluate", "--strangers", "x", "--", "--strangers"]) == [
            "evaluate",
            "--ood",
            "x",
            "--",
            "--strangers",
        ]
        assert arguments([]) == []


def test_old_commands_and_options_run_and_are_not_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["settle", "nowhere.beholder", "x", "--accept-risk", "0.1"]) == 2
    said = capsys.readouterr().err
    assert "the command settle is now calibrate" in said
    assert "nowhere.beholder" in said
    assert run(["--help"]) == 0
    assert "settle" not in capsys.readouterr().out


@pytest.mark.parametrize("old", RENAMED["recipe field"])
def test_old_fields_of_a_recipe_are_read(old: str) -> None:
    new = RENAMED["recipe field"][old]
    heard: list[events.Event] = []
    section, _, field = old.partition(".")
    text = f"[{section}]\n{field} = 0.3\n"
    assert new in names()
    assert old not in names()
    with events.listen(heard.append, alone=True):
        assert value_of(from_toml(text, done=True), new) == 0.3
        assert not heard
        assert value_of(from_toml(text), new) == 0.3
        assert value_of(Recipe().set(**{field: 0.3}), new) == 0.3
        assert value_of(Recipe().override([f"{old}=0.3"]), new) == 0.3
    assert [event.kind for event in heard] == ["warn"] * 3


def test_the_class_by_its_old_name() -> None:
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        assert beholder.Guess is beholder.Prediction  # type: ignore[attr-defined]
    assert "Guess is now Prediction" in heard[0].message
    assert "Guess" not in dir(beholder)


def test_the_validation_part_by_either_name(leaves: Path) -> None:
    pictures = beholder.scan(leaves)
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        new, old = beholder.split(pictures, val=0.3, near=False), beholder.split(pictures, valid=0.3, near=False)
    assert list(new.val.keys) == list(old.valid.keys)
    assert sum(event.kind == "warn" and "valid" in event.message for event in heard) == 1


def test_old_names_of_checks_and_sections_are_read(leaves: Path, tmp_path: Path) -> None:
    (tmp_path / "audit.csv").write_text(
        "picture,check,score,verdict,suggestion,other,decided\nrust/00.png,near,0.9,as another,keep,rust/01.png,drop\n"
    )
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        assert [(row.check, row.decided) for row in read(tmp_path / "audit.csv")] == [("near-duplicate", "drop")]
        assert not heard
        assert chosen("strangers, sealed") == ["ood", "reuse"]
        assert set(beholder.audit(leaves, checks=["upscaled", "mode"]).looked) == {"low-detail", "colour-mode"}
    old = [event.message.split()[2] for event in heard if event.kind == "warn"]
    assert old == ["strangers", "sealed", "upscaled", "mode"]


def test_val_is_a_name_of_the_validation_part_of_a_test() -> None:
    assert [part_named(name) for name in ("val", "valid", "validation", "test", "all")] == ["valid"] * 3 + ["test", "all"]
    with pytest.raises(UsageError, match="there is no part 'vall'"):
        part_named("vall")


def test_old_names_go_in_a_release_that_is_still_to_come() -> None:
    """When the version reaches `GONE`, the old names go, and with them these tables."""
    assert _numbers(beholder.__version__) < _numbers(GONE)
    assert f"until {GONE}" in (ROOT / "CHANGELOG.md").read_text("utf-8").split("\n## ")[1]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@pytest.mark.parametrize(("old", "new"), [pair for table in TWICE.values() for pair in table.items()])
def test_a_key_of_json_that_is_written_twice_is_in_the_changelog(old: str, new: str) -> None:
    section = (ROOT / "CHANGELOG.md").read_text("utf-8").split("\n## ")[1]
    assert f"`{old}`" in section
    assert f"`{new}`" in section


def test_whatever_is_announced_as_going_names_the_release_and_what_to_write() -> None:
    """No "deprecated", no DeprecationWarning: what goes is in the tables, or says the release itself."""
    for path in (ROOT / "src" / "beholder").rglob("*.py"):
        text = path.read_text("utf-8")
        assert "DeprecationWarning(" not in text, path
        assert "next release" not in text, f"{path}: name the release"
