"""Archives made to hurt: each has one expected outcome, and none writes a byte outside the cache."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beholder.base import events
from beholder.base.errors import DataError, PictureError
from beholder.base.limits import Limits
from beholder.base.records import Store
from beholder.sources import inflate, scan

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
GOOD = {"cat/1.png": PICTURE, "dog/1.png": PICTURE}
LIMITS = Limits(members=50, total=1 << 20, ratio=50)

Case = tuple[str, bytes, str, list[str]]
"""Name of the file, its bytes, the code it is refused with ("" = read), and the keys that are found."""


def zipped(*more: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644, packing: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of the two good pictures and others, those with `mode`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as file:
        for name, data in GOOD.items():
            file.writestr(name, data)
        for name, data in more:
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.external_attr = mode << 16
            info.compress_type = packing
            with pytest.warns() if name in file.namelist() else open(os.devnull):  # noqa: PTH123
                file.writestr(info, data)
    return out.getvalue()


def tarred(*more: tarfile.TarInfo, data: bytes = PICTURE, form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of the two good pictures and other members, those that are files with `data`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, inside in GOOD.items():
            info = tarfile.TarInfo(name)
            info.size = len(inside)
            tar.addfile(info, io.BytesIO(inside))
        for info in more:
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **pax: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.pax_headers = kind, link, dict(pax)
    return info


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A tar header with any size field, its checksum right."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def octal(size: int) -> bytes:
    return b"%011o\0" % size


def binary(size: int) -> bytes:
    return (b"\xff" if size < 0 else b"\x80") + size.to_bytes(11, "big", signed=True)


def patched(data: bytes, magic: bytes, offset: int, value: bytes, *, last: bool = True) -> bytes:
    """Bytes written over a place counted from the last (or first) `magic`."""
    at = (data.rindex(magic) if last else data.index(magic)) + offset
    return data[:at] + value + data[at + len(value) :]


CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"
GOOD_TAR, GOOD_ZIP = tarred(), zipped()
STOP = bytes(1024)
KEYS = sorted(GOOD)


def overlapping() -> bytes:
    """A zip whose 40 directory entries all lead to the same bytes."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as file:
        file.writestr("cat/1.png", PICTURE)
    data = body.getvalue()
    at = data.index(CENTRAL)
    entry, end = data[at : data.index(END)], data[data.index(END) :]
    entries = b"".join(entry.replace(b"cat/1.png", b"c%02d/1.png" % i) for i in range(40))
    end = end[:8] + struct.pack("<HHII", 40, 40, len(entries), at) + end[20:]
    return data[:at] + entries + end


def names() -> Iterator[tuple[str, str]]:
    """Names of members, and what they are called here."""
    yield from (
        ("up", "../cat/x.png"), ("up-inside", "cat/../../x.png"), ("up-back", "..\\cat\\x.png"), ("absolute", "/etc/x.png"),
        ("drive", "C:\\x\\x.png"), ("drive-relative", "C:x.png"), ("unc", "\\\\host\\share\\x.png"), ("up-only", ".."),
        ("many-ups", "../" * 40 + "x.png"), ("up-after-dot", "./.././x.png"), ("long", "cat/" + "x" * 5000 + ".png"),
        ("double-slash", "//etc/x.png"), ("mixed", "cat\\..\\..\\x.png"), ("no-name", "./"),
    )  # fmt: skip


