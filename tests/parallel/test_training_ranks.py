"""Runs of fit and minimize on ranks have the same bits for any number of them."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from parallel.threads import on_ranks

import gdopt
from gdopt.training import EarlyStopping, ReduceOnPlateau

RNG = np.random.default_rng(0)
X = RNG.standard_normal((130, 6))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
W = np.array([1.0, -2.0, 3.0])
DRAWN = RNG.standard_normal((43, 3))
TIMES = {"seconds", "examples_per_second"}


def network(**options):
    usual = {"dtype": float, "backend": "numpy", "seed": 3, "l2": 0.2, "l1": 0.01}
    return gdopt.nn.Network((6, 12, 9, 2), **usual | options)


def bits(model, optimizer, result):
    """Return all that must be equal, but for the times, which are of rank 0."""
    history = {n: a.tobytes() for n, a in result.history.items() if n not in TIMES}
    counts = result.nit, result.nfev, result.reason, result.fun
    state, learned = optimizer.state_dict(), model.state_dict()
    params = gdopt.backend_of(model.params.flat).to_host(model.params.flat)
    return params.tobytes(), history, counts, repr(state), repr(learned)


def trained(ranks, options, *, callbacks=(), **run):
    """Train a network on a rank; of 40 examples, the last batch has 10."""
    model = network(**options)
    lr = gdopt.schedules.cosine(0.05, 0, 16)
    opt = ranks.sharded(gdopt.AdamW, model.params, replicas=4, lr=lr, clip_norm=0.5)
    batches = ranks.minibatches(X, Y, batch_size=40, seed=1, replicas=4)
    how = {"epochs": 4, "dev": (X[:30], Y[:30]), "callback": callbacks} | run
    return bits(model, opt, gdopt.fit(model, opt, batches, **how))


NETWORKS = [{"keep_prob": 0.7}, {"keep_prob": [1, 0.6], "batch_norm": True}]


@pytest.mark.parametrize("options", NETWORKS)
def test_a_network_has_the_same_bits_on_any_number_of_ranks(options):
    def train(ranks):
        return trained(ranks, options, callbacks=[EarlyStopping(3)])

    (expected,) = on_ranks(1, train)
    for size in (2, 3, 4):
        assert all(found == expected for found in on_ranks(size, train))


@pytest.mark.parametrize("options", NETWORKS)
@pytest.mark.parametrize("name", ["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def test_one_replica_has_the_bits_of_a_plain_run(options, name):
    data = [*map(gdopt.get_backend(name).from_host, (X, Y))]

    with gdopt.parallel.world() as ranks:
        model = network(**options, backend=name)
        opt = ranks.sharded(gdopt.Adam, model.params, replicas=1, lr=0.05)
        batches = ranks.minibatches(*data, batch_size=40, seed=1, replicas=1)
        found = bits(model, opt, gdopt.fit(model, opt, batches, epochs=3))
    model = network(**options, backend=name)
    opt = gdopt.Adam(model.params, lr=0.05)
    batches = gdopt.minibatches(*data, batch_size=40, seed=1)
    expected = bits(model, opt, gdopt.fit(model, opt, batches, epochs=3))
    assert found == expected


def test_without_normalization_parts_have_the_losses_and_gradients_of_the_batch():
    model = network(keep_prob=0.7)
    opt = gdopt.SGD(model.params, lr=0.1)
    batches = gdopt.minibatches(X, Y, batch_size=40, seed=1)
    expected = gdopt.fit(model, opt, batches, epochs=3)

    def train(ranks):
        own = network(keep_prob=0.7)
        opt = ranks.sharded(gdopt.SGD, own.params, replicas=8, lr=0.1)
        batches = ranks.minibatches(X, Y, batch_size=40, seed=1, replicas=8)
        return own, gdopt.fit(own, opt, batches, epochs=3)

    own, result = on_ranks(3, train)[0]
    losses = result.history["loss"], expected.history["loss"]
    np.testing.assert_allclose(*losses, rtol=1e-12)  # sums in another order
    np.testing.assert_allclose(own.params.flat, model.params.flat, atol=1e-12)


def squares(params, x):
    error = x @ params["w"] + params["b"] - x @ W
    grads = {"w": 2 * x.T @ error / len(x), "b": np.array(2 * error.mean())}
    return float(error @ error) / len(x), grads


def minimized(ranks, fg=squares, data=(DRAWN,), size=10, given=None, **run):
    params = gdopt.Arena.of({"w": np.zeros(3), "b": np.zeros(())})
    opt = ranks.sharded(gdopt.Adam, params, lr=0.1, **(given or {}))
    batches = ranks.minibatches(*data, batch_size=size)
    result = gdopt.minimize(fg, params, method=opt, data=batches, **{"epochs": 4} | run)
    history = {n: a.tobytes() for n, a in result.history.items() if n not in TIMES}
    counts = result.nit, result.nfev, result.reason, opt.t
    return params.flat.tobytes(), history, counts, repr(opt.state_dict())


def test_a_function_is_minimized_by_arrays_and_by_rows():
    def both(ranks):
        def read(params, rows):
            return squares(params, DRAWN[rows])

        return minimized(ranks), minimized(ranks, read, data=(len(DRAWN),))

    (expected,) = on_ranks(1, both)
    assert expected[0] == expected[1]
    assert expected[0][2] == (20, 20, "epochs=4 were run", 20)
    for size in (2, 5):
        assert all(found == expected for found in on_ranks(size, both))


def test_fewer_examples_than_replicas_leave_parts_empty():
    def few(ranks):
        seen = []

        def fg(params, x):
            seen.append(len(x))
            return squares(params, x)

        return minimized(ranks, fg, size=3), seen

    ((expected, seen),) = on_ranks(1, few)
    assert set(seen) == {1}
    found = on_ranks(8, few)
    assert all(one == expected for one, _ in found)
    assert sum(len(own) for _, own in found) == len(seen) == 4 * len(DRAWN)


def test_a_loss_that_is_not_finite_stops_all_ranks_with_one_error():
    def diverge(ranks):
        def fg(params, x):
            loss, grads = squares(params, x)
            return loss if not (x == DRAWN[20]).all(axis=1).any() else np.nan, grads

        with pytest.raises(gdopt.DivergenceError) as raised:
            minimized(ranks, fg)
        return str(raised.value)

    (expected,) = on_ranks(1, diverge)
    assert expected.startswith("loss must stay finite, got nan at step 4, in epoch 1")
    assert on_ranks(3, diverge) == [expected] * 3


def test_gradients_that_are_not_finite_are_skipped_on_all_ranks():
    def skip(ranks):
        def fg(params, x):
            loss, grads = squares(params, x)
            if (x == DRAWN[20]).all(axis=1).any():
                grads["w"][1] = np.inf
            return loss, grads

        return minimized(ranks, fg, given={"non_finite": "skip"})

    (expected,) = on_ranks(1, skip)
    assert expected[2] == (20, 20, "epochs=4 were run", 16)
    assert on_ranks(3, skip) == [expected] * 3


@pytest.fixture
def clocks(monkeypatch):
    """Give each thread a clock of its own, which another speed drives."""
    own = threading.local()

    def perf_counter():
        own.now = getattr(own, "now", 0.0) + getattr(own, "speed", 1.0)
        return own.now

    clock = SimpleNamespace(perf_counter=perf_counter, monotonic=perf_counter)
    monkeypatch.setattr("gdopt.training.run.time", clock)
    monkeypatch.setattr("gdopt.training.checkpoints.time", clock)
    return own


def test_the_clock_of_rank_0_decides_for_all(clocks, tmp_path):
    def timed(ranks):
        clocks.speed = (1.0, 1e6, 1e-6)[ranks.rank]
        times, before = [], []

        def note(record):
            times.append((record.step, record.seconds, record.examples_per_second))
            before.append(sorted(path.name for path in tmp_path.glob("*-of-*")))
            ranks.share(np.zeros(1))  # rank 0 may not remove a file meanwhile

        how = {"record_every": "30 s", "epochs": None, "max_seconds": 300}
        how |= {"checkpoint": tmp_path, "checkpoint_seconds": 50}
        found = minimized(ranks, callback=note, **how)
        return found[2], times, before

    first, *others = on_ranks(3, timed)
    assert first[0][2] == "max_seconds=300 have passed"
    assert 3 <= len(first[1]) < first[0][0]
    assert all(found == first for found in others)
    assert len({str(names) for names in first[2]}) > 3  # checkpoints on the way


def test_a_callback_that_stops_has_the_same_records_on_all_ranks():
    def train(ranks):
        model = network(keep_prob=0.5)
        opt = ranks.sharded(gdopt.Adam, model.params, replicas=4, lr=0.5)
        batches = ranks.minibatches(X, Y, batch_size=40, replicas=4)
        plateau = ReduceOnPlateau(patience=1, monitor="loss")
        early = EarlyStopping(6, monitor="loss")
        result = gdopt.fit(model, opt, batches, epochs=30, callback=[plateau, early])
        return bits(model, opt, result), opt.hyper["lr"]

    (expected,) = on_ranks(1, train)
    assert expected[1] < 0.5
    assert "has not improved for 6 records" in expected[0][2][2]
    assert on_ranks(3, train) == [expected] * 3


REFUSED = [
    ("data must be ranks.minibatches", lambda r, p: (r.sharded(gdopt.Adam, p), 1)),
    ("must be ranks.sharded", lambda r, p: (gdopt.Adam(p), 8)),
    (r"replicas=8\), as the", lambda r, p: (r.sharded(gdopt.Adam, p), 4)),
]


@pytest.mark.parametrize(("message", "make"), REFUSED)
def test_optimizer_and_batches_must_belong_together(message, make):
    def refuse(ranks):
        model = network()
        opt, replicas = make(ranks, model.params)
        batches = ranks.minibatches(X, Y, batch_size=40, replicas=replicas)
        if replicas == 1:
            batches = gdopt.minibatches(X, Y, batch_size=40)
        with pytest.raises((gdopt.ArgumentError, gdopt.ArgumentTypeError)) as raised:
            gdopt.fit(model, opt, batches, epochs=1)
        return str(raised.value)

    (found,) = on_ranks(1, refuse)
    assert message.replace("\\", "") in found


def test_what_has_no_meaning_on_ranks_is_refused():
    def refuse(ranks):
        found = []
        for normalizes in (True, False):
            model = network(batch_norm=normalizes)
            opt = ranks.sharded(gdopt.Adam, model.params)
            run = model, opt, ranks.minibatches(X, Y, batch_size=40)
            with pytest.raises(gdopt.ArgumentError) as raised:
                gdopt.fit(*run, epochs=1, cuda_graph=not normalizes)
            found.append(str(raised.value))
        with pytest.raises(gdopt.ArgumentTypeError) as raised:
            gdopt.minimize(squares, model.params, method=opt)
        return [*found, str(raised.value)]

    (found,) = on_ranks(1, refuse)
    assert "a batch of 10 in 8 replicas has parts of one: write fewer" in found[0]
    assert "cuda_graph must be False" in found[1]
    assert "data must be ranks.minibatches" in found[2]


@pytest.mark.parametrize("what", ["epochs", "data", "dev", "checkpoint_seconds"])
def test_ranks_that_differ_are_refused_before_a_file_is_written(what, tmp_path):
    def differ(ranks):
        values = {"epochs": 2, "data": X, "dev": X[:9], "checkpoint_seconds": 9}
        mine = values | ({what: values[what] + 1.0} if ranks.rank else {})
        model = network()
        opt = ranks.sharded(gdopt.Adam, model.params)
        batches = ranks.minibatches(mine["data"], Y, batch_size=40)
        how = {"checkpoint": tmp_path / "run", "dev": (mine["dev"], Y[:9])}
        how |= {"checkpoint_seconds": mine["checkpoint_seconds"]}
        with pytest.raises(gdopt.errors.ParallelError, match="must be the same on all"):
            gdopt.fit(model, opt, batches, epochs=int(mine["epochs"]), **how)

    on_ranks(2, differ)
    assert not (tmp_path / "run").exists()
