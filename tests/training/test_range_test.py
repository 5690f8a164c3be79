"""`lr_finder` measures with growing rates, suggests one, and leaves no trace."""

import copy

import numpy as np
import pytest

import gdopt
from gdopt.training import RangeTest, lr_finder
from gdopt.training.range_test import suggest

X = np.random.default_rng(0).standard_normal((256, 4))
Y = X @ np.array([1.0, 2.0, 3.0, 4.0])


def mean_square(w, x=X, y=Y):
    error = x @ w - y
    return np.mean(error**2), 2 * x.T @ error / len(x)


def batches_of(**options):
    return gdopt.minibatches(X, Y, **{"batch_size": 32} | options)


# What is measured.


def test_the_rates_grow_by_one_factor_from_low_to_high():
    optimizer = gdopt.SGD(np.zeros(4), lr=0.1)
    found = lr_finder(mean_square, optimizer, low=1e-5, high=1e-2, steps=7)
    # A power and a product of floats.
    assert pytest.approx(np.geomspace(1e-5, 1e-2, 7), rel=1e-12) == found.rates


@pytest.mark.parametrize("data", [None, batches_of()], ids=["whole", "batches"])
def test_the_losses_are_those_of_descent_with_these_rates(data, numpy_engine):
    found = lr_finder(mean_square, gdopt.SGD(np.zeros(4)), data, steps=20)
    w, losses = np.zeros(4), []
    draws = [(X, Y)] * 20 if data is None else [*data, *data, *data][:20]
    for rate, (x, y) in zip(found.rates, draws, strict=False):
        loss, gradient = mean_square(w, x, y)
        w -= rate * gradient
        losses.append(mean_square(w)[0] if data is None else loss)
    # Rates are rounded once more by the rule.
    assert pytest.approx(losses, rel=1e-9) == found.losses


def test_each_optimizers_suggestion_trains():
    for make in (gdopt.SGD, gdopt.Momentum, gdopt.Adam, gdopt.RMSprop):
        w = np.zeros(4)
        optimizer = make(w, lr=123.0)
        optimizer.lr = lr_finder(mean_square, optimizer, batches_of()).suggestion
        options = {"data": batches_of(), "method": optimizer, "epochs": 10}
        result = gdopt.minimize(mean_square, w, **options)
        assert result.fun < 0.03 * mean_square(np.zeros(4))[0], optimizer


@pytest.mark.parametrize(
    ("smoothed", "expected"),
    [
        ([5.0, 4.0, 2.0, 3.0], 2.0),
        ([5.0, 5.0, 5.0, 5.0], None),
        ([1.0, 2.0, 3.0, 4.0], None),
        ([-1.0, -2.0, -5.0, 9.0], 2.0),
        ([1.0], None),
    ],
)
def test_the_suggestion_is_where_the_steepest_fall_begins(smoothed, expected):
    rates = np.array([1.0, 2.0, 3.0, 4.0][: len(smoothed)])
    assert expected == suggest(rates, np.array(smoothed))


def test_one_noisy_loss_does_not_decide_the_suggestion():
    smoothed = np.r_[np.full(60, 9.0), np.linspace(9, 1, 20), np.full(20, 1.0)]
    smoothed[30:33] += [2, 1.5, 0]  # falls by 1.5 at once; the rest by 4 in ten
    assert 60 <= suggest(np.arange(100.0), smoothed) <= 70


def test_the_first_tenth_of_the_rates_is_not_suggested():
    smoothed = np.r_[np.linspace(99, 9, 10), np.linspace(9, 1, 90)]
    assert suggest(np.arange(100.0), smoothed) >= 10


def test_it_ends_where_the_smoothed_loss_is_above_the_factor():
    optimizer = gdopt.SGD(np.zeros(4), lr=0.1)
    found = lr_finder(mean_square, optimizer, batches_of(), factor=2.0)
    best = np.minimum.accumulate(found.smoothed)
    above = found.smoothed > 2 * best
    assert above[-1]
    assert not above[:-1].any()
    assert len(found.rates) < 100


def test_negative_losses_end_it_by_their_magnitude():
    def shifted(w, x, y):
        loss, gradient = mean_square(w, x, y)
        return loss - 100, gradient

    found = lr_finder(shifted, gdopt.SGD(np.zeros(4)), batches_of(), factor=1.5)
    best = np.minimum.accumulate(found.smoothed)
    above = found.smoothed > best + 0.5 * abs(best)
    assert above[-1]
    assert not above[:-1].any()
    assert found.suggestion > 1e-3


