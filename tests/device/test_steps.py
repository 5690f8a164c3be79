"""Every rule, layout and dtype on the device has the bits of the CPU."""

import itertools

import numpy as np
import pytest
from oracles import CASES
from rules import EXACT
from twins import LAYOUTS, Twins, draw

import gdopt

DTYPES = ("float64", "float32", "float16")
OPTIONS = {
    "clip": {"clip_norm": 0.5},
    "no clip": {"clip_norm": 1e9},
    "loss scale": {"loss_scale": 1024.0},
    "average": {"ema": 0.9},
    "all": {"clip_norm": 2.0, "loss_scale": 3.0, "ema": 0.5},
    "clip by schedule": {"clip_norm": gdopt.schedules.exponential(2.0, 0.5)},
    "all and skip": {
        "clip_norm": 2.0,
        "loss_scale": 3.0,
        "ema": 0.5,
        "non_finite": "skip",
    },
}


def each_in_a_layout():
    """Pair every row with a layout in turn, and one row with all of them."""
    turns = itertools.cycle(LAYOUTS)
    yield from itertools.product(["adamw corrected"], LAYOUTS)
    yield from ((name, next(turns)) for name in EXACT if name != "adamw corrected")


@pytest.mark.parametrize(("name", "layout"), list(each_in_a_layout()))
def test_a_rule_has_the_bits_of_the_cpu(name, layout, cp):
    twins = Twins(cp, CASES[name].make, draw(0, DTYPES), layout)
    for seed in range(1, 4):
        assert twins.step(draw(seed, DTYPES)) == (True, True)
    twins.assert_same()


@pytest.mark.parametrize("non_finite", ["ignore", "skip"])
def test_an_infinite_hyper_parameter_has_the_bits_of_the_cpu(non_finite, cp):
    def make(params):
        return gdopt.Rprop(params, 0.1, max_step_size=np.inf, non_finite=non_finite)

    twins = Twins(cp, make, draw(0, DTYPES))
    for seed in range(1, 4):
        twins.step(draw(seed, DTYPES))
    twins.assert_same()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_has_the_bits_of_the_cpu(option, layout, cp):
    def make(params):
        return gdopt.AdamW(params, lr=0.1, **OPTIONS[option])

    twins = Twins(cp, make, draw(0, DTYPES), layout)
    for seed in range(1, 4):
        done = twins.step(draw(seed, DTYPES))
        assert [bool(one) for one in done] == [True, True]
        if "clip_norm" in OPTIONS[option]:
            assert float(twins.device.grad_norm) == twins.host.grad_norm
    twins.assert_same()


@pytest.mark.parametrize("size", [1, 63, 64, 65, 255, 257, 4096, 100_003])
def test_a_single_array_of_any_size(size, cp):
    shapes = {"p": (size,)}
    twins = Twins(
        cp, lambda p: gdopt.Adam(p, clip_norm=1.0), draw(0, shapes=shapes), "apart"
    )
    for seed in range(1, 3):
        twins.step(draw(seed, shapes=shapes))
    twins.assert_same()


PLACES = {
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[::-1] if a.ndim else a,
    "every second": lambda a: a[..., ::2] if a.ndim else a,
}


@pytest.mark.parametrize("gradients", [*PLACES, "contiguous"])
@pytest.mark.parametrize("parameters", [*PLACES, "contiguous"])
def test_arrays_of_any_strides_are_updated_in_place(parameters, gradients, cp):
    if gradients != parameters and "every second" in (parameters, gradients):
        pytest.skip("the shapes differ")
    shapes = {"A": (6, 6), "B": (4, 4, 4), "c": (200,), "s": ()}
    place, other = PLACES.get(parameters), PLACES.get(gradients)
    twins = Twins(
        cp,
        lambda p: gdopt.Adam(p, lr=0.1, clip_norm=1.0),
        draw(0, shapes=shapes),
        place=place,
    )
    addresses = {n: a.data.ptr for n, a in twins.device.params.items()}
    for seed in range(1, 3):
        twins.step(draw(seed, shapes=shapes), place=other)
    twins.assert_same()
    assert {n: a.data.ptr for n, a in twins.device.params.items()} == addresses


