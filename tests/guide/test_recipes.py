"""The recipes run, find what they say, and are made into pages and notebooks."""

import os
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

import gdopt
from gdopt.training import Record

guide = pytest.importorskip("gdopt.guide.pictures", reason="not in the wheel")
FOLDER = Path(guide.__file__).parents[1] / "recipes"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
PICTURE = re.compile(r"!\[([^\]]+)\]\((\w+)\.png\)")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return ``run(name)``: what a recipe's script has defined when it is done."""
    matplotlib = pytest.importorskip("matplotlib")
    images = pytest.importorskip("PIL.Image")
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    monkeypatch.chdir(tmp_path)  # where it writes its picture

    def run_script(name):
        with matplotlib.rc_context():
            found = runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        figure = found["figure"]
        for axis in figure.axes:
            assert axis.get_xlabel()
            assert axis.get_ylabel()
        file = f"{name}.png"
        with images.open(file) as drawn, images.open(FOLDER / file) as shown:
            assert drawn.size == shown.size
        plt.close("all")
        return SimpleNamespace(**found)

    return run_script


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_shows_its_picture_says_what_is_seen_and_is_short(name):
    text = (FOLDER / f"{name}.py").read_text("utf-8")
    assert text.startswith('# %% [markdown]\n"""\n# ')  # the title
    ((alternative, picture),) = PICTURE.findall(text)
    assert picture == name
    assert len(alternative) > 80
    assert 30 <= text.count("\n") <= 90
    file = FOLDER / f"{name}.png"
    assert file.stat().st_size < 100_000  # a clone has all of them


def test_the_rod_is_found_with_fewer_evaluations_by_l_bfgs(run):
    heat = run("heat_equation")
    assert heat.check.verdict == "great"
    assert heat.result.success
    assert heat.adam.success
    assert heat.result.nfev < heat.adam.nfev / 2
    assert np.abs(heat.m - heat.truth).max() < 0.15
    assert heat.adam.fun == pytest.approx(heat.result.fun, rel=5e-3)  # by gtol alone


@pytest.mark.peers("torch")
def test_torchs_parameters_take_torchs_steps_and_a_rule(run, numpy_engine):
    torch = run("torch_rule")
    theirs, ours, cautious = torch.runs.values()
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    assert cautious[-1] < 0.01 * cautious[0] + 0.005


@pytest.mark.parametrize(
    "module", ["numpy", pytest.param("cupy", marks=pytest.mark.gpu)]
)
def test_an_image_is_restored_on_either_device(run, module, monkeypatch):
    monkeypatch.setenv("GDOPT_BACKEND", module)
    monkeypatch.setattr("gdopt.arrays.backend._chosen", None)
    image = run("deconvolution")
    assert type(image.sharp).__module__.partition(".")[0] == module
    assert image.errors[1] < 0.5 * image.errors[0]
    assert float(image.sharp.min()) >= 0
    rng = np.random.default_rng(1)
    shape = 2, image.SIZE, image.SIZE
    a, b = image.xp.asarray(rng.standard_normal(shape))
    there = image.xp.vdot(image.blur(a, image.KERNEL), b)
    back = image.xp.vdot(a, image.blur(b, image.KERNEL[::-1, ::-1]))
    assert float(there) == pytest.approx(float(back))  # so it is the adjoint


def test_a_complex_object_is_found_but_for_its_phase(run):
    phase = run("phase_retrieval")
    assert phase.halved.verdict == "wrong"
    assert "pass 2 * g" in str(phase.halved)
    ends = {name: values[-1] for name, values in phase.errors.items()}
    assert ends["Momentum"] < 1e-6
    assert max(ends.values()) < 0.05


@pytest.fixture
def fit(run):
    pytest.importorskip("scipy.optimize")
    return run("bounded_fit")


def test_a_bounded_fit_equals_scipys_directly_and_by_the_adapter(fit):
    assert fit.ours.success
    for found in (fit.p, fit.adapted.x):
        np.testing.assert_allclose(found, fit.theirs.x, atol=1e-4)
    assert gdopt.check_gradient(fit.misfit, fit.start).verdict == "great"
    assert fit.adapted.success
    assert "gtol=1e-06" in fit.adapted.message
    assert np.abs(fit.p - fit.truth).max() < 0.1


