"""What a process that carries out slices reads of a field, where the source lies elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.sources.conftest import Storage
from tests.sources.conftest import _s3 as _s3
from tests.sources.conftest import storage as storage

import beholder
from beholder.base import events
from beholder.base.errors import UsageError
from beholder.base.records import Parts
from beholder.sources.digest import digested
from beholder.study.trial import Field
from beholder.study.worker import read, written


@pytest.mark.parametrize("kind", ["a folder", "an archive", "its pictures"])
def test_what_the_leader_may_fetch_others_may(kind: str, storage: Storage, leaves: Path, tmp_path: Path) -> None:
    beholder.cache(tmp_path / "of-the-leader")
    url = storage.put(leaves, "leaves")
    if kind == "an archive":
        packed = Path(shutil.make_archive(str(tmp_path / "set"), "zip", leaves))
        url = storage.write("set.zip", packed.read_bytes())
    with events.listen(alone=True):
        pictures = digested(beholder.scan(url, allow_download=True))
        parts = Parts(pictures, pictures.take(np.arange(5)), pictures)
        source = pictures if kind == "its pictures" else url
        written(Field(parts, tmp_path / "m.tune"), source, allow_download=True)
        beholder.cache(tmp_path / "of-another-machine")
        found = read(tmp_path / "m.tune").parts.valid
    assert list(found.keys) == list(pictures.keys[:5])
    assert found.store.read(found.keys[0]) == (leaves / found.keys[0]).read_bytes()


def test_what_the_leader_may_not_fetch_nobody_is_told_to(storage: Storage, leaves: Path, tmp_path: Path) -> None:
    url = storage.put(leaves, "leaves")
    with events.listen(alone=True):
        pictures = digested(beholder.scan(url, allow_download=True))
    field = Field(Parts(pictures, pictures, replace(pictures)), tmp_path / "m.tune")
    with pytest.raises(UsageError) as caught:
        written(field, pictures)
    assert caught.value.code == "download-not-allowed"
    assert not (tmp_path / "m.tune" / "field.json").exists()
