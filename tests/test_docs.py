"""Documents that cannot lie: what they quote from the source is compared with it, and the Python of the README is run."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import operator
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.base import recipe as recipes

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs import links, tables  # noqa: E402

PAGES = [
    ROOT / "README.md",
    ROOT / "README.zh-CN.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def blocks(path: Path, language: str) -> list[str]:
    """The fenced code blocks of a page that are marked with `language`; "" for those that are not marked."""
    parts = re.split(r"^```(\w*)$\n?", path.read_text("utf-8"), flags=re.MULTILINE)
    fences = list(zip(parts[1::2], parts[2::2], strict=True))
    return [text for mark, text in fences[::2] if mark == language]


def commands_in(path: Path, program: str) -> list[list[str]]:
    """The words of every line of a code block that begins with `program`, or pipes into it."""
    lines = [line for block in blocks(path, "") for line in block.splitlines()]
    found = [re.search(rf"(?:^|\| ){program} .*", line) for line in lines]
    return [shlex.split(match[0].removeprefix("| "), comments=True) for match in found if match]


# --- the command line ------------------------------------------------------------------------------------------------


def test_option_tables_are_those_of_the_commands() -> None:
    text = tables.PAGE.read_text("utf-8")
    assert text == tables.page(text), "run `make docs`"
    assert set(re.findall(r"<!-- options: (\w+) -->", text)) == set(tables.commands())


def test_every_command_has_words_of_its_own() -> None:
    for name, command in tables.commands().items():
        assert command.help, name
        for param in command.params:
            assert param.help, f"{name}: {param.name} has no help"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_in_documents_exist(page: Path) -> None:
    known = tables.commands()
    for words in commands_in(page, "beholder"):
        assert words[1] in known, words
        params = known[words[1]].params
        options = {option for param in params for option in (*param.opts, *param.secondary_opts)}
        for word in words[2:]:
            assert not word.startswith("--") or word in options, words
        for place, word in enumerate(words):
            if word == "--set":
                recipes.Recipe().override([words[place + 1]])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_make_targets_in_documents_exist(page: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {"demo", "test", "lint", "bench", "docs", "clean"} <= targets
    assert {words[1] for words in commands_in(page, "make")} <= targets


def test_make_demo_installs_what_a_user_needs_and_make_test_the_rest() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^demo: \$\(USER\)", text, re.MULTILINE)
    assert not re.search(r"^(?!demo)\w+: \$\(USER\)", text, re.MULTILINE), "what developers run takes their tools"
    user, developer = (text.partition(f"\n$({stamp}):")[2].partition("\n\n")[0] for stamp in ("USER", "DEV"))
    assert user.endswith("$(PIP) -e .\n\t@touch $@")
    assert '$(PIP) -e ".[dev]"' in developer
    assert "https://pytorch.org/get-started/locally/" in user
    assert "https://pytorch.org/get-started/locally/" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_bench_lists_what_each_script_measures_and_runs_none() -> None:
    done = subprocess.run(["make", "--silent", "bench"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    mains = [path for path in (ROOT / "bench").glob("*.py") if "__main__" in path.read_text("utf-8")]
    wanted = {path.name: path.read_text("utf-8").partition("\n")[0].replace('"""', "") for path in mains}
    assert told == {name: line for name, line in wanted.items() if not name.startswith("peer_")}


def test_every_extra_is_named_where_it_is_needed() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    assert {name for name in extras if f"beholder[{name}]" not in pages} == {"dev", "browser", "mutants", "release"}


def test_readme_first_screen_has_what_a_newcomer_needs() -> None:
    screen = "\n".join((ROOT / "README.md").read_text("utf-8").splitlines()[:40])
    for wanted in ("make demo", "make test", "import beholder", "beholder train", "beholder predict"):
        assert wanted in screen
    assert len(commands_in(ROOT / "README.md", "beholder")) == 5


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "docs/README.md"])
def test_lists_of_documents_are_whole(name: str) -> None:
    """The last section of the front pages, and the page that sorts all."""
    text = (ROOT / name).read_text("utf-8")
    given = text if name.startswith("docs") else text[text.rindex("\n## ") :]
    linked = {link.partition("#")[0].rpartition("/")[2] for link in links.links(given)}
    assert not {path.name for path in (ROOT / "docs").glob("*.md")} - linked


# --- Python ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_python_in_documents_names_what_exists(page: Path) -> None:
    if page.name == "ARCHITECTURE.md":
        return  # signatures, not statements
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(textwrap.dedent(block))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "beholder":
                assert node.attr in beholder.__all__
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and ast.unparse(node.func.value) == "beholder"
            ):
                parameters = inspect.signature(getattr(beholder, node.func.attr)).parameters
                given = {keyword.arg for keyword in node.keywords} - set(parameters)
                if "fields" in parameters:
                    recipes.Recipe().set(**{str(name): getattr(_default_of(str(name)), "value", None) for name in given})
                else:
                    assert not given, ast.unparse(node)


@dataclasses.dataclass
class Default:
    value: Any


def _default_of(name: str) -> Default:
    """The default of the recipe's field with that name, which `set` takes as it stands."""
    path = recipes.find(name)
    found: Any = recipes.Recipe()
    for part in path.split("."):
        found = getattr(found, part)
    return Default(found)


