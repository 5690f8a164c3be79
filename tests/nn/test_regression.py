"""Networks with a linear output: values, gradients, refusals, training, resuming."""

import itertools

import numpy as np
import pytest

import gdopt
from gdopt.nn import Network, example_gradients
from gdopt.training import EarlyStopping

COMBINATIONS = list(itertools.product(["relu", "tanh", "sigmoid"], [1, 3], [0.0, 0.7]))
every_network = pytest.mark.parametrize(("activation", "k", "penalty"), COMBINATIONS)
OPTIONS = [{}, {"keep_prob": 0.6}, {"batch_norm": True}]


def make(k=3, **options):
    """A network of 4 inputs and two hidden layers; its biases are not zero."""
    usual = {"output": "linear", "seed": 3, "dtype": np.float64, "backend": "numpy"}
    network = Network((4, 6, 5, k), **usual | options)
    for name, array in network.params.items():
        if name[0] == "b":
            array[...] = np.linspace(-0.3, 0.5, array.size)
    return network


def data(m=7, k=3, dtype=np.float64):
    x = np.random.default_rng(0).standard_normal((m, 4)).astype(dtype)
    weights = np.random.default_rng(1).standard_normal((4, k))
    return x, (x @ weights + 2).astype(dtype)


def joined(arena):
    return np.concatenate([array.copy().ravel() for array in arena.values()])


def plain_cost(predictions, targets):
    """The definition, one number at a time."""
    losses = [
        0.5 * sum((p - t) ** 2 for p, t in zip(row, wanted, strict=True))
        for row, wanted in zip(predictions.tolist(), targets.tolist(), strict=True)
    ]
    return sum(losses) / len(losses)


@every_network
def test_gradients_match_finite_differences(activation, k, penalty):
    network = make(k, activation=activation, l2=penalty, l1=penalty)
    x, t = data(k=k)
    check = gdopt.check_gradient(lambda _: network.loss_and_grads(x, t), network.params)
    assert check.verdict in ("great", "fine")


