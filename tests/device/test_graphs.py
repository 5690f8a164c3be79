"""A training step as a graph: the bits of one without, and skips that count none."""

import contextlib
import gc
import importlib

import numpy as np
import pytest

import gdopt
from gdopt.nn import Network
from gdopt.training.graph import CapturedWork

SIZES = (5, 8, 3)


def problem(cp, count=22, dtype=np.float32):
    generator = np.random.default_rng(0)
    X = generator.standard_normal((count, SIZES[0])).astype(dtype)
    y = generator.integers(0, SIZES[-1], count)
    return cp.asarray(X), cp.asarray(y)


def parts(cp, *, dtype=np.float32, shuffle=True, l2=0.0, **options):
    X, y = problem(cp, dtype=dtype)
    network = Network(SIZES, l2=l2, seed=0, backend="cupy", dtype=dtype)
    rate = gdopt.schedules.exponential(0.1, 0.9)
    optimizer = gdopt.Adam(network.params, lr=rate, **options)
    batches = gdopt.minibatches(X, y, batch_size=8, seed=0, shuffle=shuffle)
    return network, optimizer, batches


def train(run, *, epochs=3, cuda_graph=False, **options):
    result = gdopt.fit(*run, epochs=epochs, cuda_graph=cuda_graph, **options)
    return (
        result.history["loss"].tolist(),
        run[0].params.flat.get(),
        run[1].state_dict(),
    )


OPTIONS = {
    "plain": {},
    "clipped": {"clip_norm": 0.1},
    "skipping": {"non_finite": "skip", "ema": 0.9, "loss_scale": 4.0},
    "random state": {"state_dtype": "bfloat16"},
    "measured": {"clip_value": 0.01, "clip_norm": 0.05, "bounds": (-0.5, 0.5)},
}


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("option", OPTIONS)
def test_a_captured_step_has_the_bits_of_a_plain_one(option, dtype, shuffle, cp):
    if option == "random state":
        pytest.importorskip("ml_dtypes")
        dtype = "float32"
    options = {"dtype": dtype, "shuffle": shuffle, "l2": 0.1} | OPTIONS[option]
    plain = train(parts(cp, **options))
    captured = train(parts(cp, **options), cuda_graph=True)
    assert captured[0] == plain[0]
    assert captured[1].tobytes() == plain[1].tobytes()
    assert captured[2]["t"] == plain[2]["t"] == 9
    for name, arrays in plain[2]["state"].items():
        for state, expected in arrays.items():
            found = captured[2]["state"][name][state]
            assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("options", [{}, {"non_finite": "skip", "clip_norm": 0.1}])
@pytest.mark.parametrize("frozen", [(), "b1"])
def test_what_is_frozen_changes_between_captured_steps(frozen, options, cp):
    ends = []
    for captured in (False, True):
        run = parts(cp, frozen=frozen, **options)

        def freeze(record, run=run):
            run[1].frozen = frozen if record.step < 4 else ["b1", "W2"]

        train(run, cuda_graph=captured, callback=freeze)
        ends.append((run[0].params.flat.get().tobytes(), run[1].t))
    assert ends[0] == ends[1]


def test_a_new_penalty_holds_from_the_next_captured_step_on(cp):
    ends = []
    for captured in (False, True):
        run = parts(cp, l2=0.1)

        def penalize(record, run=run):
            run[0].l2 = 0.1 if record.step < 4 else 5.0

        train(run, cuda_graph=captured, callback=penalize)
        ends.append(run[0].params.flat.get().tobytes())
    assert ends[0] == ends[1]


@pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
def test_a_captured_step_of_a_regression_has_the_bits_of_a_plain_one(shape, cp):
    ends = []
    for captured in (False, True):
        X, _ = problem(cp)
        network = Network((5, 8, 1), output="linear", seed=0, backend="cupy")
        optimizer = gdopt.Adam(network.params, lr=0.1)
        batches = gdopt.minibatches(
            X, X[:, 0].copy().reshape(shape), batch_size=8, seed=0
        )
        run = network, optimizer, batches
        ends.append(train(run, cuda_graph=captured, dev=batches.arrays))
    assert ends[0][0] == ends[1][0]
    assert ends[0][1].tobytes() == ends[1][1].tobytes()
    assert ends[0][0][-1] < 0.5 * ends[0][0][0]


