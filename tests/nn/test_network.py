import itertools
import math

import numpy as np
import pytest

import gdopt
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.nn import Network, dense

COMBINATIONS = list(
    itertools.product(["relu", "tanh", "sigmoid"], ["softmax", "sigmoid"], [0.0, 0.7])
)
every_network = pytest.mark.parametrize(("activation", "output", "l2"), COMBINATIONS)


def examples(m, features=4, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal((m, features)).astype(dtype)


def labels(m, classes):
    return np.random.default_rng(1).integers(0, classes, m)


def make(output="softmax", activation="relu", **options):
    """A network of 4 inputs, two hidden layers and biases that are not zero."""
    sizes = (4, 6, 5, 3 if output == "softmax" else 1)
    options = {"seed": 3, "dtype": np.float64, "backend": "numpy"} | options
    made = Network(sizes, activation=activation, output=output, **options)
    for k in (1, 2, 3):
        bias = np.linspace(-0.3, 0.5, sizes[k]).astype(made.dtype)
        made.params[f"b{k}"] = made.params.backend.from_host(bias)
    return made


@every_network
def test_gradients_match_finite_differences(
    activation, output, l2, numeric_gradient, relative_error
):
    made = make(output, activation, l2=l2)
    x, y = examples(7), labels(7, 3 if output == "softmax" else 2)
    _, grads = made.loss_and_grads(x, y)
    ours = np.concatenate([gradient.copy().ravel() for gradient in grads.values()])

    def loss():
        return float(made.loss_and_grads(x, y)[0])

    expected = np.concatenate(
        [numeric_gradient(loss, array).ravel() for array in made.params.values()]
    )
    assert relative_error(ours, expected) < 1e-7


@every_network
@pytest.mark.peers("torch")
def test_cost_and_gradients_agree_with_torch(activation, output, l2):
    import torch

    made = make(output, activation, l2=l2)
    x, y = examples(7), labels(7, 3 if output == "softmax" else 2)
    theirs = {
        name: torch.tensor(array, requires_grad=True)
        for name, array in made.params.items()
    }
    hidden = torch.tensor(x)
    for k in (1, 2, 3):
        hidden = hidden @ theirs[f"W{k}"] + theirs[f"b{k}"]
        hidden = getattr(torch, activation)(hidden) if k < 3 else hidden
    if output == "softmax":
        expected = torch.nn.functional.cross_entropy(hidden, torch.tensor(y))
    else:
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            hidden[:, 0], torch.tensor(y, dtype=torch.float64)
        )
    squares = sum((theirs[f"W{k}"] ** 2).sum() for k in (1, 2, 3))
    expected = expected + l2 / (2 * 7) * squares
    expected.backward()
    loss, grads = made.loss_and_grads(x, y)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    for name, gradient in grads.items():
        np.testing.assert_allclose(
            gradient, theirs[name].grad.numpy(), rtol=1e-10, atol=1e-14
        )


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("m", [4, 1])
def test_a_batch_is_decayed_by_the_batch_size_or_by_its_own(m, batch_size):
    options = {"seed": 0, "dtype": np.float64, "backend": "numpy"}
    made = Network((1, 1), output="sigmoid", l2=0.5, l1=0.2, **options)
    made.params["W1"][...] = 2
    x, y = np.zeros((m, 1)), np.zeros(m, int)
    loss, grads = made.loss_and_grads(x, y, batch_size=batch_size)
    decay = 1.2 / (batch_size or m)  # .5 / (2 m) 2**2 + .2 / (2 m) 2
    assert loss == pytest.approx(math.log(2) + decay)
    slope = 1.1 / (batch_size or m)  # .5 / m 2 + .2 / (2 m)
    assert grads["W1"].item() == pytest.approx(slope)
    assert grads["b1"].item() == pytest.approx(0.5)
    assert made.loss(x, y) == pytest.approx(math.log(2))


def test_biases_are_not_decayed():
    made = make()
    x, y = examples(7), labels(7, 3)
    plain = {name: a.copy() for name, a in made.loss_and_grads(x, y)[1].items()}
    made.l2 = 5.0
    _, decayed = made.loss_and_grads(x, y)
    for k in (1, 2, 3):
        np.testing.assert_array_equal(decayed[f"b{k}"], plain[f"b{k}"])
        np.testing.assert_allclose(
            decayed[f"W{k}"] - plain[f"W{k}"], 5 / 7 * made.params[f"W{k}"], rtol=1e-10
        )


