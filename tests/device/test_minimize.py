"""The loop on arrays of a GPU: the whole problem, mini-batches and checkpoints."""

import numpy as np
import pytest

import gdopt
from gdopt.training import EarlyStopping, ReduceOnPlateau

pytestmark = pytest.mark.gpu
RNG = np.random.default_rng(0)
X = RNG.standard_normal((96, 4))
Y = X @ np.array([1.0, -2.0, 3.0, 0.5])


def squared_error(w, x, y):
    error = x @ w - y
    return (error * error).mean(), 2 * x.T @ error / len(x)


def on(xp, method, **options):
    x, y = xp.asarray(X), xp.asarray(Y)
    w = xp.zeros(4)
    result = gdopt.minimize(
        lambda w: squared_error(w, x, y), w, method=method, **options
    )
    assert result.x is w
    return result


@pytest.mark.parametrize("method", ["adam", "l-bfgs", "cg", "gd"])
@pytest.mark.parametrize("bounds", [None, (-1.0, 2.0)])
def test_a_function_is_minimized_as_on_the_cpu(cp, method, bounds):
    options = {"bounds": bounds, "gtol": 1e-6}
    options |= {"lr": 0.1} if method == "adam" else {}
    host, device = on(np, method, **options), on(cp, method, **options)
    assert host.success
    assert device.success
    # Sums of a product are added up in another order.
    np.testing.assert_allclose(device.x.get(), host.x, rtol=1e-5)
    assert device.nit == pytest.approx(host.nit, rel=0.1)
    assert isinstance(device.fun, float)


def run(xp, folder, *, stop=None, epochs=6):
    x, y = xp.asarray(X), xp.asarray(Y)
    w = xp.zeros(4)

    def interrupt(record):
        if record.step == stop:
            raise KeyboardInterrupt

    options = {"data": gdopt.minibatches(x, y, batch_size=32), "lr": 0.3}
    options |= {"dev": (x, y), "checkpoint": folder, "checkpoint_seconds": 1e-9}
    callbacks = [EarlyStopping(50), ReduceOnPlateau(0.5, 1), interrupt]
    try:
        return gdopt.minimize(
            squared_error, w, epochs=epochs, callback=callbacks, **options
        )
    except KeyboardInterrupt:
        return None


def test_a_run_with_data_is_resumed_with_equal_bits(cp, tmp_path):
    whole = run(cp, None)
    assert run(cp, tmp_path / "run", stop=11) is None
    resumed = run(cp, tmp_path / "run")
    np.testing.assert_array_equal(resumed.x.get(), whole.x.get())
    np.testing.assert_array_equal(resumed.history["loss"], whole.history["loss"])
    assert resumed.nit == whole.nit == 18
    np.testing.assert_allclose(whole.x.get(), run(np, None).x, rtol=1e-9)


def test_a_loss_that_is_not_recorded_is_checked_before_the_next_update(cp):
    seen = []

    def fg(w, x, y):
        seen.append(len(seen))
        value, gradient = squared_error(w, x, y)
        return value * (np.nan if len(seen) == 3 else 1.0), gradient

    data = gdopt.minibatches(cp.asarray(X), cp.asarray(Y), batch_size=8)
    with pytest.raises(gdopt.DivergenceError, match=r"got nan at step 3"):
        gdopt.minimize(fg, cp.zeros(4), data=data, epochs=2, record_every=12)
    assert len(seen) == 4  # the next batch was evaluated, and not used