@pytest.mark.parametrize("as_pairs", [True, False])
def test_scipys_arguments_bounds_and_callback_reach_gdopt(fit, as_pairs):
    def square(x, middle):
        return ((x - middle) ** 2).sum(), 2 * (x - middle)

    bounds = [(None, 1), (0, 9)] if as_pairs else fit.Bounds([-np.inf, 0], [1, 9])
    seen = []
    result = fit.minimize(
        square,
        [0, 0],
        args=(3.0,),
        jac=True,
        bounds=bounds,
        callback=seen.append,
        method=fit.gdopt_method,
        options={"method": "adam", "lr": 0.1, "gtol": 1e-6},
    )
    np.testing.assert_allclose(result.x, [1, 3], atol=1e-5)
    assert result.success
    assert result.nfev >= result.nit + 1
    assert len(seen) == result.nit + 1
    np.testing.assert_array_equal(seen[0], [0, 0])
    with pytest.raises(ValueError, match="constraints must be left out"):
        fit.minimize(sum, [0.0], method=fit.gdopt_method, jac=sum, constraints={1: 2})


def test_ratings_are_explained_down_to_their_noise(run):
    found = run("embeddings")
    train, dev = found.errors[-1]
    assert train < dev < 0.38
    assert found.touched < 0.3 * (found.USERS + found.FILMS)


@pytest.mark.peers("pandas")
def test_after_a_gap_the_average_by_time_is_nearer(run):
    import pandas as pd

    sensor = run("sensor_gaps")
    assert sensor.errors["by time"] < 0.6 * sensor.errors["by count"]
    series = pd.Series(sensor.degrees)
    mean = series.ewm(alpha=0.1, ignore_na=True).mean()
    np.testing.assert_allclose(sensor.by_count, mean, rtol=1e-12)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no kill -9")
def test_a_run_that_was_killed_ends_with_the_bits_of_one_that_was_not(
    run, numpy_engine
):
    resumed = run("resume")
    assert resumed.statuses == (0, -9, 0)
    assert resumed.whole.tobytes() == resumed.killed.tobytes()
    np.testing.assert_allclose(resumed.whole, np.arange(8.0), atol=0.1)
    assert len(resumed.columns["killed"]) == len(resumed.columns["whole"]) == 320


def test_a_log_has_a_line_for_every_record(run):
    table = run("loggers").table
    np.testing.assert_array_equal(table["step"], np.arange(1, 241))
    assert np.isfinite(table["dev_loss"]).sum() == 20
    assert table["loss"][-1] < 0.02


LOGGERS = re.findall(
    r"```python\n((?:from|import) (torch|mlflow|wandb).*?)```",
    (FOLDER / "loggers.py").read_text("utf-8"),
    re.DOTALL,
)


@pytest.mark.parametrize("code", [code for code, _ in LOGGERS])
def test_other_loggers_take_what_was_measured(code, monkeypatch):
    assert {name for _, name in LOGGERS} == {"torch", "mlflow", "wandb"}
    library = MagicMock()
    for name in ("torch", "torch.utils", "torch.utils.tensorboard", "mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, name, library)
    assert len(code.splitlines()) <= 5
    script = (FOLDER / "loggers.py").read_text("utf-8")
    numbers = re.search(r"^def numbers.*?\n\n", script, re.DOTALL | re.MULTILINE)[0]
    names = {}
    exec(compile(numbers + code, "loggers.py", "exec"), names)  # noqa: S102
    names["log"](Record(7, 1, loss=0.625, smoothed_loss=0.75, lr=0.1))
    called = str(library.mock_calls)
    assert "0.625" in called
    assert "7" in called
    assert "None" not in called


def test_one_page_of_mpi_descends_as_one_process_too(run):
    found = run("mpi")
    np.testing.assert_allclose(found.params["w"], np.arange(1.0, 7.0), atol=0.05)
    assert found.result.nit == 200
    assert found.result.fun == pytest.approx(0.09, rel=0.1)
    assert found.result.history["loss"][0] > 80


@pytest.fixture(scope="module")
def made():
    """Return the module that makes pages and notebooks, for the site."""
    for name in ("jupytext", "mkdocs"):
        pytest.importorskip(name, reason="the dependency group docs is not installed")
    from gdopt.guide.hooks import recipes

    return recipes


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_and_a_page_hold_the_code_of_their_script(name, made):
    script = FOLDER / f"{name}.py"
    book = made.notebook(script)
    assert book == made.notebook(script)  # cells are named by their number
    cells = [cell.source for cell in book.cells if cell.cell_type == "code"]
    text = script.read_text("utf-8")
    code = re.sub(
        r'^# %% \[markdown\]\n""".*?^"""$', "", text, flags=re.DOTALL | re.MULTILINE
    )
    expected = "".join(re.sub("^# %%$", "", code, flags=re.MULTILINE).split())
    assert "".join("".join(cells).split()) == expected
    page = made.page(script)
    assert page.startswith("# ")
    assert all(f"```python\n{cell}\n```" in page for cell in cells)
