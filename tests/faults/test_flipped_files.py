"""A flipped bit anywhere in a file that gdopt wrote is refused by its reader."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

import gdopt
from gdopt import files
from gdopt.cli import train, tune
from gdopt.training import shards
from gdopt.tune import Outcome, Space, Study, log_uniform

FOLDER = Path(gdopt.__file__).parent
WRITERS = {"replacing", "building", "write_whole", "write_json", "save"}
START = np.array([3.0, -4.0])
SAMPLE = 150  # bytes of a file that is not read in no time


def save(folder):
    path = folder / "own.npz"
    tree = {"W": np.arange(2.0), "none": np.zeros((0, 2)), "lr": 0.1, "name": "Å"}
    gdopt.save(path, tree)
    return path, lambda: gdopt.load(path)


def model(folder):
    network = gdopt.nn.Network((1, 2), seed=0, backend="numpy")
    X = np.array([[0.0], [2.0]])
    gdopt.Model(network, gdopt.Normalizer.fit(X), ("n", "y")).save(folder)
    return folder / "model.npz", lambda: gdopt.Model.load(folder)


def checkpoint(folder):
    def run(x):
        options = {"checkpoint": folder / "run", "max_iter": 1, "lr": 0.1}
        return gdopt.minimize(lambda x: (float(x @ x), 2 * x), x, **options)

    def resume():
        x = START.copy()
        try:
            run(x)
        except gdopt.GdoptError:
            assert x.tobytes() == START.tobytes()  # nothing has changed
            raise

    run(START.copy())
    (path,) = (folder / "run").glob("*.npz")
    return path, resume


def settings(folder):
    path = folder / train.SETTINGS
    files.write_json(path, {"data": "Å", "hidden": [4], "epochs": 2, "lengths": []})
    return path, lambda: train.presets(["--resume", str(folder)])


def search(folder):
    path = folder / "tune.json"
    trials = [Outcome(0, {"learning_rate": 0.1}, "complete", 0.5)]
    found = Study(Space({"learning_rate": log_uniform(0.1, 1)}), trials)
    content = {"settings": {"epochs": 2}, "search": found.to_dict()}
    files.write_json(path, content, indent=1)
    return path, lambda: tune.best_settings(path)


def shard(folder):
    path = folder / "checkpoint-000000000005.0-of-1.npz"
    pieces = {"w": {"start": 0, "stop": 3, "m": np.arange(3.0)}}
    sha256 = shards.write_shard(path, pieces).hex()
    head = folder / "checkpoint-000000000005.npz"
    named = {path.name: {"sha256": sha256, "holds": {"w": [0, 3]}}}
    gdopt.save(head, {"params": {"w": np.zeros(3)}, "method": {}, "shards": named})
    return path, lambda: shards.load_whole(head)


READ = {
    "training.checkpoint.save": save,
    "training.model.save": model,
    "training.checkpoints.write": checkpoint,
    "training.shards.write_shard": shard,
    "cli.train.run": settings,
    "cli.tune.run": search,
}
# Files that gdopt writes for others, and does not read.
NOT_READ = {
    "training.records.to_csv",
    "training.records.to_jsonl",
    "planner.plan.save",
    "plots.series.save",
    "cli.bench.run",
    "cli.ewa.run",
    "cli.predict.run",
    "cli.session.finish",  # the summary; the model is that of training.model
}


def writers():
    """Yield the functions that call what writes files, by module and name."""
    for path in sorted(FOLDER.rglob("*.py")):
        module = ".".join(path.relative_to(FOLDER).with_suffix("").parts)
        text = path.read_text(encoding="utf-8")
        if module.startswith(("guide", "files")) or not any(map(text.count, WRITERS)):
            continue
        tree = ast.parse(text)
        taken = {
            name.asname or name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and node.module in {"gdopt.files", "gdopt.training.checkpoint"}
            for name in node.names
        }
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and any(
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in WRITERS & taken
                for node in ast.walk(function)
            ):
                yield f"{module}.{function.name}"


def test_every_writer_has_a_reader_that_is_tested_or_none():
    found = {*writers()}
    kernels = {name for name in found if name.startswith("kernels.cpu.")}
    assert kernels  # their folders are read by Numba; tests/kernels damages them
    assert found - kernels == {*READ} | NOT_READ


def test_nothing_else_writes_files():
    """No other call opens a file for writing: what is written is written whole."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        if "guide" in path.relative_to(FOLDER).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            modes = {
                one.value for one in node.args if isinstance(one, ast.Constant)
            } & {"w", "wb", "wt", "a", "ab", "x", "xb", "r+b", "w+b"}
            named = {"write_text", "write_bytes", "tofile", "savez", "savez_compressed"}
            named |= {"savetxt", "dump"}
            if name in named or (name in {"open", "fdopen"} and modes):
                place = path.relative_to(FOLDER).as_posix()
                found[place, name] = found.get((place, name), 0) + 1
    assert found == {
        ("files.py", "open"): 1,  # the temporary file
        ("training/checkpoint.py", "open"): 1,  # a member of an archive
        ("files.py", "write_bytes"): 1,  # to a device
        ("cli/__init__.py", "open"): 1,  # the null device
        ("parallel/mpi.py", "open"): 1,  # the null device
        ("training/checkpoints.py", "open"): 1,  # the lock, which is empty
        ("kernels/cpu/loop_cache.py", "write_bytes"): 1,  # within `files.building`
        ("kernels/cpu/loop_cache.py", "write_text"): 1,
    }


@pytest.mark.parametrize("kind", READ)
def test_every_flipped_byte_is_refused_by_name(kind, tmp_path):
    path, read = READ[kind](tmp_path)
    read()
    content = path.read_bytes()
    places = range(len(content))
    if kind not in {"training.checkpoint.save", "cli.train.run", "cli.tune.run"}:
        ends = [*places[:64], *places[-64:]]
        drawn = np.random.default_rng(0).choice(len(content), SAMPLE, replace=False)
        places = sorted({*ends, *drawn.tolist()})
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(gdopt.GdoptError) as caught:
            read()
        assert path.name in str(caught.value), place
        assert path.read_bytes() == flipped
    path.write_bytes(content)
    read()


def test_json_may_hold_names_that_are_not_utf_8(tmp_path):
    path, names = tmp_path / "a.json", ["\udce4.csv", "ä", '""', "sha256"]
    files.write_json(path, {"names": names})
    assert json.loads(path.read_bytes())["names"] == names
    assert files.read_json(path, "a", ["names"]) == {"names": names}
