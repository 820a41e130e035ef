"""Sources on object storage: a folder, a zip or tar, WebDataset shards, a table, COCO, Parquet or .npz.

Pictures are read when they are needed; files that hold several are fetched whole, but for plain tars.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events, memo
from beholder.base.arrays import I64
from beholder.base.brief import without_secrets
from beholder.base.errors import DataError, UsageError
from beholder.base.files import sha256
from beholder.base.limits import Limits
from beholder.base.names import Names
from beholder.base.records import Pictures
from beholder.machine.folders import cache_folder
from beholder.machine.ranks import Ranks
from beholder.sources import archive, objects, parquet, shards, unlabelled
from beholder.sources.ahead import Coming
from beholder.sources.copies import Copies, piece_of
from beholder.sources.folder import STRIDE, too_many_bytes, too_many_members
from beholder.sources.joined import JoinedStore
from beholder.sources.listing import Listing, case_notes, is_junk, is_picture
from beholder.sources.members import TAR, unreadable
from beholder.sources.objects import Object
from beholder.sources.ranged import Ranged
from beholder.sources.remote import not_allowed
from beholder.sources.tars import TarStore

RUN, GAP = 8 << 20, 64 << 10
"""Members of a tar that lie together are asked for at once: up to so many bytes, and over gaps of so many."""

AHEAD = 2
"""Tars that are fetched while the one before them is looked through."""

PARQUET = (".parquet",)
_TEXT = 64 << 10
_FETCHED = ("csv", "tsv", "jsonl", "json", "parquet", "npz")
_FILES = (*_FETCHED, "yaml", "yml")


@dataclass(frozen=True)
class Bucket:
    """How objects are reached: fsspec's file system, copies on the disk, and what was asked for ahead."""

    system: Any
    copies: Copies
    coming: Coming
    limits: Limits

    def read(self, thing: Object, start: int, size: int) -> bytes:
        """Return a part of an object. Raises as `objects.read` does."""
        return objects.read(self.system, thing, start, size)

    def part(self, thing: Object, start: int, size: int) -> bytes:
        """Return a part of a large object, from its copy where there is one. Raises as `objects.read` does."""
        here = self.copies.here(thing)
        found = None if here is None else piece_of(here, start, size)
        return self.read(thing, start, size) if found is None else found


class ObjectStore:
    """Pictures that are objects below `top`, which ends in a slash. sizes: int64 (N,); tags: of each, as `Object` has it."""

    def __init__(self, top: str, names: Names, sizes: I64, tags: Names, bucket: Bucket) -> None:
        self.name, self._names, self._sizes, self._tags, self._bucket = top, names, sizes, tags, bucket

    def read(self, key: str) -> bytes:
        """Return an object's bytes, of the version that was listed.

        Raises `PictureError` (unreadable, changed, too-many-bytes), `MachineError` (download-failed, …).
        """
        ahead = self._bucket.coming.take(self.name + key)
        return self._bytes(key) if ahead is None else ahead

    def expect(self, keys: Sequence[str]) -> None:
        """Ask for objects before they are read."""
        for key in keys:
            row = self._names.place(key)
            if row >= 0:
                address, size = self.name + key, int(self._sizes[row])
                self._bucket.coming.ask({address: size}, partial(self._fetched, key, address))

    def _fetched(self, key: str, address: str) -> dict[str, bytes]:
        return {address: self._bytes(key)}

    def at(self, key: str) -> Object:
        """Return the object that a key names. Raises `PictureError` (unreadable)."""
        row = self._names.place(key)
        if row < 0:
            raise unreadable(key, self.name, "it is not in there")
        return Object(self.name + key, int(self._sizes[row]), self._tags[row])

    def _bytes(self, key: str) -> bytes:
        thing = self.at(key)
        if thing.size > self._bucket.limits.bytes:
            raise too_many_bytes(key, thing.size, self._bucket.limits.bytes)
        return self._bucket.copies.bytes_of(thing)

    def stamp(self, key: str) -> str:
        """Return size and tag of an object."""
        row = self._names.place(key)
        return f"{self._sizes[row]}-{self._tags[row]}" if row >= 0 else ""


