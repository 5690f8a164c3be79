import math

import numpy as np
import pytest

from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.nn import Network, glorot_std, he_std, xavier_std, zeros_std
from gdopt.nn.initialization import INITIALIZATIONS, draw


def test_he_is_the_root_of_two_over_the_inputs():
    assert he_std(784, 512) == pytest.approx(0.0505076)


def test_xavier_is_the_root_of_one_over_the_inputs():
    assert xavier_std(784, 512) == pytest.approx(0.0357143)


def test_glorot_is_the_root_of_two_over_inputs_and_outputs():
    assert glorot_std(784, 512) == pytest.approx(0.0392837)


def test_zeros_spread_nothing():
    assert zeros_std(784, 512) == 0


@pytest.mark.parametrize("name", ["he", "xavier", "glorot"])
def test_drawn_weights_have_their_mean_and_spread(name):
    weights = draw((800, 500), name, seed=0)["W1"]
    expected = INITIALIZATIONS[name](800, 500)
    n = weights.size
    # four standard errors of a mean and of a standard deviation
    assert abs(weights.mean()) < 4 * expected / math.sqrt(n)
    assert weights.std() == pytest.approx(expected, rel=4 / math.sqrt(2 * n))


def test_drawn_weights_are_normal():
    scaled = draw((800, 500), "he", seed=1)["W1"] / he_std(800, 500)
    within = [(np.abs(scaled) < width).mean() for width in (1, 2, 3)]
    assert within == pytest.approx([0.6827, 0.9545, 0.9973], abs=0.005)


def test_biases_start_at_zero_and_layers_draw_their_own_weights():
    arrays = draw((3, 3, 3), "he", seed=0)
    assert not np.any([arrays["b1"], arrays["b2"]])
    assert not np.any(arrays["W1"] == arrays["W2"])


def test_one_seed_gives_one_network_and_another_seed_another():
    first, again, other = (
        Network((4, 3, 2), seed=seed, backend="numpy") for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.params.flat, again.params.flat)
    assert not np.any(first.params["W1"] == other.params["W1"])


def test_weights_are_drawn_in_float64_whatever_the_dtype(backend):
    single, double = (
        Network((4, 3, 2), seed=5, dtype=dtype, backend=backend.name)
        for dtype in (np.float32, np.float64)
    )
    expected = draw((4, 3, 2), "he", seed=5)
    for name, array in expected.items():
        np.testing.assert_array_equal(backend.to_host(double.params[name]), array)
        np.testing.assert_array_equal(
            backend.to_host(single.params[name]), array.astype(np.float32)
        )


@pytest.mark.parametrize(
    ("activation", "rule"),
    [("relu", he_std), ("tanh", xavier_std), ("sigmoid", xavier_std)],
)
def test_the_activation_chooses_the_initialization(activation, rule):
    network = Network((400, 300, 2), activation=activation, seed=0, backend="numpy")
    spread = network.params["W1"].std()
    assert spread == pytest.approx(rule(400, 300), rel=0.02)


def test_the_initialization_can_be_chosen():
    network = Network((4, 3, 2), initialization="zeros", seed=0, backend="numpy")
    assert not network.params.flat.any()


@pytest.mark.parametrize(
    "initialization", [0.01, np.float32(0.01), lambda fan_in, fan_out: 0.01]
)
def test_a_number_or_what_a_function_returns_is_the_standard_deviation(initialization):
    arrays = draw((800, 500, 3), initialization, seed=0)
    normal = np.random.default_rng(0)
    for name in ("W1", "W2"):
        expected = 0.01 * normal.standard_normal(arrays[name].shape)
        np.testing.assert_allclose(arrays[name], expected, rtol=1e-7)  # float32's .01


def test_a_function_gets_inputs_and_outputs_of_each_layer():
    seen = []

    def std(fan_in, fan_out):
        seen.append((fan_in, fan_out))
        return he_std(fan_in, fan_out)

    own = Network((4, 3, 2), initialization=std, backend="numpy")
    named = Network((4, 3, 2), initialization="he", backend="numpy")
    assert seen == [(4, 3), (3, 2)]
    assert (own.params.flat == named.params.flat).all()


@pytest.mark.parametrize(
    ("initialization", "error", "words"),
    [
        (-0.1, ArgumentError, r"initialization must be in \[0, inf\)"),
        (math.nan, ArgumentError, "initialization must be in"),
        (True, ArgumentTypeError, "initialization must be a number"),
        ((0.1, 0.2), ArgumentTypeError, "initialization must be a number"),
        (lambda a, b: -b, ArgumentError, r"initialization\(4, 3\) must be in .* -3"),
        (lambda a, b: "he", ArgumentTypeError, r"initialization\(4, 3\) must be a num"),
    ],
)
def test_what_is_no_standard_deviation_is_refused(initialization, error, words):
    with pytest.raises(error, match=words):
        Network((4, 3, 2), initialization=initialization, backend="numpy")