def test_gradients_land_in_the_views_of_the_arena():
    made = make(l2=0.1)
    arena, views = made.grads, dict(made.grads)
    for m in (7, 3, 7):
        _, grads = made.loss_and_grads(examples(m), labels(m, 3))
        assert grads is arena
        assert all(grads[name] is view for name, view in views.items())
        assert all(np.shares_memory(view, arena.flat) for view in views.values())
        assert all(view.any() for view in views.values())


def test_a_step_changes_neither_parameters_nor_data():
    made = make(l2=0.1)
    x, y, before = examples(7), labels(7, 3), made.params.flat.copy()
    made.loss_and_grads(x, y)
    np.testing.assert_array_equal(made.params.flat, before)
    np.testing.assert_array_equal(x, examples(7))
    np.testing.assert_array_equal(y, labels(7, 3))


def test_padding_of_the_gradients_stays_zero():
    _, grads = make(l2=0.1).loss_and_grads(examples(7), labels(7, 3))
    used = sum(np.square(view).sum() for view in grads.values())
    assert np.square(grads.flat).sum() == pytest.approx(used, rel=1e-14)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_network_learns_exclusive_or(output):
    last = 2 if output == "softmax" else 1
    made = Network(
        (2, 8, last), activation="tanh", output=output, seed=0, backend="numpy"
    )
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    y = np.array([0, 1, 1, 0], dtype=np.uint8)
    for _ in range(500):
        _, grads = made.loss_and_grads(x, y)
        for name in grads:
            made.params[name] -= 0.5 * grads[name]
    assert made.accuracy(x, y) == 1.0
    assert made.loss(x, y) < 0.1


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_slices_change_no_prediction(output, monkeypatch):
    made = make(output)
    x, y = examples(10), labels(10, 2)
    whole = made.predict_proba(x), made.predict(x), made.accuracy(x, y), made.loss(x, y)
    monkeypatch.setattr("gdopt.nn.network.ROWS", 3)
    np.testing.assert_allclose(made.predict_proba(x), whole[0], rtol=1e-12)
    np.testing.assert_array_equal(made.predict(x), whole[1])
    assert made.accuracy(x, y) == whole[2]
    assert made.loss(x, y) == pytest.approx(whole[3], rel=1e-12)


def test_large_sets_are_run_in_slices(monkeypatch):
    monkeypatch.setattr("gdopt.nn.network.ROWS", 3)
    made, seen, run = make(), [], gdopt.nn.network.run
    monkeypatch.setattr(
        "gdopt.nn.network.run", lambda layers, x: seen.append(len(x)) or run(layers, x)
    )
    made.predict(examples(10))
    assert seen == [3, 3, 3, 1]


@every_network
def test_loss_without_gradients_is_the_same_loss_without_l2(activation, output, l2):
    made = make(output, activation, l2=l2)
    x, y = examples(7), labels(7, 2)
    loss, grads = made.loss_and_grads(x, y)
    squares = sum(np.square(made.params[f"W{k}"]).sum() for k in (1, 2, 3))
    kept = grads.flat.copy()
    alone = float(loss) - l2 / (2 * 7) * squares
    assert made.loss(x, y) == pytest.approx(alone, rel=1e-12)
    np.testing.assert_array_equal(grads.flat, kept)


def test_probabilities_of_classes_sum_to_one_and_lead_to_the_prediction():
    made = make()
    probabilities = made.predict_proba(examples(9))
    assert probabilities.shape == (9, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(
        made.predict(examples(9)), probabilities.argmax(axis=1)
    )


def test_the_probability_of_one_class_leads_to_the_prediction():
    made, x = make("sigmoid", "tanh", seed=1), 5 * examples(9)
    probabilities, predicted = made.predict_proba(x), made.predict(x)
    assert probabilities.shape == (9,)
    assert 0 < predicted.sum() < 9
    np.testing.assert_array_equal(predicted, probabilities > 0.5)
    assert predicted.dtype == np.int64


def test_accuracy_is_the_share_of_right_predictions():
    made = make()
    y = made.predict(examples(8))
    y[:2] = (y[:2] + 1) % 3
    assert made.accuracy(examples(8), y) == 0.75


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "linear"])
def test_one_pass_measures_what_two_do(output, monkeypatch):
    monkeypatch.setattr("gdopt.nn.network.ROWS", 4)
    made, x = make(output), examples(10)
    y = examples(10, 1) if output == "linear" else labels(10, 3 - (output != "softmax"))
    expected = {"loss": made.loss(x, y)}
    if output != "linear":
        expected["accuracy"] = made.accuracy(x, y)
    assert made.measure(x, y) == expected
    if output == "sigmoid":
        assert made.measure(x, y[:, None]) == expected


