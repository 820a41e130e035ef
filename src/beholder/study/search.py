"""A search: candidates are screened on a slice, the best few go on from their checkpoints, and the best of these is the winner.

What a slice is, and on what it is spent, is the caller's: here are only the order of things, and the journal that survives a
kill at any moment. Source of the rule: R. Egele et al., "The unreasonable effectiveness of early discarding after one epoch in
neural network hyperparameter optimization", Neurocomputing 597 (2024).
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from beholder.base import events
from beholder.base.brief import without_secrets
from beholder.base.errors import MachineError, UsageError
from beholder.base.files import telling_disk_errors
from beholder.study.space import Params, Range, suggest

LOST = "the process ended while it ran: killed, or out of memory"

STARTUP = 4
"""Candidates with a result before Optuna draws by what it knows of them, and not at random."""


@dataclass(frozen=True)
class Job:
    """A slice of a candidate: recipe as TOML, factors on what its run plans, and where the slice ends.

    rung: 0 screening, 1 going on; seconds: of this slice; epochs: since the candidate's first step, 0: the seconds decide
    share: of the schedule, from its beginning; 0: one of the others decides
    """

    index: int
    recipe: str
    factors: Mapping[str, float]
    rung: int = 0
    seconds: float = 0.0
    epochs: float = 0.0
    share: float = 0.0


@dataclass(frozen=True)
class Slice:
    """What a slice gave.

    score: the best validation so far; cost: seconds of the slice; curve: (cost so far, score) of each validation
    done: whether the candidate's plan is at its end; failed: why there is no result; facts: of the model
    """

    score: float | None = None
    cost: float = 0.0
    curve: tuple[tuple[float, float], ...] = ()
    done: bool = False
    failed: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(values: Mapping[str, Any]) -> Slice:
        """Return the slice that JSON values say."""
        return Slice(**{**values, "curve": tuple((float(x), float(y)) for x, y in values.get("curve", ()))})


@dataclass(frozen=True)
class Candidate:
    """A candidate and its slices, the first of the screening; state: running | scored | failed."""

    index: int
    params: Params
    slices: tuple[Slice, ...]
    state: str

    @property
    def score(self) -> float | None:
        """Return its score after its last slice; None where it has none, or failed there."""
        last = self.slices[-1] if self.slices else Slice()
        return None if last.failed else last.score

    @property
    def rank(self) -> tuple[float, float, int]:
        """Return what candidates are sorted by, the best first: score, then the cheaper one, then the earlier."""
        facts = self.slices[0].facts if self.slices else {}
        return -(self.score if self.score is not None else -math.inf), float(facts.get("parameters", 0)), self.index


class Crew(Protocol):
    """Who carries out jobs, as many at a time as there are workers."""

    def run(self, jobs: Iterator[Job], took: Callable[[Job, Slice], None]) -> None:
        """Carry out the jobs, each asked for when a worker is free, and tell what came of each."""


@dataclass(frozen=True)
class Single:
    """A crew of this very process. work: carries out one job."""

    work: Callable[[Job], Slice]

    def run(self, jobs: Iterator[Job], took: Callable[[Job, Slice], None]) -> None:
        """Carry out the jobs one after the other."""
        for job in jobs:
            took(job, self.work(job))


class Book:
    """The journal of a study: Optuna's, in a file of JSON lines, a database, or memory. It belongs to one process at a time.

    place: a file, the URL of a database, or None; anew: whether what is there of this study is forgotten
    space: the ranges; seed: of the draws, which depend on it, on the number of the candidate and on what came before alone
    """

    def __init__(
        self,
        place: Path | str | None,
        name: str,
        *,
        space: Mapping[str, Range],
        seed: int,
        portfolio: Sequence[Params],
        anew: bool = False,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.path, self._space, self._seed = place if isinstance(place, Path) else None, space, seed
        self.place = without_secrets(str(place))
        storage = database(place) if isinstance(place, str) else None
        try:
            with telling_disk_errors(self.path or Path(self.place)):
                storage = storage or _storage(self.path)
                if anew and isinstance(place, str) and name in optuna.get_all_study_names(storage):
                    optuna.delete_study(study_name=name, storage=storage)
                self._study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
                trials = self._study.get_trials(deepcopy=False)
            self.new, self.before = not trials, sum(trial.state.is_finished() for trial in trials)
        except MachineError:
            raise
        except Exception as error:
            what = f"{self.place} is not a search that can be continued: {without_secrets(str(error))}"
            raise UsageError(what, code="bad-search", hint="give --no-resume to start anew") from error
        self._open: dict[int, Any] = {}
        self._first = dict(enumerate(portfolio))
        self._recover()

    def _recover(self) -> None:
        """Close what an earlier process left open: a result that was not told is; what was lost is tried once again."""
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False)
        begun = [trial for trial in trials if "index" in trial.user_attrs and self._space.keys() <= trial.params.keys()]
        losses = Counter(trial.user_attrs["index"] for trial in begun if not trial.user_attrs.get("left"))
        for trial in [trial for trial in trials if trial.state == TrialState.RUNNING]:
            index = trial.user_attrs.get("index")
            if "slice" in trial.user_attrs:
                self._tell(trial.number, Slice.of(trial.user_attrs["slice"]))
            elif trial in begun and losses[index] > 1:
                self._study.set_user_attr(f"slice {index} 0", asdict(Slice(failed=f"twice, {LOST}")))
                self._study.tell(trial.number, state=TrialState.PRUNED)
            else:
                self._study.tell(trial.number, state=TrialState.FAIL)
        self._first |= {trial.user_attrs["index"]: dict(trial.params) for trial in begun}

    def leave(self) -> None:
        """Write down that somebody asked to stop, so that what was running does not count as lost."""
        with suppress(Exception):  # a database or a disk that fails now; then it does count
            for trial in self._open.values():
                trial.set_user_attr("left", True)

    def ask(self) -> tuple[int, Params]:
        """Return a new candidate: the next of the portfolio, else what Optuna proposes by what is known."""
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False)
        begun = {trial.user_attrs.get("index") for trial in trials if trial.state not in (TrialState.FAIL, TrialState.WAITING)}
        index = next(number for number in count() if number not in begun)
        if index in self._first and not any(trial.state == TrialState.WAITING for trial in trials):
            self._study.enqueue_trial(self._first[index], user_attrs={"index": index})
        self._study.sampler = sampler(self._seed + 1000 * index)
        trial = self._study.ask()
        params = suggest(trial, self._space)
        trial.set_user_attr("index", index)
        self._open[index] = trial
        return index, params

    def take(self, job: Job, found: Slice) -> None:
        """Write down what a job gave; of the screening Optuna is told."""
        if job.rung:
            self._study.set_user_attr(f"slice {job.index} {job.rung}", asdict(found))
            return
        trial = self._open.pop(job.index)
        trial.set_user_attr("slice", asdict(found))
        self._tell(trial.number, found)

    def _tell(self, number: int, found: Slice) -> None:
        from optuna.trial import TrialState

        if found.score is None or found.failed:
            self._study.tell(number, state=TrialState.PRUNED)  # which the sampler takes as worse than any score
        else:
            self._study.tell(number, found.score)

    @property
    def candidates(self) -> list[Candidate]:
        """Return every candidate that was begun, by its number; what is tried again stands once."""
        from optuna.trial import TrialState

        more = self._study.user_attrs
        found: dict[int, Candidate] = {}
        for trial in self._study.get_trials(deepcopy=False):
            index = trial.user_attrs.get("index")
            if index is None or trial.state in (TrialState.WAITING, TrialState.FAIL):
                continue
            said = [trial.user_attrs.get("slice", more.get(f"slice {index} 0")), more.get(f"slice {index} 1")]
            slices = tuple(Slice.of(values) for values in said if values is not None)
            state = "running" if not trial.state.is_finished() else "failed" if slices and slices[-1].failed else "scored"
            found[index] = Candidate(index, dict(trial.params), slices, state)
        return [found[index] for index in sorted(found)]

    @property
    def ranked(self) -> list[Candidate]:
        """Return the candidates with a score, the best first: those that went on before all others."""
        scored = [each for each in self.candidates if each.score is not None]
        most = max((len(each.slices) for each in scored), default=0)
        return sorted(scored, key=lambda each: (len(each.slices) < most and not each.slices[-1].done, each.rank))

    @property
    def spent(self) -> float:
        """Return the seconds that a search which was cut off had taken; 0 where it came to its end."""
        return float(self._study.user_attrs.get("spent", 0.0))

    @property
    def finishing(self) -> int | None:
        """Return the candidate that was being finished; None where none was."""
        found = self._study.user_attrs.get("finishing")
        return None if found is None else int(found)

    def note(self, *, spent: float, finishing: int | None = None) -> None:
        """Write down how long the search has taken so far, and which candidate is being finished."""
        self._study.set_user_attr("spent", round(spent, 2))
        self._study.set_user_attr("finishing", finishing)

    def importance(self) -> dict[str, float]:
        """Return how much each field matters for the score of the screening, in 0..1; {} of fewer than `TELLING` scores."""
        import optuna

        scored = [trial for trial in self._study.get_trials(deepcopy=False) if trial.value is not None]
        if len(scored) < TELLING:
            return {}
        judge = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25, evaluate_on_local=True)
        try:
            found = optuna.importance.get_param_importances(self._study, evaluator=judge)
        except (ValueError, RuntimeError) as error:
            events.note(f"the importance of the fields is not known: {error}")
            return {}
        return {name: round(float(value), 4) for name, value in found.items() if math.isfinite(value)}


TELLING = 8
"""Scores from which on something is said of the importance of fields."""


def sampler(seed: int) -> Any:
    """Return Optuna's sampler with all of its arguments: releases have other defaults."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            n_startup_trials=STARTUP,
            n_ei_candidates=24,
            seed=seed % 2**32,
            multivariate=True,
            group=False,
            constant_liar=True,
        )


