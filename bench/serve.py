"""The server under load: cold start, saturation beside the bare graph, 70 % of capacity, and twice capacity.

    .venv/bin/python bench/serve.py [M.beholder PICTURES [SECONDS [PATIENCE [SOAK]]]]

M.beholder is exported (`beholder export`); PICTURES is a folder of JPEG files; without them a MobileNetV2 of the shared weights
is fitted to TrashNet in a minute, and kept in bench/out/serve. SECONDS (20) is how long each load lasts, SOAK (SECONDS) that of
twice capacity; PATIENCE (0.05) is the server's --patience at 70 and 200 % of capacity, where it is 5 for capacity itself, which
is what 32 clients get that ask again as soon as they are answered. Requests hold one picture, and their sender runs on the same
cores. The bare graph: one thread that gives onnxruntime decoded pictures, in several batches. Loads at a share of capacity are
open: arrivals are random (Poisson) and wait for nobody. The last line is JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve()
CLIENTS = 32
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


@contextmanager
def serving(bundle: str, patience: float) -> Iterator[tuple[Any, int, float]]:
    """(process, port, monotonic time of its start)."""
    command = [sys.executable, "-m", "beholder", "serve", bundle, "--port", "0", "--patience", str(patience)]
    began = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            found = None
            while not found:
                line = process.stderr.readline()
                if not line:
                    raise SystemExit("the server did not start")
                found = re.search(r":(\d+)/", line)
            yield process, int(found[1]), began
        finally:
            process.terminate()
            process.wait(60)


@dataclass
class Tally:
    """What came back. latencies in seconds by status."""

    latencies: dict[int, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, status: int, seconds: float) -> None:
        self.latencies.setdefault(status, []).append(seconds)

    @property
    def rate(self) -> float:
        return len(self.latencies.get(200, [])) / self.seconds

    def quantile(self, status: int, q: float) -> float | None:
        found = self.latencies.get(status)
        return round(1000 * float(np.quantile(found, q)), 1) if found else None

    def json(self) -> dict[str, Any]:
        counts = {str(status): len(found) for status, found in sorted(self.latencies.items())}
        milliseconds = {f"p{100 * q:g}_ms": self.quantile(200, q) for q in (0.5, 0.99)}
        refused = {"refused_p99_ms": self.quantile(503, 0.99)} if 503 in self.latencies else {}
        return {"pictures_per_s": round(self.rate, 1), **milliseconds, **refused, "statuses": counts}


class Sender:
    """Keeps connections open and sends requests on them."""

    def __init__(self, port: int, bodies: list[bytes]) -> None:
        self.port = port
        self.requests = [HEAD % len(body) + body for body in bodies]
        self.free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.tally = Tally()

    async def one(self, number: int) -> None:
        began = time.monotonic()
        try:
            while self.free and self.free[-1][0].at_eof():  # idle for so long that the server closed it
                self.free.pop()[1].close()
            reader, writer = self.free.pop() if self.free else await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(self.requests[number % len(self.requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
            self.tally.add(int(head[9:12]), time.monotonic() - began)
            self.free.append((reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            self.tally.add(0, time.monotonic() - began)

    async def closed(self, senders: int, seconds: float) -> Tally:
        """So many clients, each of which asks again as soon as it is answered."""
        end = time.monotonic() + seconds

        async def client(number: int) -> None:
            while time.monotonic() < end:
                await self.one(number)
                number += senders

        return await self._timed([client(number) for number in range(senders)])

    async def open(self, rate: float, seconds: float) -> Tally:
        """So many requests a second, whatever becomes of them."""
        rng, tasks, began = random.Random(0), [], time.monotonic()
        due = began
        while due < began + seconds:
            due += rng.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.ensure_future(self.one(len(tasks))))
        return await self._timed(tasks, began=began)

    async def _timed(self, work: list[Any], *, began: float | None = None) -> Tally:
        began = time.monotonic() if began is None else began
        await asyncio.gather(*work)
        self.tally.seconds = time.monotonic() - began
        for _, writer in self.free:
            writer.close()
        return self.tally


def bare(bundle: str, bodies: list[bytes], seconds: float) -> dict[str, float]:
    """Pictures a second: decoding on one thread, and the graph on decoded pixels by batch."""
    from beholder.runtime.exported import load

    graph = load(bundle)
    began, decoded = time.monotonic(), []
    while time.monotonic() - began < min(seconds, 3.0):
        decoded.append(graph.pixels(bodies[len(decoded) % len(bodies)]))
    found = {"decode": len(decoded) / (time.monotonic() - began)}
    images = np.stack([decoded[k % len(decoded)] for k in range(32)])
    for batch in (1, 2, 4, 8, 16, 32):
        rates = []
        for _ in range(3):
            began, count = time.monotonic(), 0
            while time.monotonic() - began < seconds / 18:
                graph.outputs(images[:batch])
                count += batch
            rates.append(count / (time.monotonic() - began))
        found[f"batch {batch}"] = statistics.median(rates)
    return {name: round(rate, 1) for name, rate in found.items()}


def memory(process: Any) -> int:
    """Bytes of the server's resident set."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def prepared() -> tuple[str, Path] | None:
    """The bundle and the folder of pictures that were named, or those of bench/out/serve, made where absent and possible."""
    if len(sys.argv) > 2 and sys.argv[1]:
        return sys.argv[1], Path(sys.argv[2])
    folder = ROOT / "bench" / "out" / "serve"
    bundle, pictures = folder / "trashnet.beholder", folder / "pictures"
    if not (bundle / "model.onnx").exists():
        source, weights = SHARED / "data" / "trashnet.zip", SHARED / "weights" / "mobilenetv2_100"
        if not source.is_file() or not weights.is_dir():
            print("left out: it needs the shared pictures and weights (BEHOLDER_SHARED), or M.beholder and PICTURES")
            return None
        command = [sys.executable, "-m", "beholder"]
        net = ["--net", "timm:mobilenetv2_100", "--set", f"net.weights={weights}", "--minutes", "1"]
        subprocess.run([*command, "train", str(source), *net, "--out", str(bundle)], check=True)
        subprocess.run([*command, "export", str(bundle)], check=True)
        with zipfile.ZipFile(source) as archive:
            archive.extractall(pictures, [name for name in archive.namelist() if name.lower().endswith(".jpg")][::20])
    return str(bundle), pictures


