"""A labelling session without a browser: the sample first, grids, estimate, undo, the table, and what train makes of it."""

from __future__ import annotations

import csv
import http.client
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.base import events
from beholder.base.errors import BeholderError, MachineError, UsageError
from beholder.base.locks import alone
from beholder.base.records import Pictures
from beholder.sources import scan
from beholder.study.annotations import PERSON, Annotations, begun, continued, journal_of
from beholder.study.label import Labelled, label, named, sampled
from beholder.study.labelling import Place, Session
from beholder.study.presort import Presorter

CLASSES = ("healthy", "mildew", "rust")


def truth(pictures: Pictures) -> list[int]:
    return [CLASSES.index(key.split("/")[0]) for key in pictures.keys]


@pytest.fixture
def flat(tmp_path: Path, draw: Any) -> Path:
    """Sixty pictures of three colours in class folders, which labelling does not look at."""
    return draw(tmp_path / "photos", each=20)


@pytest.fixture
def make(flat: Path, tmp_path: Path) -> Callable[..., Session]:
    """A function that makes a session; features tell the classes apart unless `blind`."""

    def session(*, sample: int = 12, blind: bool = False, noise: float = 0.4, out: str = "labels.csv") -> Session:
        pictures = scan(flat, labels=False)
        rng = np.random.default_rng(0)
        x = 4 * np.eye(3, 8)[truth(pictures)] + rng.normal(0, noise, (60, 8))
        chosen = np.zeros(60, np.bool_)
        chosen[np.arange(0, 60, 5)[:sample]] = True
        path = tmp_path / out
        notes = continued(journal_of(path), pictures.keys, CLASSES) or begun(journal_of(path), pictures.keys, CLASSES, chosen)
        presorter = Presorter(x.astype(np.float16) if not blind else np.zeros((60, 0), np.float16), 3)
        return Session(pictures, notes, presorter, Place(path, list(pictures.keys), "photos", "beholder train"))

    return session


def shown(told: Any) -> list[int]:
    return [one["picture"] for one in told["grid"]["pictures"]]


def answer(session: Session, told: Any, size: int = 12) -> Any:
    """Do what a person does who knows the truth: say what the others are, class by class, then what all are."""
    right = np.array(truth(session.pictures))
    rows = np.array(shown(told))
    asked = told["grid"]["asked"]
    counts = np.bincount(right[rows], minlength=3)
    k = asked if asked >= 0 and counts[asked] else int(counts.argmax())
    others = [other for other in range(3) if other != k and counts[other]]
    k = others[0] if others else k
    return session.act("label", rows[right[rows] == k].tolist(), label=k, turn=told["turn"], size=size)


def labels_in(path: Path) -> dict[str, str]:
    return {row["path"]: row["label"] for row in rows_in(path)}