class TarObjectStore:
    """Members of a tar on object storage, read from its copy if there is one, else alone.

    names: in order; spans: int64 (N, 2), offset and size; texts: small files that need not be read again, until `forget`
    """

    def __init__(self, tar: Object, names: Names, spans: I64, texts: dict[str, str], bucket: Bucket) -> None:
        self.tar, self._names, self._spans, self._texts, self._bucket = tar, names, spans, texts, bucket

    @property
    def name(self) -> str:
        """Return the address of the tar."""
        return self.tar.url

    def read(self, key: str) -> bytes:
        """Return a member's bytes. Raises as `ObjectStore.read` does."""
        if key in self._texts:
            return self._texts[key].encode("latin-1")
        ahead = self._bucket.coming.take(f"{self.name}/{key}")
        if ahead is not None:
            return ahead
        row = self._names.place(key)
        if row < 0:
            raise unreadable(key, self.name, "it is not in there")
        start, size = self._spans[row].tolist()
        if size > self._bucket.limits.bytes:
            raise too_many_bytes(key, size, self._bucket.limits.bytes)
        return self._bucket.part(self.tar, start, size)

    def expect(self, keys: Sequence[str]) -> None:
        """Ask for members before they are read; those that lie together are one request."""
        if self._bucket.copies.here(self.tar) is not None:
            return
        rows = sorted(row for row in map(self._names.place, keys) if row >= 0)
        spans = sorted((*self._spans[row].tolist(), f"{self.name}/{self._names[row]}") for row in rows)
        for run in _runs([span for span in spans if span[1] <= self._bucket.limits.bytes]):
            self._bucket.coming.ask({address: size for _, size, address in run}, partial(self._run, run))

    def _run(self, run: Sequence[tuple[int, int, str]]) -> dict[str, bytes]:
        first, end = run[0][0], run[-1][0] + run[-1][1]
        data = self._bucket.read(self.tar, first, end - first)
        return {address: data[start - first : start - first + size] for start, size, address in run}

    def bring(self, *, beside: int) -> None:
        """Have the whole tar fetched in the background, where so many of its size find room beside each other."""
        copies = self._bucket.copies
        if copies.here(self.tar) is None and copies.fits([self.tar.size] * beside):
            self._bucket.coming.also(partial(copies.fetched, self.tar))

    def forget(self) -> None:
        """Forget the small files."""
        self._texts = {}

    def stamp(self, key: str) -> str:
        """Return the tar's size and tag, and where the member lies in it."""
        row = self._names.place(key)
        return f"{self.tar.size}-{self.tar.tag}-{self._spans[row, 0]}-{self._spans[row, 1]}" if row >= 0 else ""


def _runs(spans: Sequence[tuple[int, int, str]]) -> Iterator[list[tuple[int, int, str]]]:
    """Yield spans (offset, size, address) in groups that one request fetches."""
    run: list[tuple[int, int, str]] = []
    for span in spans:
        end = run[-1][0] + run[-1][1] if run else 0
        if run and (span[0] > end + GAP or span[0] + span[1] - run[0][0] > RUN):
            yield run
            run = []
        run.append(span)
    if run:
        yield run


def tars_of(pictures: Pictures) -> tuple[I64, list[TarObjectStore]] | None:
    """Return of pictures in tars on object storage the number of the tar that each lies in, int64 (N,), and the tars."""
    store = pictures.store
    if not isinstance(store, JoinedStore):
        return None
    tars = [one for one in store.stores.values() if isinstance(one, TarObjectStore)]
    if len(tars) < len(store.stores):
        return None
    number = {id(tar): k for k, tar in enumerate(tars)}
    found = (store.found(key) for key in pictures.keys)
    return np.fromiter((number[id(one[0])] for one in found if one is not None), np.int64, len(pictures)), tars


def share(pictures: Pictures, ranks: Ranks) -> I64:
    """Return the rows, int64 (M,), that one of several processes reads where each reads a part of the set, once.

    Of tars on object storage each process has its own; of other sources a stretch of the pictures. All shares are the set.
    """
    found = tars_of(pictures)
    if found is None:
        return ranks.shard(np.arange(len(pictures)))
    units, tars = found
    return np.flatnonzero(np.isin(units, ranks.shard(np.arange(len(tars)))))


