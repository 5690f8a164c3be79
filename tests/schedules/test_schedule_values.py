import numpy as np
import pytest

from gdopt.schedules import (
    cosine,
    cosine_restarts,
    cyclic,
    exponential,
    halving,
    interpolate,
    inv_sqrt,
    inverse_time,
    join,
    one_cycle,
    per_epoch,
    piecewise,
    polynomial,
    warmup,
)


def hundredth(step):
    return 0.01 * step


def values(schedule, steps):
    return [schedule(step) for step in steps]


def test_inverse_time_by_epochs_from_one_gives_the_figures_of_the_course():
    alpha = per_epoch(inverse_time(0.2, rate=1), steps=7, first=1)
    assert values(alpha, range(0, 28, 7)) == pytest.approx([0.1, 0.2 / 3, 0.05, 0.04])
    assert values(alpha, range(6, 28, 7)) == pytest.approx([0.1, 0.2 / 3, 0.05, 0.04])


def test_inverse_time_at_step_zero_is_the_start():
    assert inverse_time(0.2, rate=1)(0) == 0.2


def test_exponential_by_epochs_from_one_gives_powers_of_95_hundredths():
    alpha = per_epoch(exponential(1.0, 0.95), steps=3, first=1)
    assert values(alpha, (0, 3, 6)) == pytest.approx([0.95, 0.9025, 0.857375])


def test_exponential_is_smooth_between_its_steps():
    assert exponential(0.1, 0.25, steps=2)(1) == pytest.approx(0.05)


def test_staircase_holds_each_value_for_its_steps():
    alpha = exponential(0.1, 0.96, 100_000, staircase=True)
    steps = (0, 99_999, 100_000, 199_999, 200_000)
    assert values(alpha, steps) == pytest.approx([0.1, 0.1, 0.096, 0.096, 0.09216])


def test_halving_halves_at_once():
    assert values(halving(0.8, every=3), range(7)) == [0.8] * 3 + [0.4] * 3 + [0.2]


def test_inv_sqrt_counts_mini_batches_from_one():
    assert values(inv_sqrt(0.2, k=3), (0, 3, 8)) == pytest.approx([0.6, 0.3, 0.2])


def test_inv_sqrt_by_epochs_counts_epochs_from_one():
    alpha = per_epoch(inv_sqrt(0.2, k=3), steps=10)
    assert values(alpha, (0, 9, 30, 80)) == pytest.approx([0.6, 0.6, 0.3, 0.2])


def test_piecewise_has_the_new_value_at_the_boundary():
    alpha = piecewise([2, 4], [0.3, 0.2, 0.1])
    assert values(alpha, range(6)) == [0.3, 0.3, 0.2, 0.2, 0.1, 0.1]


def test_piecewise_keeps_the_old_value_at_the_boundary_on_request():
    alpha = piecewise([2, 4], [0.3, 0.2, 0.1], at_boundary="old")
    assert values(alpha, range(6)) == [0.3, 0.3, 0.3, 0.2, 0.2, 0.1]


def test_polynomial_has_its_power():
    alpha = polynomial(1.0, 0.2, steps=4, power=2)
    assert values(alpha, range(5)) == pytest.approx([1.0, 0.65, 0.4, 0.25, 0.2])


def test_polynomial_may_rise():
    assert values(polynomial(0.0, 0.4, steps=4), range(5)) == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4]
    )


def test_cosine_passes_the_middle_half_way():
    assert cosine(0.3, 0.1, steps=10)(5) == pytest.approx(0.2)


@pytest.mark.parametrize("make", [polynomial, cosine])
def test_the_ends_are_exact(make):
    alpha = make(0.1, 0.03, steps=7)
    assert (alpha(0), alpha(7)) == (0.1, 0.03)


@pytest.mark.parametrize("make", [polynomial, cosine])
@pytest.mark.parametrize(("steps", "expected"), [(1, [4, 2, 2]), (2, [4, 3, 2])])
def test_one_and_two_steps_are_defined(make, steps, expected):
    assert values(make(4.0, 2.0, steps), range(3)) == pytest.approx(expected)


def test_warmup_of_one_and_two_steps_is_defined():
    assert values(warmup(0.4, 1), range(2)) == [0.4, 0.4]
    assert values(warmup(0.4, 2), range(3)) == [0.2, 0.4, 0.4]


def test_warmup_moves_at_the_first_step_and_does_not_delay_the_schedule():
    alpha = warmup(polynomial(1.0, 0.0, steps=10), steps=5)
    expected = [0.2, 0.4 * 0.9, 0.6 * 0.8, 0.8 * 0.7, 0.6, 0.5]
    assert values(alpha, range(6)) == pytest.approx(expected)
    assert alpha(10) == 0


def test_join_starts_each_schedule_at_its_own_step_zero():
    alpha = join([hundredth, halving(0.8, every=1), 0.5], [3, 5])
    expected = [0, 0.01, 0.02, 0.8, 0.4, 0.5, 0.5]
    assert values(alpha, range(7)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("schedule", "last"),
    [
        (piecewise([100, 200], [0.1, 0.03, 0.01]), 0.01),
        (polynomial(0.1, 0.02, 100), 0.02),
        (cosine(0.1, 0.02, 100), 0.02),
        (warmup(cosine(0.1, 0.02, 100), 10), 0.02),
        (cosine(0.1, -0.02, 100, power=3), -0.02),
        (interpolate([0, 100], [0.1, 0.02]), 0.02),
        (exponential(0.1, 0.9, end=0.02), 0.02),
        (join([0.1, cosine(0.1, 0.02, 100)], [10]), 0.02),
    ],
    ids=repr,
)
def test_past_its_end_a_schedule_keeps_its_last_value(schedule, last):
    assert values(schedule, (200, 201, 10**9)) == [last] * 3


