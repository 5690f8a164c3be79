import numpy as np
import pytest

import gdopt
from gdopt.nn.normalization import EPS, batch_norm


def arrays(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_each_column_gets_the_mean_and_deviation_that_are_learned():
    z, gamma, beta = (
        arrays(50, 3) * 7 + 4,
        np.array([1.0, 2, 3]),
        np.array([0.0, 5, -1]),
    )
    y, _, (mean, variance) = batch_norm(z, gamma, beta, gamma.copy(), beta.copy())
    assert y.mean(axis=0) == pytest.approx(beta, abs=1e-12)
    assert y.std(axis=0) == pytest.approx(gamma, rel=1e-5)
    assert mean == pytest.approx(z.mean(axis=0))
    assert variance == pytest.approx(z.var(axis=0))  # divided by m, not m - 1


def test_the_gradients_are_those_of_differences(numeric_gradient, relative_error):
    z, gamma, beta = arrays(6, 4), arrays(4, seed=1), arrays(4, seed=2)
    weights, d_gamma, d_beta = arrays(6, 4, seed=3), np.empty(4), np.empty(4)

    def loss():
        y, _, _ = batch_norm(z, gamma, beta, np.empty(4), np.empty(4))
        return float((weights * y**2).sum())

    y, backprop, _ = batch_norm(z, gamma, beta, d_gamma, d_beta)
    d_z = backprop(2 * weights * y)
    for array, own in ((z, d_z), (gamma, d_gamma), (beta, d_beta)):
        assert relative_error(own, numeric_gradient(loss, array)) < 1e-8


@pytest.mark.peers("torch")
def test_it_agrees_with_torch():
    import torch

    z, gamma, beta, d = arrays(8, 5), arrays(5, seed=1), arrays(5, seed=2), arrays(8, 5)
    theirs = torch.nn.BatchNorm1d(5, eps=EPS, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(gamma))
        theirs.bias.copy_(torch.from_numpy(beta))
    x = torch.from_numpy(z).requires_grad_()
    output = theirs(x)
    output.backward(torch.from_numpy(d))
    d_gamma, d_beta = np.empty(5), np.empty(5)
    y, backprop, _ = batch_norm(z, gamma, beta, d_gamma, d_beta)
    d_z = backprop(d)
    for own, other in (
        (y, output),
        (d_z, x.grad),
        (d_gamma, theirs.weight.grad),
        (d_beta, theirs.bias.grad),
    ):
        np.testing.assert_allclose(own, other.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_one_example_is_refused():
    one = np.ones(3)
    with pytest.raises(gdopt.ArgumentError, match=r"2 examples .* drop_last=True"):
        batch_norm(np.ones((1, 3)), one, one, one, one)


def make(**options):
    usual = {"batch_norm": True, "seed": 0, "dtype": np.float64, "backend": "numpy"}
    return gdopt.nn.Network((5, 8, 6, 3), **usual | options)


def test_the_redundant_bias_gives_way_to_gamma_and_beta():
    network = make()
    names = ["W1", "gamma1", "beta1", "W2", "gamma2", "beta2", "W3", "b3"]
    assert list(network.params) == names
    assert (network.params["gamma1"] == 1).all()
    assert (network.params["beta2"] == 0).all()
    plain = gdopt.nn.Network((5, 8, 6, 3), seed=0, dtype=np.float64, backend="numpy")
    for name in ("W1", "W2", "W3"):
        assert (network.params[name] == plain.params[name]).all()


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_the_networks_gradients_are_those_of_differences(
    activation, numeric_gradient, relative_error
):
    network = make(activation=activation, l2=0.3, l1=0.2)
    x, y = arrays(7, 5), np.arange(7) % 3
    _, grads = network.loss_and_grads(x, y)
    own = {name: grads[name].copy() for name in grads}

    def loss():
        return float(network.loss_and_grads(x, y)[0])

    for name, array in network.params.items():
        assert relative_error(own[name], numeric_gradient(loss, array)) < 1e-6


def test_what_is_used_are_the_averages_of_the_batches():
    network, plain = make(statistics_beta=0.5), make()
    batches = [arrays(9, 5, seed=k) + k for k in range(3)]
    mean, variance = gdopt.EWA(0.5), gdopt.EWA(0.5)
    for x in batches:
        z = x @ network.params["W1"]
        mean.update(z.mean(axis=0))
        variance.update(z.var(axis=0))
        network.loss_and_grads(x, np.zeros(9, int))
    statistics = network._layers.statistics
    for own, other in zip(statistics.of(0), (mean, variance), strict=True):
        np.testing.assert_allclose(own, other.value)
    assert not np.allclose(
        network.predict_proba(batches[0]), plain.predict_proba(batches[0])
    )


def means_and_variances(network, batches):
    """Train on some batches; return those of the first layer that are then used."""
    for x in batches:
        network.loss_and_grads(x, np.zeros(len(x), int))
    return network._layers.statistics.of(0)


BATCHES = [arrays(9, 5, seed=k) + k for k in range(3)]


@pytest.mark.peers("torch")
def test_without_correction_the_averages_are_those_of_torch(torch):
    network = make(statistics_beta=0.9, statistics_bias_correction=False)
    theirs = torch.nn.BatchNorm1d(8, momentum=0.1, dtype=torch.float64)
    for x in BATCHES:
        theirs(torch.from_numpy(x @ network.params["W1"]))
    mean, variance = means_and_variances(network, BATCHES)
    np.testing.assert_allclose(mean, theirs.running_mean.numpy(), rtol=1e-12)
    left = 0.9**3  # of the 1 that variances start from; torch's are divided by m - 1
    expected = left + 9 / 8 * (variance - left)
    np.testing.assert_allclose(theirs.running_var.numpy(), expected, rtol=1e-12)


@pytest.mark.peers("keras")
def test_without_correction_the_averages_are_those_of_keras(keras):
    network = make(statistics_beta=0.99, statistics_bias_correction=False)
    theirs = keras.layers.BatchNormalization(momentum=0.99)
    for x in BATCHES:
        theirs(x @ network.params["W1"], training=True)
    mean, variance = means_and_variances(network, BATCHES)
    # Keras takes the moments in float32, of float64 as well.
    np.testing.assert_allclose(mean, theirs.moving_mean, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(variance, theirs.moving_variance, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{"statistics_beta": 0.5}, {"statistics_bias_correction": False}]
)
def test_averages_of_another_kind_are_not_continued(options):
    saved, network = make().state_dict(), make(**options)
    with pytest.raises(gdopt.StateError, match="of statistics must be"):
        network.load_state_dict(saved)
    network.load_state_dict(make(**options).state_dict())


@pytest.mark.parametrize("corrected", [True, False])
def test_before_any_batch_nothing_is_shifted(corrected):
    network = make(statistics_bias_correction=corrected)
    assert [array.tolist() for array in network._layers.statistics.of(1)] == [
        [0.0] * 6,
        [1.0] * 6,
    ]


def test_predictions_do_not_depend_on_the_other_examples():
    network = make()
    x = arrays(10, 5)
    network.loss_and_grads(x, np.zeros(10, int))
    np.testing.assert_allclose(
        network.predict_proba(x[:3]), network.predict_proba(x)[:3], rtol=1e-12
    )
    state = network.state_dict()
    network.predict(x)
    network.loss(x, np.zeros(10, int))
    assert repr(network.state_dict()) == repr(state)


def test_the_statistics_of_the_whole_training_set_may_be_used_instead():
    network = make()
    x, y = arrays(40, 5), np.arange(40) % 3
    network.loss_and_grads(x[:7] + 3, y[:7])
    network.use_statistics_of(x)
    # What a pass in training over the same examples computes.
    whole = gdopt.nn.softmax(
        gdopt.nn.forward.run(network._layers, x, training=True).output
    )
    np.testing.assert_allclose(network.predict_proba(x), whole, rtol=1e-10)
    fixed = network.predict_proba(x)
    network.loss_and_grads(x[:7], y[:7])
    assert not np.allclose(network.predict_proba(x), fixed)
    with pytest.raises(
        gdopt.ArgumentError, match="needs a network with batch_norm=True"
    ):
        make(batch_norm=False).use_statistics_of(x)


def test_hidden_distributions_stay_where_the_input_shifts():
    x, moved = arrays(200, 5), {}
    for normed in (False, True):
        network = make(batch_norm=normed, activation="tanh")
        outputs = [
            gdopt.nn.forward.run(network._layers, x + shift, training=True).output
            for shift in (0, 5)
        ]
        moved[normed] = float(np.abs(outputs[0] - outputs[1]).mean())
    assert moved[True] < 1e-6
    assert moved[False] > 0.1


def test_a_batch_of_one_changes_nothing():
    network = make()
    x, y = arrays(9, 5), np.zeros(9, int)
    network.loss_and_grads(x, y)
    before = repr(network.state_dict())
    with pytest.raises(gdopt.ArgumentError, match="at least 2 examples"):
        network.loss_and_grads(x[:1], y[:1])
    with pytest.raises(gdopt.ArgumentError, match="labels must be"):
        network.loss_and_grads(x, y + 9)
    assert repr(network.state_dict()) == before
