"""fit trains any object with params and loss_and_grads, and gdopt's own network."""

from types import SimpleNamespace

import numpy as np
import pytest

import gdopt
from gdopt.data import minibatches

NAN = float("nan")


class Model:
    """Least squares with what a class of a user's may have."""

    def __init__(self):
        self.params, self.seen = {"w": np.zeros(2)}, 0

    def loss_and_grads(self, x, y):
        self.seen += 1
        r = x @ self.params["w"] - y
        return r @ r / len(r), {"w": 2 * x.T @ r / len(r)}


class WithLoss(Model):
    def loss(self, _x, _y):
        return 7.0


class WithAccuracy(WithLoss):
    def accuracy(self, _x, _y):
        return 0.25


class WithState(Model):
    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


def data_of_a_model():
    X = np.random.default_rng(0).standard_normal((12, 2))
    return X, X @ [1.0, -2.0]


@pytest.mark.parametrize(
    ("kind", "measured"),
    [
        (Model, {"dev_accuracy": NAN, "dev_loss": 0.0}),
        (WithLoss, {"dev_accuracy": NAN, "dev_loss": 7.0}),
        (WithAccuracy, {"dev_accuracy": 0.25, "dev_loss": NAN}),
    ],
)
def test_a_model_of_ones_own_is_trained_and_measured_by_what_it_has(kind, measured):
    model, (X, y) = kind(), data_of_a_model()
    optimizer = gdopt.SGD(model.params, lr=0.1)
    batches = minibatches(X, y, batch_size=4)
    result = gdopt.fit(model, optimizer, batches, epochs=100, dev=(X, y))
    assert result.x is model.params
    np.testing.assert_allclose(model.params["w"], [1, -2], atol=1e-6)
    assert (result.nit, optimizer.t) == (300, 300)
    for name, value in measured.items():
        last = result.history[name][-1]
        assert last == pytest.approx(value, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("kind", [Model, WithState])
def test_what_a_model_saves_is_continued(kind, tmp_path):
    def run(model, folder, callback=None):
        batches = minibatches(*data_of_a_model(), batch_size=4)
        optimizer = gdopt.Adam(model.params, lr=0.1)
        how = {"checkpoint": folder, "checkpoint_seconds": 1e-9, "callback": callback}
        return gdopt.fit(model, optimizer, batches, epochs=3, **how)

    def crash(record):
        if record.step == 5:
            raise ZeroDivisionError

    whole, rest = kind(), kind()
    run(whole, None)
    with pytest.raises(ZeroDivisionError):
        run(kind(), tmp_path, crash)
    run(rest, tmp_path, lambda _: None)
    assert rest.params["w"].tobytes() == whole.params["w"].tobytes()
    # Steps 5 to 9, one by which the problem is known again, and one for its last
    # checkpoint.
    assert rest.seen == (9 if kind is WithState else 7)


@pytest.mark.parametrize("missing", ["params", "loss_and_grads"])
def test_an_object_that_is_not_a_model_is_refused(missing):
    parts = {"params": np.ones(2), "loss_and_grads": print}
    del parts[missing]
    message = (
        rf"network must have params and loss_and_grads\(\*batch\), .* without {missing}"
    )
    optimizer = gdopt.SGD(np.ones(2))
    with pytest.raises(gdopt.ArgumentTypeError, match=message):
        gdopt.fit(SimpleNamespace(**parts), optimizer, [0], epochs=1)


def test_an_optimizer_of_other_arrays_than_the_models_is_refused():
    model = Model()
    with pytest.raises(gdopt.ArgumentTypeError, match=r"must update network\.params"):
        gdopt.fit(model, gdopt.SGD({"w": np.zeros(2)}), [0], epochs=1)
    with pytest.raises(
        gdopt.ArgumentTypeError, match=r"optimizer must be a gdopt\.Opt"
    ):
        gdopt.fit(model, "adam", [0], epochs=1)


def test_what_a_model_returns_is_named():
    model = SimpleNamespace(params=np.ones(2), loss_and_grads=lambda _: 3.0)
    message = (
        r"network\.loss_and_grads must return a pair \(value, gradients\), got 3\.0"
    )
    with pytest.raises(gdopt.ArgumentTypeError, match=message):
        gdopt.fit(model, gdopt.SGD(model.params), [0], epochs=1)


def network_of(**options):
    return gdopt.nn.Network((2, 3, 2), seed=0, backend="numpy", **options)


@pytest.mark.parametrize(("count", "size"), [(9, 4), (5, 1), (3, 2), (4, 3)])
def test_batch_norm_refuses_a_last_batch_of_one_before_it_trains(count, size):
    network = network_of(batch_norm=True)
    X, y = np.ones((count, 2), np.float32), np.zeros(count, int)
    optimizer, before = gdopt.SGD(network.params), network.params.flat.copy()
    with pytest.raises(
        gdopt.ArgumentError,
        match=r"batch_norm needs 2 examples or more in every batch, .* holds one",
    ):
        gdopt.fit(network, optimizer, minibatches(X, y, batch_size=size), epochs=1)
    np.testing.assert_array_equal(network.params.flat, before)
    if size > 1:
        batches = minibatches(X, y, batch_size=size, drop_last=True)
        assert gdopt.fit(network, optimizer, batches, epochs=1).nit == count // size


def test_batches_of_columns_are_refused_with_the_line_to_write():
    network = network_of()
    X, y = np.ones((2, 6), np.float32), np.zeros((1, 6), int)
    batches = minibatches(X, y, batch_size=3, axis=1)
    message = (
        r"network takes examples as rows, got batches of columns \(axis=1\): write "
        r"minibatches\(X\.T, y\.ravel\(\), \.\.\.\) without axis"
    )
    with pytest.raises(gdopt.ArgumentError, match=message):
        gdopt.fit(network, gdopt.SGD(network.params), batches, epochs=1)


def test_dev_examples_that_do_not_fit_are_refused_before_it_trains():
    network = network_of()
    X, y = np.ones((6, 2), np.float32), np.zeros(6, int)
    optimizer, batches = gdopt.SGD(network.params), minibatches(X, y, batch_size=3)
    for dev in ((X[:, :1], y), (X, y + 5), (X[:3], y)):
        with pytest.raises(gdopt.GdoptError):
            gdopt.fit(network, optimizer, batches, epochs=1, dev=dev)
    assert optimizer.t == 0
