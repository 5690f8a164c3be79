import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import gdopt
from gdopt.cli import main


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_the_version_is_reported(command):
    found = command("--version")
    assert (found.code, found.out) == (0, f"gdopt {gdopt.__version__}\n")


def test_the_package_runs_as_a_module():
    found = python("-m", "gdopt", "--version")
    assert (found.returncode, found.stdout) == (0, f"gdopt {gdopt.__version__}\n")


COMMANDS = [[], ["train"], ["predict"], ["evaluate"], ["plan"], ["ewa"], ["info"]]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_examples(command, name):
    found = command(*name, "--help")
    assert found.code == 0
    assert f"examples:\n  {' '.join(['gdopt', *name])}" in found.out


def test_the_list_of_commands_imports_none_of_them():
    program = "import sys; from gdopt.cli import main; main(['--help']); "
    found = python("-c", program + "print(*sys.modules)")
    *text, modules = found.stdout.splitlines()
    folder = Path(gdopt.cli.__file__).parent
    assert all(f"gdopt.cli.{path.stem}" not in modules for path in folder.glob("*.py"))
    listed = {line.split()[0] for line in text if re.match(" {4}[a-z]", line)}
    assert listed == set(gdopt.cli.COMMANDS)
    for name in listed:
        assert callable(importlib.import_module(f"gdopt.cli.{name}").run)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--lr", "fast", "argument --lr: must be a positive number, got 'fast'"),
        ("--lr", "0", "argument --lr: must be a positive number, got '0'"),
        ("--lr", "nan", "argument --lr: must be a positive number, got 'nan'"),
        ("--lr", "inf", "argument --lr: must be a positive number, got 'inf'"),
        ("--l2", "-1", "argument --l2: must be a number of at least 0, got '-1'"),
        ("--epochs", "0", "argument --epochs: must be a whole number of at least 1"),
        ("--epochs", "2.5", "must be a whole number of at least 1, got '2.5'"),
        ("--batch-size", "0", "argument --batch-size: must be a whole number of at"),
        ("--seed", "-1", "argument --seed: must be a whole number of at least 0"),
        ("--hidden", "64,x", "argument --hidden: must be whole numbers of at least 1"),
        ("--hidden", "0", "argument --hidden: must be whole numbers of at least 1"),
        ("--optimizer", "adm", "argument --optimizer: invalid choice: 'adm'"),
        ("--schedule", "cosin", "argument --schedule: invalid choice: 'cosin'"),
        ("--backend", "tpu", "argument --backend: invalid choice: 'tpu'"),
        ("--lrr", "1", "unrecognized arguments: --lrr"),
    ],
)
def test_a_wrong_value_names_its_flag(command, tmp_path, option, value, message):
    found = command("train", f"{option}={value}")
    assert found.code == 2
    assert message in found.err
    assert not list(tmp_path.iterdir())


def test_a_batch_larger_than_the_training_set_names_its_flag(command, tmp_path):
    pytest.importorskip("sklearn")
    found = command("train", "--batch-size", 1080, "--backend", "numpy")
    assert found.code == 2
    message = "--batch-size must be at most 1079, the number of training examples, got"
    assert f"{message} 1080\n" in found.err
    assert not list(tmp_path.iterdir())


def test_no_command_prints_the_help(command):
    found = command()
    assert (found.code, found.err) == (0, "")
    assert found.out == command("--help").out


@pytest.mark.parametrize(
    ("given", "hint"), [("trian", "; did you mean train?"), ("xyzzy", "")]
)
def test_an_unknown_command_is_answered_with_one_like_it(command, given, hint):
    found = command(given)
    assert found.code == 2
    assert found.err.endswith(f", info, got '{given}'{hint}\n")


def test_no_escape_sequence_of_a_file_reaches_the_terminal(command, tmp_path):
    pytest.importorskip("matplotlib")
    name = "\x1b]0;owned\x07\u202e"
    (tmp_path / f"{name}.csv").write_text(f"{name},b\n1,2\n3,4\n", encoding="utf-8")
    right = command("ewa", f"{name}.csv", "--column", "1")
    wrong = command("ewa", f"{name}.csv", "--column", f"{name}x")
    assert (right.code, wrong.code) == (0, 2)
    for said in (right.out, wrong.err):
        assert not set(said) & {"\x1b", "\x07", "\u202e"}
        assert r"\x1b]0;owned\x07\u202e" in said


