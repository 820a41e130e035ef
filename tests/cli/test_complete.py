"""What a shell is offered at Tab, asked for as shells ask: by the variable, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from beholder.cli import complete
from beholder.cli.run import run
from beholder.explanation import METHODS
from beholder.nets.backbones import backbones

SLOW = ("torch", "numpy", "scipy", "sklearn", "timm", "onnxruntime", "PIL")

PROGRAM = "import sys; from beholder.cli.run import run; sys.argv[0] = 'beholder'; sys.exit(run([]))"


def offered(typed: str, folder: Path, shell: str = "bash") -> list[str]:
    """What bash (or zsh, fish) is offered after what was typed; a blank at its end begins a new word."""
    words = typed.split(" ")
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_ARGS": typed}
    asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args", complete.VARIABLE: f"complete_{shell}"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **asked}, cwd=folder, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    return run.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_commands_in_every_shell(shell: str, tmp_path: Path) -> None:
    words = " ".join(offered("beholder ev", tmp_path, shell))
    assert "evaluate" in words
    assert "export" not in words


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("beholder train --gro", ["--group-from"]),
        ("beholder train --recipe ca", ["careful"]),
        ("beholder train x --set train.lr", ["train.lr="]),
        ("beholder train --task o", ["ordinal"]),
        ("beholder train --net fastn", ["fastnet"]),
        ("beholder train --net resnet18", ["resnet18.a1_in1k"]),
        ("beholder audit --check near", ["near-duplicate"]),
        ("beholder export m --to open", ["openvino"]),
        ("beholder train x --audit re", ["report", "relabel"]),
        ("beholder explain m p --method o", ["occlusion"]),
        ("beholder evaluate m x --part va", ["val", "valid"]),
    ],
)
def test_names_of_options_nets_recipes_tasks_and_checks(typed: str, expected: list[str], tmp_path: Path) -> None:
    assert offered(typed, tmp_path) == expected


def test_bundles_where_a_model_is_asked_for_and_files_else(tmp_path: Path) -> None:
    for name in ("leaves.beholder", "lemons.beholder", "letters", ".hidden.beholder", "letters/x.beholder"):
        (tmp_path / name).mkdir()
    (tmp_path / "leaves.onnx").write_bytes(b"")
    (tmp_path / "leaf.jpg").write_bytes(b"")
    assert offered("beholder predict le", tmp_path) == ["leaves.beholder", "leaves.onnx", "lemons.beholder", "letters/"]
    assert offered("beholder predict letters/", tmp_path) == ["letters/x.beholder"]
    assert offered("beholder predict lea", tmp_path) == ["leaves.beholder", "leaves.onnx"]
    assert offered("beholder compare leaves.beholder lem", tmp_path) == ["lemons.beholder"]
    assert offered("beholder train x --teacher lem", tmp_path) == ["lemons.beholder"]
    assert offered("beholder serve a=lem", tmp_path) == ["a=lemons.beholder"]
    assert offered("beholder predict nowhere/", tmp_path) == []
    assert offered("beholder predict lemons.beholder le", tmp_path) == []
    assert offered("beholder train le", tmp_path) == []


def test_completion_loads_neither_torch_nor_timm_nor_scipy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom beholder.cli import complete as c\n"
        "c.nets(), c.recipes(''), c.fields(), c.tasks(), c.objectives(), c.checks(), c.exports(), c.models('')\n"
        "print([m for m in ('torch', 'timm', 'scipy', 'onnxruntime', 'sklearn') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert said.strip() == "[]"


def test_an_answer_loads_none_of_what_is_slow_to_import(tmp_path: Path) -> None:
    """The way a shell asks, to its end: what takes long is importing, which is seen without a clock."""
    told = "import atexit; atexit.register(lambda: print([m for m in SLOW if m in sys.modules], file=sys.stderr)); "
    code = f"import sys; SLOW = {SLOW}; {told}{PROGRAM}"
    typed = "beholder train --net re"
    asked = {"COMP_WORDS": typed, "COMP_CWORD": "3", complete.VARIABLE: "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, cwd=tmp_path, capture_output=True, text=True
    )
    assert "resnet" in done.stdout.split()
    assert done.stderr.strip() == "[]"


def test_names_without_torch_are_those_with_it() -> None:
    assert list(complete.METHODS) == ["auto", *METHODS.builtin]
    assert complete.nets()[-len(backbones()) :] == [row.name for row in backbones()]


@pytest.mark.parametrize(
    ("shell", "said"), [("bash", "complete -o default -F"), ("zsh", "#compdef beholder"), ("fish", "complete --command")]
)
def test_a_shell_is_shown_and_given_its_script(
    shell: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(["--show-completion", shell]) == 0
    script = capsys.readouterr().out.strip()
    assert said in script
    assert complete.VARIABLE in script
    assert not list(tmp_path.iterdir())
    assert run(["--install-completion", shell]) == 0
    path = capsys.readouterr().out.split(" is in ")[1].split(";")[0]
    assert Path(path).is_relative_to(tmp_path)
    assert Path(path).read_text().strip() == script


def test_an_unknown_shell_is_wrong_usage(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["--show-completion", "zhs"]) == 2
    assert "did you mean 'zsh'" in capsys.readouterr().err
    monkeypatch.setattr(complete, "_shell", lambda: "")
    assert run(["--install-completion"]) == 2
    assert "name it: beholder --install-completion zsh" in capsys.readouterr().err
