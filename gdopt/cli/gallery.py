"""``gdopt gallery``: pictures of optimizers, rates, batches and averages."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gdopt.cli.parts.progress import Live, Plain
from gdopt.errors import ArgumentError
from gdopt.extras import load_extra
from gdopt.gallery import PICTURES, draw

EXAMPLES = """\
Every picture is drawn from what gdopt computes as it is drawn, with its own optimizers
and fixed seeds.

examples:
  gdopt gallery pictures
  gdopt gallery --list
  gdopt gallery pictures --only saddle plateau
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "gallery",
        help="draw pictures of optimizers, rates, batches and averages",
        description="Draw pictures of what the optimizers do, into a new folder.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("out", nargs="?", metavar="OUT", help="a folder that is new or empty")
    names = [picture.name for picture in PICTURES]
    add(
        "--only",
        nargs="+",
        choices=names,
        metavar="NAME",
        help="draw these alone, as --list names them",
    )
    add("--list", action="store_true", help="list the pictures and draw none")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Draw the pictures, or list them.

    Raises:
        ArgumentError: OUT is missing, or something is in it; a name comes twice.
        MissingExtraError: matplotlib or rich is not installed.
    """
    if arguments.list:
        width = max(len(picture.name) for picture in PICTURES)
        for picture in PICTURES:
            sys.stdout.write(f"{picture.name:{width}}  {picture.claim}\n")
        return 0
    if arguments.out is None:
        message = "OUT must name a folder that is new or empty, got none"
        raise ArgumentError(message)
    with drawing_progress() as shown:
        drawn = draw(arguments.out, arguments.only, progress=shown.show)
    sys.stdout.write(f"{len(drawn)} pictures in {arguments.out}\n")
    return 0


class DrawingLines(Plain):
    """Plain lines for pipes and logs, one for each picture."""

    def show(self, done: int, total: int, name: str) -> None:
        """Write what is drawn next."""
        if name:
            sys.stderr.write(f"drawing {done + 1}/{total}: {name}\n")
            sys.stderr.flush()


class DrawingBar(Live):
    """A bar that grows with the pictures."""

    def __init__(self, console: Any) -> None:
        rich = load_extra("rich.progress", "train", "gdopt gallery")
        self._bar = rich.Progress(
            rich.TextColumn("drawing"),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TextColumn("{task.description}"),
            console=console,
        )
        self._task = self._bar.add_task("", total=None)

    def show(self, done: int, total: int, name: str) -> None:
        """Set the bar."""
        self._bar.update(self._task, completed=done, total=total, description=name)


def drawing_progress() -> DrawingBar | DrawingLines:
    """Make the progress of drawing.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = load_extra("rich.console", "train", "gdopt gallery").Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        return DrawingBar(console)
    return DrawingLines()
