"""``gdopt gallery``: pictures of the course's ideas."""

from __future__ import annotations

import argparse
import sys

from gdopt.errors import ArgumentError
from gdopt.gallery import PICTURES, THEMES, draw

HELP = "draw pictures of the course's ideas"
DESCRIPTION = "Draw the course's ideas, one by one, into a new folder."
EXAMPLES = """\
Every picture shows what gdopt computes as it is drawn, with fixed seeds: always the
same, but for the times in cost-of-time, which are those of this machine.

examples:
  gdopt gallery pictures
  gdopt gallery --list
  gdopt gallery pictures --only saddle plateau
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its parser."""
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
    add("--small", action="store_true", help="halve them, for a page of many")
    add("--list", action="store_true", help="list the pictures by theme and draw none")


def run(arguments: argparse.Namespace) -> int:
    """Draw the pictures, or list them.

    Raises:
        ArgumentError: OUT is missing, or something is in it; a name comes twice.
        MissingExtraError: matplotlib is not installed.
    """
    if arguments.list:
        sys.stdout.write(listed())
        return 0
    if arguments.out is None:
        message = "OUT must name a folder that is new or empty, got none"
        raise ArgumentError(message)
    drawn = draw(arguments.out, arguments.only, small=arguments.small)
    sys.stdout.write(f"{len(drawn)} pictures in {arguments.out}\n")
    return 0


def listed() -> str:
    """List the pictures with their claims, under headings that follow the course."""
    width = max(len(picture.name) for picture in PICTURES)
    parts = [
        "".join(
            [f"{theme}\n"]
            + [f"  {picture.name:{width}}  {picture.claim}\n" for picture in pictures]
        )
        for theme, pictures in THEMES.items()
    ]
    return "\n".join(parts)
