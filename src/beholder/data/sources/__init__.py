"""From anything to a table of labelled pictures; no pixels are decoded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from beholder.base.errors import UsageError, did_you_mean
from beholder.base.records import Pictures
from beholder.data.limits import LIMITS, Limits
from beholder.data.sources import archive, arrays, folder, layout, table

__all__ = ["Limits", "scan"]


def scan(source: str | Path | tuple[Any, Any], *, limits: Limits = LIMITS) -> Pictures:
    """Return what a source holds, without decoding a pixel.

    source: a folder of class folders; a folder with train, valid, test of them; a CSV or TSV with path,label[,split,group];
    a zip or tar of any of these; an .npz with x and y; or arrays (x, y). The source is never written to.
    Raises `UsageError` (path-missing, unknown-source), `DataError` (no-pictures, one-class, …).
    """
    if not isinstance(source, (str, Path)):
        return arrays.from_arrays(source)
    path = Path(source).expanduser()
    if not path.exists():
        raise _missing(source, path)
    if path.is_dir():
        return layout.pictures_of(folder.listing(path, limits=limits))
    if path.suffix.lower() in (".csv", ".tsv"):
        return table.from_file(path, limits=limits)
    if path.suffix.lower() == ".npz":
        return arrays.from_npz(path, limits=limits)
    if archive.is_archive(path):
        return layout.pictures_of(archive.listing(path, limits=limits))
    raise UsageError(
        f"{path} is neither a folder nor a file of a known kind",
        code="unknown-source",
        hint="give a folder of class folders, a CSV or TSV with path,label, a zip or tar of these, or an .npz with x and y",
    )


def _missing(source: str | Path, path: Path) -> UsageError:
    scheme = re.match(r"([a-z][a-z0-9+]+):", str(source))
    if scheme:
        return UsageError(
            f"sources of the kind '{scheme[1]}:' are not yet supported: {source}",
            code="unknown-source",
            hint="export the pictures to a folder of class folders, or to a CSV with path,label",
        )
    parent = path.absolute().parent
    siblings = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")] if parent.is_dir() else []
    hint = did_you_mean(path.name, siblings) if siblings else "check the spelling"
    if not hint.startswith("did"):
        hint = f"check the spelling; {parent} " + (
            "is there, but not this name in it" if parent.is_dir() else "is not there either"
        )
    return UsageError(f"there is no {path}", code="path-missing", hint=hint)
