"""Switches take True and False alone; numbers of any library, and arrays as lists."""

import decimal
import fractions

import numpy as np
import pytest

import gdopt
from gdopt.nn import Network, layers, losses

X, Y = np.eye(2), np.arange(2)
Z = np.ones((2, 3))


def fit(validate):
    network = Network((2, 2), dtype=float, backend="numpy")
    batches = gdopt.minibatches(X, Y, batch_size=2)
    opt = gdopt.SGD(network.params, 0.5)
    gdopt.fit(network, opt, batches, epochs=1, validate=validate)


def loads(**how):
    opt = gdopt.SGD(np.ones(2), 0.5)
    opt.load_state_dict(opt.state_dict(), **how)


def network(flag):
    made = Network((2, 2), dtype=float, backend="numpy")
    made.loss_and_grads(X, Y, validate=flag)


def backwards(flag):
    arrays = np.ones((2, 2)), np.ones(2), np.ones((2, 2)), np.ones(2)
    layers.dense(X, *arrays, input_gradient=flag)[1](X)


SWITCHES = {
    "EWA": lambda flag: gdopt.EWA(0.5, bias_correction=flag),
    "ewa": lambda flag: gdopt.ewa([1.0], 0.5, bias_correction=flag),
    "softmax": lambda flag: losses.softmax_cross_entropy(X, Y, validate=flag),
    "sigmoid": lambda flag: losses.binary_cross_entropy(X[:, 0], Y, validate=flag),
    "squared": lambda flag: losses.squared_error(X, X, validate=flag),
    "network": network,
    "fit": fit,
    "relu": lambda flag: layers.relu(Z, in_place=flag),
    "tanh": lambda flag: layers.tanh(Z, in_place=flag),
    "sigmoid layer": lambda flag: layers.sigmoid(Z.copy(), in_place=flag),
    "dense": backwards,
    "load: hyper": lambda flag: loads(hyper=flag),
    "load: strict": lambda flag: loads(strict=flag),
    "maximize": lambda flag: gdopt.SGD(np.ones(2), 0.5, maximize=flag),
    "nesterov": lambda flag: gdopt.Muon(np.ones((2, 2)), nesterov=flag),
    "shuffle": lambda flag: gdopt.minibatches(X, batch_size=1, shuffle=flag),
}


@pytest.mark.parametrize("flag", ["no", "", None, 1, 0.0, [], np.array(1)])
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_true_or_false(name, flag, numpy_engine):
    with pytest.raises(gdopt.ArgumentTypeError, match="must be True or False, got"):
        SWITCHES[name](flag)


@pytest.mark.parametrize("flag", [False, np.False_, np.array(False)])
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_also_numpy_s(name, flag, numpy_engine):
    SWITCHES[name](flag)


@pytest.mark.parametrize(
    "number",
    [
        *(5, np.float32(5), np.int8(5), np.array(5.0), np.array(5)),
        *(decimal.Decimal(5), fractions.Fraction(5)),
    ],
)
def test_what_float_takes_is_a_number(number):
    assert gdopt.EWA(0.5).update(number) == 5.0


@pytest.mark.parametrize(
    "number", ["5", True, np.True_, None, 1j, np.array("5"), np.timedelta64(5, "ns")]
)
def test_what_is_no_number_is_refused(number):
    mean = gdopt.EWA(0.5)
    with pytest.raises(gdopt.ArgumentTypeError, match="x must be a number"):
        mean.update(number)
    assert mean.t == 0


def test_a_masked_number_is_refused():
    with pytest.raises(gdopt.ArgumentTypeError, match="x must be a number"):
        gdopt.EWA(0.5).update(np.ma.masked_equal(5.0, 5.0))


@pytest.mark.parametrize("sizes", [np.array([2, 3, 2]), range(2, 5), [np.int64(2), 3]])
def test_arrays_and_ranges_are_lists(sizes):
    assert Network(sizes, backend="numpy").sizes == tuple(int(k) for k in sizes)


@pytest.mark.parametrize("sizes", [np.array(2), np.ones((2, 2), int), np.ones(2)])
def test_other_arrays_are_no_lists(sizes):
    with pytest.raises(gdopt.ArgumentTypeError, match="sizes"):
        Network(sizes, backend="numpy")


def test_infinity_is_refused_where_nan_is(numpy_engine):
    x = np.array([[1.0, np.inf], [0.0, 1.0]])
    with pytest.raises(gdopt.ArgumentError, match=r"infinity, got 1, .* \[0, 1\]"):
        gdopt.minibatches(x, batch_size=1)
    gdopt.minibatches(x, batch_size=1, allow_nan=True)
    with pytest.raises(gdopt.ArgumentError, match=r"infinity, got 1, .* \[0, 1\]"):
        gdopt.Normalizer.fit(np.eye(2)).transform(x)
