"""Groups by name: pictures of one patient, track or series whose names say so, kept in one part of a split."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np

from beholder.base import events
from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe, find
from beholder.base.records import PARTS, Parts, Pictures
from beholder.base.used import changed, refuse

FIRST = r"([^/_-]+)[_-][^/]*$"
"""What stands before the first hyphen or underscore of a file's name: person12_virus_3.jpg → person12."""

LAST = r"([^/]+)[_-][A-Za-z]*\d+\.[^/.]+$"
"""What stands before its last number: 00001280_004.png → 00001280, walk_3_frame07.jpg → walk_3."""

FOLDER = r"([^/]+)/[^/]+$"
"""The folder of a file, where that is neither a class nor a part: patient_07/3.jpg → patient_07."""

OUTER = r"([^/]+)/[^/]+/[^/]+$"
"""The folder above that, of which each holds several: patient_07/series_2/3.jpg → patient_07."""

NUMBERED = r"([^/]*\d)[ .(A-Za-z]+\d+\)?\.[^/.]+$"
"""A number before the last one without a hyphen or underscore between: p012s03.png → p012, patient 12 (3).png → patient 12."""

SIDE = r"([^/]*\d)[ _.-]*(?i:left|right|od|os|l|r)\.[^/.]+$"
"""What stands before a side: 12_left.jpeg and 12_right.jpeg → 12."""

NAMED = 0.8
"""Least share of the names that have such a form for it to be noticed."""

SEVERAL, SHARED, LARGEST = 1.3, 0.3, 0.2
"""Pictures a group on average, share of the pictures in groups of two or more, and share in the largest group, at most."""

LOOKED = 200_000
"""Names that are looked at."""

SAMPLE = 2000
"""Names, by chance, of which half of `NAMED` have to have a form before all are looked at."""


@dataclass(frozen=True)
class Series:
    """Names that look like groups: pattern finds them; groups: how many; largest: pictures of one; example: two such names."""

    pattern: str
    groups: int
    largest: int
    example: tuple[str, str]


def grouped(pictures: Pictures, pattern: str) -> Pictures:
    """Return the pictures with the groups that their names say; as they are where `pattern` is empty.

    pattern: a regular expression, searched in each name with its folders ("ward/00001280_004.png"); the group is what its
    parentheses hold, or without any all that it finds. A name in which it finds nothing stands alone.
    Raises `UsageError` (bad-pattern) for what is no regular expression, or finds no group of two pictures.
    """
    if not pattern:
        return pictures
    form = _form(pattern)
    names = [_found(form, key) for key in pictures.keys]
    index = {name: k for k, name in enumerate(sorted({name for name in names if name}))}
    numbers = np.array([index.get(name, -1) for name in names], np.int64)
    counts = np.bincount(numbers[numbers >= 0], minlength=1)
    if counts.max() < 2:
        example = f", such as '{pictures.keys[0]}'" if len(pictures) else ""
        text = f"--group-from '{pattern}' finds no two pictures of one group among {len(pictures):,} names{example}"
        hint = "the group is what the parentheses of the pattern hold; it is searched in the name with its folders"
        raise UsageError(text, code="bad-pattern", hint=hint)
    alone = int((numbers < 0).sum())
    left = f"; {alone:,} names have no group" if alone else ""
    events.note(f"groups by name: {len(index):,}, of up to {int(counts.max()):,} pictures{left}")
    return replace(pictures, groups=numbers)


