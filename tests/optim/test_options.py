"""What an optimizer does around its rule: clipping, scaling, averaging, storage."""

import itertools

import numpy as np
import pytest

import gdopt
from gdopt.kernels.rounding import random_bits
from gdopt.kernels.squares import lane_count

GENERATOR = np.random.default_rng(3)
SHAPES = {"W": (40, 7), "b": (7,), "scale": ()}


def draw(dtype=np.float64, scale=1.0):
    return {
        name: np.array(scale * GENERATOR.standard_normal(shape), dtype)
        for name, shape in SHAPES.items()
    }


def norm(grads):
    return float(
        np.sqrt(sum(float((g.astype(float) ** 2).sum()) for g in grads.values()))
    )


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_are_clipped_to_the_norm_of_all_together(dtype, together, engine):
    params, grads = draw(dtype), draw(dtype, 10)
    start = {name: array.copy() for name, array in params.items()}
    if together:
        params, grads = gdopt.Arena.of(params), gdopt.Arena.of(grads)
    optimizer = gdopt.SGD(params, lr=1.0, clip_norm=0.5)
    optimizer.step(grads)
    assert optimizer.grad_norm == pytest.approx(norm(grads), rel=1e-12)
    for name, array in params.items():
        expected = start[name] - grads[name].astype(float) * 0.5 / norm(grads)
        eps = 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(array, expected, rtol=eps, atol=eps)


def test_gradients_within_the_norm_are_left_alone_to_the_bit(engine):
    plain, clipped, grads = draw(np.float32), None, draw(np.float32)
    clipped = {name: array.copy() for name, array in plain.items()}
    gdopt.Adam(plain).step(grads)
    gdopt.Adam(clipped, clip_norm=norm(grads) * 1.001).step(grads)
    for name, array in plain.items():
        assert array.tobytes() == clipped[name].tobytes()


def test_clipping_is_optax_s(engine):
    optax = pytest.importorskip("optax")
    jax = pytest.importorskip("jax")
    params = draw(np.float32)
    theirs = jax.tree.map(jax.numpy.asarray, params)
    chain = optax.chain(optax.clip_by_global_norm(1.5), optax.adam(0.1))
    state = chain.init(theirs)
    optimizer = gdopt.Adam(params, lr=0.1, clip_norm=1.5)
    for scale in (0.01, 1.0, 30.0):
        grads = draw(np.float32, scale)
        optimizer.step(grads)
        updates, state = chain.update(grads, state)
        theirs = optax.apply_updates(theirs, updates)
    for name, array in params.items():
        np.testing.assert_allclose(array, theirs[name], rtol=2e-5, atol=2e-6)


def test_clipping_is_torch_s_but_for_its_millionth(engine):
    torch = pytest.importorskip("torch")
    params = draw()
    theirs = {name: torch.tensor(a, requires_grad=True) for name, a in params.items()}
    descent = torch.optim.SGD(theirs.values(), lr=0.1)
    optimizer = gdopt.SGD(params, lr=0.1, clip_norm=1.5)
    for _ in range(3):
        grads = draw(scale=3)
        optimizer.step(grads)
        for name, tensor in theirs.items():
            tensor.grad = torch.tensor(grads[name])
        total = torch.nn.utils.clip_grad_norm_(theirs.values(), 1.5)
        assert optimizer.grad_norm == pytest.approx(float(total), rel=1e-12)
        descent.step()
    for name, array in params.items():
        expected = theirs[name].detach().numpy()
        np.testing.assert_allclose(array, expected, rtol=1e-6, atol=1e-7)


def test_the_loss_scale_is_divided_out_before_clipping(engine):
    plain, scaled, grads = draw(), None, draw(scale=5)
    scaled = {name: array.copy() for name, array in plain.items()}
    large = {name: np.asarray(1024 * array) for name, array in grads.items()}
    gdopt.Adam(plain, clip_norm=2.0).step(grads)
    gdopt.Adam(scaled, clip_norm=2.0, loss_scale=1024.0).step(large)
    for name, array in plain.items():
        np.testing.assert_allclose(array, scaled[name], rtol=1e-14)