def opened(url: str, *, labels: bool, limits: Limits, allow_download: bool) -> Listing | Path | Pictures:
    """Return what is at an address: the listing of a folder, the copy of one file, or the pictures of shards.

    labels: whether pictures of shards have to have some; without, tables and other files that tell of labels are refused
    Raises `UsageError` (download-not-allowed, path-missing, unknown-source, bad-address), `MachineError` (no-credentials,
    forbidden, download-failed, missing-library), `DataError` (too-many-bytes, too-many-members, no-pictures, …).
    """
    if not allow_download:
        raise not_allowed(without_secrets(url))
    bucket = _bucket(url, limits)
    read: Callable[..., Pictures] = _labelled if labels else _bare
    if shards.is_pattern(url):
        return read(_matching(bucket.system, url), url, url.rpartition("/")[0] + "/", bucket)
    ending = url.rpartition(".")[2].lower()
    if archive.is_archive(Path(url)) or (labels and ending in _FETCHED):
        return _fetched(url, bucket)
    if ending in _FILES:
        raise _unread(
            url, f"is {'no kind of file that is read from object storage' if labels else 'not read where labels are not'}"
        )
    top = url.rstrip("/") + "/"
    found = _listed(top, bucket.system, bucket)
    tars = [name for name in found.names if name.lower().endswith(TAR)]
    several = tars or [name for name in found.names if name.lower().endswith(PARQUET)]
    if not several or any(map(is_picture, found.names)):
        return found
    assert isinstance(found.store, ObjectStore)
    return read([found.store.at(name) for name in several], top, top, bucket)


def files_of(url: str, *, limits: Limits, allow_download: bool) -> Listing:
    """Return the files of a folder, or of an archive, which is fetched. Raises as `opened` does."""
    if not allow_download:
        raise not_allowed(without_secrets(url))
    bucket = _bucket(url, limits)
    if archive.is_archive(Path(url)):
        return archive.listing(_fetched(url, bucket), limits=limits)
    return _listed(url.rstrip("/") + "/", bucket.system, bucket)


def _unread(url: str, why: str) -> UsageError:
    hint = "give the folder that it lies in, or copy it to this machine"
    return UsageError(f"{url} {why}", code="unknown-source", hint=hint)


def around(url: str, limits: Limits) -> Listing:
    """Return the files of the folder that one which tells of pictures lies in; of COCO in annotations/, the folder above.

    Raises as `opened` does.
    """
    top, _, name = url.rpartition("/")
    if name.lower().endswith(".json") and top.lower().endswith("/annotations"):
        top = top.rpartition("/")[0]
    bucket = _bucket(url, limits)
    return _listed(f"{top}/", bucket.system, bucket)


def _bucket(url: str, limits: Limits) -> Bucket:
    system = objects.system(url)
    return Bucket(system, Copies(partial(objects.read, system)), Coming(), limits)


def _listed(top: str, system: Any, bucket: Bucket) -> Listing:
    """Return the files below a folder, those that systems leave behind left out."""
    found: list[tuple[str, int, str]] = []
    for thing in objects.below(system, top):
        name = thing.url.removeprefix(top)
        if any(is_junk(part) for part in name.split("/")):
            continue
        found.append((name, thing.size, thing.tag))
        if len(found) > bucket.limits.members:
            raise too_many_members(top, bucket.limits.members)
        if len(found) % STRIDE == 0:
            events.progress("listing", len(found), 0)
    found.sort()
    names = Names.of(name for name, _, _ in found)
    sizes = np.array([size for _, size, _ in found], np.int64)
    store = ObjectStore(top, names, sizes, Names.of(tag for _, _, tag in found), bucket)
    return Listing(store, names, tuple(case_notes(names)), foreign=True)


def _fetched(url: str, bucket: Bucket) -> Path:
    """Return the copy of one file."""
    thing = next((one for one in _beside(bucket.system, url) if one.url == url), None)
    if thing is None:
        raise UsageError(f"there is nothing at {url}", code="path-missing", hint="check the spelling; names are case-sensitive")
    if thing.size > bucket.limits.download:
        text = f"{url} has {thing.size:,} bytes, beyond the limit of {bucket.limits.download:,} for a download"
        raise DataError(text, code="too-many-bytes", hint="divide it into several tars, which are read where they lie")
    events.note(f"downloading {url} to {bucket.copies.folder}", path=str(bucket.copies.folder))
    return bucket.copies.fetched(thing)


def _beside(system: Any, url: str) -> Iterator[Object]:
    """Yield the objects in the folder that an address names a file of."""
    return (one for one in objects.inside(system, url.rpartition("/")[0]) if isinstance(one, Object))


def _matching(system: Any, url: str) -> list[Object]:
    """Return the objects that an address with braces, * or ? stands for, in order. Raises `UsageError` (path-missing)."""
    found: list[Object] = []
    folders: dict[str, dict[str, Object]] = {}
    for plain in shards.unbraced(url):
        folder, _, name = plain.rpartition("/")
        if folder not in folders:
            folders[folder] = {one.url.rpartition("/")[2]: one for one in _beside(system, plain)}
        names = sorted(other for other in folders[folder] if fnmatchcase(other, name)) if re.search(r"[*?[]", name) else [name]
        for one in names or [name]:
            if one not in folders[folder]:
                hint = f"it is one of those that {url} stands for"
                raise UsageError(f"there is no {folder}/{one}", code="path-missing", hint=hint)
            found.append(folders[folder][one])
    kind = TAR if found[0].url.lower().endswith(TAR) else PARQUET
    odd = [one.url for one in found if not one.url.lower().endswith(kind)]
    if odd:
        hint = "several files are all plain tars, or all Parquet; unpack .tar.gz, or give one file alone"
        raise UsageError(f"{odd[0]} is not read with others", code="unknown-source", hint=hint)
    return found


