from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Draw

import beholder
from beholder.base.errors import DataError, Interrupted, UsageError
from beholder.base.recipe import load
from beholder.base.records import PARTS, Pictures
from beholder.cli.run import run
from beholder.data.select import WAYS
from beholder.study import difficulty, kept
from beholder.study import shrink as verb
from beholder.study.evidence import features_of
from beholder.study.shrink import Shrunk
from beholder.study.steps import preprocess


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Path:
    return draw(tmp_path_factory.mktemp("shrink") / "leaves", each=40)


@pytest.fixture(scope="module")
def drawn(more: Path) -> Shrunk:
    return beholder.shrink(more, keep=0.5, by="mixed", curve=True, audit="off", seed=1)


@pytest.mark.parametrize("by", WAYS)
def test_only_training_pictures_go_and_the_table_is_a_source(by: str, more: Path, tmp_path: Path) -> None:
    out = tmp_path / "keep.csv"
    found = beholder.shrink(more, keep=0.5, by=by, out=out, audit="off", seed=1)
    parts = preprocess(more, load("quick").set(audit="off", seed=1)).parts
    assert len(found.parts.train) == 42
    assert set(found.parts.train.keys) < set(parts.train.keys)
    again = beholder.scan(out)
    by_part = [{again.keys[row].rpartition("leaves/")[2] for row in np.flatnonzero(again.parts == k)} for k in range(3)]
    assert by_part == [set(found.parts.train.keys), set(parts.valid.keys), set(parts.test.keys)]
    assert found.parts.train.counts().tolist() == [14, 14, 14]
    assert found.out == out
    assert (found.way == "") == (by == "random")
    split = beholder.split(again, near=False)
    assert [len(part) for _, part in split.items()] == [len(part) for _, part in found.parts.items()]


def test_the_same_seed_gives_the_same_pictures(more: Path, drawn: Shrunk) -> None:
    again = beholder.shrink(more, keep=42, by="mixed", audit="off", seed=1)
    assert list(again.parts.train.keys) == list(drawn.parts.train.keys)
    other = beholder.shrink(more, keep=0.5, by="random", audit="off", seed=2)
    assert list(other.parts.train.keys) != list(drawn.parts.train.keys)


def test_the_test_part_is_not_looked_at(more: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Pictures] = []

    def watched(pictures: Pictures, *rest: Any, **options: Any) -> Any:
        seen.append(pictures)
        return features_of(pictures, *rest, **options)

    monkeypatch.setattr(difficulty, "features_of", watched)
    found = beholder.shrink(more, keep=0.5, by="spread", audit="off", seed=1)
    (given,) = seen
    parts = preprocess(more, load("quick").set(audit="off", seed=1)).parts
    assert set(given.keys) == set(parts.train.keys)
    assert set(found.parts.test.keys) == set(parts.test.keys)
    assert found.notes[-1] == "The test part was not looked at."


def test_a_curve_stands_beside_chance(drawn: Shrunk, tmp_path: Path) -> None:
    curve = drawn.curve
    assert curve is not None
    assert curve.measure == "accuracy"
    assert [p.share for p in curve.points] == list(kept.SHARES)
    assert [p.pictures for p in curve.points] == [8, 24, 40, 57]
    assert all(p.draws == kept.DRAWS for p in curve.points)
    assert curve.whole.value > 0.95
    assert curve.points[-1].score.value > 0.95
    for p in curve.points:
        assert p.gain.value == pytest.approx(p.score.value - p.random.value)
        assert p.gain.low <= p.gain.value <= p.gain.high
    told = json.loads(json.dumps(drawn.json()))
    assert told["curve"]["points"][0]["gain"].keys() == {"value", "low", "high", "n"}
    assert (told["kept"], told["of"], told["parts"]) == (42, 84, {"train": 42, "valid": 18, "test": 18})
    page = curve.save(tmp_path / "keep.html").read_text()
    assert page.count("<svg") == 1
    assert "What fewer training pictures cost" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "42 of 84 training pictures are kept (mixed; by heads" in str(drawn)
    assert repr(drawn).startswith("Shrunk(42 of 84 training pictures, mixed")


def test_a_curve_of_nets_learns_from_what_is_kept(more: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "DRAWS", 1)
    monkeypatch.setattr(kept, "SHARES", (0.5,))
    how = {"net": "logistic", "epochs": 1, "precision": "fp32", "audit": "off"}
    found = beholder.shrink(more, keep=0.5, by="random", curve=True, train=True, minutes=0, **how)
    assert found.curve is not None
    assert found.curve.way == "a net trained as the recipe says"
    assert [p.pictures for p in found.curve.points] == [42]
    assert any("one draw" in note for note in found.curve.notes)


