"""`lossatlas`: the command line, and the one place where an error becomes a sentence and an exit code.

    0  done      1  a computation began and failed, or the program has a bug      2  bad arguments or bad input      130  Ctrl-C

Whatever goes wrong, stderr ends with one sentence, `lossatlas: …`, and no traceback (`--traceback` shows one for a bug).
Commands import what they need when they run, so that `lossatlas --help` and a refusal answer at once.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence

import click
from pydantic import ValidationError

from cli.benching import bench
from cli.computing import compute
from cli.converting import convert
from cli.curving import curvature
from cli.flatness import flatness
from cli.inspecting import inspect
from cli.own_code import OwnCodeFailed
from cli.projecting import project
from cli.pushing import push
from cli.serving import up, web, worker
from landscape_core.errors import Cancelled, ComputationFailed, LandscapeError, PushFailed

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
FAILURES = (ComputationFailed, Cancelled, PushFailed)
"""What goes wrong although all that was given is good."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="loss-atlas", prog_name="lossatlas")
@click.option("--traceback", is_flag=True, expose_value=False, help="Show the traceback of an internal error.")
def lossatlas() -> None:
    """An interactive atlas of neural-network loss landscapes."""


for command in (up, web, worker, inspect, compute, curvature, flatness, project, convert, push, bench):
    lossatlas.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: What follows the program's name; None takes them from the process.

    Returns:
        The exit code; 130 if Ctrl-C or SIGTERM ended it.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--traceback" not in given:  # without a handler, Python would print what the core logs, beside the one sentence
        logging.getLogger("landscape_core").addHandler(logging.NullHandler())
    try:
        code = lossatlas.main(given, prog_name="lossatlas", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  the command line's edge: everything becomes a sentence
        return _explained(error, show_traceback="--traceback" in given)
    return code if isinstance(code, int) else DONE


def _explained(error: Exception, *, show_traceback: bool) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return BAD_INPUT
    if isinstance(error, click.ClickException):
        return _refuse(_usage(error), BAD_INPUT)
    if isinstance(error, LandscapeError):
        if show_traceback and isinstance(error, OwnCodeFailed) and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        return _refuse(str(error), FAILED if isinstance(error, FAILURES) else BAD_INPUT)
    if isinstance(error, ValidationError) and error.title.endswith("Settings"):
        first = error.errors(include_url=False)[0]
        name = "_".join(map(str, first["loc"])).upper().removeprefix("LOSSATLAS_")
        return _refuse(f"LOSSATLAS_{name} cannot be used: {first['msg']}.", BAD_INPUT)
    if isinstance(error, OSError) and error.strerror:
        return _refuse(f"{error.strerror}{f' ({error.filename})' if error.filename else ''}.", FAILED)
    if show_traceback:
        traceback.print_exception(error)
    text = " ".join(str(error).split())[:300]
    return _refuse(f"Internal error, {type(error).__name__}: {text} (lossatlas --traceback … shows where).", FAILED)


def _refuse(sentence: str, code: int) -> int:
    click.echo(f"lossatlas: {' '.join(sentence.split())}", err=True)
    return code


def _usage(error: click.ClickException) -> str:
    """The parser's complaint as one sentence that ends with where to look."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "lossatlas"
    return f"{error.format_message().rstrip('.')} (see {path} --help)."


if __name__ == "__main__":
    sys.exit(main())
