"""Losses of probabilities, and one-hot rows: against torch, Keras and definitions."""

import math

import numpy as np
import pytest

from gdopt import check_gradient
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.nn import binary_cross_entropy, one_hot, softmax, softmax_cross_entropy

LABELS = np.array([0, 3, 1, 1, 2, 2, 0])
BINARY = (LABELS > 1).astype(int)
P = softmax(np.random.default_rng(0).standard_normal((7, 4)))
S = P[:, 0].copy()
CLASSES = softmax_cross_entropy, P, LABELS
TWO = binary_cross_entropy, S, BINARY
both = pytest.mark.parametrize(("loss", "p", "labels"), [CLASSES, TWO])


@both
def test_gradients_match_finite_differences(loss, p, labels, engine):
    check = check_gradient(lambda p: loss(p, labels, from_logits=False), p.copy())
    assert check.verdict in ("great", "fine")


@pytest.mark.peers("torch")
def test_losses_of_probabilities_agree_with_torch(torch):
    def torchs(function, p, labels):
        theirs = torch.tensor(p, requires_grad=True)
        loss = function(theirs, torch.tensor(labels))
        loss.backward()
        return loss.item(), theirs.grad.numpy()

    functional = torch.nn.functional
    for found, expected in (
        (
            softmax_cross_entropy(P, LABELS, from_logits=False),
            torchs(lambda p, y: functional.nll_loss(p.log(), y), P, LABELS),
        ),
        (
            binary_cross_entropy(S, BINARY, from_logits=False),
            torchs(functional.binary_cross_entropy, S, BINARY.astype(float)),
        ),
    ):
        assert found[0] == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-12)


@pytest.mark.peers("keras")
def test_losses_of_probabilities_agree_with_keras(keras, jax):
    def kerass(function, p, labels):
        return jax.value_and_grad(lambda p: function(labels, p).mean())(p)

    value, gradient = softmax_cross_entropy(P, LABELS, from_logits=False)
    expected = kerass(keras.ops.sparse_categorical_crossentropy, P, LABELS)
    assert value == pytest.approx(float(expected[0]), rel=1e-12)
    # Keras divides each row by its sum.
    np.testing.assert_allclose(gradient + 1 / 7, expected[1], rtol=1e-12, atol=1e-15)
    column, targets = S[:, None], BINARY[:, None]
    value, gradient = binary_cross_entropy(column, targets, from_logits=False)
    expected = kerass(keras.ops.binary_crossentropy, column, targets.astype(float))
    assert value == pytest.approx(float(expected[0]), rel=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-12)


def test_probabilities_lead_to_the_loss_of_their_logits():
    z = np.log(P)
    one = softmax_cross_entropy(P, LABELS, from_logits=False)[0]
    assert one == pytest.approx(softmax_cross_entropy(z, LABELS)[0], rel=1e-12)
    two = binary_cross_entropy(S, BINARY, from_logits=False)[0]
    logits = np.log(S / (1 - S))
    assert two == pytest.approx(binary_cross_entropy(logits, BINARY)[0], rel=1e-12)


def test_certainty_costs_nothing_or_everything(engine):
    certain = np.array([[1.0, 0.0]], np.float32)
    for loss, p, labels in (
        (softmax_cross_entropy, certain, (0, 1)),
        (binary_cross_entropy, certain[:, 0].copy(), (1, 0)),
        (binary_cross_entropy, certain[:, 1].copy(), (0, 1)),
    ):
        right, wrong = (
            loss(p, np.array([label]), from_logits=False)[0] for label in labels
        )
        assert (right, math.copysign(1, right), wrong) == (0, 1, math.inf)
    _, gradient = softmax_cross_entropy(certain, np.array([0]), from_logits=False)
    assert gradient.tolist() == [[-1, 0]]
    assert gradient.dtype == np.float32


@both
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_engine_has_the_gradients_bits(loss, p, labels, dtype, cp):
    pytest.importorskip("numba", exc_type=ImportError)
    p, labels = p.astype(dtype), labels.astype(np.int64)
    expected = loss(p, labels, from_logits=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GDOPT_CPU_ENGINE", "numba")
        compiled = loss(p, labels, from_logits=False)
    there = loss(cp.asarray(p), cp.asarray(labels), from_logits=False)
    for value, gradient in (compiled, (there[0], there[1].get())):
        assert gradient.tobytes() == expected[1].tobytes()
        assert value.dtype == gradient.dtype == dtype
        # Logarithms differ in the last place.
        rounding = 4 * float(np.finfo(dtype).eps)
        assert float(value) == pytest.approx(float(expected[0]), rel=rounding)


@both
@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(loss, p, labels, wrong):
    p = p.copy()
    p[5] = wrong
    words = rf"probabilities must be in \[0, 1\], got {wrong} in row 5, column 0"
    with pytest.raises(ArgumentError, match=words):
        loss(p, labels, from_logits=False)
    loss(p, labels, from_logits=False, validate=False)


def test_messages_name_probabilities():
    for loss in (softmax_cross_entropy, binary_cross_entropy):
        with pytest.raises(ArgumentError, match="probabilities must have shape"):
            loss(np.zeros((2, 2, 2)), LABELS, from_logits=False)
        with pytest.raises(ArgumentTypeError, match="from_logits must be"):
            loss(P, LABELS, from_logits=None)


@pytest.mark.parametrize("dtype", ["i1", "u2", "i8", "u8"])
@pytest.mark.parametrize("shape", [(7,), (7, 1), (1, 7), (0,), ()])
@pytest.mark.peers("torch")
def test_one_hot_rows_are_those_of_torch(shape, dtype, backend, torch):
    labels = np.resize(LABELS, shape).astype(dtype)
    found = one_hot(backend.from_host(labels), 5, dtype=np.float64)
    expected = torch.nn.functional.one_hot(torch.tensor(labels.astype(int)), 5)
    host = backend.to_host(found)
    assert host.dtype == np.float64
    np.testing.assert_array_equal(host, expected.numpy().reshape(*shape, 5))


@pytest.mark.parametrize(
    ("labels", "classes", "error", "words"),
    [
        (LABELS, 3, ArgumentError, "from 0 to 2, .* got 3"),
        (LABELS - 1, 4, ArgumentError, "from 0 to 3, .* got -1"),
        (LABELS, 0, ArgumentError, "classes must be a whole number of at least 1"),
        (LABELS, 4.0, ArgumentTypeError, "classes must be a whole number"),
        (LABELS.astype(float), 4, ArgumentTypeError, "integer dtype, got float64"),
        (LABELS.tolist(), 4, ArgumentTypeError, "must be a NumPy or CuPy array"),
    ],
)
def test_labels_that_name_no_column_are_refused(labels, classes, error, words):
    with pytest.raises(error, match=words):
        one_hot(labels, classes)
