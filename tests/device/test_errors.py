"""Whatever call of CUDA fails inside gdopt, its error is gdopt's own."""

import tempfile

import numpy as np
import pytest

import gdopt

pytestmark = pytest.mark.usefixtures("cp", "cuda")

CALLS = (
    "cuLaunchKernel",
    "cudaEventRecord",
    "cudaGraphLaunch",
    "cudaHostAlloc",
    "cudaMalloc",
    "cudaMemcpy",
    "cudaMemcpyAsync",
    "cudaMemsetAsync",
    "cudaStreamBeginCapture",
    "cudaStreamSynchronize",
    "cudaStreamWaitEvent",
    "cublasDgemm_v2",
    "cublasSgemm_v2",
)


def draw(cp, *shape, dtype="f4"):
    return cp.asarray(np.random.default_rng(0).standard_normal(shape).astype(dtype))


def labelled(cp):
    X = draw(cp, 40, 4)
    return X, (X[:, 0] > 0).astype(np.int64)


def network(cp, **options):
    net = gdopt.nn.Network((4, 8, 2), backend="cupy", **options)
    return net, gdopt.Adam(net.params, lr=0.1, clip_norm=1.0)


def product(cp):
    a, multiply = draw(cp, 8, 8), gdopt.get_backend("cupy").matmul
    return lambda: multiply(a, a)


def copies(cp):
    home, x = gdopt.get_backend("cupy"), np.ones(3)
    return lambda: home.to_host(home.from_host(x))


def arena(cp):
    arrays = {"a": draw(cp, 5), "b": draw(cp, 3, 4)}
    return lambda: gdopt.Arena.of(arrays).like()


def separate_arrays(cp):
    p, g = ([draw(cp, 5), draw(cp, 3, 4)] for _ in range(2))
    optimizer = gdopt.Adam(p, lr=0.1, clip_norm=1.0, non_finite="skip")

    def work():
        optimizer.step(g)
        return optimizer.t

    return work


def state(cp):
    optimizer = gdopt.Adam(draw(cp, 5), lr=0.1)
    optimizer.step(draw(cp, 5))
    saved = optimizer.state_dict()
    return lambda: optimizer.load_state_dict(saved).state_dict()


def rates(cp):
    optimizer, lr = gdopt.SGD(draw(cp, 5), lr=0.1), cp.full(5, 0.1, np.float32)

    def work():
        optimizer.hyper["lr"] = lr
        return optimizer.hyper["lr"]

    return work


def kernel(cp):
    def axpy(y, x, *, a):
        return y + a * x

    run, arrays, a = gdopt.Kernel(axpy), (draw(cp, 5), draw(cp, 5)), cp.asarray(2.0)
    return lambda: run(*arrays, a=a)


def averages(cp):
    mean, x, series = gdopt.EWA(0.9), draw(cp, 5), draw(cp, 200, 3)

    def work():
        mean.update(x)
        mean.load_state_dict(mean.state_dict())
        return mean.value, gdopt.ewa(series, 0.9)

    return work


def batches(cp):
    data = labelled(cp)
    return lambda: list(gdopt.minibatches(*data, batch_size=8))


def prefetched(cp):
    data = np.ones((40, 4)), np.arange(40)
    made = gdopt.minibatches(*data, batch_size=8)
    return lambda: list(gdopt.prefetch(made, backend="cupy"))


def parts(cp):
    X, y = labelled(cp)
    return lambda: gdopt.split(X, y, stratify=y)


def normalized(cp):
    X = draw(cp, 40, 4)

    def work():
        normalizer = gdopt.Normalizer.fit(X)
        return normalizer.inverse(normalizer.transform(X))

    return work


def augmented(cp):
    X, generator = draw(cp, 4, 5, 5), np.random.default_rng(0)
    changes = gdopt.data.augment

    def work():
        changes.flip(X, axis=2, generator=generator)
        changes.shift(X, most=2, generator=generator)
        return changes.rotate(X, degrees=20, generator=generator)

    return work


def layers(cp):
    x, weights, bias = draw(cp, 8, 4), draw(cp, 4, 3), draw(cp, 3)
    slopes = weights.copy(), bias.copy()
    labels, nn = cp.zeros(8, np.int64), gdopt.nn
    generator = np.random.default_rng(0)

    def work():
        logits, back = nn.dense(x, weights, bias, *slopes)
        loss, gradient = nn.softmax_cross_entropy(logits, labels)
        hidden, back_again = nn.relu(back(gradient))
        dropped, _ = nn.dropout(hidden, keep_prob=0.5, generator=generator)
        return loss, back_again(dropped)

    return work


def trained(cp, **options):
    (net, optimizer), data = network(cp, l2=0.1), labelled(cp)
    made = gdopt.minibatches(*data, batch_size=8)
    return lambda: gdopt.fit(net, optimizer, made, epochs=2, dev=data, **options)


def captured(cp):
    return trained(cp, cuda_graph=True)


def normalizing_network(cp):
    (net, optimizer), data = network(cp, batch_norm=True, keep_prob=0.5), labelled(cp)

    def work():
        loss, grads = net.loss_and_grads(*data)
        optimizer.step(grads)
        net.load_state_dict(net.state_dict())
        net.use_statistics_of(data[0])
        return float(loss), net.accuracy(*data), net.loss(*data), net.predict(data[0])

    return work


def checkpoints(cp):
    (net, optimizer), data = network(cp), labelled(cp)
    batches = gdopt.minibatches(*data, batch_size=8)
    stopping = gdopt.training.EarlyStopping(9, monitor="loss")

    def work():
        with tempfile.TemporaryDirectory() as folder:
            how = {"callback": stopping, "checkpoint": folder}
            for _ in range(2):
                gdopt.fit(net, optimizer, batches, epochs=1, **how)

    return work


def checked_gradient(cp):
    (net, _), (X, y) = network(cp, dtype=float), labelled(cp)
    X = X.astype(float)
    return lambda: gdopt.check_gradient(lambda _: net.loss_and_grads(X, y), net.params)


def problem(cp):
    bowl, p = gdopt.problems.bowl(9.0), draw(cp, 5, 2)
    return lambda: (bowl.value(p), bowl.gradient(p), bowl.distance(p))


WORKS = [
    product,
    copies,
    arena,
    separate_arrays,
    state,
    rates,
    kernel,
    averages,
    batches,
    prefetched,
    parts,
    normalized,
    augmented,
    layers,
    trained,
    captured,
    normalizing_network,
    checkpoints,
    checked_gradient,
    problem,
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_a_call_that_fails_is_gdopts_error(work, call, cp, cuda):
    pool, calls = cp.get_default_memory_pool(), 0
    for _ in range(2):  # the first time it makes what is made once
        run = work(cp)
        pool.free_all_blocks()
        cuda.forget()
        run()
        calls = cuda.count(call)
    for after in {0, calls // 2} if calls else ():
        run = work(cp)
        pool.free_all_blocks()
        cuda.fail(call, 13 if call.startswith("cublas") else 999, after=after)
        with pytest.raises(
            gdopt.BackendError, match=r"CUDA failed|cuBLAS failed|captur"
        ):
            run()
        cuda.recover()


def test_running_out_of_device_memory_is_a_memory_error(cp, cuda):
    cp.get_default_memory_pool().free_all_blocks()
    cuda.set_capacity(1 << 20)
    sizes, options = (1 << 12, 1 << 12), {"initialization": "zeros"}
    with pytest.raises(MemoryError, match="Out of memory allocating"):
        gdopt.nn.Network(sizes, backend="cupy", **options)
