from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.base import events
from beholder.base.recipe import load
from beholder.base.records import Finding, Pictures
from beholder.bundle.config import Audited
from beholder.cli.run import run
from beholder.duplicates.near import Twins
from beholder.quality.audit import Findings
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study.examine import examined
from beholder.study.policy import curated
from beholder.study.steps import steps

RECIPE = load("quick").set(net="cnn", epochs=2, batch=8)


@pytest.fixture
def pictures(leaves: Path) -> Pictures:
    return digested(scan(leaves))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, pictures: Pictures) -> Findings:
    """Suggestions for every rust picture: relabel; for some mildew: a copy, review; and one contradiction."""
    rows = [Finding(f"rust/{k:02}.png", "blurred", 0.9, "w", "relabel:mildew") for k in range(12)]
    rows += [Finding(f"mildew/{k:02}.png", "duplicate", 1.0, "w", "drop", "mildew/00.png") for k in range(6, 12)]
    rows += [Finding("mildew/05.png", "blurred", 0.9, "w", "review")]
    rows += [Finding("healthy/00.png", "conflict", 1.0, "w", "drop")]
    found = Findings(pictures, tuple(rows), {"blurred": 36})
    none = Findings(pictures, (), {})
    monkeypatch.setattr("beholder.study.policy.examined", lambda *_, checks, **__: found if "dark" in checks else none)
    return found


def labels(pictures: Pictures) -> dict[str, str]:
    return {key: pictures.labels(row)[0] for row, key in enumerate(pictures.keys)}


def test_decisions_of_a_system_that_writes_names_otherwise(leaves: Path, tmp_path: Path) -> None:
    (leaves / "rust").rename(leaves / unicodedata.normalize("NFD", "Käfer"))
    (leaves / "mildew/00.png").rename(leaves / unicodedata.normalize("NFD", "mildew/größe.png"))
    source = digested(scan(leaves))
    rows = ["mildew/größe.png,dark,1,w,keep,,drop", "mildew/01.png,dark,1,w,keep,,relabel:Käfer"]
    told = reviewed(tmp_path / "audit.csv", *(unicodedata.normalize("NFC", row) for row in rows))
    found = curated(source, RECIPE.set(decisions=told, audit="off"))
    every = {key: label for _, part in found.parts.items() for key, label in labels(part).items()}
    assert len(every) == 35
    assert every["mildew/01.png"] == unicodedata.normalize("NFC", "Käfer")


@pytest.mark.usefixtures("planted")
def test_report_only_mends_contradictions(pictures: Pictures) -> None:
    found = curated(pictures, RECIPE)
    assert found.done == {"healthy/00.png": "drop"}
    every = {key: label for _, part in found.parts.items() for key, label in labels(part).items()}
    assert "healthy/00.png" not in every
    assert len(every) == 35
    assert all(label == key.split("/")[0] for key, label in every.items())


@pytest.mark.usefixtures("planted")
def test_fix_does_what_cannot_be_wrong_and_changes_no_label(pictures: Pictures) -> None:
    found = curated(pictures, RECIPE.set(audit="fix"))
    copies = {f"mildew/{k:02}.png" for k in range(6, 12)} - set(found.parts.test.keys)
    assert copies
    assert found.done == dict.fromkeys({"healthy/00.png", *copies}, "drop")
    every = {key: label for _, part in found.parts.items() for key, label in labels(part).items()}
    assert all(label == key.split("/")[0] for key, label in every.items())


@pytest.mark.usefixtures("planted")
def test_relabel_follows_every_suggestion_but_leaves_the_labels_of_the_test_part(pictures: Pictures) -> None:
    found = curated(pictures, RECIPE.set(audit="relabel"))
    for name, part in found.parts.items():
        rust = {label for key, label in labels(part).items() if key.startswith("rust")}
        assert rust == ({"rust"} if name == "test" else {"mildew"})
    assert all(not key.startswith("rust") or what == "relabel:mildew" for key, what in found.done.items())
    copies = {f"mildew/{k:02}.png" for k in range(6, 12)} - set(found.parts.test.keys)
    assert {key for key, what in found.done.items() if what == "drop"} == {"healthy/00.png", *copies}


