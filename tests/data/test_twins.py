"""Twins are found whatever was done to the copy, and nothing else is; planted in pictures in memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageOps

from beholder.data.digest import digested
from beholder.data.facts import Thumbnails, facts, seen
from beholder.data.sources import scan
from beholder.data.split import split
from beholder.data.twins import COPY, FAR, GIANT, LIKE, Twins, twins

Picture = npt.NDArray[np.uint8]
NONE = np.empty((0, 2), np.int64)


def scene(seed: int, height: int = 120, width: int = 160) -> Image.Image:
    """Overlapping shapes on one light ground, as things lie on one table: never twice the same."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (width, height), (225, 222, 215))
    pen = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y = rng.uniform(0.1, 0.8) * width, rng.uniform(0.1, 0.8) * height
        box = (x, y, x + rng.uniform(6, width / 3), y + rng.uniform(6, height / 3))
        ink = tuple(int(level) for level in rng.integers(0, 255, 3))
        (pen.ellipse if rng.random() < 0.5 else pen.rectangle)(box, fill=ink)
    return picture


def saved(picture: Image.Image, quality: int = 60) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def written(picture: Image.Image) -> Image.Image:
    ImageDraw.Draw(picture).text((20, 30), "SAMPLE", fill=(255, 255, 0))
    return picture


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved again": saved,
    "smaller": lambda p: saved(p.resize((80, 60))),
    "brighter": lambda p: saved(p.point(lambda v: min(255, round(v * 1.15)))),
    "darker": lambda p: saved(p.point(lambda v: round(v * 0.85))),
    "cut": lambda p: saved(p.crop((7, 2, 155, 115))),
    "mirrored": lambda p: saved(ImageOps.mirror(p)),
    "upside down": lambda p: saved(ImageOps.flip(p)),
    "turned left": lambda p: saved(p.transpose(Image.Transpose.ROTATE_90)),
    "turned right": lambda p: saved(p.transpose(Image.Transpose.ROTATE_270)),
    "written on": lambda p: saved(written(p)),
    "grey": lambda p: saved(p.convert("L").convert("RGB")),
}


def looked_for(pictures: list[Image.Image]) -> Twins:
    held = digested(scan(([np.asarray(p) for p in pictures], [k % 2 for k in range(len(pictures))])))
    return twins(held, facts(held))


@pytest.fixture(scope="module")
def planted() -> tuple[Twins, int]:
    """Forty scenes, then a copy of each of the first ones with every change."""
    scenes = [scene(seed) for seed in range(40)]
    copies = [change(scenes[k].copy()) for k, change in enumerate(CHANGES.values())]
    return looked_for(scenes + copies), len(scenes)


def pairs_of(found: Twins) -> set[tuple[int, int]]:
    names, first = np.unique(found.kinds, return_index=True)
    rows = first[np.searchsorted(names, found.near)]
    return {(min(a, b), max(a, b)) for a, b in rows.tolist()}


@pytest.mark.parametrize("change", list(CHANGES))
def test_changed_copy_is_found(planted: tuple[Twins, int], change: str) -> None:
    k = list(CHANGES).index(change)
    assert (k, planted[1] + k) in pairs_of(planted[0])


def test_copies_are_lit_alike(planted: tuple[Twins, int]) -> None:
    assert planted[0].light is not None
    assert planted[0].light.max() <= COPY


def relit(picture: Image.Image) -> Image.Image:
    """The same things in another light: the shadow of a window's bars falls on them."""
    height, width = picture.height, picture.width
    bars = 1 - 0.25 * (np.sin(np.arange(width) / width * 12) > 0) * np.linspace(1, 0.2, height)[:, None]
    return Image.fromarray((np.asarray(picture) * bars[:, :, None]).astype(np.uint8))


def test_what_was_shot_again_is_lit_otherwise_but_kept_together() -> None:
    scenes = [scene(seed) for seed in range(6)]
    found = looked_for([*scenes, *(relit(picture) for picture in scenes)])
    assert pairs_of(found) == {(k, k + 6) for k in range(6)}
    assert found.light is not None
    assert (found.light > COPY).all()
    assert (found.scores[found.light > FAR] < LIKE).all()


