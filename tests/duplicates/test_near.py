"""Twins are found whatever was done to the copy, and nothing else is; planted in pictures in memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from beholder.base import events
from beholder.base.errors import DataError, UsageError
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures
from beholder.data.leaks import without_leaks
from beholder.data.split import split
from beholder.duplicates.appearance import seen
from beholder.duplicates.facts import Thumbnails, facts
from beholder.duplicates.near import COPY, FAR, GIANT, LIKE, Twins, twins
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study.examine import audit
from beholder.study.steps import preprocess

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
    assert len(small) == len({row.tobytes() for row in known["digest"]})
    for key, digest in zip(held.keys, known["digest"], strict=True):
        assert np.array_equal(small[digest.tobytes()], seen((leaves / key).read_bytes()))
    alone = twins(held, known, root=leaves / "one")
    small = dict(list(small.items())[::2])
    shared = twins(held, known, root=leaves / "other", small=small)
    assert len(alone.near) >= 2
    assert alone.near.tolist() == shared.near.tolist()
    assert alone.scores.tolist() == shared.scores.tolist()


def test_thumbnails_are_bounded(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.duplicates.facts.MOST", 5)
    small = Thumbnails()
    facts(digested(scan(leaves)), small=small)
    assert len(small) == 5
    assert {picture.nbytes for picture in small.values()} == {4096}
    assert all(picture.base is None for picture in small.values())  # no larger array hangs on it


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


def copied(n: int = 40) -> tuple[list[Picture], list[int]]:
    """n scenes of two classes, then a mirrored and saved copy of each."""
    scenes = [scene(seed) for seed in range(n)]
    copies = [ImageOps.mirror(saved(picture)) for picture in scenes]
    return [np.asarray(p) for p in scenes + copies], [k % 2 for k in range(2 * n)]


def torn(parts: Parts, keys: Sequence[str]) -> int:
    where = {key: name for name, part in parts.items() for key in part.keys}
    half = len(keys) // 2
    return sum(where[keys[k]] != where[keys[k + half]] for k in range(half))


def test_split_keeps_near_twins_in_one_part() -> None:
    held = digested(scan(copied()))
    found = twins(held, facts(held))
    assert len(found.near) == 40
    assert found.scores.min() >= LIKE
    assert torn(split(held, near=False), held.keys) > 5
    assert torn(split(held, near=False, twins=found), held.keys) == 0


def test_every_door_keeps_near_twins_in_one_part() -> None:
    """What `scan` gives, what the audit keeps, and what the command line does: the same rule, the same parts."""
    source = copied()
    pictures = scan(source)
    findings = audit(source, checks=["near-duplicate", "conflict"])
    kept = findings.kept
    assert len(findings.only(["near-duplicate"])) == 40
    doors = [split(pictures), split(kept), preprocess(source, Recipe()).parts]
    for parts in doors:
        assert torn(parts, pictures.keys) == 0
        assert [list(part.keys) for _, part in parts.items()] == [list(part.keys) for _, part in doors[0].items()]


def test_split_leaves_out_near_twins_across_given_parts() -> None:
    x, y = copied(12)
    pictures = replace(scan((x, y)), parts=np.repeat([0, 2], 12).astype(np.int8))
    said: list[events.Event] = []
    with pytest.raises(DataError) as nothing:
        split(pictures)
    assert nothing.value.code == "all-leaked"
    more, _ = copied(30)
    pictures = replace(
        scan((x + more[12:30], [*y, *[k % 2 for k in range(18)]])), parts=np.repeat([0, 2, 0], [12, 12, 18]).astype(np.int8)
    )
    with events.listen(said.append, alone=True):
        parts = split(pictures, val=0.2)
    assert sorted(parts.test.keys) == [f"{k:02}" for k in range(12, 24)]
    assert sorted((*parts.train.keys, *parts.valid.keys)) == [f"{k:02}" for k in range(24, 42)]
    (told,) = [event.message for event in said if "duplicates" in event.message and event.kind == "note"]
    assert told.startswith("12 pictures have duplicates in a later given part and are left out")


def test_beyond_a_number_split_looks_for_exact_twins_only_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.duplicates.near.NEAR", 30)
    x, y = copied(20)
    pictures = scan((x + x[:6], y + y[:6]))
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        parts = split(pictures)
    assert any("only exact duplicates" in event.message for event in said)
    where = {key: name for name, part in parts.items() for key in part.keys}
    assert all(where[f"{k:02}"] == where[f"{k + 40:02}"] for k in range(6))


def test_split_of_what_are_no_pictures_says_how() -> None:
    with pytest.raises(UsageError) as wrong:
        split("leaves/")  # type: ignore[arg-type]
    assert "beholder.split(beholder.scan(source))" in wrong.value.hint


def sign(seed: int, digits: str, size: int = 64) -> Image.Image:
    """A round sign with a number, as a drawing program makes it and a camera sees it."""
    rng = np.random.default_rng([seed, int(digits)])
    picture = Image.new("RGB", (size, size), (40, 50, 40))
    pen, k = ImageDraw.Draw(picture), size / 48
    x, y = 24 * k + rng.uniform(-1, 1, 2)
    pen.ellipse((x - 20 * k, y - 20 * k, x + 20 * k, y + 20 * k), fill="white", outline=(200, 20, 20), width=round(5 * k))
    pen.text((x, y), digits, font=ImageFont.load_default(size=22 * k), fill="black", anchor="mm")
    seen = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.9))) * rng.uniform(0.7, 1.1) + rng.normal(0, 3, (size, size, 3))
    return Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8))


def of_labels(pictures: list[Image.Image], labels: list[int]) -> tuple[Pictures, Twins]:
    held = digested(scan(([np.asarray(p) for p in pictures], labels)))
    return held, twins(held, facts(held))


def test_signs_that_differ_in_a_digit_are_no_twins_across_labels() -> None:
    """As wholes they agree, for a tenth of a picture may be written on; at the digit they do not."""
    labels = [k for k in range(4) for _ in range(10)]
    signs = [sign(i, ("30", "50", "60", "80")[k]) for i, k in enumerate(labels)]
    held, found = of_labels(signs, labels)
    rows = np.array(sorted(pairs_of(found)))
    assert np.count_nonzero(held.targets[rows[:, 0]] != held.targets[rows[:, 1]]) >= 10
    rows = np.array(sorted(pairs_of(found.binding(held.targets))))
    assert (held.targets[rows[:, 0]] == held.targets[rows[:, 1]]).all()
    assert audit(([np.asarray(p) for p in signs], labels), checks=["conflict"]).rows == ()


@pytest.mark.parametrize("change", ["saved again", "smaller", "darker", "mirrored", "turned left"])
def test_copies_with_another_label_stay_twins(change: str) -> None:
    scenes = [scene(seed) for seed in range(4)]
    held, found = of_labels([*scenes, *(CHANGES[change](picture.copy()) for picture in scenes[:2])], [0, 1, 0, 1, 1, 0])
    assert pairs_of(found.binding(held.targets)) == {(0, 4), (1, 5)}


def test_a_turn_that_changes_every_label_ties_nothing() -> None:
    """Arrows to the left and to the right are each other's mirror images, and rightly have different labels."""
    scenes = [scene(seed) for seed in range(6)]
    held, found = of_labels([*scenes, *(ImageOps.mirror(saved(picture)) for picture in scenes)], [0] * 6 + [1] * 6)
    assert len(pairs_of(found)) == 6
    assert pairs_of(found.binding(held.targets)) == set()