class _Held:
    """No lock of its own: the study holds the place of its bundle, and a lock that a kill leaves would be waited for."""

    def acquire(self) -> bool:
        """Return True: it is held."""
        return True

    def release(self) -> None:
        """Do nothing."""


def _storage(path: Path | None) -> Any:
    """Return where Optuna keeps a study: a journal of JSON lines, whose last one is cut off if a kill tore it."""
    if path is None:
        return None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    held: Any = _Held()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with path.open("r+b") as file:
                file.truncate(whole)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=held))


def database(url: str) -> Any:
    """Return Optuna's storage of trials in a database, such as postgresql://user:password@host/name or sqlite:///file.

    Raises `UsageError` (bad-storage, no-driver) and `MachineError` (no-storage), none of which says the password.
    """
    from optuna.storages import RDBStorage

    scheme, _, rest = url.partition("://")
    shown, driver = without_secrets(url), "postgresql+psycopg" if scheme in ("postgres", "postgresql") else scheme
    if not rest or not scheme:
        hint = "for example postgresql://user:password@host/name, or sqlite:///study.db"
        raise UsageError("storage is no URL of a database", code="bad-storage", hint=hint)
    try:
        return RDBStorage(f"{driver}://{rest}", engine_kwargs={"pool_pre_ping": True})
    except ImportError as error:
        hint = 'for PostgreSQL: pip install "psycopg[binary]"'
        raise UsageError(f"what speaks to {shown} is not installed", code="no-driver", hint=hint) from error
    except Exception as error:
        said = without_secrets(str(error)).partition("\n")[0][:200]
        raise MachineError(f"{shown} cannot be used: {said}", code="no-storage", hint="is it running?") from error


