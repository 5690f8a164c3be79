"""A run that was killed, or has ended, is continued by ``gdopt train --resume``."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gdopt.training import load

for module in ("rich", "matplotlib", "pandas"):
    pytest.importorskip(module)
PROGRAM = Path(__file__).with_name("killed_training.py")
OPTIONS = ("--hidden", 4, "--epochs", 8, "--patience", 6, "--batch-norm")
UNLIKE = ("seconds", "examples_per_second")  # from run to run


@pytest.fixture
def file(tmp_path):
    generator = np.random.default_rng(1)
    X = generator.standard_normal((150, 2))
    lines = [f"{'yn'[int(a > b)]},{a:.4f},{b:.4f}" for a, b in X.tolist()]
    path = tmp_path / "d.csv"
    path.write_text("side,a,b\n" + "\n".join(lines), encoding="utf-8")
    return path


def start(moment, *arguments, folder):
    environment = {
        **os.environ,
        "GDOPT_CPU_ENGINE": "numpy",
        "GDOPT_BACKEND": "numpy",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, PROGRAM, str(moment), "train", *map(str, arguments)]
    return subprocess.run(
        command,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def outcome(folder):
    """Return all of a run but what differs from run to run."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    for one in (*records, summary):
        for name in UNLIKE:
            one.pop(name, None)
    files = [(folder / name).read_bytes() for name in ("model.npz", "curves.png")]
    return files, records, summary


@pytest.mark.skipif(os.name != "posix", reason="processes are killed")
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_run_is_resumed_with_equal_bits(file, tmp_path, kills):
    own = (file, "--target", "side", *OPTIONS)
    whole = start(0, *own, "--out", "whole", folder=tmp_path)
    assert whole.returncode == 0, whole.stderr
    calls = int(whole.stdout.splitlines()[-1].split()[1])
    expected = outcome(tmp_path / "whole")
    moments = np.random.default_rng(kills).integers(1, calls, kills).tolist()
    for moment in moments:
        out = f"run-{moment}"
        killed = start(moment, *own, "--out", out, folder=tmp_path)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        resumed = start(-1, "--resume", out, folder=tmp_path)
        assert resumed.returncode == 0, resumed.stderr
        assert outcome(tmp_path / out) == expected, f"killed at call {moment}"


@pytest.fixture
def trained(command, file, numpy_engine):
    """Return ``trained(out, ...)``: a run on the file, without early stopping."""

    def run(out, *more):
        own = ("--target", "side", "--hidden", 4, "--backend", "numpy", "--out", out)
        found = command("train", "d.csv", *own, *more)
        assert found.code == 0, found.err

    return run


def test_a_finished_run_is_trained_on(command, trained, tmp_path):
    trained("whole", "--epochs", 6, "--schedule", "constant")
    trained("run", "--epochs", 3, "--schedule", "constant")
    found = command("train", "--resume", "run", "--epochs", 6)
    assert found.code == 0, found.err
    assert "epochs 3, now 6: it continues from step 9" in found.err
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_schedule_follows_the_new_number_of_epochs(
    command, trained, metrics, tmp_path
):
    trained("run", "--epochs", 2)
    trained("long", "--epochs", 4)
    assert command("train", "--resume", "run", "--epochs", 4).code == 0
    before, after = (
        [line["lr"] for line in metrics(tmp_path / name)] for name in ("long", "run")
    )
    assert before[6:] == after[6:]
    assert command("train", "--resume", "run", "--epochs", 5).code == 0
    assert [line["epoch"] for line in metrics(tmp_path / "run")][-1] == 5


def test_a_finished_run_that_is_resumed_stays_what_it_is(command, trained, tmp_path):
    trained("run", "--epochs", 2)
    before = outcome(tmp_path / "run")
    assert command("train", "--resume", "run").code == 0
    assert outcome(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--epochs", 1), "--epochs must be at least 2, which are done"),
        (("--lr", "0.5"), "holds a run of another problem: lr 'cosine(start=0.003"),
        (("--hidden", "5"), "problem: 'W1' 'float32 (2, 4)', now 'float32 (2, 5)'"),
    ],
)
def test_another_problem_is_refused_and_nothing_changes(
    command, trained, tmp_path, options, message
):
    trained("run", "--epochs", 2)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.*")}
    found = command("train", "--resume", "run", *options)
    assert found.code == 2
    assert message in found.err
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*.*")} == before


def test_what_is_not_a_run_is_refused(command, tmp_path):
    found = command("train", "--resume", "run")
    assert (found.code, found.out) == (2, "")
    assert "settings.json'" in found.err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_text("[1]")
    found = command("train", "--resume", "run")
    assert "must be a file of JSON by gdopt, got [1]" in found.err
    (tmp_path / "run" / "settings.json").write_text('{"data": "digits", "lengths": []}')
    found = command("train", "--resume", "run")
    assert "must hold the settings of a run, got none of " in found.err
    found = command("train", "--resume")
    assert (found.code, found.out) == (2, "")
    assert "argument --resume: expected one argument" in found.err


def test_the_file_may_be_found_from_another_folder(
    command, trained, monkeypatch, tmp_path
):
    trained("run", "--epochs", 2)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert command("train", "--resume", "../run", "--epochs", 3).code == 0
    assert load(tmp_path / "run" / "model.npz")["classes"] == ["n", "y"]
