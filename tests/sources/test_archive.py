from __future__ import annotations

import io
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from beholder.base.errors import DataError, PictureError
from beholder.base.limits import Limits
from beholder.sources import inflate, scan

FORMS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


def pack(folder: Path, path: Path, prefix: str = "") -> Path:
    files = [(file, prefix + file.relative_to(folder).as_posix()) for file in sorted(folder.rglob("*")) if file.is_file()]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for file, name in files:
                packed.write(file, name)
    else:
        with tarfile.open(path, "w:" + {".gz": "gz", ".tgz": "gz", ".xz": "xz", ".bz2": "bz2"}.get(path.suffix, "")) as tar:
            for file, name in files:
                tar.add(file, name)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_what_the_folder_gives(leaves: Path, tmp_path: Path, form: str) -> None:
    (leaves / "__MACOSX").mkdir()
    (leaves / "__MACOSX/x.png").write_bytes(b"junk")
    before = sorted(tmp_path.rglob("*"))
    path = pack(leaves, tmp_path / f"leaves{form}", "Leaves ü/")
    folder, packed = scan(leaves), scan(path)
    assert [f"Leaves ü/{key}" for key in folder.keys] == list(packed.keys)
    assert packed.targets.tolist() == folder.targets.tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(packed.store.read, list(packed.keys) * 4))
    assert found == [folder.store.read(key) for key in folder.keys] * 4
    assert len({packed.store.stamp(key) for key in packed.keys}) == len(packed)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])
    with pytest.raises(PictureError):
        packed.store.read("nowhere.png")


def test_a_large_packed_tar_is_decompressed_once_to_the_cache(
    leaves: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflate, "SMALL", 1000)
    path = pack(leaves, tmp_path / "large.tar.gz")
    first = scan(path)
    copies = list(home.rglob("archives/*.tar"))
    assert len(copies) == 1
    assert first.store.read("rust/00.png") == (leaves / "rust/00.png").read_bytes()
    changed = copies[0].stat().st_ctime_ns, copies[0].stat().st_ino
    assert list(scan(path).keys) == list(first.keys)
    assert copies[0].stat().st_ino == changed[1]
    copies[0].unlink()


