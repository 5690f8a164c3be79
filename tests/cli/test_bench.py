"""``gdopt bench`` finds the suite, runs it apart, and passes on how it has ended."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import gdopt
from gdopt.cli import bench

CPU = """\
import json, os, sys, pathlib
arguments = sys.argv[1:]
out = pathlib.Path(arguments[arguments.index("--out") + 1])
(out / "told.json").write_text(json.dumps(arguments))
{end}
"""
GPU = """\
#!/usr/bin/env bash
printf '%s\\n' "$PYTHON" "${GDOPT_BENCH_ONLY-}" "${GDOPT_BENCH_SCALE-}" > "$1/told.txt"
exit 5
"""


@pytest.fixture
def suite(tmp_path):
    """Return ``suite(end)``: a suite whose ``python bench`` ends by this line."""

    def make(end=""):
        folder = tmp_path / "checkout" / "bench"
        folder.mkdir(parents=True)
        (folder / "__main__.py").write_text(CPU.replace("{end}", end))
        (folder / "on_gpu.sh").write_text(GPU)
        return folder

    return make


@pytest.fixture
def run(tmp_path, monkeypatch, numpy_engine):
    """Return ``run(...)``: the command, in an empty folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv(bench.VARIABLE, raising=False)
    parser = argparse.ArgumentParser(prog="gdopt")
    bench.add_options(parser)

    def run(*arguments):
        return bench.run(parser.parse_args([*map(str, arguments)]))

    return run


@pytest.fixture
def gpu(monkeypatch):
    """Put a GPU that does nothing in the place of the one that is chosen."""
    backend = SimpleNamespace(name="cupy", describe=lambda: "a GPU")
    monkeypatch.setattr(bench.flags, "chosen_backend", lambda _: backend)


def names(folder="."):
    return sorted(path.name for path in Path(folder).iterdir())


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def test_the_suite_of_the_cpu_is_reported_where_and_what(run, suite, capsys):
    folder = suite()
    code = run("--suite", folder, "--backend", "numpy", "--only", "1e6", "--quick")
    assert code == 0
    expected = ["--out", "runs/bench-1", "--only", "1e6", "--quick"]
    assert read("runs/bench-1/told.json") == expected
    said = capsys.readouterr().out
    assert f"{folder} on the CPU" in said
    assert said.endswith("no figures to quote.\nresults in runs/bench-1\n")


def test_nothing_is_added_to_a_whole_run(run, suite, capsys):
    assert run("--suite", suite(), "--backend", "numpy") == 0
    assert read("runs/bench-1/told.json") == ["--out", "runs/bench-1"]
    assert "no figures to quote" not in capsys.readouterr().out


def test_the_folder_holds_what_gdopt_info_tells(run, suite):
    run("--suite", suite(), "--backend", "numpy", "--out", "here")
    settings = read("here/settings.json")
    assert settings["info"]["gdopt"] == gdopt.__version__
    assert settings["info"]["default_seed"] == 0
    assert settings["backend"] == "numpy"


def test_the_suite_of_the_gpu_is_reported_by_variables(run, suite, gpu):
    assert run("--suite", suite(), "--only", "copy", "--quick") == 5
    told = Path("runs/bench-1/told.txt").read_text().splitlines()
    assert told == [sys.executable, "copy", bench.SMALL]


@pytest.mark.newest
@pytest.mark.slow
def test_the_suite_writes_into_its_folder_alone(run):
    suite = Path(__file__).parents[2] / "bench"
    before = {path: path.stat().st_mtime_ns for path in suite.rglob("*.[mj][ds]*")}
    assert suite / "README.md" in before
    code = run(
        *("--suite", suite, "--backend", "numpy", "--out", "here", "--quick"),
        *("--only", "1e3: textbook or 1e3: gdopt"),
    )
    assert code == 0
    assert names() == ["here"]
    assert names("here") == ["settings.json", "speed.json"]
    found = read("here/speed.json")
    # In this process the driver may be the one that works on the CPU, and libraries
    # that bring OpenMP may have been loaded.
    of_process = {"gpu", "cuda", "advice", "openmp"}
    info, of_suite = read("here/settings.json")["info"], found["machine_info"]["info"]
    assert info.keys() == of_suite.keys() >= of_process
    assert all(info[key] == of_suite[key] for key in info.keys() - of_process)
    contenders = {entry["params"]["contender"] for entry in found["benchmarks"]}
    assert {"textbook NumPy", "gdopt NumPy"} <= contenders
    after = {path: path.stat().st_mtime_ns for path in suite.rglob("*.[mj][ds]*")}
    assert after == before


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("sys.exit(10)", 10),
        ("sys.exit(3)", 3),
        ("os.kill(os.getpid(), 9)", 128 + 9),
    ],
)
def test_how_the_suite_has_ended_is_passed_on(run, suite, end, code):
    assert run("--suite", suite(end), "--backend", "numpy") == code


