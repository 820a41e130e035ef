"""What an audit decided with the time that it had is done again when a run or a search goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from beholder.base import events
from beholder.base.errors import Interrupted
from beholder.base.records import Finding, Parts, Pictures
from beholder.learn import material
from beholder.learn.resumed import names_of, parts_kept
from beholder.quality.audit import Findings
from beholder.study import policy
from beholder.study.policy import Curated
from beholder.study.replayed import content, recorded, replayed, rows_of
from beholder.study.tune import tune

SHORT: dict[str, Any] = {"net": "cnn", "epochs": 4, "batch": 8, "precision": "fp32"}
SINGLE = np.array([0, 0, 1, 1, 2, 2, 0, 1, 2, 0])
SEVERAL = np.eye(3, dtype=np.uint8)[SINGLE]


def table(targets: Any) -> Pictures:
    """Ten pictures, p0 to p9; the last two have the same bytes."""
    digests = np.repeat(np.arange(10, dtype=np.uint8), 32).reshape(10, 32)
    digests[9] = digests[8]
    none = np.full(10, -1)
    store: Any = SimpleNamespace(name="leaves")
    return Pictures(store, [f"p{k}" for k in range(10)], targets, ("a", "b", "c"), none.astype(np.int8), none, digests)


def audited(whole: Pictures, parts: Parts, done: dict[str, str]) -> Curated:
    return Curated(parts, Findings(whole, (Finding("p6", "unreadable", 1.0, "it cannot be read"),), {}), done)


def of(pictures: Pictures, *rows: list[int]) -> Parts:
    return Parts(*(pictures.take(np.array(each)) for each in rows))


@pytest.mark.parametrize("targets", [SINGLE, SEVERAL], ids=["single", "several"])
def test_parts_labels_and_groups_are_those_that_a_run_began_with(targets: Any) -> None:
    whole = table(targets)
    tied = replace(whole, groups=np.array([7, 7, *[-1] * 8]))
    before = of(tied, [1, 0, 2, 8], [3, 4], [5, 6, 9])
    now = of(whole, [2, 3, 4, 7], [5, 8], [1, 9])
    found = replayed(audited(whole, now, {"p0": "drop", "p6": "drop"}), parts_kept(before))
    for (name, wanted), (_, part) in zip(before.items(), found.parts.items(), strict=True):
        assert part.keys == wanted.keys, name
        np.testing.assert_array_equal(part.targets, wanted.targets)
        np.testing.assert_array_equal(part.groups, wanted.groups)
        assert part.digests is not None
    assert found.done == {"p6": "drop", "p7": "drop"}, "p0 was not left out then, and p7 was"


def test_labels_are_those_that_were_given_then_and_classes_those_that_were_left() -> None:
    whole = table(SINGLE)
    rows = [0, 1, 2, 3, 6, 7, 9]
    renamed = replace(whole, classes=("a", "b"), targets=np.array([1, 0, 1, 1, -1, -1, 0, 1, -1, 0]))
    before = Parts(*(renamed.take(np.array(each)) for each in (rows[:3], rows[3:5], rows[5:])))
    found = replayed(audited(whole, of(whole, [0, 1, 2, 8], [3, 4], [5, 6]), {}), parts_kept(before))
    assert found.parts.train.classes == ("a", "b")
    assert [found.parts.train.labels(row) for row in range(3)] == [("b",), ("a",), ("b",)]
    assert found.done == {"p0": "relabel:b", "p6": "drop", **{f"p{k}": "drop" for k in (4, 5, 8)}}
    assert found.parts.test.keys == ["p7", "p9"], "of two pictures with the same bytes the one that was left"


def test_pictures_that_joined_are_not_of_the_source_and_each_row_is_found_once() -> None:
    whole = table(SINGLE)
    kept = parts_kept(of(whole, [0, 1, 2], [3], [4]), own=2)
    assert kept["parts"].tolist() == [0, 0, 1, 2]
    assert rows_of(whole, whole.digests[[9, 8, 0]]).tolist() == [8, 9, 0]  # type: ignore[index]
    assert rows_of(whole, whole.digests[[8]], names_of(["p9"])).tolist() == [9]  # type: ignore[index]
    assert rows_of(whole, whole.digests[[8, 0]], names_of(["moved", "p0"])).tolist() == [8, 0]  # type: ignore[index]
    assert rows_of(whole, np.full((1, 32), 77, np.uint8)).tolist() == [-1]


def test_what_a_source_holds_does_not_depend_on_what_was_decided_about_it() -> None:
    whole = table(SINGLE)
    found = content(audited(whole, of(whole, [0], [1], [2]), {}))
    assert content(audited(whole, of(whole, [3, 4], [1], [2]), {"p0": "drop"})) == found
    other = replace(whole, targets=whole.targets[::-1].copy())
    assert content(audited(other, of(other, [0], [1], [2]), {})) != found


def cut_after_the_first_trial(event: events.Event) -> None:
    if event.name == "trial":
        raise KeyboardInterrupt


def test_a_search_goes_on_with_the_parts_that_it_had_although_more_is_known_now(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, heard = tmp_path / "m.beholder", policy.split, list[events.Event]()
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "cache"))  # what another test has decoded takes no time
    monkeypatch.setattr(material, "READING", 0.0)  # there is no time to decode all of them
    with events.listen(cut_after_the_first_trial, alone=True), pytest.raises(Interrupted):
        tune(leaves, minutes=5, trials=2, out=out, **SHORT)
    with np.load(tmp_path / "m.tune" / "decided.npz") as kept:
        known = {digest.tobytes().hex(): part for digest, part in zip(kept["digests"], kept["parts"], strict=True)}
        sample = len(kept["sample_train"])
    monkeypatch.setattr(material, "READING", 0.15)
    monkeypatch.setattr(policy, "split", lambda found, *, seed, **how: real(found, seed=seed + 1, **how))
    with events.listen(heard.append, alone=True):
        found = tune(leaves, minutes=5, trials=2, out=out, **SHORT)
    assert [event.message for event in heard if "continuing a search of 1 trials" in event.message]
    assert {row["state"] for row in found.trials} == {"scored"}
    names = ("train", "valid", "test")
    assert {digest: names.index(part) for digest, part in found.outcome.bundle.splits} == known
    assert sample < sum(part == 0 for part in known.values()), "the winner goes on with the pictures that it had"
    again = tune(leaves, minutes=5, trials=2, out=out, smoothing=0.0, **SHORT)
    assert dict(again.outcome.bundle.splits) != dict(found.outcome.bundle.splits), "another search is of what is known now"


def test_a_record_that_is_damaged_or_of_another_search_is_as_none(tmp_path: Path) -> None:
    whole = table(SINGLE)
    curated = audited(whole, of(whole, [0], [1], [2]), {})
    assert recorded(tmp_path, "x", curated) == (curated, None)
    (tmp_path / "decided.npz").write_bytes(b"PK damaged")
    assert recorded(tmp_path, "x", curated) == (curated, None)
