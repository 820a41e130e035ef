"""The contracts of the command line: what goes to stdout, what to stderr, and which exit code. The verbs are stood in for."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.configs import config

from beholder.base.errors import BundleError, Interrupted
from beholder.base.recipe import Recipe
from beholder.bundle.config import Baseline
from beholder.cli.run import run
from beholder.cli.show import json_line, pairs, table
from beholder.evaluation.evaluate import Evaluation
from beholder.measure.scores import single
from beholder.study.outcome import Outcome


@dataclass
class Stub:
    """A result as every verb gives one: text for a person, `json` for a program."""

    fields: dict[str, object]
    engine: str = "torch fp32"

    def json(self) -> dict[str, object]:
        return self.fields

    def rows(self) -> list[dict[str, object]]:
        return [{"trial": 1, "lr": 0.1, "accuracy": 0.5}, {"trial": 2, "lr": 0.01, "accuracy": float("nan")}]

    def tried(self) -> list[dict[str, object]]:
        return []

    def __str__(self) -> str:
        return "in words"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Put a function in the place of a verb; returns the list of its calls."""

    def put(where: str, result: Any) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def verb(*args: Any, **options: Any) -> Any:
            calls.append((args, options))
            if isinstance(result, BaseException):
                raise result
            return result(*args) if callable(result) else result

        module, _, name = where.partition(":")
        fake = ModuleType(module)
        setattr(fake, name, verb)
        monkeypatch.setitem(sys.modules, module, fake)
        return calls

    return put


STEPS = "beholder.study.steps:steps"


def lines_of(paths: Iterator[str]) -> Iterator[dict[str, object]]:
    for path in paths:
        if path.endswith(".txt"):
            yield {"path": path, "error": {"code": "not-a-picture", "message": "it is text"}}
        else:
            line = {"path": path, "label": "rust", "p": 0.75, "probabilities": {"rust": 0.75, "healthy": 0.25}}
            yield {**line, "positive": False, "set": ("rust", "leaf"), "ood_score": 0.5, "strangeness": 0.5}


# --- results ---------------------------------------------------------------------------------------------------------


def test_train_prints_the_summary_on_stdout(stand_in: Any, capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    calls = stand_in(STEPS, Stub({}))
    assert run(["train", "pictures/my set.tar.gz"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("in words\n", "")
    assert calls[0][0] == ("pictures/my set.tar.gz",)
    fixed = {"resume": False, "profile": False, "lang": "en", "began": None, "allow_download": False, "images": None}
    fixed |= {"dry_run": False, "launch": ""}
    assert calls[0][1] == {"recipe": Recipe(), "out": Path("my set.beholder"), **fixed}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("hf:someone/pets", "pets"),
        ("hf:someone/pets@v2:large", "pets"),
        ("torchvision:CIFAR10", "CIFAR10"),
        ("https://example.org/a/set.tar.gz?key=1", "set"),
        ("boxes:cells/labels.csv", "labels"),
        ("shards/set-{0000..0012}.tar", "set"),
        ("data/*.tar", "model"),
    ],
)
def test_a_bundle_is_named_after_its_source(stand_in: Any, source: str, name: str) -> None:
    calls = stand_in(STEPS, Stub({}))
    assert run(["train", source, "--allow-download"]) == 0
    assert (calls[0][1]["out"], calls[0][1]["allow_download"]) == (Path(f"{name}.beholder"), True)


def test_train_passes_every_option_on(stand_in: Any, capsys: Any, tmp_path: Path) -> None:
    calls = stand_in(STEPS, Stub({"bundle": "b", "seconds": 1.5, "scores": {"accuracy": {"value": float("nan")}}}))
    asked = [
        "--recipe",
        "careful",
        "--net",
        "cnn",
        "--minutes",
        "2.5",
        "--seed",
        "7",
        "--set",
        "train.lr=0.3",
        "--set",
        "data.size=40",
    ]
    asked += ["--out", str(tmp_path / "m.beholder"), "--resume", "--profile", "--json"]
    assert run(["train", "leaves", *asked], began=12.5) == 0
    recipe = calls[0][1]["recipe"]
    assert (recipe.name, recipe.net.name, recipe.train.minutes, recipe.seed) == ("careful", "cnn", 2.5, 7)
    assert (recipe.train.lr, recipe.data.size, recipe.train.patience) == (0.3, 40, 20)
    assert calls[0][1]["out"] == tmp_path / "m.beholder"
    assert calls[0][1]["resume"] is True
    assert (calls[0][1]["profile"], calls[0][1]["began"]) == (True, 12.5)
    assert json.loads(capsys.readouterr().out) == {"bundle": "b", "seconds": 1.5, "scores": {"accuracy": {"value": None}}}


def test_set_has_the_last_word(stand_in: Any, tmp_path: Path) -> None:
    calls = stand_in(STEPS, Stub({}))
    assert run(["train", "x", "--out", str(tmp_path / "m"), "--net", "cnn", "--set", "net.name=mlp"]) == 0
    assert calls[0][1]["recipe"].net.name == "mlp"


def test_demo_writes_where_it_is_told(stand_in: Any, capsys: Any, tmp_path: Path) -> None:
    calls = stand_in("beholder.study.demo:demo", Stub({"net": "cnn"}))
    assert run(["demo", "--out", str(tmp_path), "--json"]) == 0
    assert run(["demo", "--out", str(tmp_path), "--json", "--minutes", "0.5"]) == 0
    assert calls == [((tmp_path,), {"minutes": 2.0}), ((tmp_path,), {"minutes": 0.5})]
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"net": "cnn"}] * 2


