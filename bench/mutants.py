"""Faults planted one at a time in what measures, splits, tests, loads and learns: which do the tests beside them notice?

    .venv/bin/python bench/mutants.py [--draw N] [--seed S] [--to FOLDER] [PATTERN …]

Every fault (a mutant of mutmut 3) of the functions whose names match a PATTERN, such as beholder.measure.counts*; with --draw a
random sample of N over them all, the same number from each package as far as it has so many. A fault is noticed where a test of
the package's own folder under tests/ that calls the function fails; those are run in a child process, the quickest first. What
those let pass is shown to mypy, as `make lint` does, and then to the quick tests of other folders that call the function. The
copy with the faults is left in FOLDER (build/mutants), with what was found in found.json: names that stand there already are
not run again.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import fnmatch
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PLANTED = {
    "measure": ["measure/*.py"],
    "data": ["data/split.py"],
    "evaluation": ["evaluation/**/*.py"],
    "bundle": ["bundle/*.py"],
    "learn": ["learn/*.py"],
}
"""Package → the files of src/beholder that faults are planted in; its tests are those of tests/PACKAGE."""

QUIET = ("-x", "-q", "-p", "no:cacheprovider", "-m", "not shared and not browser and not slow")


def planted(here: Path, to: Path) -> dict[str, list[str]]:
    """Copy the checkout to a folder, its functions replaced by those of mutmut; return the names of the faults by package."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    shutil.copytree(here, to, ignore=shutil.ignore_patterns(".*", "build", "mutants", "*.egg-info"), dirs_exist_ok=True)
    names: dict[str, list[str]] = defaultdict(list)
    for package, patterns in PLANTED.items():
        for path in sorted(path for pattern in patterns for path in (here / "src/beholder").glob(pattern)):
            inside = path.relative_to(here / "src")
            found = mutate_file_contents(str(inside), path.read_text("utf-8"))
            (to / "src" / inside).write_text(found.code, "utf-8")
            module = ".".join(inside.with_suffix("").parts).removesuffix(".__init__")
            names[package] += [f"{module}.{name}" for name in found.mutant_names]
    return names