def test_near_duplicates_go_first(tmp_path: Path, draw: Draw) -> None:
    source = draw(tmp_path / "leaves", each=20)
    for number in range(40):
        shutil.copy(source / "rust" / "00.png", source / "rust" / f"copy-{number:02}.png")
    found = beholder.shrink(source, keep=0.5, by="random", audit="off", seed=0)
    train = found.parts.train
    copies = [key for key in train.keys if "copy" in key or key == "rust/00.png"]
    assert len(copies) in (0, 1) or found.rows[2]["kept"] > 14  # copies stay together, in whichever part
    assert found.doubles > 0 or not copies


def test_balanced_keeps_as_many_of_each(tmp_path: Path, draw: Draw) -> None:
    source = draw(tmp_path / "leaves", each=30)
    for number in range(5, 30):
        (source / "rust" / f"{number:02}.png").unlink()
    found = beholder.shrink(source, keep=13, by="random", balanced=True, audit="off", seed=0)
    assert [row["kept"] for row in found.rows] == [5, 5, 3]
    assert "random, balanced" in str(found)


def test_ordered_classes_and_several_labels(tmp_path: Path, draw: Draw) -> None:
    source = draw(tmp_path / "leaves", each=30)
    for number, name in enumerate(("healthy", "mildew", "rust")):
        (source / name).rename(source / f"grade {number}")
    found = beholder.shrink(source, keep=0.3, by="hard", task="ordinal", audit="off")
    assert [row["kept"] for row in found.rows] == [6, 6, 6] or sum(row["kept"] for row in found.rows) == 19
    rng = np.random.default_rng(0)
    hot = rng.integers(0, 2, (120, 2)).astype(np.uint8)
    pixels = np.repeat(np.repeat(255 * hot[:, None, None, :], 16, 1), 16, 2)
    pixels = np.concatenate([pixels, rng.integers(0, 255, (120, 16, 16, 1))], axis=3).astype(np.uint8)
    several = beholder.shrink((pixels, hot), keep=0.5, by="mixed", audit="off")
    assert len(several.parts.train) == round(0.5 * several.of)
    assert (several.parts.train.counts() > 0).all()


def test_unreadable_pictures_are_counted(tmp_path: Path, draw: Draw) -> None:
    source = draw(tmp_path / "leaves", each=20)
    (source / "rust" / "19.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    found = beholder.shrink(source, keep=0.5, by="random", audit="off", seed=0)
    bad = [key for part in (found.parts.train, found.parts.valid, found.parts.test) for key in part.keys if "19.png" in key]
    assert "rust/19.png" not in found.parts.train.keys
    assert any("cannot be read" in note for note in found.notes) or "rust/19.png" in bad


def test_the_part_that_a_source_gives_stays(tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / "set" / "train", each=20)
    draw(tmp_path / "set" / "test", each=8, size=(20, 24))
    found = beholder.shrink(tmp_path / "set", keep=0.2, by="random", audit="off")
    assert len(found.parts.test) == 24
    assert (found.pictures.parts == PARTS.index("test")).sum() == 24


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"keep": 0}, "bad-keep"),
        ({"keep": -0.5}, "bad-keep"),
        ({"keep": 2.5}, "bad-keep"),
        ({"keep": float("nan")}, "bad-keep"),
        ({"keep": 5000}, "bad-keep"),
        ({"keep": 2}, "keep-too-small"),
        ({"keep": 0.01}, "keep-too-small"),
        ({"keep": 0.5, "by": "hardest"}, "bad-by"),
        ({"keep": 0.5, "train": True}, "unused-option"),
        ({"keep": 0.5, "minutes": -1}, "bad-minutes"),
        ({"keep": 0.5, "epochs": 3}, "unused-field"),
        ({"keep": 0.5, "objective": "macro_f1"}, "unused-field"),
        ({"keep": 0.5, "curve": True, "epochs": 3}, "unused-field"),
        ({"keep": 0.5, "out": "keep.txt"}, "bad-out"),
    ],
)
def test_what_cannot_be_done_is_refused(options: dict[str, Any], code: str, more: Path) -> None:
    with pytest.raises(UsageError) as refused:
        beholder.shrink(more, **{"by": "random", "audit": "off", **options})
    assert refused.value.code == code
    assert refused.value.hint


