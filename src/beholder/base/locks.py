"""One run at a time in one place, and nothing of the cache deleted while it is read: locks that end with their process."""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from beholder.base.errors import UsageError
from beholder.base.files import followed, remove_folder, telling_disk_errors

_HELD: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


@contextmanager
def alone(path: Path | None) -> Iterator[None]:
    """Hold the place `path`, a file or folder that need not exist, inside the block; a block inside it may ask again.

    path: None holds nothing.

    The lock is on `.NAME.lock` beside it, gone when the block ends; after a kill it lies there, locked by nobody. Where a
    system or disk has no locks, nothing is held. Raises `UsageError` (in-use) at once where another run holds it.
    """
    path = None if path is None else followed(path).absolute()
    if path is None or path in _HELD.get():
        yield
        return
    missing = [above for above in path.parents if not above.exists()]
    with telling_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    file = _lock(path)
    descriptor = _held(file, path)
    token = _HELD.set(_HELD.get() | {path})
    try:
        yield
    finally:
        _HELD.reset(token)
        if descriptor is not None:
            with suppress(OSError):
                file.unlink()
            os.close(descriptor)
        with suppress(OSError):  # folders made for the lock alone
            for above in missing:
                above.rmdir()


def check_free(path: Path) -> None:
    """Raise `UsageError` (in-use) where another run holds the place `path`."""
    path = followed(path).absolute()
    if path not in _HELD.get() and _lock(path).exists():
        with alone(path):
            pass


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _held(file: Path, path: Path) -> int | None:
    """Return the descriptor of the lock, None where there are no locks. Its file holds the number of the process."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    own = str(os.getpid()).encode()
    while True:
        _create(file, own)
        try:
            descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:  # its holder has just removed it
            continue
        except OSError:  # of somebody else, who does not let us see it
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(descriptor, file):
                if os.read(descriptor, 20) == own:
                    return descriptor
                file.unlink()  # left by a run that was killed
        except BlockingIOError:
            who = os.read(descriptor, 20).decode("ascii", "replace")
            os.close(descriptor)
            text = f"another run is writing to {path}" + (f" (process {who})" if who else "")
            hint = "wait until it is done, end it, or choose another name with --out"
            raise UsageError(text, code="in-use", hint=hint) from None
        except OSError:  # a disk without locks
            os.close(descriptor)
            return None
        os.close(descriptor)


def _create(file: Path, content: bytes) -> None:
    """Make the file of a lock, unless it is there, or nothing. Raises `MachineError`."""
    with telling_disk_errors(file):
        if file.exists():
            return
        try:
            file.write_bytes(content)
        except OSError:
            file.unlink(missing_ok=True)
            raise


def _same(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except OSError:
        return False


def share(descriptor: int) -> bool:
    """Keep an open file of the cache from being deleted until it is closed; return False where that has begun already."""
    return _flock(descriptor, "LOCK_SH")


def hold(owner: object, path: Path) -> None:
    """Keep a file of the cache from being deleted as long as `owner` lives. Raises `OSError` where it is gone."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    weakref.finalize(owner, os.close, descriptor)
    share(descriptor)


def delete(path: Path) -> bool:
    """Delete a file or folder of the cache, unless a process reads one of its files; return whether it is gone."""
    try:
        with ExitStack() as stack:
            for file in path.iterdir() if path.is_dir() else [path]:
                if file.is_file() and not stack.enter_context(_idle(file)):
                    return False
            remove_folder(path) if path.is_dir() else path.unlink()
    except OSError:
        pass  # another process was faster, or the system keeps what is open
    return not path.exists()


def evict(paths: Iterable[Path], limit: float = 0, *, using: Collection[Path] = ()) -> list[int]:
    """Delete the files and folders used least recently until all take no more than `limit` bytes; never those in use.

    Return the bytes of each that was deleted.
    """
    held = []
    for path in paths:
        with suppress(OSError):  # another process may have deleted it
            files = list(path.iterdir()) if path.is_dir() else [path]
            held.append((path.stat().st_mtime_ns, sum(file.stat().st_size for file in files), path))
    total, gone = sum(size for _, size, _ in held), []
    for _, size, path in sorted(held):
        if total > limit and path not in using and delete(path):
            total -= size
            gone.append(size)
    return gone


@contextmanager
def _idle(file: Path) -> Iterator[bool]:
    """Hold a file alone inside the block; False where somebody reads it."""
    descriptor = os.open(file, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    try:
        yield _flock(descriptor, "LOCK_EX")
    finally:
        os.close(descriptor)


def _flock(descriptor: int, kind: str) -> bool:
    """Lock an open file at once; False where somebody is in the way. Where a system or disk has no locks, that is nobody."""
    try:
        import fcntl

        fcntl.flock(descriptor, getattr(fcntl, kind) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        pass
    return True