def test_two_sizes_of_batches_are_captured_once_each(cp, cuda):
    run = parts(cp)
    train(run, epochs=1, cuda_graph=True)
    cuda.forget()
    graph = gdopt.training.TrainingGraph(*run)
    for _ in range(3):
        for epoch, number in run[2].positions():
            graph.run(epoch, number)
    once = cuda.count("launches")
    for number in (len(run[2]), -1, 0.5):
        with pytest.raises(gdopt.GdoptError, match=r"number must be .* at most 2, got"):
            graph.run(0, number)
    cuda.forget()
    for epoch, number in run[2].positions():
        graph.run(epoch, number)
    assert once > 0
    assert cuda.count("launches") == 0
    assert len(graph._graphs) == 2


def test_a_replayed_step_does_not_wait(cp, cuda):
    run = parts(cp, non_finite="skip", clip_norm=1.0)
    graph = gdopt.training.TrainingGraph(*run)
    for epoch, number in run[2].positions():
        graph.run(epoch, number)
    cuda.forget()
    for _ in range(3):
        for epoch, number in run[2].positions():
            graph.run(epoch, number)
    assert cuda.count("waits") == 0


@pytest.mark.parametrize("captured", [False, True])
def test_a_skipped_step_advances_neither_count_nor_schedule(captured, cp):
    X, y = problem(cp, count=24)
    X[3, 0] = np.nan
    network, optimizer, _ = parts(cp, non_finite="skip")
    batches = gdopt.minibatches(X, y, batch_size=8, seed=0, allow_nan=True)
    if captured:
        graph = gdopt.training.TrainingGraph(network, optimizer, batches)
        for _ in range(3):
            for epoch, number in batches.positions():
                graph.run(epoch, number)
    else:
        for _ in range(3):
            for x, labels in batches:
                _, grads = network.loss_and_grads(x, labels)
                optimizer.step(grads)
    assert optimizer.t == 6
    assert optimizer.hyper["lr"] == pytest.approx(0.1 * 0.9**6)
    assert np.isfinite(network.params.flat.get()).all()


def test_an_assigned_value_holds_from_the_next_step(cp):
    ends = []
    for captured in (False, True):
        run = parts(cp)
        train(run, epochs=1, cuda_graph=captured)
        with pytest.warns(UserWarning, match="lr was a schedule"):
            run[1].hyper["lr"] = 0.5
        ends.append(train(run, epochs=2, cuda_graph=captured)[1].tobytes())
    assert ends[0] == ends[1]


def test_a_number_assigned_to_a_number_holds_from_the_next_step_of_a_graph(
    cp, monkeypatch
):
    made, real = [], gdopt.training.graph.CapturedWork
    monkeypatch.setattr(
        gdopt.training.graph,
        "CapturedWork",
        lambda *arguments: made.append(1) or real(*arguments),
    )
    ends = []
    for captured in (False, True):
        run = parts(cp)
        with pytest.warns(UserWarning, match="lr was a schedule"):
            run[1].hyper["lr"] = 0.1

        def slow_down(record, run=run):
            run[1].hyper["lr"] = 0.1 / (1 + record.step)

        train(run, epochs=2, cuda_graph=captured, callback=slow_down)
        ends.append(run[0].params.flat.get().tobytes())
    assert ends[0] == ends[1]
    assert len(made) == 2  # one for each size of batches


def test_a_captured_run_resumes_in_the_middle_of_an_epoch(cp, tmp_path):
    expected = train(parts(cp), epochs=2, cuda_graph=True)
    how = {"cuda_graph": True, "checkpoint": tmp_path, "checkpoint_seconds": 1e-9}

    def crash(record):
        if record.step == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(parts(cp), epochs=2, callback=crash, **how)
    rest = train(parts(cp), epochs=2, callback=lambda _: None, **how)
    assert rest[0] == expected[0]
    assert rest[1].tobytes() == expected[1].tobytes()


def test_what_cannot_be_captured_is_refused(cp):
    network, optimizer, batches = parts(cp)
    with pytest.raises(gdopt.ArgumentTypeError, match=r"must update network\.params"):
        gdopt.training.TrainingGraph(
            network, gdopt.Adam({"a": cp.ones_like(batches.arrays[0])}), batches
        )
    X, y = batches.arrays
    columns = gdopt.minibatches(X.T, y, batch_size=4, seed=0, axis=1)
    with pytest.raises(gdopt.ArgumentError, match="array 0 of the batches must be C-"):
        gdopt.training.TrainingGraph(network, optimizer, columns)
    single = gdopt.minibatches(X, batch_size=4, seed=0)
    with pytest.raises(gdopt.ArgumentError, match="examples and labels, got 1"):
        gdopt.training.TrainingGraph(network, optimizer, single)
    elsewhere = gdopt.minibatches(X.get(), y.get(), batch_size=4, seed=0)
    with pytest.raises(gdopt.BackendError, match="array 0 of the batches is on cpu"):
        gdopt.training.TrainingGraph(network, optimizer, elsewhere)
    host = Network(SIZES, seed=0, backend="numpy")
    with pytest.raises(gdopt.BackendError, match="a network on a GPU, got one on the"):
        gdopt.training.TrainingGraph(host, gdopt.Adam(host.params), batches)


