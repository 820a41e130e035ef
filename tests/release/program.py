"""Build what is released, look into it, install it into a clean environment and run the demo from there.

    python -m tests.release.program                 # wheel and sdist in dist/; the environment has nothing but what pip brings
    python -m tests.release.program --borrow        # with the packages of this environment instead: no network, a minute

Exits with 1 and a sentence for what is wrong. Needs the extra `release` (build, twine).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "beholder"
LARGEST = {"whl": 4_000_000, "gz": 8_000_000}
"""Bytes of wheel and sdist: more means that something is in it that should not be."""

MADE = re.compile(r"beholder-[^/]+(\.whl|\.tar\.gz)|\.gitignore")
"""What a build leaves in its folder."""

ENOUGH = 0.9
"""Accuracy that the demo reaches on any machine."""


def version() -> str:
    """Return the version in pyproject.toml."""
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    return found


def sources() -> set[str]:
    """Return every file of the package, as paths below its folder's parent; what Python makes is left out."""
    found = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(PACKAGE.parent).as_posix() for path in found}


def faults(wheel: Path) -> list[str]:
    """Return what is wrong with a wheel: files of the package that it lacks, others that it has, its size and its version."""
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if not name.endswith("/")}
        info = next((name for name in names if name.endswith(".dist-info/METADATA")), "")
        metadata = packed.read(info).decode() if info else ""
    own = {name for name in names if not PurePosixPath(name).parts[0].endswith(".dist-info")}
    wrong = [f"it lacks {name}" for name in sorted(sources() - own)]
    wrong += [f"it has {name}, which is not in the package" for name in sorted(own - sources())]
    if f"\nVersion: {version()}\n" not in metadata:
        wrong.append(f"its version is not {version()}")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        wrong.append("it has no licence")
    if wheel.stat().st_size > LARGEST["whl"]:
        wrong.append(f"it has {wheel.stat().st_size:,} bytes, more than {LARGEST['whl']:,}")
    return wrong


def faults_of_sdist(sdist: Path) -> list[str]:
    """Return what is wrong with an sdist: what it lacks to be built, and its size."""
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    needed = {"pyproject.toml", "README.md", "LICENSE", *(f"src/{name}" for name in sources())}
    wrong = [f"it lacks {name}" for name in sorted(needed - names)]
    if sdist.stat().st_size > LARGEST["gz"]:
        wrong.append(f"it has {sdist.stat().st_size:,} bytes, more than {LARGEST['gz']:,}")
    return wrong


def emptied(out: Path) -> None:
    """Remove the wheels and sdists of Beholder from a folder. Raises `SystemExit` where anything else is in it."""
    others = [path.name for path in out.iterdir() if not MADE.fullmatch(path.name)] if out.exists() else []
    if others:
        raise SystemExit(f"{out} has {others[0]} in it, which is not of a release: name another folder, or remove it yourself")
    for path in out.iterdir() if out.exists() else ():
        path.unlink()


def built(out: Path, *, isolated: bool = True) -> tuple[Path, Path]:
    """Build sdist and wheel into an empty folder, from a copy of what belongs to them; return (wheel, sdist).

    What an earlier call left in `out` goes; a folder with anything else in it is refused, and nothing of it is removed.
    """
    emptied(out)
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "beholder"
        copy.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
            shutil.copy(ROOT / name, copy)
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / "src", copy / "src", ignore=ignored)
        run(sys.executable, "-m", "build", "--outdir", str(out), *([] if isolated else ["--no-isolation"]), str(copy))
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


def environment(place: Path, wheel: Path, *, borrow: bool) -> Path:
    """Install a wheel into a new environment and return its Python; borrow: packages of this one are seen, but not Beholder."""
    venv.create(place, with_pip=True, symlinks=os.name != "nt")
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if borrow:
        site = run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        Path(site, "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # whose own .pth files are not read
        run(*install, "--no-deps", "--no-index", str(wheel))
    else:
        run(*install, "-c", str(ROOT / "constraints.txt"), str(wheel))
    return python


def demonstrated(python: Path, place: Path) -> str:
    """Run the demo by the installed command outside of the checkout; return what came out. Raises `AssertionError`."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "BEHOLDER_CACHE")}
    home = {"HOME": str(place), "USERPROFILE": str(place), "XDG_CACHE_HOME": str(place / "cache")}
    where = run(str(python), "-c", "import beholder; print(beholder.__file__)", cwd=place, env=clean).strip()
    assert Path(where).is_relative_to(python.parents[1]), f"it runs {where}, which is not what was installed"
    command = python.with_name("beholder.exe" if os.name == "nt" else "beholder")
    said = run(str(command), "--version", cwd=place, env=clean).strip()
    assert said == version(), f"the command says {said}"
    told = json.loads(run(str(command), "demo", "--out", "demo", "--json", cwd=place, env={**clean, **home}))
    accuracy = told["scores"]["accuracy"]["value"]
    assert accuracy > ENOUGH, f"the demo reaches {accuracy}"
    assert list((place / "demo").rglob("report.html")), "the demo wrote no report"
    return f"accuracy {accuracy:.3f} in {told['seconds']:.0f} s"


def run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it prints; what it says of an error is passed on."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} … ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout


def main(arguments: list[str]) -> None:
    """Do all of it, a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--borrow", action="store_true", help="packages of this environment; no network")
    asked = parser.parse_args(arguments)
    wheel, sdist = built(asked.out, isolated=not asked.borrow)
    for path, wrong in ((wheel, faults(wheel)), (sdist, faults_of_sdist(sdist))):
        if wrong:
            raise SystemExit("\n".join([f"{path.name}:", *wrong[:20]]))
        print(f"{path.name}: {path.stat().st_size:,} bytes, whole")
    run(sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist))
    print("twine check: passed")
    with tempfile.TemporaryDirectory() as place:
        python = environment(Path(place) / "env", wheel, borrow=asked.borrow)
        kind = "the packages of this environment and the wheel" if asked.borrow else "nothing but the wheel and what it needs"
        print(f"environment: {kind}")
        print(f"demo: {demonstrated(python, Path(place))}")


if __name__ == "__main__":
    main(sys.argv[1:])
