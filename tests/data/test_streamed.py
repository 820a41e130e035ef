"""Sets that find no room in the cache: the same pixels, decoded again, and a cache that stays within its limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import beholder
from beholder.base import events
from beholder.base.records import Pictures, PixelPolicy
from beholder.data.cache import Pixels, cached, missing
from beholder.data.streamed import Streamed
from beholder.sources import scan

POLICY = PixelPolicy(height=20, width=24)
EACH = 20 * 24 * 3 + 36


@pytest.fixture
def few(leaves: Path) -> Pictures:
    (leaves / "rust" / "07.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    return scan(leaves)


def room_for(patch: pytest.MonkeyPatch, pictures: int) -> None:
    patch.setenv("BEHOLDER_ROOM", str(pictures * EACH / 2**30))


def read(pictures: Pictures, root: Path) -> tuple[Pixels, int]:
    """Return the pixels, and how many of them are streamed."""
    told: list[int] = []
    with events.listen(lambda event: told.append(event.fields.get("streamed", 0)), alone=True):
        return cached(pictures, POLICY, root=root), sum(told)


def held(root: Path) -> int:
    return sum(file.stat().st_size for file in (root / "pixels").rglob("*.npy"))


@pytest.mark.parametrize("room", [0, 10, 34])
def test_pixels_are_the_same_with_less_room(few: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    whole, none = read(few, tmp_path / "whole")
    room_for(monkeypatch, room)
    part, streamed = read(few, tmp_path / "part")
    assert (none, streamed) == (0, 35 - room)
    assert held(tmp_path / "part") <= room * EACH + 1000  # the heads of the files
    assert [bad.key for bad in part.bad] == [bad.key for bad in whole.bad] == ["rust/07.png"]
    np.testing.assert_array_equal(part.rows, whole.rows)
    for positions in (np.arange(35), np.array([34, 3, 3, 20]), np.array([12])):
        np.testing.assert_array_equal(part.take(positions), whole.take(positions))
    np.testing.assert_array_equal(part.subset(np.arange(34, 0, -2)).take(np.arange(17)), whole.take(np.arange(34, 0, -2)))


def test_what_was_found_sound_is_not_decoded_to_be_checked_again(
    few: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(monkeypatch, 10)
    first, _ = read(few, tmp_path)
    again, streamed = read(few, tmp_path)
    assert (first.decoded, again.decoded, streamed) == (35, 0, 25)
    np.testing.assert_array_equal(first.take(np.arange(35)), again.take(np.arange(35)))
    monkeypatch.delenv("BEHOLDER_ROOM")
    roomy, streamed = read(few, tmp_path)
    assert (roomy.decoded, streamed, missing(few, POLICY, root=tmp_path)) == (25, 0, 1)


def test_other_sets_make_room(few: Pictures, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(monkeypatch, 40)
    read(few.take(np.arange(12)), tmp_path)
    _, streamed = read(few.take(np.arange(12, 36)), tmp_path)
    assert streamed == 0
    assert held(tmp_path) <= 40 * EACH


def test_a_picture_that_is_lost_meanwhile_ends_the_reading(
    few: Pictures, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(monkeypatch, 0)
    pixels, _ = read(few, tmp_path)
    assert isinstance(pixels.shards[0], Streamed)
    (leaves / "healthy" / "00.png").unlink()
    with pytest.raises(beholder.DataError, match=r"healthy/00.png") as caught:
        pixels.take(np.arange(3))
    assert caught.value.hint


def test_training_is_the_same_with_less_room(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = beholder.split(scan(leaves), seed=0)
    how = {"net": "cnn", "epochs": 2, "batch": 8, "precision": "fp32", "seed": 1}
    for name, room in (("whole", 1000), ("part", 3)):
        beholder.cache(tmp_path / name)
        room_for(monkeypatch, room)
        beholder.train(parts, out=tmp_path / f"{name}.beholder", **how)
    one, other = (load_file(tmp_path / f"{name}.beholder" / "model.safetensors") for name in ("whole", "part"))
    assert all(np.array_equal(one[key], other[key]) for key in one)
