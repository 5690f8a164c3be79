"""The command line: arguments, progress bars, printing."""

from gdopt.cli.main import main
from gdopt.exports import public_dir

__all__ = ["main"]
__dir__ = public_dir(__name__)