def test_the_python_of_the_readme_runs(
    leaves: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(leaves.parent)
    (leaves.parent / "new.jpg").write_bytes((leaves / "rust" / "00.png").read_bytes())
    (code,) = blocks(ROOT / "README.md", "python")
    quick = code.replace("minutes=10", "epochs=1, net='cnn'")
    assert quick != code
    exec(compile(quick, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert re.search(r"^accuracy [01]\.\d{3} \[", out, re.MULTILINE)
    assert re.search(r"^Prediction\(label='(healthy|mildew|rust)', p=[01]\.", out, re.MULTILINE)


def test_the_sketches_of_the_architecture_name_what_exists() -> None:
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "src" / "beholder").rglob("*.py")]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    known = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)}
    text = "\n".join(blocks(ROOT / "docs" / "ARCHITECTURE.md", "python"))
    named = set(re.findall(r"([A-Za-z_]\w*)\(", re.sub(r"  #.*", "", text)))
    assert len(named) > 80
    assert named <= known, sorted(named - known)


# --- recipes ---------------------------------------------------------------------------------------------------------


def rows_of(page: Path) -> dict[str, list[str]]:
    rows = [line.strip("| \n").split(" | ") for line in page.read_text("utf-8").splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row for row in rows if len(row) == 4}


def test_every_field_of_a_recipe_is_documented_with_its_default_and_choices() -> None:
    rows = rows_of(ROOT / "docs" / "RECIPES.md")
    assert set(rows) == set(recipes.names())
    defaults = dict(_assignments(recipes.Recipe().toml()))
    for name, (_, default, values, words) in rows.items():
        assert default.strip("`") == defaults[name], name
        assert len(words) > 10, name
        rules = _metadata(name)
        choices = (*rules.get("choices", ()), *(rules["table"].builtin if "table" in rules else ()))
        if choices:
            assert values == ", ".join(f"`{choice}`" for choice in choices), name


def _assignments(text: str) -> list[tuple[str, str]]:
    section, found = "", []
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        elif line:
            name, _, value = line.partition(" = ")
            found.append((section + name, value))
    return found


def _metadata(path: str) -> dict[str, Any]:
    section, _, name = path.rpartition(".")
    owner: Any = getattr(recipes.Recipe(), section) if section else recipes.Recipe()
    return dict(next(field for field in dataclasses.fields(owner) if field.name == name).metadata)


def test_every_recipe_that_comes_along_is_documented() -> None:
    text = (ROOT / "docs" / "RECIPES.md").read_text("utf-8")
    for name in recipes.named():
        assert f"| `{name}` |" in text
    for block in blocks(ROOT / "docs" / "RECIPES.md", "toml"):
        assert recipes.from_toml(block) != recipes.Recipe()


# --- the tree and the links ------------------------------------------------------------------------------------------


def names_in(tree: str) -> list[str]:
    return [line.split()[0] for line in tree.splitlines() if line.startswith("  ")]


def test_the_tree_names_every_file_and_the_ladder_every_package() -> None:
    text = tables.HOUSE.read_text("utf-8")
    found, drawn = tables.TREE.search(text), tables.LADDER.search(text)
    assert found is not None
    assert drawn is not None
    assert names_in(found[0]) == names_in(tables.tree()), "run `make docs`"
    assert len(names_in(found[0])) > 50
    rooms = [line.split()[1] for line in drawn[0].splitlines() if line[:2].strip().isdigit()]
    assert rooms == [line.split()[1] for line in tables.ladder().splitlines() if line[:2].strip().isdigit()], "run `make docs`"


def test_a_picture_passes_the_stops_of_the_architecture_in_their_order(small: tuple[Path, Path, Any], tmp_path: Path) -> None:
    section = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8").partition("## A picture's way")[2].partition("\n## ")[0]
    for file, name in re.findall(r"`([\w/]+\.py): ([\w.]+)`", section):
        operator.attrgetter(name)(importlib.import_module(f"beholder.{file[:-3].removesuffix('/__init__').replace('/', '.')}"))
    stops = re.findall(r"^\d+\. `([\w/]+\.py): ([\w.]+)`", section, re.MULTILINE)
    assert 8 <= len(stops) <= 12
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(tmp_path / "new.jpg")
    passed: dict[tuple[str, str], None] = {}

    def notice(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(ROOT / "src" / "beholder")):
            passed[Path(code.co_filename).relative_to(ROOT / "src" / "beholder").as_posix(), code.co_qualname] = None

    sys.setprofile(notice)
    try:
        beholder.load(small[1])(tmp_path / "new.jpg")
    finally:
        sys.setprofile(None)
    assert [stop for stop in passed if stop in stops] == stops


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert links.broken(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_documents_name_exist(page: Path) -> None:
    if page.name in ("CHANGELOG.md", "ARCHITECTURE.md", "LOG.md", "PEERS.md"):  # history, and files of other programs
        return
    text = page.read_text("utf-8")
    rooms = {path.parent.name for path in (ROOT / "src" / "beholder").glob("*/__init__.py")}
    for name in re.findall(r"`((?:src|tests|docs|" + "|".join(sorted(rooms)) + r")/[\w./]+\.(?:py|md|toml))", text):
        assert (ROOT / name).exists() or (ROOT / "src" / "beholder" / name).exists(), name
