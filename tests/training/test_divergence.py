"""A loss or an update that is not finite ends a run, and the right thing is blamed."""

import numpy as np
import pytest
from bowls import INF, NAN, bowl, start

import gdopt
from gdopt.data import minibatches


def broken_at(call, value=NAN, gradient=None):
    """Return the bowl, whose value, or gradient, is another at one call, from 1."""
    calls = []

    def fg(x, *_):
        calls.append(1)
        found, g = bowl(x)
        if len(calls) < call:
            return found, g
        return (value, g) if gradient is None else (found, g * gradient)

    return fg


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_start_where_the_function_is_not_defined_is_named(value):
    x = start()
    message = (
        f"value must stay finite, got {value} at the start: start where the function "
        "is defined"
    )
    with pytest.raises(gdopt.DivergenceError, match=message):
        gdopt.minimize(broken_at(1, value), x)
    assert x.tolist() == [9, 6]


@pytest.mark.parametrize("every", [1, 100])
@pytest.mark.parametrize("value", [NAN, INF])
def test_divergence_is_noticed_before_the_next_update(value, every):
    x = start()
    message = (
        rf"value must stay finite, got {value} after step 3: the learning rate, 0\.5, "
        "is probably too large"
    )
    how = {"method": "sgd", "lr": 0.5, "record_every": every}
    with pytest.raises(gdopt.DivergenceError, match=message):
        gdopt.minimize(broken_at(4, value), x, **how)
    assert x.tolist() == [2, -1]  # after three updates


@pytest.mark.parametrize(("call", "place"), [(1, "at the start"), (3, "after step 2")])
def test_a_gradient_alone_that_is_not_finite_is_named(call, place):
    message = f"gradient must stay finite, got nan {place}: "
    with pytest.raises(gdopt.DivergenceError, match=message):
        gdopt.minimize(broken_at(call, gradient=NAN), start(), method="sgd", lr=0.5)


@pytest.mark.parametrize("every", [1, 100, "epoch"])
def test_with_data_no_update_is_done_with_a_loss_that_is_not_finite(every):
    x = start()
    how = {"data": [0] * 2, "method": "sgd", "lr": 0.5, "epochs": 9}
    message = (
        r"loss must stay finite, got nan at step 4, in epoch 2: the learning rate, 0\.5"
    )
    with pytest.raises(gdopt.DivergenceError, match=message):
        gdopt.minimize(broken_at(4), x, record_every=every, **how)
    assert x.tolist() == [2, -1]


def test_with_data_an_update_that_is_not_finite_is_noticed_before_the_next_one():
    x = start()
    how = {"data": [0] * 2, "method": "sgd", "lr": 0.5, "epochs": 9}
    with pytest.raises(gdopt.DivergenceError, match=r"loss must .* got nan at step 4"):
        gdopt.minimize(broken_at(3, gradient=NAN), x, **how)


def test_with_data_a_last_update_that_is_not_finite_is_noticed():
    x = start()
    how = {"data": [0] * 2, "method": "sgd", "lr": 0.5, "epochs": 2}
    message = "parameters must stay finite, got nan at step 4: the learning rate, 0"
    with pytest.raises(gdopt.DivergenceError, match=message):
        gdopt.minimize(broken_at(4, gradient=NAN), x, **how)


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("kind", ["minibatches", "list"])
def test_data_that_are_not_finite_are_to_blame_and_not_the_rate(value, kind):
    X, y = np.ones((6, 2)), np.ones(6)
    y[4] = value
    data = minibatches(X, y, batch_size=2, shuffle=False, allow_nan=True)
    if kind == "list":
        data = list(data)

    def fg(w, x, target):
        r = x @ w - target
        with np.errstate(invalid="ignore"):
            return r @ r, x.T @ r

    x = np.zeros(2)
    message = f"got {value} at step 3, in epoch 1: "
    message += f"array 1 of the data holds {value}$"
    with pytest.raises(gdopt.DivergenceError, match=message):
        gdopt.minimize(fg, x, data=data, method="sgd", lr=1e-3, epochs=1)
    assert np.isfinite(x).all()


def test_on_a_gpu_a_loss_that_is_not_recorded_is_looked_at_one_update_later(cp):
    losses = iter([1.0, NAN, *[1.0] * 9])

    def fg(x, _):
        return cp.asarray(next(losses)), cp.ones_like(x)

    optimizer = gdopt.SGD(cp.ones(2), lr=0.5)
    how = {"data": [0] * 9, "epochs": 1, "record_every": 100, "method": optimizer}
    with pytest.raises(
        gdopt.DivergenceError, match="loss must stay finite, got nan at step 2"
    ):
        gdopt.minimize(fg, optimizer.params["0"], **how)
    assert optimizer.t == 2


def test_on_a_gpu_the_last_update_is_recorded_whatever_record_every_is(cp):
    def fg(x, _):
        return (x**2).sum(), 2 * x

    how = {"data": [0] * 9, "record_every": 100, "method": "sgd", "lr": 0.25}
    result = gdopt.minimize(fg, cp.ones(2), max_iter=3, **how)
    assert result.history["step"].tolist() == [3]
    assert result.fun == 2 / 4**2  # of the step's batch, before the update
