"""Arrays on a device that is not the current one: work is done on theirs."""

import numpy as np
import pytest

import gdopt
from gdopt.training import EarlyStopping

pytestmark = pytest.mark.gpu


@pytest.fixture
def put(cp):
    """Return what copies an array to a second device, while the first is current.

    CuPy warns of an operation on arrays of another device than the current one, and
    warnings are errors here.
    """
    if cp.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two GPUs")

    def copy(array):
        with cp.cuda.Device(1):
            return cp.asarray(array)

    yield copy
    assert cp.cuda.Device().id == 0


def draw(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def network(cp, *sizes, **options):
    with cp.cuda.Device(1):
        return gdopt.nn.Network(sizes, seed=0, backend="cupy", **options)


def devices(*arrays):
    return {array.device.id for array in arrays}


@pytest.fixture
def labelled(put):
    X = draw(60, 4)
    return put(X), put((X[:, 0] > 0).astype(np.int64))


OPTIONS = {
    "plain": {},
    "clipped": {"clip_norm": 1.0},
    "skipping": {"non_finite": "skip"},
    "raising": {"non_finite": "raise"},
    "averaged": {"ema": 0.9},
    "by name": {"lr": {"a": 0.1, "b": 0.2}, "clip_norm": 1.0},
}


def test_rates_and_master_weights_lie_there(put):
    pytest.importorskip("ml_dtypes")
    p = put(np.ones(4, "bfloat16"))
    rates = put(np.array([0.5, 0.25, 0.125, 0.0], np.float32))
    optimizer = gdopt.SGD(p, lr=rates, master_weights=True)
    optimizer.step(put(np.ones(4, "bfloat16")))
    assert p.get().tolist() == [0.5, 0.75, 0.875, 1.0]


@pytest.mark.parametrize("option", OPTIONS)
def test_optimizers_update_there(option, put):
    params = {"a": put(np.ones(5)), "b": put(np.ones((4, 6)))[:, ::2]}
    grads = {"a": put(np.ones(5)), "b": put(np.ones((4, 3)))}
    optimizer = gdopt.Adam(params, **{"lr": 0.1, **OPTIONS[option]})
    optimizer.step(grads)
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step(grads)
    assert devices(*params.values()) == {1}
    assert float(params["a"].get()[0]) == pytest.approx(0.8)


def test_a_rate_on_the_device_is_read_there(put):
    p = put(np.ones(5))
    gdopt.SGD(p, lr=put(np.array(0.5)), clip_norm=1e3).step(put(np.ones(5)))
    assert p.get().tolist() == [0.5] * 5


def test_data_are_prepared_there(put, labelled):
    X, y = labelled
    for x, labels in gdopt.minibatches(X, y, batch_size=8, seed=0):
        assert devices(x, labels) == {1}
    for part in gdopt.split(X, y, seed=0, stratify=y):
        assert devices(*part) == {1}
    normalizer = gdopt.Normalizer.fit(X)
    assert devices(normalizer.inverse(normalizer.transform(X))) == {1}
    assert devices(gdopt.ewa(put(draw(50)), 0.9)) == {1}
    mean = gdopt.EWA(0.9)
    assert devices(mean.update(put(draw(5))), mean.update(put(draw(5)))) == {1}


@pytest.mark.parametrize("captured", [False, True])
def test_a_network_is_trained_there(captured, cp, labelled, tmp_path):
    ends = []
    for device in (0, 1):
        with cp.cuda.Device(device):
            X, y = (cp.asarray(array.get()) for array in labelled)
            net = gdopt.nn.Network((4, 8, 2), l2=0.1, seed=0, backend="cupy")
        batches = gdopt.minibatches(X, y, batch_size=8, seed=0)
        run = net, gdopt.Adam(net.params, lr=0.1), batches
        options = {"dev": (X, y), "cuda_graph": captured}
        options |= {"checkpoint": tmp_path / str(device), "callback": EarlyStopping(9)}
        result = gdopt.fit(*run, epochs=2, **options)
        gdopt.fit(*run, epochs=2, **options)  # from the checkpoint
        losses = result.history["loss"].tolist()
        assert devices(net.predict(X), net.predict_proba(X)) == {device}
        ends.append((losses, net.accuracy(X, y), net.params.flat.get().tobytes()))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((4, 8, 2), {"batch_norm": True, "keep_prob": 0.5}),
        ((4, 3, 1), {"output": "sigmoid", "activation": "tanh"}),
        ((4, 3, 1), {"output": "linear", "activation": "sigmoid"}),
    ],
)
def test_every_kind_of_network_computes_there(sizes, options, cp, put, labelled):
    X, y = labelled
    net = network(cp, *sizes, l2=0.1, l1=0.1, **options)
    target = put(X.get()[:, :1]) if net.output == "linear" else y
    net.check_data(X, target)
    loss, grads = net.loss_and_grads(X, target)
    if net.batch_norm:
        net.use_statistics_of(X)
    assert devices(loss, *grads.values(), net.predict(X)) == {1}
    assert net.loss(X, target) > 0


def test_gradients_are_checked_there(cp, put, labelled):
    net = network(cp, 4, 3, 2, dtype=float)
    X, y = put(labelled[0].get().astype(float)), labelled[1]
    checked = gdopt.check_gradient(lambda _: net.loss_and_grads(X, y), net.params)
    assert checked.verdict == "great"


def test_a_batch_size_is_planned_there(cp, labelled):
    net = network(cp, 4, 8, 2)
    step = gdopt.planner.NetworkStep(net, gdopt.Adam(net.params, lr=0.1))
    assert gdopt.plan_batch_size(step, labelled, step).batch_size in (32, 60)