def test_a_table_inside(leaves: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    (flat / "images").mkdir(parents=True)
    for i, file in enumerate(sorted(leaves.rglob("*.png"))):
        file.rename(flat / "images" / f"{i}.png")
    (flat / "labels.csv").write_text("file,label\n0.png,a\nimages/20.png,b\n")
    for form in (".zip", ".tar"):
        pictures = scan(pack(flat, tmp_path / f"t{form}", "wrap/"))
        assert list(pictures.keys) == ["wrap/images/0.png", "wrap/images/20.png"]
        assert pictures.classes == ("a", "b")


def a_zip(path: Path, *names: str, mode: int = stat.S_IFREG, data: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, data)
    return path


def a_tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        tar.addfile(info, io.BytesIO())
    return path


@pytest.mark.parametrize("name", ["../a/x.png", "/a/x.png", "a/../../x.png", "C:\\a\\x.png", "..\\x.png"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    for path in (a_zip(tmp_path / "a.zip", name), a_tar(tmp_path / "a.tar", name)):
        with pytest.raises(DataError) as caught:
            scan(path)
        assert caught.value.code == "unsafe-archive"


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    paths = [a_zip(tmp_path / "a.zip", "a/x.png", mode=stat.S_IFLNK)]
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    paths += [a_tar(tmp_path / f"{i}.tar", "a/x.png", kind, "/etc/passwd") for i, kind in enumerate(kinds)]
    for path in paths:
        with pytest.raises(DataError) as caught:
            scan(path)
        assert caught.value.code == "unsafe-archive"


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    data = bytearray(a_zip(tmp_path / "a.zip", "a/x.png").read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError) as caught:
        scan(tmp_path / "a.zip")
    assert caught.value.code == "encrypted"


def test_limits_on_members_bytes_and_ratio(tmp_path: Path, leaves: Path) -> None:
    for form in FORMS:
        path = pack(leaves, tmp_path / f"l{form}")
        with pytest.raises(DataError) as many:
            scan(path, limits=Limits(members=5))
        assert many.value.code == "too-many-members"
        if form != ".tar":
            with pytest.raises(DataError) as total:
                scan(path, limits=Limits(total=1000))
            assert total.value.code == "too-many-bytes"
        store = scan(path, limits=Limits(bytes=100)).store
        with pytest.raises(PictureError) as large:
            store.read("rust/00.png")
        assert large.value.code == "too-many-bytes"


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_zip(tmp_path / "bomb.zip", "a/1.png", "b/1.png", data=bytes(1 << 20))
    assert len(scan(path)) == 2
    monkeypatch.setattr(inflate, "RATIO_FLOOR", 1 << 20)
    with pytest.raises(DataError) as caught:
        scan(path)
    assert caught.value.code == "too-many-bytes"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("damage", ["text", "half", "empty"])
def test_what_is_no_archive(tmp_path: Path, leaves: Path, form: str, damage: str) -> None:
    path = pack(leaves, tmp_path / f"l{form}")
    data = path.read_bytes()
    path.write_bytes({"text": b"this is not an archive at all\n" * 60, "half": data[: len(data) // 2], "empty": b""}[damage])
    with pytest.raises(DataError) as caught:
        scan(path)
    assert caught.value.code == "not-an-archive"
    assert caught.value.hint


def test_a_changed_byte_is_found_by_the_checksum(tmp_path: Path, leaves: Path) -> None:
    path = pack(leaves, tmp_path / "l.zip")
    pictures = scan(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"healthy/00.png") + 200] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(PictureError) as caught:
        scan(path).store.read(pictures.keys[0])
    assert caught.value.code == "unreadable"


def test_names_in_utf8_without_the_flag(tmp_path: Path) -> None:
    data = a_zip(tmp_path / "a.zip", "aaé/x.png", "b/x.png").read_bytes()
    flagged = bytearray(data)
    for magic, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = flagged.find(magic)
        while at >= 0:
            flagged[at + offset + 1] &= ~0x08 & 0xFF
            at = flagged.find(magic, at + 1)
    (tmp_path / "a.zip").write_bytes(flagged)
    pictures = scan(tmp_path / "a.zip")
    assert pictures.classes == ("aaé", "b")
    assert pictures.store.read("aaé/x.png") == b"x"


def empty_zip(path: Path, n: int) -> Path:
    """A zip of n empty pictures, made faster than `zipfile` makes one."""
    names = [b"class %d/picture-%012d.jpg" % (i % 10, i) for i in range(n)]
    local, entry = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L")
    body, directory = bytearray(), bytearray()
    for name in names:
        directory += entry.pack(b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, len(body)) + name
        body += local.pack(b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0) + name
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, n, n, len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    return path


def empty_tar(path: Path, n: int) -> Path:
    """A tar of n empty pictures."""
    with path.open("wb") as file:
        for i in range(n):
            file.write(tarfile.TarInfo(f"class {i % 10}/picture-{i:012}.jpg").tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(1024))
    return path


@pytest.mark.parametrize("make", [empty_zip, empty_tar])
def test_scanning_takes_little_memory(tmp_path: Path, make: Callable[[Path, int], Path]) -> None:
    n = 4_000
    path = make(tmp_path / f"many.{make.__name__[-3:]}", n)
    scan(path)
    tracemalloc.start()
    try:
        pictures = scan(path)
        stays, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(pictures) == n
    assert most / n < 300
    assert stays / n < 120
    assert pictures.store.read(pictures.keys[n // 2]) == b""


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "n", "classes", "parts"),
    [
        ("brain-mri.zip", 253, 2, {-1}),
        ("ants-bees.zip", 398, 2, {0, 1}),
        ("pneumonia.zip", 5030, 2, {0, 1, 2}),
        ("sign-digits.zip", 2062, 10, {-1}),
        ("trashnet.zip", 2527, 6, {-1}),
    ],
)
def test_real_sets(shared: Path, name: str, n: int, classes: int, parts: set[int]) -> None:
    pictures = scan(shared / "data" / name)
    assert (len(pictures), len(pictures.classes), set(pictures.parts.tolist())) == (n, classes, parts)
