"""Up to 10^8 synthetic records through the join of near-duplicates and through an order of reading by shards.

    .venv/bin/python bench/scale_paper.py join [N …] [--rounds 1] [--probes 3] [--memory MIB] [--folder DIR]
    .venv/bin/python bench/scale_paper.py read [N …] [--world 8]
    .venv/bin/python bench/scale_paper.py recall [N …]

join: words of random hashes (32 bytes each), of which 1 % are turned copies with 0 to 8 signs and 0 to 8 sizes changed, 0.5 %
equal to another, 0.1 % show nothing, and 0.5 % share half of their signs, 50,000 the same. One process. Prints seconds of CPU
and clock, records a second, the most bytes on disk, peak memory, recall by signs changed, and the exponent of time over N.
read: an order by shards that is a function of (seed, epoch, position) without a permutation in memory, for each of WORLD ranks;
every record has to come exactly once. Beside it what `data.loader` does, which holds the permutation, where 4 GB allow it.
recall: hashes of TrashNet with 2,100 changed copies (bench/planted.py) amid random hashes of the same covariance, N in all.
N is 1e5, 1e6, 1e7 unless given; 1e8 takes 11 GB of disk. What was written is deleted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.mixing import U64, mixed
from beholder.duplicates.hashing import TURNS
from beholder.duplicates.join import components, joined, planned, settled
from beholder.duplicates.words import NAME, SIGNS, STRONG, WEAKEST, turned_words

PIECE = 1_000_000
SHARD, STREAMS = 10_000, 64
HALF = np.uint64(0xFFFF_FFFF_0000_0000)


def peak() -> int:
    """Return the largest resident memory of this process so far, in bytes, files that are mapped included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# --- the join


