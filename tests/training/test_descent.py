"""Methods with a line search, driven by hand."""

import numpy as np
import pytest
from descents import NAMES, VALLEY, drive, make, valley

import gdopt
from gdopt.errors import ArgumentError, ArgumentTypeError, DivergenceError, StateError
from gdopt.problems import rosenbrock


@NAMES
def test_every_method_reaches_the_minimum_and_never_goes_up(name):
    w = np.array(VALLEY.start)
    problem = gdopt.problems.bowl(30.0, size=6) if name == "gd" else VALLEY
    method = make(name, w)
    points = drive(method, lambda: (problem.value(w), problem.gradient(w)))
    values = [point.value for point in points]
    assert values == sorted(values, reverse=True)
    assert points[-1].grad_norm <= 1e-6
    assert points[-1].grad_norm == np.abs(problem.gradient(w)).max()
    assert points[-1].value == problem.value(w)
    assert method.t == len(points) - 1
    np.testing.assert_allclose(w, problem.minima[0], rtol=0, atol=1e-5)


@NAMES
def test_the_change_of_a_point_is_that_of_the_parameters(name):
    w = np.array(VALLEY.start)
    method = make(name, w)
    assert method.start(lambda: valley(w)).change == 0.0
    for _ in range(5):
        before = w.copy()
        point = method.update(lambda: valley(w))
        assert point.change == pytest.approx(np.abs(w - before).max(), rel=1e-12)


def textbook(xs, gs):
    """Return the direction of the two-loop recursion, N&W 2006, algorithm 7.4."""
    pairs = [(b - a, d - c) for a, b, c, d in zip(xs, xs[1:], gs, gs[1:], strict=False)]
    pairs = pairs[-10:]
    q, alphas = gs[-1].copy(), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    s, y = pairs[-1]
    q *= s @ y / (y @ y)
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        q += s * (alpha - y @ q / (s @ y))
    return -q


def test_lbfgs_moves_along_the_direction_of_the_textbook():
    w = np.array(rosenbrock(20).start)
    problem = rosenbrock(20)
    method = make("l-bfgs", w)
    method.start(lambda: (problem.value(w), problem.gradient(w)))
    xs, gs = [w.copy()], [problem.gradient(w)]
    for k in range(25):
        method.update(lambda: (problem.value(w), problem.gradient(w)))
        if k:
            d, moved = textbook(xs, gs), w - xs[-1]
            # The products of pairs that are nearly parallel lose a few digits.
            ratio = moved / np.linalg.norm(moved) - d / np.linalg.norm(d)
            assert np.abs(ratio).max() < 1e-9
        xs.append(w.copy())
        gs.append(problem.gradient(w))


def test_conjugate_gradients_move_along_the_direction_of_the_textbook():
    w = np.array(VALLEY.start)
    method = make("cg", w)
    method.start(lambda: valley(w))
    x, g = w.copy(), VALLEY.gradient(w)
    d, restarts = -g, 0
    for _ in range(25):
        method.update(lambda: valley(w))
        moved = w - x
        # A step is rounded to the last digit of the parameters.
        unit = moved / np.linalg.norm(moved) - d / np.linalg.norm(d)
        assert np.abs(unit).max() < 1e-9
        x, before, g = w.copy(), g, VALLEY.gradient(w)
        beta = max(0.0, g @ (g - before) / (before @ before))
        restarts += not beta
        d = beta * d - g
    assert 0 < restarts < 25


CONTAINERS = {
    "mapping": lambda x: {"W": x[:4].reshape(2, 2).copy(), "b": x[4:].copy()},
    "list": lambda x: [x[:1].copy(), np.array(x[1]), x[2:].copy()],
    "arena": lambda x: gdopt.Arena.of({"W": x[:4].reshape(2, 2), "b": x[4:]}),
    "columns": lambda x: {"W": np.asfortranarray(x.reshape(2, 3)), "e": np.zeros(0)},
}


def flattened(params):
    arrays = params.values() if hasattr(params, "values") else params
    return np.concatenate([np.ravel(array) for array in arrays])


def like(params, flat):
    arrays, found = params.values() if hasattr(params, "values") else params, []
    for array in arrays:
        found.append(flat[: array.size].reshape(array.shape))
        flat = flat[array.size :]
    return dict(zip(params, found, strict=True)) if hasattr(params, "values") else found


@NAMES
@pytest.mark.parametrize("kind", CONTAINERS)
def test_any_container_takes_the_steps_of_one_vector(name, kind):
    w = np.array(VALLEY.start)
    params = CONTAINERS[kind](w)

    def evaluate():
        flat = flattened(params)
        return VALLEY.value(flat), like(params, VALLEY.gradient(flat))

    one, other = make(name, w), make(name, params)
    one.start(lambda: valley(w))
    other.start(evaluate)
    for _ in range(12):
        one.update(lambda: valley(w))
        other.update(evaluate)
    # Gaps between arrays change the order of the sums.
    np.testing.assert_allclose(flattened(params), w, rtol=1e-7)


