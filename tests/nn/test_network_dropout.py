import numpy as np
import pytest

import gdopt
from gdopt.training import fit


def make(**options):
    usual = {"keep_prob": 0.5, "seed": 0, "backend": "numpy"}
    return gdopt.nn.Network((6, 40, 30, 2), **usual | options)


def data(count=60):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((count, 6)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(int)


def test_units_are_dropped_while_training_alone():
    network, (x, y) = make(), data()
    losses = {float(network.loss_and_grads(x, y)[0]) for _ in range(5)}
    assert len(losses) == 5
    assert network.loss(x, y) == network.loss(x, y)
    assert (network.predict_proba(x) == network.predict_proba(x)).all()


def test_the_same_seed_drops_the_same_units():
    x, y = data()
    one, two, other = make(seed=1), make(seed=1), make(seed=2)
    other.params.flat[...] = one.params.flat
    for _ in range(3):
        losses = [float(net.loss_and_grads(x, y)[0]) for net in (one, two, other)]
        assert losses[0] == losses[1] != losses[2]


def test_the_share_that_is_kept_is_that_of_each_layer():
    network, (x, y) = make(keep_prob=[1.0, 0.25]), data(500)
    network.loss_and_grads(x, y)
    # A dropped unit has no gradient from this example: columns of W3's input.
    zeros = []

    def watched(inputs, *rest, **options):
        zeros.append(float((inputs == 0).mean()))
        return gdopt.nn.dense(inputs, *rest, **options)

    make(keep_prob=[1.0, 0.25], activation="tanh").propagate(x, y, layer=watched)
    assert zeros[1] == 0  # all of the first hidden layer is kept
    assert zeros[2] == pytest.approx(0.75, abs=0.02)


def test_the_expected_activation_is_unchanged():
    x, y = data(2000)
    sums = {}
    for keep in (1.0, 0.5):

        def watched(inputs, *rest, keep=keep, **options):
            sums.setdefault(keep, []).append(float(np.abs(inputs).mean()))
            return gdopt.nn.dense(inputs, *rest, **options)

        make(keep_prob=keep).propagate(x, y, layer=watched)
    assert sums[0.5][1] == pytest.approx(sums[1.0][1], rel=0.02)


@pytest.mark.slow
def test_the_gradients_are_those_of_the_units_that_were_kept(
    numeric_gradient, relative_error
):
    network, (x, y) = make(dtype=np.float64), data(8)
    x = x.astype(np.float64)
    state = network.state_dict()

    def loss():
        network.load_state_dict(state)  # the same units again
        return float(network.loss_and_grads(x, y)[0])

    loss()
    own = {name: network.grads[name].copy() for name in network.grads}
    for name, array in network.params.items():
        assert relative_error(own[name], numeric_gradient(loss, array)) < 1e-6


def parts(**options):
    network = make(**options)
    optimizer = gdopt.Adam(network.params, lr=0.01)
    return network, optimizer, gdopt.minibatches(*data(), batch_size=25, seed=0)


@pytest.mark.parametrize("options", [{}, {"batch_norm": True}])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(options, tmp_path):
    whole, first, rest = parts(**options), parts(**options), parts(**options)
    fit(*whole, epochs=4, dev=data())
    how = {"epochs": 4, "dev": data(), "checkpoint": tmp_path}

    def crash(record):
        if record.step == 8:  # of 12: in the middle of an epoch
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(*first, callback=crash, checkpoint_seconds=1e-9, **how)
    fit(*rest, callback=lambda _: None, **how)
    assert rest[0].params.flat.tobytes() == whole[0].params.flat.tobytes()
    x, _ = data()
    assert (rest[0].predict_proba(x) == whole[0].predict_proba(x)).all()


def test_a_run_of_another_network_is_refused_and_changes_nothing(tmp_path):
    fit(*parts(), epochs=1, checkpoint=tmp_path)
    for options in ({"batch_norm": True}, {"keep_prob": 0.75}, {"keep_prob": 1.0}):
        other = parts(**options)
        before = repr(other[0].state_dict()), other[0].params.flat.tobytes()
        with pytest.raises(gdopt.StateError):
            fit(*other, epochs=1, checkpoint=tmp_path)
        after = repr(other[0].state_dict()), other[0].params.flat.tobytes()
        assert after == before
        assert (other[1].t, other[2].state_dict()["position"]) == (0, 0)


def test_a_state_of_another_network_is_refused():
    one, normed = parts()[0], parts(batch_norm=True)[0]
    with pytest.raises(gdopt.StateError, match="batches_seen must be a whole number"):
        one.load_state_dict(one.state_dict() | {"batches_seen": "many"})
    with pytest.raises(gdopt.StateError, match="without batch normalization"):
        one.load_state_dict(normed.state_dict() | {"statistics": {"1": {}}})


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (0, r"keep_prob must be in \(0, 1\]"),
        (1.5, r"keep_prob must be in \(0, 1\]"),
        ([0.5], "keep_prob must name 2 hidden layers, got 1 numbers"),
        ([0.5, 0], r"keep_prob\[1\] must be in \(0, 1\]"),
        ("half", "keep_prob must be a number"),
    ],
)
def test_what_is_no_probability_is_refused(keep, message):
    with pytest.raises(gdopt.GdoptError, match=message):
        make(keep_prob=keep)


def test_examples_have_no_gradients_of_their_own():
    network, (x, y) = make(), data()
    with pytest.raises(gdopt.ArgumentError, match="neither dropout nor batch norm"):
        gdopt.nn.example_gradients(network, x, y)


@pytest.mark.slow
def test_a_batch_size_is_planned_all_the_same(numpy_engine):
    network, (x, y) = make(batch_norm=True), data(3000)
    step = gdopt.planner.NetworkStep(network, gdopt.Adam(network.params), dev=(x, y))
    network.loss_and_grads(x, y)
    before = repr(network.state_dict()), network.params.flat.tobytes()
    plan = gdopt.plan_batch_size(step, (x, y), step, repeats=2, sizes=(64, 128))
    assert plan.noise_scale is None
    for row in plan.rows:
        assert row.predicted_bytes == pytest.approx(row.measured_bytes, rel=0.1)
    assert (repr(network.state_dict()), network.params.flat.tobytes()) == before
