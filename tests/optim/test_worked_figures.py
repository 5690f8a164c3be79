"""The numbers that the course and the papers work out by hand."""

import math

import numpy as np
import pytest
from oracles import CASES

import gdopt


def one_step(optimizer, p, gradient):
    optimizer.step(np.array([gradient], p.dtype))
    return float(p[0])


def test_a_first_day_at_40_degrees_gives_an_average_of_point_8():
    average = gdopt.EWA(0.98, bias_correction=False)
    assert average.update(40.0) == pytest.approx(0.8, rel=1e-14)
    assert average.update(50.0) == pytest.approx(1.784, rel=1e-14)


def test_a_beta_of_point_9_averages_about_10_values_and_98_hundredths_50():
    assert gdopt.ewa_window(0.9) == pytest.approx(10, rel=1e-14)
    assert gdopt.ewa_window(0.98) == pytest.approx(50, rel=1e-14)
    tenth, fiftieth = gdopt.ewa_weights(0.9, 11)[10], gdopt.ewa_weights(0.98, 51)[50]
    assert tenth / 0.1 == pytest.approx(1 / math.e, abs=0.02)
    assert fiftieth / 0.02 == pytest.approx(1 / math.e, abs=0.005)


def test_the_second_days_weights_are_0196_and_02_and_their_divisor_0396():
    weights = gdopt.ewa_weights(0.98, 2)
    np.testing.assert_allclose(weights, [0.02, 0.0196], rtol=1e-14)
    raw, corrected = (
        gdopt.ewa(np.array([40.0, 50.0]), 0.98, bias_correction=correction)
        for correction in (False, True)
    )
    np.testing.assert_allclose(raw, [0.8, 1.784], rtol=1e-14)
    assert raw[1] / corrected[1] == pytest.approx(0.0396, rel=1e-13)
    assert corrected[1] == pytest.approx((0.0196 * 40 + 0.02 * 50) / 0.0396, rel=1e-13)


def test_the_moments_of_the_optimizers_are_the_courses_averages():
    p = np.zeros(1)
    optimizer = gdopt.Momentum(p, lr=1.0, beta=0.98)
    assert one_step(optimizer, p, 40.0) == pytest.approx(-0.8, rel=1e-14)
    assert one_step(optimizer, p, 50.0) == pytest.approx(-0.8 - 1.784, rel=1e-14)


@pytest.mark.parametrize("gradient", [1e-3, -1.0, 5e4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adams_first_step_has_the_size_of_the_rate(gradient, dtype):
    p = np.zeros(1, dtype)
    found = one_step(gdopt.Adam(p, lr=0.1, eps=1e-30), p, gradient)
    # Up to three roundings: both corrections cancel but for those.
    rounding = float(np.finfo(dtype).eps)
    assert found == pytest.approx(-0.1 * np.sign(gradient), rel=3 * rounding)


def test_adam_without_correction_starts_too_fast():
    # m = .1 g and v = .001 g^2, so the first step is .1 / sqrt(.001) = 3.16 rates.
    p = np.zeros(1)
    optimizer = gdopt.Adam(p, lr=1.0, eps=1e-30, bias_correction=False)
    assert one_step(optimizer, p, 7.0) == pytest.approx(-math.sqrt(10), rel=1e-13)


def test_nesterovs_first_step_is_19_hundredths_not_271_thousandths():
    p = np.zeros(1)
    found = one_step(gdopt.Nesterov(p, lr=0.1, beta=0.9), p, 1.0)
    assert found == pytest.approx(-0.19, rel=1e-14)


def test_a_raw_epsilon_weighs_31_point_6_times_as_much_in_the_first_step():
    def first_step(eps_mode, eps):
        p = np.zeros(1)
        optimizer = gdopt.Adam(p, lr=1.0, eps=eps, eps_mode=eps_mode)
        return one_step(optimizer, p, 1.0)

    assert first_step("raw", 1.0) == pytest.approx(
        first_step("corrected", 1 / math.sqrt(0.001)), rel=1e-13
    )
    assert 1 / math.sqrt(0.001) == pytest.approx(31.6, abs=0.03)


def test_keras_velocity_holds_the_rate():
    p = np.zeros(1)
    optimizer = gdopt.Momentum(p, lr=0.1, beta=0.9, form="keras")
    assert one_step(optimizer, p, 1.0) == pytest.approx(-0.1, rel=1e-14)
    assert one_step(optimizer, p, 1.0) == pytest.approx(-0.29, rel=1e-14)
    optimizer.hyper["lr"] = 0.0  # what was gathered before is not scaled anew
    assert one_step(optimizer, p, 1.0) == pytest.approx(-0.29 - 0.9 * 0.19, rel=1e-14)


def test_the_heavy_balls_velocity_does_not_hold_the_rate():
    p = np.zeros(1)
    optimizer = gdopt.Momentum(p, lr=0.1, beta=0.9, form="heavy_ball")
    assert one_step(optimizer, p, 1.0) == pytest.approx(-0.1, rel=1e-14)
    assert one_step(optimizer, p, 1.0) == pytest.approx(-0.29, rel=1e-14)
    optimizer.hyper["lr"] = 0.0
    assert one_step(optimizer, p, 1.0) == pytest.approx(-0.29, rel=1e-14)


def test_the_three_momenta_agree_at_a_fixed_rate():
    gradients = np.random.default_rng(0).standard_normal((20, 5))
    found = {}
    for form, rate in {"ewa": 0.1 / (1 - 0.9), "heavy_ball": 0.1, "keras": 0.1}.items():
        found[form] = p = np.zeros(5)
        optimizer = gdopt.Momentum(p, lr=rate, beta=0.9, form=form)
        for gradient in gradients:
            optimizer.step(gradient)
    for p in found.values():
        np.testing.assert_allclose(p, found["keras"], rtol=1e-13)


def test_with_beta_0_rmsprop_takes_steps_of_the_rate():
    p = np.zeros(1)
    found = one_step(gdopt.RMSprop(p, lr=0.1, beta=0.0, eps=1e-30), p, -123.0)
    assert found == pytest.approx(0.1, rel=1e-14)


def test_weight_decay_shrinks_by_rate_times_decay_where_there_is_no_gradient():
    p = np.array([2.0])
    optimizer = gdopt.AdamW(p, lr=0.1, weight_decay=0.5)
    assert one_step(optimizer, p, 0.0) == pytest.approx(2 * 0.95, rel=1e-14)


def test_the_defaults_are_the_courses_where_it_gives_some():
    p = np.zeros(1)
    assert gdopt.Momentum(p).hyper["beta"] == 0.9
    assert gdopt.RMSprop(p).hyper["beta"] == 0.9
    adam = gdopt.Adam(p).hyper
    assert [adam[name] for name in ("beta1", "beta2", "eps")] == [0.9, 0.999, 1e-8]
    assert [*adam] == ["lr", "beta1", "beta2", "eps"]


@pytest.mark.parametrize("name", CASES)
def test_a_zero_gradient_moves_nothing_but_what_decays(name):
    case, p = CASES[name], np.array([3.0, -3.0])
    case.make(p).step(np.zeros(2))
    if case.moves_by_itself:
        decayed = case.by_textbook([3.0, -3.0], [[0.0, 0.0]])
        np.testing.assert_allclose(p, decayed, rtol=1e-15)
        assert (np.abs(p) <= 3).all()
    else:
        np.testing.assert_array_equal(p, [3.0, -3.0])
