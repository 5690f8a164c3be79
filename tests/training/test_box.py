import numpy as np
import pytest
from descents import NAMES, drive, make

import gdopt
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.optim.parameters import Parameters
from gdopt.training.box import Box


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        ((1.0, 0.0), ArgumentError, "lower must be at most upper for 'W'"),
        (
            {"W": (np.ones(3), 0.0)},
            ArgumentError,
            "lower must be at most upper for 'W'",
        ),
        (3.0, ArgumentTypeError, "bounds must be a pair"),
        (
            (gdopt.schedules.constant(0.0), 1.0),
            ArgumentTypeError,
            "lower must be numbers",
        ),
        ((np.zeros(2), 1.0), ArgumentError, "broadcast"),
        ({"V": (0.0, 1.0)}, ArgumentError, "unknown 'V'"),
        ((np.nan, 1.0), ArgumentError, "lower must be in"),
    ],
)
def test_bad_bounds_are_refused(bounds, error, message):
    with pytest.raises(error, match=message):
        make("l-bfgs", {"W": np.zeros(3)}, bounds)


def test_bounds_of_complex_parameters_are_refused():
    with pytest.raises(ArgumentError, match="bounds need real parameters, but 'W'"):
        make("l-bfgs", {"W": np.zeros(3, complex)}, (0.0, 1.0))


def test_a_start_outside_the_bounds_is_refused():
    w = {"W": np.array([0.5, 2.0])}
    with pytest.raises(ArgumentError, match="'W' must start within its bounds"):
        make("cg", w, (0.0, 1.0)).start(lambda: (0.0, w))
    assert w["W"].tolist() == [0.5, 2.0]


@NAMES
def test_bounds_hold_at_every_evaluation_and_at_the_end(name):
    params = {"W": np.array([[2.0, 0.5], [1.0, 1.0]]), "b": np.zeros(2)}
    bounds = {"W": (np.array([0.5, 0.25]), 2.0), "*": (-np.inf, 0.0)}
    target = {"W": np.array([[0.0, 1.0], [3.0, 0.3]]), "b": np.array([-1.0, 4.0])}

    def evaluate():
        assert (params["W"] >= [0.5, 0.25]).all()
        assert (params["W"] <= 2.0).all()
        assert (params["b"] <= 0.0).all()
        rest = {key: params[key] - target[key] for key in params}
        return sum((r**4 + r**2).sum() for r in rest.values()), {
            key: 4 * r**3 + 2 * r for key, r in rest.items()
        }

    points = drive(make(name, params, bounds), evaluate, gtol=1e-7)
    assert points[-1].grad_norm <= 1e-7
    np.testing.assert_allclose(params["W"], [[0.5, 1.0], [2.0, 0.3]], atol=1e-7)
    np.testing.assert_allclose(params["b"], [-1.0, 0.0], atol=1e-7)
    assert params["W"][0, 0] == 0.5  # exactly


@NAMES
def test_rounding_takes_no_element_out_of_its_bounds(name):
    rng = np.random.default_rng(0)
    lower, upper = -rng.random(300), rng.random(300)
    w, target = lower + (upper - lower) * rng.random(300), 4 * rng.random(300) - 2

    def evaluate():
        assert (w >= lower).all()
        assert (w <= upper).all()
        return ((w - target) ** 2).sum(), 2 * (w - target)

    drive(make(name, w, (lower, upper)), evaluate)
    np.testing.assert_allclose(w, np.clip(target, lower, upper), atol=1e-6)


@NAMES
def test_a_step_ends_at_the_bound_that_it_meets(name):
    w, calls = np.zeros(1), [0]

    def evaluate():
        calls[0] += 1
        return -w[0], -np.ones(1)

    points = drive(make(name, w, (-np.inf, 10.0)), evaluate)
    assert w[0] == 10.0
    assert [point.grad_norm for point in points] == [1.0, 0.0]
    assert calls[0] == 4  # at 0, 1, 5 and 10


def test_a_box_holds_what_descent_would_take_across_a_bound():
    params = {"w": np.array([0.0, 0.0, 1.0, 1.0, 0.5, 0.5])}
    box = Box(Parameters.of(params), (0.0, 1.0))
    x, g = (np.zeros(64) for _ in range(2))
    x[:6], g[:6] = params["w"], [2.0, -2.0, 2.0, -2.0, 2.0, -2.0]
    assert box.free(x, g)[:6].tolist() == [False, True, True, False, True, True]
    projected = box.projected(x, g, np.zeros(64))
    assert projected[:6].tolist() == [0.0, -1.0, 1.0, 0.0, 0.5, -0.5]
    d = np.zeros(64)
    d[:6] = 0.0, 0.25, -0.5, 0.0, 0.125, 0.0
    assert box.room(x, d) == 2.0
    assert box.closed
    assert not Box(Parameters.of(params), (0.0, np.inf)).closed
