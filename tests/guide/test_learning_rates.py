import numpy as np
import pytest

from gdopt import schedules

decay = pytest.importorskip("gdopt.guide.pictures.learning_rate_decay")
optimizers = pytest.importorskip("gdopt.guide.pictures.optimizers")


@pytest.fixture
def numbers(run_script):
    """Return what was computed for each picture."""
    return run_script(decay).numbers | run_script(optimizers).numbers


@pytest.fixture
def drawn(run_script):
    """Return the rates that are drawn, by the code above them."""
    axes = run_script(decay).figures["schedules.png"].axes
    return {axis.get_title("left"): axis.get_lines()[0].get_ydata() for axis in axes}


def test_a_decaying_rate_is_as_fast_at_first_and_ends_nearer(numbers):
    distances = numbers["decay"]["distances"]
    large, small, decaying = (distances[name] for name in decay.DECAYS)
    assert large[15] < 0.2 * large[0]
    assert decaying[25] < large[25] * 1.1
    assert decaying[25] < 0.15 * small[25]
    assert decaying[-1] < large[-1] / 4
    assert decaying[-1] < small[-1]


def test_a_fixed_rate_ends_as_far_away_as_theory_says(numbers):
    """On curvature c the variance settles at rate noise^2 / (c (2 - rate c))."""
    found = numbers["decay"]["distances"]["fixed at 0.2"][-100:]
    rate = 0.2
    expected = sum(rate * decay.NOISE**2 / (c * (2 - rate * c)) for c in (1.0, 2.0))
    assert np.mean(found**2) == pytest.approx(expected, rel=0.03)  # of 400 runs


def test_descent_diverges_at_a_rate_at_which_rmsprop_converges(numbers):
    distances = numbers["large_rate"]["distances"]
    wrong = distances["SGD, rate 0.05"]
    # Across, the error is multiplied by 1 - 0.05 50 = -1.5 in each step.
    assert wrong[100:] / wrong[99:-1] == pytest.approx(1.5, rel=1e-9)
    assert wrong[-1] > 1e30
    right = distances["RMSprop, rate 0.05"]
    assert right[-60:].max() < 3 * 0.05 < right[0] / 20
    assert distances["SGD, rate 0.03"][-1] < 0.01  # a smaller rate serves both


def test_adagrad_stalls_at_its_best_rate_and_rmsprop_goes_on(numbers):
    case = numbers["adagrad"]
    adagrad, rmsprop = case["trajectories"]["Adagrad"], case["trajectories"]["RMSprop"]
    assert adagrad.arrived is None
    assert rmsprop.arrived == 279
    distance = case["problem"].distance
    assert distance(adagrad.points[-1]) > 0.5
    # A thousand steps take it less far than ten of the size of RMSprop's rate.
    way = np.linalg.norm(adagrad.points[-1] - adagrad.points[-1000])
    assert way < 10 * rmsprop.rate
    assert distance(rmsprop.points[-1]) < 0.1


def test_adagrads_rate_only_falls_and_that_of_rmsprop_recovers(numbers):
    factors = numbers["adagrad"]["factors"]
    falls = np.diff(factors["Adagrad"], axis=0)
    assert (falls <= 1e-9 * factors["Adagrad"][:-1]).all()
    along_x = factors["RMSprop"][:, 0]
    assert along_x[250] > 1000 * along_x[:20].min()
    # The first is rate / sqrt(0.1 g^2), by the formula.
    case = numbers["adagrad"]
    slope = abs(case["problem"].gradient(np.array([4.0, 4.0]))[0])
    rate = case["trajectories"]["RMSprop"].rate
    assert along_x[0] == pytest.approx(rate / np.sqrt(0.1 * slope**2), rel=1e-6)
    first = case["trajectories"]["Adagrad"].rate / slope
    assert factors["Adagrad"][0, 0] == pytest.approx(first, rel=1e-6)


def test_every_schedule_is_drawn(drawn):
    codes = " ".join(drawn)
    assert [name for name in schedules.__all__ if name not in codes] == ["Schedule"]
    assert list(drawn) == list(decay.SCHEDULES)


def test_the_rates_are_those_of_the_schedules(drawn):
    t = np.arange(100)
    assert drawn["exponential(0.2, 0.95)"] == pytest.approx(0.2 * 0.95**t)
    assert drawn["inverse_time(0.2, rate=0.05)"] == pytest.approx(0.2 / (1 + 0.05 * t))
    assert drawn["halving(0.2, every=25)"] == pytest.approx(0.2 / 2 ** (t // 25))


def test_the_courses_decay_has_the_courses_values(drawn):
    values = drawn["per_epoch(inverse_time(0.2, 1),\nsteps=20, first=1)"]
    assert values[::20].round(4).tolist() == [0.1, 0.0667, 0.05, 0.04, 0.0333]


RISING = ("warmup", "join", "cosine_restarts", "cyclic", "one_cycle", "interpolate")


def test_all_but_constant_and_rising_ones_fall(drawn):
    for code, values in drawn.items():
        rises = (np.diff(values) > 0).any()
        assert rises == code.startswith(RISING), code
        assert (values[-1] < values.max()) == (not code.startswith("constant")), code
