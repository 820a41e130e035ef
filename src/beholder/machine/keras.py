"""Keras 3 on torch: the backend is named before the first import, for afterwards it cannot be changed."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from beholder.base.errors import UsageError

VARIABLE = "KERAS_BACKEND"


def keras() -> Any:
    """Return the module `keras`, imported here if it was not, with torch as its backend.

    Raises `UsageError`: needs-extra (not installed, of version 2, or something else of that name), keras-backend (imported
    before with another backend).
    """
    check()
    found = import_module("keras") if "keras" in sys.modules else _imported()
    if not hasattr(found, "Model") or not hasattr(found, "__version__"):
        where = getattr(found, "__file__", None) or ", ".join(map(str, getattr(found, "__path__", ()))) or "this program"
        hint = f"{_HINT}; call a file or folder of your own something else"
        raise UsageError(f"the module keras of {where} is not Keras", code="needs-extra", hint=hint)
    if found.__version__.partition(".")[0] == "2":
        raise UsageError(f"Keras {found.__version__} runs on TensorFlow alone", code="needs-extra", hint=_HINT)
    backend = found.config.backend()
    if backend != "torch":
        raise UsageError(f"keras was imported with the backend {backend}, not torch", code="keras-backend", hint=_EARLIER)
    return found


def check() -> None:
    """Raise `UsageError` (needs-extra) where Keras is not installed; nothing is imported."""
    if "keras" not in sys.modules and find_spec("keras") is None:
        raise UsageError("Keras is not installed", code="needs-extra", hint=_HINT)


_HINT = "pip install 'beholder[keras]'"
_EARLIER = f"set {VARIABLE}=torch before keras is first imported: in the shell, or in the first lines of the program"


def _imported() -> Any:
    """Import keras with torch as its backend; processes started from here find the same in their environment."""
    late = "keras.src.backend" in sys.modules  # an import with another backend that failed half-way
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "torch"
    try:
        return import_module("keras")
    except Exception as error:
        os.environ.pop(VARIABLE)
        os.environ.update({} if before is None else {VARIABLE: before})
        hint = _EARLIER if late else _HINT
        raise UsageError(f"Keras cannot be imported: {error}", code="needs-extra", hint=hint) from error