@NAMES
def test_complex_parameters_are_pairs_of_real_ones(name):
    w, z = np.array(VALLEY.start), np.array(VALLEY.start).view(complex)

    def evaluate():
        p = z.view(float)
        return VALLEY.value(p), VALLEY.gradient(p).view(complex)

    one, other = make(name, w), make(name, z)
    assert one.start(lambda: valley(w)) == other.start(evaluate)
    for _ in range(12):
        assert one.update(lambda: valley(w)) == other.update(evaluate)
    assert (z.view(float) == w).all()


@NAMES
def test_frozen_arrays_stay(name):
    params = {"a": np.ones(3, np.float16), "w": np.array(VALLEY.start)}
    method = make(name, params, frozen="a")
    points = drive(
        method,
        lambda: (
            VALLEY.value(params["w"]),
            {"a": None, "w": VALLEY.gradient(params["w"])},
        ),
        updates=20,
    )
    assert points[-1].value < points[0].value
    assert (params["a"] == 1).all()


@NAMES
def test_float32_reaches_what_its_rounding_allows(name):
    w = np.array([3.0, -2.0, 1.0], np.float32)
    c = np.array([1.0, 10.0, 100.0], np.float32)
    points = drive(make(name, w), lambda: (c @ (w * w) / 2 + 1, c * w), gtol=1e-4)
    assert points[-1].grad_norm <= 1e-4


@NAMES
def test_the_gradient_may_be_the_same_array_each_time(name):
    w, v = np.array(VALLEY.start), np.array(VALLEY.start)
    reused = np.zeros_like(v)

    def evaluate():
        reused[...] = VALLEY.gradient(v)
        return VALLEY.value(v), reused

    one, other = make(name, w), make(name, v)
    one.start(lambda: valley(w))
    other.start(evaluate)
    for _ in range(8):
        assert one.update(lambda: valley(w)) == other.update(evaluate)


BOXES = [None, (-1.5, 0.9), (-np.inf, 0.9)]


@NAMES
@pytest.mark.parametrize("bounds", BOXES)
def test_a_run_continues_from_its_state_with_the_same_bits(name, bounds):
    w = np.clip(VALLEY.start, -1.5, 0.9)
    method = make(name, w, bounds)
    drive(method, lambda: valley(w), updates=13, gtol=0)
    state, v = method.state_dict(), w.copy()
    points = [method.update(lambda: valley(w)) for _ in range(15)]
    other = make(name, v, bounds)
    other.load_state_dict(state)
    other.start(lambda: valley(v))
    assert [other.update(lambda: valley(v)) for _ in range(15)] == points
    assert v.tobytes() == w.tobytes()
    assert other.t == method.t == 28


@NAMES
def test_a_damaged_state_is_refused_and_changes_nothing(name):
    w = np.array(VALLEY.start)
    method = make(name, w)
    drive(method, lambda: valley(w), updates=4)
    state = method.state_dict()
    arrays = [key for key, part in state.items() if np.ndim(part)]
    others = [{**state, key: state[key][..., :-1]} for key in arrays]
    others += [{**state, key: state[key].astype(np.float32)} for key in arrays]
    others += [{**state, "format": 2}, {**state, "method": "adam"}, {**state, "t": -1}]
    others += [{k: v for k, v in state.items() if k != key} for key in state]
    if name == "l-bfgs":
        others += [{**state, "count": count} for count in (-1, 1.5, 3, 11)]
    for other in others:
        with pytest.raises(StateError):
            method.load_state_dict(other)
    after = method.state_dict()
    assert all(np.array_equal(after[key], state[key]) for key in state)


@NAMES
@pytest.mark.parametrize("bounds", [None, (-2.0, 0.9)])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_of_the_function_puts_the_parameters_back(name, bounds, error):
    w = np.clip(VALLEY.start, -2, 0.9)
    v = w.copy()
    left, done = [0], [0]

    def evaluate():
        left[0] -= 1
        if not left[0]:
            raise error
        return valley(w)

    def counted():
        done[0] += 1
        return valley(v)

    method, other = make(name, w, bounds), make(name, v, bounds)
    method.start(evaluate)
    other.start(counted)
    for _ in range(10):
        before, done[0] = w.copy(), 0
        point = other.update(counted)
        left[0] = done[0]  # the last evaluation fails
        with pytest.raises(error):
            method.update(evaluate)
        assert (w == before).all()
        assert method.update(evaluate) == point


@NAMES
def test_a_step_to_where_the_function_has_no_value_is_shortened(name):
    w = np.array([1e-3])

    def evaluate():
        with np.errstate(invalid="ignore", divide="ignore"):
            return w[0] - np.log(w[0]), 1 - 1 / w

    points = drive(make(name, w), evaluate)
    assert w[0] == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite([point.value for point in points]).all()