def _form(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        hint = rf"for example --group-from '{LAST}' for what stands before the last number of a name"
        raise UsageError(f"'{pattern}' is not a regular expression: {error}", code="bad-pattern", hint=hint) from error


def _found(form: re.Pattern[str], key: str) -> str:
    found = form.search(key)
    if found is None:
        return ""
    return "\0".join(part or "" for part in found.groups()) if form.groups else found[0]


def named_groups(pictures: Pictures, pattern: str, *, say: bool = True) -> Pictures:
    """Return the pictures `grouped` by `pattern`; without one, `say` where their names look like groups."""
    if not pattern and say:
        notice(pictures)
    return grouped(pictures, pattern)


def asked_of_parts(recipe: Recipe | str | Path, fields: Mapping[str, object], parts: Parts, *, verb: str) -> Recipe:
    """Return the recipe for parts that are given: as `changed`, but `data.group_from` may be set where the parts keep to it.

    verb: of `UNUSED`. Raises `UsageError` (unused-field), which says how to make parts that do; and as `grouped` does.
    """
    asked = changed(recipe, fields)
    pattern = asked.data.group_from
    if not pattern or not isinstance(parts, Parts):
        return changed(asked, fields, verb=verb)
    torn = _torn(parts, pattern)
    if torn:
        text = (
            f"the parts do not keep to data.group_from: {len(torn):,} of its groups lie in several parts, such as '{torn[0]}'"
        )
        hint = f"make them with beholder.split(pictures, group_from={pattern!r}), or give the source to beholder.steps"
        raise UsageError(text, code="unused-field", hint=hint)
    refuse(verb, [name for name in fields if find(name, warn=False) != "data.group_from"], recipe=asked.set(group_from=""))
    return asked


def _torn(parts: Parts, pattern: str) -> list[str]:
    """Return the groups by name that lie in several parts."""
    form = _form(pattern)
    found = [{name for key in part.keys if (name := _found(form, key))} for _, part in parts.items()]
    return sorted({name for k, names in enumerate(found) for other in found[:k] for name in names & other})


def notice(pictures: Pictures) -> None:
    """Say where names look like patients, tracks or series and the source gives no groups."""
    found = suspected(pictures)
    if found is not None:
        events.warn(
            f"the names look like {found.groups:,} patients, tracks or series of up to {found.largest:,} pictures "
            f"('{found.example[0]}' and '{found.example[1]}'): if they are, a test with pictures of the same ones flatters",
            hint=f"--group-from '{found.pattern}' (data.group_from) keeps each in one part",
            code="groups-by-name",
        )


def suspected(pictures: Pictures) -> Series | None:
    """Return groups that the names look like, None where they do not, or where the source gives groups itself.

    A folder below that of the class, else what stands before the first sign of division, else before the last number or a
    side, has to be shared by several pictures, but not by so many that it is the name of a class or a camera. Numbers that
    begin anew in each class folder count by folder.
    """
    if (pictures.groups >= 0).any() or not 8 <= len(pictures) <= LOOKED:
        return None
    keys = list(pictures.keys)
    for pattern in (OUTER, FOLDER, FIRST, LAST, NUMBERED, SIDE):
        found = _series(pictures, keys, pattern)
        if found is not None:
            return found
    return None


def _series(pictures: Pictures, keys: list[str], pattern: str) -> Series | None:
    form, known = re.compile(pattern), {*pictures.classes, *PARTS}
    some = Random(0).sample(keys, min(SAMPLE, len(keys)))  # by chance: names often alternate
    if sum(map(len, _named(form, some, known).values())) < NAMED / 2 * len(some):
        return None
    rows = _named(form, keys, known)
    if _begins_anew(pictures, rows, above={OUTER: 3, FOLDER: 2}.get(pattern, 1)):
        pattern = "(.*/)" + pattern
        form = re.compile(pattern)
        anew: dict[str, list[int]] = defaultdict(list)
        for row in (row for some in rows.values() for row in some):
            anew[_found(form, keys[row])].append(row)
        rows = anew
    counts = np.array([len(some) for some in rows.values()], np.int64)
    n, named = len(pictures), int(counts.sum())
    if named < NAMED * n or len(counts) <= 2 * len(pictures.classes) or len(counts) < 5:
        return None
    if named / len(counts) < SEVERAL or counts[counts > 1].sum() < SHARED * named or counts.max() > LARGEST * n:
        return None
    example = max(rows.values(), key=len)
    names = [keys[row].rpartition("/")[2] for row in sorted(example)[:2]]
    return Series(pattern, len(counts), int(counts.max()), (names[0], names[1]))


def _named(form: re.Pattern[str], keys: list[str], known: set[str]) -> dict[str, list[int]]:
    """Return the rows of each name that the form finds and that may be one of a patient, a track or a series."""
    last, rows = re.compile(LAST), defaultdict[str, list[int]](list)
    for row, key in enumerate(keys):
        name = _found(form, key)
        if name and name not in known and (last.search(key) or any(letter.isdigit() for letter in name)):
            rows[name].append(row)
    return rows


def _begins_anew(pictures: Pictures, rows: dict[str, list[int]], *, above: int) -> bool:
    """Return whether the groups are numbers that run from 0 in every folder: track 0 of one is not that of another."""
    folders: dict[str, set[int]] = defaultdict(set)
    for name, some in rows.items():
        if not name.isdecimal():
            return False
        for row in some:
            folders["/".join(pictures.keys[row].split("/")[:-above])].add(int(name))
    dense = [max(numbers) <= 1.5 * len(numbers) + 1 for numbers in folders.values()]
    return len(folders) > 1 and sum(dense) > 0.8 * len(dense)
