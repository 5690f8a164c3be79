"""What cannot be checked is refused, by name."""

import math

import numpy as np
import pytest
from gradient_check.checked_functions import cubes, make

import gdopt
from gdopt.arrays.dtypes import as_dtype
from gdopt.gradient_check import check_gradient


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_coarse_parameters_need_a_step(dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    w = np.ones(3, as_dtype(dtype))
    with pytest.raises(
        gdopt.ArgumentTypeError, match=rf"step must be given, .* {dtype}"
    ):
        check_gradient(cubes, w)
    check = check_gradient(
        lambda w: (float((w.astype(float) ** 2).sum()), (2 * w).astype(w.dtype)),
        w,
        step=0.25,
    )
    assert check.error == 0
    assert w.tolist() == [1, 1, 1]


def test_a_coarse_loss_needs_a_step():
    def loss(w):
        return np.float32((w**2).sum()), 2 * w

    w = np.array([1.0, 2.0])
    with pytest.raises(gdopt.ArgumentTypeError, match="the loss is float32"):
        check_gradient(loss, w)
    assert check_gradient(loss, w, step=0.125).error < 1e-5


def test_a_network_in_float32_passes_with_a_step():
    params, loss = make(dtype=np.float32)
    assert check_gradient(loss, params, step=1e-3).error < 1e-3


def nan_at_the_start(w):
    return math.nan, 2 * w


def nan_beside(w):
    return (math.nan if w[1] > 2 else (w**2).sum()), 2 * w


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            nan_at_the_start,
            "loss must be finite, got nan at the parameters as they are",
        ),
        (nan_beside, r"must be finite, got nan with params\[1\] moved by \+1e-07"),
        (lambda w: (np.inf, w), "loss must be finite, got inf"),
        (
            lambda w: (1.0, w * np.nan),
            r"gradient of params must be finite, got nan at \[0\]",
        ),
        (
            lambda w: (1.0, np.ones(3)),
            r"gradient of params must have shape \(2,\), got \(3,\)",
        ),
        (lambda w: (1.0, [w, w]), "grads must hold 1 arrays, .* got 2"),
        (lambda w: (1.0, {"1": w}), "missing '0'; unknown '1'"),
        (lambda w: (1.0, {}), "grads must hold at least one array"),
    ],
)
def test_what_is_no_use_is_refused(loss, message):
    w = np.array([1.0, 2.0])
    with pytest.raises(gdopt.ArgumentError, match=message):
        check_gradient(loss, w)
    assert w.tolist() == [1.0, 2.0]


def test_a_loss_that_is_nan_nearby_is_reported_with_the_element():
    def loss(w):  # the square root ends at 0, from which h steps over the edge
        with np.errstate(invalid="ignore"):
            return np.sqrt(w).sum(), 0.5 / np.sqrt(w)

    w = np.array([[1.0, 5e-8], [1.0, 1.0]])
    message = r"got nan with params\[0, 1\] moved by -1e-07"
    with pytest.raises(gdopt.ArgumentError, match=message):
        check_gradient(loss, w)
    assert w[0, 1] == 5e-8


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda w: 1.0, r"must return a pair \(loss, grads\), got float"),
        (lambda w: (1.0, w, w), "must return a pair"),
        (lambda w: (w, w), r"the loss must be one real number, got float64 of shape"),
        (lambda w: (np.complex128(1), w), "one real number, got complex128"),
        (lambda w: ("low", w), "the loss must be a number, got 'low'"),
        (lambda w: (True, w), "the loss must be a number, got True"),
        (lambda w: (1.0, None), "grads must be an array, .* got a NoneType"),
        (lambda w: (1.0, [None]), r"the gradient of params must be a NumPy"),
        (
            lambda w: (1.0, w.astype("f4")),
            r"gradient of params must be float64, got float32",
        ),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused(loss, message):
    with pytest.raises(gdopt.ArgumentTypeError, match=message):
        check_gradient(loss, np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"step": 0}, gdopt.ArgumentError, r"step must be in \(0, inf\)"),
        ({"step": -1e-7}, gdopt.ArgumentError, r"step must be in \(0, inf\)"),
        ({"step": True}, gdopt.ArgumentTypeError, "step must be a number, got True"),
        ({"directions": 0}, gdopt.ArgumentError, "directions must be a whole number"),
        ({"directions": 2.0}, gdopt.ArgumentTypeError, "directions must be a whole"),
        ({"seed": -1}, gdopt.ArgumentError, "seed must be a whole number"),
    ],
)
def test_settings_out_of_range_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        check_gradient(cubes, np.ones(2), **options)


def test_parameters_that_cannot_be_used_are_refused():
    fixed = np.ones(2)
    fixed.flags.writeable = False
    cases = [
        (np.ones(2, int), gdopt.ArgumentTypeError, "must be float16, .* got int"),
        (fixed, gdopt.ArgumentTypeError, "must be writeable"),
        ([], gdopt.ArgumentError, "params must hold at least one array"),
        (np.array([1.0, np.nan]), gdopt.ArgumentError, "params must be finite"),
        (3.0, gdopt.ArgumentTypeError, "params must be an array, a list"),
    ]
    shared = np.ones(3)
    cases.append(([shared[:2], shared[1:]], gdopt.ArgumentError, "share memory"))
    for params, error, message in cases:
        with pytest.raises(error, match=message):
            check_gradient(cubes, params)
    with pytest.raises(gdopt.ArgumentTypeError, match="loss_and_grads must be a func"):
        check_gradient(None, np.ones(2))


@pytest.mark.parametrize("directions", [None, 1])
def test_a_step_that_vanishes_beside_the_parameter_is_refused(directions):
    w = np.array([1e12])
    message = "step must move" if directions else r"leaves params\[0\] = 1e\+12"
    with pytest.raises(gdopt.ArgumentError, match=message):
        check_gradient(cubes, w, directions=directions)
    assert w[0] == 1e12
