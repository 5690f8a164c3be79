import math
import re
from pathlib import Path

import numpy as np
import pytest

import gdopt.nn
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.nn import Network

X = np.linspace(-1, 1, 28, dtype=np.float32).reshape(7, 4)
Y = np.array([0, 1, 2, 0, 1, 2, 0])
BINARY = Y % 2

BAD_X = [
    (X[:, :3], ArgumentError, r"x must have shape \(m, 4\), .* got \(7, 3\)"),
    (X[0], ArgumentError, r"x must have shape \(m, 4\), .* got \(4,\)"),
    (X[:, :, None], ArgumentError, r"x must have shape \(m, 4\), .* got \(7, 4, 1\)"),
    (X[:0], ArgumentError, "x must hold at least one example"),
    (X.astype(np.float64), ArgumentTypeError, "x must be float32, .* got float64"),
    (X.astype(np.int64), ArgumentTypeError, "x must be float32, .* got int64"),
    (X.tolist(), ArgumentTypeError, "x must be a NumPy or CuPy array, got list"),
    (None, ArgumentTypeError, "x must be a NumPy or CuPy array, got NoneType"),
]
BAD_Y = [
    (Y + 1, ArgumentError, "from 0 to 2, as there are 3 classes, got 3"),
    (Y - 1, ArgumentError, "from 0 to 2, as there are 3 classes, got -1"),
    (Y[:6], ArgumentError, r"labels must have shape .* got \(6,\)"),
    (Y[:, None], ArgumentError, r"labels must have shape .* got \(7, 1\)"),
    (Y.astype(np.float32), ArgumentTypeError, "integer dtype, got float32"),
    (Y == 1, ArgumentTypeError, "integer dtype, got bool"),
    (Y.tolist(), ArgumentTypeError, "must be a NumPy or CuPy array, got list"),
]
BAD_BINARY = [
    (BINARY + 1, ArgumentError, "from 0 to 1, as there are 2 classes, got 2"),
    (2 * BINARY - 1, ArgumentError, "from 0 to 1, as there are 2 classes, got -1"),
    (BINARY[None], ArgumentError, r"labels must have shape .* got \(1, 7\)"),
]
LABELLED = ["loss_and_grads", "loss", "accuracy", "check_data"]
labelled = pytest.mark.parametrize("method", LABELLED)


@pytest.fixture
def network():
    return Network((4, 5, 3), seed=0, backend="numpy")


@pytest.fixture
def binary():
    return Network((4, 5, 1), output="sigmoid", seed=0, backend="numpy")


def assert_refused(network, method, arguments, error, words, **options):
    """The call raises, and neither parameters nor gradients have changed."""
    network.grads.flat[...] = 7
    before = network.params.flat.copy()
    with pytest.raises(error, match=words):
        getattr(network, method)(*arguments, **options)
    np.testing.assert_array_equal(network.params.flat, before)
    assert (network.grads.flat == 7).all()


@labelled
@pytest.mark.parametrize(("x", "error", "words"), BAD_X)
def test_bad_examples_are_refused(network, method, x, error, words):
    assert_refused(network, method, (x, Y), error, words)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize(("x", "error", "words"), BAD_X)
def test_bad_examples_are_refused_in_a_prediction(network, method, x, error, words):
    assert_refused(network, method, (x,), error, words)


@labelled
@pytest.mark.parametrize(("y", "error", "words"), BAD_Y)
def test_bad_classes_are_refused(network, method, y, error, words):
    assert_refused(network, method, (X, y), error, words)


@labelled
@pytest.mark.parametrize(("y", "error", "words"), BAD_BINARY)
def test_bad_binary_labels_are_refused(binary, method, y, error, words):
    assert_refused(binary, method, (X, y), error, words)


