"""Names that look like patients, tracks or series are noticed, and --group-from keeps each in one part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.base import events
from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.base.records import Pictures
from beholder.data.groups import asked_of_parts, grouped, notice, suspected
from beholder.data.split import split
from beholder.sources import scan
from beholder.study.steps import preprocess


def named(keys: list[str], classes: tuple[str, ...] = ("a", "b")) -> Pictures:
    n = len(keys)
    targets = np.arange(n) % len(classes)
    return Pictures(None, keys, targets, classes, np.full(n, -1, np.int8), np.full(n, -1))  # type: ignore[arg-type]


def patients(n: int = 20) -> Iterator[str]:
    for patient in range(n):
        for visit in range(3):
            yield f"{'ab'[visit % 2]}/{1280 + 37 * patient:08d}_{visit:03d}.png"


def tracks() -> Iterator[str]:
    for folder in ("00000", "00001"):
        for track in range(12):
            for frame in range(5):
                yield f"{folder}/{track:05d}_{frame:05d}.ppm"


@pytest.mark.parametrize(
    ("keys", "groups"),
    [
        (list(patients()), 20),
        (list(tracks()), 24),  # numbers begin anew in each folder: two tracks 00003
        ([f"a/person{k}_virus_{i}.jpeg" for k in range(12) for i in range(2)], 12),
        ([f"a/walk_{k}_frame{i:02d}.jpg" for k in range(12) for i in range(4)], 12),
        ([f"a/scan-{k}-slice-{i}.jpg" for k in range(15) for i in range(3)], 15),
        ([f"a/{k}_{eye}.jpeg" for k in range(15) for eye in ("left", "right")], 15),
        ([f"{'ab'[i % 2]}/patient_{k}/{i}.jpg" for k in range(15) for i in range(4)], 15),
        ([f"a/p{k:03d}s{i:02d}.png" for k in range(15) for i in range(3)], 15),
        ([f"a/patient {k} ({i}).png" for k in range(15) for i in range(3)], 15),
        ([f"a/{k * 7919:05d}.{i:02d}.png" for k in range(15) for i in range(3)], 15),
        ([f"a/P{k:03d}{eye}.jpg" for k in range(15) for eye in "LR"], 15),
        ([f"{'ab'[i % 2]}/patient_{k}/series_{i % 2}/{i}.jpg" for k in range(15) for i in range(4)], 15),
        ([f"{'ab'[k % 2]}/{k // 2:03d}/{i}.jpg" for k in range(30) for i in range(4)], 30),  # numbers that begin anew
    ],
)
def test_names_of_patients_tracks_and_series_are_noticed_and_the_suggestion_works(keys: list[str], groups: int) -> None:
    pictures = named(keys)
    found = suspected(pictures)
    assert found is not None
    assert found.groups == groups
    numbers = grouped(pictures, found.pattern).groups
    assert len(np.unique(numbers)) == groups
    assert (numbers >= 0).all()


@pytest.mark.parametrize(
    "keys",
    [
        [f"a/{k:04d}.png" for k in range(60)],
        [f"a/cat_{k:03d}.png" for k in range(30)] + [f"b/dog_{k:03d}.png" for k in range(30)],
        [f"a/IMG_{k:04d}.jpg" for k in range(60)],
        [f"a/{k}.jpg" for k in range(60)],
        [f"a/{k * 7919}_{k * 104729 % 997:x}f.jpg" for k in range(60)],  # two numbers of a photo that never come again
        [f"a/{k:05d}_{k:03d}.png" for k in range(60)],
        ["a/1_1.png", "a/1_2.png"],
        [f"a/rust ({k}).png" for k in range(60)],
        [f"a/2020-01-{k % 28 + 1:02d} {k % 24:02d}.{k * 7 % 60:02d}.{k * 13 % 60:02d}.jpg" for k in range(60)],
        [f"a/{k * 2654435761 % 2**32:08x}.jpg" for k in range(60)],
        [f"set_1/{'ab'[k % 2]}/images/{k:04d}.png" for k in range(60)],
        [f"train/{'ab'[k % 2]}/{k:04d}.png" for k in range(60)],
        [f"{'ab'[k % 2]}/images/{k:04d}.png" for k in range(60)],
    ],
)
def test_other_names_are_not(keys: list[str]) -> None:
    assert suspected(named(keys)) is None


def test_a_source_with_groups_of_its_own_is_believed() -> None:
    pictures = grouped(named(list(patients())), "([0-9]+)_")
    assert suspected(pictures) is None


def test_what_is_noticed_is_said_with_the_option() -> None:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        notice(named(list(patients())))
        notice(named([f"a/{k}.png" for k in range(60)]))
    assert [event.fields["code"] for event in said] == ["groups-by-name"]
    assert "00001280_000.png" in said[0].message
    assert "--group-from" in str(said[0].fields["hint"])


def test_a_group_is_all_parentheses_or_all_that_is_found() -> None:
    keys = ["a/x1_0.png", "b/x1_1.png", "a/x2_0.png", "b/x2_1.png", "a/other.png"]
    assert grouped(named(keys), r"x\d").groups.tolist() == [0, 0, 1, 1, -1]
    assert grouped(named(keys), r"(x\d)_").groups.tolist() == [0, 0, 1, 1, -1]
    assert len(np.unique(grouped(named([*keys, "a/x1_5.png"]), r"(^.)/(x\d)_").groups)) == 5
    pictures = named(keys)
    assert grouped(pictures, "") is pictures


@pytest.mark.parametrize(
    ("pattern", "words"), [("(x", "not a regular expression"), ("zz", "no two pictures"), ("(.+)", "no two")]
)
def test_patterns_that_find_nothing_are_refused(pattern: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        grouped(named(["a/x1.png", "b/x2.png"]), pattern)
    assert error.value.code == "bad-pattern"
    assert error.value.hint


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for key in patients(24):
        (tmp_path / key).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (12, 12, 3)).astype(np.uint8)).save(tmp_path / key)
    return tmp_path


def test_every_door_keeps_groups_by_name_together(ward: Path) -> None:
    """The command line's way, and `beholder.split`."""
    pattern = r"([^/]+)_\d+\."
    for parts in (
        preprocess(ward, Recipe().set(group_from=pattern)).parts,
        split(scan(ward), group_from=pattern),
    ):
        where = [{key[2:10] for key in part.keys} for _, part in parts.items()]
        assert all(where)
        assert sum(map(len, where)) == len(set().union(*where)) == 24


def test_parts_that_keep_to_the_groups_of_a_recipe_may_be_trained_by_it(ward: Path) -> None:
    pattern = r"([^/]+)_\d+\."
    pictures = scan(ward)
    together, torn = split(pictures, group_from=pattern), split(pictures, near=False)
    asked = Recipe().set(group_from=pattern)
    assert asked_of_parts(asked, {"epochs": 2}, together, verb="train") == asked.set(epochs=2)
    assert asked_of_parts("quick", {"group_from": pattern}, together, verb="train").data.group_from == pattern
    with pytest.raises(UsageError, match=r"of its groups lie in several parts, such as '") as refused:
        asked_of_parts(asked, {}, torn, verb="train")
    assert refused.value.code == "unused-field"
    assert "beholder.split(pictures, group_from=" in refused.value.hint
    with pytest.raises(UsageError, match=r"no effect in train: data\.val"):
        asked_of_parts(asked.set(val=0.3), {}, together, verb="train")
    with pytest.raises(UsageError, match="is not a regular expression"):
        asked_of_parts(Recipe().set(group_from="("), {}, together, verb="train")