def records(start: int, count: int, seed: int = 0) -> U64:
    """Return words (count, 4) of records; the last hundredth of each piece are copies of its first records."""
    rng = np.random.default_rng([seed, start])
    words = rng.integers(0, 1 << 64, (count, 4), dtype=np.uint64)
    words[:, SIGNS] &= ~np.uint64(1)
    words[:, WEAKEST] &= rng.integers(0, 1 << 64, count, dtype=np.uint64)
    k = count // 200
    common = mixed(np.array([start // PIECE // 10], np.uint64)) & HALF
    words[4 * k : 5 * k, SIGNS] = (words[4 * k : 5 * k, SIGNS] & ~HALF) | common
    words[5 * k : 6 * k] = words[3 * k : 4 * k]
    words[6 * k : 6 * k + k // 5] = 0
    words[count - 2 * k :] = copies(words[: 2 * k], rng)
    return words


def copies(words: U64, rng: np.random.Generator) -> U64:
    """Return turned copies, the k-th with k % 9 signs changed, half of them small ones, and as many sizes."""
    out = words.copy()
    out[:, NAME] = mixed(words[:, NAME])
    rows, changes = np.arange(len(words)), np.arange(len(words)) % 9
    for change in range(8):
        here = rows[changes > change]
        for column in (SIGNS, STRONG):
            flip = np.uint64(1) << rng.integers(1, 64, len(here)).astype(np.uint64)
            weak = out[here, WEAKEST] & ~np.uint64(1)
            small = weak & (~weak + np.uint64(1))
            out[here, column] ^= np.where((change % 2 == 0) & (small > 0) & (column == SIGNS), small, flip)
            out[here, WEAKEST] ^= small if column == SIGNS else np.uint64(0)
    out[:, WEAKEST] = words[:, WEAKEST]
    for turn in range(1, TURNS):
        out[turn::TURNS] = turned_words(out[turn::TURNS], turn)
    return out


def written(folder: Path, n: int) -> list[str]:
    paths = []
    for start in range(0, n, PIECE):
        paths.append(str(folder / f"records-{start // PIECE:04}.npy"))
        np.save(paths[-1], records(start, min(PIECE, n - start)))
    return paths


class Disk:
    """The most bytes that a folder has held, looked at every second."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.most, self.over = folder, 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.over.wait(1.0):
            held = 0
            for path in self.folder.iterdir():
                try:
                    held += path.stat().st_size
                except OSError:
                    continue
            self.most = max(self.most, held)


def recall(pairs: np.ndarray, n: int) -> dict[str, float]:
    """Return which share of the planted copies was found, by signs changed."""
    keys = pairs[:, 0] * n + pairs[:, 1]
    keys.sort()
    found: dict[str, list[float]] = {}
    for start in range(0, n, PIECE):
        count = min(PIECE, n - start)
        k = count // 200
        first = np.arange(2 * k)
        wanted = (start + first) * n + start + count - 2 * k + first
        at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        hit = keys[at] == wanted
        for change in range(9):
            found.setdefault(str(change), []).append(float(hit[first % 9 == change].mean()))
    return {change: round(float(np.mean(values)), 4) for change, values in found.items()}


def join(n: int, asked: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="beholder-paper-") as name:
        folder = Path(name)
        paths = written(folder, n)
        disk, memory = Disk(folder), asked.memory << 20
        began, used = time.perf_counter(), time.process_time()
        plan = planned(paths, folder, rounds=asked.rounds, probes=asked.probes, memory=memory)
        said: list[str] = []
        with events.listen(lambda event: said.append(event.message), alone=True):
            found = [some.pairs for some in joined(plan, folder, memory=memory)]
        cpu, wall, held = time.process_time() - used, time.perf_counter() - began, peak()
        pairs = np.concatenate([np.zeros((0, 2), np.int64), *found])
        used = time.process_time()
        groups = np.arange(n)
        for some in found:
            components(groups, some)
        settled(groups)
        union = time.process_time() - used
        row = {"n": n, "cpu_s": round(cpu, 1), "wall_s": round(wall, 1), "records_per_cpu_s": round(n / cpu)}
        row |= {"disk_bytes": disk.most, "peak_bytes": held, "buckets": plan.buckets, "pairs": len(pairs)}
        row |= {"components_s": round(union, 1), "tied": int((groups != np.arange(n)).sum()), "recall": recall(pairs, n)}
        disk.over.set()
        return row | {"said": [text for text in said if "common" in text]}


# --- the reader


def permuted(places: U64, count: int, key: U64) -> U64:
    """Return the places of `places`, all below `count`, in an order by `key`: a Feistel network with cycle walking.

    Source: Black & Rogaway, Ciphers with arbitrary finite domains, CT-RSA 2002
    """
    half = np.uint64(max(1, (count - 1).bit_length() + 1 >> 1))
    low = (np.uint64(1) << half) - np.uint64(1)
    out = np.array(places, np.uint64)
    keys = np.broadcast_to(key, out.shape)
    todo = np.arange(len(out))
    while len(todo):
        left, right = out[todo] >> half, out[todo] & low
        for turn in range(4):
            left, right = right, left ^ (mixed(right + keys[todo] + np.uint64(turn << 48)) & low)
        out[todo] = (left << half) | right
        todo = todo[out[todo] >= count]
    return out


def order(seed: int, epoch: int, positions: np.ndarray, n: int) -> np.ndarray:
    """Return the records at positions of an epoch, -1 where there is none, int64: a function of the arguments alone.

    `STREAMS` streams of shards are read in turn, so that position p is of stream p % STREAMS: a rank that takes whole streams
    reads no shard of another's, and what the order is does not depend on how many ranks there are.
    """
    rounds = math.ceil(n / SHARD / STREAMS)
    stream, inside = positions % STREAMS, positions // STREAMS
    key = mixed(np.array([seed * 1_000_003 + epoch + 1], np.uint64))
    shard = permuted((inside // SHARD * STREAMS + stream).astype(np.uint64), rounds * STREAMS, key)
    row = permuted((inside % SHARD).astype(np.uint64), SHARD, mixed(key + shard))
    found = (shard * np.uint64(SHARD) + row).astype(np.int64)
    return np.where(found < n, found, -1)


def read(n: int, asked: argparse.Namespace) -> dict[str, Any]:
    seen, opened = np.zeros(n, bool), np.full(math.ceil(n / SHARD), -1, np.int8)
    rounds = math.ceil(n / SHARD / STREAMS)
    per, batch, before, used = STREAMS // asked.world, 1 << 16, peak(), 0.0
    for rank in range(asked.world):
        mine = np.arange(rank * per, (rank + 1) * per)
        for at in range(0, rounds * SHARD, batch // per):
            inside = np.arange(at, min(at + batch // per, rounds * SHARD))
            began = time.process_time()
            found = order(0, 1, (inside[:, None] * STREAMS + mine).ravel(), n)
            used += time.process_time() - began
            found = found[found >= 0]
            assert not seen[found].any(), "a record came twice"
            seen[found] = True
            shards = np.unique(found // SHARD)
            assert np.isin(opened[shards], (-1, rank)).all(), "two ranks read one shard"
            opened[shards] = rank
    assert seen.all(), "a record never came"
    row = {"n": n, "world": asked.world, "order_cpu_s_per_rank": round(used / asked.world, 2)}
    row |= {"ns_per_record": round(used / n * 1e9), "peak_bytes_more": max(0, peak() - before)}
    if n <= 20_000_000:
        from beholder.machine.draws import permutation

        before, began = peak(), time.process_time()
        assert len(permutation(0, 1, n)) == n
        row |= {"permutation_cpu_s": round(time.process_time() - began, 2), "permutation_bytes": peak() - before}
    return row


# --- recall among real hashes


def real(n: int, asked: argparse.Namespace) -> dict[str, Any]:
    from planted import plant

    from beholder.duplicates.facts import facts
    from beholder.sources import scan
    from beholder.sources.digest import digested

    shared = (Path(__file__).parent.parent / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve()
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="beholder-paper-") as name, events.listen(alone=True):
        folder = Path(name)
        changed = plant(shared / "data" / "trashnet.zip", folder / "pictures", each=300, seed=0)
        pictures = digested(scan(folder / "pictures"), root=folder)
        hashes = facts(pictures, root=folder)["hash"]
        rows = {key: row for row, key in enumerate(pictures.keys)}
        wanted = {tuple(sorted((rows[a], rows[b]))): Path(a).name.rsplit("-", 1)[0] for a, b in changed.items()}
        paths = amid(hashes, n, folder)
        began = time.process_time()
        plan = planned(paths, folder, memory=asked.memory << 20)
        found = {tuple(pair) for some in joined(plan, folder) for pair in some.pairs.tolist()}
        cpu = time.process_time() - began
    kinds = sorted(set(wanted.values()))
    each = {kind: np.mean([pair in found for pair, what in wanted.items() if what == kind]) for kind in kinds}
    whole = float(np.mean([pair in found for pair in wanted]))
    by = {kind: round(float(value), 3) for kind, value in each.items()}
    return {"n": n, "cpu_s": round(cpu, 1), "pairs": len(found), "recall": round(whole, 4), "by": by}


def amid(hashes: np.ndarray, n: int, folder: Path) -> list[str]:
    """Write hashes and random ones of their covariance, n in all."""
    rng, paths = np.random.default_rng(0), [str(folder / "hashes.npy")]
    np.save(paths[0], hashes)
    root = np.linalg.cholesky(np.cov(hashes.astype(float).T) + 1e-6 * np.eye(64))
    for start in range(len(hashes), n, PIECE // 4):
        some = rng.normal(size=(min(PIECE // 4, n - start), 64)) @ root.T
        some[:, 0] = 0
        some *= 127 / np.linalg.norm(some, axis=1, keepdims=True)
        paths.append(str(folder / f"other-{start}.npy"))
        np.save(paths[-1], some.round().astype(np.int8))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", choices=("join", "read", "recall"))
    parser.add_argument("n", type=float, nargs="*", default=[1e5, 1e6, 1e7])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--probes", type=int, default=3)
    parser.add_argument("--memory", type=int, default=512, help="MiB that one unit of work may hold")
    parser.add_argument("--world", type=int, default=8)
    parser.add_argument("--folder", default=None)
    asked = parser.parse_args()
    rows = []
    for n in asked.n:
        rows.append({"join": join, "read": read, "recall": real}[asked.what](int(n), asked))
        print(json.dumps(rows[-1]), flush=True)
    if asked.what == "join" and len(rows) > 1:
        first, last = rows[-2], rows[-1]
        exponent = np.log(last["cpu_s"] / first["cpu_s"]) / np.log(last["n"] / first["n"])
        print(json.dumps({"exponent": round(float(exponent), 2), "from": first["n"], "to": last["n"]}), flush=True)


if __name__ == "__main__":
    main()