def counted(parts: Parts) -> list[list[int]]:
    return [part.counts().tolist() for _, part in parts.items()]


def test_near_ties_leave_every_class_in_every_part() -> None:
    """All pictures of one class are near twins of each other: they are divided all the same, and that is said."""
    held = digested(scan(([np.asarray(scene(seed)) for seed in range(60)], [0] * 20 + [1] * 40)))
    chain = np.array([(k, k + 1) for k in range(19)])
    tied = Twins(np.arange(60), chain, np.full(19, 0.9))
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        parts = split(held, twins=tied)
    assert counted(parts) == counted(split(held, near=False))
    assert [event.fields["code"] for event in said if event.kind == "warn"] == ["near-ties"]


def test_near_twins_in_the_test_leave_a_class_its_validation_pictures() -> None:
    held = digested(scan(([np.asarray(scene(seed)) for seed in range(12)], [0, 1] * 6)))
    held = replace(held, parts=np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2], np.int8))
    tied = Twins(np.arange(12), np.array([(6, 9), (7, 10)]), np.full(2, 0.9))
    left, done = without_leaks(held, tied, np.ones(12, bool), "drop")
    assert list(done) == [held.keys[6]]  # another of its class stays in the validation part, none would of the other's
    assert len(left) == 11


def test_what_is_remembered_of_twins_serves_other_labels_too(tmp_path: Path) -> None:
    """Agreement at every place is measured across labels only; when labels change, what is missing is measured then."""
    pictures = [*(scene(seed) for seed in range(4)), *(saved(scene(seed)) for seed in range(2))]
    held = digested(scan(([np.asarray(p) for p in pictures], [0, 1, 0, 1, 0, 1])))
    same = twins(held, facts(held), root=tmp_path)
    assert same.least is not None
    assert np.isnan(same.least).all()
    other = replace(held, targets=np.array([0, 1, 0, 1, 1, 0]))
    assert pairs_of(same.binding(other.targets)) == set()  # what was not measured does not bind
    for _ in range(2):
        assert pairs_of(twins(other, facts(other), root=tmp_path).binding(other.targets)) == {(0, 4), (1, 5)}
