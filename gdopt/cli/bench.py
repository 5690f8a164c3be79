"""``gdopt bench``: the speed of gdopt on this machine, compared with its peers."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import gdopt
from gdopt.arrays.backend import Backend
from gdopt.cli import flags
from gdopt.cli.info import collect
from gdopt.errors import ArgumentError, BackendError
from gdopt.files import empty_folder, numbered_folder, write_json
from gdopt.imports import load_extra
from gdopt.tables import write

DESCRIPTION = "Compare the speed of gdopt with its peers on this machine."
EXAMPLES = """\
The benchmark suite is the folder bench of a checkout; it is not in the wheel. It takes
8 minutes on a GPU, half an hour on a CPU: run nothing else meanwhile. Peers that are
not installed are skipped and named.

examples:
  gdopt bench
  gdopt bench --quick
  gdopt bench --backend numpy --only "1e6" --out results/cpu
  gdopt bench --suite ~/gdopt/bench
"""
VARIABLE = "GDOPT_BENCH_SUITE"
FILES = ("__main__.py", "on_gpu.sh")  # by which the suite is known
SMALL = "100000"  # by which --quick divides the sizes of the GPU's cases


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its parser."""
    add = parser.add_argument
    flags.add_folder(add, "bench")
    flags.add_backend(add)
    text = "only the time of a step, in cases with these words in their names"
    add("--only", metavar="NAME", help=text)
    text = f"the folder bench of a checkout (default: next to gdopt, or {VARIABLE})"
    add("--suite", metavar="FOLDER", help=text)
    text = "run everything on small arrays; its figures mean nothing"
    add("--quick", action="store_true", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Run the suite in its own process, and return its exit code.

    Returns:
        0; 10 where a target is missed on a CPU; else the code of what failed, 128 and
        its number where a signal ended it.

    Raises:
        ArgumentError: there is no suite, or something is in the folder already.
        BackendError: a GPU was asked for and is not there.
        MissingExtraError: pytest is not installed, which the GPU's suite needs.
        KeyboardInterrupt: Ctrl-C was pressed; it names the folder of what was done.
    """
    suite = find_suite(arguments.suite)
    backend = flags.chosen_backend(arguments)
    if backend.name != "numpy":
        load_extra("pytest", "bench", "gdopt bench")  # the GPU's suite runs tests, too
    place: AbstractContextManager[Path]
    if arguments.out is None:
        place = numbered_folder(Path("runs", "bench"))
    else:
        place = nullcontext(empty_folder("--out", arguments.out))
    settings = {**vars(arguments), "suite": str(suite), "info": collect()}
    with place as folder:
        write_json(folder / "settings.json", settings)
    write(f"{suite} on {backend.describe()}, into {folder}\n")
    sys.stdout.flush()
    code = _wait(*_command(arguments, suite, folder, backend), folder)
    if arguments.quick:
        write("Tried on small arrays: no figures to quote.\n")
    write(f"results in {folder}\n")
    return code


def find_suite(given: str | None = None) -> Path:
    """Find the benchmark suite: where it is said to be, else next to the package.

    Args:
        given: its folder; if not, ``GDOPT_BENCH_SUITE`` names it, else it is the folder
            ``bench`` next to ``gdopt``, as in a checkout.

    Raises:
        ArgumentError: it is not there.

    >>> import pathlib
    >>> here = pathlib.Path(gdopt.__file__).parents[1] / "bench"
    >>> find_suite() == here if here.is_dir() else True
    True
    """
    beside = Path(gdopt.__file__).resolve().parents[1] / "bench"
    named = os.environ.get(VARIABLE)
    origin, folder = "the suite", beside
    if given is not None:
        origin, folder = "--suite", Path(given)
    elif named:
        origin, folder = VARIABLE, Path(named)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ArgumentError(
            f"{origin} must be the folder bench of a checkout of gdopt, got "
            f"'{folder}' without {' and '.join(missing)}: the suite is not in the "
            f"wheel; name it with --suite FOLDER or {VARIABLE}"
        )
    return folder.resolve()


def _command(
    arguments: argparse.Namespace, suite: Path, folder: Path, backend: Backend
) -> tuple[list[str], dict[str, str]]:
    if backend.name == "numpy":
        command = [sys.executable, str(suite), "--out", str(folder)]
        if arguments.only is not None:
            command += ["--only", arguments.only]
        return command + ["--quick"] * arguments.quick, {}
    bash = shutil.which("bash")
    if bash is None:
        message = "the GPU's suite needs bash, which is not installed: --backend numpy"
        raise BackendError(message)
    variables = {"PYTHON": sys.executable}
    if arguments.only is not None:
        variables["GDOPT_BENCH_ONLY"] = arguments.only
    if arguments.quick:
        variables["GDOPT_BENCH_SCALE"] = SMALL
    return [bash, str(suite / "on_gpu.sh"), str(folder)], variables


def _wait(command: list[str], variables: dict[str, str], folder: Path) -> int:
    """Run a command to its end; Ctrl-C reaches all that it has started, once."""
    # In a group of its own: a terminal would interrupt it as well, and too early.
    with subprocess.Popen(  # noqa: S603 - the suite's own programs
        command,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        process_group=0 if os.name == "posix" else None,
    ) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            _interrupt(process)
            raise KeyboardInterrupt(f"; what was measured is in {folder}") from None
    return 128 - code if code < 0 else code


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Pass Ctrl-C on, and wait; a second one ends it immediately."""
    if os.name != "posix":
        return  # the console has interrupted it already
    try:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
