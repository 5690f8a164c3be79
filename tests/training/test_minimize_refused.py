"""Wrong arguments of minimize and steps are refused, by name, at the call."""

from types import SimpleNamespace

import numpy as np
import pytest
from bowls import INF, NAN, bowl, start

import gdopt


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"method": "adams"},
            gdopt.ArgumentError,
            "method must be one of .*, got 'adams'",
        ),
        (
            {"method": 3},
            gdopt.ArgumentTypeError,
            "method must be a name, a rule, an opt",
        ),
        ({"method": None}, gdopt.ArgumentTypeError, "method must be .* got None"),
        (
            {"method": dict},
            gdopt.ArgumentTypeError,
            "method must be .* got <class 'dict",
        ),
        (
            {"method": gdopt.SGD(np.ones(2), 0.5)},
            gdopt.ArgumentTypeError,
            "must update params, got one of other arrays",
        ),
        (
            {"method": lambda _: gdopt.SGD(np.ones(2), 0.5)},
            gdopt.ArgumentTypeError,
            "must update params, got one of other arrays",
        ),
        ({"lr": -1.0}, gdopt.ArgumentError, "lr must be in"),
        ({"lr": "fast"}, gdopt.GdoptError, "lr must be a number"),
        ({"bounds": 3}, gdopt.GdoptError, "bounds must be a pair"),
        (
            {"bounds": (2.0, 1.0)},
            gdopt.ArgumentError,
            "lower must be at most upper|bounds",
        ),
        (
            {"epochs": 3},
            gdopt.ArgumentError,
            "epochs must be None without data: write m",
        ),
        (
            {"max_iter": 0},
            gdopt.ArgumentError,
            "max_iter must be a whole number of at le",
        ),
        (
            {"max_iter": 2.5},
            gdopt.ArgumentTypeError,
            "max_iter must be a whole .* got 2.5",
        ),
        ({"max_seconds": 0}, gdopt.ArgumentError, "max_seconds must be in .* got 0"),
        ({"gtol": -1}, gdopt.ArgumentError, r"gtol must be in \[0, inf\) .* got -1"),
        ({"ftol": NAN}, gdopt.ArgumentError, "ftol must be in .* got nan"),
        ({"xtol": "1"}, gdopt.ArgumentTypeError, "xtol must be a number, got '1'"),
        ({"target": INF}, gdopt.ArgumentError, "target must be in .* got inf"),
        (
            {"dev": (1.0,)},
            gdopt.ArgumentError,
            "dev must be None without data, as it is",
        ),
        (
            {"dev": np.ones(3), "data": [0], "epochs": 1},
            gdopt.ArgumentTypeError,
            "dev must be a tuple of arrays",
        ),
        (
            {"callback": 3},
            gdopt.ArgumentTypeError,
            "callback must be a function of a rec",
        ),
        (
            {"callback": [print, 3]},
            gdopt.ArgumentTypeError,
            "callback must be .* got 3",
        ),
        ({"checkpoint": 3}, gdopt.ArgumentTypeError, "checkpoint must be the path of"),
        (
            {"checkpoint_seconds": 0},
            gdopt.ArgumentError,
            "checkpoint_seconds must be in",
        ),
        (
            {"record_every": 0},
            gdopt.ArgumentError,
            "record_every must be a whole number",
        ),
        (
            {"record_every": "0 s"},
            gdopt.ArgumentError,
            "record_every must be .* got '0 s'",
        ),
        (
            {"record_every": "week"},
            gdopt.ArgumentError,
            "'epoch', or seconds such as '2.5",
        ),
        (
            {"smoothing": 1.0},
            gdopt.ArgumentError,
            r"smoothing must be in \[0, 1\) .* 1.0",
        ),
    ],
)
@pytest.mark.parametrize("call", [gdopt.minimize, gdopt.steps])
def test_a_wrong_option_is_refused_at_the_call(call, options, error, message):
    x, calls = start(), []
    with pytest.raises(error, match=message):
        call(calls.append, x, **{"method": "sgd"} | options)
    assert (x.tolist(), calls) == ([9, 6], [])


