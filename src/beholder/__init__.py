"""Beholder: from pictures with labels to an image recogniser you can trust.

The verbs and nouns that users type. Each is imported when it is first used, so `import beholder` loads neither torch nor numpy.

>>> import beholder
>>> beholder.Recipe().name
'quick'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beholder.base.errors import BeholderError as BeholderError
    from beholder.base.errors import BundleError as BundleError
    from beholder.base.errors import DataError as DataError
    from beholder.base.errors import Interrupted as Interrupted
    from beholder.base.errors import MachineError as MachineError
    from beholder.base.errors import PictureError as PictureError
    from beholder.base.errors import UsageError as UsageError
    from beholder.base.recipe import Recipe as Recipe
    from beholder.base.records import Guess as Guess
    from beholder.base.records import Parts as Parts
    from beholder.base.records import Pictures as Pictures
    from beholder.base.records import Score as Score
    from beholder.bundle.bundle import Bundle as Bundle
    from beholder.bundle.bundle import load as load
    from beholder.data.arrays import arrays as arrays
    from beholder.data.audit import Findings as Findings
    from beholder.data.clean import clean as clean
    from beholder.data.sources import scan as scan
    from beholder.data.split import split as split
    from beholder.learn.train import train as train
    from beholder.study.examine import audit as audit
    from beholder.study.steps import steps as steps
    from beholder.study.tune import tune as tune
    from beholder.use.client import Client as Client
    from beholder.use.compare import compare as compare
    from beholder.use.evaluate import evaluate as evaluate
    from beholder.use.explain import explain as explain
    from beholder.use.predict import predict as predict
    from beholder.use.report import report as report

    __version__: str

_WHERE = {
    "scan": "beholder.data.sources:scan",
    "audit": "beholder.study.examine:audit",
    "clean": "beholder.data.clean:clean",
    "split": "beholder.data.split:split",
    "arrays": "beholder.data.arrays:arrays",
    "train": "beholder.learn.train:train",
    "evaluate": "beholder.use.evaluate:evaluate",
    "compare": "beholder.use.compare:compare",
    "predict": "beholder.use.predict:predict",
    "explain": "beholder.use.explain:explain",
    "report": "beholder.use.report:report",
    "load": "beholder.bundle.bundle:load",
    "steps": "beholder.study.steps:steps",
    "tune": "beholder.study.tune:tune",
    "Recipe": "beholder.base.recipe:Recipe",
    "Pictures": "beholder.base.records:Pictures",
    "Parts": "beholder.base.records:Parts",
    "Findings": "beholder.data.audit:Findings",
    "Guess": "beholder.base.records:Guess",
    "Score": "beholder.base.records:Score",
    "Bundle": "beholder.bundle.bundle:Bundle",
    "Client": "beholder.use.client:Client",
    "BeholderError": "beholder.base.errors:BeholderError",
    "UsageError": "beholder.base.errors:UsageError",
    "DataError": "beholder.base.errors:DataError",
    "PictureError": "beholder.base.errors:PictureError",
    "BundleError": "beholder.base.errors:BundleError",
    "MachineError": "beholder.base.errors:MachineError",
    "Interrupted": "beholder.base.errors:Interrupted",
}

__all__ = [  # noqa: RUF022  (verbs in the order of the steps, then nouns, then errors)
    "scan",
    "audit",
    "clean",
    "split",
    "arrays",
    "train",
    "evaluate",
    "compare",
    "predict",
    "explain",
    "report",
    "load",
    "steps",
    "tune",
    "Recipe",
    "Pictures",
    "Parts",
    "Findings",
    "Guess",
    "Score",
    "Bundle",
    "Client",
    "BeholderError",
    "UsageError",
    "DataError",
    "PictureError",
    "BundleError",
    "MachineError",
    "Interrupted",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("beholder")
    elif name in _WHERE:
        module, _, attribute = _WHERE[name].partition(":")
        value = getattr(importlib.import_module(module), attribute)
    else:
        raise AttributeError(f"module 'beholder' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
