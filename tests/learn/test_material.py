"""What a run learns from: all that can be read, what there is time for, or what it had before."""

from __future__ import annotations

from pathlib import Path

import torch

import beholder
from beholder.base.deadline import Deadline
from beholder.base.recipe import Recipe
from beholder.base.records import PixelPolicy
from beholder.learn.material import LEAST, Said, both_decoded

POLICY = PixelPolicy(20, 24)


def test_all_that_can_be_read_and_what_cannot(leaves: Path) -> None:
    (leaves / "rust" / "00.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    parts, said = beholder.split(beholder.scan(leaves), near=False), Said()
    train, valid = both_decoded(parts, POLICY, Recipe(), said, until=Deadline(), only=None)
    assert len(train.pictures) + len(valid.pictures) == len(parts.train) + len(parts.valid) - len(said.notes)
    assert all("1 pictures could not be read" in note and "rust/00.png" in note for note in said.notes)
    for part in (train, valid):
        assert part.targets.dtype == torch.float32
        assert part.targets.argmax(dim=1).tolist() == part.pictures.targets.tolist()
        assert part.targets.sum(dim=1).eq(1).all()
        assert part.pixels.shape == (3, 20, 24)


def test_without_time_a_sample_of_each_class_and_going_on_the_same_pictures(leaves: Path, draw, tmp_path: Path) -> None:
    parts, said = beholder.split(beholder.scan(draw(tmp_path / "many", each=120)), near=False), Said()
    over = Deadline(0.0, now=lambda: 1.0)
    train, valid = both_decoded(parts, POLICY, Recipe(), said, until=over, only=None)
    assert len(train.pictures) < len(parts.train)
    assert train.pictures.counts().min() >= 2
    assert len(train.pictures) >= LEAST
    assert said.notes[-1].startswith(
        f"there is time for {len(train.pictures)} of the {len(parts.train)} pictures of the part train"
    )
    assert train.pictures.digests is not None
    assert valid.pictures.digests is not None
    known = {"train": train.pictures.digests, "valid": valid.pictures.digests}
    again, _ = both_decoded(parts, POLICY, Recipe(), Said(), until=Deadline(), only=known)
    assert sorted(again.pictures.keys) == sorted(train.pictures.keys)
