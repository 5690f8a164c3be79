import json
from types import SimpleNamespace

import pytest

from gdopt.cli import main


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Return ``command(...)``: run gdopt in an empty folder, and take what it says."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return run


@pytest.fixture
def quick(command, numpy_engine):
    """Return ``quick(...)``: a short training on the digits, on the CPU."""

    def run(*arguments):
        few = ("--epochs", 2, "--hidden", 16, "--backend", "numpy")
        return command("train", "digits", *few, *arguments)

    return run


@pytest.fixture
def metrics():
    """Return ``metrics(folder)``: the lines of its metrics.jsonl."""

    def read(folder):
        text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    return read
