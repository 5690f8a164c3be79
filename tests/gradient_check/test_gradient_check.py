"""Right gradients pass; the error is the one of the formula."""

import numpy as np
import pytest
from gradient_check.checked_functions import X, cubes, make

import gdopt
from gdopt.gradient_check import check_gradient
from gdopt.nn import Network


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize("l2", [0.0, 0.7])
@pytest.mark.parametrize("initialization", ["he", "zeros"])
@pytest.mark.parametrize("directions", [None, 4])
def test_the_networks_gradients_are_great(
    activation, output, l2, initialization, directions
):
    params, loss = make(output, activation, initialization=initialization, l2=l2)
    check = check_gradient(loss, params, directions=directions)
    assert check.verdict == "great"
    assert 0 < check.error < 1e-7
    assert check.suspects == ()


def test_the_difference_of_cubes_is_off_by_the_square_of_the_step():
    # ((2 + h)^3 - (2 - h)^3) / 2h = 12 + h^2, and h = 1/2 is exact
    check = check_gradient(cubes, np.array([2.0]), step=0.5)
    assert (check.worst.analytic, check.worst.numeric) == (12.0, 12.25)
    assert check.error == 0.25 / 24.25
    assert check.loss == 8.0


def test_the_courses_example_of_a_two_sided_difference():
    # Ng, "Numerical approximation of gradients": theta = 1, epsilon = .01 give 3.0001,
    # where a one-sided difference gives 3.0301.
    check = check_gradient(cubes, np.array([1.0]), step=0.01)
    assert check.worst.numeric == pytest.approx(3.0001, abs=1e-12)


@pytest.mark.parametrize(
    ("factor", "error"), [(2.0, 1 / 3), (0.0, 1.0), (-1.0, 1.0), (1.5, 0.2)]
)
@pytest.mark.parametrize("directions", [None, 3])
def test_the_error_is_that_of_the_factor(factor, error, directions):
    # |f g - g| / (|f g| + |g|) = |f - 1| / (|f| + 1)
    w = np.array([1.0, -2.0, 0.5])
    check = check_gradient(
        lambda w: (cubes(w)[0], factor * 3 * w**2), w, directions=directions
    )
    assert check.error == pytest.approx(error, abs=1e-6)
    assert check.verdict == "wrong"
    assert check.suspects == ("0",)


@pytest.mark.parametrize(
    ("size", "verdict"),
    [
        (1e-8, "great"),
        (2e-7, "fine"),
        (9e-6, "fine"),
        (2e-5, "look again"),
        (9e-4, "look again"),
        (1.1e-3, "wrong"),
    ],
)
def test_the_verdicts_are_the_courses(size, verdict):
    def off(w):  # along every element alike, so that the error is `size`
        return (w**2).sum(), 2 * w * (1 + 2 * size)

    check = check_gradient(off, np.array([4.0, -2.0]), step=2.0**-10)
    assert check.error == pytest.approx(size, rel=2e-2)
    assert check.verdict == verdict


def test_a_small_parameter_that_is_wrong_is_not_lost_in_a_large_one():
    params = {"large": np.full(4, 1e4), "small": np.array([1e-2])}

    def loss(p):
        squares = (p["large"] ** 2).sum() + (p["small"] ** 2).sum()
        return squares / 2, {"large": p["large"], "small": 2 * p["small"]}

    check = check_gradient(loss, params, step=2.0**-4)
    assert check.error < 1e-5
    assert check.suspects == ("small",)
    assert check.verdict == "look again"


def test_a_gradient_lost_in_rounding_is_not_called_wrong():
    def loss(w):  # a loss of 1000 and gradients of 1e-9, of which nothing is seen
        return 1000.0 + 1e-9 * np.sin(w).sum(), 1e-9 * np.cos(w)

    check = check_gradient(loss, np.linspace(0.1, 0.9, 8))
    assert check.error > 0.9
    assert check.rounding > check.error
    assert check.verdict == "look again"
    assert "rounding of the loss alone may give" in str(check)
    check = check_gradient(loss, np.linspace(0.1, 0.9, 8), directions=3)
    assert check.verdict == "look again"
    assert check.parameters == {}  # nothing is looked for in noise


def test_the_estimate_of_rounding_tells_noise_from_mistakes():
    def loss(w, factor):  # a loss that knows 27 bits behind the point
        return np.round((w**2).sum() * 2.0**27) / 2.0**27, factor * w

    w = np.array([0.3, 0.7, -0.9])
    right, wrong = (check_gradient(lambda w, f=f: loss(w, f), w) for f in (2.0, 6.0))
    assert 1e-3 < right.error < right.rounding < 50 * right.error
    assert right.rounding < 0.3 < wrong.error
    assert (right.verdict, wrong.verdict) == ("look again", "wrong")


def test_a_right_gradient_at_a_minimum_is_not_called_wrong():
    network = Network((4, 3), l2=0.7, seed=0, dtype=np.float64, backend="numpy")
    y = np.array([0, 1, 2, 0, 1, 2, 0])

    def loss(_):
        return network.loss_and_grads(X, y)

    assert check_gradient(loss, network.params).verdict == "great"
    for _ in range(1500):
        _, grads = loss(network.params)
        network.params.flat[...] -= 0.5 * grads.flat
    check = check_gradient(loss, network.params)
    assert check.error > 0.1
    assert check.verdict == "look again"
    assert check.suspects == ()