def _packed(files: Sequence[Object], name: str, top: str, bucket: Bucket) -> Pictures:
    """Return the labelled pictures of Parquet files: of copies, where all find room beside each other, else where they lie."""
    if bucket.copies.fits(one.size for one in files):
        events.note(f"downloading {name} to {bucket.copies.folder}", path=str(bucket.copies.folder))
        for done, one in enumerate(files, start=1):
            bucket.copies.fetched(one)
            events.progress("fetching", done, len(files))
    far = {one.url.removeprefix(top): Ranged(one.url, one.size, one.tag, partial(bucket.part, one)) for one in files}
    return parquet.joined(far, name=name, limits=bucket.limits)


def _labelled(tars: Sequence[Object], name: str, top: str, bucket: Bucket) -> Pictures:
    """Return the labelled pictures of shards, or of Parquet files."""
    if tars[0].url.lower().endswith(PARQUET):
        return _packed(tars, name, top, bucket)
    lists = [one for one in _beside(bucket.system, top) if one.url.removeprefix(top) in shards.NAMES]
    lists.sort(key=lambda one: shards.NAMES.index(one.url.removeprefix(top)))
    names = shards.lines(bucket.copies.bytes_of(lists[0])) if lists else []
    return shards.pictures_of(_walked(tars, top, bucket), name=name, names=names)


def _bare(tars: Sequence[Object], name: str, top: str, bucket: Bucket) -> Pictures:
    """Return the pictures of shards, labels not looked for. Raises `UsageError` (unknown-source) for Parquet files."""
    if tars[0].url.lower().endswith(PARQUET):
        raise _unread(name, "is not read where labels are not")
    found = dict(_walked(tars, top, bucket))
    names = Names.of(f"{shard}/{key}" for shard, listing in found.items() for key in listing.names)
    return unlabelled.listed(Listing(JoinedStore(name, {shard: one.store for shard, one in found.items()}), names))


def _walked(tars: Sequence[Object], top: str, bucket: Bucket) -> Iterator[tuple[str, Listing]]:
    """Yield the name of each tar and what is in it; the next ones are fetched meanwhile, where there is room for several."""
    with ThreadPoolExecutor(AHEAD, thread_name_prefix="beholder-fetch-tar") as pool:
        for done, tar in enumerate(tars):
            for after in tars[done + 1 : done + 1 + AHEAD]:
                if not _known(after).is_file() and bucket.copies.fits(one.size for one in tars[done : done + 1 + AHEAD]):
                    pool.submit(bucket.copies.fetched, after)
            store, names, notes = _members(tar, bucket)
            yield tar.url.removeprefix(top), Listing(store, names, notes, foreign=True)
            store.forget()
            events.progress("reading shards", done + 1, len(tars))


def _members(tar: Object, bucket: Bucket) -> tuple[TarObjectStore, Names, tuple[str, ...]]:
    """Return what a tar holds; it is remembered, so that the tar need not be fetched again for it."""
    known = memo.record(_known(tar))
    if not known:
        found = archive.listing(bucket.copies.fetched(tar), limits=bucket.limits)
        inner = found.store
        assert isinstance(inner, TarStore)
        sizes = dict(zip(found.names, inner.spans[:, 1].tolist(), strict=True))
        small = [name for name, size in sizes.items() if name.endswith((".cls", ".json", ".txt")) and size <= _TEXT]
        texts = {name: found.bytes_of(name).decode("latin-1") for name in small}
        known = {"names": list(found.names), "spans": inner.spans.tolist(), "texts": texts, "notes": list(found.notes)}
        memo.keep_record(_known(tar), known, what="members of tars")
    names, spans = Names.of(known["names"]), np.array(known["spans"], np.int64).reshape(-1, 2)
    return TarObjectStore(tar, names, spans, known["texts"], bucket), names, tuple(known["notes"])


def _known(tar: Object) -> Path:
    name = sha256(f"{tar.url}\0{tar.size}\0{tar.tag}".encode("utf-8", "surrogateescape"))[:32]
    return cache_folder() / "members" / f"{name}.json"