@pytest.mark.parametrize(
    ("module", "purpose"),
    [
        ("rich.progress", "gdopt train"),
        ("matplotlib.figure", "gdopt train"),
        ("sklearn.datasets", "gdopt train digits"),
    ],
)
def test_without_the_extra_the_error_names_it(
    command, monkeypatch, tmp_path, module, purpose
):
    package = module.partition(".")[0]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, module, None)
    found = command("train", "digits", "--backend", "numpy")
    assert found.code == 2
    assert (
        f"gdopt: error: {purpose} needs {package}, which is not installed: "
        'pip install -e ".[train]" in a checkout of gdopt\n'
    ) == found.err
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_is_not_there_is_refused_with_what_is_missing(command, tmp_path):
    try:
        gdopt.get_backend("cupy")
    except gdopt.BackendError as error:
        reason = str(error)
    else:
        pytest.skip("there is a GPU")
    found = command("train", "digits", "--backend", "cupy")
    assert (found.code, found.err) == (2, f"gdopt: error: {reason}\n")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fails_is_reported_without_a_traceback(command, monkeypatch):
    info = importlib.import_module("gdopt.cli.info")

    def fail():
        raise OSError(28, "No space left on device", "runs")

    monkeypatch.setattr(info, "collect", fail)
    found = command("info")
    assert found.code == 2
    assert found.err == "gdopt: error: [Errno 28] No space left on device: 'runs'\n"


@pytest.mark.skipif(os.name != "posix", reason="the reader of a pipe is closed")
def test_a_reader_that_leaves_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    found = subprocess.run(
        [sys.executable, "-m", "gdopt", "info"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (found.returncode, found.stderr) == (0, b"")


@pytest.mark.skipif(os.name != "posix", reason="the reader of a pipe is closed")
@pytest.mark.parametrize(
    ("given", "code"),
    [("info", 0), ("--help", 0), ("trian", 2), ("plan digits --sizes 16", 0)],
)
def test_a_reader_of_errors_and_output_that_leaves_changes_no_exit_code(
    given, code, tmp_path
):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "gdopt", *given.split()]
    options = {"stdout": writing, "stderr": writing, "cwd": tmp_path}
    assert subprocess.run(command, check=False, **options).returncode == code
    os.close(writing)


@pytest.mark.skipif(os.name != "posix", reason="the shell closes output")
@pytest.mark.parametrize(("given", "code"), [("info", 0), ("trian", 2)])
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_output_changes_no_exit_code(given, code, closed):
    command = f"{shlex.quote(sys.executable)} -m gdopt {given} {closed}"
    found = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False)
    assert found.returncode == code
    assert b"Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["train", "digits", "--epochs", "9" * 30], "--epochs: must be at most"),
        (["tune", "digits", "--fine", "9" * 30], "--fine: must be at most"),
        (["tune", "digits", "--trials", "9" * 30], "--trials: must be at most"),
        (["tune", "digits", "--jobs", "9999"], "jobs must be a whole number of at"),
        (
            ["train", "digits", "--hidden", "9" * 12],
            "out of memory: Unable to allocate",
        ),
    ],
)
def test_work_without_end_and_memory_that_is_not_there_are_refused(
    command, given, message
):
    found = command(*given)
    assert found.code == 2
    assert message in found.err


def test_info_tells_engines_devices_versions_and_environment(command, monkeypatch):
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numpy")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    text, found = command("info"), command("info", "--json")
    assert (text.code, found.code) == (0, 0)
    told = json.loads(found.out)
    assert told["gdopt"] == gdopt.__version__
    assert told["cpu_engine"] == "numpy"
    assert told["environment"]["OMP_NUM_THREADS"] == "2"
    assert told["packages"]["numpy"] == importlib.import_module("numpy").__version__
    assert told["gpu"].startswith(("none: ", "the GPU"))
    lines = dict(line.split(maxsplit=1) for line in text.out.splitlines())
    assert lines["OMP_NUM_THREADS"] == "2"
    assert lines["gdopt"] == gdopt.__version__


def test_info_tells_what_is_wrong_with_the_environment(command, monkeypatch):
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "fortran")
    found = command("info")
    assert found.code == 0
    message = "none: GDOPT_CPU_ENGINE must be numpy or numba, got 'fortran'"
    assert message in found.out


def test_importing_the_command_line_imports_no_extra():
    program = (
        "import sys, gdopt.cli, gdopt.training, gdopt.plots;"
        "extras = {'rich', 'matplotlib', 'sklearn', 'numba', 'cupy'};"
        "print(extras & set(sys.modules))"
    )
    assert python("-c", program).stdout == "set()\n"


def test_main_returns_an_integer_for_the_shell():
    assert type(main(["--version"])) is int