def test_a_failure_while_capturing_ends_the_capture(cp, cuda, monkeypatch):
    network, optimizer, batches = parts(cp)
    graph = gdopt.training.TrainingGraph(network, optimizer, batches)
    real, calls = network.loss_and_grads, []

    def second_fails(*a, **k):
        calls.append(1)
        if len(calls) == 2:
            message = "in the middle"
            raise ZeroDivisionError(message)
        return real(*a, **k)

    monkeypatch.setattr(network, "loss_and_grads", second_fails)
    message = "could not capture the work as a graph: in the middle"
    with pytest.raises(gdopt.BackendError, match=message):
        graph.run(0, 0)
    assert not cuda.capturing


def test_a_captured_step_reports_its_own_norm_and_counts_its_batch(cp):
    ends = []
    for captured in (False, True):
        run = parts(cp, clip_norm=0.1)
        norms = []

        def measure(_record, run=run, norms=norms):
            norms.append(float(run[1].grad_norm))

        train(run, cuda_graph=captured, callback=measure)
        ends.append((norms, run[0].state_dict()["batches_seen"]))
    assert ends[0] == ends[1]
    assert len(set(ends[0][0])) == len(ends[0][0]) == ends[0][1] == 9


@pytest.mark.gpu
def test_a_replay_writes_to_no_array_made_after_the_capture():
    cp = importlib.import_module("cupy")
    for _ in range(2):  # what imports leave behind hides it the first time
        run = parts(cp)
        graph = gdopt.training.TrainingGraph(*run)
        for epoch, number in run[2].positions():
            graph.run(epoch, number)
        gc.collect()
        others = [cp.full(size, 7.0) for size in (4, 8, 16, 20, 32, 40) * 8]
        for epoch, number in run[2].positions():
            graph.run(epoch, number)
        assert all(bool((other == 7).all()) for other in others)


@pytest.mark.gpu
def test_a_graph_that_is_dropped_gives_its_memory_back(monkeypatch):
    cp = importlib.import_module("cupy")
    run = parts(cp)
    graph = gdopt.training.TrainingGraph(*run)
    pools, real = [], cp.cuda.MemoryPool
    monkeypatch.setattr(
        cp.cuda, "MemoryPool", lambda: pools.append(real()) or pools[-1]
    )
    for _ in range(3):
        run[1].hyper["lr"] = cp.full(1, 0.1)  # from now on other graphs are needed
        for epoch, number in run[2].positions():
            graph.run(epoch, number)
    taken = [pool.total_bytes() for pool in pools]
    assert len(taken) == 6  # of two sizes of batches each time
    assert taken[:4] == [0] * 4
    assert all(taken[4:])


@pytest.mark.gpu
def test_a_capture_that_cuda_ends_says_why():
    cp = importlib.import_module("cupy")
    stream, calls = cp.cuda.Stream(non_blocking=True), []

    def work():
        calls.append(1)
        if len(calls) == 2:
            stream.synchronize()

    with pytest.raises(gdopt.BackendError, match="could not capture the work as a gr"):
        CapturedWork(cp, stream, work)
    assert not stream.is_capturing()
    with contextlib.suppress(BaseException):
        cp.cuda.runtime.getLastError()
    assert float(cp.ones(3).sum()) == 3.0


@pytest.mark.gpu
def test_a_launch_that_fails_raises_a_backend_error(monkeypatch):
    cp = importlib.import_module("cupy")
    from gdopt.kernels.cuda import engine

    def fails(*_arguments, **_options):
        raise cp.cuda.driver.CUDADriverError(2)

    p = cp.ones(4)
    optimizer = gdopt.SGD(p, lr=0.5)
    monkeypatch.setattr(engine, "build", lambda _text: fails)
    with pytest.raises(gdopt.BackendError, match=r"CUDA failed at gdopt_.*MEMORY"):
        optimizer.step(cp.ones(4))
    assert p.get().tolist() == [1.0] * 4
