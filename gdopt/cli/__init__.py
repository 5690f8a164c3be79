"""The command line: arguments, progress bars, printing."""

from gdopt.cli.main import main

__all__ = ["main"]