def test_an_optimizer_has_its_own_rate_and_bounds():
    x = start()
    for name, value in {"lr": 0.1, "bounds": (0, 1)}.items():
        message = f"{name} must be given to the optimizer, where method is one"
        with pytest.raises(gdopt.ArgumentError, match=message):
            gdopt.minimize(bowl, x, method=gdopt.SGD(x, 0.5), **{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "epochs, max_iter, max_seconds or target must be given: with data a run"),
        ({"gtol": 1e-3}, "gtol must be None with data, whose gradients differ"),
        ({"ftol": 1e-3}, "ftol must be None with data"),
        ({"xtol": 1e-3}, "xtol must be None with data"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
    ],
)
def test_with_data_other_rules_hold(options, message):
    with pytest.raises(gdopt.ArgumentError, match=message):
        gdopt.steps(bowl, start(), data=[0], **options)


@pytest.mark.parametrize("fg", [None, 3, "bowl"])
def test_what_is_not_a_function_is_refused(fg):
    with pytest.raises(gdopt.ArgumentTypeError, match="fg must be a function of the"):
        gdopt.steps(fg, start())


@pytest.mark.parametrize(
    "params", [[1.0, 2.0], np.arange(3), {1, 2}, {"W": "x"}, [], None]
)
def test_what_holds_no_arrays_of_floats_is_refused(params):
    with pytest.raises(gdopt.GdoptError):
        gdopt.steps(bowl, params)


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (
            None,
            gdopt.ArgumentTypeError,
            r"fg must return a pair \(value, gradients\), got",
        ),
        (3.0, gdopt.ArgumentTypeError, "fg must return a pair .* got 3.0"),
        (
            (1, 2, 3),
            gdopt.ArgumentTypeError,
            r"fg must return a pair .* got \(1, 2, 3\)",
        ),
        (
            ("a", np.ones(2)),
            gdopt.ArgumentTypeError,
            "value of fg must be one real num",
        ),
        (
            ("1.5", np.ones(2)),
            gdopt.ArgumentTypeError,
            "value of fg must be one real n",
        ),
        (
            (np.ones(2), np.ones(2)),
            gdopt.ArgumentTypeError,
            "value of fg must be one re",
        ),
        (
            (1j, np.ones(2)),
            gdopt.ArgumentTypeError,
            "value of fg must be one real number",
        ),
        (
            (None, np.ones(2)),
            gdopt.ArgumentTypeError,
            "value of fg must be one real num",
        ),
        ((1.0, np.ones(3)), gdopt.ArgumentError, r"the gradient .*\(2,\), got \(3,\)"),
        (
            (1.0, np.ones(2, "f4")),
            gdopt.ArgumentTypeError,
            "must be float64, got float32",
        ),
        (
            (1.0, None),
            gdopt.ArgumentTypeError,
            "only torch's parameters carry their own",
        ),
    ],
)
@pytest.mark.parametrize("data", [None, [0]])
def test_a_function_that_returns_something_else_is_refused(
    returned, error, message, data
):
    x = start()
    with pytest.raises(error, match=message):
        gdopt.minimize(lambda *_: returned, x, data=data, max_iter=2)
    assert x.tolist() == [9, 6]


@pytest.mark.parametrize("value", [np.array(2.0), np.array([2.0]), np.float32(2), 2])
def test_a_value_is_any_number_or_an_array_of_one(value):
    result = gdopt.minimize(lambda x: (value, x.copy()), np.ones(2), max_iter=1)
    assert result.fun == 2.0


@pytest.mark.parametrize(
    "data",
    [
        iter([1]),
        (batch for batch in [1]),
        zip([1], [2], strict=True),
        (np.ones((4, 2)), np.ones(4)),
        np.ones((4, 2)),
        {"X": np.ones((4, 2))},
        "data",
        3,
        [],
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_cannot_be_looped_over_each_epoch_is_refused_with_what_to_write(data):
    with pytest.raises(
        gdopt.ArgumentTypeError,
        match=r"data must be batches .* such as gdopt\.minibatches\(X, y, batch_size",
    ):
        gdopt.steps(bowl, start(), data=data, epochs=1)
    model = SimpleNamespace(params=start(), loss_and_grads=bowl)
    with pytest.raises(gdopt.ArgumentTypeError, match="batches must be batches"):
        gdopt.fit(model, gdopt.SGD(model.params), data, epochs=1)


def test_data_of_fewer_batches_than_its_length_are_refused():
    class Short:
        def __len__(self):
            return 3

        def __iter__(self):
            return iter([1, 2])

    with pytest.raises(gdopt.ArgumentError, match=r"must yield the 3 batches .* got 2"):
        gdopt.minimize(lambda x, _: bowl(x), start(), data=Short(), epochs=1)
