"""Gradients whose squares leave the dtype: what they do to state, and their skips."""

import numpy as np
import pytest
from oracles import CASES

import gdopt

HUGE = {"float32": 1e30, "float64": 1e200, "bfloat16": 1e30}


def dtype_of(name):
    if name == "bfloat16":
        return pytest.importorskip("ml_dtypes").bfloat16
    return np.dtype(name)


def state_is_finite(optimizer):
    buffers = [b for a in optimizer.state_arenas.values() for b in a.buffers.values()]
    return all(np.isfinite(buffer.astype("float64")).all() for buffer in buffers)


def array_of(optimizer):
    (array,) = optimizer.params.values()
    return array


def gradient(dtype, value):
    g = np.ones((3, 4), dtype)
    g[1, 2] = value
    return g


@pytest.mark.parametrize("dtype", HUGE)
@pytest.mark.parametrize("name", CASES)
def test_state_that_would_overflow_counts_as_not_finite(
    name, dtype, unchanged, numpy_engine
):
    kind = dtype_of(dtype)
    p, g = np.ones((3, 4), kind), gradient(kind, HUGE[dtype])
    plain = CASES[name].make(p.copy())
    plain.step(np.ones((3, 4), kind))
    assert plain.step(g) is True
    overflows = not state_is_finite(plain)
    for answer in ("skip", "raise"):
        optimizer = CASES[name].make(p.copy(), non_finite=answer)
        assert optimizer.step(np.ones((3, 4), kind)) is True
        if not overflows:
            assert optimizer.step(g) is True
            assert array_of(optimizer).tobytes() == array_of(plain).tobytes()
        elif answer == "skip":
            with unchanged(optimizer):
                assert optimizer.step(g) is False
        else:
            message = "grads must leave the state finite.* gradients of"
            with (
                unchanged(optimizer),
                pytest.raises(gdopt.ArgumentError, match=message),
            ):
                optimizer.step(g)
        assert state_is_finite(optimizer)
        assert optimizer.step(np.ones((3, 4), kind)) is True


def test_squares_overflow_in_the_rules_that_take_them(numpy_engine):
    kinds = gdopt.Adam, gdopt.AdamW, gdopt.RMSprop, gdopt.Adagrad, gdopt.Adadelta
    kinds += gdopt.NAdam, gdopt.RAdam, gdopt.Yogi, gdopt.LAMB, gdopt.Adafactor
    for kind in kinds:
        p = np.ones((3, 4), "float32")
        assert kind(p, non_finite="skip").step(gradient("float32", 1e30)) is False
    for kind in (gdopt.SGD, gdopt.Momentum, gdopt.Lion, gdopt.SignSGD, gdopt.Adamax):
        p = np.ones((3, 4), "float32")
        assert kind(p, non_finite="skip").step(gradient("float32", 1e30)) is True


def test_without_the_option_the_element_stands_still_and_the_others_do_not(engine):
    p, g = np.ones((3, 4), "float32"), gradient("float32", 1e30)
    optimizer = gdopt.Adam(p, lr=0.1)
    optimizer.step(g)
    assert np.argwhere(p == 1).tolist() == [[1, 2]]
    for _ in range(3):
        optimizer.step(np.ones((3, 4), "float32"))
    assert np.argwhere(p == 1).tolist() == [[1, 2]]  # for good


@pytest.mark.parametrize(
    ("options", "value", "done"),
    [
        ({}, 1.8e19, True),  # whose square is just below the largest number
        ({}, 1.9e19, False),
        ({"clip_norm": 1.0}, 1e30, True),
        ({"clip_value": 1.0}, 1e30, True),
        ({"clip_each": 1.0}, 1e30, True),
        ({"loss_scale": 2.0**40}, 1e30, True),
        ({"loss_scale": 2.0**20}, 1e30, False),
        ({"loss_scale": 2.0**-40}, 1e9, False),
        ({"loss_scale": lambda step: 2.0**-40}, 1e9, False),
        ({"weight_decay": 0.1, "decay_mode": "coupled"}, 1e30, False),
        ({"maximize": True, "ema": 0.9, "lookahead": (2, 0.5)}, 1e30, False),
        ({"state_dtype": "bfloat16"}, 1e30, False),
        ({"beta2": {"a": 0.9, "b": 0.99}}, 1e30, False),
    ],
)
def test_the_gradient_counts_as_the_options_leave_it(
    options, value, done, unchanged, engine
):
    params = {"a": np.ones(5, "float32"), "b": np.ones(3, "float32")}
    optimizer = gdopt.Adam(params, **options, non_finite="skip")
    grads = {"a": np.full(5, 0.5, "float32"), "b": np.ones(3, "float32")}
    assert optimizer.step(grads) is True
    grads["b"][1] = value
    if done:
        assert optimizer.step(grads) is True
        assert state_is_finite(optimizer)
        return
    with unchanged(optimizer):
        assert optimizer.step(grads) is False


