"""A bundle as bytes: a zip in memory of its files, uncompressed, verified like the folder when it is opened.

This is what a pickled `beholder.ImageClassifier` holds.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from beholder.base.errors import BundleError
from beholder.base.files import telling_disk_errors
from beholder.bundle.bundle import Bundle, load

_DATE = (1980, 1, 1, 0, 0, 0)
_MOST = 64
"""Files that a bundle has at most."""


def packed(bundle: Bundle) -> bytes:
    """Return a bundle as the bytes of a zip: the same bytes each time. The bundle stays as it is, on its device."""
    buffer = io.BytesIO()
    with _room() as folder:
        replace(bundle).save(folder)
        with zipfile.ZipFile(buffer, "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.writestr(zipfile.ZipInfo(path.name, _DATE), path.read_bytes())
    return buffer.getvalue()


def unpacked(data: bytes, *, trust: bool = False, net: object = None) -> Bundle:
    """Return the bundle in bytes that `packed` gave, verified as one in a folder is; trust, net: as `beholder.load` takes them.

    Raises `BundleError`: damaged, and what loading a folder raises.
    """
    with _room() as folder:
        folder.mkdir()
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                _check(archive.infolist())
                for entry in archive.infolist():
                    (folder / entry.filename).write_bytes(archive.read(entry))
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, TypeError) as error:
            hint = "copy it again from where it was made, or train again"
            raise BundleError(f"the packed bundle is damaged: {error}", code="damaged", hint=hint) from error
        return replace(load(folder, trust=trust, net=net), path=None)


@contextmanager
def _room() -> Iterator[Path]:
    """Yield a place for a bundle, which is gone after the block."""
    above = Path(tempfile.gettempdir())
    with telling_disk_errors(above / "model.beholder", option="TMPDIR"), tempfile.TemporaryDirectory() as name:
        yield Path(name) / "model.beholder"


def _check(entries: list[zipfile.ZipInfo]) -> None:
    """Raise `ValueError` for entries that `packed` does not write: folders, paths, doubles, compressed ones."""
    names = {entry.filename for entry in entries}
    if len(entries) > _MOST or len(names) < len(entries):
        raise ValueError("it holds a file twice, or too many")
    for entry in entries:
        if Path(entry.filename).name != entry.filename or "\\" in entry.filename or entry.filename in (".", ".."):
            raise ValueError(f"{entry.filename!r} is no name of a file in a bundle")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError(f"{entry.filename} is compressed")
