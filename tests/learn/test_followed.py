"""What the first rank tells the others: in which pieces pixels are sent, and what all ranks must have alike."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.learn import ranked

import beholder
from beholder.base.errors import UsageError
from beholder.base.files import sha256
from beholder.base.recipe import Recipe
from beholder.cli.run import run
from beholder.learn import followed, rank_cache
from beholder.learn.parallel import Alone
from beholder.machine.ranks import ALONE


@pytest.mark.parametrize(
    ("n", "shape", "sizes"),
    [
        (7, (3, 10, 10), [3, 3, 1]),  # 300 bytes each
        (6, (3, 10, 10), [3, 3]),
        (3, (1, 30, 30), [1, 1, 1]),  # a picture fills a piece
        (2, (3, 100, 100), [1, 1]),  # or is larger than one
        (2, (1, 1, 451), [1, 1]),
        (0, (3, 10, 10), []),
        (5, (0, 10, 10), [5]),
    ],
)
def test_pixels_are_sent_in_pieces_of_so_many_bytes(
    monkeypatch: pytest.MonkeyPatch, n: int, shape: tuple[int, int, int], sizes: list[int]
) -> None:
    monkeypatch.setattr(rank_cache, "PIECE", 900)
    found = rank_cache.pieces(n, shape)
    assert [len(rows) for rows in found] == sizes
    assert [row for rows in found for row in rows.tolist()] == list(range(n))


def test_pixels_that_were_sent_are_those_of_the_first_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_cache, "PIECE", 30)
    pixels = np.arange(5 * 12, dtype=np.uint8).reshape(5, 3, 2, 2)
    sent = iter([pixels[:2], pixels[2:4], pixels[4:]])

    def spread(values: torch.Tensor) -> torch.Tensor:
        return values.copy_(torch.from_numpy(next(sent)))

    found = rank_cache.Sent(SimpleNamespace(spread=spread), 5, (3, 2, 2))  # type: ignore[arg-type]
    assert (len(found), found.shape) == (5, (3, 2, 2))
    np.testing.assert_array_equal(found.take(np.array([4, 0])), pixels[[4, 0]])


class Batch:
    ranks: Any = None

    def __init__(self, batch: int, *, prunes: bool = False) -> None:
        self.batch, self.subset = batch, SimpleNamespace(prunes=prunes)


def test_nobody_computes_along_where_there_is_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "group", lambda: None)
    batches: Any = Batch(1, prunes=True)
    assert type(followed.team_of(None, [], batches)) is Alone  # type: ignore[arg-type]
    assert batches.ranks == ALONE


@pytest.mark.parametrize(
    ("batch", "prunes", "refused"),
    [(8, True, "follows the losses of one process"), (2, False, "a batch of 2 pictures cannot be shared by 3 processes")],
)
def test_several_ranks_refuse_what_they_cannot_do(
    monkeypatch: pytest.MonkeyPatch, batch: int, prunes: bool, refused: str
) -> None:
    among = SimpleNamespace(ranks=SimpleNamespace(world=3))
    monkeypatch.setattr(followed, "group", lambda: among)
    with pytest.raises(UsageError, match=refused) as error:
        followed.team_of(None, [], Batch(batch, prunes=prunes))  # type: ignore[arg-type]
    assert error.value.code == "one-rank"
    assert error.value.hint


def test_a_batch_of_one_picture_for_each_rank_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    among = SimpleNamespace(ranks=SimpleNamespace(world=3), lost=False)
    monkeypatch.setattr(followed, "group", lambda: among)
    batches: Any = Batch(3)
    prepared: Any = SimpleNamespace(created=SimpleNamespace(net=torch.nn.Linear(1, 1)))
    found = followed.team_of(prepared, [], batches)
    assert found.share(torch.zeros(1, 2)) == pytest.approx(1 / 3)
    assert batches.ranks is among.ranks
    opened: list[object] = []
    monkeypatch.setattr(followed, "_open", lambda *given: opened.extend(given))
    found._opened()  # type: ignore[attr-defined]
    assert opened == [among, prepared, [], batches, None]
    monkeypatch.setattr(followed, "group", lambda: None)
    left, count = found._remaining()  # type: ignore[attr-defined]
    assert (type(left), count, among.lost) == (Alone, 1, True)


def test_ranks_are_alike_in_versions_sources_and_what_is_a_persons_own() -> None:
    plain = followed.identity("cnn", "single")
    assert set(plain) == {"beholder", "torch", "sources"}
    assert plain["torch"] == torch.__version__
    assert len(plain["sources"]) == 16
    assert set(followed.identity("timm:resnet18", "single")) == set(plain)
    own = followed.identity("tests.learn.ranked:net", "tests.learn.ranked:TASK")
    assert set(own) == {*plain, "net", "task"}
    assert own["net"] == own["task"] == sha256(Path(ranked.__file__).read_bytes())[:16]


PRUNED, SMALL = {"subset": "prune:0.5"}, {"batch": 2}


@pytest.mark.parametrize(
    ("fields", "launch", "started", "refused"),
    [
        (PRUNED, "", 0, ""),
        (PRUNED, "local:1", 0, ""),
        (PRUNED, "local:2", 0, "losses of one process"),
        (PRUNED, "ray", 0, "losses of one process"),
        (PRUNED, "", 2, "losses of one process"),
        ({"subset": "random:0.5"}, "local:2", 0, ""),
        (SMALL, "local:2", 0, ""),
        (SMALL, "local:3", 0, "a batch of 2 pictures cannot be shared by 3 processes"),
        (SMALL, "", 3, "a batch of 2 pictures cannot be shared by 3 processes"),
        ({}, "local:64", 0, ""),
    ],
)
def test_what_processes_cannot_do_together_is_known_beforehand(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], launch: str, started: int, refused: str
) -> None:
    """started: processes that torchrun started."""
    monkeypatch.setattr(followed, "group", lambda: SimpleNamespace(ranks=SimpleNamespace(world=started)) if started else None)
    recipe = Recipe().set(**fields)
    if not refused:
        followed.check_together(recipe, launch)
        return
    with pytest.raises(UsageError, match=refused) as error:
        followed.check_together(recipe, launch)
    assert (error.value.code, bool(error.value.hint)) == ("one-rank", True)


def unreadable(folder: Path) -> Path:
    """Twenty files in two classes, none of which is a picture."""
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            (folder / name / f"{number}.png").write_bytes(b"x")
    return folder


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize("kind", ["prune", "batch", "boxes"])
def test_it_is_refused_in_one_message_before_a_picture_is_decoded_or_a_process_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, more: list[str]
) -> None:
    monkeypatch.setattr(followed, "local", lambda *_: pytest.fail("started"))
    folder, asked = unreadable(tmp_path / "set"), {"prune": ["--set", "train.subset=prune:0.5"], "batch": ["--batch", "2"]}
    if kind == "boxes":
        rows = "".join(f"a/{number}.png,nut,1,1,5,5\n" for number in range(10))
        (folder / "boxes.csv").write_text("path,label,xmin,ymin,xmax,ymax\n" + rows)
        folder = folder / "boxes.csv"
    assert run(["train", str(folder), "--launch", "local:3", *asked.get(kind, []), *more]) == 2
    told = capsys.readouterr().err
    assert told.count("error: ") == told.count("hint: ") == 1
    assert ("a detector is trained by one process" in told) == (kind == "boxes")
    assert "Traceback" not in told


def test_parts_are_not_read_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "local", lambda *_: pytest.fail("started"))
    parts = beholder.split(beholder.scan(unreadable(tmp_path / "set")), seed=0, near=False)
    for fields in (PRUNED, SMALL):
        with pytest.raises(UsageError) as error:
            beholder.train(parts, launch="local:3", **fields)
        assert error.value.code == "one-rank"


@pytest.mark.parametrize(
    ("launch", "started", "refused"),
    [("", 0, ""), ("local:1", 0, ""), ("local:2", 0, "leave --launch out"), ("", 2, "start it once, without torchrun")],
)
def test_a_detector_is_trained_by_one_process(launch: str, started: int, refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "group", lambda: SimpleNamespace(ranks=SimpleNamespace(world=started)) if started else None)
    if not refused:
        followed.one_process(launch)
        return
    with pytest.raises(UsageError) as error:
        followed.one_process(launch)
    assert (error.value.code, error.value.hint) == ("one-rank", refused)


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_one_process_trains_is_refused_where_torchrun_has_started_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    """Before a picture is decoded: none of these is one."""
    monkeypatch.setattr(followed, "group", lambda: SimpleNamespace(ranks=SimpleNamespace(world=2)))
    folder = unreadable(tmp_path / "set")
    rows = "".join(f"a/{number}.png,nut,1,1,5,5\n" for number in range(10))
    (folder / "boxes.csv").write_text("path,label,xmin,ymin,xmax,ymax\n" + rows)
    boxes = beholder.scan(folder / "boxes.csv")
    for what, work in {
        "a generative model": lambda: beholder.generate(folder, dry_run=dry_run),
        "a detector": lambda: beholder.steps(boxes, dry_run=dry_run),
    }.items():
        with pytest.raises(UsageError, match=f"{what} is trained by one process") as error:
            work()
        assert error.value.code == "one-rank"


@pytest.mark.slow
def test_a_process_whose_first_one_is_killed_before_they_meet_ends(tmp_path: Path) -> None:
    """By the store alone it would be noticed after `MEETING`."""
    (tmp_path / "first.py").write_text(
        "import socket, time\n"
        "from beholder.machine import launch\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "print(launch._child(1, 2, server.getsockname()[1], 1).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, str(tmp_path / "first.py")], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        child = int(first.stdout.readline())
        first.kill()
    until = time.monotonic() + 60
    while (there := alive(child)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not there


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
