from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.duplicates.facts import FACTS, Thumbnails, facts, fingerprinted, unseen
from beholder.sources import scan
from beholder.sources.digest import digested


def test_a_row_says_what_the_file_is(leaves: Path) -> None:
    Image.new("L", (30, 50), 77).save(leaves / "rust" / "grey.jpg")
    (leaves / "rust" / "broken.png").write_bytes(b"")
    pictures = digested(scan(leaves))
    rows = facts(pictures)
    assert rows.dtype == FACTS
    assert np.array_equal(rows["digest"], pictures.digests)
    grey = rows[list(pictures.keys).index("rust/grey.jpg")]
    assert (grey["format"], grey["height"], grey["width"], grey["channels"], grey["error"]) == (b"JPEG", 50, 30, 1, b"")
    assert grey["bytes"] == (leaves / "rust" / "grey.jpg").stat().st_size
    assert grey["light"] == pytest.approx([77 / 255] * 5)
    assert (grey["spread"], grey["mode"], *grey["tint"]) == pytest.approx((0, 1, 0, 0))
    broken = rows[list(pictures.keys).index("rust/broken.png")]
    assert (broken["error"], broken["height"]) == (b"empty", 0)


def test_hashed_and_looked_at_in_one_pass_is_as_in_two(leaves: Path, tmp_path: Path) -> None:
    (leaves / "rust" / "broken.png").write_bytes(b"nothing")
    (leaves / "rust" / "gone.png").symlink_to(leaves / "rust" / "00.png")
    for i in range(3):
        Image.fromarray(np.full((20, 24), 100 * i + 1000, np.uint16)).save(leaves / "rust" / f"deep{i}.png")
    source = scan(leaves)
    (leaves / "rust" / "gone.png").unlink()
    small, other = Thumbnails(), Thumbnails()
    pictures, rows = fingerprinted(source, root=tmp_path / "one", small=small)
    apart = digested(source, root=tmp_path / "two")
    assert np.array_equal(pictures.digests, apart.digests)
    assert (pictures.bits, pictures.store) == (apart.bits, source.store)
    assert rows.tobytes() == facts(apart, root=tmp_path / "two", small=other).tobytes()
    assert small.keys() == other.keys()
    again, same = fingerprinted(scan(leaves), root=tmp_path / "one")
    assert np.array_equal(again.digests, np.delete(pictures.digests, list(source.keys).index("rust/gone.png"), axis=0))
    assert not unseen(same).any()


def test_without_time_all_is_hashed_all_the_same(leaves: Path) -> None:
    pictures, rows = fingerprinted(scan(leaves), until=Deadline.of(0.0, 1e-9))
    assert pictures.digests is not None
    assert pictures.digests.any(axis=1).all()
    assert (rows["pixels"] != 0).any(axis=1).all()


def test_a_second_look_reads_no_picture(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = digested(scan(leaves))
    first = facts(pictures)
    monkeypatch.setattr("beholder.duplicates.facts.measure", None)
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        again = facts(pictures)
    assert again.tobytes() == first.tobytes()
    assert not heard


def test_what_may_pass_is_not_remembered(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra a HEIF cannot be read; once it is installed it can, and the next audit must see that."""
    import sys

    (leaves / "rust" / "new.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    pictures = digested(scan(leaves))
    at = list(pictures.keys).index("rust/new.heic")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pillow_heif", None)
        assert facts(pictures)["error"][at] == b"needs-extra"
    pytest.importorskip("pillow_heif")
    assert facts(pictures)["error"][at] == b"damaged"


def test_a_file_that_changed_is_looked_at_as_it_is_and_remembered_so(leaves: Path) -> None:
    pictures = digested(scan(leaves))
    at = list(pictures.keys).index("rust/03.png")
    Image.new("RGB", (30, 50), (9, 9, 9)).save(leaves / "rust" / "03.png")
    now = digested(scan(leaves))
    assert now.digests is not None
    for given_ in (pictures, now):
        row = facts(given_)[at]
        assert (row["height"], row["width"], row["error"]) == (50, 30, b"")
        assert row["digest"].tobytes() == now.digests[at].tobytes()


def test_the_same_picture_in_another_file_has_the_same_pixels(leaves: Path) -> None:
    Image.open(leaves / "rust" / "00.png").save(leaves / "rust" / "again.bmp")
    rows = facts(digested(scan(leaves)))
    codes = [row["pixels"].tobytes() for row in rows]
    assert len(set(codes)) == len(codes) - 1


def test_a_very_large_picture_is_looked_at_reduced(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        buffer = io.BytesIO()
        Image.new("RGB", (3000, 40), "red" if name == "a" else "blue").save(buffer, "PNG")
        (tmp_path / name / "long.png").write_bytes(buffer.getvalue())
    rows = facts(digested(scan(tmp_path)))
    assert [(row["height"], row["width"]) for row in rows] == [(40, 3000)] * 2
    assert rows["light"][:, 2] == pytest.approx([76 / 255, 29 / 255], abs=0.01)
