"""From arguments to an exit code: every error becomes a message and a hint on stderr, never a traceback unless asked for."""

from __future__ import annotations

import codecs
import gc
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence

import typer

from beholder.base import recipe as recipes
from beholder.base.errors import BeholderError, Interrupted, MachineError, UsageError, did_you_mean
from beholder.base.limits import allow
from beholder.base.renamed import arguments as current
from beholder.base.synonyms import synonym
from beholder.base.used import UNUSED
from beholder.cli.complete import VARIABLE, install

_TYPER_USAGE: type[Exception] = typer.BadParameter.__mro__[1]  # the base of all usage errors, whether click is bundled or not


def run(arguments: Sequence[str], *, began: float | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 not fit, 2 wrong usage, 130 interrupted.

    began: `time.monotonic()` at which the process started, from which a budget of minutes counts; default now.
    `--debug`, before or after the command, prints the traceback of an error.
    """
    stop = list(arguments).index("--") if "--" in arguments else len(arguments)
    debug = "--debug" in arguments[:stop]
    _tolerate_any_file_name()
    try:
        _command([a for a in arguments[:stop] if a != "--debug"] + list(arguments[stop:]), began=began)
        sys.stdout.flush()
    except typer.Exit as leave:
        return leave.exit_code
    except SystemExit as leave:
        return _complain(_left(leave), debug=debug)
    except BrokenPipeError:
        _discard_stdout()
        return 0
    except (BeholderError, Interrupted) as error:
        return _complain(error, debug=debug)
    except (KeyboardInterrupt, typer.Abort):
        return _complain(Interrupted(), debug=debug)
    except _TYPER_USAGE as error:
        return _complain(_worded(error), debug=debug)
    except OSError as error:
        return _complain(_refused(error), debug=debug)
    except Exception as error:  # noqa: BLE001  (the last resort: a person must never meet a traceback unasked)
        return _complain(_internal(error, command=" ".join(arguments[:1])), debug=debug)
    return 0


SPINS = "10000"
"""How often a thread of OpenMP looks for the others before it sleeps, for about 0.5 ms; libgomp's own 300,000 take 15.

With 1,000 it sleeps between most of the kernels of a small net, and waking it costs a third of a step (docs/LOG.md).
"""


def _share_cores() -> None:
    """Let threads that wait for others sleep soon: libgomp reads this when torch is loaded.

    On a busy machine a thread that spins keeps from running the very one that it waits for: with two threads a net took up
    to 60 times as long as with one (docs/LOG.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def _command(arguments: list[str], *, began: float | None) -> None:
    _share_cores()
    gc.set_threshold(50_000)  # the default looks through a million names again and again: 0.3 s of a start
    from beholder.cli.commands import app

    _allow_pixels(os.environ.get("BEHOLDER_PIXELS", ""))

    if os.environ.get("WORLD_SIZE", "1") != "1":
        from beholder.learn.followed import joining

        joining(lambda: _invoke(app, arguments, began))
    else:
        _invoke(app, arguments, began)


def _invoke(app: typer.Typer, arguments: list[str], began: float | None) -> None:
    command = typer.main.get_command(app)
    if os.environ.get(VARIABLE):
        try:
            command.main([], prog_name="beholder")
        except SystemExit as answered:
            raise typer.Exit(answered.code if isinstance(answered.code, int) else 0) from None
    if (said := install(arguments)) is not None:
        print(said)
        return
    with command.make_context("beholder", _asked(current(arguments)), obj=began) as context:
        command.invoke(context)


def _allow_pixels(text: str) -> None:
    """Let pictures have as many million pixels as the variable BEHOLDER_PIXELS says. Raises `UsageError` (bad-value)."""
    if not text:
        return
    if not text.isdecimal() or not 1 <= int(text) <= 4000:
        hint = "it is how many million pixels one picture may have, from 1 to 4000"
        raise UsageError(f"BEHOLDER_PIXELS is '{text}'", code="bad-value", hint=hint)
    allow(int(text))


def _asked(arguments: list[str]) -> list[str]:
    """Return arguments with what people type for help and for the version in the form of options.

    >>> _asked([]), _asked(["help"]), _asked(["help", "train"]), _asked(["version"])
    (['--help'], ['--help'], ['train', '--help'], ['--version'])
    """
    if not arguments or arguments[0] in ("help", "-h", "-?"):
        return [*arguments[1:2], "--help"]
    return ["--version"] if arguments[0] in ("version", "-V") else arguments


def _complain(error: BeholderError | Interrupted, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error.__cause__ or error, file=sys.stderr)
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def _left(leave: SystemExit) -> BeholderError:
    """Return what is said where the code of a net, a plug-in or a library ended the program: nothing here does."""
    said = "" if leave.code is None else f": {leave.code}"
    hint = "--debug shows where: let that code raise an error instead"
    left = BeholderError(f"code outside of Beholder called sys.exit{said}", code="left", hint=hint)
    left.__cause__ = leave
    return left


def _refused(error: OSError) -> MachineError:
    """Return what the system refused, such as writing to a full disk through stdout."""
    what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    refused = MachineError(
        what[:1].lower() + what[1:], code="system", hint="check the disk and the permissions; --debug shows where it happened"
    )
    refused.__cause__ = error
    return refused


def _internal(error: Exception, *, command: str = "") -> BeholderError:
    if isinstance(error, UnicodeEncodeError) and error.encoding.lower() == sys.getfilesystemencoding().lower():
        said = f"this locale's names of files, in {error.encoding}, cannot hold '{error.object[error.start]}'"
        named = MachineError(said, code="locale", hint="run it in a UTF-8 locale: LC_ALL=C.UTF-8 or PYTHONUTF8=1")
        named.__cause__ = error
        return named
    words = f"{type(error).__name__}: {error}".strip().rstrip(":")
    hint = "report it with what `beholder info --bug-report` prints; --debug shows where it happened"
    wrapped = BeholderError(f"internal: {words}", code="internal", hint=hint)
    wrapped.__cause__ = error
    from beholder.machine.bugreport import note_error

    note_error(error, command=command)
    return wrapped


def _worded(error: Exception) -> UsageError:
    """Return typer's complaint as other errors are worded: lower case, no full stop, and a hint that names the way out."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "beholder"
    message = error.format_message() if isinstance(error, typer.BadParameter) else str(getattr(error, "message", error))
    message = re.sub(
        r": Input should be ([^,]+)(?:, unable to parse.*)?", r": it should be \1", message
    )  # as pydantic words it
    message, _, meant = message.replace(": Value error, ", ": ").partition(". Did you mean ")
    near = getattr(error, "possibilities", None)
    wanted = getattr(error, "option_name", None)
    hint = f"did you mean {meant}" if meant else f"{path} --help lists what it takes"
    hint = did_you_mean(wanted, near) if near and wanted else hint
    hint = _other_name(wanted, context) or hint
    worded = UsageError(message[:1].lower() + message[1:].rstrip("."), code="bad-usage", hint=hint)
    worded.__cause__ = error
    return worded


def _other_name(wanted: str | None, context: typer.Context | None) -> str:
    """Return the hint for an option that is a field of the recipe, or what other tools call one; "" for any other."""
    taken = {name for param in context.command.params for name in param.opts} if context is not None else set()
    word = (wanted or "").lstrip("-").replace("-", "_")
    if word in ("device", "gpu", "gpus", "cuda", "accelerator"):
        return "the device is chosen: beholder info says which, and the variable CUDA_VISIBLE_DEVICES hides a GPU"
    if word == "launch":
        return "this command works in one process: leave --launch out"
    if "--set" not in taken or context is None or not word:
        return ""
    meant = [path for path in recipes.names() if path.split(".")[-1] == word] or [synonym(word)]
    path = "net.name" if word == "net" else meant[0]
    idle, instead = UNUSED.get(context.info_name or "", ((), ""))
    if path in idle:
        return instead
    option = "--net" if path == "net.name" else f"--{path.split('.')[-1]}"
    return f"did you mean {option}?" if option in taken else f"it is a field of the recipe: --set {path}=VALUE" if path else ""


def _tolerate_any_file_name() -> None:
    """Let names that are not UTF-8 pass from stdin and to stdout byte for byte, and all text to a stdout of any encoding."""
    codecs.register_error("beholder", _written)
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "beholder")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


_SIMPLER = {"…": "...", "×": "x", "–": "-", "—": "-", "−": "-", "→": "->", "≥": ">=", "≤": "<=", "±": "+-", "·": ".", "’": "'"}


def _written(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what is written where an encoding lacks a character: the byte of a name, plain marks, or its number in Unicode."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    char = error.object[error.start]
    if "\udc80" <= char <= "\udcff":
        return bytes([ord(char) - 0xDC00]), error.start + 1
    return _SIMPLER.get(char) or char.encode("ascii", "backslashreplace").decode(), error.start + 1


def _discard_stdout() -> None:
    """Point stdout nowhere, so that the interpreter's own flush at exit cannot fail on the closed pipe."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass
