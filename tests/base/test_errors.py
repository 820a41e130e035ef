from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.base import errors
from beholder.base.errors import (
    BeholderError,
    BundleError,
    DataError,
    Interrupted,
    MachineError,
    PictureError,
    UsageError,
    did_you_mean,
)


def test_exit_codes_are_those_of_the_design() -> None:
    codes = {kind: kind("x").exit_code for kind in (BeholderError, DataError, PictureError, BundleError, MachineError)}
    assert set(codes.values()) == {1}
    assert UsageError("x").exit_code == 2
    assert Interrupted().exit_code == 130
    assert Interrupted("stopped", exit_code=143).exit_code == 143
    assert Interrupted.exit_code == 130


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BeholderError)]
    assert errors.__doc__ is not None
    for kind in kinds:
        line = next(line for line in errors.__doc__.splitlines() if line.strip(" ├└│─").startswith(kind.__name__ + " "))
        assert f"exit {kind.exit_code}" in line


def test_text_is_message_then_hint() -> None:
    assert str(DataError("one class only", code="one-class", hint="add a second folder")) == (
        "one class only\n\nhint: add a second folder"
    )
    assert str(DataError("one class only")) == "one class only"
    assert (DataError("x", code="one-class").code, Interrupted().code) == ("one-class", "interrupted")


def test_did_you_mean_names_the_nearest_or_all() -> None:
    assert did_you_mean("epoch", ["epochs", "batch"]) == "did you mean 'epochs'?"
    assert did_you_mean("zzz", ["epochs", "batch"]) == "known: batch, epochs"


@given(st.text(min_size=1, max_size=12), st.sets(st.text(min_size=1, max_size=12), min_size=1, max_size=5))
def test_did_you_mean_never_invents_a_word(word: str, known: set[str]) -> None:
    hint = did_you_mean(word, known)
    assert hint in {f"did you mean '{name}'?" for name in known} | {"known: " + ", ".join(sorted(known))}


@given(st.sets(st.text(min_size=1, max_size=12), min_size=1, max_size=5))
def test_did_you_mean_finds_an_exact_word(known: set[str]) -> None:
    for word in known:
        assert did_you_mean(word, known) == f"did you mean '{word}'?"


def test_errors_can_be_caught_as_data_errors() -> None:
    with pytest.raises(DataError):
        raise PictureError("cut off", code="truncated")
