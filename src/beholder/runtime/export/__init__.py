"""Export of a bundle to other runtimes: built, compared with the bundle, and written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.base import events
from beholder.base.errors import BundleError, UsageError
from beholder.base.files import sha256
from beholder.runtime import exports
from beholder.runtime.export.writing import Written, checked, written

if TYPE_CHECKING:
    from beholder.base.records import Pictures
    from beholder.bundle.bundle import Bundle
    from beholder.bundle.detector import Detector

__all__ = ["Written", "export"]


def export(
    bundle: Bundle | Detector,
    out: str | Path | None = None,
    *,
    to: str = "onnx",
    precision: str = "fp32",
    like: str | Path | Pictures | None = None,
    force: bool = False,
    allow_download: bool = False,
) -> Written:
    """Write the bundle in another form, after it has given the bundle's answers, and return what was written.

    bundle: of labels; or a detector, of which there is an ONNX graph with all in it (`export/found.py`)
    out: a file of your own; left out, one in the bundle's folder, from where `predict` and `serve` may use it
    to: onnx | openvino | torch, or what a plug-in adds; precision: fp32 | fp16 | int8
    like: what the bundle was trained on, to try the export on, and to quantise on (int8 needs it)
    force: write it even where too few labels agree; allow_download: fetch a source in `like` that is not on this machine
    Raises `UsageError` for a kind or precision that does not exist, or a bundle that lies nowhere and no `out`; `BundleError`
    (not-the-same) where too few pictures get the bundle's label, or a detector's boxes are not found again.
    """
    from beholder.bundle.detector import Detector

    if isinstance(bundle, Detector):
        from beholder.runtime.export import boxes

        how: dict[str, Any] = {"to": to, "precision": precision, "like": like, "force": force}
        return boxes.export(bundle, out, **how, allow_download=allow_download)
    return _of_labels(bundle, out, to, precision, like, force, allow_download)


def _of_labels(
    bundle: Bundle,
    out: str | Path | None,
    to: str,
    precision: str,
    like: str | Path | Pictures | None,
    force: bool,
    allow_download: bool,
) -> Written:
    form = checked(bundle, out, to, precision, like)
    from beholder.runtime.export.parity import check, parity
    from beholder.runtime.export.samples import sample
    from beholder.runtime.exported import Exported

    tried = sample(bundle, like, allow_download=allow_download)
    if precision == "int8" and not len(tried.training):
        raise UsageError("none of those pictures is of training", code="needs-pictures", hint="int8 is calibrated on some")
    with exports.EXPORTS.guarded(to):
        data = form.make(bundle, precision, tried.training)
        run = form.run(data)
    found = parity(bundle, Exported(bundle.config, run, bundle.references), tried, resizes=form.resizes)
    try:
        check(found, precision)
    except BundleError as error:
        if not force:
            raise
        events.warn(error.message)
    facts = {"to": to, "precision": precision, **form.facts, "parity": found.json()}
    path = written(bundle, out, exports.name(to, precision), data, facts)
    return Written(path, to, {**facts, "bytes": sum(map(len, data)), "sha256": sha256(data[0])}, found)
