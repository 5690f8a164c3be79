"""The programs of the page on the loop run, agree, and are as long as it says."""

import ast
import importlib
import re
import signal
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

import gdopt
from gdopt.training import Record

recipes = pytest.importorskip("gdopt.guide.recipes", reason="not in the wheel")
FOLDER = Path(recipes.__file__).parent
PAGE = FOLDER.parent / "loop.md"
HEAT = ["heat_by_hand", "heat_step", "heat_steps", "heat_minimize"]


def program(name):
    return importlib.import_module(f"gdopt.guide.recipes.{name}")


def lines_of(name):
    """Count the lines of code: without blank ones, comments and docstrings."""
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    text = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text |= set(range(node.lineno, node.end_lineno + 1))
    code = enumerate(source.splitlines(), start=1)
    return sum(bool(line.split("#")[0].strip()) for n, line in code if n not in text)


def test_lines_are_counted_without_text():
    assert lines_of("__init__") == 0


def test_the_page_states_the_lines_of_every_program():
    rows = re.findall(
        r"\[`(\w+)\.py`\]\(recipes/(\w+)\.py\).*\| (\d+) \|", PAGE.read_text("utf-8")
    )
    there = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "heat_model"}
    assert {name for name, _, _ in rows} == there
    for name, link, count in rows:
        assert link == name
        assert lines_of(name) == int(count)


def test_each_way_takes_fewer_lines_than_the_one_before():
    counts = [lines_of(name) for name in HEAT]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] / 2


def test_the_adjoint_gradient_is_right():
    model = program("heat_model")
    m = 0.1 * np.random.default_rng(1).standard_normal(model.CELLS + 1)
    assert gdopt.check_gradient(model.misfit, m).verdict == "great"


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    return program("heat_by_hand").main(tmp_path_factory.mktemp("by_hand"))


@pytest.mark.parametrize("name", HEAT[1:])
def test_each_program_finds_what_the_authors_own_loop_finds(name, by_hand, tmp_path):
    m, value, steps = program(name).main(tmp_path)
    # Adam's step is written in another order, which differs by 1e-16 a step.
    np.testing.assert_allclose(m, by_hand[0], rtol=0, atol=1e-9)
    assert by_hand[1] == pytest.approx(value, rel=1e-9)
    assert by_hand[2] == steps
    log = (tmp_path / "heat.csv").read_text().splitlines()
    assert len(log) == steps + 2  # with the start and the names


def test_l_bfgs_reaches_the_misfit_in_the_evaluations_that_the_page_states(by_hand):
    model = program("heat_model")
    m = np.zeros(model.CELLS + 1)
    result = gdopt.minimize(model.misfit, m, method="l-bfgs", gtol=1e-3)
    assert by_hand[1] == pytest.approx(result.fun, rel=1e-3)
    stated = int(re.search(r"(\d+) evaluations", PAGE.read_text("utf-8"))[1])
    assert abs(result.nfev - stated) <= 5  # another BLAS may take another path


def test_what_is_found_is_near_the_rod_that_was_measured(by_hand):
    truth = -1.5 * np.exp(-(((np.linspace(0, 1, 41) - 0.6) / 0.1) ** 2))
    assert np.abs(by_hand[0] - truth).max() < 0.15


