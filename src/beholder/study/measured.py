"""The facts of very many pictures in ranges, and what an audit goes on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.errors import UsageError
from beholder.base.names import Names
from beholder.base.records import Pictures
from beholder.duplicates.facts import Facts, facts, unseen
from beholder.sources import depths
from beholder.sources.folder import FolderStore
from beholder.study.columns import FACTS_OF, read_facts
from beholder.study.plan import Plan
from beholder.study.ranges import InParts, carried_out


def facts_parts(
    pictures: Pictures, source: str | Path, folder: Path, *, launch: str, ranges: int, allow_download: bool
) -> InParts:
    """Write the facts of the pictures of a source into Parquet parts: size, integrity, hashes, exposure; a row a picture.

    source: of which `pictures` are, as `scan` takes it; the rest, and what is raised, as `predict_parts` has it
    """
    root = pictures.store.name if isinstance(pictures.store, FolderStore) else ""
    named = str(Path(source).expanduser().absolute()) if Path(source).expanduser().exists() else str(source)
    begun = Plan(FACTS_OF, {}, len(pictures), 0, named, root, "", 0, labels=None, allow_download=allow_download)
    keys = Names.of(pictures.keys)
    return carried_out(begun, lambda: begun, keys, folder, launch=launch, ranges=ranges, words="measuring the pictures")


def measured(
    pictures: Pictures, source: Any, folder: Path, *, launch: str = "", ranges: int = 0, allow_download: bool = False
) -> tuple[Pictures, Facts]:
    """Return pictures with their digests, and their facts (N,), which `facts_parts` left in a folder or leaves there now.

    What may hold values of more than 8 bits is looked at here, once the range of the set is known. Raises as `facts_parts`
    does, and `UsageError` (in-memory) for a source that no other process can read.
    """
    if not isinstance(source, (str, Path)):
        hint = "give the path of a source, or leave the parts out"
        raise UsageError("parts are made of sources that have a path", code="in-memory", hint=hint)
    done = facts_parts(pictures, source, folder, launch=launch, ranges=ranges, allow_download=allow_download)
    rows = read_facts(done.files)
    found = replace(pictures, digests=np.ascontiguousarray(rows["digest"]))
    deep = np.flatnonzero(unseen(rows))
    found = replace(found, bits=depths.bits(found, deep=deep))
    if len(deep):
        rows[deep] = facts(found.take(deep))
    return found, rows
