"""Beholder: from labelled pictures to a model you can trust: a classifier, or a detector.

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
    from beholder.base.records import Detections as Detections
    from beholder.base.records import Parts as Parts
    from beholder.base.records import Pictures as Pictures
    from beholder.base.records import Prediction as Prediction
    from beholder.base.records import Score as Score
    from beholder.base.sinks import listen as listen
    from beholder.bundle.bundle import Bundle as Bundle
    from beholder.bundle.detector import Detector as Detector
    from beholder.bundle.door import load as load
    from beholder.bundle.generator import Generator as Generator
    from beholder.data.arrays import arrays as arrays
    from beholder.data.split import split as split
    from beholder.explanation.look import look as look
    from beholder.machine.folders import cache as cache
    from beholder.quality.audit import Findings as Findings
    from beholder.quality.clean import clean as clean
    from beholder.reporting.show import show as show
    from beholder.server.client import Client as Client
    from beholder.sources import scan as scan
    from beholder.study.calibrate import calibrate as calibrate
    from beholder.study.classifier import ImageClassifier as ImageClassifier
    from beholder.study.curve import curve as curve
    from beholder.study.door import compare as compare
    from beholder.study.door import evaluate as evaluate
    from beholder.study.door import explain as explain
    from beholder.study.door import predict as predict
    from beholder.study.door import report as report
    from beholder.study.door import train as train
    from beholder.study.examine import audit as audit
    from beholder.study.generate import generate as generate
    from beholder.study.label import label as label
    from beholder.study.next import next as next
    from beholder.study.ranges import InParts as InParts
    from beholder.study.ranges import predict_parts as predict_parts
    from beholder.study.sample import sample as sample
    from beholder.study.shrink import shrink as shrink
    from beholder.study.steps import steps as steps
    from beholder.study.transformer import Features as Features
    from beholder.study.tune import tune as tune
    from beholder.study.worth import worth as worth

    __version__: str

_WHERE = {
    "scan": "beholder.sources:scan",
    "audit": "beholder.study.examine:audit",
    "clean": "beholder.quality.clean:clean",
    "split": "beholder.data.split:split",
    "arrays": "beholder.data.arrays:arrays",
    "train": "beholder.study.door:train",
    "evaluate": "beholder.study.door:evaluate",
    "calibrate": "beholder.study.calibrate:calibrate",
    "compare": "beholder.study.door:compare",
    "predict": "beholder.study.door:predict",
    "predict_parts": "beholder.study.ranges:predict_parts",
    "explain": "beholder.study.door:explain",
    "look": "beholder.explanation.look:look",
    "report": "beholder.study.door:report",
    "load": "beholder.bundle.door:load",
    "steps": "beholder.study.steps:steps",
    "tune": "beholder.study.tune:tune",
    "curve": "beholder.study.curve:curve",
    "label": "beholder.study.label:label",
    "shrink": "beholder.study.shrink:shrink",
    "next": "beholder.study.next:next",
    "generate": "beholder.study.generate:generate",
    "sample": "beholder.study.sample:sample",
    "worth": "beholder.study.worth:worth",
    "show": "beholder.reporting.show:show",
    "listen": "beholder.base.sinks:listen",
    "cache": "beholder.machine.folders:cache",
    "Recipe": "beholder.base.recipe:Recipe",
    "Pictures": "beholder.base.records:Pictures",
    "Parts": "beholder.base.records:Parts",
    "Findings": "beholder.quality.audit:Findings",
    "Prediction": "beholder.base.records:Prediction",
    "Score": "beholder.base.records:Score",
    "Generator": "beholder.bundle.generator:Generator",
    "Bundle": "beholder.bundle.bundle:Bundle",
    "Detector": "beholder.bundle.detector:Detector",
    "Detections": "beholder.base.records:Detections",
    "Client": "beholder.server.client:Client",
    "ImageClassifier": "beholder.study.classifier:ImageClassifier",
    "Features": "beholder.study.transformer:Features",
    "InParts": "beholder.study.ranges:InParts",
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
    "shrink",
    "next",
    "label",
    "generate",
    "sample",
    "worth",
    "show",
    "cache",
    "listen",
    "Recipe",
    "Pictures",
    "Parts",
    "Findings",
    "Prediction",
    "Score",
    "Bundle",
    "Detector",
    "Detections",
    "Generator",
    "Client",
    "ImageClassifier",
    "Features",
    "InParts",
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
    elif name == "Guess":
        from beholder.base.renamed import current

        return __getattr__(current("name", name))
    else:
        raise AttributeError(f"module 'beholder' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