def test_every_run_has_a_folder_of_its_own(run, suite):
    folder = suite()
    for _ in range(2):
        run("--suite", folder, "--backend", "numpy")
    assert names("runs") == ["bench-1", "bench-2"]


def test_a_folder_with_something_in_it_is_refused(run, suite, tmp_path):
    folder = suite("(out / 'overwritten').touch()")
    Path("mine").mkdir()
    Path("mine", "notes.txt").write_text("mine")
    with pytest.raises(gdopt.ArgumentError, match=r"--out must .* with notes\.txt in"):
        run("--suite", folder, "--backend", "numpy", "--out", "mine")
    assert names("mine") == ["notes.txt"]


def test_the_suite_beside_the_package_is_that_of_a_checkout():
    checkout = Path(gdopt.__file__).parents[1]
    if not (checkout / "bench").is_dir():
        pytest.skip("gdopt is installed without its checkout")
    assert bench.find_suite() == checkout / "bench"


def test_the_variable_names_the_suite_and_the_option_comes_first(suite, monkeypatch):
    folder = suite()
    monkeypatch.setenv(bench.VARIABLE, str(folder))
    assert bench.find_suite() == folder
    with pytest.raises(gdopt.ArgumentError, match=r"^--suite must be the folder bench"):
        bench.find_suite("elsewhere")


def test_without_a_suite_the_error_says_what_to_do(run, monkeypatch, tmp_path):
    alone = tmp_path / "site-packages" / "gdopt" / "__init__.py"
    monkeypatch.setattr(gdopt, "__file__", str(alone))
    with pytest.raises(gdopt.ArgumentError) as refused:
        run()
    said = str(refused.value)
    assert "not in the wheel" in said
    assert "--suite FOLDER or GDOPT_BENCH_SUITE" in said
    assert not names()


def test_a_suite_that_lacks_a_file_names_it(suite):
    folder = suite()
    (folder / "on_gpu.sh").unlink()
    with pytest.raises(gdopt.ArgumentError, match=r"bench' without on_gpu\.sh: the"):
        bench.find_suite(folder)


def test_a_gpu_that_is_not_there_leaves_no_folder(run, suite):
    try:
        gdopt.get_backend("cupy")
    except gdopt.BackendError:
        with pytest.raises(gdopt.BackendError, match="is missing"):
            run("--suite", suite(), "--backend", "cupy")
        assert not names()
    else:
        pytest.skip("there is a GPU")


def test_without_its_extra_the_error_names_it(run, suite, gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(gdopt.MissingExtraError, match=r"\.\[bench\]"):
        run("--suite", suite())
    assert not names()


SLOW = """\
import signal, time
def note(*_):
    with (out / "interrupts").open("a") as file:
        file.write("once\\n")
    sys.exit(7)
signal.signal(signal.SIGINT, note)
(out / "ready").touch()
time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="groups of processes are POSIX's")
def test_ctrl_c_reaches_the_suite_once_and_names_the_folder(suite, tmp_path):
    folder, out = suite(SLOW), tmp_path / "out"
    program = (
        "import argparse, sys; from gdopt.cli import bench\n"
        "parser = argparse.ArgumentParser()\n"
        "bench.add_options(parser)\n"
        "chosen = parser.parse_args(sys.argv[1:])\n"
        "try:\n    bench.run(chosen)\n"
        "except KeyboardInterrupt as told:\n    print(told)\n"
    )
    options = ["--suite", folder, "--backend", "numpy", "--out", out]
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, options)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        while not (out / "ready").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate()
    assert process.returncode == 0
    assert said.endswith(f"; what was measured is in {out}\n")
    assert (out / "interrupts").read_text() == "once\n"
