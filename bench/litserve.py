"""Beholder's server beside LitServe: the same net, the same pictures, the same sender, in turn on the same cores.

    .venv/bin/python bench/litserve.py [M.beholder PICTURES [SECONDS [ROUNDS]]]

M.beholder and PICTURES are those of bench/serve.py; SECONDS (20) is how long each load lasts.
LitServe runs as its documentation shows it, with batches of up to 8: Pillow opens and resizes, torch runs the net, as in all
its examples (`beholder export --to torch`), or onnxruntime the graph that Beholder's server runs too, which somebody has to
make first. BEHOLDER_PEERS names the python of an environment with litserve, torch, onnxruntime and pillow.
Requests are multipart with one picture, from 1, 8 and 32 clients that ask again as soon as they are answered. Its workers for
the API (1 or 2) are tried both, and the better is compared.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from serve import ROOT, Sender, prepared, serving

PEERS = os.environ.get("BEHOLDER_PEERS", str(ROOT / "bench" / "out" / "peers" / "bin" / "python"))
CLIENTS = (1, 8, 32)
EDGE = b"----beholder"
HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=%s\r\nContent-Length: %d\r\n\r\n"
)

PEER = """
import io, sys
import litserve, numpy
from PIL import Image

def with_onnxruntime(path, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]

def with_torch(path, threads):
    import torch
    torch.set_num_threads(threads)
    net = torch.export.load(path).module()
    def run(images):
        with torch.inference_mode():
            return net(torch.from_numpy(images))[0].numpy()
    return run

class Net(litserve.LitAPI):
    def setup(self, device):
        made = with_torch if sys.argv[1].endswith(".pt2") else with_onnxruntime
        self.run = made(sys.argv[1], int(sys.argv[4]))
        self.size = tuple(int(side) for side in sys.argv[3].split("x"))

    def decode_request(self, request):
        picture = Image.open(io.BytesIO(request["files"].file.read())).convert("RGB")
        return numpy.asarray(picture.resize(self.size, Image.Resampling.BILINEAR)).transpose(2, 0, 1)

    def batch(self, inputs):
        return numpy.stack(inputs)

    def predict(self, images):
        return self.run(numpy.ascontiguousarray(images))

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"probabilities": [float(value) for value in output]}

if __name__ == "__main__":
    api = Net(max_batch_size=8, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(sys.argv[5]))
    server.run(port=int(sys.argv[2]), num_api_servers=1, log_level="error", generate_client_file=False)
"""


class Forms(Sender):
    """A sender of multipart forms."""

    def __init__(self, port: int, bodies: list[bytes]) -> None:
        super().__init__(port, [])
        for body in bodies:
            part = b'Content-Disposition: form-data; name="files"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
            form = b"--" + EDGE + b"\r\n" + part + body + b"\r\n--" + EDGE + b"--\r\n"
            self.requests.append(HEAD % (EDGE, len(form)) + form)


def policy(bundle: str) -> tuple[int, int]:
    """(width, height) of the net's pixels."""
    from beholder.runtime.exported import load

    found = load(bundle).policy
    return found.width, found.height


@contextmanager
def peer(bundle: str, net: Path, folder: str, workers: int) -> Iterator[int]:
    (script := Path(folder) / "peer.py").write_text(PEER)
    width, height = policy(bundle)
    threads = max(1, (os.cpu_count() or 1) // workers)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [PEERS, str(script), str(net), str(port), f"{width}x{height}", str(threads), str(workers)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, start_new_session=True, **silent) as process:  # its workers leave with it, and no other does
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).read()
                    break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.2)
            else:
                raise SystemExit(f"{PEERS} {script} does not answer")
            yield port
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)


def loads(port: int, bodies: list[bytes], seconds: float) -> dict[str, Any]:
    """Tallies by the number of clients, after a warm-up."""
    asyncio.run(Forms(port, bodies).closed(4, seconds / 4))
    return {str(count): asyncio.run(Forms(port, bodies).closed(count, seconds)).json() for count in CLIENTS}


def main() -> None:
    if not Path(PEERS).is_file():
        print("left out: it needs the peers of bench/peers.txt (BEHOLDER_PEERS)")
        return
    if (found := prepared()) is None:
        return
    bundle, folder = found
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 20.0
    bodies = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))[:64]]
    rows: dict[str, list[dict[str, Any]]] = {}
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 2
    with tempfile.TemporaryDirectory() as scratch:
        nets = {"onnxruntime": Path(bundle) / "model.onnx", "torch": Path(scratch) / "net.pt2"}
        made = ["export", bundle, "--to", "torch", "--out", str(nets["torch"])]
        subprocess.run([sys.executable, "-m", "beholder", *made], stdout=subprocess.DEVNULL, check=True)
        for _ in range(rounds):
            with serving(bundle, 5.0) as (_process, port, _began):
                rows.setdefault("beholder", []).append(loads(port, bodies, seconds))
            for (runtime, net), workers in itertools.product(nets.items(), (1, 2)):
                with peer(bundle, net, scratch, workers) as port:
                    rows.setdefault(f"litserve, {runtime}, {workers}", []).append(loads(port, bodies, seconds))
    for name, found in rows.items():
        for count in CLIENTS:
            rate = statistics.median(row[str(count)]["pictures_per_s"] for row in found)
            late = statistics.median(row[str(count)]["p99_ms"] for row in found)
            print(f"{name:>24}  {count} clients  {rate:7.1f} pictures/s  p99 {late:7.1f} ms", file=sys.stderr)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