def of_zip() -> Iterator[Case]:
    """Zips."""
    for what, name in names():
        if what != "no-name":
            yield f"{what}.zip", zipped((name, PICTURE)), "unsafe-archive", []
    for what, kind in (("link", stat.S_IFLNK), ("pipe", stat.S_IFIFO), ("char", stat.S_IFCHR), ("block", stat.S_IFBLK),
                       ("socket", stat.S_IFSOCK)):  # fmt: skip
        yield f"{what}.zip", zipped(("cat/x.png", b"/etc/passwd"), mode=kind | 0o777), "unsafe-archive", []
    yield "zero-byte.zip", zipped(("cat/x.png\0/../../y", PICTURE)), "unsafe-archive", []
    yield "zero-byte-2.zip", zipped(("cat/xQy.png", PICTURE)).replace(b"cat/xQy.png", b"cat/x\0y.png"), "unsafe-archive", []
    yield "overlap.zip", overlapping(), "unsafe-archive", []
    yield "bomb-ratio.zip", zipped(("cat/x.png", bytes(900_000)), packing=zipfile.ZIP_DEFLATED), "too-many-bytes", []
    yield "bomb-bzip2.zip", zipped(("cat/x.png", bytes(900_000)), packing=zipfile.ZIP_BZIP2), "too-many-bytes", []
    yield "bomb-lzma.zip", zipped(("cat/x.png", bytes(900_000)), packing=zipfile.ZIP_LZMA), "too-many-bytes", []
    yield "bomb-size.zip", zipped(("cat/x.png", random.Random(0).randbytes(1_100_000))), "too-many-bytes", []
    yield "bomb-count.zip", zipped(*((f"cat/{i}.png", b"x") for i in range(60))), "too-many-members", []
    yield "bomb-folders.zip", zipped(*((f"cat/{i}/", b"") for i in range(60))), "too-many-members", []
    yield "says-huge.zip", patched(GOOD_ZIP, CENTRAL, 24, struct.pack("<I", 0xFFFFFFF0)), "too-many-bytes", []
    yield "twice.zip", zipped(("cat/1.png", b"second")), "", KEYS
    yield "twice-by-slashes.zip", zipped(("cat//1.png", b"second"), ("./dog\\1.png", b"second")), "", KEYS
    yield "case.zip", zipped(("cat/1.PNG", PICTURE)), "", ["cat/1.PNG", *KEYS]
    yield "encrypted.zip", patched(GOOD_ZIP, CENTRAL, 8, b"\x01"), "encrypted", []
    yield "encrypted-strongly.zip", patched(GOOD_ZIP, CENTRAL, 8, b"\x41"), "encrypted", []
    yield "encrypted-first.zip", patched(GOOD_ZIP, CENTRAL, 8, b"\x01", last=False), "encrypted", []
    yield "nested.zip", zipped(("inner.zip", GOOD_ZIP)), "nested-archive", []
    yield "nested-deep.zip", zipped(("cat/more/inner.TAR.GZ", b"x")), "nested-archive", []
    yield "nested-in-itself.zip", zipped(("r/r.zip", b"x")), "nested-archive", []
    yield "junk.zip", zipped(("__MACOSX/cat/._1.png", b"x"), ("cat/.DS_Store", b"x")), "", KEYS
    yield "empty.zip", b"", "not-an-archive", []
    yield "no-members.zip", END + bytes(18), "no-pictures", []
    yield "text.zip", b"this is text\n" * 99, "not-an-archive", []
    for what, cut in (("a-byte", 1), ("the-end", 22), ("directory", 60), ("half", len(GOOD_ZIP) // 2)):
        yield f"without-{what}.zip", GOOD_ZIP[:-cut], "not-an-archive", []
    yield "without-start.zip", GOOD_ZIP[40:], "not-an-archive", []
    yield "directory-nowhere.zip", patched(GOOD_ZIP, END, 16, struct.pack("<I", 0xFFFFFF00)), "not-an-archive", []
    yield "directory-huge.zip", patched(GOOD_ZIP, END, 12, struct.pack("<I", 0xFFFFFF00)), "not-an-archive", []
    yield "member-nowhere.zip", patched(GOOD_ZIP, CENTRAL, 42, struct.pack("<I", 0xFFFFFF00)), "", KEYS
    yield "other-local-name.zip", patched(GOOD_ZIP, LOCAL, 30, b"cow"), "", KEYS
    yield "method-unknown.zip", patched(GOOD_ZIP, CENTRAL, 10, b"\x63"), "", KEYS
    yield "says-small.zip", patched(GOOD_ZIP, CENTRAL, 24, struct.pack("<I", 10)), "", KEYS
    yield "other-crc.zip", patched(GOOD_ZIP, CENTRAL, 16, b"evil"), "", KEYS
    yield "version-99.zip", patched(GOOD_ZIP, CENTRAL, 6, b"\x63"), "not-an-archive", []
    yield "a-tar.zip", GOOD_TAR, "not-an-archive", []
    yield "before-and-after.zip", b"MZ" + bytes(100) + GOOD_ZIP, "", KEYS


def of_tar() -> Iterator[Case]:
    """Tars, plain and packed."""
    for what, name in names():
        yield f"{what}.tar", tarred(member(name)), "unsafe-archive", []
    kinds = (("link", tarfile.SYMTYPE), ("hard-link", tarfile.LNKTYPE), ("char", tarfile.CHRTYPE), ("block", tarfile.BLKTYPE),
             ("pipe", tarfile.FIFOTYPE), ("sparse", tarfile.GNUTYPE_SPARSE))  # fmt: skip
    for what, kind in kinds:
        yield f"{what}.tar", tarred(member("cat/x.png", kind, "../../../etc/passwd")), "unsafe-archive", []
    yield "link-then-through.tar", tarred(member("cat/d", tarfile.SYMTYPE, "/tmp"), member("cat/d/x.png")), "unsafe-archive", []
    yield "link-to-inside.tar", tarred(member("cat/x.png", tarfile.SYMTYPE, "1.png")), "unsafe-archive", []
    pax = tarred(member("cat/x.png", path="../../x.png"), form=tarfile.PAX_FORMAT)
    yield "up-by-pax.tar", pax, "unsafe-archive", []
    yield "twice.tar", tarred(member("cat/1.png"), data=b"second"), "", KEYS
    yield "case.tar", tarred(member("CAT/1.png")), "", ["CAT/1.png", *KEYS]
    yield "foreign-name.tar", tarred(member(os.fsdecode(b"cat/caf\xe9.png"))), "", [KEYS[0], "cat/caf\udce9.png", KEYS[1]]
    yield "nested.tar", tarred(member("cat/x.tar")), "nested-archive", []
    yield "nested-zip.tar", tarred(member("cat/x.zip")), "nested-archive", []
    yield "bomb-count.tar", tarred(*(member(f"cat/{i}.png") for i in range(60))), "too-many-members", []
    yield "bomb-folders.tar", tarred(*(member(f"cat/{i}", tarfile.DIRTYPE) for i in range(60))), "too-many-members", []
    bomb = tarred(member("cat/x.png"), data=bytes(900_000))
    for ending, pack in ((".tar.gz", gzip.compress), (".tar.xz", lzma.compress)):
        yield f"bomb-ratio{ending}", pack(bomb), "too-many-bytes", []
        yield (
            f"bomb-size{ending}",
            pack(tarred(member("cat/x"), data=random.Random(0).randbytes(1_100_000))),
            "too-many-bytes",
            [],
        )
        yield f"cut{ending}", pack(GOOD_TAR)[:-9], "not-an-archive", []
        yield f"half{ending}", pack(GOOD_TAR)[: len(pack(GOOD_TAR)) // 2], "not-an-archive", []
        yield f"tail{ending}", pack(GOOD_TAR) + b"tail", "not-an-archive", []
        yield f"text{ending}", b"this is text\n" * 99, "not-an-archive", []
        yield f"text-inside{ending}", pack(b"this is text\n" * 99), "not-an-archive", []
        yield f"two-streams{ending}", pack(GOOD_TAR[:2000]) + pack(GOOD_TAR[2000:]), "", KEYS
        yield f"in-itself{ending}", pack(pack(GOOD_TAR)), "not-an-archive", []
    head = lzma.compress(GOOD_TAR, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}])
    # The size of the dictionary is the byte after the filter's id and length (xz format 5.3.1); the header's CRC follows.
    block = bytearray(head[12:24])
    block[block.index(b"\x21\x01") + 2] = 36  # 1 GiB
    block[8:12] = struct.pack("<I", zlib.crc32(bytes(block[:8])))
    yield "greedy.tar.xz", head[:12] + bytes(block) + head[24:], "not-an-archive", []
    for what, size in (("negative", binary(-512)), ("minus-a-lot", binary(-(1 << 60))), ("huge", binary(1 << 62)),
                       ("beyond", octal(1 << 30)), ("no-number", b"not a number")):  # fmt: skip
        yield f"size-{what}.tar", GOOD_TAR[:2048] + header(b"cat/x.png", size) + PICTURE + STOP, "not-an-archive", []
    for what, kind in (("pax", b"x"), ("pax-global", b"g"), ("long-name", b"L"), ("long-link", b"K")):
        yield f"{what}-negative.tar", header(b"x", binary(-1024), kind) + STOP, "not-an-archive", []
        yield f"{what}-huge.tar", header(b"x", octal(7 << 30), kind) + STOP, "not-an-archive", []
        yield f"{what}-chain.tar", header(b"x", octal(0), kind) * 5000 + STOP, "not-an-archive", []
    yield "garbage-between.tar", GOOD_TAR[:2048] + b"\x07" * 512 + GOOD_TAR[2048:], "not-an-archive", []
    yield "cut-in-header.tar", GOOD_TAR[:1124], "not-an-archive", []
    yield "cut-in-picture.tar", GOOD_TAR[:1560], "not-an-archive", []
    yield "no-end.tar", GOOD_TAR[:2048], "", KEYS
    yield "empty.tar", b"", "not-an-archive", []
    yield "zeros.tar", bytes(10_240), "no-pictures", []
    yield "a-zip.tar", GOOD_ZIP, "not-an-archive", []


CASES = [*of_zip(), *of_tar()]
UNREADABLE = {"member-nowhere", "other-local-name", "method-unknown", "says-small", "other-crc"}
"""Archives of which one member is damaged: it is reported as it is read, the other one is good."""


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with size and time of last change."""
    found = ((path, path.lstat()) for path in folder.rglob("*"))
    return {str(path): (at.st_size if path.is_file() else 0, at.st_mtime_ns) for path, at in found}


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[None]:
    """Bounds that small bombs break, and a place in memory too small for any packed tar; what is unpacked goes in the end."""
    monkeypatch.setattr(inflate, "RATIO_FLOOR", 1 << 16)
    monkeypatch.setattr(inflate, "SMALL", 1 << 10)
    cache = home / ".cache" / "beholder" / "archives"
    before = set(cache.glob("*.tar"))
    yield
    for copy in set(cache.glob("*.tar")) - before:
        copy.unlink()


def test_there_are_enough() -> None:
    assert len(CASES) == len({name for name, *_ in CASES}) >= 60


@pytest.mark.usefixtures("tight")
@pytest.mark.parametrize(("name", "data", "code", "keys"), CASES, ids=[case[0] for case in CASES])
def test_outcome(tmp_path: Path, home: Path, name: str, data: bytes, code: str, keys: list[str]) -> None:
    (tmp_path / "around").mkdir()
    path = tmp_path / "around" / name
    path.write_bytes(data)
    before, outside = tree(tmp_path), set(home.parent.rglob("*"))
    with events.listen(alone=True):
        found = outcome(path)
    assert found == (code, keys)
    assert tree(tmp_path) == before, "nothing is written beside the archive or above it"
    cache = home / ".cache" / "beholder" / "archives"
    fresh = set(home.parent.rglob("*")) - outside
    assert {file for file in fresh if file.is_file()} <= set(cache.glob("*.tar")), "what is unpacked lies in the cache alone"
    assert not list(cache.glob(".*")), "nothing half written stays"


def outcome(path: Path) -> tuple[str, list[str]]:
    """The code it is refused with and the keys; every picture that is named can be read, or says why not."""
    try:
        pictures = scan(path, limits=LIMITS)
    except DataError as error:
        return error.code if error.hint and path.name in error.message else f"{error.code}, poorly told", []
    read = [content(pictures.store, key) for key in pictures.keys]
    assert set(read) <= {PICTURE, b"second", "unreadable"}
    assert read.count("unreadable") == (path.stem in UNREADABLE)
    return "", list(pictures.keys)


def content(store: Store, key: str) -> object:
    """A member's bytes, or the code of why not."""
    try:
        return store.read(key)
    except PictureError as error:
        return error.code


def test_what_is_said_of_those_that_are_read(tmp_path: Path) -> None:
    said = {"twice": "have the name of an earlier one", "case": "nothing but case", "no-end": "without the mark of its end"}
    for name, data, _, _ in CASES:
        stem = name.partition(".")[0]
        if stem in said:
            (tmp_path / name).write_bytes(data)
            with events.listen(alone=True):
                pictures = scan(tmp_path / name)
            assert said[stem] in " ".join(pictures.notes), name
            if stem == "twice":
                assert pictures.store.read("cat/1.png") == b"second", "the last one counts"


def mutated(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(changed))
        changed[at] = rng.choice((0, 0xFF, changed[at] ^ (1 << rng.randrange(8)), rng.randrange(256)))
    return bytes(changed[: rng.randrange(len(changed))] if rng.random() < 0.1 else changed)


@pytest.mark.usefixtures("tight")
@pytest.mark.parametrize(
    ("form", "pack"), [(".zip", bytes), (".tar", bytes), (".tar.gz", gzip.compress), (".tar.xz", lzma.compress)]
)
def test_changed_bytes_never_surprise(tmp_path: Path, form: str, pack: Callable[[bytes], bytes]) -> None:
    """Any change of an archive is refused as bad data, or read: nothing else is raised."""
    rng = random.Random(0)
    good = pack(GOOD_ZIP if form == ".zip" else tarred(member("cat/x.png", path="cat/y.png"), form=tarfile.PAX_FORMAT))
    path = tmp_path / f"changed{form}"
    refused = 0
    for _ in range(200):
        path.write_bytes(mutated(good, rng))
        try:
            with events.listen(alone=True):
                pictures = scan(path, limits=LIMITS)
        except DataError as error:
            refused += bool(error.code)
            continue
        read = [content(pictures.store, key) for key in pictures.keys]
        assert {what for what in read if isinstance(what, str)} <= {"unreadable", "too-many-bytes"}
    assert refused > 10
