"""The directory of a zip, as `zipfile` reads it and as we do."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from pathlib import Path

import pytest

from beholder.base.errors import PictureError
from beholder.base.limits import Limits
from beholder.sources import scan
from beholder.sources.zips import entries

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def made(*, before: bytes = b"", comment: bytes = b"") -> bytes:
    """A zip of pictures packed in every way, names in two encodings, folders, and one written without knowing its size."""
    out = io.BytesIO(before)
    out.seek(0, 2)
    rng = random.Random(0)
    with zipfile.ZipFile(out, "a" if before else "w") as file:
        file.mkdir("a")
        for i, method in enumerate(METHODS):
            info = zipfile.ZipInfo(f"{'ab'[i % 2]}/größe {i}.png" if i else "b/plain.png")
            info.compress_type = method
            file.writestr(info, rng.randbytes(500) * i + b"end")
        with file.open(zipfile.ZipInfo("b/stream.png"), "w", force_zip64=True) as stream:
            stream.write(b"streamed")
        file.comment = comment
    return out.getvalue()


def same(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        wanted = [
            (i.filename, i.compress_type, i.CRC, i.compress_size, i.file_size, i.header_offset, i.external_attr >> 16)
            for i in file.infolist()
        ]
    found = [(e.name, e.method, e.crc, e.packed, e.size, e.offset, e.mode) for e in entries(io.BytesIO(data))]
    assert found == wanted


@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\n" * 30])
@pytest.mark.parametrize("comment", [b"", b"a comment", b"PK\x05\x06 in it"[4:], b"x" * 0xFFFF])
def test_the_directory_is_that_of_zipfile(before: bytes, comment: bytes) -> None:
    same(made(before=before, comment=comment))


def test_zip64(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = made()
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 20)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    wide = made()
    assert b"PK\x06\x06" in wide
    assert b"PK\x06\x06" not in plain
    same(wide)


def test_more_members_than_16_bits_count() -> None:
    """Some programs write no zip64 and count on from 0."""
    one = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0)
    directory = b"".join(one + b"%05d" % i for i in range(66_000))
    for count in (66_000 % 65_536, 7):
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), 0, 0)
        found = entries(io.BytesIO(directory + end))
        if count == 7:
            with pytest.raises(zipfile.BadZipFile):
                list(found)
        else:
            assert sum(1 for _ in found) == 66_000


def test_members_are_read_as_zipfile_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(made(before=b"#!/bin/sh\n"))
    pictures = scan(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert {key: pictures.store.read(key) for key in pictures.keys} == {
            name: file.read(name) for name in file.namelist() if not name.endswith("/")
        }
    small = scan(tmp_path / "a.zip", limits=Limits(bytes=100))
    with pytest.raises(PictureError) as caught:
        small.store.read("b/größe 3.png")
    assert caught.value.code == "too-many-bytes"
