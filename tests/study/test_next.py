from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conftest import COLOURS

import beholder
from beholder.base.errors import DataError, UsageError
from beholder.bundle.bundle import Bundle
from beholder.cli.run import run
from beholder.data.cache import cached
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study import next as verb
from beholder.study.next import margins_of

Small = tuple[Path, Path, Bundle]


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Forty new pictures without labels: of each class, and between two of them."""
    folder = tmp_path / "new"
    folder.mkdir()
    rng = np.random.default_rng(5)
    colours = [np.array(colour) for colour in COLOURS.values()]
    for number in range(40):
        colour = colours[number % 3] if number % 4 else (colours[0] + colours[2]) // 2
        pixels = np.clip(colour + rng.integers(-30, 30, (20, 24, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


def test_the_table_names_pictures_and_is_a_source_once_filled_in(small: Small, new: Path, tmp_path: Path) -> None:
    out = tmp_path / "next.csv"
    found = beholder.next(small[1], new, n=10, out=out)
    assert len(found) == 10
    lines = out.read_text().splitlines()
    assert lines[0] == "path,label,prediction,p,margin"
    assert len(lines) == 11
    assert [row["path"] for row in found.rows()] == [line.split(",")[0].rpartition("/")[2] for line in lines[1:]]
    filled = [lines[0]] + [line.replace(",,", f",{'ab'[k % 2]},", 1) for k, line in enumerate(lines[1:])]
    (tmp_path / "done.csv").write_text("\n".join(filled))
    assert beholder.scan(tmp_path / "done.csv").classes == ("a", "b")


def test_the_same_come_again_and_what_is_doubtful_early(small: Small, new: Path) -> None:
    """Of the forty new pictures ten lie between two classes: without a choice a quarter of any eight would."""
    few = beholder.next(small[2], new, n=8)
    assert beholder.next(small[2], new, n=8).rows() == few.rows()
    every = beholder.next(small[2], new, n=40)
    assert np.mean([one.margin for one in few.offers]) < np.mean([one.margin for one in every.offers])
    assert every.offers[0].margin == min(one.margin for one in every.offers)


def test_training_pictures_at_hand_count_as_covered(small: Small, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    cached(digested(scan(small[0])), small[2].policy)

    def seen(features: Any, margins: Any, count: int, *, known: Any, seed: int) -> Any:
        given.append(known)
        return np.arange(count)

    monkeypatch.setattr(verb, "to_label", seen)
    beholder.next(small[2], new, n=5)
    monkeypatch.setattr(verb, "CHUNK", 7)
    beholder.next(small[2], new, n=5)
    learnt = sum(part == "train" for _, part in small[2].splits)
    assert [len(known) for known in given] == [learnt, 7]


def test_chunks_change_nothing_but_the_memory(small: Small, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = beholder.next(small[2], new, n=40)
    monkeypatch.setattr(verb, "CHUNK", 7)
    parts = beholder.next(small[2], new, n=40)
    assert {one.path: round(one.p, 4) for one in whole.offers} == {one.path: round(one.p, 4) for one in parts.offers}


def test_what_is_known_or_seen_twice_is_not_offered(small: Small, new: Path) -> None:
    source, _, bundle = small
    for number in range(6):
        shutil.copy(source / "rust" / f"{number:02}.png", new / f"known-{number}.png")
    shutil.copy(new / "01.png", new / "again.png")
    (new / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    found = beholder.next(bundle, new, n=40)
    names = {one.path for one in found.offers}
    assert not any(name.startswith(("known", "broken")) for name in names)
    assert len({"01.png", "again.png"} & names) == 1
    assert dict(found.counts) == {"labelled": 6, "near-duplicates": 1, "unreadable": 1, "not-finite": 0}
    assert len(found) == 40
    assert "Left out: 6 labelled, 1 near-duplicates, 1 unreadable." in str(found)


def test_near_duplicates_of_training_pictures_are_not_offered(small: Small, new: Path) -> None:
    """Pictures as small as those of `small` have no perceptual hash: here the training pictures are larger."""
    rng = np.random.default_rng(0)
    source = new.parent / "large"
    for k, colour in enumerate(COLOURS.values()):
        (source / f"{k}").mkdir(parents=True)
        for number in range(8):
            coarse = np.clip(np.array(colour) + rng.integers(-90, 90, (6, 6, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(source / f"{k}" / f"{number}.png")
    bundle = beholder.train(beholder.split(beholder.scan(source), seed=0), net="logistic", epochs=1, precision="fp32")
    learnt = {digest for digest, part in bundle.splits if part == "train"}
    pictures = beholder.scan(source)
    from beholder.sources.digest import digested

    held = [key for key, digest in zip(pictures.keys, digested(pictures).hexdigests, strict=True) if digest in learnt]
    pool = new.parent / "pool"
    pool.mkdir()
    Image.open(source / held[0]).save(pool / "like.jpg", quality=90)
    for number in range(5):
        coarse = rng.integers(0, 255, (6, 6, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(pool / f"{number}.png")
    Image.open(pool / "3.png").save(pool / "3-again.jpg", quality=90)
    found = beholder.next(bundle, pool, n=10)
    assert "like.jpg" not in {one.path for one in found.offers}
    assert len({"3.png", "3-again.jpg"} & {one.path for one in found.offers}) == 1
    assert found.counts["near-duplicates"] == 2


def test_all_are_offered_where_there_are_fewer(small: Small, new: Path) -> None:
    found = beholder.next(small[2], new, n=1000)
    assert len(found) == 40
    assert "1,000 pictures were asked for, and there are 40: all of them are offered" in found.notes


def test_labels_of_a_source_are_not_looked_at(small: Small, tmp_path: Path, draw: Any) -> None:
    other = draw(tmp_path / "other", each=5, size=(28, 22))
    found = beholder.next(small[2], other, n=4)
    assert len(found) == 4
    assert not found.pictures.labelled


def test_of_a_table_that_is_half_filled_every_row_is_looked_at(small: Small, new: Path, tmp_path: Path) -> None:
    out = tmp_path / "next.csv"
    named = {row["path"] for row in beholder.next(small[2], new, n=6, out=out).rows()}
    lines = out.read_text().splitlines()
    filled = [lines[0], *(line.replace(",,", ",a,", 1) for line in lines[1:4]), *lines[4:]]
    (tmp_path / "half.csv").write_text("\n".join(filled))
    for table in (out, tmp_path / "half.csv"):
        again = {Path(row["path"]).name for row in beholder.next(small[2], table, n=10).rows()}
        assert again == {Path(path).name for path in named}


@pytest.mark.parametrize("seed", [-1, 2**40, 1.5])
def test_a_seed_is_a_whole_number(seed: Any, small: Small, new: Path) -> None:
    for ask in (lambda: beholder.next(small[2], new, seed=seed), lambda: beholder.label(new, classes="a,b", seed=seed)):
        with pytest.raises(UsageError) as refused:
            ask()
        assert refused.value.code == "bad-seed"


def test_arrays_have_no_table(small: Small, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 20, 24, 3), dtype=np.uint8)
    assert len(beholder.next(small[2], pixels, n=3)) == 3
    with pytest.raises(UsageError, match="no files of their own"):
        beholder.next(small[2], pixels, n=3, out=tmp_path / "next.csv")


def test_margins_are_leads_and_distances_from_thresholds(small: Small) -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25]])
    assert margins_of(small[2], p) == pytest.approx([0.5, 0.05])


@pytest.mark.parametrize("n", [0, -3, True, 2.5])
def test_how_many_is_a_whole_number(n: Any, small: Small, new: Path) -> None:
    with pytest.raises(UsageError) as refused:
        beholder.next(small[2], new, n=n)
    assert refused.value.code == "bad-n"


def test_nothing_new_is_an_error(small: Small) -> None:
    source, _, bundle = small
    with pytest.raises(DataError) as refused:
        beholder.next(bundle, source, n=4)
    assert refused.value.code == "nothing-left"


def test_pictures_of_which_none_can_be_read(small: Small, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(DataError) as refused:
        beholder.next(small[2], tmp_path / "bad")
    assert refused.value.code == "all-unreadable"


@pytest.mark.parametrize("out", ["inside", "taken", "next.txt"])
def test_where_it_cannot_be_written(out: str, small: Small, new: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.csv").write_text("mine")
    place = {"inside": new / "next.csv", "taken": tmp_path / "taken.csv", "next.txt": tmp_path / "next.txt"}[out]
    with pytest.raises(UsageError):
        beholder.next(small[2], new, out=place)
    assert (tmp_path / "taken.csv").read_text() == "mine"


def test_the_command_ends_with_a_code_and_a_hint(
    small: Small, new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "next.csv")]
    assert run(["next", str(small[1]), str(new), "--n", "5", *out, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["offered"], told["of"], len(told["pictures"])) == (5, 40, 5)
    out = ["--out", str(tmp_path / "other.csv")]
    for asked, code in (
        (["next", str(new), str(new), *out], 1),
        (["next", str(tmp_path / "none.beholder"), str(new), *out], 2),
        (["next", str(small[1]), str(tmp_path / "nowhere"), *out], 2),
        (["next", str(small[1]), str(new), "--n", "0", *out], 2),
        (["next", str(small[1]), str(new)], 2),
    ):
        found = run(asked)
        said = capsys.readouterr().err
        assert "hint:" in said
        assert "Traceback" not in said
        assert found in (1, 2), asked
        assert found == code, asked
