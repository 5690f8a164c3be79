"""A setting out of its range, or of the wrong kind, is refused; nothing changes."""

import numpy as np
import pytest
from oracles import CASES

import gdopt

ARGUMENT, KIND = gdopt.ArgumentError, gdopt.ArgumentTypeError
NAN, INF = float("nan"), float("inf")

# optimizer, dtype of the parameters, setting, value, the rule that the message states
VALUES = [
    *(("sgd", "float64", "lr", v, r"\[0, inf\)") for v in (NAN, INF, -INF, -0.1)),
    *(
        (name, "float64", setting, value, r"\[0, 1\)")
        for name, setting in {
            "momentum ewa": "beta",
            "momentum heavy_ball": "beta",
            "momentum keras": "beta",
            "rmsprop outside": "beta",
            "adam corrected": "beta1",
            "adamw corrected": "beta2",
        }.items()
        for value in (-0.1, 1.0, 1.5, NAN)
    ),
    *(
        (name, "float64", "eps", value, r"\(0, inf\)")
        for name in ("rmsprop keras inside", "adam raw", "adamw corrected")
        for value in (0.0, -1e-8, NAN, INF)
    ),
    *(
        (name, dtype, "eps", value, "not vanish in float32, .* 1.18e-38")
        for name in ("rmsprop outside", "adam corrected", "adamw inside")
        for dtype, value in (
            ("float32", 1e-60),
            ("float32", 1e-40),  # denormal: flushed to zero
            ("float16", 1e-50),  # computed in float32
        )
    ),
    ("adam corrected", "float64", "eps", 1e-310, "not vanish in float64"),
    *(("adamw raw", "float64", "weight_decay", v, r"\[0, inf\)") for v in (-0.1, NAN)),
    *(("nesterov", "float64", "beta", v, r"\(0, 1\)") for v in (0.0, 1.0, -0.5)),
    ("sgd", "float32", "lr", 1e39, "finite in float32"),
]
AT_CONSTRUCTION = {
    "a number": (lambda v: v, "{}"),
    "a NumPy scalar": (np.float64, "{}"),
    "a 0-d array": (np.array, "{}"),
    "by name": (lambda v: {"W": 0.5, "b": v}, r"{}\['b'\]"),
    "in an array": (lambda v: np.array([0.5, v, 0.5]), "{}"),
    "in an array by name": (
        lambda v: {"W": np.array([0.5, v, 0.5]), "b": 0.5},
        r"{}\['W'\]",
    ),
}


def make_params(dtype="float64"):
    return {"W": np.arange(6, dtype=dtype).reshape(2, 3), "b": np.ones(3, dtype)}


def make_grads(dtype="float64"):
    return {name: np.ones_like(array) for name, array in make_params(dtype).items()}


def value_text(value):
    """A value as it must appear, whether as a Python or as a NumPy number."""
    return rf"(np\.float64\()?{value!r}\)?".replace("+", r"\+")


@pytest.mark.parametrize("form", AT_CONSTRUCTION)
@pytest.mark.parametrize("case", VALUES, ids=str)
def test_a_setting_out_of_range_is_refused_when_it_is_given(
    case, form, unchanged, numpy_engine
):
    name, dtype, setting, value, bounds = case
    wrap, label = AT_CONSTRUCTION[form]
    label = label.format(setting)
    message = rf"^{label} must .*{bounds}.*, got {value_text(value)}$"
    params = make_params(dtype)
    with pytest.raises(ARGUMENT, match=message):
        CASES[name].make(params, **{setting: wrap(value)})
    for key, array in make_params(dtype).items():
        np.testing.assert_array_equal(params[key], array)
    optimizer = CASES[name].make(params)
    with unchanged(optimizer), pytest.raises(ARGUMENT, match=message):
        optimizer.hyper[setting] = wrap(value)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("kind", ["a schedule", "a 0-d array"])
@pytest.mark.parametrize("case", VALUES, ids=str)
def test_a_setting_that_leaves_its_range_is_refused_at_the_step(
    case, kind, by_name, unchanged
):
    name, dtype, setting, value, bounds = case
    array = np.array(0.5)
    read = array if kind == "a 0-d array" else lambda step: value if step else 0.5
    given = {"W": 0.5, "b": read} if by_name else read
    optimizer = CASES[name].make(make_params(dtype), **{setting: given})
    optimizer.step(make_grads(dtype))
    array[...] = value
    where = r"\['b'\]" if by_name else ""
    where += " at step 1" if kind == "a schedule" else ""
    message = rf"^{setting}{where} must .*{bounds}.*, got {value_text(value)}$"
    with unchanged(optimizer), pytest.raises(ARGUMENT, match=message):
        optimizer.step(make_grads(dtype))