@pytest.mark.parametrize("name", ["l2", "l1"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-0.1, ArgumentError),
        (math.nan, ArgumentError),
        (math.inf, ArgumentError),
        ("0.1", ArgumentTypeError),
        (True, ArgumentTypeError),
    ],
)
def test_a_bad_penalty_is_refused(network, name, value, error):
    words = rf"{name} must be (in \[0, inf\) and finite|a number), got"
    with pytest.raises(error, match=words):
        Network((4, 5, 3), **{name: value})
    setattr(network, name, value)
    assert_refused(network, "loss_and_grads", (X, Y), error, words)


@pytest.mark.parametrize(
    ("size", "error"), [(0, ArgumentError), (2.0, ArgumentTypeError)]
)
def test_a_bad_batch_size_is_refused(network, size, error):
    words = "batch_size must be a"
    assert_refused(network, "loss_and_grads", (X, Y), error, words, batch_size=size)


def test_labels_once_checked_are_not_looked_at_again(network, monkeypatch):
    expected = float(network.loss_and_grads(X, Y)[0])
    monkeypatch.setattr("gdopt.nn.losses.check_classes", None)
    assert float(network.loss_and_grads(X, Y, validate=False)[0]) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [(math.nan, "got nan in row 5, col"), (-math.inf, "got -inf in")],
)
def test_data_that_are_not_finite_are_refused_with_their_place(network, value, words):
    x = X.copy()
    x[5, 2] = x[6, 0] = value
    assert_refused(network, "check_data", (x, Y), ArgumentError, words)


def test_good_data_pass_the_check(network, binary):
    assert network.check_data(X, Y) is None
    assert binary.check_data(X, BINARY[:, None]) is None


@pytest.mark.parametrize(
    ("sizes", "options", "error", "words"),
    [
        ((4,), {}, ArgumentError, "sizes must name the input and at least one layer"),
        ((4, 0, 3), {}, ArgumentError, r"sizes\[1\] must be a whole number of at leas"),
        ((4, 5.0, 3), {}, ArgumentTypeError, r"sizes\[1\] must be a whole number"),
        ((4, True, 3), {}, ArgumentTypeError, r"sizes\[1\] must be a whole number"),
        (784, {}, ArgumentTypeError, "sizes must be a list or tuple, got int"),
        ((4, 1), {}, ArgumentError, "sizes must end with 2 classes or more"),
        (
            (4, 2),
            {"output": "sigmoid"},
            ArgumentError,
            "sizes must end with 1 for a si",
        ),
        ((4, 2), {"activation": "gelu"}, ArgumentError, "one of relu, tanh, .* 'gelu'"),
        ((4, 2), {"output": "logits"}, ArgumentError, "output must be one of .* 'log"),
        (
            (4, 2),
            {"initialization": "x"},
            ArgumentError,
            "initialization must be one o",
        ),
        (
            (4, 2),
            {"seed": -1},
            ArgumentError,
            "seed must be a whole number of at least",
        ),
        ((4, 2), {"seed": None}, ArgumentTypeError, "seed must be a whole number"),
        (
            (4, 2),
            {"dtype": "f2"},
            ArgumentTypeError,
            "dtype must be float32 or float64",
        ),
        ((4, 2), {"dtype": int}, ArgumentTypeError, "dtype must be float32 or float64"),
        (
            (4, 2),
            {"dtype": ">f4"},
            ArgumentTypeError,
            "dtype must be float32 or float6",
        ),
        ((4, 2), {"backend": "torch"}, ArgumentError, "backend must be one of"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(sizes, options, error, words):
    with pytest.raises(error, match=words):
        Network(sizes, **({"seed": 0, "backend": "numpy"} | options))


def test_the_seed_is_0_by_default():
    one, other = (Network((4, 2), backend="numpy", **o) for o in ({}, {"seed": 0}))
    assert np.array_equal(one.params["W1"], other.params["W1"])


def test_every_function_used_of_the_array_library_exists_in_cupy():
    cupy = pytest.importorskip("cupy")
    folder = Path(gdopt.nn.__file__).parent
    used = set()
    for path in folder.rglob("*.py"):
        used |= set(re.findall(r"\bxp\.(\w+)\(", path.read_text()))
    assert {"sum", "exp"} <= used
    assert {name for name in used if not hasattr(cupy, name)} == set()
