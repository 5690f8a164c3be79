"""What a release must be: checked in an environment that has its wheel alone.

try_wheel.py EXTRA           imports, steps, both commands, and that extra (or none)
try_wheel.py --contents DIR  what the wheel and the sdist in DIR hold
"""

import os
import platform
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

MODULES = {  # by extra: what it brings
    "numba": ["numba"],
    "bfloat16": ["ml_dtypes"],
    "pandas": ["pandas"],
    "train": ["matplotlib", "pandas", "rich", "sklearn"],
    "tune": ["optuna", "filelock"],
    "cuda12x": ["cupy"],
    "cuda13x": ["cupy"],
}
LARGEST = 4_000_000  # bytes of a distribution


def run(*command, code=0, **variables):
    """Run a command of this environment, and return what it prints."""
    program = Path(sys.executable).with_name(command[0])
    environment = {**os.environ, **variables}
    done = subprocess.run(  # noqa: S603 - the project's own
        [program, *command[1:]],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert code in {None, done.returncode}, (command, done.returncode, done.stderr)
    return done.stdout + done.stderr


def installed(module):
    return any(Path(folder, module).is_dir() for folder in sys.path)


def error_of(act):
    """Return the text of the project's error that an act raises, or nothing."""
    import gdopt

    try:
        act()
    except gdopt.GdoptError as error:
        return str(error)
    return ""


def missing(extra, act):
    """See that what needs an extra says so where it is missing."""
    said = error_of(act)
    assert all(map(installed, MODULES[extra])) or f"gdopt[{extra}]" in said, said


def check_core():
    """Import, make a step on the caller's array, and run the commands."""
    import numpy as np

    import gdopt

    version = metadata.version("gdopt")
    assert gdopt.__version__ == version
    assert "site-packages" in gdopt.__file__
    p = np.array([3.0, -4.0])
    opt = gdopt.Adam(p, lr=0.1)
    assert opt.step(2 * p)
    np.testing.assert_allclose(p, [2.9, -3.9])
    result = gdopt.minimize(lambda x: (x @ x, 2 * x), np.ones(3), method="l-bfgs")
    assert result.success
    assert run("gdopt", "--version").strip() == f"gdopt {version}"
    assert "train" in run("gdopt", "--help")
    assert run("python", "-m", "gdopt") == run("gdopt")
    assert np.__version__ in run("gdopt", "info")


def check_missing():
    """See that the errors for all extras that are not there name them."""
    import numpy as np

    import gdopt
    from gdopt import tune
    from gdopt.plots import averages

    half = np.ones(3, np.float16)
    missing("bfloat16", lambda: gdopt.Adam(half, state_dtype="bfloat16"))
    missing("tune", lambda: tune.tune(print, {"x": tune.uniform(0, 1)}, trials=1))
    missing("pandas", lambda: gdopt.training.History().to_pandas())
    missing("train", lambda: averages(np.ones(3), [0.9], "averages.png"))
    if not installed("numba"):
        said = run("gdopt", "info", GDOPT_CPU_ENGINE="numba", code=None)
        assert "gdopt[numba]" in said, said
    if not installed("sklearn"):
        assert "gdopt[train]" in run("gdopt", "train", "digits", code=None)
    said = error_of(lambda: gdopt.use("cupy"))
    assert installed("cupy") or "gdopt[cuda" in said, said


def check_extra(extra):
    """Use what an extra brings."""
    import numpy as np

    import gdopt

    for module in MODULES[extra]:
        __import__(module)
    if extra == "numba":
        assert "numba" in run("gdopt", "info", GDOPT_CPU_ENGINE="numba")
        p = np.ones(3)
        assert gdopt.Momentum(p, lr=0.1).step(p.copy())
    elif extra == "bfloat16":
        import ml_dtypes

        p = np.ones(3, ml_dtypes.bfloat16)
        assert gdopt.Adam(p, lr=0.1).step(p.copy())
    elif extra == "pandas":
        result = gdopt.minimize(lambda x: (x @ x, 2 * x), np.ones(3), lr=0.1)
        assert len(result.history.to_pandas()) == result.nit + 1
    elif extra == "train":
        said = run("gdopt", "train", "digits", "--epochs", "2", MPLBACKEND="agg")
        assert "accuracy" in said, said
    elif extra == "tune":
        from gdopt import tune

        space = tune.Space({"x": tune.uniform(-1, 1)})
        study = tune.tune(lambda trial: -(trial["x"] ** 2), space, trials=3)
        assert len(study.trials) == 3
    else:  # CuPy, where there may be no GPU
        import cupy

        assert cupy.__version__ in run("gdopt", "info")


def check_contents(folder):
    """See that the wheel holds the library, and the sdist what is kept with it."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    tops = {name.partition("/")[0].partition("-")[0] for name in names}
    assert tops == {"gdopt"}, tops
    assert not [name for name in names if name.startswith("gdopt/guide")]
    for name in ("gdopt/py.typed", "gdopt/optim/gpu/__init__.py"):
        assert name in names, name
    assert any(name.endswith("licenses/LICENSE") for name in names)
    with tarfile.open(sdist) as file:
        paths = [Path(name) for name in file.getnames()]
    held = {path.parts[1] for path in paths if len(path.parts) > 1}
    code = {"gdopt", "tests", "bench", "docker", ".ci", ".github"}
    texts = {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO"}
    settings = {".gitignore", ".dockerignore", ".mkdocs.yml"}
    assert code | texts <= held <= code | texts | settings, held
    for path in (wheel, sdist):
        assert path.stat().st_size < LARGEST, path


if __name__ == "__main__":
    if sys.argv[1] == "--contents":
        check_contents(Path(sys.argv[2]))
        sys.exit()
    extra = sys.argv[1]
    check_core()
    check_missing()
    if extra:
        check_extra(extra)
    python = platform.python_version()
    sys.stdout.write(f"Python {python}, gdopt[{extra}]: works\n")
