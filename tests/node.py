"""Runs JavaScript in Node; in CI its absence is a failure."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest


def run_node(*sources):
    """Run scripts as one, and return the numbers that they `print`.

    They share a process's start, .05 s. NaN and infinities come back as they are.
    """
    node = shutil.which("node")
    if node is None:
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop("Node.js is not installed")
    print_ = "const print = a => process.stdout.write(Buffer.from(Float64Array.from(a)"
    source = "\n".join(["'use strict';", f"{print_}.buffer));", *sources])
    done = subprocess.run(
        [node, "-"], input=source.encode(), capture_output=True, check=False
    )
    assert not done.stderr.decode()
    assert done.returncode == 0
    return np.frombuffer(done.stdout)


def literal(value):
    """Write numbers, arrays and dictionaries of them as JavaScript does."""
    return json.dumps(value, default=lambda array: np.float64(array).tolist())