@pytest.mark.usefixtures("planted")
def test_off_looks_at_nothing(pictures: Pictures) -> None:
    found = curated(pictures, RECIPE.set(audit="off"))
    assert found.findings is None
    assert found.record("off") == Audited("off")
    assert sum(len(part) for _, part in found.parts.items()) == 36


def test_unreadable_pictures_stay_the_caches_business(leaves: Path) -> None:
    (leaves / "rust" / "00.png").write_bytes(b"")
    found = curated(digested(scan(leaves)), RECIPE.set(audit="fix"))
    assert "rust/00.png" in {key for _, part in found.parts.items() for key in part.keys}
    assert found.done["rust/00.png"] == "drop", "it is left out, and the bundle says so"
    with pytest.raises(beholder.DataError):
        steps(leaves, recipe=RECIPE.set(audit="fix", on_bad="stop"))


@pytest.mark.usefixtures("planted")
def test_a_run_says_keeps_and_shows_what_was_found_and_done(leaves: Path, tmp_path: Path) -> None:
    heard: list[events.Event] = []
    out = tmp_path / "m.beholder"
    with events.listen(heard.append, alone=True):
        outcome = steps(leaves, recipe=RECIPE, out=out)
    said = " ".join(event.message for event in heard)
    assert "1 picture left out, 0 pictures given" in said
    assert "18 suggestions are not followed" in said
    assert "--audit relabel" in said
    assert outcome.bundle.config.audit == Audited("report", {"blurred": 13}, dropped=1)
    again = beholder.load(out)
    assert again.audit == outcome.bundle.audit
    rows = {row["picture"]: row for row in csv.DictReader(io.StringIO(again.audit))}
    assert rows["healthy/00.png"]["done"] == "drop"
    assert rows["rust/00.png"]["done"] == ""
    report = (out / "report.html").read_text("utf-8")
    assert "Data audit" in report
    assert "rust/00.png" in report


@pytest.mark.parametrize(("policy", "done", "tested"), [("drop", "drop", 18), ("move", "move:test", 19)])
def test_twins_across_given_parts_are_dropped_or_moved_and_the_score_without_them_is_said(
    policy: str, done: str, tested: int, tmp_path: Path, draw: Callable[..., Path]
) -> None:
    for part, each in (("train", 20), ("test", 6)):
        draw(tmp_path / "set" / part, each=each, size=(64, 48))
    for file in sorted((tmp_path / "set" / "test").rglob("*.png")):
        pixels = np.asarray(Image.open(file)).copy()
        pixels[:20, :20] = np.random.default_rng(int(file.stem) + 100).integers(0, 255, (20, 20, 3))
        Image.fromarray(pixels).save(file)  # the parts were drawn alike: now they differ
    twin = tmp_path / "set" / "test" / "rust" / "00.png"
    Image.open(twin).save(tmp_path / "set" / "train" / "rust" / "twin.bmp")
    outcome = steps(tmp_path / "set", recipe=RECIPE.set(leaks=policy))
    assert outcome.bundle.config.parts["test"] == tested
    assert sum(outcome.bundle.config.parts.values()) == 78 + (policy == "move")
    assert (outcome.bundle.config.audit.dropped, outcome.bundle.config.audit.moved) == ((1, 0) if policy == "drop" else (0, 1))
    rows = {row["picture"]: row for row in csv.DictReader(io.StringIO(outcome.bundle.audit)) if row["check"] == "leak"}
    assert rows["train/rust/twin.bmp"]["done"] == done
    assert any("without them: accuracy" in note and "(n=17)" in note for note in outcome.evaluation.notes)
    assert outcome.evaluation.json()["without_leaks"]["accuracy"]["n"] == 17
    assert outcome.evaluation.json()["scores"]["accuracy"]["n"] == tested


