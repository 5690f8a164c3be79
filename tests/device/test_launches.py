"""How often the device is asked, what it is sent, and what a failure leaves behind."""

import weakref

import numpy as np
import pytest
from twins import draw, full_from, snapshot

import gdopt


def many(module, count=300, dtype=np.float32):
    return {f"p{k}": module.asarray(np.full(k % 7 + 1, k, dtype)) for k in range(count)}


def launches(cuda, optimizer, grads):
    optimizer.step(grads)
    cuda.forget()
    optimizer.step(grads)
    return cuda.launches


def test_arrays_apart_are_one_launch(cp, cuda):
    assert launches(cuda, gdopt.Adam(many(cp)), many(cp)) == ["gdopt_adam"]


def test_values_by_name_are_one_launch(cp, cuda):
    params = many(cp)
    decay = {name: k % 3 for k, name in enumerate(params)}
    optimizer = gdopt.AdamW(params, weight_decay=decay)
    assert launches(cuda, optimizer, many(cp)) == ["gdopt_adamw"]
    arena = gdopt.AdamW(gdopt.Arena.of(params), weight_decay=decay)
    assert launches(cuda, arena, gdopt.Arena.of(params)) == ["gdopt_adamw"]


def test_clipping_and_averaging_are_three_launches_more(cp, cuda):
    shapes = {"p": (100_000,)}
    params = gdopt.Arena.of({"p": cp.asarray(draw(0, shapes=shapes)["p float32"])})
    optimizer = gdopt.Adam(params, clip_norm=1.0, ema=0.9)
    name = "gdopt_adam_clip_norm_ema"
    assert launches(cuda, optimizer, params.like()) == [
        "gdopt_squares_float32",
        "gdopt_squares_total",
        f"{name}_prologue",
        name,
    ]


def test_skipping_adds_launches_that_do_nothing_where_gradients_are_small(cp, cuda):
    params = {"p": cp.asarray(draw(0, shapes={"p": (100_000,)})["p float32"])}
    optimizer = gdopt.Adam(params, non_finite="skip")
    assert launches(cuda, optimizer, {"p": params["p"].copy()}) == [
        "gdopt_squares_float32",
        "gdopt_squares_total",
        "cupy_greater__float64_float64_bool",
        "gdopt_adam_peaks_prologue",
        "gdopt_adam_peaks_1",
        "gdopt_overflow",
        "gdopt_adam_prologue",
        "gdopt_adam",
    ]


BY_NAME = {"lr": {"p": 0.1, "q": 0.2}}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (gdopt.Adam, {"lr": 0.1, "clip_norm": 1.0}),
        (gdopt.Adam, {"lr": gdopt.schedules.exponential(0.1, 0.9), "clip_norm": 1.0}),
        (gdopt.SGD, BY_NAME),
        (gdopt.SGD, BY_NAME | {"clip_norm": 1.0}),
    ],
)
def test_a_step_like_the_last_sends_nothing(kind, options, cp, monkeypatch):
    params = {name: cp.asarray(np.ones(100, np.float32)) for name in "pq"}
    optimizer = kind(params, **options)
    grads = {name: cp.asarray(np.ones(100, np.float32)) for name in "pq"}
    optimizer.step(grads)
    sent, backend = [], gdopt.get_backend("cupy")
    real = backend.from_host
    monkeypatch.setattr(
        type(backend), "from_host", lambda _self, *a: sent.append(a) or real(*a)
    )
    monkeypatch.setattr(cp, "asarray", None)
    for _ in range(3):
        optimizer.step(grads)
    assert sent == []


def test_each_dtype_is_one_launch(cp, cuda):
    params = many(cp, 5) | {
        "d": cp.asarray(np.ones(3)),
        "e": cp.asarray(np.ones(2)),
    }
    grads = {name: cp.ones_like(array) for name, array in params.items()}
    assert launches(cuda, gdopt.SGD(params), grads) == ["gdopt_sgd"] * 2