def rows_in(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def test_the_random_sample_is_labelled_first_and_then_all_the_rest(make: Callable[..., Session]) -> None:
    session = make()
    told, actions = session.shown(size=12), 0
    sample = set(np.flatnonzero(session.annotations.sample).tolist())
    while told["grid"]["pictures"]:
        left = sample - set(np.flatnonzero(session.annotations.by == PERSON).tolist())
        assert told["grid"]["sample"] == bool(left)
        assert not left or set(shown(told)) <= left
        assert (told["progress"]["estimate"] is None) or not left
        told, actions = answer(session, told), actions + 1
    assert session.annotations.label.tolist() == truth(session.pictures)
    assert actions <= 30
    assert told["progress"]["labelled"] == 60
    assert labels_in(session.place.out) == {key: key.split("/")[0] for key in session.pictures.keys}


def test_a_table_that_cannot_be_written_is_said_and_follows(
    make: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make()
    told = answer(session, session.shown(size=12))
    table = session.place.out.read_bytes()

    def full(*_: object) -> None:
        raise MachineError("the disk is full", code="disk-full", hint="free some space")

    with monkeypatch.context() as broken:
        broken.setattr("beholder.study.labelling.write_atomic", full)
        again = answer(session, told)
        assert again["turn"] == told["turn"] + 1
        assert again["unwritten"] == "the labels are kept, but not in the table yet: the disk is full (free some space)"
        assert session.shown(size=12)["unwritten"] == again["unwritten"]
    assert session.place.out.read_bytes() == table
    last = answer(session, again)
    assert not last["unwritten"]
    assert len(rows_in(session.place.out)) == last["progress"]["labelled"]
    assert continued(journal_of(session.place.out), session.pictures.keys, CLASSES) is not None


def test_looking_for_a_readable_picture_leaves_the_first_grid_as_large_as_the_page_asks(make: Callable[..., Session]) -> None:
    session = make()
    assert session.begins()
    assert len(shown(session.shown(size=12))) == 12


def test_the_presorting_head_never_learns_from_the_sample(make: Callable[..., Session]) -> None:
    session = make()
    told = session.shown(size=12)
    while told["grid"]["sample"]:
        told = answer(session, told)
    assert told["progress"]["sampled"] == told["progress"]["sample"] == 12
    assert told["progress"]["estimate"] is None  # all that is labelled is the sample
    assert told["grid"]["asked"] == -1
    while told["progress"]["estimate"] is None:
        told = answer(session, told)
    estimate = told["progress"]["estimate"]
    assert estimate["n"] == 12
    assert estimate["low"] < estimate["value"] <= 1
    # had it learnt from the sample, labels turned around there would not count as wrong
    rows = np.flatnonzero(session.annotations.sample)
    session.annotations.label[rows] = (session.annotations.label[rows] + 1) % 3
    session._head = (-1, None)
    wrong, _ = session.estimate()
    assert wrong is not None
    assert wrong.value <= 1 - estimate["value"]


def test_skipped_pictures_of_the_sample_count_as_wrong_and_unusable_ones_not_at_all(make: Callable[..., Session]) -> None:
    session = make()
    told = session.shown(size=12)
    first = shown(told)
    told = session.act("skip", first[:1], turn=told["turn"], size=12)
    told = session.act("unusable", [shown(told)[0]], turn=told["turn"], size=12)
    while told["grid"]["pictures"]:
        told = answer(session, told)
    score, skipped = session.estimate()
    assert score is not None
    assert (score.n, skipped) == (11, 1)
    assert score.value == pytest.approx(10 / 11)
    assert told["progress"]["skipped"] == first[:1]
    told = session.act("again", [], turn=told["turn"], size=12)
    assert shown(told) == first[:1]


def test_undo_brings_the_grid_back_over_restarts(make: Callable[..., Session]) -> None:
    session = make()
    first = session.shown(size=12)
    second = answer(session, first)
    again = make()
    assert again.shown(size=12)["progress"]["labelled"] == second["progress"]["labelled"]
    back = again.undo(turn=second["turn"], size=12)
    assert set(shown(back)) <= set(shown(first))
    assert len(shown(back)) == second["progress"]["labelled"]
    assert back["progress"]["labelled"] == 0
    assert not labels_in(again.place.out)
    third = answer(again, back)
    assert shown(again.undo(turn=third["turn"], size=12)) == shown(back)  # without a restart the grid as it was


def test_the_rest_of_a_grid_stays_until_it_is_answered_or_left(make: Callable[..., Session]) -> None:
    session = make(sample=0)
    told = session.shown(size=12)
    while told["grid"]["asked"] < 0 or len(told["grid"]["pictures"]) < 6:
        told = answer(session, told)
    rows, asked = shown(told), told["grid"]["asked"]
    after = session.act("label", rows[:1], label=(asked + 1) % 3, turn=told["turn"], size=12)
    assert (shown(after), after["grid"]["asked"]) == (rows[1:], asked)
    after = session.act("reject", rows[1:2], turn=after["turn"], size=12)
    assert shown(after) == rows[2:]
    done = session.act("label", rows[2:4], label=asked, left=rows[4:], turn=after["turn"], size=12)
    assert all(session.annotations.rejected[row] == {asked} for row in (rows[1], *rows[4:]))
    assert done["grid"]["pictures"]
    assert not set(shown(done)) & set(rows[:1] + rows[2:4])


def test_a_page_that_is_behind_takes_nothing(make: Callable[..., Session]) -> None:
    session = make()
    told = session.shown(size=12)
    answer(session, told)
    before = session.annotations.by.copy()
    for act in (
        lambda: session.act("skip", shown(told), turn=told["turn"], size=12),
        lambda: session.undo(turn=told["turn"], size=12),
        lambda: session.presort(0.5, turn=told["turn"], size=12),
    ):
        with pytest.raises(UsageError) as refused:
            act()
        assert refused.value.code == "stale"
    with pytest.raises(UsageError) as refused:
        session.act("skip", [59], turn=session.annotations.turn, size=12)
    assert refused.value.code == "bad-action"  # it is not shown
    session.close()
    with pytest.raises(UsageError) as refused:
        session.undo(turn=session.annotations.turn, size=12)
    assert refused.value.code == "ended"
    assert session.annotations.by.tolist() == before.tolist()


def test_nothing_is_presorted_unless_a_person_asks_and_it_is_marked(make: Callable[..., Session]) -> None:
    session = make()
    told = session.shown(size=12)
    assert session.presorted(0.0) == {"count": 0, "estimate": None}
    while told["progress"]["labelled"] < 30:
        told = answer(session, told)
    could = session.presorted(0.5)
    assert could["count"] == 60 - told["progress"]["labelled"]
    assert told["progress"]["presorted"] == 0
    told = session.presort(0.5, turn=told["turn"], size=12)
    assert told["progress"]["presorted"] == could["count"]
    assert not told["grid"]["pictures"]
    rows = rows_in(session.place.out)
    marked = [row for row in rows if row["by"] == "presorted"]
    assert len(marked) == could["count"]
    assert all(0.5 <= float(row["p"]) <= 1 for row in marked)
    assert all(row["p"] == "" for row in rows if row["by"] == "person")
    assert {row["split"] for row in marked} == {""}
    told = session.undo(turn=told["turn"], size=12)
    assert told["progress"]["presorted"] == 0


def test_where_pictures_are_left_the_sample_is_the_test_part(make: Callable[..., Session]) -> None:
    session = make()
    told = session.shown(size=12)
    told = answer(session, told)
    assert "split" not in session.table().decode().splitlines()[0]  # the sample is not whole yet
    while told["progress"]["labelled"] < 40:
        told = answer(session, told)
    parts = beholder.split(scan(session.place.out.parent / "photos"), seed=0)
    assert len(parts.test) == 9  # of a split by chance
    rows = list(csv.DictReader(io.StringIO(session.table().decode())))
    sample = {session.pictures.keys[row] for row in np.flatnonzero(session.annotations.sample)}
    assert {row["path"] for row in rows if row["split"] == "test"} == sample
    while told["grid"]["pictures"]:
        told = answer(session, told)
    assert session.table().decode().splitlines()[0] == "path,label,by,p"


def test_without_features_pictures_come_as_they_are_and_unreadable_ones_do_not(
    make: Callable[..., Session], flat: Path
) -> None:
    (flat / "healthy" / "00.png").write_bytes(b"no picture")
    session = make(sample=0, blind=True)
    told = session.shown(size=7)
    assert shown(told) == list(range(1, 8)) or shown(told) == list(range(1, 7))
    while told["grid"]["pictures"]:
        told = answer(session, told, size=7)
    assert told["progress"]["labelled"] == 59
    assert told["progress"]["unusable"] == 1
    assert told["progress"]["estimate"] is None


# --- names, places, errors ---


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("cat", "one-class"), ("cat,", "bad-classes"), ("cat,,dog", "bad-classes"), ("cat,dog,cat", "bad-classes"),
        ("ca\u0301t,c\u00e1t", "bad-classes"), ("cat,do\ng", "bad-classes"), ("cat,do\rg", "bad-classes"),
        ("cat," + "x" * 201, "bad-classes"), ("cat;tom,dog", "bad-classes"), ("a|b,dog", "bad-classes"),
        ("nan,1,2", "bad-classes"),
        ("cat,d\x07og", "bad-classes"), (",".join(map(str, range(300))), "bad-classes"), (["cat", ""], "bad-classes"),
        (["cat", "do\udce9"], "bad-classes"),
    ],
)  # fmt: skip
def test_names_that_no_table_can_hold_are_refused(given: Any, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        named(given, Path("labels.csv"))
    assert refused.value.code == code
    assert refused.value.hint


def test_names_with_commas_quotes_and_any_script_are_classes() -> None:
    given = 'cat, "black, white",naïve,日本,עברית,=1+1,"say ""hi"""'
    names = named(given, Path("labels.csv"))
    assert names == ("cat", "black, white", "naïve", "日本", "עברית", "=1+1", 'say "hi"')
    assert named(list(names), Path("labels.csv")) == names
    assert named("nai\u0308ve,b", Path("x.csv"))[0] == "naïve"
    assert named("", Path("labels.csv")) == ()
    assert named("cat;tom,dog", Path("folder")) == ("cat;tom", "dog")  # a folder can be called so


def test_the_sample_is_uniform_at_random() -> None:
    assert [int(sampled(n, 0).sum()) for n in (0, 1, 19, 20, 300, 500, 1000, 100_000)] == [0, 0, 0, 4, 60, 100, 100, 100]
    hits = sum(sampled(50, seed) for seed in range(2000))
    assert abs(hits - 400).max() < 100  # 5.6 standard deviations
    assert (sampled(300, 1) == sampled(300, 1)).all()


def post(address: str, path: str, body: Any) -> Any:
    port, token = int(address.split(":")[2].split("/")[0]), address.split("/")[3]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
    method, sent = ("GET", None) if body is None else ("POST", json.dumps(body))
    connection.request(method, f"/{token}/{path}", sent, headers if body is not None else {})
    reply = connection.getresponse()
    found = json.loads(reply.read())
    connection.close()
    assert reply.status == 200, found
    return found


class Person:
    """Knows the truth, by the folder that a picture lies in, and labels through HTTP until so many are labelled."""

    def __init__(self, until: int = 10**9) -> None:
        self.until = until

    def __call__(self, address: str) -> None:
        told = post(address, "grid?size=12", None)
        while told["grid"]["pictures"] and told["progress"]["labelled"] < self.until:
            shown_, asked = told["grid"]["pictures"], told["grid"]["asked"]
            right = {one["picture"]: CLASSES.index(one["key"].split("/")[0]) for one in shown_}
            k = asked if asked in right.values() else next(iter(right.values()))
            those = [row for row, is_ in right.items() if is_ == k]
            told = post(address, "label", {"turn": told["turn"], "size": 12, "pictures": those, "label": k})
        post(address, "finish", {})


def labelled(folder: Path, out: Path, until: int = 10**9, **options: Any) -> Labelled:
    with events.listen(alone=True):
        return label(folder, out=out, ready=Person(until), **options)


def test_the_verb_from_photos_to_a_table_that_train_takes(flat: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in flat.rglob("*")}
    done = labelled(flat, tmp_path / "labels.csv", 30, classes=CLASSES)
    assert done.labelled >= 30
    assert done.left == 60 - done.labelled
    assert done.estimate is not None
    assert done.estimate.n == 12
    assert "next: beholder train" in str(done)
    assert done.json()["estimate"]["n"] == 12
    done = labelled(flat, tmp_path / "labels.csv")  # without classes: those of before
    assert (done.labelled, done.left, done.classes) == (60, 0, dict.fromkeys(CLASSES, 20))
    pictures = scan(tmp_path / "labels.csv")
    assert [pictures.labels(row)[0] for row in range(60)] == [key.split("/")[-2] for key in pictures.keys]
    assert {path: path.stat().st_mtime_ns for path in flat.rglob("*")} == before


def test_the_verb_copies_into_class_folders(flat: Path, tmp_path: Path) -> None:
    done = labelled(flat, tmp_path / "sorted", classes="healthy,mildew,rust")
    assert done.labelled == 60
    found = scan(tmp_path / "sorted")
    assert found.counts().tolist() == [20, 20, 20]
    assert (tmp_path / "sorted" / "rust" / "00.png").read_bytes() == (flat / "rust" / "00.png").read_bytes()
    with pytest.raises(UsageError) as refused:
        labelled(flat, tmp_path / "sorted")
    assert refused.value.code == "exists"


def test_few_pictures_need_no_net_and_have_no_sample(tmp_path: Path, draw: Any) -> None:
    done = labelled(draw(tmp_path / "few", each=2), tmp_path / "labels.csv", classes=CLASSES)
    assert (done.labelled, done.estimate) == (6, None)


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (lambda t: {"folder": t / "none"}, "path-missing"),
        (lambda t: {"folder": t / "empty"}, "no-pictures"),
        (lambda t: {"folder": t / "bad"}, "unreadable"),
        (lambda t: {"folder": t / "few"}, "all-unreadable"),
        (lambda t: {"classes": ()}, "no-classes"),
        (lambda t: {"out": t / "photos" / "labels.csv"}, "inside-source"),
        (lambda t: {"out": t / "photos" / "sorted"}, "inside-source"),
        (lambda t: {"out": t / "mine.csv"}, "exists"),
        (lambda t: {"out": t / "empty.csv"}, "exists"),
    ],
)
def test_what_cannot_be_labelled_is_said(prepare: Any, code: str, flat: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    for n in range(25):
        (tmp_path / "bad" / f"{n}.jpg").write_bytes(b"no picture")
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "1.jpg").write_bytes(b"no picture")
    (tmp_path / "mine.csv").write_text("path,label\n")
    (tmp_path / "empty.csv").mkdir()
    given = {"folder": flat, "classes": CLASSES, "out": tmp_path / "labels.csv", **prepare(tmp_path)}
    with events.listen(alone=True), pytest.raises(BeholderError) as refused:
        label(**given)
    assert refused.value.code == code
    assert refused.value.hint or code == "path-missing"
    assert (tmp_path / "mine.csv").read_text() == "path,label\n"