@pytest.mark.parametrize("name", HEAT)
def test_a_program_that_is_interrupted_continues(name, by_hand, tmp_path, monkeypatch):
    module, calls = program(name), []
    misfit = module.misfit

    def interrupted(m):
        calls.append(m)
        if len(calls) == 120:
            signal.raise_signal(signal.SIGINT)
        return misfit(m)

    monkeypatch.setattr(module, "misfit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        module.main(tmp_path)
    m, _, steps = module.main(tmp_path)
    np.testing.assert_allclose(m, by_hand[0], rtol=0, atol=1e-9)
    assert by_hand[2] == steps
    assert len(calls) < 2 * 120  # 179 are needed in all: it did not start again
    assert module.main(tmp_path)[1] == pytest.approx(by_hand[1], rel=1e-9)


def test_the_gradient_of_logistic_regression_is_right():
    logistic = program("logistic")
    X, y = (part[:50] for part in logistic.make_data())
    params = {"w": np.linspace(-1, 1, 10), "b": np.array(0.3)}
    check = gdopt.check_gradient(lambda p: logistic.loss_and_grads(p, X, y), params)
    assert check.verdict == "great"


def test_logistic_regression_on_batches_comes_near_that_on_all_examples(tmp_path):
    logistic = program("logistic")
    params, accuracy, _ = logistic.main(tmp_path)
    parts = gdopt.split(*logistic.make_data(), seed=0)
    X, y = parts.train
    whole = {"w": np.zeros(10), "b": np.zeros(())}
    gdopt.minimize(lambda p: logistic.loss_and_grads(p, X, y), whole, lr=0.1, gtol=1e-4)
    losses = [logistic.loss_and_grads(p, *parts.dev)[0] for p in (params, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert accuracy > 0.83


@pytest.fixture
def scipy_minimize():
    optimize = pytest.importorskip("scipy.optimize")
    method = program("scipy_method").gdopt_method

    def run(fun, x0, options=(), **given):
        options = {"method": "adam", "lr": 0.1} | dict(options)
        return optimize.minimize(fun, x0, method=method, options=options, **given)

    return run


def test_scipy_minimizes_by_a_method_of_gdopt(scipy_minimize):
    from scipy.optimize import rosen, rosen_der

    start = np.array([-1.2, 1.0])
    for options in ({"method": "l-bfgs", "lr": None}, {"lr": 0.02}):
        result = scipy_minimize(rosen, start, options, jac=rosen_der, tol=1e-6)
        np.testing.assert_allclose(result.x, [1, 1], atol=1e-4)
        assert result.success
        assert np.abs(result.jac).max() <= 1e-6
        assert result.nfev >= result.nit + 1
        assert "gtol=1e-06" in result.message
    np.testing.assert_array_equal(start, [-1.2, 1.0])


@pytest.mark.parametrize("as_pairs", [True, False])
def test_scipys_arguments_bounds_and_callback_reach_gdopt(scipy_minimize, as_pairs):
    from scipy.optimize import Bounds

    def square(x, middle):
        return ((x - middle) ** 2).sum(), 2 * (x - middle)

    bounds = [(None, 1), (0, 9)] if as_pairs else Bounds([-np.inf, 0], [1, 9])
    seen = []
    given = {"args": (3.0,), "jac": True, "bounds": bounds, "callback": seen.append}
    result = scipy_minimize(square, [0, 0], {"gtol": 1e-6}, **given)
    np.testing.assert_allclose(result.x, [1, 3], atol=1e-5)
    assert result.success
    assert len(seen) == result.nit + 1
    np.testing.assert_array_equal(seen[0], [0, 0])


def test_what_scipy_cannot_pass_on_is_refused(scipy_minimize):
    with pytest.raises(ValueError, match="constraints must be left out"):
        scipy_minimize(sum, [0.0], jac=np.ones_like, constraints={"type": "eq"})


LOGGERS = re.findall(
    r"```python\n((?:from|import) (torch\S*|mlflow|wandb).*?)```",
    PAGE.read_text(encoding="utf-8"),
    re.DOTALL,
)


@pytest.mark.parametrize("code", [code for code, _ in LOGGERS])
def test_a_logger_of_the_page_passes_the_loss_on(code, monkeypatch):
    libraries = {name.split(".")[0] for _, name in LOGGERS}
    assert libraries == {"torch", "mlflow", "wandb"}
    library = MagicMock()
    for name in ("torch", "torch.utils", "torch.utils.tensorboard", "mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, name, library)
    assert sum(map(bool, code.splitlines())) == 5
    names = {}
    exec(compile(code, "loop.md", "exec"), names)  # noqa: S102 - the page's own
    names["log"](Record(7, 1, loss=0.625, smoothed_loss=0.75, lr=0.1))
    called = str(library.mock_calls)
    assert "0.625" in called
    assert "7" in called
    assert "None" not in called


def test_what_the_page_links_to_is_there():
    links = re.findall(r"\]\(([^)#]+)", PAGE.read_text(encoding="utf-8"))
    assert links
    assert all((PAGE.parent / link).exists() for link in links)