def test_pointers_are_sent_when_an_array_has_moved_and_only_then(cp, allocations):
    params, grads = many(cp), many(cp)
    optimizer = gdopt.SGD(params, lr=1.0)
    optimizer.step(grads)
    allocations.count = 0
    optimizer.step(grads)
    optimizer.step(dict(grads))
    assert allocations.count == 0
    before = params["p5"].get()
    grads["p5"] = cp.full(6, 2.0, np.float32)
    allocations.count = 0
    optimizer.step(grads)
    assert allocations.count == 1
    assert np.array_equal(params["p5"].get(), before - 2)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda cp, _: cp.asarray(np.ones(3, np.float32)), gdopt.ArgumentError),
        (lambda cp, _: cp.asarray(np.ones(4)), gdopt.ArgumentTypeError),
        (lambda _, params: params["p3"], gdopt.ArgumentError),
        (lambda *_: 1.0, gdopt.ArgumentTypeError),
        (lambda *_: np.ones(4, np.float32), gdopt.BackendError),
    ],
)
def test_a_gradient_that_was_not_there_before_is_checked(wrong, error, cp):
    params, grads = many(cp), many(cp)
    optimizer = gdopt.SGD(params)
    optimizer.step(grads)
    grads["p3"] = wrong(cp, params)
    before = snapshot(optimizer)
    with pytest.raises(error, match="the gradient of 'p3'"):
        optimizer.step(grads)
    assert snapshot(optimizer) == before


@pytest.mark.usefixtures("unfrozen_objects")
def test_gradients_are_not_kept_alive(cp):
    params = many(cp, 3)
    optimizer = gdopt.SGD(params)
    grads = many(cp, 3)
    optimizer.step(grads)
    seen = weakref.ref(grads["p1"])
    del grads
    assert seen() is None


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    "option", [{}, {"clip_norm": 1.0}, {"clip_norm": 1.0, "non_finite": "skip"}]
)
def test_out_of_memory_at_any_allocation_leaves_all_as_it_was(
    option, together, cp, allocations
):
    dtypes = ("float32", "float64")
    failures = 0
    for number in range(1, 200):
        allocations.trap = None
        params = {n: cp.asarray(a) for n, a in draw(0, dtypes).items()}
        grads = {n: cp.asarray(a) for n, a in draw(1, dtypes).items()}
        if together:
            params, grads = gdopt.Arena.of(params), gdopt.Arena.of(grads)
        optimizer = gdopt.AdamW(params, lr=dict.fromkeys(grads, 0.1), **option)
        before = snapshot(optimizer)
        allocations.count, allocations.trap = 0, full_from(number)
        try:
            optimizer.step(grads)
        except MemoryError:
            failures += 1
            allocations.trap = None
            assert snapshot(optimizer) == before
            assert optimizer.t == 0
            optimizer.step(grads)  # and goes on
            assert optimizer.t == 1
            continue
        break
    assert failures > 0 or (together and not option)  # which allocates nothing


def test_a_text_that_the_compiler_refuses_is_shown(cp, monkeypatch):
    real = cp.ElementwiseKernel

    def spoiled(inputs, outputs, body, *a, **k):
        return real(inputs, outputs, body + "; no_such_thing();", *a, **k)

    def rule(p, g, *, lr):  # that nobody has compiled yet
        return p - lr * g * 0.7071

    monkeypatch.setattr(cp, "ElementwiseKernel", spoiled)
    optimizer = gdopt.Optimizer(cp.ones(3), rule=rule, lr=1.0)
    with pytest.raises(gdopt.BackendError, match=r"(?s)no_such_thing.*gdopt_read"):
        optimizer.step(cp.ones(3))


def test_an_error_of_cuda_says_at_which_kernel_it_showed(cp, cuda):
    optimizer = gdopt.SGD(cp.ones(3))
    grads = cp.ones(3)
    cuda.fail("cuLaunchKernel", 700)
    message = "CUDA failed at gdopt_sgd or at a kernel before it: CUDA_ERROR_ILLEGAL"
    with pytest.raises(gdopt.BackendError, match=message):
        optimizer.step(grads)


@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0}, {"non_finite": "skip"}])
def test_a_kernel_that_failed_before_a_step_is_named_by_it(options, cp, cuda):
    cuda.schedule = "eager"
    optimizer = gdopt.Adam(cp.ones(4), lr=0.5, **options)
    grads = cp.ones(4)
    optimizer.step(grads)
    cuda.fail(f"run {cuda.launches[-1]}", 700)
    with pytest.raises(gdopt.BackendError, match=r"CUDA failed .*[Ii]llegal"):
        optimizer.step(grads)
    assert cuda.recover()