def test_zero_gradients_agree():
    check = check_gradient(lambda w: (1.0, np.zeros_like(w)), np.ones((2, 3)))
    assert (check.error, check.rounding, check.verdict) == (0.0, 0.0, "great")


def test_half_the_parameters_may_be_unused():
    params = {"used": np.array([1.0, 2.0]), "idle": np.ones(2)}

    def loss(p):
        return (p["used"] ** 3).sum(), {"used": 3 * p["used"] ** 2, "idle": np.zeros(2)}

    check = check_gradient(loss, params)
    assert check.verdict == "great"
    assert check.parameters["idle"].error == 0


@pytest.mark.parametrize("directions", [None, 2])
def test_any_strides_zero_dimensions_and_empty_arrays_are_fine(directions):
    whole = np.random.default_rng(0).standard_normal((6, 8))
    params = [whole[::2, ::-3], whole[1::2].T, np.array(0.7), np.zeros((0, 3))]
    before, untouched = whole.tobytes(), whole.copy()

    def loss(arrays):
        loss = sum((a**3).sum() for a in arrays)
        return loss, [3 * a**2 for a in arrays]

    check = check_gradient(loss, params, directions=directions)
    assert check.verdict in {"great", "fine"}
    assert whole.tobytes() == before == untouched.tobytes()
    assert params[2] == 0.7
    if directions is None:
        assert check.parameters["3"].index is None
        assert check.parameters["2"].place == "params[2]"


def test_every_form_of_parameters_is_handed_on_as_it_is():
    arrays = {"a": np.array([1.0, 2.0]), "b": np.array([[3.0]])}
    forms = [arrays, list(arrays.values()), tuple(arrays.values()), arrays["a"]]
    for form in [*forms, gdopt.Arena.of(arrays)]:

        def loss(params, form=form):
            assert params is form
            if isinstance(form, np.ndarray):
                return cubes(form)
            parts = form.values() if hasattr(form, "values") else form
            loss, grads = zip(*map(cubes, parts), strict=True)
            if hasattr(form, "values"):
                return sum(loss), dict(zip("ab", grads, strict=True))
            return sum(loss), grads

        check = check_gradient(loss, form)
        assert check.verdict == "great"
        assert len(check.parameters) == (1 if form is arrays["a"] else 2)


def test_a_gradient_that_is_the_parameter_itself_is_fine():
    check = check_gradient(lambda w: (w @ w / 2, w), np.array([1.0, -3.0]))
    assert check.verdict == "great"


@pytest.mark.parametrize("directions", [None, 1])
def test_a_nominal_step_is_divided_by_as_it_was_given(directions, backend):
    # The loss is exact in float64; float32 rounds p + h.
    w = backend.from_host(np.array([1.1], np.float32))

    def loss(w):
        return 3.0 * float(w[0]), 3 * backend.xp.ones_like(w)

    options = {"step": 1e-3, "directions": directions}
    stored = check_gradient(loss, w, **options)
    nominal = check_gradient(loss, w, nominal_step=True, **options)
    h, p = 1e-3, float(np.float32(1.1))
    moved = float(np.float32(p + h)) - float(np.float32(p - h))
    assert stored.error < 1e-12
    expected = abs(moved - 2 * h) / (moved + 2 * h)
    assert nominal.error == pytest.approx(expected, rel=1e-6)
    assert nominal.error > 1e-6


@pytest.mark.filterwarnings("ignore:`get_numerical_jacobian`:FutureWarning")
@pytest.mark.peers("torch")
def test_a_nominal_step_is_that_of_torch(torch):
    from torch.autograd.gradcheck import get_numerical_jacobian

    def loss(w):
        return (w * w * w).sum()

    w = np.array([1000.1])
    check = check_gradient(
        lambda w: (loss(w), 3 * w**2), w, step=1e-6, nominal_step=True
    )
    theirs = torch.tensor(w, requires_grad=True)
    expected = get_numerical_jacobian(lambda p: loss(p[0]), (theirs,), eps=1e-6)
    assert check.worst.numeric == pytest.approx(expected[0].item(), rel=1e-15)


def test_a_step_that_is_rounded_is_divided_by_as_it_is_stored():
    # Beside 1000 a step of 1e-7 is off by up to 6e-7 of itself.
    w = np.array([1000.1, 1000.7])
    check = check_gradient(lambda w: (w.sum() - 2000, np.ones(2)), w)
    assert check.error < 1e-12


def test_nested_parameters_are_checked_by_path():
    params = {"layers": [{"W": np.array([[1.0, 2.0]]), "b": np.array(3.0)}]}

    def nested_cubes(given):
        (layer,) = given["layers"]
        loss = (layer["W"] ** 3).sum() + layer["b"] ** 3
        grads = {"b": 3 * layer["b"] ** 2, "W": 3 * layer["W"] ** 2}
        return loss, {"layers": [grads]}

    assert gdopt.check_gradient(nested_cubes, params).verdict == "great"
    with pytest.raises(gdopt.ArgumentError, match=r"missing 'layers\.0\.W'"):
        gdopt.check_gradient(lambda p: (nested_cubes(p)[0], [np.ones(())]), params)
