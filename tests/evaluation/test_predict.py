from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import beholder
from beholder.bundle.bundle import Bundle


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, draw) -> tuple[Path, Bundle]:
    source = draw(tmp_path_factory.mktemp("predict") / "leaves")
    return source, beholder.train(beholder.split(beholder.scan(source)), net="cnn", epochs=3, batch=8)


def test_every_picture_gets_one_line_in_order_and_bad_ones_stop_nothing(trained, tmp_path: Path) -> None:
    source, bundle = trained
    text, gone = tmp_path / "notes.txt", tmp_path / "gone.png"
    text.write_text("hello")
    good = sorted(str(path) for path in source.rglob("*.png"))
    asked = [str(text), *good[:20], str(gone), *good[20:]]
    lines = list(beholder.predict(bundle, asked, batch=4))
    assert [line["path"] for line in lines] == asked
    assert lines[0]["error"]["code"] == "not-a-picture"
    assert lines[21]["error"]["code"] == "path-missing"
    odd = [line["error"]["code"] for line in beholder.predict(bundle, ["a\0b", "x" * 5000, "/dev/zero"])]
    assert odd == ["unreadable"] * 3
    for line in lines[1:21]:
        assert line["label"] == Path(line["path"]).parent.name
        assert line["p"] == line["probabilities"][line["label"]]
        assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_lines_do_not_depend_on_the_batch(trained) -> None:
    source, bundle = trained
    files = sorted(source.rglob("*.png"))
    one = {line["path"]: line["p"] for line in beholder.predict(bundle, files, batch=1)}
    many = {line["path"]: line["p"] for line in beholder.predict(bundle, files, batch=16)}
    assert one == pytest.approx(many, abs=1e-5)


def test_folders_are_walked_and_other_files_passed_over(trained) -> None:
    source, bundle = trained
    (source / "rust" / "readme.txt").write_text("hello")
    assert len(list(beholder.predict(bundle, [source]))) == 36


def test_an_endless_list_is_read_as_it_is_needed(trained) -> None:
    source, bundle = trained
    taken = []

    def endless():
        for file in itertools.cycle(sorted(source.rglob("*.png"))):
            taken.append(file)
            yield file

    first = list(itertools.islice(beholder.predict(bundle, endless(), batch=4), 10))
    assert len(first) == 10
    assert len(taken) < 40