NO_NUMBERS = [True, False, np.True_, "0.1", b"0.1", None, [0.1], 1j, {1}, object()]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_a_setting_that_is_no_number_is_refused(value, unchanged, numpy_engine):
    optimizer = gdopt.SGD(make_params())
    for given in (value, {"W": 0.5, "b": value}):
        with pytest.raises(KIND, match=r"^lr(\['b'\])? must be a number, got "):
            gdopt.SGD(make_params(), lr=given)
        with unchanged(optimizer), pytest.raises(KIND, match="must be a number, got "):
            optimizer.hyper["lr"] = given
    optimizer.hyper["lr"] = lambda _step: value
    message = "^lr at step 0 must be a number, got "
    with unchanged(optimizer), pytest.raises(KIND, match=message):
        optimizer.step(make_grads())


NO_NUMBER_ARRAYS = {
    "truth values": np.array([True, False, True]),
    "one truth value": np.array(True),
    "text": np.array(["a", "b", "c"]),
    "one text": np.array("a"),
    "complex numbers": np.ones(3, complex),
    "objects": np.array([None, None, None]),
    "dates": np.array(["2020-01-01"] * 3, "datetime64[D]"),
}


@pytest.mark.parametrize("kind", NO_NUMBER_ARRAYS)
def test_a_setting_that_is_an_array_of_no_numbers_is_refused(
    kind, unchanged, numpy_engine
):
    value = NO_NUMBER_ARRAYS[kind]
    optimizer = gdopt.SGD(make_params())
    with pytest.raises(KIND, match=r"^lr must be .*, got "):
        gdopt.SGD(make_params(), lr=value)
    with unchanged(optimizer), pytest.raises(KIND, match=r"^lr must be .*, got "):
        optimizer.hyper["lr"] = value
    optimizer.hyper["lr"] = lambda _step: value
    with unchanged(optimizer), pytest.raises(KIND, match=r"^lr at step 0 must be "):
        optimizer.step(make_grads())


SETTINGS = {
    "too large for any float": (ARGUMENT, 10**400, "lr must be .*finite"),
    "a name missing": (ARGUMENT, {"W": 0.5}, "lr must have .* names .* missing 'b'"),
    "a name too many": (
        ARGUMENT,
        {"W": 0.5, "b": 0.5, "c": 0.5},
        "lr must have the names of the parameters: unknown 'c'",
    ),
    "a shape that does not broadcast": (
        ARGUMENT,
        np.full((2, 3), 0.5),
        r"lr must broadcast to 'b' of shape \(3,\), got shape \(2, 3\)",
    ),
    "an empty array": (ARGUMENT, np.zeros(0), "lr must .*shape"),
    "arrays mixed with schedules": (
        KIND,
        {"W": np.full(3, 0.5), "b": lambda _step: 0.5},
        "lr must not mix arrays with schedules",
    ),
    "arrays mixed with 0-d arrays": (
        KIND,
        {"W": np.full(3, 0.5), "b": np.array(0.5)},
        "lr must not mix arrays with .* 0-d arrays",
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_that_does_not_fit_the_parameters_is_refused(
    case, unchanged, numpy_engine
):
    error, value, message = SETTINGS[case]
    with pytest.raises(error, match=message):
        gdopt.SGD(make_params(), lr=value)
    optimizer = gdopt.SGD(make_params(), lr=np.full(3, 0.25))
    with unchanged(optimizer), pytest.raises(error, match=message):
        optimizer.hyper["lr"] = value
    optimizer.step(make_grads())
    np.testing.assert_array_equal(optimizer.params["b"], 0.75)


def test_a_schedule_that_gives_an_array_is_refused(unchanged, numpy_engine):
    optimizer = gdopt.SGD(make_params(), lr=lambda _step: np.full(3, 0.5))
    message = "^lr at step 0 must be a number, got "
    with unchanged(optimizer), pytest.raises(KIND, match=message):
        optimizer.step(make_grads())


def test_a_setting_that_the_rule_has_not_is_refused(unchanged, numpy_engine):
    optimizer = gdopt.AdamW(make_params())
    message = "hyper must be one of lr, beta1, beta2, eps, weight_decay, got 'beta'"
    with unchanged(optimizer), pytest.raises(ARGUMENT, match=message):
        optimizer.hyper["beta"] = 0.5


def test_an_epsilon_that_vanishes_in_one_of_two_dtypes_is_refused():
    params = {"W": np.ones(3), "b": np.ones(3, np.float32)}
    with pytest.raises(ARGUMENT, match=r"eps must not vanish in float32, .* got 1e-60"):
        gdopt.Adam(params, eps=1e-60)