TRAIN, VALID, TEST = 0, 1, 2


def leaking(pictures: Pictures, parts: Sequence[int], groups: Sequence[int], ties: Sequence[tuple[int, int]]) -> Findings:
    """Findings on the first pictures, with given parts, groups and near twins; the leaks among them are marked as they are."""
    some = replace(pictures.take(np.arange(len(parts))), parts=np.array(parts, np.int8), groups=np.array(groups, np.int64))
    near = np.array(ties, np.int64).reshape(-1, 2)
    return Findings(some, (), {}, twins=Twins(np.arange(len(parts)), near, np.full(len(near), 0.9)))


@pytest.mark.parametrize(
    ("policy", "parts", "ties", "done"),
    [
        ("drop", [TRAIN, TRAIN, TEST, TRAIN, VALID], [(0, 1), (1, 2)], {1: "drop"}),
        # A picture that has moved takes its own twins with it: none may stay behind in the part that it left.
        ("move", [TRAIN, TRAIN, TEST, TRAIN, VALID], [(0, 1), (1, 2)], {0: "move:test", 1: "move:test"}),
        ("move", [TRAIN, VALID, TEST, TRAIN, VALID], [(0, 1)], {0: "move:valid"}),
        ("move", [TRAIN, VALID, TEST, TRAIN, VALID], [(0, 1), (1, 2)], {0: "move:test", 1: "move:test"}),
        # Group 7 stays whole: its picture is left out instead.
        ("move", [TRAIN, TRAIN, VALID, TRAIN, TEST], [(3, 4)], {3: "drop"}),
        ("move", [TRAIN, TRAIN, VALID, -1, TEST], [(3, 4)], {}),
    ],
)
def test_after_leaks_are_mended_no_twins_are_across_parts(
    policy: str,
    parts: list[int],
    ties: list[tuple[int, int]],
    done: dict[int, str],
    pictures: Pictures,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = leaking(pictures, parts, [-1, -1, -1, 7, -1], ties)
    none = Findings(found.pictures, (), {})
    monkeypatch.setattr("beholder.study.policy.examined", lambda *_, checks, **__: found if "dark" in checks else none)
    result = curated(found.pictures, RECIPE.set(leaks=policy))
    keys = list(found.pictures.keys)
    assert result.done == {keys[row]: what for row, what in done.items()}
    where = {key: name for name, part in result.parts.items() for key in part.keys}
    assert all(where[keys[row]] == what.partition(":")[2] for row, what in done.items() if what != "drop")
    assert all(where.get(keys[a], where.get(keys[b])) == where.get(keys[b], where.get(keys[a])) for a, b in ties)


def test_a_leak_whose_label_contradicts_its_twins_is_not_moved(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    found = leaking(pictures, [TRAIN, TRAIN, VALID, TEST], [-1] * 4, [(1, 3)])
    other = np.array([0, 1, 0, 0])
    found = replace(found, pictures=replace(found.pictures, targets=other))
    monkeypatch.setattr(
        "beholder.study.policy.examined", lambda given, *_, checks, **__: found if "dark" in checks else Findings(given, (), {})
    )
    assert curated(found.pictures, RECIPE.set(leaks="move")).done == {found.pictures.keys[1]: "drop"}


def test_training_pictures_that_are_all_in_the_test_part_too_are_an_error_that_says_so(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = leaking(pictures, [TRAIN, TRAIN, TEST, TEST], [-1] * 4, [(0, 2), (1, 3)])
    monkeypatch.setattr("beholder.study.policy.examined", lambda *_, **__: found)
    with pytest.raises(beholder.DataError, match="every training picture has a duplicate") as error:
        curated(found.pictures, RECIPE)
    assert error.value.code == "all-leaked"


def test_nets_judge_no_picture_of_the_test_part(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[set[str], bool]] = []

    def look(given: Pictures, *_: object, checks: Sequence[str], from_scratch: bool = True, **__: object) -> Findings:
        if "label" in checks:
            asked.append((set(given.keys), from_scratch))
        return Findings(given, (), {})

    monkeypatch.setattr("beholder.study.policy.examined", look)
    for policy in ("report", "fix", "relabel"):
        found = curated(pictures, RECIPE.set(audit=policy))
        assert asked[-1][0] == {*found.parts.train.keys, *found.parts.valid.keys}
    assert [scratch for _, scratch in asked] == [False, False, True], "nets are trained only for labels that are changed"


def test_near_twins_of_very_many_pictures_are_left_to_the_audit_whatever_the_minutes(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def look(given: Pictures, *_: object, checks: Sequence[str], near: bool = True, **__: object) -> Findings:
        if "duplicate" in checks:
            asked.append(near)
            assert ("near-duplicate" in checks) is near
        return Findings(given, (), {})

    monkeypatch.setattr("beholder.study.policy.examined", look)
    for most in (36, 35):
        monkeypatch.setattr("beholder.duplicates.near.NEAR", most)
        for minutes in (0, 10, 0.001):
            curated(pictures, RECIPE.set(minutes=minutes))
    assert asked == [True] * 3 + [False] * 3


def test_the_findings_of_a_second_run_are_remembered_and_new_labels_are_judged_anew(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = examined(pictures, RECIPE, checks=["dark", "conflict"])
    with monkeypatch.context() as patch:
        patch.setattr("beholder.study.examine.run_checks", None)
        again = examined(pictures, RECIPE, checks=["dark", "conflict"])
        assert again.csv() == first.csv()
        assert again.looked == first.looked
        assert again.twins is not None
        with pytest.raises(TypeError):
            examined(pictures.take(np.arange(20)), RECIPE, checks=["dark", "conflict"])


HEADER = "picture,check,score,verdict,suggestion,other,decided"


def reviewed(path: Path, *lines: str) -> str:
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return str(path)


@pytest.mark.parametrize("policy", ["report", "fix", "relabel", "off"])
@pytest.mark.usefixtures("planted")
def test_what_a_person_decided_is_done_in_every_part_and_wins(policy: str, pictures: Pictures, tmp_path: Path) -> None:
    rows = [f"rust/{k:02}.png,blurred,0.9,w,drop,,keep" for k in range(12)]
    rows += [f"mildew/{k:02}.png,mine,1,w,keep,,relabel:scab" for k in range(12)]
    rows += ["healthy/00.png,conflict,1,w,drop,,keep", "healthy/01.png,review,1,w,keep,,drop"]
    found = curated(pictures, RECIPE.set(audit=policy, decisions=reviewed(tmp_path / "audit.csv", *rows)))
    every = {key: label for _, part in found.parts.items() for key, label in labels(part).items()}
    assert set(pictures.keys) - set(every) == {"healthy/01.png"}
    assert {label for key, label in every.items() if key.startswith("mildew")} == {"scab"}
    assert {label for key, label in every.items() if key.startswith("rust")} == {"rust"}
    assert all(part.classes == ("healthy", "rust", "scab") for _, part in found.parts.items())
    assert found.done == {f"mildew/{k:02}.png": "relabel:scab" for k in range(12)} | {"healthy/01.png": "drop"}
    assert found.findings is not None
    written = {row["picture"]: row for row in csv.DictReader(io.StringIO(found.findings.csv(done=found.done)))}
    assert (written["mildew/00.png"]["decided"], written["mildew/00.png"]["done"]) == ("relabel:scab", "relabel:scab")
    assert (written["healthy/00.png"]["decided"], written["healthy/00.png"]["done"]) == ("keep", "")


@pytest.mark.usefixtures("planted")
def test_what_nobody_decided_is_left_untouched_unless_every_suggestion_is_asked_for(pictures: Pictures, tmp_path: Path) -> None:
    rows = [f"{key},blurred,0.9,w,relabel:healthy,," for key in pictures.keys if not key.startswith("healthy")]
    rows += ["rust/00.png,unheard,0.9,w,relabel:never,,", "elsewhere/00.png,dark,0.9,w,drop,,drop", ",few,0.4,w,keep,,"]
    rows += ["healthy/03.png,dark,0.9,w,drop,,", "healthy/05.png,dark,1,w,keep,,keep"]
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        untouched = curated(pictures, RECIPE.set(decisions=reviewed(tmp_path / "audit.csv", *rows)))
        found = curated(pictures, RECIPE.set(decisions=str(tmp_path / "audit.csv"), audit="relabel"))
    assert untouched.done == {}, "the contradiction of healthy/00.png too: a person was asked about it and said nothing"
    every = {key: label for _, part in untouched.parts.items() for key, label in labels(part).items()}
    assert every == labels(pictures)
    for name, part in found.parts.items():
        others = {label for key, label in labels(part).items() if key.startswith("mildew")}
        assert others == ({"mildew"} if name == "test" else {"healthy"})
    assert any("does not have the pictures of 1 of 2 decisions" in event.message for event in heard)
    assert found.done["healthy/00.png"] == "drop"


def test_a_file_of_another_source_and_decisions_that_leave_nothing_are_errors(pictures: Pictures, tmp_path: Path) -> None:
    other = reviewed(tmp_path / "other.csv", "elsewhere/1.png,dark,1,w,keep,,drop")
    with pytest.raises(beholder.DataError) as error:
        curated(pictures, RECIPE.set(decisions=other))
    assert error.value.code == "other-audit"
    nothing = reviewed(tmp_path / "audit.csv", *(f"{key},dark,1,w,keep,,drop" for key in pictures.keys))
    with pytest.raises(beholder.DataError) as error:
        curated(pictures, RECIPE.set(decisions=nothing, audit="off"))
    assert error.value.code == "nothing-left"
    with pytest.raises(beholder.UsageError):
        curated(pictures, RECIPE.set(decisions=str(tmp_path / "none.csv")))


def test_a_leak_that_a_person_keeps_stays(pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = leaking(pictures, [TRAIN, TRAIN, VALID, TEST], [-1] * 4, [(0, 3), (1, 3)])
    monkeypatch.setattr(
        "beholder.study.policy.examined", lambda given, *_, checks, **__: found if "dark" in checks else Findings(given, (), {})
    )
    keys = found.pictures.keys
    kept = reviewed(tmp_path / "audit.csv", f"{keys[0]},leak,1,w,drop,{keys[3]},keep")
    assert curated(found.pictures, RECIPE.set(decisions=kept)).done == {keys[1]: "drop"}


def test_the_command_trains_as_was_decided_on_the_review(
    leaves: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "audit.csv"
    assert run(["audit", str(leaves), "--check", "dark", "--out", str(out)]) == 0
    with out.open("a") as file:
        file.writelines(f"rust/{k:02}.png,review,1,w,keep,,relabel:mildew\n" for k in range(12))
    small = ["--net", "cnn", "--set", "train.epochs=1", "--out", str(tmp_path / "m.beholder"), "--json"]
    capsys.readouterr()
    assert run(["train", str(leaves), "--audit", str(out), *small]) == 0
    assert sum(json.loads(capsys.readouterr().out)["parts"].values()) == 36
    bundle = beholder.load(tmp_path / "m.beholder")
    assert bundle.classes == ("healthy", "mildew")
    assert bundle.config.audit.relabelled == 12
    assert bundle.recipe.data.decisions == str(out)
    assert run(["train", str(leaves), "--audit", "fx", *small]) == 2
    assert "it is report, fix, relabel, off, or the path of" in capsys.readouterr().err