def test_thumbnails_at_hand_are_those_that_would_be_made(leaves: Path) -> None:
    """Also where a picture is so large that it is measured reduced; and what is not at hand is opened."""
    for k in range(2):
        scene(k, 700, 900).save(leaves / "rust" / f"large{k}.jpg")
        ImageOps.mirror(scene(k, 700, 900)).save(leaves / "rust" / f"mirrored{k}.jpg")
    held, small = digested(scan(leaves)), Thumbnails()
    known = facts(held, small=small)
    assert len(small.held) == len({row.tobytes() for row in known["digest"]})
    for key, digest in zip(held.keys, known["digest"], strict=True):
        assert np.array_equal(small.held[digest.tobytes()], seen((leaves / key).read_bytes()))
    alone = twins(held, known, root=leaves / "one")
    small.held = dict(list(small.held.items())[::2])
    shared = twins(held, known, root=leaves / "other", small=small)
    assert len(alone.near) >= 2
    assert alone.near.tolist() == shared.near.tolist()
    assert alone.scores.tolist() == shared.scores.tolist()


def test_thumbnails_are_bounded(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Thumbnails, "MOST", 5)
    small = Thumbnails()
    facts(digested(scan(leaves)), small=small)
    assert len(small.held) == 5
    assert {picture.nbytes for picture in small.held.values()} == {4096}
    assert all(picture.base is None for picture in small.held.values())  # no larger array hangs on it


def test_nothing_else_is_found(planted: tuple[Twins, int]) -> None:
    assert pairs_of(planted[0]) == {(k, planted[1] + k) for k in range(len(CHANGES))}


def test_equal_pixels_are_one_kind_whatever_the_file(tmp_path: Path) -> None:
    grey = Image.new("RGB", (30, 40), (90, 90, 90))
    for name, picture in {"a/1.png": scene(0), "b/2.bmp": scene(0), "a/3.png": grey, "b/4.png": grey.resize((30, 20))}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture.save(tmp_path / name)
    held = digested(scan(tmp_path))
    found = twins(held, facts(held))
    kinds = dict(zip(held.keys, found.kinds.tolist(), strict=True))
    assert kinds["a/1.png"] == kinds["b/2.bmp"]
    assert len(set(kinds.values())) == 3
    assert len(found.near) == 0


def test_even_surfaces_have_no_near_twins() -> None:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(np.full((40, 40, 3), 100 + k, np.uint8)) for k in range(5)]
    pictures += [Image.fromarray(rng.integers(118, 122, (40, 40, 3)).astype(np.uint8)) for _ in range(5)]
    assert len(looked_for(pictures).near) == 0


def test_unreadable_pictures_are_nobodys_twins() -> None:
    broken = np.full((4, 4, 3), np.nan)
    held = digested(scan(([broken, broken + 0, np.asarray(scene(1))], [0, 1, 0])))
    found = twins(held, facts(held))
    assert len(set(found.kinds.tolist())) == 3


def test_among_renumbers_pictures_and_keeps_ties() -> None:
    found = Twins(np.array([0, 1, 0, 2, 3]), np.array([[0, 3], [1, 2]]), np.array([0.95, 0.97]))
    groups = found.among(np.array([2, 3, 4])).groups()
    assert groups[0] == groups[2]
    assert groups[0] != groups[1]


def test_groups_follow_chains() -> None:
    groups = Twins(np.arange(5), np.array([[0, 1], [1, 2]]), np.array([0.95, 0.9])).groups()
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 3


def test_no_chain_of_near_twins_swallows_the_set() -> None:
    n = 1000
    chain = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)
    groups = Twins(np.arange(n), chain, np.linspace(0.9, 1, n - 1)).groups()
    assert np.bincount(groups).max() <= GIANT * n


def test_exact_copies_stay_together_however_many() -> None:
    groups = Twins(np.repeat([0, 1], [400, 100]), NONE, np.empty(0)).groups()
    assert len(set(groups.tolist())) == 2


def test_split_keeps_near_twins_in_one_part() -> None:
    scenes = [scene(seed) for seed in range(40)]
    copies = [ImageOps.mirror(saved(picture)) for picture in scenes]
    held = digested(scan(([np.asarray(p) for p in scenes + copies], [k % 2 for k in range(80)])))
    found = twins(held, facts(held))
    assert len(found.near) == 40
    assert found.scores.min() >= LIKE

    def torn(**more: Twins) -> int:
        parts = {key: name for name, part in split(held, **more).items() for key in part.keys}
        return sum(parts[held.keys[k]] != parts[held.keys[k + 40]] for k in range(40))

    assert torn() > 5
    assert torn(twins=found) == 0
