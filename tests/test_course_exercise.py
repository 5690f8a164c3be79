"""The course's exercise of week 2, "Optimization methods", as students write it."""

# ruff: noqa: N803, N806 - the exercise's names

import time

import numpy as np
import pytest

import gdopt
from gdopt.training import EarlyStopping

LAYERS = [2, 5, 2, 1]
RATE, EPOCHS, BATCH_SIZE = 0.0007, 400, 64
# Each method by the exercise's own update, and by the optimizer with its formula.
METHODS = {
    "descent": gdopt.SGD,
    "momentum": lambda p, lr: gdopt.Momentum(p, lr, beta=0.9),
    "adam": lambda p, lr: gdopt.Adam(p, lr, beta1=0.9, beta2=0.999, eps=1e-8),
    "adam as in the notes": lambda p, lr: gdopt.Adam(p, lr, eps_mode="inside"),
}
# Both add up the same terms in another order, which differs by 1e-16 a step.
CLOSE = {"rtol": 0, "atol": 1e-9}


def moons():
    """Return two half moons with noise: X of shape (2, 300) and Y of (1, 300)."""
    rng = np.random.default_rng(3)
    t = np.pi * rng.random(300)
    Y = (np.arange(300) % 2)[np.newaxis]
    X = np.where(Y, [1 - np.cos(t), 0.5 - np.sin(t)], [np.cos(t), np.sin(t)])
    return X + 0.2 * rng.standard_normal(X.shape), Y


def initialize_parameters():
    rng, parameters = np.random.default_rng(3), {}
    for l in range(1, len(LAYERS)):  # noqa: E741 - the exercise's name
        scale = np.sqrt(2 / LAYERS[l - 1])
        parameters[f"W{l}"] = rng.standard_normal((LAYERS[l], LAYERS[l - 1])) * scale
        parameters[f"b{l}"] = np.zeros((LAYERS[l], 1))
    return parameters


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def forward_propagation(X, parameters):
    W1, b1, W2, b2, W3, b3 = parameters.values()
    Z1 = np.dot(W1, X) + b1
    A1 = np.maximum(0, Z1)
    Z2 = np.dot(W2, A1) + b2
    A2 = np.maximum(0, Z2)
    Z3 = np.dot(W3, A2) + b3
    return sigmoid(Z3), (Z1, A1, W1, b1, Z2, A2, W2, b2, Z3, W3, b3)


def backward_propagation(X, Y, A3, cache):
    m = X.shape[1]
    _Z1, A1, _W1, _b1, _Z2, A2, W2, _b2, _Z3, W3, _b3 = cache
    dZ3 = 1 / m * (A3 - Y)
    dW3 = np.dot(dZ3, A2.T)
    db3 = np.sum(dZ3, axis=1, keepdims=True)
    dA2 = np.dot(W3.T, dZ3)
    dZ2 = np.multiply(dA2, A2 > 0)
    dW2 = np.dot(dZ2, A1.T)
    db2 = np.sum(dZ2, axis=1, keepdims=True)
    dA1 = np.dot(W2.T, dZ2)
    dZ1 = np.multiply(dA1, A1 > 0)
    dW1 = np.dot(dZ1, X.T)
    db1 = np.sum(dZ1, axis=1, keepdims=True)
    last = {"dZ3": dZ3, "dW3": dW3, "db3": db3, "dA2": dA2}
    middle = {"dZ2": dZ2, "dW2": dW2, "db2": db2, "dA1": dA1}
    return last | middle | {"dZ1": dZ1, "dW1": dW1, "db1": db1}


def compute_cost(A3, Y):
    cost = -np.log(A3) * Y - np.log(1 - A3) * (1 - Y)
    return np.sum(cost) / Y.shape[1]


def accuracy(X, Y, parameters):
    return np.mean((forward_propagation(X, parameters)[0] > 0.5) == Y)


def cost_and_grads(parameters, X, Y):
    """Put the exercise's functions together, as `gdopt.minimize` takes them."""
    A3, cache = forward_propagation(X, parameters)
    return compute_cost(A3, Y), backward_propagation(X, Y, A3, cache)


class Model:
    """The same as an object, as `gdopt.fit` takes it."""

    def __init__(self):
        self.params = initialize_parameters()

    def loss_and_grads(self, X, Y):
        return cost_and_grads(self.params, X, Y)

    def accuracy(self, X, Y):
        return accuracy(X, Y, self.params)


def update_by_hand(parameters, grads, v, s, *, method, t):
    for name in parameters:
        grad = grads["d" + name]
        if method == "descent":
            parameters[name] = parameters[name] - RATE * grad
            continue
        v[name] = 0.9 * v.get(name, 0.0) + 0.1 * grad
        if method == "momentum":
            parameters[name] = parameters[name] - RATE * v[name]
            continue
        s[name] = 0.999 * s.get(name, 0.0) + 0.001 * grad**2
        v_corrected = v[name] / (1 - 0.9**t)
        s_corrected = s[name] / (1 - 0.999**t)
        root = np.sqrt(s_corrected) + 1e-8
        if method == "adam as in the notes":  # whose eps is inside the root
            root = np.sqrt(s_corrected + 1e-8)
        parameters[name] = parameters[name] - RATE * v_corrected / root


