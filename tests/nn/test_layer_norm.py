import numpy as np
import pytest

import gdopt
from gdopt.nn import layer_norm

pytestmark = pytest.mark.usefixtures("numpy_engine")
ROWS, UNITS = 9, 5


def arrays(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def draw(dtype=np.float64, shape=(ROWS, UNITS)):
    """Examples away from 0, gamma, beta, and a gradient to go back with."""
    z = (3 * arrays(*shape) + 7).astype(dtype)
    scale = (arrays(shape[1], seed=k, dtype=dtype) for k in (1, 2))
    return z, *scale, arrays(*shape, seed=3, dtype=dtype)


def run(z, gamma, beta, d):
    """Go forward and back; return the output and all gradients."""
    d_gamma, d_beta = gamma.copy(), beta.copy()
    y, backprop = layer_norm(z, gamma, beta, d_gamma, d_beta)
    return y, backprop(d), d_gamma, d_beta


def test_each_row_gets_mean_zero_and_deviation_one_before_its_scale():
    z, gamma, beta, d = draw()
    y = run(z, gamma, beta, d)[0]
    z_hat = (y - beta) / gamma
    np.testing.assert_allclose(z_hat.mean(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(z_hat.std(axis=1), 1, rtol=1e-5)  # eps


@pytest.mark.parametrize("shape", [(ROWS, UNITS), (1, 4), (3, 1), (2, 700)])
@pytest.mark.peers("torch")
def test_it_agrees_with_torch(shape, torch):
    z, gamma, beta, d = draw(shape=shape)
    theirs = [torch.tensor(a, requires_grad=True) for a in (z, gamma, beta)]
    output = torch.nn.functional.layer_norm(theirs[0], shape[1:], *theirs[1:])
    output.backward(torch.tensor(d))
    expected = output.detach(), *(tensor.grad for tensor in theirs)
    for own, other in zip(run(z, gamma, beta, d), expected, strict=True):
        np.testing.assert_allclose(own, other.numpy(), rtol=1e-12, atol=1e-12)


def assert_same_bits(found, given):
    for own, other in zip(found, run(*given), strict=True):
        assert own.dtype == other.dtype == given[0].dtype
        assert own.tobytes() == other.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gpu_has_the_bits_of_numpy(dtype, cp):
    given = draw(dtype, (70, 33))
    assert_same_bits([array.get() for array in run(*map(cp.asarray, given))], given)


def test_numba_has_the_bits_of_numpy(monkeypatch):
    pytest.importorskip("numba", exc_type=ImportError)
    given = draw("float32", (70, 33))  # the other dtype would take seconds to compile
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numba")
    found = run(*given)
    monkeypatch.setenv("GDOPT_CPU_ENGINE", "numpy")
    assert_same_bits(found, given)


@pytest.mark.parametrize(
    ("activation", "keep_prob"), [("relu", 1.0), ("tanh", 0.5), ("sigmoid", 1.0)]
)
def test_gradients_of_a_network_are_those_of_differences(activation, keep_prob):
    network = make(activation=activation, keep_prob=keep_prob, l2=0.3)
    x, y = arrays(7, 5), np.arange(7) % 3
    state = network.state_dict()

    def loss(_):
        network.load_state_dict(state)  # drops the same units
        return network.loss_and_grads(x, y)

    check = gdopt.check_gradient(loss, network.params)
    assert check.verdict in ("great", "fine")
    assert check.suspects == ()


def make(**options):
    usual = {"layer_norm": True, "seed": 0, "dtype": np.float64, "backend": "numpy"}
    return gdopt.nn.Network((5, 8, 6, 3), **usual | options)


def test_gamma_and_beta_come_in_addition_to_the_biases():
    network, plain = make(), make(layer_norm=False)
    names = ["W1", "b1", "gamma1", "beta1", "W2", "b2", "gamma2", "beta2", "W3", "b3"]
    assert list(network.params) == names
    assert (network.params["gamma1"] == 1).all()
    assert (network.params["beta2"] == 0).all()
    for name, array in plain.params.items():
        assert (network.params[name] == array).all()


@pytest.mark.peers("torch")
def test_a_network_computes_what_torch_does(torch):
    network = make()
    for name, array in network.params.items():
        array[...] += 0.1 * arrays(*array.shape, seed=len(name))
    own = {n: torch.tensor(a, requires_grad=True) for n, a in network.params.items()}
    x, y = arrays(7, 5), np.arange(7) % 3
    hidden = torch.tensor(x)
    for k in (1, 2):
        hidden = hidden @ own[f"W{k}"] + own[f"b{k}"]
        shape = hidden.shape[1:]
        scale = own[f"gamma{k}"], own[f"beta{k}"]
        hidden = torch.relu(torch.nn.functional.layer_norm(hidden, shape, *scale))
    logits = hidden @ own["W3"] + own["b3"]
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(y))
    expected.backward()
    loss, grads = network.loss_and_grads(x, y)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    for name, gradient in grads.items():
        other = own[name].grad.numpy()
        np.testing.assert_allclose(gradient, other, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(network.predict(x), logits.argmax(dim=1).numpy())


def test_an_example_is_normalized_by_itself_in_training_and_in_use():
    network, x, y = make(), arrays(9, 5), np.zeros(9, int)
    alone = [float(network.loss_and_grads(x[k : k + 1], y[:1])[0]) for k in range(9)]
    whole = float(network.loss_and_grads(x, y)[0])
    assert np.mean(alone) == pytest.approx(whole, rel=1e-12)
    assert network.loss(x, y) == pytest.approx(whole, rel=1e-12)


def test_it_does_not_go_with_batch_norm():
    words = "layer_norm must be False where batch_norm is True"
    with pytest.raises(gdopt.ArgumentError, match=words):
        make(batch_norm=True)


@pytest.mark.parametrize(
    ("place", "wrong", "error"),
    [
        (0, np.ones(5), gdopt.ArgumentError),
        (0, np.ones((0, 5)), gdopt.ArgumentError),
        (0, np.ones((2, 0)), gdopt.ArgumentError),
        (0, np.ones((2, 5), np.float32), gdopt.ArgumentTypeError),
        *((k, np.ones(4), gdopt.ArgumentError) for k in (1, 2, 3, 4)),
        *((k, np.ones(5, np.float32), gdopt.ArgumentTypeError) for k in (2, 3, 4)),
    ],
)
def test_what_does_not_fit_is_refused(place, wrong, error):
    given = [np.ones((2, 5)), *(np.ones(5) for _ in range(4))]
    given[place] = wrong
    with pytest.raises(error, match="must"):
        layer_norm(*given)


def test_a_gradient_that_does_not_fit_is_refused():
    z, gamma, beta, d = draw()
    d_gamma, d_beta = gamma.copy(), beta.copy()
    backprop = layer_norm(z, gamma, beta, d_gamma, d_beta)[1]
    with pytest.raises(gdopt.ArgumentError, match="d_output must have shape"):
        backprop(d[:-1])
    assert (d_gamma == gamma).all()
