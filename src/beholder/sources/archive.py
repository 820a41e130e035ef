"""A zip or tar, read where it lies: nothing is unpacked to the user's folder."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

from beholder.base.errors import DataError
from beholder.base.limits import LIMITS, Limits
from beholder.sources import tars, zips
from beholder.sources.listing import Listing
from beholder.sources.members import PACKED, TAR, ZIP

_ERRORS = (
    zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, NotImplementedError,
    struct.error, OverflowError, RecursionError, LookupError,
)  # fmt: skip
"""What is raised of a damaged archive, or of one that was made to hurt."""


def is_archive(path: Path) -> bool:
    """Return True where a file's name says zip or tar."""
    return path.name.lower().endswith(ZIP + TAR + PACKED)


def is_tar(name: str) -> bool:
    """Return True where a file's name says tar, packed or not."""
    return name.lower().endswith(TAR + PACKED)


def beside(path: Path) -> Path | None:
    """Return the archive next to `path` that has the same name but for its ending, or None."""
    near = (path.with_name(path.stem + suffix) for suffix in ZIP + TAR + PACKED)
    return next((file for file in near if file.is_file()), None)


def listing(path: Path, *, limits: Limits = LIMITS) -> Listing:
    """Return the files of a zip or tar.

    Of members with the same name the last one counts, as where they are unpacked. An archive inside is refused, not searched.
    Raises `DataError` (not-an-archive, unsafe-archive, nested-archive, encrypted, too-many-members, too-many-bytes).
    """
    path = path.absolute()
    zipped = path.name.lower().endswith(ZIP)
    try:
        return replace(zips.listing(path, limits) if zipped else tars.listing(path, limits), foreign=True)
    except _ERRORS as error:
        text = f"{path} is not a {'zip' if zipped else 'tar'} archive, or is damaged: {error}"
        hint = "open it with another program to see whether it is whole, and fetch it again if it is not"
        raise DataError(text, code="not-an-archive", hint=hint) from error