def test_a_loss_that_is_not_finite_ends_it_without_a_warning():
    w = np.zeros(4, np.float32)
    x, y = X.astype(np.float32), Y.astype(np.float32)

    def cubic(w):
        error = x @ w - y
        gradient = x.T @ (error * error * error)
        return np.mean(error**4), gradient.astype(np.float32)

    found = lr_finder(cubic, gdopt.SGD(w), low=0.1, high=1e6, steps=30, factor=1e38)
    assert 1 <= len(found.rates) < 30
    assert np.isfinite(found.losses).all()
    assert not w.any()


@pytest.mark.parametrize(
    "params",
    [
        lambda: np.zeros(4),
        lambda: [np.zeros(3), np.zeros(1)],
        lambda: {"head": {"w": np.zeros(3)}, "tail": np.zeros(1)},
        lambda: gdopt.Arena.of({"a": np.zeros(3), "b": np.zeros(1)}),
    ],
    ids=["array", "list", "nested", "arena"],
)
def test_the_function_gets_the_parameters_as_they_were_given(params):
    given, seen = params(), []

    def fg(params):
        seen.append(params)
        if isinstance(params, np.ndarray):
            return mean_square(params)
        if isinstance(params, list):
            loss, g = mean_square(np.concatenate(params))
            return loss, [g[:3], g[3:]]
        if isinstance(params, gdopt.Arena):
            loss, g = mean_square(np.concatenate([params["a"], params["b"]]))
            return loss, {"a": g[:3], "b": g[3:]}
        w = np.concatenate([params["head"]["w"], params["tail"]])
        loss, g = mean_square(w)
        return loss, {"head": {"w": g[:3]}, "tail": g[3:]}

    found = lr_finder(fg, gdopt.Adam(given), steps=12)
    assert all(one is given for one in seen)
    assert len(found.rates) == 12


def test_it_prints_the_suggestion_and_the_rates():
    found = RangeTest(np.array([1e-7, 0.25]), *np.ones((2, 2)), suggestion=0.0312345)
    assert repr(found) == ("RangeTest(suggestion=0.0312, 2 rates from 1e-07 to 0.25)")


@pytest.fixture
def figures(monkeypatch):
    """Return the figures that are saved; they are saved all the same."""
    pytest.importorskip("matplotlib")
    from gdopt.plots import series

    save, saved = series.save, []

    def keep(figure, path, title):
        saved.append(figure)
        save(figure, path, title)

    monkeypatch.setattr(series, "save", keep)
    return saved


def test_the_picture_shows_the_curves_and_marks_the_suggestion(figures, tmp_path):
    found = lr_finder(mean_square, gdopt.SGD(np.zeros(4)), batches_of())
    found.plot(tmp_path / "rates.png", title="Rates")
    (axis,) = figures[0].axes
    loss, average, mark = axis.lines
    np.testing.assert_array_equal(loss.get_xydata().T, [found.rates, found.losses])
    np.testing.assert_array_equal(average.get_xydata().T, [found.rates, found.smoothed])
    assert mark.get_xdata()[0] == found.suggestion
    assert axis.get_xscale() == "log"
    low, high = axis.get_ylim()
    assert low < found.smoothed[:-1].min() < found.smoothed[:-1].max() < high
    names = [text.get_text() for text in axis.get_legend().get_texts()]
    assert names == ["loss", "average", f"suggestion: {found.suggestion:.2g}"]
    assert figures[0].get_suptitle() == "Rates"
    assert (tmp_path / "rates.png").stat().st_size > 10_000


def test_the_end_of_a_test_that_blew_up_does_not_hide_the_rest(figures, tmp_path):
    smoothed = np.array([3.0, 2.0, 1.0, 1e9])
    RangeTest(np.arange(1, 5.0), smoothed, smoothed, 2.0).plot(tmp_path / "rates.png")
    assert figures[0].axes[0].get_ylim()[1] < 4


def test_one_rate_without_a_suggestion_is_a_dot(figures, tmp_path):
    RangeTest(*np.ones((3, 1)), suggestion=None).plot(tmp_path / "rates.png")
    (axis,) = figures[0].axes
    assert len(axis.lines) == 2
    assert {line.get_marker() for line in axis.lines} == {"o"}


