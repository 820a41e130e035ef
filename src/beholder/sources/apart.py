"""Pictures that lie apart from the file that tells of them: where the caller says, or in the one archive beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from beholder.base import events
from beholder.base.errors import DataError, UsageError
from beholder.base.limits import Limits
from beholder.sources import archive, folder
from beholder.sources.finding import Finder
from beholder.sources.listing import Listing

_ARCHIVES = 32
"""Archives of one folder that are looked into, the first by name."""


def listing(images: str | Path, *, limits: Limits) -> Listing:
    """Return the files of the folder or archive that `images` names. Raises `UsageError` (path-missing, unknown-source)."""
    path = Path(images).expanduser()
    if path.is_dir():
        return folder.listing(path.absolute(), limits=limits)
    if not path.exists():
        raise UsageError(f"there is no {path}, which images= names", code="path-missing", hint="check the spelling")
    if not archive.is_archive(path):
        text = f"{path} is neither a folder nor an archive"
        raise UsageError(text, code="unknown-source", hint="images= takes the folder, zip or tar that holds the pictures")
    return archive.listing(path, limits=limits)


def unused(source: object) -> UsageError:
    """Return the error for a source that holds its pictures itself."""
    hint = "images= is for COCO, Pascal VOC, YOLO and tables, which tell of pictures that may lie elsewhere"
    return UsageError(f"images= is not used by {str(source)[:200]}", code="images-unused", hint=hint)


def beside(path: Path, count: Callable[[Finder], int], n: int, *, limits: Limits) -> tuple[Listing | None, list[str]]:
    """Return the one archive beside the file at `path` that holds at least half of the pictures it names, and a note of it.

    count: how many of the `n` pictures a finder has. None where no archive does, or several do.
    """
    files = sorted(file for file in path.absolute().parent.iterdir() if file.is_file() and archive.is_archive(file))
    holding: list[Listing] = []
    for file in files[:_ARCHIVES]:
        with events.listen(alone=True):  # of an archive that is not used nothing is to be said
            try:
                packed = archive.listing(file, limits=limits)
            except DataError:
                continue
        if 2 * count(Finder(packed.names)) >= n:
            holding.append(packed)
    if len(holding) != 1:
        return None, []
    return holding[0], [f"the pictures of {path.name} are those in {Path(holding[0].store.name).name} beside it"]
