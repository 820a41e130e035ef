"""The one door to what was trained: a bundle of labels, or one of boxes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from beholder.base.errors import UsageError
from beholder.bundle import format
from beholder.bundle.bundle import Bundle
from beholder.bundle.bundle import load as load_bundle

if TYPE_CHECKING:
    from beholder.bundle.detector import Detector


def load(path: str | Path, *, trust: bool = False, net: object = None) -> Bundle | Detector:
    """Return what lies in the folder `path`, verified before any weight is used: what tells labels, or what finds boxes.

    trust: also take nets and tasks of your own (`module:function`), which runs their code.
    net: the net of yours that it was trained with, where that was an nn.Module or a function (docs/PYTORCH.md)
    Raises `UsageError` if there is none, or one that makes pictures (a-generator); `BundleError` if it is damaged, foreign, or
    of a newer schema.
    """
    if isinstance(path, (str, os.PathLike)) and format.finds_boxes(path):
        if net is not None:
            raise UsageError("a detector is built from its own file", code="unused-option", hint="leave net= out")
        from beholder.bundle.detector import Detector  # with torchvision, which labels do without

        return Detector.load(path)
    return load_bundle(path, trust=trust, net=net)
