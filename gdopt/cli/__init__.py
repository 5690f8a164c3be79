"""The command line: its parser, and what every command has in common."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gdopt import __version__
from gdopt.errors import ArgumentError, GdoptError
from gdopt.imports import public_dir
from gdopt.tables import write

__all__ = ["main"]
__dir__ = public_dir(__name__)

EXAMPLES = """\
examples:
  gdopt train digits      train a network on scikit-learn's handwritten digits
  gdopt predict RUN FILE  predict the rows of a file with the model of a run
  gdopt evaluate RUN FILE  compare its predictions with the truth
  gdopt plan digits       say which mini-batch size to use, and why
  gdopt tune digits       search for hyper-parameters, with a picture
  gdopt bench             compare the speed of gdopt with its peers
  gdopt ewa FILE.csv      average a column, with a picture
  gdopt info              list engines, devices and versions
  gdopt train --help      all options
"""
COMMANDS = {
    "train": "train a network, with a picture and a checkpoint of it",
    "predict": "predict the rows of a file with the model of a run",
    "evaluate": "compare the predictions of a run's model with the truth",
    "plan": "say which mini-batch size to use, and why",
    "tune": "search for hyper-parameters, at random and from coarse to fine",
    "bench": "compare the speed of gdopt with its peers",
    "ewa": "average a column of a CSV file, with a picture",
    "info": "list engines, devices and versions",
}
WRONG, INTERRUPTED = 2, 130  # exit codes: argparse's, and the shells' for Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for an error, 130 for Ctrl-C.

    A reader of its output that leaves, such as ``head``, is not an error.

    Args:
        arguments: without the program's name; by default the process's own.

    >>> main(["--version"])  # doctest: +ELLIPSIS
    gdopt ...
    0
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell
            nowhere = Path(os.devnull).open("w")  # noqa: SIM115 - until the end
            setattr(sys, name, nowhere)
    code, said = 0, ""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", module="gdopt")
            warnings.showwarning = lambda message, *_, **__: write(
                f"gdopt: warning: {message}\n", error=True
            )
            code = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        code, said = INTERRUPTED, f"interrupted {interrupt}".rstrip()
    except BrokenPipeError:
        _discard_output()
    except SystemExit as left:  # as rich raises
        if not isinstance(left.__context__, BrokenPipeError):
            raise
        _discard_output()
    except (GdoptError, OSError) as error:
        code, said = WRONG, f"error: {error}"
    except MemoryError as error:
        code, said = WRONG, f"error: out of memory: {error}".removesuffix(": ")
    try:
        write(f"gdopt: {said}\n" if said else "", error=True)
    except BrokenPipeError:
        _discard_output()
    return code


def _discard_output() -> None:
    """Send output nowhere, as its reader has left: Python would fail again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


def _run(given: list[str]) -> int:
    if given[:1] != ["train"]:
        return _answer(given)
    from gdopt.cli.ranks import shown_once  # noqa: PLC0415 - of this command alone
    from gdopt.parallel import world  # noqa: PLC0415

    with world() as ranks, shown_once(ranks):
        return _answer(given, ranks)


def _answer(given: list[str], *ranks: Any) -> int:
    parser = _parser(given)
    if not given:
        parser.print_help()
        return 0
    if given[0] not in COMMANDS and not given[0].startswith("-"):
        near = difflib.get_close_matches(given[0], COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        rule = f"COMMAND must be one of {', '.join(COMMANDS)}"
        raise ArgumentError(f"{rule}, got {given[0]!r}{hint}")
    try:
        chosen = parser.parse_args(given)
    except SystemExit as done:  # argparse has said why
        return done.code if isinstance(done.code, int) else WRONG
    code: int = vars(chosen).pop("run")(chosen, *ranks)
    return code


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Make the parser; only a command that the arguments name is imported."""
    parser = argparse.ArgumentParser(
        prog="gdopt",
        description="Gradient descent for people who hold arrays.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gdopt {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        subparser = commands.add_parser(name, help=text)
        if name in arguments:
            command = importlib.import_module(f"gdopt.cli.{name}")
            subparser.description = command.DESCRIPTION
            subparser.epilog = command.EXAMPLES
            subparser.formatter_class = argparse.RawDescriptionHelpFormatter
            command.add_options(subparser)
            if name == "train":  # an earlier run may decide its options
                subparser.set_defaults(**command.presets(arguments))
            subparser.set_defaults(run=command.run)
    return parser
