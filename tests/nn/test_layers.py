import numpy as np
import pytest

from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.nn import dense, relu, sigmoid, tanh

ACTIVATIONS = [relu, tanh, sigmoid]
every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture
def arrays():
    """X, W, b of 5 examples, 4 inputs and 3 outputs, and room for dW and db."""
    return normal(5, 4), normal(4, 3, seed=1), normal(3), np.empty((4, 3)), np.empty(3)


def test_dense_multiplies_and_adds(arrays):
    x, weights, bias, *_ = arrays
    expected = [
        [sum(x[i] * weights[:, j]) + bias[j] for j in range(3)] for i in range(5)
    ]
    np.testing.assert_allclose(dense(*arrays)[0], expected, rtol=1e-12)


def test_dense_gradients_match_finite_differences(
    arrays, numeric_gradient, relative_error
):
    x, weights, bias, d_weights, d_bias = arrays
    direction = normal(5, 3, seed=2)
    _, backprop = dense(*arrays)
    d_x = backprop(direction)

    def loss():
        return float((dense(*arrays)[0] * direction).sum())

    for array, gradient in ((x, d_x), (weights, d_weights), (bias, d_bias)):
        assert relative_error(gradient, numeric_gradient(loss, array)) < 1e-7


def test_dense_without_input_gradient_gives_none_and_the_same_weight_gradients(arrays):
    dense(*arrays)[1](np.ones((5, 3)))
    expected = arrays[3].copy()
    arrays[3].fill(0)
    _, backprop = dense(*arrays, input_gradient=False)
    assert backprop(np.ones((5, 3))) is None
    np.testing.assert_array_equal(arrays[3], expected)


def test_dense_takes_rows_that_are_not_contiguous(arrays):
    x, *others = arrays
    expected, _ = dense(x.copy(), *others)
    strided, _ = dense(np.repeat(x, 2, axis=1)[:, ::2], *others)
    np.testing.assert_allclose(strided, expected, rtol=1e-12)


def test_activations_have_their_worked_values():
    z = np.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(relu(z)[0], [0, 0, 2])
    np.testing.assert_allclose(tanh(z)[0], [-0.76159416, 0, 0.96402758])
    np.testing.assert_allclose(sigmoid(z)[0], [0.26894142, 0.5, 0.88079708])


@every_activation
def test_activation_gradients_match_finite_differences(
    activation, numeric_gradient, relative_error
):
    z, direction = normal(6, 5), normal(6, 5, seed=1)
    assert np.abs(z).min() > 1e-3  # no difference reaches over the corner of ReLU

    def loss():
        return float((activation(z)[0] * direction).sum())

    gradient = activation(z)[1](direction.copy())
    assert relative_error(gradient, numeric_gradient(loss, z)) < 1e-7


@every_activation
def test_in_place_gives_the_same_values(activation):
    z, d_output = normal(6, 5), normal(6, 5, seed=1)
    output, backprop = activation(z)
    again, backprop_again = activation(z.copy(), in_place=True)
    np.testing.assert_array_equal(again, output)
    np.testing.assert_array_equal(backprop_again(d_output.copy()), backprop(d_output))


@every_activation
def test_out_of_place_leaves_input_and_gradient_alone(activation):
    z, d_output = normal(6, 5), normal(6, 5, seed=1)
    _, backprop = activation(z)
    backprop(d_output)
    np.testing.assert_array_equal(z, normal(6, 5))
    np.testing.assert_array_equal(d_output, normal(6, 5, seed=1))


@every_activation
def test_in_place_writes_the_gradient_into_the_one_given(activation):
    d_output = normal(6, 5, seed=1)
    _, backprop = activation(normal(6, 5), in_place=True)
    assert backprop(d_output) is d_output


@pytest.mark.parametrize("activation", [relu, tanh])
def test_in_place_writes_the_output_into_the_input(activation):
    z = normal(6, 5)
    assert activation(z, in_place=True)[0] is z


@every_activation
def test_activations_survive_extreme_inputs_in_float32(activation):
    z = np.array([-1e4, 1e4, -1e38, 1e38], dtype=np.float32)
    output, backprop = activation(z)
    assert output.dtype == np.float32
    assert np.isfinite(output).all()
    assert np.isfinite(backprop(np.ones(4, dtype=np.float32))).all()


@every_activation
def test_backprop_refuses_a_gradient_of_another_shape_or_dtype(activation):
    _, backprop = activation(normal(6, 5))
    with pytest.raises(ArgumentError, match=r"d_output must have shape \(6, 5\)"):
        backprop(normal(1, 5))
    with pytest.raises(ArgumentTypeError, match="d_output must be float64, got float3"):
        backprop(normal(6, 5).astype(np.float32))


def test_dense_backprop_refuses_another_shape_and_changes_nothing(arrays):
    arrays[3].fill(7)
    _, backprop = dense(*arrays)
    with pytest.raises(ArgumentError, match=r"d_output must have shape \(5, 3\)"):
        backprop(np.ones((1, 3)))
    assert (arrays[3] == 7).all()


@pytest.mark.parametrize(
    ("which", "replacement", "error", "words"),
    [
        (0, np.ones((5, 3)), ArgumentError, r"x must have shape \(m, 4\)"),
        (0, np.ones(4), ArgumentError, r"x must have shape \(m, 4\)"),
        (0, np.ones((0, 4)), ArgumentError, "x must hold at least one example"),
        (0, np.ones((5, 4), np.float32), ArgumentTypeError, "x must be float64"),
        (
            0,
            [[1.0] * 4],
            ArgumentTypeError,
            "x must be a NumPy or CuPy array, got list",
        ),
        (1, np.ones(4), ArgumentError, r"weights must have shape \(n_in, n_out\)"),
        (2, np.ones((1, 3)), ArgumentError, r"bias must have shape \(3,\)"),
        (2, np.ones(1), ArgumentError, r"bias must have shape \(3,\)"),
        (3, np.ones((3, 4)), ArgumentError, r"d_weights must have shape \(4, 3\)"),
        (3, np.ones((4, 3), np.float32), ArgumentTypeError, "d_weights must be float"),
        (4, np.ones(4), ArgumentError, r"d_bias must have shape \(3,\)"),
        (2, np.ones(3, np.float32), ArgumentTypeError, "^bias must be float64"),
    ],
)
def test_dense_refuses_what_does_not_fit(arrays, which, replacement, error, words):
    changed = [*arrays[:which], replacement, *arrays[which + 1 :]]
    with pytest.raises(error, match=words):
        dense(*changed)
