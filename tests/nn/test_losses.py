import math

import numpy as np
import pytest

from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.nn import binary_cross_entropy, logistic, softmax, softmax_cross_entropy

INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def test_softmax_has_its_worked_values():
    expected = [[0.09003057, 0.24472847, 0.66524096]]
    np.testing.assert_allclose(softmax(np.array([[1.0, 2.0, 3.0]])), expected)


def test_logistic_keeps_small_probabilities():
    small = logistic(np.array([-80.0, -30.0], dtype=np.float32))
    expected = [math.exp(-80), math.exp(-30)]
    np.testing.assert_allclose(small, expected, rtol=1e-6)  # float32


def test_softmax_cross_entropy_has_its_worked_value():
    loss, _ = softmax_cross_entropy(np.array([[1.0, 2.0, 3.0]] * 2), np.array([2, 0]))
    assert loss == pytest.approx((0.40760596 + 2.40760596) / 2)


def test_binary_cross_entropy_has_its_worked_value():
    loss, _ = binary_cross_entropy(np.array([2.0, 2.0]), np.array([1, 0]))
    assert loss == pytest.approx((0.12692801 + 2.12692801) / 2)


@pytest.mark.parametrize(
    ("loss", "logits", "labels"),
    [
        (softmax_cross_entropy, normal(5, 4), np.array([0, 3, 1, 1, 2])),
        (binary_cross_entropy, normal(5, 1), np.array([0, 1, 1, 0, 1])),
        (binary_cross_entropy, normal(5), np.array([[0], [1], [1], [0], [1]])),
    ],
)
def test_loss_gradients_match_finite_differences(
    loss, logits, labels, numeric_gradient, relative_error
):
    _, gradient = loss(logits, labels)
    expected = numeric_gradient(lambda: float(loss(logits, labels)[0]), logits)
    assert gradient.shape == logits.shape
    assert relative_error(gradient, expected) < 1e-7


def test_two_classes_have_the_same_loss_by_softmax_and_by_logistic():
    z, labels = normal(6, 1), np.array([0, 1, 1, 0, 1, 0])
    both = np.concatenate([np.zeros_like(z), z], axis=1)
    assert softmax_cross_entropy(both, labels)[0] == pytest.approx(
        binary_cross_entropy(z, labels)[0]
    )


@pytest.mark.parametrize("label", [0, 1])
def test_softmax_cross_entropy_survives_extreme_logits(label):
    logits = np.array([[1e4, -1e4]], dtype=np.float32)
    loss, gradient = softmax_cross_entropy(logits, np.array([label]))
    assert loss == [0, 2e4][label]
    np.testing.assert_array_equal(gradient, [[[0, 0], [1, -1]][label]])
    assert loss.dtype == gradient.dtype == np.float32


@pytest.mark.parametrize(("z", "label"), [(-1e4, 0), (-1e4, 1), (1e4, 0), (1e4, 1)])
def test_binary_cross_entropy_survives_extreme_logits(z, label):
    loss, gradient = binary_cross_entropy(
        np.array([z], dtype=np.float32), np.array([label])
    )
    wrong = (z > 0) != bool(label)
    assert loss == (1e4 if wrong else 0)
    assert gradient == (np.sign(z) if wrong else 0)
    assert loss.dtype == gradient.dtype == np.float32


def test_probabilities_survive_extreme_logits():
    z = np.array([-1e38, -1e4, 1e4, 1e38], dtype=np.float32)
    np.testing.assert_array_equal(logistic(z), [0, 0, 1, 1])
    np.testing.assert_array_equal(softmax(z[None, :3]), [[0, 0, 1]])


def test_losses_leave_their_arguments_alone():
    for function, shape in (
        (softmax_cross_entropy, (3, 2)),
        (binary_cross_entropy, (3,)),
    ):
        logits, labels = normal(*shape), np.array([0, 1, 1])
        function(logits, labels)
        np.testing.assert_array_equal(logits, normal(*shape))
        np.testing.assert_array_equal(labels, [0, 1, 1])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_labels_may_be_of_any_integer_dtype(dtype):
    for function, shape in (
        (softmax_cross_entropy, (3, 2)),
        (binary_cross_entropy, (3,)),
    ):
        labels = np.array([0, 1, 1])
        logits = normal(*shape).astype(np.float32)
        loss, gradient = function(logits, labels.astype(dtype))
        expected = function(normal(*shape).astype(np.float32), labels)
        assert loss == expected[0]
        np.testing.assert_array_equal(gradient, expected[1])


@pytest.mark.peers("torch")
def test_losses_agree_with_torch():
    import torch

    logits, labels = 3 * normal(7, 4), np.array([0, 3, 1, 1, 2, 2, 0])
    theirs = torch.tensor(logits, requires_grad=True)
    torch.nn.functional.cross_entropy(theirs, torch.tensor(labels)).backward()
    np.testing.assert_allclose(
        softmax_cross_entropy(logits, labels)[1], theirs.grad.numpy(), rtol=1e-12
    )
    binary = (labels > 1).astype(int)
    theirs = torch.tensor(logits[:, 0], requires_grad=True)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        theirs, torch.tensor(binary, dtype=torch.float64)
    )
    loss.backward()
    ours, gradient = binary_cross_entropy(logits[:, 0], binary)
    assert ours == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-12)


SOFTMAX = softmax_cross_entropy, np.zeros((2, 3))
BINARY = binary_cross_entropy, np.zeros((2, 1))


@pytest.mark.parametrize(
    ("loss", "logits", "labels", "error", "words"),
    [
        (*SOFTMAX, np.array([0, 3]), ArgumentError, "from 0 to 2, .* 3 classes, got 3"),
        (*SOFTMAX, np.array([0, -1]), ArgumentError, "from 0 to 2, .* got -1"),
        (*BINARY, np.array([0, 2]), ArgumentError, "from 0 to 1, .* 2 classes, got 2"),
        (*BINARY, np.array([-1, 1]), ArgumentError, "from 0 to 1, .* got -1"),
        (*SOFTMAX, np.array([0, 1, 2]), ArgumentError, "labels must have shape"),
        (*SOFTMAX, np.array([[0], [1]]), ArgumentError, "labels must have shape"),
        (*BINARY, np.array([[0, 1]]), ArgumentError, "labels must have shape"),
        (*SOFTMAX, np.array([0.0, 1.0]), ArgumentTypeError, "integer dtype, got float"),
        (
            *BINARY,
            np.array([True, False]),
            ArgumentTypeError,
            "integer dtype, got bool",
        ),
        (*SOFTMAX, [0, 1], ArgumentTypeError, "labels must be a NumPy or CuPy array"),
        (
            SOFTMAX[0],
            np.zeros(3),
            np.array([0]),
            ArgumentError,
            "logits must have shap",
        ),
        (
            SOFTMAX[0],
            np.zeros((0, 3)),
            np.zeros(0, int),
            ArgumentError,
            "logits must have shape",
        ),
        (
            BINARY[0],
            np.zeros((2, 2)),
            np.array([0, 1]),
            ArgumentError,
            "logits must have shape",
        ),
        (
            BINARY[0],
            np.zeros(0),
            np.zeros(0, int),
            ArgumentError,
            "logits must have shape",
        ),
    ],
)
def test_losses_refuse_what_does_not_fit(loss, logits, labels, error, words):
    with pytest.raises(error, match=words):
        loss(logits, labels)
