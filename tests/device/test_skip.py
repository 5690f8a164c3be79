"""A step whose gradients are not finite is skipped on the device, and nobody waits."""

import numpy as np
import pytest
from twins import LAYOUTS, Twins, draw

import gdopt
from gdopt.kernels.cpu.flush import can_flush

DTYPES = ("float32", "float64", "float16")


def spoil(row, value=np.nan, name="U float32"):
    row[name].reshape(-1)[-1] = value
    return row


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_skipped_step_changes_nothing_and_counts_as_none(layout, value, cp):
    def make(params):
        return gdopt.Adam(
            params,
            lr=gdopt.schedules.exponential(0.1, 0.5),
            clip_norm=1.0,
            ema=0.9,
            non_finite="skip",
        )

    twins = Twins(cp, make, draw(0, DTYPES), layout)
    for seed, name in enumerate([None, "U float32", None, "scale float16", None]):
        row = draw(seed, DTYPES)
        done = twins.step(spoil(row, value, name) if name else row)
        assert [bool(one) for one in done] == [name is None] * 2
        twins.assert_same()
    assert twins.device.t == 3
    assert twins.device.hyper["lr"] == pytest.approx(0.1 * 0.5**3)


def test_finite_gradients_whose_squares_overflow_are_not_skipped(cp):
    twins = Twins(
        cp, lambda p: gdopt.SGD(p, lr=1.0, non_finite="skip"), {"p": np.ones(8)}
    )
    assert [bool(one) for one in twins.step({"p": np.full(8, 1e200)})] == [True] * 2
    twins.assert_same()


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_denormal_gradients_have_the_norm_of_the_cpu(dtype, cp):
    tiny = {"float32": 1e-40, "float16": 6e-8, "float64": 1e-310}[dtype]
    start = {"p": np.ones(70, dtype)}
    twins = Twins(cp, lambda p: gdopt.SGD(p, lr=1.0, clip_norm=1.0), start)
    twins.step({"p": np.full(70, tiny).astype(dtype)})
    assert float(twins.device.grad_norm) == twins.host.grad_norm
    twins.assert_same()
    if dtype == "float32" and can_flush():
        assert twins.host.grad_norm == 0


def test_values_are_sent_anew_when_the_rows_run_out(cp, monkeypatch):
    monkeypatch.setattr("gdopt.optim.gpu.values.AHEAD", 3)

    def make(params):
        return gdopt.Adam(
            params, lr=gdopt.schedules.exponential(0.1, 0.5), non_finite="skip"
        )

    twins = Twins(cp, make, draw(0))
    for seed in range(11):
        row = draw(seed)
        twins.step(spoil(row) if seed in {1, 2, 6} else row)
    twins.assert_same()
    assert twins.device.t == 8


def test_a_schedule_that_fails_later_fails_when_its_step_has_come(cp):
    def rate(step):
        return 1.0 / (3 - step)  # infinite at step 3, and negative behind it

    twins = Twins(cp, lambda p: gdopt.SGD(p, lr=rate, non_finite="skip"), draw(0))
    for seed in range(3):
        twins.step(draw(seed))
    twins.assert_same()
    for optimizer in (twins.host, twins.device):
        before = {n: np.array(optimizer.params[n].tolist()) for n in ("b float32",)}
        grads = {n: cp.asarray(a) for n, a in draw(1).items()}
        with pytest.raises((gdopt.ArgumentError, ZeroDivisionError)):
            optimizer.step(draw(1) if optimizer is twins.host else grads)
        after = np.array(optimizer.params["b float32"].tolist())
        assert after.tolist() == before["b float32"].tolist()
        assert optimizer.t == 3


def test_a_value_assigned_between_steps_holds_from_the_next(cp):
    twins = Twins(cp, lambda p: gdopt.SGD(p, lr=1.0, non_finite="skip"), draw(0))
    for seed, rate in enumerate([0.5, 0.25, gdopt.schedules.exponential(1.0, 0.5)]):
        twins.step(spoil(draw(seed)))
        for optimizer in (twins.host, twins.device):
            optimizer.hyper["lr"] = rate
        twins.step(draw(seed))
    twins.assert_same()


def test_a_loaded_state_sets_the_clock(cp):
    def make(params):
        return gdopt.Adam(params, lr=0.1, non_finite="skip")

    twins = Twins(cp, make, draw(0))
    for seed in range(3):
        twins.step(draw(seed))
    saved = twins.device.state_dict()
    assert saved["t"] == 3
    for optimizer in (twins.host, twins.device):
        optimizer.load_state_dict(saved | {"t": 7})
    twins.step(draw(5))
    twins.assert_same()
    assert twins.device.t == 8


def test_raising_names_the_gradients(cp):
    twins = Twins(cp, lambda p: gdopt.SGD(p, lr=1.0, non_finite="raise"), draw(0))
    moved = {n: cp.asarray(a) for n, a in spoil(draw(1)).items()}
    with pytest.raises(gdopt.ArgumentError, match="gradients of 'U float32'"):
        twins.device.step(moved)
    twins.assert_same()


@pytest.mark.parametrize("option", [{}, {"clip_norm": 1.0}, {"non_finite": "skip"}])
@pytest.mark.parametrize("together", [False, True])
def test_no_step_waits_for_the_device(together, option, cp, cuda):
    params = {n: cp.asarray(a) for n, a in draw(0).items()}
    grads = {n: cp.asarray(a) for n, a in draw(1).items()}
    if together:
        params, grads = gdopt.Arena.of(params), gdopt.Arena.of(grads)
    optimizer = gdopt.Adam(params, lr=0.1, ema=0.9, loss_scale=2.0, **option)
    optimizer.step(grads)
    cuda.forget()
    for _ in range(5):
        optimizer.step(grads)
    assert cuda.count("waits") == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda p: gdopt.Adam(p, lr=0.1, ema=0.9, non_finite="skip"),
        lambda p: gdopt.RMSprop(p, lr=0.1, clip_norm=1e30, non_finite="skip"),
        lambda p: gdopt.Adagrad(p, clip_each=1e32, loss_scale=2.0, non_finite="skip"),
        lambda p: gdopt.LAMB(p, lr=0.1, non_finite="skip"),
        lambda p: gdopt.Adafactor(p, non_finite="skip"),
        lambda p: gdopt.Momentum(p, lr=0.1, non_finite="skip"),
        lambda p: gdopt.Adam(p, loss_scale=2.0**-60, non_finite="skip"),
    ],
)
@pytest.mark.parametrize("layout", ["apart", "arenas"])
def test_state_that_would_overflow_is_skipped_as_on_the_cpu(layout, make, cp):
    twins = Twins(cp, make, draw(0), layout)
    for seed, value in enumerate([None, 1e30, None, 1e19, 1e10, np.inf, None]):
        row = draw(seed)
        row = row if value is None else spoil(row, value)
        host, device = twins.step(row)
        assert bool(device) is host
        twins.assert_same()
    assert twins.device.t == twins.host.t