def test_arrays_that_start_between_16_bytes_are_right(cp):
    shapes = {"a": (70,), "b": (33,)}
    twins = Twins(
        cp, gdopt.Adam, draw(0, shapes=shapes), place=lambda array: array[1:-1]
    )
    assert twins.device.params["a float32"].data.ptr % 16 == 4
    for seed in range(1, 3):
        twins.step(draw(seed, shapes=shapes), place=lambda array: array[1:-1])
    twins.assert_same()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_by_name(layout, cp):
    start = draw(0, DTYPES)
    decay = {name: 0.1 if "W" in name else 0.0 for name in start}
    rate = {
        name: gdopt.schedules.exponential(0.1, 0.5) if "b" in name else 0.2
        for name in start
    }

    def make(params):
        return gdopt.AdamW(params, lr=rate, weight_decay=decay)

    twins = Twins(cp, make, start, layout)
    for seed in range(1, 4):
        twins.step(draw(seed, DTYPES))
    twins.assert_same()
    for optimizer in (twins.host, twins.device):
        optimizer.hyper["weight_decay"] = dict.fromkeys(start, 0.5)
    twins.step(draw(5, DTYPES))
    twins.assert_same()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_that_are_arrays(layout, cp):
    shapes = {"W": (5, 13), "b": (13,)}
    start = draw(0, shapes=shapes)
    rates = {
        name: np.full(a.shape, 0.1 * k) for k, (name, a) in enumerate(start.items())
    }

    def make(params):
        sample = next(iter(params.values()))
        on_cpu = isinstance(sample, np.ndarray)
        own = rates if on_cpu else {n: cp.asarray(r) for n, r in rates.items()}
        return gdopt.Adam(params, lr=own)

    twins = Twins(cp, make, start, layout)
    for seed in range(1, 4):
        twins.step(draw(seed, shapes=shapes))
    twins.assert_same()


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("option", [{}, {"clip_norm": 1.0}, {"non_finite": "skip"}])
def test_a_rate_that_lives_on_the_device_is_read_at_every_step(option, by_name, cp):
    start = draw(0)
    rates = []

    def make(params):
        on_cpu = isinstance(next(iter(params.values())), np.ndarray)
        rate = np.array(0.5) if on_cpu else cp.asarray(np.array(0.5))
        rates.append(rate)
        by = dict.fromkeys(start, 0.25) | {"b float32": rate}
        return gdopt.AdamW(params, lr=by if by_name else rate, **option)

    twins = Twins(cp, make, start)
    for seed in range(1, 5):
        twins.step(draw(seed))
        for rate in rates:
            rate[...] = 0.5 / seed
    twins.assert_same()


def test_a_rate_in_a_0_d_numpy_array_is_read_at_every_step(cp):
    rate = np.array(0.5)
    twins = Twins(cp, lambda p: gdopt.SGD(p, lr=rate, non_finite="skip"), draw(0))
    for seed in range(1, 5):
        twins.step(draw(seed))
        rate[...] = 0.5 / seed
    twins.assert_same()


def test_two_arrays_in_one_launch_do_not_touch_what_lies_between(cp):
    whole = cp.asarray(np.arange(400, dtype=np.float32))
    params = {"a": whole[3:100], "b": whole[101:303]}
    grads = {"a": cp.ones_like(params["a"]), "b": cp.ones_like(params["b"])}
    gdopt.SGD(params, lr=1000.0).step(grads)
    left = whole.get()
    changed = left < 0
    assert changed[3:100].all()
    assert changed[101:303].all()
    assert changed.sum() == 97 + 202


@pytest.mark.parametrize("size", [(3, 5), (256, 256), (257, 255), (512, 2, 64)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_kernel_takes_arrays_of_any_shape(dtype, size, cp):
    def axpy(y, x, *, a):
        return y + a * x

    kernel = gdopt.Kernel(axpy)
    generator = np.random.default_rng(0)
    host = [generator.standard_normal(size).astype(dtype) for _ in range(2)]
    moved = [cp.asarray(array) for array in host]
    kernel(*host, a=0.3)
    kernel(*moved, a=0.3)
    assert host[0].tobytes() == moved[0].get().tobytes()
    scale = cp.asarray(np.array(0.3))
    kernel(*moved, a=scale)
    kernel(*host, a=0.3)
    assert host[0].tobytes() == moved[0].get().tobytes()


@pytest.mark.parametrize("size", [7, 1 << 16])
def test_averages_have_the_bits_of_the_cpu(size, cp):
    here, there = gdopt.EWA(0.9), gdopt.EWA(0.9)
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
        one, other = here.update(x), there.update(cp.asarray(x))
    assert one.tobytes() == other.get().tobytes()
    series = np.random.default_rng(0).standard_normal((2000, 3))
    averaged = gdopt.ewa(cp.asarray(series), 0.98)
    assert gdopt.ewa(series, 0.98).tobytes() == averaged.get().tobytes()


def test_by_name_schedules_do_not_mix_with_arrays_on_the_device(cp):
    params = {name: cp.asarray(np.ones(3)) for name in "ab"}
    rates = {"a": cp.asarray(np.array(0.1)), "b": lambda step: 0.1 / (1 + step)}
    with pytest.raises(gdopt.ArgumentTypeError, match="lr must not mix schedules with"):
        gdopt.SGD(params, lr=rates)
    optimizer = gdopt.SGD(params, lr=rates | {"b": 0.5})
    optimizer.step({name: cp.asarray(np.ones(3)) for name in "ab"})
    assert [params[n].get()[0] for n in "ab"] == pytest.approx([0.9, 0.5])