def test_a_second_program_on_the_same_table_is_refused(flat: Path, tmp_path: Path) -> None:
    code = (
        "import time\nfrom pathlib import Path\nfrom beholder.base.locks import alone\n"
        f"with alone(Path({str(tmp_path / 'labels.csv')!r})):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with events.listen(alone=True), pytest.raises(UsageError) as refused:
            label(flat, classes=CLASSES, out=tmp_path / "labels.csv")
        assert refused.value.code == "in-use"
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    with alone(tmp_path / "labels.csv"):
        pass


def test_a_table_that_was_changed_elsewhere_is_kept(flat: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    labelled(flat, out, 10, classes=CLASSES)
    changed = out.read_text().replace("rust", "mildew")
    out.write_text(changed)
    labelled(flat, out, 10)
    assert (tmp_path / "labels.1.csv").read_text() == changed
    assert out.read_text() != changed
    assert not (tmp_path / "labels.2.csv").exists()


def test_a_kill_loses_no_action(flat: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    command = [sys.executable, "-m", "beholder", "label", str(flat), "--classes", ",".join(CLASSES), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stderr is not None
    address = next(line.split()[-1] for line in process.stderr if "labelling on http" in line)
    told = post(address, "grid?size=12", None)
    rows = [one["picture"] for one in told["grid"]["pictures"]]
    told = post(address, "label", {"turn": 0, "size": 12, "pictures": rows[:1], "label": 1})
    told = post(address, "skip", {"turn": 1, "size": 12, "pictures": [told["grid"]["pictures"][0]["picture"]]})
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = continued(journal_of(out), scan(flat, labels=False).keys, ())
    assert isinstance(found, Annotations)
    assert found.label[rows[0]] == 1
    assert len(told["progress"]["skipped"]) == int((found.by == 4).sum()) == 1
    assert labels_in(out)
