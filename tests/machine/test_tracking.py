"""The numbers of a run, read back by the trackers' own libraries from stores in a folder; nothing is sent anywhere."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import beholder
from beholder.base import events
from beholder.base.errors import Interrupted, MachineError, UsageError
from beholder.base.events import Event
from beholder.cli.run import run
from beholder.machine import tracking

Draw = Callable[[Path], Path]


@pytest.fixture
def scalars() -> Callable[[Path], dict[str, list[tuple[int, float]]]]:
    """What TensorBoard itself reads from a folder: tag → (step, value)."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
        found = accumulator.EventAccumulator(str(folder)).Reload()
        return {tag: [(row.step, row.value) for row in found.Scalars(tag)] for tag in found.Tags()["scalars"]}

    return read


def broken_off(sink: str, error: BaseException) -> None:
    """Tell a sink of one step, and end as a run does that raises `error`."""

    def work() -> None:
        with beholder.listen(sink, alone=True):
            events.progress("training", 3, 10, step=3, loss=0.25)
            raise error

    with pytest.raises(type(error)):
        work()


def test_tensorboard_reads_the_numbers_of_a_run(scalars: Any, draw: Draw, tmp_path: Path) -> None:
    with beholder.listen(f"tensorboard:{tmp_path / 'runs' / 'one'}", alone=True):
        parts = beholder.split(beholder.scan(draw(tmp_path / "leaves")))
        bundle = beholder.train(parts, net="logistic", epochs=2)
        tested = beholder.evaluate(bundle, parts.test)
    found = scalars(tmp_path / "runs" / "one")
    for name in ("valid_score", "valid_loss", "loss", "lr"):
        assert found[f"epoch/{name}"] == [(row["step"], pytest.approx(row[name], abs=1e-6)) for row in bundle.history]
    accuracy = tested.scores.headline["accuracy"]
    last = bundle.history[-1]["step"]
    assert found["scores/accuracy"] == [(last, pytest.approx(accuracy.value))]
    assert found["scores/accuracy_low"] == [(last, pytest.approx(accuracy.low))]
    steps = [step for step, _ in found["training/loss"]]
    assert steps
    assert len(steps) == len(set(steps)), "figures that have not changed are told once"
    assert not {"epoch/best", "epoch/step", "training/done"} & set(found), "flags and counters are no curves"


