"""What an optimizer does around its rule: clipping, scaling, averaging, storage."""

import numpy as np
import pytest

import gdopt

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


@pytest.mark.peers("jax", "optax")
def test_clipping_is_optax_s(engine):
    import jax
    import optax

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


@pytest.mark.peers("torch")
def test_clipping_is_torch_s_but_for_its_millionth(engine):
    import torch

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


def test_a_loss_scale_alone_clips_nothing(engine):
    plain, grads = draw(), draw()
    scaled = {name: array.copy() for name, array in plain.items()}
    large = {name: np.asarray(1024 * array) for name, array in grads.items()}
    gdopt.SGD(plain, lr=0.1).step(grads)
    limit = 1.001 * norm(grads)
    gdopt.SGD(scaled, lr=0.1, clip_norm=limit, loss_scale=1024.0).step(large)
    for name, array in plain.items():
        assert array.tobytes() == scaled[name].tobytes()


def test_options_are_hyper_parameters(engine):
    params = {"p": np.zeros(2)}
    optimizer = gdopt.SGD(
        params, lr=1.0, clip_norm=gdopt.schedules.exponential(1.0, 0.5), loss_scale=2.0
    )
    grads = {"p": np.array([3.0, 4.0])}
    optimizer.step(grads)
    assert params["p"] == pytest.approx([-0.6, -0.8])
    assert optimizer.hyper["clip_norm"] == 0.5
    with pytest.warns(UserWarning, match="clip_norm was a schedule"):
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


@pytest.mark.peers("pandas")
def test_the_average_is_pandas_(engine):
    import pandas as pd

    p = np.array([5.0])
    optimizer = gdopt.Momentum(p, lr=0.3, ema=0.8)
    path = [p[0]]
    for _ in range(6):
        optimizer.step(2 * p)
        path.append(p[0])
        expected = pd.Series(path).ewm(alpha=0.2, adjust=False).mean().iloc[-1]
        assert optimizer.average["0"][0] == pytest.approx(expected, rel=1e-13)


def test_no_average_is_refused_by_name():
    with pytest.raises(gdopt.ArgumentError, match="average needs an optimizer made wi"):
        _ = gdopt.SGD(np.zeros(2)).average


def test_a_user_s_state_called_average_is_refused():
    def averaged(p, average, g, *, lr):
        return p - lr * g, average

    with pytest.raises(gdopt.RuleError, match="'average' is a state of the options"):
        gdopt.Optimizer(np.zeros(2), averaged, lr=1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"clip_norm": 0.0}, r"clip_norm must be in \(0, inf\], got 0.0"),
        ({"clip_norm": -1}, r"clip_norm must be in \(0, inf\]"),
        ({"loss_scale": np.inf}, r"loss_scale must be in \(0, inf\) and finite"),
        ({"ema": 1.0}, r"ema must be in \[0, 1\) and finite, got 1.0"),
        ({"clip_norm": True}, "clip_norm must be a number, got True"),
        ({"clip_norm": {"p": 1.0}}, "clip_norm must be one value for all parameters"),
        ({"loss_scale": np.ones(3)}, "loss_scale must be one value for all"),
        ({"master_weights": 1}, "master_weights must be True or False, got 1"),
        (
            {"master_weights": True},
            "master_weights needs float16 or bfloat16 parameters, but 'p' is float64",
        ),
        (
            {"state_dtype": "float16"},
            "state_dtype must be one of None, 'bfloat16', got",
        ),
        ({"state_dtype": "bfloat16"}, "state_dtype='bfloat16' needs parameters of at"),
        ({"rounding": "up"}, "rounding must be one of 'nearest', 'stochastic', got"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"non_finite": None}, "non_finite must be one of 'ignore', 'skip', 'raise'"),
        ({"max_norm": 1.0}, "did you mean clip_norm"),
        ({"global_clipnorm": 1.0}, "did you mean clip_norm"),
        ({"clipnorm": 1.0}, "did you mean clip_each"),
        ({"use_ema": True}, "did you mean ema"),
    ],
)
def test_wrong_options_are_refused(given, message):
    with pytest.raises(gdopt.GdoptError, match=message):
        gdopt.SGD({"p": np.zeros(3)}, **given)
