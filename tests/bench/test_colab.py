"""The notebook that measures a hosted GPU: a valid file, and a block to paste."""

import json
import re
import subprocess
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "bench" / "colab.ipynb"
FOUND = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
CODE = {
    cell["id"]: "".join(cell["source"])
    for cell in FOUND["cells"]
    if cell["cell_type"] == "code"
}


def execute(cell, names):
    exec(CODE[cell], names)  # noqa: S102 - the notebook's own code


def test_the_notebook_has_the_form_that_readers_expect():
    assert (FOUND["nbformat"], FOUND["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in FOUND["cells"]]
    assert len(ids) == len(set(ids))
    for cell in FOUND["cells"]:
        assert all(isinstance(line, str) for line in cell["source"])
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_it_names_no_repository_and_asks_for_one():
    assert not re.search(r"https?:|git@", NOTEBOOK.read_text(encoding="utf-8"))
    assert next(iter(CODE)) == "settings"
    names = {}
    execute("settings", names)
    with pytest.raises(SystemExit, match="set REPOSITORY"):
        execute("install", names)


def test_it_installs_measures_and_prints_a_block(tmp_path, monkeypatch, capfd):
    ran = []

    def run(command, **options):
        ran.append([str(word) for word in command])
        assert options == {"check": True}

    bench = tmp_path / "gdopt-checkout" / "bench"
    bench.mkdir(parents=True)
    script = 'mkdir -p "$1" && echo "in $GDOPT_BENCH_SECONDS s" | tee "$1/tests.txt"'
    (bench / "on_gpu.sh").write_text(script)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", run)
    names = {}
    execute("settings", names)
    names |= {"REPOSITORY": "somewhere", "COMMIT": "abc", "CUDA": "cuda13x"}
    for cell in ("install", "measure", "report"):
        execute(cell, names)
    assert ran[0] == ["git", "-C", "gdopt-checkout", "checkout", "abc"]
    assert "./gdopt-checkout[cuda13x,numba,bfloat16,train]" in ran[1]
    assert ran[2][1:] == ["-m", "gdopt", "info"]
    told = capfd.readouterr().out
    assert told.startswith("in 1500 s\nexit status 0\n")
    block = told[told.index("paste from here") : told.index("to here")]
    assert "in 1500 s" in block
    assert "no summary.txt" in block
