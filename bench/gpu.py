"""What a GPU is for: agreement with the CPU, training against a bare compiled loop, compiling, decoding. See bench/gpu.sh.

    bench/gpu.sh [--cpu] [--only NAME …] [--seconds N]

Each part is a process of its own with a limit of its own, so that none takes the others' time; all together take less than
nine minutes. A figure is a line of JSON as soon as it is known; a table of all stands at the end. `--cpu` runs every part on
the CPU with tiny sizes: it tests the script, its figures say nothing. Needs torch, torchvision and timm; no pictures, no
weights and no network: pictures are drawn, weights are random, as speed depends on neither.

BEHOLDER_AIRBENCH: the path of K. Jordan's airbench94_muon.py (default bench/out/); without it its part is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ENOUGH = 525.0
"""Seconds that all parts may take together."""

LIMITS = {
    "device": 45,
    "waits": 60,
    "agree": 60,
    "finetune": 170,
    "sprint": 80,
    "airbench": 240,
    "contracts": 80,
    "decode": 40,
    "train": 60,
    "compile": 90,
}
"""Seconds that a part may take, in the order in which they run: the last ones go short where the first ones are slow."""

PEAKS = {
    "B200": 2250.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
    "V100": 125.0,
    "T4": 65.0,
}
"""TFLOP/s of dense bf16 (V100 and T4: fp16) products by the makers' data sheets; the first name that occurs in the device's."""


TINY = "--cpu" in sys.argv
"""Whether sizes are tiny: then no figure is judged."""


def told(figure: str, **values: Any) -> None:
    """Print one figure as a line of JSON: floats in four significant digits."""
    rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in values.items()}
    if TINY:
        rounded.pop("ok", None)
    print(json.dumps({"figure": figure, **rounded}), flush=True)


def sheet(name: str) -> float:
    """Return the TFLOP/s that a device of that name has by its data sheet, 0 for one that is not in the table."""
    return next((value for key, value in PEAKS.items() if key.lower() in name.lower()), 0.0)


def there() -> bool:
    """Return whether there is a GPU, without taking any of its memory."""
    import torch

    return bool(torch.cuda.is_available() or torch.backends.mps.is_available())


def where(cpu: bool) -> Any:
    """Return the device that is measured."""
    import torch

    from beholder.machine.device import device

    on = torch.device("cpu") if cpu else device()
    if not cpu and on.type == "cpu":
        sys.exit("there is no GPU here; --cpu tests the script")
    return on


def device(cpu: bool) -> None:
    """What the device is, and what it can do at most."""
    import torch

    from beholder.machine.chip import name
    from beholder.machine.device import free_memory, precision
    from beholder.machine.devices import kind
    from beholder.machine.peak import peak

    on = where(cpu)
    found = precision(on)
    best = peak(on, found.dtype, seconds=0.1 if cpu else 1.0) / 1e12
    told(
        "device",
        name=name(on),
        kind=on.type,
        torch=torch.__version__,
        cores=os.cpu_count(),
        free_gib=free_memory(on) / 2**30,
        precision=found.name,
        reason=found.reason,
        sheet_tflops=sheet(name(on)),
        products_tflops=best,
        compiles=kind(on).compiles,
    )


def agree(cpu: bool) -> None:
    """How far logits in each precision are from float32 on the CPU, beside what is allowed."""
    import copy

    import torch

    sys.path.insert(0, str(ROOT))
    from tests.contracts.tolerances import LOGITS, PROBABILITIES, apart

    from beholder.machine import devices

    on = where(cpu)
    names = ["fastnet", "resnet", *([] if cpu else ["timm:resnet50", "timm:vit_small_patch16_224"])]
    for name in names:
        side = 224 if name.startswith("timm:") else 32
        net = built(name, side).eval()
        images = torch.rand(8, 3, side, side, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            wanted = net(images)
            own = copy.deepcopy(net).to(on)
            for kind, dtype in (("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
                with devices.ieee():
                    torch.backends.cudnn.allow_tf32 = kind != "fp32"
                    with devices.autocast(on, dtype):
                        found = own(images.to(on)).float().cpu()
                p = float((found.softmax(1) - wanted.softmax(1)).abs().max())
                fits = apart(found, wanted) <= LOGITS[kind] and p <= PROBABILITIES[kind]
                told("agree", net=name, precision=kind, logits=apart(found, wanted), allowed=LOGITS[kind], p=p, ok=fits)


def built(name: str, side: int, classes: int = 10) -> Any:
    """Return a net with random weights."""
    from beholder.nets.build import build
    from beholder.nets.spec import NetSpec

    return build(NetSpec(name, 3, side, side, classes, width=0.25 if TINY and ":" not in name else 1.0), seed=0)


class Drawn:
    """Pictures drawn at random, in memory, as `Batches` reads them."""

    def __init__(self, n: int, side: int) -> None:
        import numpy as np

        self.array = np.random.default_rng(0).integers(0, 256, (n, 3, side, side), dtype=np.uint8)
        self.shape = (3, side, side)

    def __len__(self) -> int:
        return len(self.array)

    def take(self, positions: Any) -> Any:
        return self.array[positions]


class Rig:
    """One net to train, by our loop and by a bare one: the same pictures, optimiser, precision and compiler.

    memory: bytes of pixels that may stay on the device
    """

    def __init__(self, name: str, *, side: int, batch: int, n: int, on: Any, rule: str, plan: str, grow: float = 1.0) -> None:
        from beholder.machine.device import precision

        self.name, self.side, self.batch, self.on, self.rule, self.grow = name, side, batch, on, rule, grow
        self.plan, self.memory = plan, 1 << 40
        self._made: dict[str, tuple[Any, Any]] = {}
        self.precision = precision(on)
        self.pixels = Drawn(n, side)

    def net(self) -> Any:
        import torch

        return built(self.name, self.side).to(self.on).to(memory_format=torch.channels_last)

    def optimisers(self, net: Any) -> Any:
        from beholder.base.choices import OPTIMISERS
        from beholder.learn.optim import optimiser
        from beholder.nets.features import head

        rate = OPTIMISERS.load(self.rule).rate_at(self.batch)
        import torch

        bf16 = self.precision.dtype is torch.bfloat16
        return optimiser(
            net, self.rule, lr=0.1 * rate, momentum=0.9, weight_decay=0.01, head=head(net), batch=self.batch, bf16=bf16
        )

    def batches(self, *, varied: bool) -> Any:
        import torch

        from beholder.data.augment import preset
        from beholder.data.loader import Batches

        plan = preset(self.plan if varied else "none", size=self.side)
        targets = torch.eye(10)[torch.arange(len(self.pixels)) % 10]
        how: dict[str, Any] = {"batch": self.batch, "seed": 0, "device": self.on, "mean": (0.5,) * 3, "std": (0.25,) * 3}
        return Batches(self.pixels, targets, plan=plan, memory=self.memory, **how)

    def made(self, mode: str) -> tuple[Any, Any]:
        """Return a net, and what the forward pass calls: the same for all loops, as compiling takes long."""
        if mode not in self._made:
            net = self.net()
            self._made[mode] = net, self.compiled(net, mode)
        return self._made[mode]

    def compiled(self, net: Any, mode: str) -> Any:
        """Return what the forward pass calls. mode: eager, default, or a mode of torch.compile."""
        import torch

        from beholder.machine.compile import compiled

        if mode == "eager":
            return net
        images = torch.zeros(self.batch, 3, self.side, self.side, device=self.on)
        if mode == "default":
            found = compiled(net, images, self.precision, asked="yes")
            told("compiled", net=self.name, ok=found.model is not net)
            return found.model
        return torch.compile(net, dynamic=False, mode=mode)

    def ours(self, mode: str, *, varied: bool) -> Callable[..., float]:
        """Return a function: steps → seconds a step of our loop, as `learn/run.py` puts it together.

        varied: whether it augments and averages, as it does by itself; between: called as the clock starts, and as it stops
        """
        net, model = self.made(mode)
        made = self.optimisers(net)

        def timed(steps: int, between: Sequence[Callable[[], Any]] = (float, float)) -> float:
            found = list[float]()
            self._run(net, model, made, steps + WARM, found, between, varied=varied).go()
            return (found[1] - found[0]) / steps

        return timed

    def _run(self, net: Any, model: Any, made: Any, steps: int, found: list[float], between: Any, *, varied: bool) -> Any:
        """Return a run of so many steps, which notes the time after the first `WARM`, and at its end."""
        from beholder.learn.checkpoint import Saves
        from beholder.learn.clock import Clock
        from beholder.learn.loop import Run, Settings
        from beholder.learn.monitors import Average, Guard, Player
        from beholder.learn.optim import trapezoid
        from beholder.machine.chip import settled
        from beholder.machine.device import scaler
        from beholder.machine.devices import kind
        from beholder.machine.stop import Stop
        from beholder.tasks import named

        batches = self.batches(varied=varied)
        clock = Clock(steps_per_epoch=len(batches), epochs=2 + steps // len(batches), seconds=0)

        def pause() -> bool:
            if clock.step == (WARM, steps, 0)[len(found)]:
                between[1]() if found else None
                settled(self.on)
                found.append(time.perf_counter())
                between[0]() if len(found) == 1 else None
            return clock.step >= steps

        settings = Settings(
            trapezoid, self.precision, smoothing=0.1, weights=None, clip=0.0, seed=0, grow=self.grow if varied else 1.0
        )
        return Run(
            net=net,
            model=model,
            scaler=scaler(self.on, self.precision),
            turns=named("single").turns,
            players={"net": Player(net, made, Average(net, 0.999) if varied else None)},
            batches=batches,
            validation=None,
            clock=clock,
            settings=settings,
            saves=Saves(None),
            stop=Stop(),
            pause=pause,
            guard=Guard(eager=not kind(self.on).apart),
        )

    def bare(self, mode: str) -> Callable[[int], float]:
        """Return a function: steps → seconds a step of a loop that does the least: take, normalise, forward, backward, step."""
        import torch
        from torch.nn.functional import cross_entropy

        from beholder.machine.chip import settled
        from beholder.machine.device import autocast, steady

        net, model = self.made(mode)
        made = self.optimisers(net)
        pixels = torch.from_numpy(self.pixels.array).to(self.on)
        labels = torch.arange(len(pixels), device=self.on) % 10

        def step() -> None:
            some = torch.randint(len(pixels), (self.batch,), device=self.on)
            images = pixels[some].float().div_(255).sub_(0.5).div_(0.25).contiguous(memory_format=torch.channels_last)
            with autocast(self.on, self.precision):
                logits = model(images)
            cross_entropy(logits.float(), labels[some], label_smoothing=0.1).backward()
            for each in made:
                each.step()
                each.zero_grad(set_to_none=True)

        def timed(steps: int) -> float:
            net.train()
            with steady(self.on, one_shape=True):
                for _ in range(WARM):
                    step()
                settled(self.on)
                began = time.perf_counter()
                for _ in range(steps):
                    step()
                settled(self.on)
            return (time.perf_counter() - began) / steps

        return timed

    def flop(self) -> float:
        """Return the FLOP of a training step, by torch.utils.flop_counter."""
        from beholder.learn.profile import step_flop

        return float(self.batch * (step_flop(built(self.name, self.side), (3, self.side, self.side)) or 0))


WARM = 5
"""Steps before the clock starts: kernels are chosen in them."""


def in_turn(rig: Rig, steps: int, rounds: int, mode: str) -> None:
    """Time our loop against the bare one, in turn, and tell the ratio of their speeds and the share of the peak."""
    import statistics

    from beholder.machine.chip import name

    began = time.perf_counter()
    ways = {"bare": rig.bare(mode), "ours": rig.ours(mode, varied=True), "ours, nothing varied": rig.ours(mode, varied=False)}
    seen = [{way: timed(steps) for way, timed in ways.items()} for _ in range(rounds)]
    flop, best = rig.flop(), sheet(name(rig.on))
    for way in ways:
        seconds = statistics.median(row[way] for row in seen)
        told(
            "training",
            net=rig.name,
            way=way,
            mode=mode,
            batch=rig.batch,
            precision=rig.precision.name,
            ms_a_step=1e3 * seconds,
            pictures_a_second=rig.batch / seconds,
            tflops=flop / seconds / 1e12,
            mfu=flop / seconds / 1e12 / best if best else None,
            speed_over_bare=statistics.median(row["bare"] / row[way] for row in seen),
            ok=way != "ours" or statistics.median(row["bare"] / row[way] for row in seen) >= 0.9,
        )
    told("took", part=f"{rig.name}, {mode}", seconds=time.perf_counter() - began)


def finetune(cpu: bool) -> None:
    """Fine-tuning of two photo backbones in our loop against a bare compiled loop on resident pictures."""
    on = where(cpu)
    for name in ("timm:resnet50", "timm:vit_small_patch16_224"):
        name = ("timm:test_resnet" if "resnet" in name else "timm:test_vit") if cpu else name
        side, batch, n = (64, 8, 32) if cpu else (224, 128, 2048)
        rig = Rig(name, side=side, batch=batch, n=n, on=on, rule="adamw", plan="standard")
        in_turn(rig, 4 if cpu else 40, 2 if cpu else 3, "eager" if cpu else "default")


def sprint(cpu: bool) -> None:
    """The recipe for small pictures against a bare loop with its net and optimiser."""
    n, batch = (64, 16) if cpu else (50_000, 1000)
    rig = Rig("fastnet", side=32, batch=batch, n=n, on=where(cpu), rule="sphere", plan="light", grow=1.0)
    for mode in ("eager",) if cpu else ("eager", "default"):
        in_turn(rig, 4 if cpu else 100, 2 if cpu else 3, mode)


def compile_modes(cpu: bool) -> None:
    """What compiling and CUDA graphs cost and gain: seconds to the first step, and after how many steps they have paid."""
    on = where(cpu)
    small = Rig("fastnet", side=32, batch=16 if cpu else 1000, n=64 if cpu else 10_000, on=on, rule="sphere", plan="light")
    photo = Rig("timm:resnet50", side=224, batch=128, n=512, on=on, rule="adamw", plan="standard")
    for rig in (small,) if cpu else (small, photo):
        eager = first = 0.0
        for mode in ("eager",) if cpu else ("eager", "default", "reduce-overhead"):
            began = time.perf_counter()
            timed = rig.bare(mode)
            timed(1)
            ready = time.perf_counter() - began
            seconds = min(timed(4 if cpu else 40) for _ in range(2))
            eager, first = eager or seconds, first or ready
            gain = eager - seconds
            told(
                "compile",
                net=rig.name,
                mode=mode,
                batch=rig.batch,
                ms_a_step=1e3 * seconds,
                seconds_until_ready=ready,
                speed_over_eager=eager / seconds,
                pays_after_steps=round((ready - first) / gain) if gain > 0 else None,
            )


def waits(cpu: bool) -> None:
    """How often the host waits for the device in steps of our loop: PyTorch itself tells it."""
    import warnings

    import torch

    on, steps = where(cpu), 4 if cpu else 20
    for resident in (True, False):
        rig = Rig("fastnet", side=32, batch=16 if cpu else 256, n=64 if cpu else 5120, on=on, rule="sphere", plan="standard")
        rig.memory = resident << 40
        timed = rig.ours("eager", varied=True)
        timed(1)
        tell = [partial(torch.cuda.set_sync_debug_mode, mode) if on.type == "cuda" else float for mode in ("warn", "default")]
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            seconds = timed(steps, between=tell)
        seen = [str(each.message) for each in heard if "called a synchronizing" in str(each.message)]
        counted = len(seen) / steps if on.type == "cuda" else None
        told("waits", pixels="resident" if resident else "streamed", a_step=counted, ms_a_step=1e3 * seconds, ok=not counted)


def airbench(cpu: bool) -> None:
    """The published speed run against `sprint`, as both are, on CIFAR-10 where it is there, else on drawn pictures: seconds."""
    import tempfile

    import cifar

    if cpu or not Path(cifar.PEER).is_file():
        told("airbench", left_out="with --cpu" if cpu else f"there is no {Path(cifar.PEER).name} (BEHOLDER_AIRBENCH)")
        return
    import numpy as np
    import torch

    import beholder

    where(cpu)
    real = cifar.SOURCE.is_file()
    rng = np.random.default_rng(0)
    drawn = [(rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 10) for n in (50_000, 10_000)]
    (x, y), test = beholder.arrays(cifar.SOURCE) if real else drawn
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cifar10").mkdir()
        for part, (images, labels) in (("train", (x, y)), ("test", test)):
            held = {"images": torch.from_numpy(images), "labels": torch.from_numpy(labels)}
            torch.save(held | {"classes": [str(k) for k in range(10)]}, folder / "cifar10" / f"{part}.pt")
        peer = cifar.airbench(folder, "cuda", 0)
        told("airbench", who="airbench94_muon", real=real, **peer)
    found = []
    for how in ("no", "yes"):
        parts = beholder.split(beholder.scan((x, y)), seed=0, val=0.02, test=0.002, near=False)
        bundle = beholder.train(parts, recipe="sprint", compile=how)
        found.append(bundle.history[-1]["seconds"])
        accuracy = beholder.evaluate(bundle, beholder.scan(test)).scores.headline["accuracy"].value if real else None
        told("airbench", who="sprint", compile=how, real=real, seconds=found[-1], accuracy=accuracy)
        ratio = found[-1] / peer["seconds"]
        told(
            "airbench",
            who="sprint over airbench94_muon",
            compile=how,
            real=real,
            ratio=ratio,
            ok=min(found) <= 1.1 * peer["seconds"],
        )


def contracts(cpu: bool) -> None:
    """The contract suite of devices, by pytest where that is installed: tests passed and failed."""
    import importlib.util
    import re

    where(cpu)
    if importlib.util.find_spec("pytest") is None:
        told("contracts", left_out="pytest is not installed; the part `agree` compares nets without it")
        return
    suite = ["-p", "tests.contracts.conftest", "--noconftest", "tests/contracts/test_devices.py"]
    how = ["-q", "-c", os.devnull, "--rootdir", str(ROOT), "--import-mode=importlib", "-p", "no:cacheprovider"]
    done = subprocess.run([sys.executable, "-m", "pytest", *how, *suite], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR", "E  ")):
            print(line, file=sys.stderr)
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout.splitlines()[-1])}
    told("contracts", **counts, ok=done.returncode == 0)


def train(cpu: bool) -> None:
    """The verbs from end to end on the device: train, evaluate, explain; detect and generate where there is time."""
    import numpy as np

    import beholder

    on, rng = where(cpu), np.random.default_rng(0)
    n = 300 if cpu else 4000
    y = np.arange(n) % 10
    x = np.clip(rng.normal(0, 30, (n, 32, 32, 3)) + 20 + 22 * y[:, None, None, None], 0, 255).astype(np.uint8)
    parts = beholder.split(beholder.scan((x, y)), seed=0, near=False)
    for net in ("fastnet",) if cpu else ("fastnet", "timm:resnet18"):
        began = time.perf_counter()
        how: dict[str, Any] = {"recipe": "sprint", "batch": 50} if net == "fastnet" else {"weights": "none", "size": 64}
        bundle = beholder.train(parts, net=net, epochs=2 if cpu else 6, flip="none", compile="no", **how)
        scores = beholder.evaluate(bundle, parts.test).scores
        heat = beholder.explain(bundle, x[3]).heat
        accuracy = scores.headline["accuracy"].value
        fits = bool(np.isfinite(heat).all()) and accuracy > 0.5
        told("train", net=net, on=on.type, accuracy=accuracy, seconds=time.perf_counter() - began, ok=fits)


def decode(cpu: bool) -> None:
    """Pictures a second that all cores decode and that a stream of decoded ones gives, against what nets eat."""
    import io
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from PIL import Image

    from beholder import image
    from beholder.base.records import PixelPolicy

    on, cores = where(cpu), os.cpu_count() or 1
    rng, jpeg = np.random.default_rng(0), io.BytesIO()
    coarse = Image.fromarray(rng.integers(0, 256, (47, 63, 3), dtype=np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
    coarse.save(jpeg, "JPEG", quality=90)
    data, policy, count = jpeg.getvalue(), PixelPolicy(224, 224), 40 if cpu else 400 * cores
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(lambda _: image.load(data, policy), range(cores)))
        began = time.perf_counter()
        list(pool.map(lambda _: image.load(data, policy), range(count)))
        decoded = count / (time.perf_counter() - began)
    by = "simplejpeg" if "simplejpeg" in sys.modules else "pillow"
    told("decode", what=f"JPEG 500x375 to 224x224, {by}", cores=cores, kb=len(data) / 1e3, pictures_a_second=decoded)
    streamed = _streamed(on, *((8, 32) if cpu else (128, 2048)))
    told("decode", what="decoded pictures from memory, copied, varied", pictures_a_second=streamed)
    name, side, batch, n = ("timm:test_resnet", 64, 8, 32) if cpu else ("timm:resnet50", 224, 128, 512)
    rig = Rig(name, side=side, batch=batch, n=n, on=on, rule="adamw", plan="standard")
    eaten = rig.batch / rig.ours("eager", varied=True)(4 if cpu else 20)
    told("decode", what=f"{name} trains, not compiled", pictures_a_second=eaten)
    told("decode", what="decoding over training", ratio=decoded / eaten, ok=decoded >= eaten)
    told("decode", what="streaming over training", ratio=streamed / eaten, ok=streamed >= eaten)


def _streamed(on: Any, batch: int, n: int) -> float:
    """Return the pictures a second of batches that do not stay on the device."""
    from beholder.machine.chip import settled

    rig = Rig("fastnet", side=224, batch=batch, n=n, on=on, rule="adamw", plan="standard")
    rig.memory = 0
    made = rig.batches(varied=True)
    for epoch in range(2):  # in the first one, memory is found
        began = time.perf_counter()
        for _ in made.epoch(epoch):
            pass
        settled(on)
    return len(made) * batch / (time.perf_counter() - began)


PARTS: dict[str, Callable[[bool], None]] = {
    "device": device,
    "waits": waits,
    "agree": agree,
    "finetune": finetune,
    "sprint": sprint,
    "airbench": airbench,
    "contracts": contracts,
    "decode": decode,
    "train": train,
    "compile": compile_modes,
}


def lines_of(name: str, *, cpu: bool, seconds: float) -> Iterator[dict[str, Any]]:
    """Run one part in a process of its own, and yield its figures as they come; the last says how it ended."""
    began = time.monotonic()
    command = [sys.executable, __file__, "--part", name, *(["--cpu"] if cpu else [])]
    command = ["timeout", "-k", "5", f"{seconds:.0f}", *command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        for line in child.stdout or ():
            print(line, end="", flush=True)
            try:
                yield json.loads(line)
            except ValueError:
                continue
    code = child.returncode
    took = round(time.monotonic() - began, 1)
    end = {"figure": "part", "part": name, "seconds": took, "ended": {0: "whole", 124: "out of time"}.get(code, f"exit {code}")}
    print(json.dumps(end), flush=True)
    yield end


def table(rows: list[dict[str, Any]]) -> str:
    """Return all figures as a table in Markdown: a row each, what is not ok with an exclamation mark."""
    lines = ["| figure | values | |", "|---|---|---|"]
    for row in rows:
        values = ", ".join(f"{key} {value}" for key, value in row.items() if key not in ("figure", "ok") and value is not None)
        lines.append(f"| {row['figure']} | {values} | {'' if row.get('ok', True) else '!'} |")
    return "\n".join(lines)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--cpu", action="store_true", help="every part on the CPU, with tiny sizes: a test of the script")
    asked.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    asked.add_argument("--seconds", type=float, default=ENOUGH, help="that all parts may take together")
    asked.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.part:
        PARTS[options.part](options.cpu)
        return 0
    if not options.cpu and not there():
        print("left out: there is no GPU here (--cpu tests the script)")
        return 0
    began, rows = time.monotonic(), list[dict[str, Any]]()
    for name in options.only:
        left = options.seconds - (time.monotonic() - began)
        if left < 10:
            rows.append({"figure": "part", "part": name, "ended": "not begun: no time was left", "ok": False})
            continue
        rows += lines_of(name, cpu=options.cpu, seconds=min(left, 6 * LIMITS[name] if options.cpu else LIMITS[name]))
    print("\n" + table(rows))
    broken = [row for row in rows if not row.get("ok", True) or row.get("ended", "whole") != "whole"]
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
