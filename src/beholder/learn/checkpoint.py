"""The run folder: what a run needs to go on where it stopped, written whole or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from beholder.base import events
from beholder.base.errors import UsageError
from beholder.base.files import adopt, check_writable, file_sha256, folder_atomic, remove_folder, sha256, sweep, write_atomic
from beholder.bundle.format import check_place
from beholder.learn.watch import Average, Best

Optimisers = dict[str, list[torch.optim.Optimizer]]
State = dict[str, Any]


class Due:
    """When something that costs time is to be done again: every so many seconds, but for `share` of the time at most."""

    def __init__(self, every: float, *, share: float = 0.02) -> None:
        self._every = every
        self._share = share
        self._next = time.monotonic() + every

    def __bool__(self) -> bool:
        return time.monotonic() >= self._next

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Do it inside the block; how long that takes decides when it is due again."""
        began = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + max(self._every, (ended - began) / self._share)


@dataclass(frozen=True)
class RunFolder:
    """`M.run/` beside the bundle M.beholder: run.json says of what, checkpoint/ holds the state."""

    path: Path

    @staticmethod
    def beside(bundle: Path) -> RunFolder:
        """Return the run folder of a bundle's path: M.run beside M.beholder."""
        return RunFolder(bundle.with_name(bundle.name.removesuffix(".beholder") + ".run"))

    def check(self) -> None:
        """Raise `UsageError` if something that is not a run folder of ours lies at its place: it is never deleted."""
        names = [entry.name for entry in self.path.iterdir()] if self.path.is_dir() else ["a file"]
        ours = "run.json" in names or all(name.startswith(".run.json.") for name in names)  # killed while it was made
        if self.path.exists() and not ours:
            raise UsageError(
                f"{self.path} is in the way: the run is kept there until its bundle is whole",
                code="place-taken",
                hint="move it, or choose another name with --out",
            )

    def begin(self, identity: dict[str, Any], *, resume: bool, machine: dict[str, str] | None = None) -> bool:
        """Start or continue a run; return whether there is a checkpoint to continue from.

        identity: what must not have changed in between: recipe, pictures, labels, split. Raises `UsageError` if it has.
        machine:  what may have changed, though then the same weights come out only nearly: device, precision, threads, …
        """
        self.check()
        file = self.path / "run.json"
        machine = machine or {}
        if resume and not self._whole():
            events.warn(f"{self.path} holds no checkpoint: the run starts from its beginning")
        elif resume:
            before = _read(file)
            changed = [name for name in identity if before.get(name) != identity[name]]
            if changed:
                raise UsageError(
                    f"{self.path} belongs to another run: {', '.join(changed)} changed",
                    code="other-run",
                    hint="give the same source and options as before, or leave --resume out to start anew",
                )
            _tell_changes(before.get("machine"), machine)
            return True
        elif self._whole():
            events.warn(f"an interrupted run in {self.path} is given up", hint="--resume would have gone on with it")
        self.discard()
        write_atomic(file, json.dumps({**identity, "machine": machine}, indent=1).encode())
        return False

    def _whole(self) -> bool:
        adopt(self.path / "checkpoint")
        return (self.path / "run.json").is_file() and (self.path / "checkpoint" / "state.json").is_file()

    def save(self, state: State, tensors: dict[str, Tensor]) -> None:
        """Write a checkpoint; the last good one is deleted only after the new one is whole."""
        data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
        with folder_atomic(self.path / "checkpoint") as folder:
            (folder / "state.safetensors").write_bytes(data)
            (folder / "state.json").write_bytes(json.dumps({**state, "sha256": sha256(data)}).encode())

    def load(self) -> tuple[State, dict[str, Tensor]]:
        """Return what `save` was given. Raises `UsageError` if it was damaged since."""
        folder = self.path / "checkpoint"
        file = folder / "state.safetensors"
        state = _read(folder / "state.json")
        if not file.is_file() or state.pop("sha256", "") != file_sha256(file):
            raise _damaged(folder)
        return state, load_file(file)

    def discard(self) -> None:
        """Delete the run folder, once its bundle is whole or the run starts anew; what is not ours stays."""
        sweep(self.path)
        if (self.path / "run.json").is_file():
            remove_folder(self.path)


def check_out(bundle: Path) -> None:
    """Raise `UsageError` (place-taken) or `MachineError` (cannot-write) where a bundle or its run cannot be written to."""
    check_place(bundle)
    check_writable(bundle)
    RunFolder.beside(bundle).check()


def _tell_changes(before: object, now: dict[str, str]) -> None:
    known = before if isinstance(before, dict) else {}
    changes = [f"{name} {known[name]} → {value}" for name, value in now.items() if name in known and known[name] != value]
    if changes:
        events.warn(f"the run goes on elsewhere ({', '.join(changes)}): bits may differ from those of an uninterrupted run")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(file.parent) from error
    if not isinstance(found, dict):
        raise _damaged(file.parent)
    return found


def _damaged(folder: Path) -> UsageError:
    return UsageError(f"the checkpoint in {folder} is damaged", code="damaged", hint="leave --resume out to start anew")


def pack(net: nn.Module, optimisers: Optimisers, average: Average | None, best: Best) -> dict[str, Tensor]:
    """Return all tensors of a run under flat names."""
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.net.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.weights.items()}
    for who, group in optimisers.items():
        for k, optimiser in enumerate(group):
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optim.{who}.{k}.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    return tensors


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return copies on the CPU that later steps do not change. The best weights are replaced, never changed: they stay."""
    return {name: value if name.startswith("best.") else value.detach().to("cpu", copy=True) for name, value in tensors.items()}


def unpack(tensors: dict[str, Tensor], net: nn.Module, optimisers: Optimisers, average: Average | None, best: Best) -> None:
    """Put copies of tensors that `pack` returned back where they came from."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    net.load_state_dict(under("net."))
    if average is not None:
        average.net.load_state_dict(under("average."))
    best.weights = under("best.")
    for who, group in optimisers.items():
        for k, optimiser in enumerate(group):
            states: dict[int, dict[str, Tensor]] = {}
            for name, value in under(f"optim.{who}.{k}.").items():
                index, _, field = name.partition(".")
                states.setdefault(int(index), {})[field] = value.clone()
            optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
            _lay_out(optimiser)


def _lay_out(optimiser: torch.optim.Optimizer) -> None:
    """Give every moment the memory layout of its parameter: fused kernels walk both in the order of memory."""
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)