def drawn(names: dict[str, list[str]], count: int, seed: int) -> dict[str, list[str]]:
    """Return a random sample of `count` names, as many from each package as there are, or as an equal share comes to."""
    rng, left, found = random.Random(seed), count, {}
    for at, package in enumerate(sorted(names, key=lambda each: len(names[each]))):
        found[package] = rng.sample(names[package], min(len(names[package]), left // (len(names) - at)))
        left -= len(found[package])
    return found


class Watch:
    """A plugin of pytest that writes down which functions each test calls, and how long it takes."""

    def __init__(self) -> None:
        self.calls: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        from mutmut.state import state

        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.when == "call":
            self.calls[report.nodeid] = sorted(state()._stats)
            state()._stats.clear()


def watched(package: str, to: Path) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Return the tests of a package by the function that they call, the quickest first, and the seconds of each."""
    out = to / f"calls-{package}.json"
    if not out.is_file():
        child = os.fork()
        if not child:
            import pytest

            watch, os.environ["MUTANT_UNDER_TEST"] = Watch(), "stats"
            code = pytest.main([*QUIET, f"tests/{package}"], plugins=[watch])
            out.write_text(json.dumps([watch.calls, watch.seconds] if not code else None))
            os._exit(0)
        os.waitpid(child, 0)
    found = json.loads(out.read_text())
    if found is None:
        sys.exit(f"tests/{package} fail without a fault")
    calls, seconds = found
    tests: dict[str, list[str]] = defaultdict(list)
    for test in sorted(calls, key=lambda each: seconds[each]):
        for function in calls[test]:
            tests[function].append(test)
    return tests, seconds


def fate(name: str, tests: Iterable[str], seconds: float) -> str:
    """Return noticed | survived | timeout of one fault, after the tests in a child process."""
    child = os.fork()
    if not child:
        import pytest

        os.setpgid(0, 0)
        os.environ["MUTANT_UNDER_TEST"] = name
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os._exit(min(int(pytest.main([*QUIET, *tests])), 100))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "noticed" if os.waitstatus_to_exitcode(status) else "survived"
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def run(package: str, names: list[str], found: dict[str, str], to: Path) -> None:
    """Add the fate of each fault of a package by its own tests to `found`, and write them all down."""
    import pytest

    tests, seconds = watched(package, to)
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*QUIET, "--collect-only", f"tests/{package}"])  # what children would import is imported once
    for name in names:
        those = tests[name.rpartition("__mutmut_")[0]]
        found[name] = fate(name, those, 30 + 3 * sum(seconds[test] for test in those)) if those else "no test"
        (to / "found.json").write_text(json.dumps(found, indent=1))


LEFT = ("survived", "no test")
ELSEWHERE = ("contracts", "study", "evaluation", "learn", "bundle", "runtime", "measure", "reporting", "server", "cli")
"""Folders of tests, in the order in which they are asked about what the package's own let pass."""


def typed(names: list[str], found: dict[str, str], here: Path, to: Path) -> None:
    """Note which of the faults that tests let pass mypy notices, in the plain source with just that fault."""
    plain = to / "plain"
    shutil.copytree(here / "src", plain / "src", dirs_exist_ok=True)
    shutil.copy(here / "pyproject.toml", plain)
    mypy = [str(Path(sys.executable).with_name("mypy")), "--cache-dir", str(plain / ".mypy_cache"), "src"]

    def passes() -> bool:
        return not subprocess.run(mypy, cwd=plain, capture_output=True, check=False).returncode

    if not passes():
        sys.exit("mypy fails without a fault")
    for name in (name for name in names if found[name] in LEFT):
        path, text = faulty(name, to)
        before = (plain / path).read_text("utf-8")
        (plain / path).write_text(text, "utf-8")
        found[name] = found[name] if passes() else "typed"
        (plain / path).write_text(before, "utf-8")
    (to / "found.json").write_text(json.dumps(found, indent=1))


def functions(text: str) -> dict[str, tuple[int, int]]:
    """Return of each function the lines after the first of it, from and to, by its name as mutmut writes it."""
    found = {}
    for node in ast.walk(ast.parse(text)):
        inner = [(node.name, each) for each in node.body] if isinstance(node, ast.ClassDef) else []
        outer = [("", each) for each in node.body] if isinstance(node, ast.Module) else []
        for owner, each in (*inner, *outer):
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
                name = f"xǁ{owner}ǁ{each.name}" if owner else f"x_{each.name}"
                found[name] = found[each.name] = (each.lineno, each.end_lineno or each.lineno)
    return found


def faulty(name: str, to: Path) -> tuple[Path, str]:
    """Return the path of a file below the checkout, and its plain text with one fault."""
    module, _, mutant = name.rpartition(".")
    path = Path("src", *module.split("."))
    path = path.with_suffix(".py") if (to / path.with_suffix(".py")).is_file() else path / "__init__.py"
    planted, plain = (to / path).read_text("utf-8"), (to / "plain" / path).read_text("utf-8")
    begin, end = functions(planted)[mutant]
    body = planted.splitlines()[begin:end]
    lines = plain.splitlines()
    begin, end = functions(plain)[mutant.rpartition("__mutmut_")[0]]
    return path, "\n".join([*lines[:begin], *body, *lines[end:], ""])


def elsewhere(names: list[str], found: dict[str, str], to: Path) -> None:
    """Note which of the faults that are left the quick tests of other folders notice."""
    for folder in ELSEWHERE:
        left = [name for name in names if found[name] in LEFT and name.split(".")[1] != folder]
        if not left:
            continue
        tests, seconds = watched(folder, to)
        for name in left:
            those = tests[name.rpartition("__mutmut_")[0]][:40]
            if those and fate(name, those, 60 + 3 * sum(seconds[test] for test in those)) != "survived":
                found[name] = "elsewhere"
                (to / "found.json").write_text(json.dumps(found, indent=1))


def change(name: str, to: Path) -> str:
    """Return the lines by which the function with the fault differs from the plain one."""
    module, _, mutant = name.rpartition(".")
    path = to / "src" / Path(*module.split("."))
    text = (path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py").read_text("utf-8")
    lines = text.splitlines()
    bodies = {
        node.name: lines[node.lineno : node.end_lineno]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    plain = bodies[f"{mutant.rpartition('__mutmut_')[0]}__mutmut_orig"]
    return "\n".join(line for line in difflib.unified_diff(plain, bodies[mutant], n=0, lineterm="") if line[1:2] == " ")


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=Path("build/mutants"))
    parser.add_argument("patterns", nargs="*", default=["*"])
    asked = parser.parse_args()
    to, here = asked.to.absolute(), Path.cwd()
    names = {
        package: [name for name in each if any(fnmatch.fnmatch(name, pattern) for pattern in asked.patterns)]
        for package, each in planted(here, to).items()
    }
    print({package: len(each) for package, each in names.items()}, flush=True)
    names = drawn(names, asked.draw, asked.seed) if asked.draw else names
    os.chdir(to)
    os.environ["PYTHONPATH"] = str(to / "src")
    sys.path.insert(0, str(to / "src"))
    from beholder.measure.intervals import wilson

    record = to / "found.json"
    found: dict[str, str] = json.loads(record.read_text()) if record.is_file() else {}
    for package, each in names.items():
        if each:
            run(package, [name for name in each if name not in found], found, to)
            fates = Counter(found[name] for name in each)
            print(package, dict(fates), "by its own tests:", wilson(fates["noticed"] + fates["timeout"], len(each)), flush=True)
    drawn_all = [name for each in names.values() for name in each]
    typed(drawn_all, found, here, to)
    elsewhere(drawn_all, found, to)
    for package, each in [*names.items(), ("all", drawn_all)]:
        if each:
            fates = Counter(found[name] for name in each)
            noticed = len(each) - sum(fates[left] for left in LEFT)
            print(package, dict(fates), "noticed:", wilson(noticed, len(each)), flush=True)
    for name in (name for each in names.values() for name in each if found[name] in LEFT):
        print(f"\n{name}: {found[name]}\n{change(name, to)}")


if __name__ == "__main__":
    main()