def test_audit_keeps_a_persons_decisions(leaves: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "audit.csv"
    assert run(["audit", str(leaves), "--check", "dark", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audit"] == str(out)
    with out.open("a") as file:
        file.write("rust/00.png,dark,1,,keep,,drop\n")
    assert run(["audit", str(leaves), "--check", "uniform", "--out", str(out)]) == 0
    assert out.read_text().splitlines()[-1] == "rust/00.png,review,1.0000,decided by a person,keep,,drop,"
    assert run(["clean", str(leaves), "--apply", str(out), "--out", str(tmp_path / "clean"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["pictures"], said["dropped"], said["classes"]["rust"]) == (35, 1, 11)
    assert run(["clean", str(leaves), "--apply", str(out), "--out", str(tmp_path / "clean")]) == 2
    assert "is there already\n\nhint: " in capsys.readouterr().err


def test_the_review_opens_a_browser_only_where_there_is_a_screen(stand_in: Any, capsys: Any, monkeypatch: Any) -> None:
    audits = stand_in("beholder.study.examine:audited", "the findings")
    calls = stand_in("beholder.review:review", Stub({"decided": 3}))
    assert run(["audit", "leaves", "--web", "--port", "8080", "--check", "dark", "--json"]) == 0
    assert audits[0][0] == ("leaves", Path("audit.csv"))
    fixed = {"seed": 0, "allow_download": False, "recipe": Recipe(), "minutes": 1.0, "parts": None, "launch": "", "ranges": 0}
    assert audits[0][1] == {"go_on": True, "checks": ["dark"], **fixed}
    assert calls[0] == (("the findings", Path("audit.csv")), {"source": "leaves", "port": 8080, "ready": None})
    assert json.loads(capsys.readouterr().out) == {"decided": 3}
    monkeypatch.setattr("beholder.machine.browser.has_screen", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(["audit", "leaves", "--web"]) == 0
    assert calls[1][1]["ready"] is not None
    assert run(["audit", "leaves", "--web", "--no-open"]) == 0
    assert calls[2][1]["ready"] is None
    assert capsys.readouterr().out == "in words\nin words\n"


def test_tune_prints_a_table_of_trials(stand_in: Any, capsys: Any, tmp_path: Path) -> None:
    calls = stand_in("beholder.study.tune:tune", Stub({}))
    assert run(["tune", "x", "--minutes", "3", "--trials", "4", "--no-resume", "--out", str(tmp_path / "m")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["trial", "lr", "accuracy"]
    assert lines[2].split() == ["2", "0.01", "nan"]
    assert lines[-1] == "in words"
    options = calls[0][1]
    assert (options["minutes"], options["trials"], options["resume"]) == (3.0, 4, False)


OTHERS = ["--lang", "zh", "--sections", "none", "--ood", "cats/", "--ood", "dogs.zip"]


def test_evaluate_scores_the_part_and_writes_the_report(
    stand_in: Any, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = stand_in("beholder.bundle.bundle:load", "the bundle")
    evaluation = Stub({"n": 3})
    evaluations = stand_in("beholder.evaluation.evaluate:evaluate", evaluation)
    reports = stand_in("beholder.reporting:report", None)
    asked: list[tuple[Any, ...]] = []

    def examined(bundle: Any, evaluation: Any, names: list[str], *, ood: list[str], allow_download: bool) -> Any:
        asked.append((bundle, names, ood, allow_download))
        return evaluation

    monkeypatch.setattr("beholder.evaluation.sections.examined", examined)
    page = tmp_path / "r.html"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cats").mkdir()
    assert run(["evaluate", "m.beholder", "x", *OTHERS]) == 2
    assert "there is no dogs.zip" in capsys.readouterr().err
    assert not evaluations, "the test part is not read for a wrong option"
    (tmp_path / "dogs.zip").touch()
    assert run(["evaluate", "m.beholder", "x", "--part", "all", "--report", str(page), "--trust", "--json", *OTHERS]) == 0
    assert asked == [("the bundle", [], ["cats/", "dogs.zip"], False)]
    assert loads == [((Path("m.beholder"),), {"trust": True})]
    assert evaluations == [(("the bundle", "x"), {"part": "all", "allow_download": False})]
    assert reports == [(("the bundle", evaluation, page), {"lang": "zh"})]
    assert json.loads(capsys.readouterr().out) == {"n": 3}


def test_predict_prints_a_line_a_picture(stand_in: Any, capsys: Any, monkeypatch: Any) -> None:
    stand_in("beholder.runtime.engines:fastest", Stub({}))
    stand_in("beholder.evaluation.predict:predict", lambda bundle, paths, *_: lines_of(paths))
    monkeypatch.setattr(sys, "stdin", io.StringIO("b.jpg\n\nsub/ü d.jpg\n"))
    assert run(["predict", "m.beholder", "a.txt", "-", "c.jpg"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["path"] for row in rows] == ["a.txt", "b.jpg", "sub/ü d.jpg", "c.jpg"]
    assert rows[0]["error"]["code"] == "not-a-picture"
    assert rows[3]["probabilities"] == {"rust": 0.75, "healthy": 0.25}


def test_predict_prints_csv(stand_in: Any, capsys: Any) -> None:
    stand_in("beholder.runtime.engines:fastest", Stub({}))
    stand_in("beholder.evaluation.predict:predict", lambda bundle, paths, *_: lines_of(paths))
    assert run(["predict", "m.beholder", "a.txt", 'one, "two".jpg', "--csv"]) == 0
    assert capsys.readouterr().out == (
        "path,label,p,error,abstain,positive,set,ood,ood_score,stranger,strangeness\n"
        "a.txt,,,not-a-picture,,,,,,,\n"
        '"one, ""two"".jpg",rust,0.75,,,false,rust;leaf,,0.5,,0.5\n'
    )


@pytest.mark.parametrize("form", [[], ["--csv"]])
def test_predict_fails_when_not_one_picture_was_read(form: list[str], stand_in: Any, capsys: Any) -> None:
    stand_in("beholder.runtime.engines:fastest", Stub({}))
    stand_in("beholder.evaluation.predict:predict", lambda bundle, paths, *_: lines_of(paths))
    assert run(["predict", "m.beholder", "a.txt", "b.txt", *form]) == 1
    out, err = capsys.readouterr()
    assert out.count("not-a-picture") == 2
    assert err.startswith("engine: torch fp32\nerror: not one picture could be read\n\nhint: ")


def test_nets_are_a_table_or_an_object(stand_in: Any, capsys: Any) -> None:
    @dataclass
    class Row:
        name: str
        parameters: int
        flops: int
        about: str

    calls = stand_in("beholder.nets.table:table", [Row("cnn", 1_234_567, 0, "conv [32]")])
    assert run(["nets", "--size", "28", "--channels", "1", "--classes", "3"]) == 0
    assert calls[0][1] == {"size": 28, "channels": 1, "classes": 3}
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split(maxsplit=3) == ["cnn", "1,234,567", "0", "conv [32]"]
    assert run(["nets", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["nets"] == [{"name": "cnn", "parameters": 1_234_567, "flops": 0, "about": "conv [32]"}]
    rows = {row["name"]: row for row in said["backbones"]}
    assert rows["tf_efficientnet_lite0.in1k"]["licence"] == "apache-2.0"
    assert rows["convnextv2_nano.fcmae_ft_in22k_in1k"]["permissive"] is False
    assert rows["tiny_vit_11m_224.dist_in22k_ft_in1k"]["source"].startswith("huggingface/pytorch-image-models")
    assert all(rows[name.removeprefix("timm:")]["permissive"] for name in said["defaults"].values())
    assert said["at_hand"]["timm:tf_efficientnet_lite0"] == "Apache-2.0"


def test_the_table_of_backbones_fits_80_columns(stand_in: Any, capsys: Any) -> None:
    stand_in("beholder.nets.table:table", [])
    assert run(["nets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("pretrained backbone"))
    assert max(map(len, lines[start:])) <= 80
    [row] = [line.split() for line in lines if line.startswith("resnet18")]
    assert row[:5] == ["resnet18.a1_in1k", "12", "1.8", "224", "71.5"]
    assert row[-1] == "apache-2.0"
    assert any(line.endswith("cc-by-nc-4.0!") for line in lines)


def test_info_is_lines_or_an_object(stand_in: Any, capsys: Any) -> None:
    facts = {"device": "cpu", "precision": {"name": "fp32", "reason": "no AMX"}, "versions": {}}
    stand_in("beholder.machine.info:info", facts)
    assert run(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines if line.startswith("  reason ")] == [["reason", "no AMX"]]
    assert [line.split()[1] for line in lines if line.startswith("  timm:tf_efficientnet_lite0 ")] == ["Apache-2.0"]
    assert run(["info", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.pop("backbones")["timm:tf_efficientnet_lite0"] == "Apache-2.0"
    assert said == facts


# --- where a bundle may go -------------------------------------------------------------------------------------------


def test_what_is_not_a_bundle_is_never_overwritten(capsys: Any, tmp_path: Path, leaves: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    folder = tmp_path / "holiday"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"")
    for place in (thesis, folder):
        for command in (["train", str(leaves)], ["tune", str(leaves), "--minutes", "1"]):
            assert run([*command, "--out", str(place)]) == 2
            assert "is not a bundle" in capsys.readouterr().err
    assert thesis.read_text() == "years of work"
    assert [path.name for path in folder.iterdir()] == ["a.jpg"]


def test_the_source_folder_is_never_written_to(stand_in: Any, capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    calls = stand_in(STEPS, Stub({}))
    monkeypatch.chdir(tmp_path)
    assert run(["train", "."]) == 2
    assert "inside the source folder" in capsys.readouterr().err
    assert run(["train", ".", "--out", str(tmp_path.parent / "elsewhere.beholder")]) == 0
    assert len(calls) == 1


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["trian"], "no such command 'trian'", "did you mean 'train'?"),
        (["train"], "missing argument 'SOURCE'", "beholder train --help lists what it takes"),
        (["train", "x", "--minuts", "3"], "no such option: --minuts", "did you mean '--minutes'?"),
        (["train", "x", "--minutes", "ten"], "invalid value for '--minutes': it should be a valid number", "beholder train"),
        (["train", "x", "--epochs", "2.5"], "invalid value for '--epochs': it should be a valid integer", "beholder train"),
        (["train", "x", "--minutes", "-1"], "train.minutes cannot be -1", "it lies between 0"),
        (["train", "x", "--set", "train.lrr=1"], "no recipe field is called 'train.lrr'", "did you mean 'train.lr'?"),
        (["train", "x", "--set", "train.epochs=many"], "train.epochs takes a whole number, not 'many'", "for example"),
        (["train", "x", "--set", "lr"], "--set takes NAME=VALUE, not 'lr'", "for example --set train.lr=0.1"),
        (["train", "x", "--recipe", "quik"], "there is no recipe 'quik'", "did you mean 'quick'?"),
        (["train", ""], "SOURCE is empty", "name a folder"),
        (["train", "x", "y"], "got unexpected extra argument", "beholder train --help"),
        (["tune", "x"], "missing option '--minutes'", "beholder tune --help"),
        (
            ["evaluate", "m", "x", "--part", "tset"],
            "invalid value for '--part': 'tset' is not one of",
            "beholder evaluate --help",
        ),
        (["predict", "m"], "missing argument 'PATH...'", "beholder predict --help"),
        (["nets", "--classes", "1"], "invalid value for '--classes'", "beholder nets --help"),
    ],
)
def test_wrong_usage_is_said_in_one_style(arguments: list[str], message: str, hint: str, capsys: Any) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, empty, last = err.splitlines()
    assert first.startswith(f"error: {message}")
    assert empty == ""
    assert last.startswith(f"hint: {hint}")


def test_errors_of_the_house_keep_their_code(stand_in: Any, capsys: Any, tmp_path: Path) -> None:
    stand_in("beholder.bundle.bundle:load", BundleError("a byte has changed", hint="copy it again"))
    stand_in("beholder.evaluation.evaluate:evaluate", None)
    assert run(["evaluate", "m", "x"]) == 1
    assert capsys.readouterr().err == "error: a byte has changed\n\nhint: copy it again\n"


def test_the_unexpected_has_no_traceback_unless_asked(stand_in: Any, capsys: Any, tmp_path: Path) -> None:
    stand_in(STEPS, ZeroDivisionError("division by zero"))
    command = ["train", "x", "--out", str(tmp_path / "m")]
    assert run(command) == 1
    hint = "hint: report it with what `beholder info --bug-report` prints; --debug shows where it happened"
    expected = f"error: internal: ZeroDivisionError: division by zero\n\n{hint}\n"
    assert capsys.readouterr().err == expected
    for arguments in (["--debug", *command], [*command, "--debug"]):
        assert run(arguments) == 1
        err = capsys.readouterr().err
        assert err.startswith("Traceback")
        assert err.endswith(expected)


@pytest.mark.parametrize(("given", "said"), [("no weights", ": no weights"), (None, ""), (0, ": 0"), (3, ": 3")])
def test_code_of_others_that_ends_the_program_is_an_error(
    given: str | int | None, said: str, stand_in: Any, capsys: Any, tmp_path: Path
) -> None:
    stand_in(STEPS, SystemExit(given))
    assert run(["train", "x", "--out", str(tmp_path / "m")]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith(f"error: code outside of Beholder called sys.exit{said}\n\nhint: ")


def test_what_the_system_refuses_is_no_internal_error(stand_in: Any, capsys: Any, tmp_path: Path) -> None:
    stand_in(STEPS, PermissionError(13, "Permission denied", "leaves/a.jpg"))
    assert run(["train", "x", "--out", str(tmp_path / "m")]) == 1
    assert capsys.readouterr().err.startswith("error: permission denied: leaves/a.jpg\n\nhint: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_stdout_is_said() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "beholder", "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no space left on device\n\nhint: ")


def test_predict_says_when_there_was_nothing_to_read(stand_in: Any, capsys: Any, monkeypatch: Any) -> None:
    stand_in("beholder.runtime.engines:fastest", Stub({}))
    stand_in("beholder.evaluation.predict:predict", lambda bundle, paths, *_: lines_of(paths))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert run(["predict", "m.beholder", "-"]) == 1
    assert capsys.readouterr().err.startswith("engine: torch fp32\nerror: there is no picture in what was given\n")


def test_debug_after_two_dashes_is_a_path(stand_in: Any, capsys: Any) -> None:
    stand_in("beholder.runtime.engines:fastest", Stub({}))
    stand_in("beholder.evaluation.predict:predict", lambda bundle, paths, *_: lines_of(paths))
    assert run(["predict", "m", "--", "--debug"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == "--debug"


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (Interrupted("stopped; the best so far is in m.beholder"), 130, "error: stopped; the best so far is in m.beholder\n"),
        (Interrupted(exit_code=143), 143, "error: interrupted\n"),
    ],
)
def test_an_interruption_is_one_line(
    raised: BaseException, code: int, said: str, stand_in: Any, capsys: Any, tmp_path: Path
) -> None:
    stand_in(STEPS, raised)
    assert run(["train", "x", "--out", str(tmp_path / "m")]) == code
    assert capsys.readouterr() == ("", said)


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    fake = tmp_path / "fake.py"
    fake.write_text(
        "import sys, types\n"
        "def predict(bundle, paths, **_):\n    return ({'path': str(n), 'label': 'x' * 500} for n in range(5000))\n"
        "for name, f in (('beholder.runtime.engines', 'fastest'), ('beholder.evaluation.predict', 'predict')):\n"
        "    m = types.ModuleType(name); m.engine = 'none'; setattr(m, f, predict if f == 'predict' else lambda *a, **k: m)\n"
        "    sys.modules[name] = m\n"
        "from beholder.cli.run import run\nsys.exit(run(['predict', 'm', 'x']))\n"
    )
    with subprocess.Popen([sys.executable, fake], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"engine: none\n"
        assert process.wait(timeout=30) == 0


def test_no_arguments_print_the_help(capsys: Any) -> None:
    assert run([]) == 0
    out = capsys.readouterr().out
    for name in ("demo", "train", "tune", "curve", "evaluate", "predict", "nets", "info"):
        assert f"\n  {name} " in out
    assert "..." not in out.partition("Commands:")[2], "a line of help is cut"


def test_version_is_the_installed_one() -> None:
    done = subprocess.run([sys.executable, "-m", "beholder", "--version"], capture_output=True, text=True, check=True)
    import beholder

    assert done.stdout.strip() == beholder.__version__


# --- how results look ------------------------------------------------------------------------------------------------


def test_json_is_plain_and_never_nan() -> None:
    value = {1: np.float32(0.5), "n": np.int64(3), "p": Path("a/b"), "x": [float("inf"), None, True], "t": (np.float64("nan"),)}
    assert json.loads(json_line(value)) == {"1": 0.5, "n": 3, "p": str(Path("a/b")), "x": [None, None, True], "t": [None]}


def test_tables_show_names_as_they_are_and_never_wrap(capsys: Any) -> None:
    table([{"class": "[red] :smile:", "about": "x" * 150, "f1": None}])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].split() == ["[red]", ":smile:", "x" * 150, "-"]
    table([])
    pairs({"a": [1, 2], "b": {"long name": "c"}})
    assert capsys.readouterr().out == "a            1, 2\nb\n  long name  c\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no byte names")
def test_names_that_are_not_utf8_pass_through() -> None:
    code = "import sys, beholder.cli.run as r; r._tolerate_any_file_name();sys.stdout.write(sys.stdin.read())"
    done = subprocess.run([sys.executable, "-c", code], input=b"caf\xe9.jpg", capture_output=True, check=True)
    assert done.stdout == b"caf\xe9.jpg"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("train x --batch-size 3", "did you mean --batch?"),
        ("train x --learning-rate 0.1", "did you mean --lr?"),
        ("train x --imgsz 96", "did you mean --size?"),
        ("train x --backbone resnet50", "did you mean --net?"),
        ("train x --num-epochs 3", "did you mean --epochs?"),
        ("train x --weight-decay 0.1", "--set train.weight_decay=VALUE"),
        ("train x --optimizer adam", "--set train.optimiser=VALUE"),
        ("train x --pretrained w", "--set net.weights=VALUE"),
        ("train x --device cuda", "beholder info"),
        ("generate x --launch local:2", "one process: leave --launch out"),
        ("tune x --minutes 1 --epochs 3", "--set train.epochs=VALUE"),
        ("audit x --net resnet50", "--set net.name=VALUE"),
        ("audit x --epochs 3", "an audit trains no model"),
        ("predict x y --momentum 3", "beholder predict --help"),
    ],
)
def test_options_of_other_tools_get_the_way_out(given: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(given.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: no such option: --")
    assert hint in told.partition("hint: ")[2]


def test_the_usual_dials_are_options(stand_in: Any, tmp_path: Path) -> None:
    calls = stand_in(STEPS, Stub({}))
    given = ["--model", "resnet50", "--epochs", "2", "--batch", "8", "--lr", "0.01", "--size", "16"]
    assert run(["train", "x", "--out", str(tmp_path / "m.beholder"), *given]) == 0
    assert calls[0][1]["recipe"] == Recipe().set(net="resnet50", epochs=2, batch=8, lr=0.01, size=16)
    assert run(["train", "x", "--epochs", "many"]) == 2
    assert run(["train", "x", "--size", "-1"]) == 2


@pytest.mark.parametrize("given", [["help"], ["-h"], [], ["--help"]])
def test_help_is_help(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(given) == 0
    assert "Usage: beholder [OPTIONS] COMMAND" in capsys.readouterr().out


def test_help_of_a_command_and_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "train"]) == 0
    assert "Usage: beholder train" in capsys.readouterr().out
    assert run(["help", "trian"]) == 2
    assert "train" in capsys.readouterr().err
    for word in ("version", "--version", "-V"):
        assert run([word]) == 0
        assert capsys.readouterr().out == f"{version('beholder')}\n"


# --- on a terminal ---------------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stdout that calls itself a terminal, 100 columns wide and without colours."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    for module in ("show", "predict"):
        monkeypatch.setattr(f"beholder.cli.{module}.on_terminal", lambda: True)


def ended_run(clock: str = "") -> Outcome:
    probabilities = np.eye(3, dtype=np.float32)[[0, 0, 0, 0, 1, 1, 1, 2, 2, 0]] * 0.9 + 0.03
    targets = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    scores = single(probabilities, targets, ("ant", "bee", "wasp"))
    tested = Evaluation(scores, probabilities, targets, [str(k) for k in range(10)], (), 1.0, "insects")
    bundle = SimpleNamespace(config=config(parts={"test": 10}, clock=clock))
    return Outcome(bundle, tested, Path("in sects.beholder"), 12.3)  # type: ignore[arg-type]


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("clock", ["", "The clock cut training at epoch 3 of 20; about 9 minutes would be needed."])
def test_train_ends_on_a_terminal_with_a_card(clock: str, stand_in: Any, capsys: Any, tmp_path: Path) -> None:
    stand_in(STEPS, ended_run(clock))
    assert run(["train", "x", "--out", str(tmp_path / "m.beholder")]) == 0
    out = capsys.readouterr().out
    scores, _, card = out.partition("╭")
    assert "accuracy 0.900" in scores
    words = " ".join(card.replace("│", " ").split())
    assert "in sects.beholder: cnn, 12 s" in words
    for heading, what in (
        ("verdict", "9 of 10 test pictures"),
        ("weakest", "“wasp”: it finds 2 of 3"),
        ("next", "predict 'in sects"),
    ):
        assert words.index(heading) < words.index(what)
    assert ("clock The clock cut training at epoch 3" in words) is bool(clock)
    assert {len(line) for line in card.splitlines()[1:] if line} == {100}


def test_the_card_is_in_plain_lines_elsewhere(stand_in: Any, capsys: Any, tmp_path: Path) -> None:
    outcome = ended_run("The clock cut training.")
    stand_in(STEPS, outcome)
    assert run(["train", "x", "--out", str(tmp_path / "m.beholder")]) == 0
    out = capsys.readouterr().out
    assert out == f"{outcome}\n"
    for words in (
        "verdict: It classified 9 of 10",
        "weakest: ",
        "clock: The clock cut training.",
        "next: beholder predict 'in sects.beholder'",
    ):
        assert words in out.replace("\xa0", " ")
    assert outcome.json()["clock"] == "The clock cut training."
    floor = Baseline("pixels", 0.91, trained=90, chosen=40, net=0.9, kept=False)
    outcome.bundle.config = replace(outcome.bundle.config, floor=floor, minutes_needed=9)
    assert "logistic regression on coarse pixels reaches 91.0" in outcome.card["floor"]
    assert outcome.json()["minutes_needed"] == 9
    outcome.bundle.config = replace(outcome.bundle.config, floor=replace(floor, net=0.92))
    assert "floor" not in outcome.card
    assert "clock" not in ended_run().json()
    assert "clock" not in ended_run().card


ENGINE = "beholder.runtime.engines:fastest"


@pytest.mark.usefixtures("terminal")
def test_predict_on_a_terminal_is_a_table(stand_in: Any, capsys: Any) -> None:
    stand_in("beholder.evaluation.predict:predict", lambda _, paths: lines_of(iter(["a\x1b[31m.png", "notes.txt"])))
    stand_in(ENGINE, Stub({}))
    assert run(["predict", "m.beholder", "a.png", "notes.txt"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["path", "label", "p", "next", "set", "positive", "error"]
    assert first.split() == ["a\\x1b[31m.png", "rust", "0.750", "healthy", "0.25", "rust,", "leaf", "no", "-"]
    assert second.split() == ["notes.txt", "-", "-", "-", "-", "-", "it", "is", "text"]
    assert run(["predict", "m.beholder", "a.png", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["p"] == 0.75


def test_audit_prints_only_the_checks_that_found_something(leaves: Path, tmp_path: Path, capsys: Any) -> None:
    (leaves / "rust" / "again.png").write_bytes((leaves / "rust" / "00.png").read_bytes())
    asked = ["--check", "dark", "--check", "duplicate", "--check", "unreadable"]
    assert run(["audit", str(leaves), "--out", str(tmp_path / "audit.csv"), *asked]) == 0
    head, row, rest, last = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["check", "looked", "found"]
    assert row.split()[:3] == ["duplicate", "37", "1"]
    assert rest == "nothing else found; looked for: dark, unreadable"
    assert last == f"1 findings in {tmp_path / 'audit.csv'}"