def test_restarts_begin_and_end_exactly_and_at_whole_numbers_of_the_last_cycle():
    alpha = cosine_restarts(0.1, 0.03, steps=2, t_mul=3, m_mul=0.5)
    tops = [0.1, 0.065, 0.0475]
    assert values(alpha, (0, 2, 8)) == pytest.approx(tops, rel=1e-15)
    assert alpha(0) == 0.1
    assert alpha(1) == pytest.approx(0.065)
    assert cosine_restarts(0.1, 0.03, steps=7)(7 * 10**15) == 0.1
    assert cosine_restarts(0.1, 0.03, steps=1, t_mul=2)(2**40 - 1) == 0.1
    assert values(cosine_restarts(0.1, 0.03, steps=1), range(3)) == [0.1] * 3


def test_what_does_not_change_stays_equal_in_cycles_that_grow():
    alpha = cosine_restarts(0.1, 0.1, steps=2, m_mul=3)
    assert values(alpha, range(60)) == [0.1] * 60
    alpha = cyclic(0.1, 0.1, 2, form="exp_range", gamma=3)
    assert values(alpha, range(60)) == [0.1] * 60


def test_cycles_begin_and_peak_exactly():
    alpha = cyclic(0.03, 0.1, 7, 5)
    assert values(alpha, (0, 7, 12, 19, 24)) == [0.03, 0.1, 0.03, 0.1, 0.03]
    alpha = cyclic(0.03, 0.1, 1)
    assert values(alpha, range(5)) == [0.03, 0.1, 0.03, 0.1, 0.03]


@pytest.mark.parametrize("curve", ["linear", "cosine"])
def test_interpolation_has_its_values_at_its_steps_and_outside(curve):
    alpha = interpolate([3, 4, 11], [0.1, 0.03, 0.7], curve=curve)
    assert values(alpha, (0, 3, 4, 11, 12, 10**9)) == [0.1, 0.1, 0.03, 0.7, 0.7, 0.7]
    assert values(interpolate([5], [0.1], curve=curve), (0, 5, 6)) == [0.1] * 3


def test_one_cycle_past_its_end_keeps_the_last_values():
    for phases in ("two", "three", "paper"):
        rate, momentum = one_cycle(0.1, 10, phases=phases)
        assert values(rate, (10, 11, 10**9)) == [0.1 / 25 / 1e4] * 3
        assert values(momentum, (10, 11, 10**9)) == [0.95] * 3


def test_the_paper_s_cycle_rises_and_falls_in_as_many_steps():
    rate, momentum = one_cycle(0.1, 20, phases="paper", pct_start=0.44)
    assert values(rate, (0, 8, 16, 20)) == [0.004, 0.1, 0.004, 0.1 / 25 / 1e4]
    assert values(momentum, (0, 8, 16, 20)) == [0.95, 0.85, 0.95, 0.95]
    assert rate(4) == pytest.approx(0.052)
    full, _ = one_cycle(0.1, 20, phases="paper", pct_start=0.5)
    assert values(full, (10, 20, 21)) == [0.1, 0.004, 0.004]


def test_a_product_is_of_schedules_functions_and_numbers():
    a, b = cosine(0.1, 0.0, 10), halving(2.0, 3)
    expected = [a(step) * b(step) for step in range(12)]
    assert values(a * b, range(12)) == expected
    half = [0.5 * a(step) for step in range(12)]
    for number in (0.5, np.float64(0.5), np.float32(0.5)):
        assert values(number * a, range(12)) == half
        assert values(a * number, range(12)) == half
    assert values(hundredth * a, range(12)) == values(a * hundredth, range(12))
    assert (a * 2)(3) == 2 * a(3)


@pytest.mark.parametrize("rate", [2.0, 0.5])
def test_nothing_grows_out_of_zero_or_out_of_its_bound(rate):
    assert values(exponential(0.0, rate), (0, 2000)) == [0.0, 0.0]
    alpha = exponential(1.0, rate, end=1 / 3 if rate < 1 else 3.0)
    assert values(alpha, (0, 2, 5000)) == [1.0, alpha.end, alpha.end]
    assert exponential(-1.0, 2.0, end=3.0)(3) == -8.0


def test_a_polynomial_jumps_ever_less_from_its_end():
    alpha = polynomial(1.0, 0.0, steps=4, cycle=True)
    assert values(alpha, (0, 2, 4, 5, 8, 9)) == [1, 0.5, 0, 3 / 8, 0, 1 / 4]


def test_a_rise_of_no_steps_begins_at_the_peak():
    rate, momentum = one_cycle(0.1, 10, pct_start=0.1)  # torch divides by 0 here
    assert (rate(0), momentum(0)) == (0.1, 0.85)
    rate, momentum = one_cycle(0.1, 1, pct_start=1.0)
    assert (rate(0), momentum(0)) == (0.1 / 25 / 1e4, 0.95)
