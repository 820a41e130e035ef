"""The run folder: what a run needs to go on where it stopped, written whole or not at all."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from beholder.base import events
from beholder.base.errors import UsageError
from beholder.base.files import (
    check_writable,
    file_sha256,
    folder_atomic,
    followed,
    recover,
    remove_folder,
    sha256,
    sweep,
    write_atomic,
)
from beholder.base.locks import check_free
from beholder.base.recipe import from_toml
from beholder.bundle.format import check_place
from beholder.learn.monitors import Player

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
            before = _current(_read(file))
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
            events.warn(f"an interrupted run in {self.path} is discarded", hint="--resume would have continued it")
        self.discard()
        write_atomic(file, json.dumps({**identity, "machine": machine}, indent=1).encode())
        return False

    def restore(self) -> None:
        """Put back what a kill left moved aside, the folder or its checkpoint; what has a whole replacement is deleted."""
        recover(self.path)
        recover(self.path / "checkpoint")

    def _whole(self) -> bool:
        self.restore()
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

    def renew(self, machine: dict[str, str]) -> None:
        """Write anew what the weights of a run depend on besides its identity, once all of it is chosen."""
        file = self.path / "run.json"
        write_atomic(file, json.dumps({**_read(file), "machine": machine}, indent=1).encode())

    def keep(self, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep arrays that a resumed run goes on with.

        sample: which pictures a run takes that has no time for all, part → digests uint8 (M, 32); head: its head on features;
        parts: in which part each picture of the source is, and how it is labelled and grouped;
        heard, luck: what a candidate said of which validation pictures, and by how much the chosen one looks too good
        taught: what a teacher said of which pictures; joined: which pictures without labels joined, and with which
        validation: count, by how many pictures a VAE is scored
        """
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]  # names of arrays are none of its options
        write_atomic(self.path / f"{name}.npz", buffer.getvalue())

    def decide(self, decided: Mapping[str, Any]) -> None:
        """Keep what was decided before training by what there was time for, as JSON values: the run resumes with that."""
        write_atomic(self.path / "decided.json", json.dumps(decided).encode())

    def decided(self) -> dict[str, Any]:
        """Return what `decide` was given; {} where there is none. Raises `UsageError` if it is damaged."""
        file = self.path / "decided.json"
        return _read(file) if self._whole() and file.is_file() else {}

    def kept(self, name: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return what `keep` was given; None where that is nothing. Raises `UsageError` if it is damaged."""
        file = self.path / f"{name}.npz"
        if not self._whole() or not file.is_file():
            return None
        try:
            with np.load(file, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
            raise _damaged(self.path) from error

    def chosen(self) -> dict[str, str]:
        """Return the `machine` that the run to go on with began with; {} where there is none."""
        known = _read(self.path / "run.json").get("machine", {}) if self._whole() else {}
        return {str(name): str(value) for name, value in known.items()} if isinstance(known, dict) else {}

    def discard(self) -> None:
        """Delete the run folder, once its bundle is whole or the run starts anew; what is not ours stays."""
        self.restore()
        sweep(self.path)
        if (self.path / "run.json").is_file():
            remove_folder(self.path)


WRITE_EVERY = 20.0
"""Seconds between two checkpoints on disk; more where writing one is slow (`Due`)."""

REMEMBER_EVERY = 1.0
"""Seconds between two copies in memory, to which a loss that is not finite leads back."""


@dataclass
class Saves:
    """What is kept of a run. good: its last state known to be sound; unkept: whether that is only in memory as yet."""

    folder: RunFolder | None
    good: tuple[State, dict[str, Tensor]] | None = None
    unkept: bool = False
    written: Due = field(default_factory=lambda: Due(WRITE_EVERY))
    remembered: Due = field(default_factory=lambda: Due(REMEMBER_EVERY))

    def remember(self, state: State, tensors: dict[str, Tensor]) -> None:
        """Keep a sound state in memory."""
        self.good, self.unkept = (state, tensors), True

    def keep(self) -> None:
        """Keep the last sound state on disk, if it is not there already."""
        if self.folder is not None and self.good is not None and self.unkept:
            self.folder.save(*self.good)
            self.unkept = False


def placed(out: str | Path | None) -> Path | None:
    """Return where a bundle will be written, None for nowhere; raises what `check_out` does."""
    path = None if out is None else followed(Path(out))
    if path is not None:
        check_out(path)
    return path


def check_out(bundle: Path) -> None:
    """Raise `UsageError` (place-taken, in-use) or `MachineError` (cannot-write) where a bundle or its run cannot be written."""
    check_free(bundle)
    check_place(bundle)
    check_writable(bundle)
    RunFolder.beside(bundle).check()


def _tell_changes(before: object, now: dict[str, str]) -> None:
    known = before if isinstance(before, dict) else {}
    changes = [f"{name} {known[name]} → {value}" for name, value in now.items() if name in known and known[name] != value]
    if changes:
        events.warn(f"the machine has changed ({', '.join(changes)}): bits may differ from those of an uninterrupted run")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(file.parent) from error
    if not isinstance(found, dict):
        raise _damaged(file.parent)
    return found


def _current(known: dict[str, Any]) -> dict[str, Any]:
    """Return what a run is of, with the current names of the recipe's fields: an earlier release may have begun it."""
    try:
        return {**known, "recipe": from_toml(str(known.get("recipe")), done=True).toml()}
    except UsageError:
        return known


def _damaged(folder: Path) -> UsageError:
    return UsageError(f"the checkpoint in {folder} is damaged", code="damaged", hint="leave --resume out to start anew")


def pack(net: nn.Module, players: Mapping[str, Player]) -> dict[str, Tensor]:
    """Return all tensors of a run under flat names."""
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    for who, player in players.items():
        if player.average is not None:
            tensors |= {f"average.{who}.{name}": value for name, value in player.average.net.state_dict().items()}
        if player.best is not None:
            tensors |= {f"best.{who}.{name}": value for name, value in player.best.weights.items()}
        for k, optimiser in enumerate(player.optimisers):
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optim.{who}.{k}.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    return tensors


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return copies on the CPU that later steps do not change. The best weights are replaced, never changed: they stay."""
    return {name: value if name.startswith("best.") else value.detach().to("cpu", copy=True) for name, value in tensors.items()}


def unpack(tensors: dict[str, Tensor], net: nn.Module, players: Mapping[str, Player], *, best: bool = True) -> None:
    """Put copies of tensors that `pack` returned back where they came from; best: the best weights, too."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    net.load_state_dict(under("net."))
    for who, player in players.items():
        if player.average is not None:
            player.average.net.load_state_dict(under(f"average.{who}."))
        if best and player.best is not None:
            player.best.weights = under(f"best.{who}.")
        for k, optimiser in enumerate(player.optimisers):
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