def unanswered(error: Exception) -> bool:
    """Return whether an error says that a database does not answer."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, (StorageInternalError, SQLAlchemyError))


@dataclass(frozen=True)
class Plan:
    """How a search goes.

    screen, narrow: length of a slice, in seconds, or with `epochs` in epochs from the first step on
    keep: candidates that go on; enough: whether no more are to be screened, given how many were begun; late: nor to go on
    """

    screen: float
    narrow: float
    keep: int
    epochs: bool
    enough: Callable[[int], bool]
    late: Callable[[], bool] = bool


def searched(
    book: Book,
    crew: Crew,
    plan: Plan,
    *,
    make: Callable[[Params], tuple[str, Mapping[str, float]]],
    told: Callable[[Candidate], None],
) -> Candidate | None:
    """Return the winner: candidates are screened until it is enough, and the best few go on; None where none came to a score.

    make: what its parameters make of a candidate; told: is given each candidate after a slice
    """

    def took(job: Job, found: Slice) -> None:
        book.take(job, found)
        told(next(each for each in book.candidates if each.index == job.index))

    def job(index: int, params: Params, rung: int, length: float) -> Job:
        recipe, factors = make(params)
        ends = {"epochs": length} if plan.epochs else {"seconds": length}
        return Job(index, recipe, factors, rung, **ends)

    def screening() -> Iterator[Job]:
        while not plan.enough(len(book.candidates)):
            yield job(*book.ask(), 0, plan.screen)

    def narrowing() -> Iterator[Job]:
        finalists = sorted((each for each in book.candidates if each.score is not None), key=_screened)[: plan.keep]
        for each in finalists if len(finalists) > 1 and plan.narrow > 0 else ():
            if len(each.slices) < 2 and not each.slices[-1].done and not plan.late():
                yield Job(**{**asdict(job(each.index, each.params, 1, plan.narrow)), "recipe": each.slices[0].facts["recipe"]})

    crew.run(screening(), took)
    crew.run(narrowing(), took)
    return next(iter(book.ranked), None)


def _screened(each: Candidate) -> tuple[float, float, int]:
    """Return what candidates are sorted by after the screening, whatever came later."""
    return Candidate(each.index, each.params, each.slices[:1], each.state).rank
