"""Times what happens once in a process: imports, the first step, the help."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from interleave import Effort, SideError, Times
from machine import HERE, environment

CLOCK = "import time; start = time.perf_counter(); {}; "
CLOCK += "print(time.perf_counter() - start)"
ARRAYS = "import numpy as np; x = np.ones(1000, 'f4'); "
SCRIPTS = {  # code that prints its seconds, or a command that is timed from outside
    "import numpy": CLOCK.format("import numpy"),
    "gdopt's import after NumPy": "import numpy; " + CLOCK.format("import gdopt"),
    "gdopt's first step, cached": "import gdopt; "
    + ARRAYS
    + CLOCK.format("gdopt.Adam(x).step(x.copy())"),
    "a cached line of Numba": ARRAYS + CLOCK.format("import one_line; one_line.add(x)"),
    "python -c 'import numpy'": ["-c", "import numpy"],
    "gdopt --help": ["-m", "gdopt", "--help"],
}


@functools.cache
def bytecode_folder() -> str:
    """Make a folder for bytecode, as a checkout may have none; it goes at exit."""
    folder = tempfile.mkdtemp("gdopt-bench")
    atexit.register(shutil.rmtree, folder)
    return folder


@dataclass(frozen=True)
class Script:
    """A side whose every round is a process that is timed once."""

    key: str
    checkout: Path | None = None

    @property
    def place(self) -> tuple[str, Path | None]:
        """Return what distinguishes the programs that run them."""
        return self.key, self.checkout

    def start(self) -> Running:
        """Return what runs it."""
        return Running(self)


class Running:
    """Runs a script anew for each round."""

    def __init__(self, script: Script) -> None:
        self._environment = environment(script.checkout)
        self._environment["PYTHONPYCACHEPREFIX"] = bytecode_folder()
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._script = SCRIPTS[script.key]
        self.pids: list[int] = []

    def make(self, script: Script, _effort: Effort, *, first: bool) -> None:
        """Run it once, so that everything is in the caches."""
        if first:
            self.time(script)

    def time(self, _script: Script) -> Times:
        """Run it; all statistics of one number are equal."""
        inside = isinstance(self._script, str)
        command = ["-c", self._script] if inside else self._script
        start = time.perf_counter()
        done = subprocess.run(  # noqa: S603 - the scripts above
            [sys.executable, *command],
            cwd=HERE,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            kind = "Ended"
            raise SideError(kind, done.stderr)
        seconds = float(done.stdout) if inside else seconds
        return dict.fromkeys(("median", "min", "p90", "mean"), seconds)

    def close(self) -> None:
        """Do nothing: no process is left."""