def test_few_pictures_are_drawn_by_chance_alone(leaves: Path) -> None:
    few = beholder.scan(leaves)
    few = few.take(np.concatenate([np.flatnonzero(few.targets == k)[:6] for k in range(3)]))
    assert len(beholder.shrink(few, keep=3, by="random", audit="off").parts.train) == 3
    with pytest.raises(DataError) as refused:
        beholder.shrink(few, keep=3, by="hard", audit="off")
    assert refused.value.code == "too-few-pictures"


def test_sources_that_a_table_cannot_name(more: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "leaves"), "zip", more))
    with pytest.raises(UsageError) as refused:
        beholder.shrink(archive, keep=0.5, by="random", out=tmp_path / "keep.csv", audit="off")
    assert refused.value.code == "no-files"
    assert "leaves.csv, or unpack the archive" in refused.value.hint
    beholder.shrink(archive, keep=0.5, by="random", out=tmp_path / "leaves.csv", audit="off")
    assert len(beholder.scan(tmp_path / "leaves.csv")) == 78
    pixels = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 3), dtype=np.uint8)
    arrays = (pixels, np.arange(40) % 2)
    assert len(beholder.shrink(arrays, keep=0.5, by="random", audit="off").parts.train) == 14
    with pytest.raises(UsageError, match="no files of their own"):
        beholder.shrink(arrays, keep=0.5, by="random", out=tmp_path / "keep.csv", audit="off")


def test_names_that_a_table_cannot_hold_are_told_before_the_work(
    tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = draw(tmp_path / "odd", each=12)
    next(folder for folder in source.iterdir() if folder.is_dir()).rename(source / "a;b")
    monkeypatch.setattr("beholder.study.shrink._shrunk", lambda *_, **__: pytest.fail("it was worked first"))
    with pytest.raises(DataError) as refused:
        beholder.shrink(source, keep=0.5, by="random", out=tmp_path / "keep.csv", audit="off")
    assert (refused.value.code, refused.value.hint) == ("bad-names", "rename them")


def test_time_that_is_up_leaves_the_rest_to_chance() -> None:
    strata, units = np.zeros(100, np.int64), np.arange(100)
    looks = difficulty.Looks(np.arange(0, 100, 2), np.ones((50, 2), np.float32), np.arange(50.0, dtype=np.float32), "")
    rows = verb.chosen("hard", strata, units, looks, 20, seed=0, balanced=False)
    assert len(rows) == 20
    assert rows[rows % 2 == 0].tolist() == list(range(80, 100, 2))
    with pytest.raises(DataError, match="no time"):
        verb.chosen(
            "hard", strata, units, difficulty.Looks(np.arange(0), np.ones((0, 2)), None, ""), 20, seed=0, balanced=False
        )


def test_an_interruption_leaves_no_traceback(
    more: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr(difficulty, "check_stop", cut)
    asked = ["shrink", str(more), "--keep", "0.5", "--out", str(tmp_path / "keep.csv"), "--audit", "off"]
    assert run(asked) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "keep.csv").exists()


def test_the_command_prints_tables_and_json(
    drawn: Shrunk, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(verb, "shrink", lambda source, **options: calls.append({"source": source, **options}) or drawn)
    out = tmp_path / "keep.csv"
    asked = ["shrink", "leaves", "--keep", "0.5", "--out", str(out), "--by", "hard", "--balanced", "--curve", "--seed", "3"]
    assert run(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["class", "pictures", "kept"]
    assert any(line.startswith("100 %") for line in lines)
    assert out.with_suffix(".html").exists()
    assert {name: calls[0][name] for name in ("source", "keep", "by", "balanced", "curve", "out")} == {
        "source": "leaves", "keep": 0.5, "by": "hard", "balanced": True, "curve": True, "out": out,
    }  # fmt: skip
    assert calls[0]["recipe"].seed == 3
    assert run([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 42


@pytest.mark.parametrize(
    ("more_options", "code"), [(["--keep", "2"], 2), (["--keep", "0.5", "--by", "best"], 2), (["--keep", "x"], 2), ([], 2)]
)
def test_wrong_usage_ends_with_a_hint(
    more_options: list[str], code: int, more: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["shrink", str(more), "--out", str(tmp_path / "k.csv"), "--audit", "off", *more_options]) == code
    said = capsys.readouterr().err
    assert "hint:" in said
    assert "Traceback" not in said