@NAMES
@pytest.mark.parametrize(
    "bad", [(-np.inf, 1.0), (np.nan, 1.0), (-9.0, np.nan), (-9.0, np.inf)]
)
def test_no_point_is_taken_where_value_or_gradient_is_not_finite(name, bad):
    w = np.array([0.0, 1.0])

    def evaluate():
        if w[0] > 1.5:
            return bad[0], bad[1] * np.ones(2)
        return (w[0] - 3) ** 2 + w[1] ** 2, 2 * (w - [3.0, 0.0])

    points = drive(make(name, w), evaluate, updates=200)
    assert np.isfinite([(point.value, point.grad_norm) for point in points]).all()
    assert 1.4 < w[0] <= 1.5
    assert points[-1].value == (w[0] - 3) ** 2 + w[1] ** 2


@NAMES
def test_what_rounding_may_hide_does_not_add_up(name):
    c, w, calls = np.logspace(0, 3, 8), np.ones(8), [0]

    def evaluate():  # goes up by a few units of the last digit at each call
        calls[0] += 1
        return 1.0 + c @ (w * w) / 2 + calls[0] * 4 * 2**-52, c * w

    points = drive(make(name, w), evaluate, gtol=1e-9)
    values = np.array([point.value for point in points])
    lowest = np.minimum.accumulate(values)
    assert (values <= lowest * (1 + 10 * 2**-52)).all()
    assert values[-1] < 1.001  # from 600 on


@NAMES
def test_a_run_at_the_limit_of_rounding_stalls_at_its_best_point(name):
    w = np.array([1.0, 2.0])

    def evaluate():  # the gradient is not that of the value, and never 0
        return (w * w).sum() + 1.0, 2 * w + np.copysign(1e-3, w)

    points = drive(make(name, w), evaluate, gtol=0)
    assert points[-1].stalled.startswith("no lower value was found")
    assert points[-1].change == 0.0
    assert points[-1].value == (w * w).sum() + 1
    lowest = min(point.value for point in points)
    assert points[-1].value <= lowest + 1e-14  # what rounding hides


@NAMES
@pytest.mark.parametrize("name_of", ["value", "gradient of 'W'"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_start_that_is_not_finite_is_refused_by_name(name, name_of, bad):
    params = {"W": np.ones(2)}
    value = bad if name_of == "value" else 1.0
    grads = {"W": np.array([1.0, 1.0 if name_of == "value" else bad])}
    with pytest.raises(DivergenceError, match=f"{name_of} at the start must be finite"):
        make(name, params, (0.0, 2.0)).start(lambda: (value, grads))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"W": np.zeros(2, np.float16)}, "got float16: write w.astype"),
        ({"W": np.zeros(2), "b": np.zeros(2, np.float32)}, "got float64, float32"),
    ],
)
def test_other_dtypes_are_refused(params, message):
    with pytest.raises(ArgumentTypeError, match=message):
        make("cg", params)


def test_parameters_without_elements_are_refused():
    with pytest.raises(
        ArgumentError, match="must hold at least one number, got empty arrays"
    ):
        make("gd", np.zeros(0))


@NAMES
def test_missing_gradients_are_refused(name):
    params, grads = ({"W": np.ones(2), "b": np.ones(2)} for _ in range(2))
    with pytest.raises(ArgumentTypeError, match="gradient of 'b' must be an array"):
        make(name, params).start(lambda: (0.0, {"W": np.ones(2), "b": None}))
    with pytest.raises(ArgumentTypeError, match="value must be a number"):
        make(name, params).start(lambda: (np.ones(2), grads))


@NAMES
def test_an_update_before_the_start_is_refused_and_changes_nothing(name):
    w = np.ones(6)
    method = make(name, w)
    with pytest.raises(ArgumentError, match="must start before its first update"):
        method.update(lambda: valley(w))
    method.start(lambda: valley(w))
    method.load_state_dict(method.state_dict())
    with pytest.raises(ArgumentError, match="or after a load"):
        method.update(lambda: valley(w))
    assert (w == 1).all()


def test_a_gradient_of_another_shape_is_refused_within_a_search():
    w = np.array(VALLEY.start)
    method = make("l-bfgs", w)
    method.start(lambda: valley(w))
    with pytest.raises(ArgumentError, match="must have shape"):
        method.update(lambda: (1.0, np.ones(5)))
    assert (w == VALLEY.start).all()


@pytest.mark.peers("torch")
@NAMES
def test_torch_parameters_carry_their_gradients(name, torch):
    w, v = np.array(VALLEY.start), torch.tensor(VALLEY.start, dtype=torch.float64)
    v.requires_grad_(True)

    def evaluate():
        v.grad = None
        value = (100 * (v[1:] - v[:-1] ** 2) ** 2 + (1 - v[:-1]) ** 2).sum()
        value.backward()
        return value, None

    one, other = make(name, w), make(name, [v])
    one.start(lambda: valley(w))
    other.start(evaluate)
    for _ in range(8):
        point = one.update(lambda: valley(w))
        assert other.update(evaluate).value == pytest.approx(point.value, rel=1e-6)