@pytest.fixture(scope="module")
def exercise():
    return moons()


@pytest.fixture
def batches(exercise):
    return gdopt.minibatches(*exercise, batch_size=BATCH_SIZE, seed=10, axis=1)


@pytest.fixture(scope="module", params=METHODS)
def by_hand(request, exercise):
    """Return the method, and the parameters of the exercise's plain loop."""
    parameters, v, s, t = initialize_parameters(), {}, {}, 0
    batches = gdopt.minibatches(*exercise, batch_size=BATCH_SIZE, seed=10, axis=1)
    for _ in range(EPOCHS):
        for X, Y in batches:
            t += 1
            _, grads = cost_and_grads(parameters, X, Y)
            update_by_hand(parameters, grads, v, s, method=request.param, t=t)
    return request.param, parameters


def check_same(exercise, parameters, by_hand):
    for name, array in by_hand.items():
        np.testing.assert_allclose(parameters[name], array, **CLOSE)
    assert accuracy(*exercise, parameters) == accuracy(*exercise, by_hand)


def test_an_optimizers_steps_are_the_updates_of_the_exercise(
    exercise, batches, by_hand
):
    method, expected = by_hand
    parameters = initialize_parameters()
    optimizer = METHODS[method](parameters, RATE)
    for _ in range(EPOCHS):
        for X, Y in batches:
            _, grads = cost_and_grads(parameters, X, Y)
            optimizer.step(grads)
    check_same(exercise, parameters, expected)


def test_minimize_does_the_exercise_in_one_call(exercise, batches, by_hand):
    method, expected = by_hand
    parameters = initialize_parameters()
    result = gdopt.minimize(
        cost_and_grads,
        parameters,
        data=batches,
        method=METHODS[method],
        lr=RATE,
        epochs=EPOCHS,
        record_every="epoch",
    )
    check_same(exercise, parameters, expected)
    assert result.x is parameters
    assert result.nit == result.nfev == 5 * EPOCHS


def test_fit_does_the_exercise_for_an_object(exercise, batches, by_hand):
    method, expected = by_hand
    model = Model()
    optimizer = METHODS[method](model.params, RATE)
    options = {"epochs": EPOCHS, "record_every": "epoch", "dev": exercise}
    result = gdopt.fit(model, optimizer, batches, **options)
    check_same(exercise, model.params, expected)
    assert result.history["dev_accuracy"][-1] == accuracy(*exercise, expected)


def test_adam_is_ahead_of_descent_and_momentum(by_hand, exercise):
    method, parameters = by_hand
    expected = {"descent": 0.817, "momentum": 0.817}.get(method, 0.897)
    # A point or two may lie on the boundary, where the order of a sum decides.
    assert expected == pytest.approx(accuracy(*exercise, parameters), abs=0.008)


def test_the_batches_may_be_a_list_as_the_exercise_makes_them(exercise):
    X, Y = exercise
    order = np.random.default_rng(0).permutation(300)
    shuffled_X, shuffled_Y = X[:, order], Y[:, order].reshape((1, 300))
    mini_batches = [
        (shuffled_X[:, k : k + BATCH_SIZE], shuffled_Y[:, k : k + BATCH_SIZE])
        for k in range(0, 300, BATCH_SIZE)
    ]
    parameters, by_hand = initialize_parameters(), initialize_parameters()
    options = {"data": mini_batches, "method": "sgd", "lr": 0.1, "epochs": 2}
    result = gdopt.minimize(cost_and_grads, parameters, **options)
    for x, y in mini_batches * 2:
        _, grads = cost_and_grads(by_hand, x, y)
        for name in by_hand:
            by_hand[name] -= 0.1 * grads["d" + name]
    assert result.nit == 10
    check_same(exercise, parameters, by_hand)


def test_a_name_of_a_gradient_that_is_missing_is_refused_before_the_first_update():
    def without_b3(parameters, X, Y):
        cost, grads = cost_and_grads(parameters, X, Y)
        return cost, {n: g for n, g in grads.items() if n != "db3"}

    parameters, before = initialize_parameters(), initialize_parameters()
    batches = gdopt.minibatches(*moons(), batch_size=64, axis=1)
    with pytest.raises(gdopt.ArgumentError, match="db3"):
        gdopt.minimize(without_b3, parameters, data=batches, epochs=1)
    for name in before:
        np.testing.assert_array_equal(parameters[name], before[name])


# Rows and columns.