def test_options_are_hyper_parameters(engine):
    params = {"p": np.zeros(2)}
    optimizer = gdopt.SGD(
        params, lr=1.0, clip_norm=gdopt.schedules.exponential(1.0, 0.5), loss_scale=2.0
    )
    grads = {"p": np.array([3.0, 4.0])}
    optimizer.step(grads)
    assert params["p"] == pytest.approx([-0.6, -0.8])
    assert optimizer.hyper["clip_norm"] == 0.5
    optimizer.hyper["clip_norm"] = 5.0
    optimizer.hyper["loss_scale"] = 1.0
    optimizer.step(grads)
    assert params["p"] == pytest.approx([-3.6, -4.8])


def test_the_norm_of_huge_gradients_does_not_overflow(engine):
    params = {"p": np.zeros(4, np.float32)}
    gdopt.SGD(params, lr=1.0, clip_norm=1.0).step({"p": np.full(4, 1e30, np.float32)})
    assert params["p"] == pytest.approx([-0.5] * 4)


def test_gradients_that_are_not_finite_are_not_clipped(engine):
    params = {"p": np.zeros(2)}
    optimizer = gdopt.SGD(params, lr=1.0, clip_norm=1.0)
    optimizer.step({"p": np.array([np.nan, 3.0])})
    assert np.isnan(optimizer.grad_norm)
    assert params["p"][1] == -3.0


def test_a_rule_may_take_the_norm_itself(engine):
    def normalized(p, g, *, lr, norm):
        return p - lr / norm * g

    params = {"a": np.zeros(1), "b": np.zeros(1)}
    gdopt.Optimizer(params, normalized, lr=1.0).step(
        {"a": np.array([3.0]), "b": np.array([4.0])}
    )
    assert (params["a"], params["b"]) == pytest.approx((-0.6, -0.8))


def test_the_average_is_pandas_(engine):
    pandas = pytest.importorskip("pandas")
    p = np.array([5.0])
    optimizer = gdopt.Momentum(p, lr=0.3, ema=0.8)
    path = [p[0]]
    for _ in range(6):
        optimizer.step(2 * p)
        path.append(p[0])
        expected = pandas.Series(path).ewm(alpha=0.2, adjust=False).mean().iloc[-1]
        assert optimizer.average["0"][0] == pytest.approx(expected, rel=1e-13)


def test_no_average_is_refused_by_name():
    with pytest.raises(gdopt.ArgumentError, match="average needs an optimizer made wi"):
        _ = gdopt.SGD(np.zeros(2)).average


def test_a_user_s_state_called_average_is_refused_with_the_option():
    def averaged(p, average, g, *, lr):
        return p - lr * g, average

    gdopt.Optimizer(np.zeros(2), averaged, lr=1.0)
    with pytest.raises(gdopt.RuleError, match="'average' is an option's name"):
        gdopt.Optimizer(np.zeros(2), averaged, lr=1.0, ema=0.9)


HALF_EPS = {"float16": 2**-10, "bfloat16": 2**-7}


def halves():
    pytest.importorskip("ml_dtypes")
    return HALF_EPS


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("dtype", HALF_EPS)
def test_a_master_copy_keeps_what_half_precision_loses(dtype, together, engine):
    step = halves()[dtype] / 64
    plain = {"p": np.ones(9, dtype)}
    kept = {"p": np.ones(9, dtype)}
    if together:
        plain, kept = gdopt.Arena.of(plain), gdopt.Arena.of(kept)
    one, other = gdopt.SGD(plain, lr=step), gdopt.SGD(kept, lr=step, master=True)
    for _ in range(64):
        one.step({"p": np.ones(9, dtype)})
        other.step({"p": np.ones(9, dtype)})
    assert set(plain["p"].astype(float)) == {1.0}
    assert set(kept["p"].astype(float)) == {1.0 - 64 * step}
    assert other.state["p"]["master"].dtype == np.float32


def test_a_master_copy_resumes_with_the_same_bits(engine):
    def make():
        params = {"p": np.linspace(-1, 1, 7).astype(np.float16)}
        return params, gdopt.Adam(params, lr=1e-4, master=True)

    (whole, one), (again, other) = make(), make()
    rows = [np.full(7, k + 1, np.float16) for k in range(6)]
    for row in rows:
        one.step({"p": row})
    for row in rows[:3]:
        other.step({"p": row})
    saved, halfway = other.state_dict(), again["p"].copy()
    fresh, third = make()
    fresh["p"][...] = halfway
    third.load_state_dict(saved)
    for row in rows[3:]:
        third.step({"p": row})
    assert whole["p"].tobytes() == fresh["p"].tobytes()