def test_the_end_of_an_interrupted_run_is_in_the_file(scalars: Any, tmp_path: Path) -> None:
    broken_off(f"tensorboard:{tmp_path}", Interrupted())
    assert scalars(tmp_path) == {"training/loss": [(3, 0.25)]}


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_without_the_library(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    for module in [module for module in sys.modules if module.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(UsageError) as caught, beholder.listen(f"{name}:{tmp_path}"):
        raise AssertionError("the work must not begin")
    assert (caught.value.code, caught.value.hint) == ("needs-extra", "pip install 'beholder[track]'")
    assert run(["evaluate", "m.beholder", "leaves", "--log", f"{name}:{tmp_path}"]) == 2
    assert f"{name} cannot be imported" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("dear")
    with pytest.raises(MachineError) as caught, beholder.listen(f"tensorboard:{tmp_path / 'file'}"):
        raise AssertionError("the work must not begin")
    assert caught.value.code == "cannot-write"
    with pytest.raises(UsageError, match="names no folder"), beholder.listen("tensorboard:"):
        pass


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """MLflow's own client of a database in a folder, whose tables a first run of no events makes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its databases use what SQLAlchemy deprecates
        pytest.importorskip("mlflow")
        folder = tmp_path_factory.mktemp("mlflow")
        with beholder.listen(f"mlflow:{folder}#first", alone=True):
            pass
        from mlflow.tracking import MlflowClient

        found = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    found.folder = folder
    return found


def runs(client: Any, experiment: str) -> list[Any]:
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::sqlalchemy.exc.SADeprecationWarning")
def test_mlflow_reads_metrics_parameters_and_scores_of_a_run(client: Any, draw: Draw, tmp_path: Path) -> None:
    log, source = f"mlflow:{client.folder}#leaves", draw(tmp_path / "leaves")
    with beholder.listen(log, alone=True):
        done = beholder.steps(source, net="logistic", epochs=2, seed=3)
    (found,) = runs(client, "leaves")
    assert found.info.status == "FINISHED"
    assert found.data.params["seed"] == "3"
    assert found.data.params["net.name"] == "logistic"
    assert found.data.params["train.epochs"] == "2"
    assert float(found.data.params["plan.lr"]) == done.bundle.config.plan["lr"]
    scores = [(row.step, row.value) for row in client.get_metric_history(found.info.run_id, "epoch/valid_score")]
    assert scores == [(row["step"], pytest.approx(row["valid_score"], abs=1e-6)) for row in done.bundle.history]
    headline = done.evaluation.scores.headline
    for name, score in headline.items():
        assert found.data.metrics[f"scores/{name}"] == pytest.approx(score.value)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert not (Path.cwd() / "mlruns").exists(), "nothing is written outside the folder"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::sqlalchemy.exc.SADeprecationWarning")
def test_how_a_run_of_mlflow_ends(client: Any) -> None:
    for error in (Interrupted(), UsageError("wrong")):
        broken_off(f"mlflow:{client.folder}#ends", error)
    killed, failed = runs(client, "ends")
    assert (killed.info.status, failed.info.status) == ("KILLED", "FAILED")
    assert killed.data.metrics == failed.data.metrics == {"training/loss": 0.25}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::sqlalchemy.exc.SADeprecationWarning")
def test_a_second_recipe_in_a_run_changes_no_parameter(client: Any) -> None:
    with beholder.listen(f"mlflow:{client.folder}#twice", alone=True):
        events.figures("recipe", values={"train.lr": 0.1, "seed": 0})
        events.figures("recipe", values={"train.lr": 0.2, "seed": 0})
    (found,) = runs(client, "twice")
    assert found.data.params == {"train.lr": "0.1", "seed": "0"}
    assert found.data.tags["last.train.lr"] == "0.2"
    assert "last.seed" not in found.data.tags


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::sqlalchemy.exc.SADeprecationWarning")
def test_a_server_that_is_not_there_and_one_that_goes(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MachineError) as caught, beholder.listen("mlflow:http://127.0.0.1:9"):
        raise AssertionError("the work must not begin")
    assert caught.value.code == "cannot-write"
    heard: list[Event] = []
    with beholder.listen(heard.append, alone=True), beholder.listen(f"mlflow:{client.folder}#gone"):

        def gone(*_: object, **__: object) -> None:
            raise RuntimeError("the server does not answer")

        monkeypatch.setattr("mlflow.tracking.MlflowClient.log_batch", gone)
        events.figures("scores", accuracy=0.5)
        events.note("the run goes on")
    said = [event.message for event in heard]
    assert said[-1] == "the run goes on"
    assert "the server does not answer; what follows is not in it" in said[1]


@pytest.mark.parametrize(
    ("where", "uri"),
    [("databricks", True), ("databricks://profile", True), ("databricks-uc", True), ("databricks-runs", False), ("", True)],
)
def test_a_folder_whose_name_begins_as_a_uri_does_is_a_folder(
    where: str, uri: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store, artifacts = tracking._store(where)
    assert (artifacts is None) is uri
    assert (store == (where or None)) is uri
    assert (tmp_path / "databricks-runs").is_dir() is (not uri)


def test_what_cannot_be_opened_is_named_without_its_password() -> None:
    with pytest.raises(MachineError) as caught, tracking._opening("mysql://me:SECRET@db/runs"):
        raise OSError("mysql://me:SECRET@db/runs refuses")
    assert caught.value.message == "nothing can be logged to mysql://db/runs: mysql://db/runs refuses"
