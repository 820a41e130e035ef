"""Who carries out the slices of a search: this process, several, those of a cluster, or of machines that join."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from beholder.base.errors import UsageError
from beholder.machine.launch import Launch, launched
from beholder.study.crew import Processes, at_a_time
from beholder.study.crew_ray import tasks
from beholder.study.crew_shared import shared
from beholder.study.search import Crew, Single
from beholder.study.trial import Field, advanced


def where(workers: int, launch: str, *, join: bool = False) -> Launch:
    """Return where slices are carried out; join: for a search that another machine leads.

    Raises `UsageError` (two-launches) where both say so, (bad-launch), and (join-cluster) where a cluster is to join.
    """
    if workers > 1 and launch:
        what = f"--workers {workers} and --launch {launch} both say where trials are carried out"
        raise UsageError(what, code="two-launches", hint=f"--workers {workers} is --launch local:{workers}")
    found = launched(launch) if launch else Launch("local", workers)
    if join and found.kind == "ray":
        hint = "give --launch ray where the search is led, or --join on each machine"
        raise UsageError("a cluster cannot join a search", code="join-cluster", hint=hint)
    return found


@contextmanager
def crew(on: Field, launch: Launch, *, batch: int, offer: Callable[[], None], kept: bool) -> Iterator[Crew]:
    """Yield who carries out slices; with one GPU, which several would have to share, this process and those that join.

    batch: of the recipe as it is; offer: writes what others need
    kept: whether the study has a place where others can join it
    """
    if launch.kind == "ray":
        offer()
        with tasks(on.folder, launch.count, batch) as found:
            yield found
        return
    own: Crew = Single(lambda job: advanced(on, job))
    if (count := at_a_time(launch.count)) > 1:
        offer()
        own = Processes(on.folder, count, batch)
    with shared(own, on.folder, batch, offer) if kept else nullcontext(own) as among:
        yield among
