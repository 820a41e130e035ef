"""The face of the package: what `beholder.` offers, how it is called, and that it says so."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import beholder

VERBS = [
    "scan",
    "audit",
    "clean",
    "split",
    "arrays",
    "train",
    "evaluate",
    "calibrate",
    "compare",
    "predict",
    "predict_parts",
    "explain",
    "look",
    "report",
    "load",
    "steps",
    "tune",
    "curve",
    "label",
    "generate",
    "sample",
    "worth",
    "shrink",
    "next",
    "show",
    "cache",
    "listen",
]
NAMES = [name for name in beholder.__all__ if not name.startswith("__")]
OBJECTS = [(name, getattr(beholder, name)) for name in NAMES]
METHODS = [
    (f"{name}.{attribute}", member)
    for name, kind in OBJECTS
    if inspect.isclass(kind) and not issubclass(kind, Exception)
    for attribute, member in vars(kind).items()
    if inspect.isfunction(member) and (not attribute.startswith("_") or attribute == "__call__")
]
FUNCTIONS = [(name, found) for name, found in OBJECTS if inspect.isfunction(found)]
SHAPE = re.compile(r"\((?:[A-Z]\w*|height|width)(?:, ?\w+)*,?\)")


def ids(pairs: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in pairs]


def test_all_is_complete_and_has_no_double() -> None:
    assert len(beholder.__all__) == len(set(beholder.__all__))
    assert set(beholder.__all__) == set(beholder._WHERE) | {"__version__"}
    assert set(VERBS) == {name for name, found in OBJECTS if inspect.isfunction(found)}
    assert dir(beholder) == sorted(beholder.__all__)


def test_what_type_checkers_see_is_what_is_there() -> None:
    tree = ast.parse(Path(beholder.__file__).read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            seen |= {alias.asname or alias.name: f"{node.module}:{alias.name}" for alias in node.names}
    assert seen == beholder._WHERE


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_what_it_says(name: str) -> None:
    module, _, attribute = beholder._WHERE[name].partition(":")
    found = getattr(beholder, name)
    assert found is getattr(importlib.import_module(module), attribute)
    assert found.__name__ == name
    assert found.__module__ in (module, *(f"{module}.{part}" for part in ("folder", "table")))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'beholder' has no attribute 'trian'"):
        _ = beholder.trian
    with pytest.raises(ImportError):
        exec("from beholder import trian")


def test_every_error_is_public() -> None:
    errors = importlib.import_module("beholder.base.errors")
    kinds = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    assert kinds == {name for name, kind in OBJECTS if inspect.isclass(kind) and issubclass(kind, Exception)}


@pytest.mark.parametrize(("name", "found"), OBJECTS + METHODS, ids=ids(OBJECTS + METHODS))
def test_every_public_name_is_documented(name: str, found: Any) -> None:
    words = inspect.getdoc(found)
    assert words, f"{name} has no docstring"
    assert not words.startswith(f"{name}("), "the generated docstring of a dataclass says nothing"
    first = words.splitlines()[0]
    assert len(first) > 15
    assert first.rstrip().endswith((".", ":")), "the first line is a sentence"


@pytest.mark.parametrize(("name", "found"), FUNCTIONS + METHODS, ids=ids(FUNCTIONS + METHODS))
def test_options_are_keyword_only(name: str, found: Any) -> None:
    """What has a default is an option and is given by name; what has none may be positional, three at most.

    scikit-learn hands y by position to transformers that have no use for it.
    """
    parameters = [p for p in inspect.signature(found).parameters.values() if p.name not in ("self", "y")]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    assert not [p.name for p in positional if p.default is not p.empty]
    assert len(positional) <= 3


@pytest.mark.parametrize(("name", "found"), FUNCTIONS + METHODS, ids=ids(FUNCTIONS + METHODS))
def test_docstrings_give_the_shapes_of_arrays(name: str, found: Any) -> None:
    kinds = [str(p.annotation) for p in inspect.signature(found).parameters.values()]
    if any("NDArray" in kind or "Tensor" in kind for kind in kinds):
        words = inspect.getdoc(found) or ""
        assert SHAPE.search(words) or "int (M,)" in words, f"{name} takes arrays and does not say of which shape"


@pytest.mark.parametrize(("name", "found"), FUNCTIONS + METHODS, ids=ids(FUNCTIONS + METHODS))
def test_every_parameter_is_typed(name: str, found: Any) -> None:
    signature = inspect.signature(found)
    assert not [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name != "self"]
    assert signature.return_annotation is not signature.empty
