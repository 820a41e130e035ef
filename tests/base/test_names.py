from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.base.names import Names

# Text as file names are: any character but surrogates, and the escapes of single bytes that are no UTF-8.
NAME = st.binary(max_size=12).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(st.lists(NAME))
def test_names_are_a_sequence_like_any_other(plain: list[str]) -> None:
    names = Names.of(plain)
    assert list(names) == plain == [names[i] for i in range(len(names))]
    assert len(names) == len(plain)
    assert list(names[1:-1]) == plain[1:-1]
    assert list(names[::-1]) == plain[::-1]
    rows = np.random.default_rng(0).integers(0, len(plain), 7) if plain else np.zeros(0, int)
    assert list(names.take(rows)) == [plain[i] for i in rows]
    assert names == Names.of(iter(plain)) == copy.deepcopy(names)
    assert hash(names) == hash(Names.of(plain))


def test_many_names_and_places_that_are_not_there() -> None:
    names = Names.of(f"{i:05}.png" for i in range(10_000))
    assert names[-1] == "09999.png"
    assert names.nbytes == 9 * 10_000 + 8 * 10_001
    assert list(names.take(np.arange(9_999, -1, -1))) == list(names)[::-1]
    assert "00017.png" in names
    assert [names.place(name) for name in ("00000.png", "00017.png", "09999.png", "a", "")] == [0, 17, 9_999, -1, -1]
    for place in (10_000, -10_001):
        with pytest.raises(IndexError):
            names[place]
    assert names != list(names)
    assert repr(names) == "<10,000 names>"
