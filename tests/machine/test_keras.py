"""Which Keras is taken, and what is said of one that cannot be."""

from __future__ import annotations

import sys
import types

import pytest

from beholder.base.errors import UsageError
from beholder.machine import keras as door
from beholder.nets.custom import is_keras


def stand_in(monkeypatch: pytest.MonkeyPatch, backend: str, version: str = "3.15.1") -> types.ModuleType:
    module = types.ModuleType("keras")
    module.__version__ = version  # type: ignore[attr-defined]
    module.Model = type("Model", (), {})  # type: ignore[attr-defined]
    module.config = types.SimpleNamespace(backend=lambda: backend)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keras", module)
    return module


def test_one_that_runs_on_torch_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    given = stand_in(monkeypatch, "torch")
    assert door.keras() is given


@pytest.mark.parametrize(
    ("backend", "version", "code", "hint"),
    [
        ("tensorflow", "3.15.1", "keras-backend", "KERAS_BACKEND=torch"),
        ("tensorflow", "2.15.0", "needs-extra", "beholder[keras]"),
    ],
)
def test_one_that_runs_on_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, backend: str, version: str, code: str, hint: str
) -> None:
    stand_in(monkeypatch, backend, version)
    with pytest.raises(UsageError) as caught:
        door.keras()
    assert caught.value.code == code
    assert hint in caught.value.hint


def test_where_there_is_none_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(door, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="not installed") as caught:
        door.keras()
    assert (caught.value.code, "beholder[keras]" in caught.value.hint) == ("needs-extra", True)


def test_another_module_of_that_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("keras")
    module.__path__ = ["here/keras"]
    monkeypatch.setitem(sys.modules, "keras", module)
    with pytest.raises(UsageError, match="the module keras of here/keras is not Keras") as caught:
        door.keras()
    assert caught.value.code == "needs-extra"
    assert not is_keras(object())


@pytest.mark.parametrize("before", ["tensorflow", None])
def test_the_backend_is_named_before_the_first_import(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delenv(door.VARIABLE, raising=False)
    if before:
        monkeypatch.setenv(door.VARIABLE, before)
    seen: list[str] = []

    def imported(name: str) -> object:
        seen.append(door.os.environ[door.VARIABLE])
        raise ImportError("no tensorflow")

    monkeypatch.setattr(door, "find_spec", lambda name: name)
    monkeypatch.setattr(door, "import_module", imported)
    monkeypatch.setitem(sys.modules, "keras.src.backend", types.ModuleType("keras.src.backend"))
    with pytest.raises(UsageError, match="no tensorflow") as caught:
        door.keras()
    assert seen == ["torch"]
    assert door.os.environ.get(door.VARIABLE) == before, "of an import that failed nothing is left"
    assert "first imported" in caught.value.hint, "a part of it was there already, of another import"
