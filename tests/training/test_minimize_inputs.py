"""What can be minimized, by which methods, with which data."""

import math

import numpy as np
import pytest
from bowls import NAN, bowl, collect, halve, start

import gdopt


def test_nested_containers_and_scalars_are_minimized():
    params = {
        "layers": [{"W": np.ones((2, 3)), "b": np.array(2.0)}],
        "scale": np.array([3.0]),
    }
    arrays = params["layers"][0]["W"], params["layers"][0]["b"], params["scale"]

    def fg(p):
        (layer,), scale = p["layers"], p["scale"]
        value = sum(float((a**2).sum()) for a in (layer["W"], layer["b"], scale)) / 2
        grads = {"layers": [{k: a.copy() for k, a in layer.items()}]}
        return value, grads | {"scale": scale.copy()}

    result = gdopt.minimize(fg, params, method="sgd", lr=0.5, max_iter=1)
    assert result.x is params
    assert params["layers"][0]["W"] is arrays[0]
    assert (arrays[0] == 0.5).all()
    assert (float(arrays[1]), arrays[2].tolist()) == (1.0, [1.5])
    assert result.grad_norm == 1.5


def test_a_list_and_an_arena_are_minimized():
    pair = [np.array([2.0]), np.array([4.0])]

    def fg(p):
        arrays = list(p.values() if isinstance(p, gdopt.Arena) else p)
        return sum(float(a @ a) for a in arrays) / 2, [a.copy() for a in arrays]

    for params in (pair, gdopt.Arena.of({"u": np.array([2.0]), "v": np.array([4.0])})):
        result = gdopt.minimize(fg, params, method="sgd", lr=0.5, max_iter=2)
        assert result.x is params
        assert result.fun == 0.625


def test_the_same_arrays_may_be_returned_each_time():
    gradient = np.empty(2)

    def fg(x):
        gradient[...] = x - [1, -2]
        return gradient @ gradient / 2, gradient

    result = gdopt.minimize(fg, start(), method="sgd", lr=0.5, max_iter=3)
    assert result.x.tolist() == [2.0, -1.0]


def test_float32_stays_float32():
    x = start(np.float32)
    result = halve(x=x, gtol=1e-2)
    assert (result.x.dtype, result.success) == (np.float32, True)
    assert isinstance(result.fun, float)


def test_complex_parameters_go_to_their_minimum():
    c = np.array([1 + 2j, -3j])

    def fg(z):
        d = z - c
        return float((d.conj() @ d).real), 2 * d

    z = np.zeros(2, complex)
    result, records = collect(fg, z, method="sgd", lr=0.25)
    assert result.success
    assert records[0].grad_norm == 6.0  # a magnitude, of -2 c
    np.testing.assert_allclose(z, c, atol=1e-5)


def test_the_courses_names_of_gradients_are_taken():
    params = {"W1": np.ones(2), "b1": np.array(3.0)}

    def fg(p):
        grads = {"dW1": p["W1"].copy(), "db1": p["b1"].copy(), "dZ1": None}
        return float(p["W1"] @ p["W1"] + p["b1"] ** 2) / 2, grads

    result = gdopt.minimize(fg, params, method="sgd", lr=0.5, max_iter=1)
    assert params["W1"].tolist() == [0.5, 0.5]
    assert result.grad_norm == 1.5


@pytest.mark.peers("torch")
def test_torch_parameters_carry_their_gradients(torch):
    model = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.fill_(1.0)
        model.bias.fill_(0.5)
    X, y = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[3.0], [5.0]])

    def fg(_params, x=X, target=y):
        model.zero_grad()
        loss = ((model(x) - target) ** 2).mean()
        loss.backward()
        return loss, None

    params = list(model.parameters())
    fg(params)
    expected = [(p - 0.01 * p.grad).detach() for p in params]
    result = gdopt.minimize(fg, params, method="sgd", lr=0.01, max_iter=1)
    assert result.x is params
    for p, e in zip(params, expected, strict=True):
        torch.testing.assert_close(p.detach(), e)


@pytest.mark.peers("torch")
def test_batches_of_a_dataloader_are_taken_and_named_where_they_hold_nan(torch):
    X = torch.arange(12.0, dtype=torch.float64).reshape(6, 2)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(X, X.sum(1)), batch_size=4
    )
    shapes = []

    def fg(w, x, y):
        shapes.append((tuple(x.shape), tuple(y.shape)))
        r = x.numpy() @ w - y.numpy()
        return r @ r, 2 * x.numpy().T @ r

    result = gdopt.minimize(fg, np.zeros(2), data=loader, epochs=2)
    assert shapes == [((4, 2), (4,)), ((2, 2), (2,))] * 2
    assert (result.history["examples_per_second"] > 0).all()
    X[5, 1] = NAN
    with pytest.raises(gdopt.DivergenceError, match="array 0 of the data holds nan"):
        gdopt.minimize(fg, np.zeros(2), data=loader, epochs=1)


def test_a_list_of_tuples_is_data():
    batches = [(np.array([1.0, 0.0]), 1.0), (np.array([0.0, 1.0]), -2.0)]

    def fg(w, x, y):
        r = x @ w - y
        return r * r / 2, r * x

    w = np.zeros(2)
    result = gdopt.minimize(fg, w, data=batches, method="sgd", lr=1.0, epochs=1)
    assert (w.tolist(), result.nit) == ([1.0, -2.0], 2)


@gdopt.rule()
def signed(p, g, *, lr):
    return p - lr * np.sign(g)


@pytest.mark.parametrize(
    "method",
    [
        "sgd",
        gdopt.SGD,
        lambda p, lr: gdopt.SGD(p, lr=lr, maximize=False),
        gdopt.optim.OPTIMIZERS["sgd"],
    ],
)
def test_a_method_is_a_name_a_class_or_what_makes_an_optimizer(method):
    assert halve(method=method, max_iter=3).x.tolist() == [2.0, -1.0]


def test_a_method_is_an_optimizer_and_continues_its_count():
    x = start()
    optimizer = gdopt.SGD(x, lr=0.5)
    for _ in range(2):
        result = gdopt.minimize(bowl, x, method=optimizer, max_iter=2)
    assert (optimizer.t, result.nit, x.tolist()) == (4, 2, [1.5, -1.5])


def test_a_method_is_a_rule():
    result = halve(method=signed, lr=2.0, max_iter=2)
    assert result.x.tolist() == [5.0, 2.0]


def test_a_rate_may_be_a_schedule():
    schedule = gdopt.schedules.piecewise([1], [0.5, 0.25])
    result, records = collect(bowl, start(), method="sgd", lr=schedule, max_iter=3)
    assert [record.lr for record in records] == [0.5, 0.5, 0.25, 0.25]
    assert result.x[0] == 1 + 8 * 0.5 * 0.75 * 0.75


def test_a_run_on_a_gpu_ends_where_one_on_the_cpu_does(cp):
    c = cp.asarray([1.0, -2.0])

    def fg(x):
        g = x - c
        return g @ g / 2, g

    there, here = cp.asarray(start()), start()
    how = {"method": "adam", "lr": 0.1, "max_iter": 50}
    result, expected = (
        gdopt.minimize(fg, there, **how),
        gdopt.minimize(bowl, here, **how),
    )
    assert result.x is there
    np.testing.assert_allclose(there.get(), here, rtol=1e-12)
    assert isinstance(result.fun, float)
    assert result.grad_norm == pytest.approx(expected.grad_norm)
    assert math.isfinite(result.history["loss"].sum())