# Everything is restored.


def make_training(backend="numpy"):
    """Return a network with dropout and batch normalization, trained for 1.5 epochs."""
    put = gdopt.get_backend(backend).from_host
    x, labels = put(X.astype(np.float32)), put((Y > 0).astype(np.int64))
    options = {"keep_prob": 0.8, "batch_norm": True, "seed": 0, "backend": backend}
    network = gdopt.nn.Network((4, 8, 2), **options)
    schedule = gdopt.schedules.cosine(0.01, 0.0, steps=50)
    optimizer = gdopt.Adam(network.params, lr=schedule, ema=0.9, clip_norm=1.0)
    batches = gdopt.minibatches(x, labels, batch_size=64)
    gdopt.fit(network, optimizer, batches, epochs=1)
    for number, batch in enumerate(batches):
        optimizer.step(network.loss_and_grads(*batch)[1])
        if number == 1:
            break
    return network, optimizer, batches


def continue_training(training):
    network, optimizer, batches = training
    result = gdopt.fit(network, optimizer, batches, epochs=3)
    return network, optimizer, result.history


def check_equal(one, other):
    (network, optimizer, history), (network2, optimizer2, history2) = one, other
    to_host = network.params.backend.to_host
    same = np.testing.assert_array_equal
    same(to_host(network.params.flat), to_host(network2.params.flat))
    same(history["loss"], history2["loss"])
    same(history["lr"], history2["lr"])
    for name in network.params:
        same(*(to_host(o.average[name]) for o in (optimizer, optimizer2)))
    assert optimizer.t == optimizer2.t


def test_training_continues_as_if_it_had_not_been_called(unchanged, numpy_engine):
    training, twin = make_training(), make_training()
    network, optimizer, batches = training
    state, position = copy.deepcopy(network.state_dict()), vars(batches).copy()
    schedule, norm = optimizer.hyper.settings["lr"], optimizer.grad_norm
    with unchanged(optimizer):
        found = lr_finder(network, optimizer, batches)
    assert found.suggestion is not None
    assert vars(batches) == position
    assert optimizer.hyper.settings["lr"] is schedule
    assert optimizer.grad_norm == norm
    np.testing.assert_equal(network.state_dict(), state)
    check_equal(continue_training(training), continue_training(twin))


def test_training_on_a_gpu_continues_as_if_it_had_not_been_called(cp):
    training, twin = make_training("cupy"), make_training("cupy")
    lr_finder(*training, steps=20)
    check_equal(continue_training(training), continue_training(twin))


@pytest.mark.parametrize(
    "make",
    [
        lambda w: gdopt.Momentum(w, lr={"a*": 0.1, "*": 0.2}),
        lambda w: gdopt.SGD(w, lr=np.array(0.1), accumulate=3, lookahead=(2, 0.5)),
        lambda w: gdopt.Adam(w, loss_scale="dynamic", swa_start=1),
        lambda w: gdopt.AdamW(w, bounds=(-1, 1), weight_decay={"a": 0.1}),
        lambda w: gdopt.ScheduleFreeSGD(w, 0.1),
    ],
)
def test_state_settings_and_counts_of_any_optimizer_are_restored(
    make, unchanged, numpy_engine
):
    w = {"a": np.zeros(3), "b": np.zeros(1)}
    optimizer = make(w)

    def fg(w, x, y):
        loss, g = mean_square(np.concatenate([*w.values()]), x, y)
        return loss, {"da": g[:3], "db": g[3:]}

    for x, y in batches_of(batch_size=64):
        optimizer.step(fg(w, x, y)[1])
    before = optimizer.state_dict()
    with unchanged(optimizer):
        lr_finder(fg, optimizer, batches_of(), steps=30)
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_rates_that_are_an_array_are_restored():
    w = np.zeros(4)
    optimizer = gdopt.SGD(w, lr=np.array([1.0, 2.0, 3.0, 4.0]))
    lr_finder(mean_square, optimizer, steps=5)
    optimizer.step(-np.ones(4))
    assert list(w) == [1.0, 2.0, 3.0, 4.0]


