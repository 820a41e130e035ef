"""The house rules of docs/ARCHITECTURE.md, read from the source with `ast` and from fresh interpreters."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"
LEVELS = [
    {"base"},
    {"measure", "machine"},
    {"image", "nets"},
    {"sources"},
    {"duplicates"},
    {"data"},
    {"tasks"},
    {"bundle"},
    {"runtime"},
    {"quality"},
    {"evaluation", "explanation"},
    {"reporting", "review", "server"},
    {"learn"},
    {"study"},
    {"cli"},
    {"__main__", ""},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
PICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@dataclass(frozen=True)
class Import:
    """One imported name: `torch.nn` for `import torch.nn` and for `from torch import nn`."""

    name: str
    line: int
    typing_only: bool


def imports(tree: ast.AST, package: str, *, typing_only: bool = False) -> Iterator[Import]:
    """Yield every import below `tree`, those inside functions too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (above, node.module) if part)
            yield from (Import(f"{module}.{alias.name}", node.lineno, typing_only) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from imports(ast.Module(node.body, []), package, typing_only=True)
            yield from imports(ast.Module(node.orelse, []), package, typing_only=typing_only)
        else:
            yield from imports(node, package, typing_only=typing_only)


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    """`beholder.image.fit` → `image`; the face of the package is ``."""
    return module.partition(".")[2].partition(".")[0]


FILES = sorted((SRC / "beholder").rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in FILES}
MODULES = {dotted(path): path for path in FILES}
IMPORTS = {
    name: list(imports(TREES[path], name if path.name == "__init__.py" else name.rpartition(".")[0]))
    for name, path in MODULES.items()
}


def target(name: str) -> str:
    """The module of this package that an imported name lies in."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def inside(name: str) -> list[Import]:
    return [found for found in IMPORTS[name] if found.name.partition(".")[0] == "beholder"]


def breaks_ladder(importer: str, imported: str) -> bool:
    here, there = room(importer), room(imported)
    return here != there and LEVEL[there] >= LEVEL[here]


def chains(tree: ast.AST) -> set[str]:
    """Every dotted name that is read or called: `torch.load`, `os.environ`."""
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Attribute, ast.Name))}


def outside(*rooms: str) -> list[Path]:
    return [path for name, path in MODULES.items() if room(name) not in rooms]


def test_reader_sees_imports_wherever_they_hide() -> None:
    text = "import a.b\nif TYPE_CHECKING:\n    import c\ndef f():\n    from . import d\n    from ..e import f as g\n"
    found = [(i.name, i.line, i.typing_only) for i in imports(ast.parse(text), "beholder.data")]
    expected = [("a.b", 1, False), ("c", 3, True), ("beholder.data.d", 5, False), ("beholder.e.f", 6, False)]
    assert found == expected


def test_ladder_knows_up_from_down() -> None:
    assert not breaks_ladder("beholder.study.steps", "beholder.learn.train")
    assert breaks_ladder("beholder.evaluation.predict", "beholder.learn.train")
    assert breaks_ladder("beholder.image", "beholder.nets.build")
    assert breaks_ladder("beholder.base.files", "beholder.image")
    assert breaks_ladder("beholder.study.steps", "beholder.cli.show")


def test_every_room_has_its_level() -> None:
    assert {room(name) for name in MODULES} <= set(LEVEL) | {"recipes"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    if module == "beholder":
        return
    wrong = [f"line {i.line}: {i.name}" for i in inside(module) if breaks_ladder(module, target(i.name))]
    assert not wrong, f"{module} imports what lies beside or above it: {wrong}"


def test_what_serves_cannot_train() -> None:
    seen: set[str] = set()
    todo = [name for name in MODULES if room(name) in {"runtime", "evaluation", "explanation", "reporting", "server"}]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += [target(i.name) for i in inside(name) if not i.typing_only]
    assert not {name for name in seen if room(name) == "learn"}


def test_no_cycles_between_modules() -> None:
    """Imports for annotations alone count: who reads one of two such files has to read the other."""
    graph = {name: {target(i.name) for i in inside(name)} - {name} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SRC)) for path in FILES])
def test_files_and_functions_are_short_and_well_named(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= 400, f"{lines} lines"
    functions = [node for node in ast.walk(TREES[path]) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    long = {f.name: (f.end_lineno or 0) - f.lineno for f in functions if (f.end_lineno or 0) - f.lineno > 40}
    assert not long, "a function fits a screen"
    assert path.stem not in FORBIDDEN_NAMES
    assert path.parent.name not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SRC)) for path in FILES])
def test_importing_does_nothing_but_define(path: Path) -> None:
    calls = [node.lineno for node in TREES[path].body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    assert not calls, f"calls at import in lines {calls}"
    loops = [node.lineno for node in TREES[path].body if isinstance(node, (ast.For, ast.While, ast.With))]
    assert not loops, f"statements at import in lines {loops}"


def test_only_one_place_opens_pictures() -> None:
    """`image/` alone opens pictures, and only through its door: nobody else imports what decodes."""
    decoders = {"Image.open", "PIL.Image.open", "torchvision.io"}
    libraries = ("PIL.Image.open", "torchvision.io", "cv2", "imageio", "simplejpeg", "pillow_heif", "pydicom", "openjpeg")
    behind = {f"beholder.image.{name}" for name in ("pillow", "jpeg", "heif", "dicom", "tiff", "jpeg2000", "child")}
    assert behind < set(MODULES)
    for name, path in MODULES.items():
        if name.startswith("beholder.image"):
            continue
        assert not {i.name for i in IMPORTS[name] if i.name.startswith(libraries)}, name
        assert not {i.name for i in inside(name) if target(i.name) in behind}, name
        assert not chains(TREES[path]) & decoders, name


def test_only_machine_knows_of_clusters() -> None:
    for name in MODULES:
        if room(name) != "machine":
            found = {i.name for i in IMPORTS[name]}
            assert not {n for n in found if n.partition(".")[0] == "ray" or n.startswith("torch.distributed")}, name
            assert not {c for c in chains(TREES[MODULES[name]]) if c.startswith("torch.distributed")}, name


def test_only_the_table_of_devices_asks_cuda() -> None:
    """`machine/ranks.py` names the collectives of CUDA, which torch.distributed takes beside those of the CPU."""
    asked = ("torch.cuda", "torch.mps", "torch.backends")
    found = {name for name, path in MODULES.items() if any(chain.startswith(asked) for chain in chains(TREES[path]))}
    assert found <= {"beholder.machine.devices", "beholder.machine.ranks"}


def test_nothing_pickles() -> None:
    for name, path in MODULES.items():
        assert not {i.name for i in IMPORTS[name] if i.name.partition(".")[0] in PICKLERS}, name
        assert name == "beholder.nets.onboard" or not chains(TREES[path]) & {"torch.load", "torch.save"}, name
        allowed = [k for k in ast.walk(TREES[path]) if isinstance(k, ast.keyword) and k.arg == "allow_pickle"]
        assert all(ast.unparse(k.value) == "False" for k in allowed), name


def test_the_one_pickle_that_is_read_is_one_of_verified_bytes() -> None:
    """`nets/onboard.py` hands to `torch.load` the bytes that `_known_bytes` verified, once, and only tensors come out."""
    tree = TREES[MODULES["beholder.nets.onboard"]]
    [call] = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".load")]
    verified = "torch.load(io.BytesIO(_known_bytes(backbone)), map_location='cpu', weights_only=True)"
    assert ast.unparse(call) == verified


def test_every_csv_is_guarded_against_formulas() -> None:
    """Who writes a CSV does it by `base/cells.py`: a spreadsheet must run nothing that a name of a file says."""
    writers = {"csv.writer", "csv.DictWriter"}
    for name, path in MODULES.items():
        assert not chains(TREES[path]) & writers, name


def test_only_the_command_line_prints() -> None:
    for path in outside("cli"):
        prints = [n.lineno for n in ast.walk(TREES[path]) if isinstance(n, ast.Call) and ast.unparse(n.func) == "print"]
        assert not prints, f"{path.relative_to(SRC)}: print in lines {prints}"


def test_only_machine_and_command_line_read_the_environment() -> None:
    for path in outside("machine", "cli"):
        assert not chains(TREES[path]) & {"os.environ", "os.getenv"}, path.relative_to(SRC)


def loaded_by(code: str, *names: str) -> set[str]:
    """Which of the modules `names` a fresh interpreter holds after it ran `code`."""
    asked = f"{code}\nimport sys as s\ns.stderr.write(' '.join(n for n in {names!r} if n in s.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


def test_import_loads_no_heavy_library() -> None:
    assert not loaded_by(
        "import beholder; dir(beholder)", "torch", "numpy", "PIL", "timm", "sklearn", "matplotlib", "pydantic", "typer"
    )


def test_help_loads_no_heavy_library() -> None:
    code = "from beholder.cli.run import run\nassert run(['--help']) == 0\nassert run(['train', '--help']) == 0"
    assert not loaded_by(code, "torch", "PIL", "timm", "sklearn", "matplotlib", "rich")
    assert not loaded_by("from beholder.cli.run import run; run(['--help'])", "pydantic"), "typer loads it for a command"


def test_serving_exports_takes_no_torch() -> None:
    code = "import beholder.server.app, beholder.server.run, beholder.runtime.engines, beholder.runtime.exported"
    assert not loaded_by(code, "torch", "timm", "sklearn")


@pytest.mark.parametrize(
    ("what", "homes"),
    [
        ("def auroc(", {"measure/curves.py"}),
        ("def nearest(rows", {"measure/neighbours.py"}),
        (".LBFGS(", {"nets/head.py"}),
        ("LogisticRegression(", set()),
        ("0x94D049BB133111EB", {"base/mixing.py"}),
        ("kneighbors", set()),
    ],
)
def test_there_is_one_of_each(what: str, homes: set[str]) -> None:
    """One AUROC, one search for neighbours, one logistic regression on features, one generator: who needs one imports it."""
    found = {path.relative_to(SRC / "beholder").as_posix() for path in FILES if what in path.read_text("utf-8")}
    assert found == homes


def best_of(times: int, *command: str) -> float:
    """The shortest wall time in seconds of a command, interpreter start included."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True, timeout=60)
        found.append(time.perf_counter() - start)
    return min(found)


def test_import_is_quick(record_property: Callable[[str, object], None]) -> None:
    """The budget is 0.1 s; twice that is allowed here, as tests share their machine."""
    bare = best_of(5, sys.executable, "-c", "pass")
    seconds = best_of(5, sys.executable, "-c", "import beholder") - bare
    record_property("import_seconds", round(seconds, 3))
    assert seconds < 0.2


def test_help_is_quick(record_property: Callable[[str, object], None]) -> None:
    """The budget is 0.35 s; twice that is allowed here, as tests share their machine."""
    seconds = best_of(5, sys.executable, "-m", "beholder", "--help")
    record_property("help_seconds", round(seconds, 3))
    assert seconds < 0.7