def test_bfloat16_state_takes_half_the_bytes():
    pytest.importorskip("ml_dtypes")
    params = {"p": np.zeros(640, np.float32)}
    assert gdopt.Adam(params).state_bytes == 2 * 4 * 640
    assert gdopt.Adam(params, state_dtype="bfloat16").state_bytes == 2 * 2 * 640


def test_stochastic_rounding_is_right_on_average(engine):
    pytest.importorskip("ml_dtypes")
    p = np.ones(100_000, "bfloat16")
    optimizer = gdopt.SGD(p, lr=2.0**-10, rounding="stochastic", seed=1)
    steps = 40
    for _ in range(steps):
        optimizer.step(np.ones(100_000, "bfloat16"))
    left = p.astype(float)
    # Steps of an eighth of the spacing 2**-7, below 1 a quarter of 2**-8: the mean of
    # 1e5 elements is within 5 standard errors of about 2e-5.
    assert left.mean() == pytest.approx(1 - steps * 2.0**-10, abs=1e-4)
    assert len(set(left)) > 3


def test_rounding_depends_on_seed_step_and_place_alone(engine):
    pytest.importorskip("ml_dtypes")
    ends = {}
    for together, seed in itertools.product((False, True), (1, 2)):
        params = {name: np.ones(n, "bfloat16") for name, n in (("a", 70), ("b", 300))}
        if together:
            params = gdopt.Arena.of(params)
        optimizer = gdopt.Adam(
            params, lr=0.01, rounding="stochastic", state_dtype="bfloat16", seed=seed
        )
        for _ in range(3):
            optimizer.step({n: np.ones(a.shape, "bfloat16") for n, a in params.items()})
        ends[together, seed] = b"".join(a.tobytes() for a in params.values())
    assert ends[False, 1] == ends[True, 1]
    assert ends[False, 2] == ends[True, 2]
    assert ends[False, 1] != ends[False, 2]


def test_random_bits_are_even_and_independent():
    index = np.arange(1 << 16)
    words = [random_bits(seed, t, index) for seed in (0, 1) for t in (1, 2)]
    for word in words:
        for bit in range(32):
            share = ((word >> np.uint32(bit)) & 1).mean()
            assert abs(share - 0.5) < 5 * 0.5 / 256  # five standard errors
    for one, other in itertools.combinations(words, 2):
        halves = [np.float64(word & np.uint32(0xFFFF)) for word in (one, other)]
        assert abs(np.corrcoef(*halves)[0, 1]) < 5 / 256
    far = random_bits(0, 1, index + (1 << 32))
    assert (far != words[0]).mean() > 0.999


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"clip_norm": 0.0}, r"clip_norm must be in \(0, inf\) and finite, got 0.0"),
        ({"clip_norm": -1}, r"clip_norm must be in \(0, inf\)"),
        ({"loss_scale": np.inf}, r"loss_scale must be in \(0, inf\) and finite"),
        ({"ema": 1.0}, r"ema must be in \[0, 1\) and finite, got 1.0"),
        ({"clip_norm": True}, "clip_norm must be a number, got True"),
        ({"clip_norm": {"p": 1.0}}, "clip_norm must be one value for all parameters"),
        ({"loss_scale": np.ones(3)}, "loss_scale must be one value for all"),
        ({"master": 1}, "master must be True or False, got 1"),
        ({"master": True}, "master must be False where a parameter is no half"),
        ({"state_dtype": "float16"}, "state_dtype must be None or 'bfloat16', got"),
        ({"state_dtype": "bfloat16"}, "state_dtype must be None where a parameter is"),
        ({"rounding": "up"}, "rounding must be 'nearest' or 'stochastic', got 'up'"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"non_finite": None}, "non_finite must be 'ignore', 'skip' or 'raise', got"),
        ({"max_norm": 1.0}, "did you mean clip_norm"),
        ({"clipnorm": 1.0}, "did you mean clip_norm"),
        ({"use_ema": True}, "did you mean ema"),
    ],
)
def test_wrong_options_are_refused(given, message):
    with pytest.raises(gdopt.GdoptError, match=message):
        gdopt.SGD({"p": np.zeros(3)}, **given)


@pytest.mark.parametrize(
    ("size", "lanes"),
    [(0, 256), (64, 256), (1 << 14, 256), ((1 << 14) + 64, 512), (10**8, 1 << 17)],
)
def test_there_are_as_many_lanes_as_keep_a_gpu_busy(size, lanes):
    assert lane_count(size) == lanes