@every_network
@pytest.mark.peers("torch")
def test_cost_and_gradients_are_half_the_outputs_times_those_of_torch(
    activation, k, penalty
):
    import torch

    network = make(k, activation=activation, l2=penalty, l1=penalty)
    x, t = data(k=k)
    theirs = {
        name: torch.tensor(array, requires_grad=True)
        for name, array in network.params.items()
    }
    hidden = torch.tensor(x)
    for layer in (1, 2, 3):
        hidden = hidden @ theirs[f"W{layer}"] + theirs[f"b{layer}"]
        hidden = getattr(torch, activation)(hidden) if layer < 3 else hidden
    expected = k / 2 * torch.nn.functional.mse_loss(hidden, torch.tensor(t))
    for layer in (1, 2, 3):
        weights = theirs[f"W{layer}"]
        expected = expected + penalty / (2 * 7) * (weights**2).sum()
        expected = expected + penalty / (2 * 7) * weights.abs().sum()
    expected.backward()
    loss, grads = network.loss_and_grads(x, t)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    for name, gradient in grads.items():
        np.testing.assert_allclose(
            gradient, theirs[name].grad.numpy(), rtol=1e-10, atol=1e-14
        )
    np.testing.assert_allclose(
        network.predict(x), hidden.detach().numpy(), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("k", [1, 3])
def test_the_loss_is_that_of_its_definition(k):
    network, (x, t) = make(k), data(k=k)
    expected = plain_cost(network.predict(x), t)
    assert float(network.loss_and_grads(x, t)[0]) == pytest.approx(expected, rel=1e-13)
    assert network.loss(x, t) == pytest.approx(expected, rel=1e-13)
    network.l2, network.l1 = 0.3, 0.2
    assert float(network.loss_and_grads(x, t)[0]) > 1.01 * expected
    assert network.loss(x, t) == pytest.approx(expected, rel=1e-13)


def test_a_network_without_hidden_layer_ends_where_least_squares_does():
    x, t = data(30)
    t += np.random.default_rng(2).standard_normal(t.shape)
    network = Network(
        (4, 3), output="linear", seed=0, dtype=np.float64, backend="numpy"
    )
    optimizer = gdopt.SGD(network.params, lr=0.3)
    batches = gdopt.minibatches(x, t, batch_size=30, seed=0)
    gdopt.fit(network, optimizer, batches, epochs=500)
    wide = np.hstack([x, np.ones((30, 1))])
    best = np.linalg.lstsq(wide, t, rcond=None)[0]
    np.testing.assert_allclose(network.params["W1"], best[:4], rtol=1e-9)
    np.testing.assert_allclose(network.params["b1"], best[4], rtol=1e-9)


def test_targets_of_one_output_may_have_one_dimension():
    network, (x, t) = make(1), data(k=1)
    results = []
    for targets in (t, t[:, 0]):
        loss, grads = network.loss_and_grads(x, targets)
        network.check_data(x, targets)
        squares, _ = example_gradients(network, x, targets)
        results.append((loss, network.loss(x, targets), joined(grads), squares))
    for column, row in zip(*results, strict=True):
        np.testing.assert_array_equal(column, row)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_have_a_column_for_each_output(k, dtype):
    network, (x, _) = make(k, dtype=dtype), data(dtype=dtype)
    predictions = network.predict(x)
    assert (predictions.shape, predictions.dtype) == ((7, k), dtype)
    assert repr(network) == f"Network(4-6-5-{k}, relu, linear; {dtype.__name__} on cpu)"


def test_slices_change_no_prediction(monkeypatch):
    network, (x, t) = make(), data(10)
    whole = network.predict(x), network.loss(x, t)
    monkeypatch.setattr("gdopt.nn.network.ROWS", 3)
    np.testing.assert_allclose(network.predict(x), whole[0], rtol=1e-12)
    assert network.loss(x, t) == pytest.approx(whole[1], rel=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_lengths_of_gradients_are_those_of_the_examples_one_by_one(k):
    network, (x, t) = make(k), data(k=k)
    squares, _ = example_gradients(network, x, t)
    for place in range(len(x)):
        one = slice(place, place + 1)
        own = joined(network.loss_and_grads(x[one], t[one])[1])
        assert squares[place] == pytest.approx(own @ own, rel=1e-12)


def test_every_backend_computes_what_numpy_computes_in_float64(backend):
    (x, t), to = data(), backend.from_host
    host, device = (
        Network(
            (4, 5, 3),
            output="linear",
            l2=0.3,
            seed=0,
            dtype=np.float64,
            backend=name,
        )
        for name in ("numpy", backend.name)
    )
    loss, grads = host.loss_and_grads(x, t)
    cost_there, grads_there = device.loss_and_grads(to(x), to(t))
    assert float(cost_there) == pytest.approx(float(loss), rel=1e-12)
    there = backend.to_host(grads_there.flat)
    np.testing.assert_allclose(there, grads.flat, rtol=1e-10, atol=1e-14)
    device.check_data(to(x), to(t))
    assert device.loss(to(x), to(t)) == pytest.approx(host.loss(x, t))
    np.testing.assert_allclose(
        backend.to_host(device.predict(to(x))), host.predict(x), rtol=1e-10, atol=1e-14
    )


X, T = data(dtype=np.float32)
BROKEN = T.copy()
BROKEN[5, 1] = np.nan
BAD_TARGETS = [
    (3, np.arange(21).reshape(7, 3), "ArgumentTypeError", "float32, .* got int64"),
    (3, T.astype(np.float64), "ArgumentTypeError", "targets must be float32, .* float"),
    (3, T > 0, "ArgumentTypeError", "targets must be float32, .* got bool"),
    (3, T.tolist(), "ArgumentTypeError", "must be a NumPy or CuPy array, got list"),
    (3, None, "ArgumentTypeError", "must be a NumPy or CuPy array, got NoneType"),
    (3, BROKEN, "ArgumentError", "targets must be finite, got nan in row 5, column 1"),
    (3, -np.inf * np.abs(T), "ArgumentError", "got -inf in row 0, column 0"),
    (3, T[:6], "ArgumentError", r"have shape \(7, 3\), .* got \(6, 3\)"),
    (3, T[:, :1], "ArgumentError", r"have shape \(7, 3\), .* got \(7, 1\)"),
    (3, T[:, 0], "ArgumentError", r"have shape \(7, 3\), .* got \(7,\)"),
    (3, T.reshape(-1), "ArgumentError", r"have shape \(7, 3\), .* got \(21,\)"),
    (1, T, "ArgumentError", r"have shape \(7, 1\) or \(7,\), .* got \(7, 3\)"),
    (1, T[:1, 0], "ArgumentError", r"have shape \(7, 1\) or \(7,\), .* got \(1,\)"),
    (1, T[:, :1].T, "ArgumentError", r"\(7, 1\) or \(7,\), .* got \(1, 7\)"),
    (1, BROKEN[:, 1], "ArgumentError", "must be finite, got nan in row 5, column 0"),
]


@pytest.mark.parametrize("method", ["loss_and_grads", "loss", "check_data"])
@pytest.mark.parametrize(("k", "targets", "error", "words"), BAD_TARGETS)
def test_bad_targets_are_refused_and_nothing_changes(method, k, targets, error, words):
    network = make(k, dtype=np.float32, batch_norm=True)
    network.grads.flat[...] = 7
    before = network.params.flat.copy(), repr(network.state_dict())
    with pytest.raises(getattr(gdopt, error), match=words):
        getattr(network, method)(X, targets)
    np.testing.assert_array_equal(network.params.flat, before[0])
    assert repr(network.state_dict()) == before[1]
    assert (network.grads.flat == 7).all()


def test_targets_once_checked_are_not_looked_at_again(monkeypatch):
    network = make(dtype=np.float32)
    expected = float(network.loss_and_grads(X, T)[0])
    monkeypatch.setattr("gdopt.nn.losses.check_finite", None)
    assert float(network.loss_and_grads(X, T, validate=False)[0]) == expected


def test_there_are_no_classes_to_be_right_about():
    network = make(dtype=np.float32)
    with pytest.raises(gdopt.ArgumentError, match=r"accuracy needs .* use loss\(x, y"):
        network.accuracy(X, T)
    with pytest.raises(
        gdopt.ArgumentError, match=r"predict_proba needs .* got 'linear"
    ):
        network.predict_proba(X)


def parts(output="linear", targets=None, **options):
    x, t = data(40)
    network = make(output=output, **options)
    optimizer = gdopt.Adam(network.params, lr=0.02)
    targets = t if targets is None else targets
    return network, optimizer, gdopt.minibatches(x, targets, batch_size=16, seed=0)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_dev_loss_is_measured_at_the_end_of_each_epoch(options):
    run, dev = parts(l2=0.5, **options), data(20)
    curve = []

    def watch(record):
        assert record.dev_accuracy is None
        assert (record.dev_loss is not None) == (record.step % 3 == 0)
        if record.dev_loss is not None:
            assert record.dev_loss == run[0].loss(*dev)  # without the L2 term
            curve.append(record.dev_loss)

    gdopt.fit(*run, epochs=30, dev=dev, callback=watch)
    assert len(curve) == 30
    assert curve[-1] < 0.6 * curve[0]


def test_classes_have_an_accuracy_and_a_dev_loss():
    labels = np.arange(40) % 3
    run = parts("softmax", labels)
    dev = data(40)[0], labels
    history = gdopt.fit(*run, epochs=1, dev=dev).history
    assert np.isnan(history["dev_loss"]).tolist() == [True, True, False]
    assert history["dev_loss"][-1] == run[0].loss(*dev)
    assert np.isnan(history["dev_accuracy"]).tolist() == [True, True, False]


def test_training_stops_early_by_the_dev_loss():
    run, dev = parts(seed=1), data(6)
    dev = dev[0], dev[1] + np.random.default_rng(2).standard_normal((6, 3))
    stopping = EarlyStopping(3)
    history = gdopt.fit(*run, epochs=400, dev=dev, callback=stopping).history
    curve = history["dev_loss"][2::3].tolist()
    assert 3 < len(curve) < 400
    assert curve.index(min(curve)) == len(curve) - 1 - 3
    assert run[0].loss(*dev) == stopping.best == min(curve)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(options, tmp_path):
    whole, first, rest = parts(**options), parts(**options), parts(**options)
    dev = data(20)
    expected = gdopt.fit(*whole, epochs=4, dev=dev).history
    gdopt.fit(*first, epochs=2, dev=dev, checkpoint=tmp_path)
    with pytest.warns(UserWarning, match="epochs 2, now 4"):
        found = gdopt.fit(*rest, epochs=4, dev=dev, checkpoint=tmp_path).history
    assert rest[0].params.flat.tobytes() == whole[0].params.flat.tobytes()
    for name in ("loss", "smoothed_loss", "dev_loss"):
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("outputs", [("linear", "softmax"), ("softmax", "linear")])
def test_the_state_of_another_output_is_refused_and_nothing_changes(
    outputs, options, tmp_path
):
    labels = np.arange(40) % 3
    runs = {
        "linear": parts(**options),
        "softmax": parts("softmax", labels, **options),
    }
    saved, loaded = (runs[output] for output in outputs)
    gdopt.fit(*saved, epochs=1, checkpoint=tmp_path)
    before = loaded[0].params.flat.copy(), repr(loaded[0].state_dict())
    with pytest.raises(
        gdopt.StateError, match=rf"must be '{outputs[1]}' .*{outputs[0]}"
    ):
        loaded[0].load_state_dict(saved[0].state_dict())
    with pytest.raises(gdopt.StateError, match=r"output of state|the value was"):
        gdopt.fit(*loaded, epochs=1, checkpoint=tmp_path)
    np.testing.assert_array_equal(loaded[0].params.flat, before[0])
    assert repr(loaded[0].state_dict()) == before[1]
    assert loaded[1].t == 0