def test_examples_per_second_counts_columns_where_they_are_examples(
    monkeypatch, batches
):
    seconds = iter(range(10_000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(seconds))
    options = {"data": batches, "epochs": 1, "record_every": "epoch"}
    history = gdopt.minimize(cost_and_grads, initialize_parameters(), **options).history
    speed = history["examples_per_second"]
    assert speed == 300 / np.round(300 / speed)  # in a whole number of seconds


def test_dev_examples_of_one_feature_in_columns_can_be_watched():
    class Slope:
        def __init__(self):
            self.params = {"w": np.zeros((1, 1))}

        def loss_and_grads(self, X, Y):
            error = self.params["w"] @ X - Y
            return np.mean(error**2), {"dw": 2 * error @ X.T / X.shape[1]}

        def accuracy(self, X, Y):
            return np.mean(np.abs(self.params["w"] @ X - Y) < 0.1)

    X, model = np.linspace(-1, 1, 50)[np.newaxis], Slope()
    batches = gdopt.minibatches(X, 2 * X, batch_size=10, axis=1)
    optimizer, stopping = gdopt.SGD(model.params, 0.3), EarlyStopping(patience=3)
    options = {"epochs": 40, "dev": (X, 2 * X), "callback": stopping}
    gdopt.fit(model, optimizer, batches, **options)
    assert stopping.best == 1


@pytest.mark.parametrize("arrays", [lambda X, Y: (X, Y), lambda X, Y: (X, Y[0])])
def test_columns_without_axis_are_refused_with_what_to_write(exercise, arrays):
    message = "examples along axis 0: .*: write axis=1 where columns are examples"
    with pytest.raises(gdopt.ArgumentError, match=message):
        gdopt.minibatches(*arrays(*exercise), batch_size=64)
    with pytest.raises(gdopt.ArgumentError, match=message):
        gdopt.split(*arrays(*exercise))


def test_rows_with_axis_1_are_refused_with_what_to_write(exercise):
    X, Y = exercise
    with pytest.raises(gdopt.ArgumentError, match="write axis=0 where rows are"):
        gdopt.minibatches(X.T, Y[0], batch_size=64, axis=1)


def test_a_batch_size_that_only_the_other_axis_holds_names_that_axis(exercise):
    X, Y = exercise
    with pytest.raises(gdopt.ArgumentError, match="examples, 2, got 64: write axis=1"):
        gdopt.minibatches(X, batch_size=64)
    for arrays in ((X,), (X, Y)):  # no axis holds as many
        with pytest.raises(gdopt.ArgumentError, match=r"examples, 300, got 301$"):
            gdopt.minibatches(*arrays, batch_size=301, axis=1)


def network_of(sizes, **options):
    return gdopt.nn.Network(sizes, seed=0, backend="numpy", dtype=np.float64, **options)


@pytest.mark.parametrize("labels", [lambda Y: Y, lambda Y: Y[0]])
@pytest.mark.parametrize("batch_size", [2, 64])
def test_a_network_refuses_columns_whatever_the_batch_size(
    exercise, labels, batch_size
):
    X, Y = exercise
    network = network_of((2, 5, 2))
    optimizer = gdopt.Adam(network.params)
    before = network.params.flat.copy()
    batches = gdopt.minibatches(X, labels(Y), batch_size=batch_size, axis=1)
    message = r"write minibatches\(X.T, y.ravel\(\), ...\) without axis"
    with pytest.raises(gdopt.ArgumentError, match=message):
        gdopt.fit(network, optimizer, batches, epochs=1)
    np.testing.assert_array_equal(network.params.flat, before)


def test_columns_given_to_a_network_by_hand_are_refused_with_what_to_write(exercise):
    X, Y = exercise
    network = network_of((2, 5, 2))
    with pytest.raises(gdopt.ArgumentError, match=r"got \(2, 300\): write x.T"):
        network.loss_and_grads(X, Y)
    with pytest.raises(gdopt.ArgumentError, match=r"got \(1, 2\): write y.ravel\(\)"):
        network.loss_and_grads(X[:, :2], Y[:, :2])  # as many examples as features
    regression = network_of((2, 5, 1), output="linear")
    with pytest.raises(gdopt.ArgumentError, match=r"got \(1, 300\): write y.T"):
        regression.loss_and_grads(X.T, Y.astype(np.float64))


def test_dev_examples_in_columns_are_refused_before_the_first_update(exercise):
    X, Y = exercise
    network = network_of((2, 5, 2))
    optimizer = gdopt.Adam(network.params)
    batches = gdopt.minibatches(X.T, Y[0], batch_size=64)
    for dev, message in (((X, Y), "write x.T"), ((X.T,), "dev must be of 2 arrays")):
        with pytest.raises(gdopt.ArgumentError, match=message):
            gdopt.fit(network, optimizer, batches, epochs=1, dev=dev)
    assert optimizer.t == 0