def main() -> None:
    if (found := prepared()) is None:
        return
    bundle, folder = found
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 20.0
    patience = float(sys.argv[4]) if len(sys.argv) > 4 else 0.05
    soak = float(sys.argv[5]) if len(sys.argv) > 5 else seconds
    bodies = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))[:64]]
    said: dict[str, Any] = {"bare": bare(bundle, bodies, seconds)}
    with serving(bundle, 5.0) as (process, port, began):
        asyncio.run(Sender(port, bodies).closed(1, 0.01))
        said["cold_start_s"] = round(time.monotonic() - began, 2)
        said["torch_loaded"] = "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()
        asyncio.run(Sender(port, bodies).closed(CLIENTS, seconds / 4))
        capacity = asyncio.run(Sender(port, bodies).closed(CLIENTS, seconds))
        said["saturated"] = capacity.json()
    with serving(bundle, patience) as (process, port, _):
        asyncio.run(Sender(port, bodies).open(0.7 * capacity.rate, seconds / 4))
        said["at 70 %"] = asyncio.run(Sender(port, bodies).open(0.7 * capacity.rate, seconds)).json()
        asyncio.run(Sender(port, bodies).open(2 * capacity.rate, seconds / 4))
        before = memory(process)
        said["at 200 %"] = asyncio.run(Sender(port, bodies).open(2 * capacity.rate, soak)).json()
        said["memory_growth"] = round(memory(process) / before - 1, 4)
    best = max(rate for name, rate in said["bare"].items() if name != "decode")
    said["share_of_bare"] = round(said["saturated"]["pictures_per_s"] / best, 3)
    said["p99_ratio"] = round(said["at 200 %"]["p99_ms"] / said["at 70 %"]["p99_ms"], 2)
    for name, value in said.items():
        print(f"{name:>14}  {value}", file=sys.stderr)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
