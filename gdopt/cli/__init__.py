"""The command line: its parser, and what every command has in common."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from gdopt import __version__
from gdopt.errors import GdoptError
from gdopt.imports import public_dir

__all__ = ["main"]
__dir__ = public_dir(__name__)

EXAMPLES = """\
examples:
  gdopt train digits      train a network on scikit-learn's handwritten digits
  gdopt plan digits       say which mini-batch size to use, and why
  gdopt tune digits       search for hyper-parameters, with a picture
  gdopt bench             compare the speed of gdopt with its peers
  gdopt ewa FILE.csv      average a column, with a picture
  gdopt info              list engines, devices and versions
  gdopt train --help      all options
"""
COMMANDS = {
    "train": "train a network, with a picture and a checkpoint of it",
    "plan": "say which mini-batch size to use, and why",
    "tune": "search for hyper-parameters, at random and from coarse to fine",
    "bench": "compare the speed of gdopt with its peers",
    "ewa": "average a column of a CSV file, with a picture",
    "info": "list engines, devices and versions",
}
WRONG, INTERRUPTED = 2, 130  # exit codes: argparse's, and the shells' for Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for an error, 130 for Ctrl-C.

    Args:
        arguments: without the program's name; by default the process's own.

    >>> main(["--version"])  # doctest: +ELLIPSIS
    gdopt ...
    0
    """
    try:
        given = sys.argv[1:] if arguments is None else arguments
        chosen = _parser(given).parse_args(given)
    except SystemExit as done:  # argparse has said why
        return done.code if isinstance(done.code, int) else WRONG
    try:
        code: int = vars(chosen).pop("run")(chosen)
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"gdopt: interrupted {interrupt}".rstrip() + "\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe; Python would fail again at
        # exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (GdoptError, OSError) as error:
        sys.stderr.write(f"gdopt: error: {error}\n")
        return WRONG
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
            subparser.set_defaults(run=command.run)
    return parser
