"""Functions that differ from call to call are refused; parameters are put back."""

import os
import signal

import numpy as np
import pytest
from gradient_check.checked_functions import X, make, sign

import gdopt
from gdopt.gradient_check import check_gradient
from gdopt.nn import Network, dropout


class Boom(Exception):  # noqa: N818 - not an error of the project
    pass


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def fail():
    raise Boom


@pytest.mark.parametrize("at", [1, 2, 5, 12, 20, 30])
@pytest.mark.parametrize("directions", [None, 9])
@pytest.mark.parametrize(
    ("trouble", "error"), [(fail, Boom), (interrupt, KeyboardInterrupt)]
)
def test_parameters_are_put_back_bit_for_bit(at, directions, trouble, error):
    params = {"w": np.array([[-0.0, 1e-310], [0.1, 7e300]]), "b": np.full(8, 0.3)}
    before = {name: array.tobytes() for name, array in params.items()}
    calls = []

    def loss(p):
        calls.append(1)
        if len(calls) == at:
            trouble()
        return np.sin(p["b"]).sum(), {"w": np.zeros((2, 2)), "b": np.cos(p["b"])}

    with pytest.raises(error):  # the step is seen beside 7e300 as well
        check_gradient(loss, params, directions=directions, step=1e290)
    assert len(calls) == at
    assert before == {name: array.tobytes() for name, array in params.items()}


def test_parameters_have_their_bits_after_a_check():
    params, loss = make()
    before = params.flat.tobytes()
    check_gradient(loss, params)
    check_gradient(lambda p: loss(p, sign), params, directions=3)
    assert params.flat.tobytes() == before


def test_a_function_that_trains_is_refused_and_undone():
    params = {"w": np.array([1.0, 2.0]), "b": np.array([3.0])}
    before = dict(params)

    def in_place(p):
        p["w"] -= 0.1
        return 1.0, p

    def anew(p):
        p["b"] = p["b"] - 0.1
        return 1.0, p

    for loss, name in [(in_place, "w"), (anew, "b")]:
        message = rf"must not change params, but it changes '{name}'"
        with pytest.raises(gdopt.ArgumentError, match=message):
            check_gradient(loss, params)
        assert params["w"].tolist() == [1.0, 2.0]
        assert params["w"] is before["w"]
        assert params["b"] is before["b"]
    arrays = [np.ones(2)]
    first = arrays[0]

    def in_a_list(p):
        p[0] = p[0] - 1
        return 1.0, p

    with pytest.raises(gdopt.ArgumentError, match=r"it changes params\[0\]"):
        check_gradient(in_a_list, arrays)
    assert arrays[0] is first


def test_dropout_is_refused_by_name():
    generator = np.random.default_rng(0)
    w = np.ones(50)
    before = w.copy()

    def loss(w):
        dropped, backprop = dropout(w, keep_prob=0.5, generator=generator)
        return (dropped**2).sum(), backprop(2 * dropped)

    with pytest.raises(gdopt.ArgumentError, match=r"the same loss .* turn off dropout"):
        check_gradient(loss, w)
    assert (w == before).all()


def test_dropout_with_one_mask_passes():
    def loss(w):
        generator = np.random.default_rng(0)
        dropped, backprop = dropout(w, keep_prob=0.5, generator=generator)
        return (dropped**2).sum(), backprop(2 * dropped)

    assert check_gradient(loss, np.linspace(0.5, 1, 9)).verdict == "great"


def test_a_network_with_dropout_is_refused():
    network = Network(
        (4, 60, 3), keep_prob=0.5, seed=0, dtype=np.float64, backend="numpy"
    )
    y = np.zeros(7, int)
    with pytest.raises(gdopt.ArgumentError, match="turn off dropout"):
        check_gradient(lambda _: network.loss_and_grads(X, y), network.params)


def test_a_loss_that_drifts_is_refused_though_two_calls_agree():
    calls = []

    def loss(w):
        calls.append(1)
        return (w**2).sum() + (len(calls) > 14), 2 * w

    with pytest.raises(gdopt.ArgumentError, match="the same loss"):
        check_gradient(loss, np.ones(2))


def test_gradients_that_are_added_up_are_refused():
    grad = np.zeros(2)

    def loss(w):
        grad[...] += 2 * w
        return (w**2).sum(), grad

    with pytest.raises(gdopt.ArgumentError, match="are gradients accumulated"):
        check_gradient(loss, np.ones(2))


def test_roundings_of_a_device_are_no_dropout():
    flips = []

    def loss(w):
        flips.append(1)
        return (w**2).sum() * (1 + 1e-15 * (len(flips) % 2)), 2 * w

    assert check_gradient(loss, np.array([1.0, 2.0])).verdict in {"great", "fine"}