class Counting:
    """A model of the user's own that remembers something of every batch."""

    def __init__(self):
        self.params, self.seen = {"w": np.zeros(4)}, 0

    def loss_and_grads(self, x, y):
        self.seen += 1
        loss, g = mean_square(self.params["w"], x, y)
        return loss, {"w": g}

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


def test_what_a_model_saves_is_restored():
    model = Counting()
    model.seen = 7
    lr_finder(model, gdopt.Adam(model.params), batches_of())
    assert model.seen == 7


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, gdopt.GdoptError])
def test_everything_is_restored_after_an_error(error, unchanged, numpy_engine):
    w, calls, batches = np.ones(4), [], batches_of()
    optimizer = gdopt.Adam(w, lr=gdopt.schedules.halving(0.1, every=5))
    optimizer.step(np.ones(4))
    generator = np.random.get_state()[1].copy()  # noqa: NPY002 - which a user may have

    def fg(w, x, y):
        calls.append(w.copy())
        np.random.random()  # noqa: NPY002
        if len(calls) == 30:
            raise error
        return mean_square(w, x, y)

    position = vars(batches).copy()
    with unchanged(optimizer), pytest.raises(error):
        lr_finder(fg, optimizer, batches)
    assert len(calls) == 30
    assert (calls[-1] != w).all()
    assert vars(batches) == position
    np.testing.assert_array_equal(np.random.get_state()[1], generator)  # noqa: NPY002


@pytest.mark.parametrize(
    "at",
    [pytest.param(0, id="the first batch"), pytest.param(200, id="a later batch")],
)
def test_data_that_are_not_finite_are_named_and_not_the_rate(at, unchanged):
    x = X.copy()
    x[at, 1] = np.inf
    batches = gdopt.minibatches(x, Y, batch_size=32, shuffle=False, allow_nan=True)
    optimizer = gdopt.SGD(np.zeros(4), lr=0.1)
    message = "array 0 of the data holds inf"
    with unchanged(optimizer), pytest.raises(gdopt.DivergenceError, match=message):
        lr_finder(mean_square, optimizer, batches, high=1e-3)


def test_a_start_that_is_not_finite_is_an_error(unchanged):
    optimizer = gdopt.SGD(np.array([-1.0]), lr=0.1)
    with (
        unchanged(optimizer),
        pytest.raises(gdopt.DivergenceError, match="at the start"),
    ):
        lr_finder(lambda w: (np.sqrt(w[0]), 0.5 / np.sqrt(w)), optimizer)


# What is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0.0}, "low must be"),
        ({"high": np.inf}, "high must be"),
        ({"low": 1.0, "high": 1.0}, "high must be above low=1, got 1"),
        ({"steps": 1}, "steps must be at least 2, got 1"),
        ({"smoothing": 1.0}, "smoothing must be"),
        ({"factor": 1.0}, "factor must be"),
    ],
)
def test_a_number_out_of_its_range_is_refused(options, message, unchanged):
    optimizer = gdopt.Adam(np.zeros(4))
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=message):
        lr_finder(mean_square, optimizer, **options)


def test_wrong_arguments_are_refused(unchanged):
    network = gdopt.nn.Network((4, 2), seed=0, backend="numpy", dtype=np.float64)
    optimizer, other = gdopt.Adam(network.params), gdopt.Adam(np.zeros(4))
    labels = (Y > 0).astype(np.int64)
    batches = gdopt.minibatches(X, labels, batch_size=32)
    columns = gdopt.minibatches(X.T, labels, batch_size=32, axis=1)
    wrong = {
        "optimizer must be": (network, 0.1, batches),
        "optimizer must update network.params": (network, other, batches),
        "must be gdopt.minibatches": (network, optimizer, [(X, labels)]),
        "without axis": (network, optimizer, columns),
        "objective must be a function, got 3": (3, optimizer, batches),
        "data must be batches": (mean_square, other, iter(batches)),
    }
    for message, given in wrong.items():
        with (
            unchanged(optimizer, other),
            pytest.raises(gdopt.GdoptError, match=message),
        ):
            lr_finder(*given)


def test_an_optimizer_without_a_rate_is_refused():
    def fixed(p, g):
        return p - 0.1 * g

    optimizer = gdopt.Optimizer(np.zeros(4), fixed)
    with pytest.raises(gdopt.ArgumentError, match="must have a learning rate, lr"):
        lr_finder(mean_square, optimizer)