def test_a_sum_of_squares_is_refused_where_it_leaves_the_dtype(unchanged, engine):
    p = np.ones(3, "float32")
    optimizer = gdopt.Adagrad(p, lr=1.0, non_finite="raise")
    g = np.array([1.5e19, 1.0, 1.0], "float32")
    optimizer.step(g)
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match="finite"):
        optimizer.step(g)


def test_of_accumulated_gradients_the_one_that_would_overflow_is_skipped(engine):
    def make():
        p = np.ones(3, "float32")
        return gdopt.Adam(p, lr=0.1, accumulate=2, non_finite="skip")

    small, large = np.ones(3, "float32"), np.array([1e30, 1, 1], "float32")
    optimizer, twin = make(), make()
    said = [optimizer.step(g) for g in (small, large, small, large, small, small)]
    assert said == [False, False, True, False, False, True]
    for _ in range(4):
        twin.step(small)
    assert array_of(optimizer).tobytes() == array_of(twin).tobytes()
    assert optimizer.t == twin.t == 2


def test_a_dynamic_loss_scale_halves_where_state_would_overflow(numpy_engine):
    p = np.ones(3, "float32")
    optimizer = gdopt.Adam(p, loss_scale="dynamic")
    assert optimizer.step(np.array([1e30, 1, 1], "float32")) is False
    assert (optimizer.hyper["loss_scale"], optimizer.t) == (2.0**15, 0)


def test_rows_rules_of_users_and_matrices_that_would_overflow(unchanged, engine):
    def fourth(p, v, g, *, lr):
        return p - lr * g, v + g * g * g * g

    p = np.ones((3, 4), "float32")
    made = [
        (gdopt.Adam(p.copy(), non_finite="skip"), {"at": [2, 0]}, 1e30),
        (gdopt.Optimizer(p.copy(), fourth, lr=0.1, non_finite="skip"), {}, 1e10),
        (gdopt.Muon(p.copy(), momentum=0.5, non_finite="skip"), {}, 3e38),
    ]
    for optimizer, given, value in made[:2]:
        g = np.full((2 if given else 3, 4), value, "float32")
        with unchanged(optimizer):
            assert optimizer.step(g, **given) is False
    optimizer, given, value = made[2]
    assert optimizer.step(np.full((3, 4), value, "float32")) is True
    assert state_is_finite(optimizer)


def test_complex_gradients_that_would_overflow(unchanged, numpy_engine):
    for mode in ("split", "modulus"):
        p = np.ones(3, "complex64")
        optimizer = gdopt.Adam(p, complex_mode=mode, non_finite="skip")
        with unchanged(optimizer):
            assert optimizer.step(np.array([1, 1e30j, 1], "complex64")) is False
        assert optimizer.step(np.ones(3, "complex64")) is True


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("option", ["clip_norm", "clip_each", "agc"])
def test_a_clip_factor_below_the_normal_numbers_is_right(option, dtype, engine):
    large, limit = {"float32": (1e20, 1e-30), "float64": (1e200, 1e-150)}[dtype]
    p = np.zeros(4, dtype)
    given = {option: limit / 1e-3 if option == "agc" else limit}
    given |= {"unit_axis": 0} if option == "agc" else {}
    gdopt.SGD(p, lr=1.0, **given).step(np.full(4, large, dtype))
    np.testing.assert_allclose(p, -limit / 2, rtol=1e-6)


@pytest.mark.peers("torch")
def test_an_infinite_gradient_leaves_zeros_as_in_torch(engine):
    import torch

    p, theirs = np.zeros(3), torch.zeros(3, dtype=torch.float64)
    theirs.grad = torch.tensor([np.inf, 2.0, -3.0], dtype=torch.float64)
    torch.nn.utils.clip_grad_norm_([theirs], 1.0)
    optimizer = gdopt.SGD(p, lr=1.0, clip_norm=1.0)
    optimizer.step(np.array([np.inf, 2.0, -3.0]))
    assert optimizer.grad_norm == np.inf
    np.testing.assert_array_equal(-p, theirs.grad.numpy())


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_muon_takes_matrices_of_any_magnitude(scale, numpy_engine):
    g = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    given = {"lr": 1.0, "momentum": 0.5, "weight_decay": 0.0, "eps": 1e-37}
    plain, scaled = np.zeros((3, 4), "float32"), np.zeros((3, 4), "float32")
    gdopt.Muon(plain, **given).step(g)
    gdopt.Muon(scaled, **given, clip_norm=1e30).step(g * np.float32(scale))
    np.testing.assert_allclose(scaled, plain, rtol=1e-4, atol=1e-5)


NAMES = "master", "accumulated", "slow", "average", "norms", "peaks"


@pytest.mark.parametrize("name", NAMES)
def test_a_state_must_not_have_the_name_of_an_option_s(name):
    source = (
        f"def momentum(p, {name}, g, *, lr):\n    return p - lr * {name}, {name} + g"
    )
    scope = {}
    exec(source, scope)  # noqa: S102 - the name of an argument
    with pytest.raises(gdopt.RuleError, match=f"{name!r} is a state of the options"):
        gdopt.rule(scope["momentum"])