def test_a_sigmoid_output_takes_labels_as_a_column():
    made = make("sigmoid", "tanh", seed=1)
    x, y = 5 * examples(9), labels(9, 2)
    column = y[:, None]
    row = made.loss_and_grads(x, y)[0], made.loss(x, y), made.accuracy(x, y)
    assert row == (
        made.loss_and_grads(x, column)[0],
        made.loss(x, column),
        made.accuracy(x, column),
    )


def test_the_loss_is_a_0d_array_of_the_dtype():
    x, y = examples(7, dtype=np.float32), labels(7, 3)
    for l2 in (0.0, 0.1):
        loss, grads = make(dtype=np.float32, l2=l2).loss_and_grads(x, y)
        assert (loss.shape, loss.dtype) == ((), np.float32)
        assert grads.flat.dtype == np.float32


def test_a_network_without_hidden_layer_is_logistic_regression():
    made = Network((4, 1), output="sigmoid", seed=0, dtype=np.float64, backend="numpy")
    x, y = examples(6), labels(6, 2)
    _, grads = made.loss_and_grads(x, y)
    expected = x.T @ (made.predict_proba(x) - y) / 6
    np.testing.assert_allclose(grads["W1"][:, 0], expected, rtol=1e-12)


def test_every_backend_computes_what_numpy_computes_in_float64(backend):
    host = make(activation="tanh", l2=0.3)
    device = make(activation="tanh", l2=0.3, backend=backend.name)
    x, y = examples(7), labels(7, 3)
    x_there, y_there = backend.from_host(x), backend.from_host(y)
    loss, grads = host.loss_and_grads(x, y)
    cost_there, grads_there = device.loss_and_grads(x_there, y_there)
    assert backend.device(grads_there.flat) == device.params.device
    assert float(cost_there) == pytest.approx(float(loss), rel=1e-12)
    np.testing.assert_allclose(
        backend.to_host(grads_there.flat), grads.flat, rtol=1e-10, atol=1e-14
    )
    device.check_data(x_there, y_there)
    assert device.loss(x_there, y_there) == pytest.approx(host.loss(x, y))
    assert device.accuracy(x_there, y_there) == host.accuracy(x, y)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "linear"])
def test_fused_layers_have_the_bits_of_separate_ones(activation, output, engine):
    sizes = (5, 7, 6, 3 if output == "softmax" else 1)
    network = Network(sizes, activation=activation, output=output, backend="numpy")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((70, 5)).astype(np.float32), rng.integers(0, 2, 70)
    y = y.astype(np.float32) if output == "linear" else y
    loss, grads = network.loss_and_grads(x, y)
    fused = grads.flat.copy()
    assert network.propagate(x, y, layer=dense) == loss
    assert network.grads.flat.tobytes() == fused.tobytes()


def test_a_batch_that_fits_does_not_let_another_one_through(engine):
    network = Network((5, 7, 3), backend="numpy")
    x, y = np.ones((4, 5), np.float32), np.zeros(4, int)
    network.loss_and_grads(x, y)
    before = network.grads.flat.copy()
    for wrong, error in (
        ((x.astype(float), y), ArgumentTypeError),
        ((np.ma.masked_array(x), y), ArgumentTypeError),
        ((x.tolist(), y), ArgumentTypeError),
        ((x[:, :4], y), ArgumentError),
        ((x[:3], y), ArgumentError),
        ((x, y[:3]), ArgumentError),
        ((x, y.astype(float)), ArgumentTypeError),
        ((x, y + 3), ArgumentError),
    ):
        with pytest.raises(error):
            network.loss_and_grads(*wrong)
    assert network.grads.flat.tobytes() == before.tobytes()
    assert network.batches_seen == 1
