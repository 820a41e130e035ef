"""From arguments to an exit code: every error becomes a message and a hint on stderr, never a traceback unless asked for."""

from __future__ import annotations

import gc
import io
import os
import sys
import traceback
from collections.abc import Sequence

import typer

from beholder.base.errors import BeholderError, Interrupted, MachineError, UsageError, did_you_mean

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
    except BrokenPipeError:
        _discard_stdout()
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return _complain(Interrupted(), debug=debug)
    except BeholderError as error:
        return _complain(error, debug=debug)
    except _TYPER_USAGE as error:
        return _complain(_worded(error), debug=debug)
    except OSError as error:
        return _complain(_refused(error), debug=debug)
    except Exception as error:  # noqa: BLE001  (the last resort: a person must never meet a traceback unasked)
        return _complain(_internal(error), debug=debug)
    return 0


def _command(arguments: list[str], *, began: float | None) -> None:
    gc.set_threshold(50_000)  # the default looks through a million names again and again: 0.3 s of a start
    from beholder.cli.commands import app

    command = typer.main.get_command(app)
    with command.make_context("beholder", arguments or ["--help"], obj=began) as context:
        command.invoke(context)


def _complain(error: BeholderError, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error.__cause__ or error, file=sys.stderr)
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def _refused(error: OSError) -> MachineError:
    """Return what the system refused, such as writing to a full disk through stdout."""
    what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    refused = MachineError(
        what[:1].lower() + what[1:], code="system", hint="check the disk and the permissions; --debug shows where it happened"
    )
    refused.__cause__ = error
    return refused


def _internal(error: Exception) -> BeholderError:
    words = f"{type(error).__name__}: {error}".strip().rstrip(":")
    wrapped = BeholderError(f"internal: {words}", code="internal", hint="run again with --debug and report it")
    wrapped.__cause__ = error
    return wrapped


def _worded(error: Exception) -> UsageError:
    """Return typer's complaint in the house's words: lower case, no full stop, and a hint that names the way out."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "beholder"
    message = error.format_message() if isinstance(error, typer.BadParameter) else str(getattr(error, "message", error))
    message, _, meant = message.partition(". Did you mean ")
    near = getattr(error, "possibilities", None)
    wanted = getattr(error, "option_name", None)
    hint = f"did you mean {meant}" if meant else f"{path} --help lists what it takes"
    hint = did_you_mean(wanted, near) if near and wanted else hint
    worded = UsageError(message[:1].lower() + message[1:].rstrip("."), code="bad-usage", hint=hint)
    worded.__cause__ = error
    return worded


def _tolerate_any_file_name() -> None:
    """Let names that are not UTF-8 pass from stdin and to stdout byte for byte."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")


def _discard_stdout() -> None:
    """Point stdout nowhere, so that the interpreter's own flush at exit cannot fail on the closed pipe."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass
