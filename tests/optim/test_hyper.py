"""Every hyper-parameter may be a number, a schedule, an array, or these by name."""

import itertools

import numpy as np
import pytest
from oracles import CASES

import gdopt

GENERATOR = np.random.default_rng(13)
START = {"W": GENERATOR.standard_normal((2, 3)), "b": GENERATOR.standard_normal(3)}
ROWS = [
    {name: GENERATOR.standard_normal(array.shape) for name, array in START.items()}
    for _ in range(6)
]
ADAMW = CASES["adamw corrected"]
EVERY = [(name, setting) for name, case in CASES.items() for setting in case.hyper]


def sampled(kinds):
    """Pair AdamW's settings with all kinds, and each other rule's with two in turn."""
    turns = itertools.cycle(kinds)
    for name, setting in EVERY:
        count = len(kinds) if CASES[name] is ADAMW else 2
        for kind in itertools.islice(turns, count):
            yield name, setting, kind


def run(case, **changes):
    optimizer = case.make({k: array.copy() for k, array in START.items()}, **changes)
    for row in ROWS:
        optimizer.step(row)
    return optimizer.params


def assert_same(found, expected):
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


EXACT = {
    "a schedule": lambda value: lambda _step: value,
    "a 0-d array": np.array,
    "a NumPy scalar": np.float32,
    "a number by name": lambda value: {"W": value, "b": value},
    "a schedule by name": lambda value: {"W": lambda _step: value, "b": value},
    "a 0-d array by name": lambda value: {"W": np.array(value), "b": value},
}


@pytest.mark.parametrize(("name", "setting", "kind"), list(sampled(EXACT)))
def test_every_form_of_a_setting_gives_the_bits_of_a_number(
    name, setting, kind, numpy_engine
):
    case = CASES[name]
    value = float(np.float32(case.hyper[setting]))  # one of the forms
    expected = run(case, **{setting: value})
    assert_same(run(case, **{setting: EXACT[kind](value)}), expected)


ARRAYS = {
    "one element": lambda value: np.array([value]),
    "a row": lambda value: np.full(3, value),
    "float32": lambda value: np.full(3, value, np.float32),
    "by name": lambda value: {"W": np.full((2, 3), value), "b": value},
    "strided": lambda value: np.full(6, value)[::-2],
}


NUMBERS = {  # on which state depends that is not of elements
    (gdopt.Adafactor, "beta2_decay"),
    (gdopt.NAdam, "beta1"),
    (gdopt.NAdam, "momentum_decay"),
    (gdopt.ScheduleFreeAdamW, "lr"),
    (gdopt.ScheduleFreeSGD, "lr"),
}


@pytest.mark.parametrize(("name", "setting", "kind"), list(sampled(ARRAYS)))
def test_an_array_of_one_value_gives_what_the_number_gives(
    name, setting, kind, numpy_engine
):
    case = CASES[name]
    value = float(np.float32(case.hyper[setting]))
    if (case.kind, setting) in NUMBERS:
        with pytest.raises(
            gdopt.ArgumentTypeError, match=f"{setting} must not be an ar"
        ):
            run(case, **{setting: ARRAYS[kind](value)})
        return
    expected = run(case, **{setting: value})
    found = run(case, **{setting: ARRAYS[kind](value)})
    for key, array in expected.items():
        # beta**t is NumPy's power on arrays, and the C library's on numbers.
        np.testing.assert_allclose(found[key], array, rtol=1e-13)


@pytest.mark.parametrize("setting", ADAMW.hyper)
def test_an_array_gives_every_element_its_own_value(setting, engine):
    factors = np.array([1.0, 0.5, 0.25])
    value = ADAMW.hyper[setting]
    found = run(ADAMW, **{setting: value * factors})
    for column, factor in enumerate(factors):
        expected = run(ADAMW, **{setting: value * factor})
        for name in START:
            np.testing.assert_allclose(
                found[name][..., column], expected[name][..., column], rtol=1e-13
            )


def test_biases_need_not_decay(engine):
    decayed = run(ADAMW)
    spared = run(ADAMW, weight_decay={"W": 0.1, "b": 0.0})
    plain = run(CASES["adam corrected"])
    np.testing.assert_array_equal(spared["W"], decayed["W"])
    np.testing.assert_array_equal(spared["b"], plain["b"])
    assert not np.array_equal(decayed["b"], plain["b"])


def test_a_schedule_sees_0_at_the_first_update_and_is_read_once_a_step(numpy_engine):
    seen = []

    def rate(step):
        seen.append(step)
        return 1.0

    optimizer = gdopt.SGD(np.zeros(2), lr=rate)
    for _ in range(3):
        optimizer.step(np.ones(2))
    assert seen == [0, 1, 2]


def test_a_0d_array_is_read_anew_at_every_step(engine):
    rate, p = np.array(1.0), np.zeros(2)
    optimizer = gdopt.SGD(p, lr=rate)
    for value in (1.0, 0.5, 0.0):
        rate[...] = value
        optimizer.step(np.ones(2))
    assert p.tolist() == [-1.5, -1.5]
    assert optimizer.hyper["lr"] == 0.0


def test_an_array_is_copied_when_it_is_assigned(engine):
    rate, p = np.full(2, 1.0), np.zeros(2)
    optimizer = gdopt.SGD(p, lr=rate)
    rate[...] = 100
    optimizer.step(np.ones(2))
    assert p.tolist() == [-1, -1]


def test_bounds_that_are_arrays_are_copied(engine):
    p, low = np.ones(2), np.array([-1.0, 0.5])
    optimizer = gdopt.SGD(p, 1.0, bounds=(low, np.inf))
    low[:] = 1.0
    optimizer.step(np.full(2, 5.0))
    assert p.tolist() == [-1.0, 0.5]


def test_reading_an_array_gives_the_values_in_force(numpy_engine):
    rate = np.full(2, 1.0)
    optimizer = gdopt.SGD({"W": np.zeros(2), "b": np.zeros(2)}, lr=rate)
    by_name = gdopt.SGD({"W": np.zeros(2)}, lr={"W": rate})
    rate[...] = 100
    np.testing.assert_array_equal(optimizer.hyper["lr"], [1, 1])
    np.testing.assert_array_equal(by_name.hyper["lr"]["W"], [1, 1])


def test_reading_gives_the_values_at_the_next_step(numpy_engine):
    p = np.zeros(2)
    optimizer = gdopt.AdamW(
        {"W": p}, lr=lambda k: 1 / (1 + k), weight_decay={"W": lambda k: 0.1 * k}
    )
    assert dict(optimizer.hyper) == {
        "lr": 1.0,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": {"W": 0.0},
    }
    optimizer.step({"W": np.ones(2)})
    assert optimizer.hyper["lr"] == 0.5
    assert optimizer.hyper["weight_decay"] == {"W": 0.1}
    assert len(optimizer.hyper) == 5


def test_assigning_takes_effect_with_the_next_step(engine):
    p = np.zeros(2)
    optimizer = gdopt.SGD(p, lr=1.0)
    for setting in (2.0, lambda k: 10.0 * k, np.array([100.0]), {"0": 1000}, 4):
        optimizer.step(np.ones(2))
        optimizer.hyper["lr"] = setting
    optimizer.step(np.ones(2))
    # Step 2 is the third update, at which the schedule gives 20.
    assert p.tolist() == [-(1.0 + 2 + 20 + 100 + 1000 + 4)] * 2


def test_a_number_assigned_to_a_number_prepares_nothing_again(engine):
    p = np.zeros(2)
    optimizer = gdopt.Momentum(p, lr=1.0, form="heavy_ball", beta=0)
    optimizer.step(np.ones(2))
    version = optimizer.hyper.version
    for rate in (2, np.float32(0.5), np.float64(2.5)):
        optimizer.hyper["lr"] = rate
        assert dict(optimizer.hyper) == {"lr": rate, "beta": 0}
        optimizer.step(np.ones(2))
    assert optimizer.hyper.version == version
    assert p.tolist() == [-6, -6]
    optimizer.hyper["lr"] = lambda k: 1.0 * k
    optimizer.hyper["beta"] = 0.5
    optimizer.step(np.ones(2))  # the velocity is 1.5
    assert optimizer.hyper.version == version
    assert p.tolist() == [-12, -12]
    optimizer.hyper["lr"] = np.full(2, 2.0)
    assert optimizer.hyper.version != version


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), 1e300, True])
def test_a_bad_number_assigned_to_a_number_changes_nothing(bad, unchanged, engine):
    optimizer = gdopt.SGD(np.zeros(2, np.float32), lr=1.0)
    optimizer.step(np.ones(2, np.float32))
    with unchanged(optimizer), pytest.raises((ValueError, TypeError), match="lr must"):
        optimizer.hyper["lr"] = bad
    optimizer.step(np.ones(2, np.float32))
    assert optimizer.params["0"].tolist() == [-2, -2]


def test_a_mapping_is_copied_when_it_is_assigned(numpy_engine):
    rates, p = {"W": 1.0}, np.zeros(2)
    optimizer = gdopt.SGD({"W": p}, lr=rates)
    rates["W"] = 100.0
    optimizer.hyper["lr"]["W"] = 100.0
    optimizer.step({"W": np.ones(2)})
    assert p.tolist() == [-1, -1]


def test_changing_what_was_read_changes_nothing(numpy_engine):
    p = np.zeros(2)
    optimizer = gdopt.SGD({"W": p}, lr={"W": 1.0})
    optimizer.step({"W": np.ones(2)})
    optimizer.hyper["lr"]["W"] = 100.0
    optimizer.step({"W": np.ones(2)})
    assert p.tolist() == [-2, -2]


def test_whole_numbers_are_numbers(numpy_engine):
    expected = run(CASES["sgd"], lr=2.0)
    assert_same(run(CASES["sgd"], lr=2), expected)
    assert_same(run(CASES["sgd"], lr=np.int64(2)), expected)
    assert_same(run(CASES["sgd"], lr=np.array([2, 2, 2])), expected)


def test_an_array_setting_of_float16_parameters_is_float32(engine):
    rate = np.array([1e-6, 1e-3, 1.0])  # the first would be rounded by 2 % in float16
    p = np.zeros(3, np.float16)
    gdopt.SGD(p, lr=rate).step(np.full(3, 1000, np.float16))
    expected = (np.float32(-1000) * rate.astype(np.float32)).astype(np.float16)
    np.testing.assert_array_equal(p, expected)


def test_a_setting_may_be_an_empty_array_for_empty_parameters(numpy_engine):
    optimizer = gdopt.SGD(np.zeros((0, 3)), lr=np.zeros((0, 3)))
    assert optimizer.step(np.zeros((0, 3)))


@gdopt.rule(ranges={"lr": "[0, inf)", "most": "(0, inf]"})
def capped(p, g, *, lr, most):
    return p - np.clip(lr * g, -most, most)


@pytest.mark.parametrize("infinite", [np.inf, lambda step: np.inf, np.full(3, np.inf)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinity_is_taken_where_the_range_of_the_rule_holds_it(
    infinite, dtype, engine
):
    found = []
    for most in (infinite, 1e30):
        p = np.ones(3, dtype)
        optimizer = gdopt.Optimizer(p, capped, lr=0.5, most=most)
        optimizer.step(np.array([1.0, -1e3, 1e20], dtype))
        found.append(p.tolist())
    assert found[0] == found[1]
    assert optimizer.hyper["most"] == 1e30
    with pytest.raises(gdopt.ArgumentError, match=r"must be in \(0, inf\], got -inf"):
        optimizer.hyper["most"] = -np.inf
    with pytest.raises(gdopt.ArgumentError, match=r"must be in \(0, inf\], got nan"):
        optimizer.hyper["most"] = np.nan
    with pytest.raises(gdopt.ArgumentError, match=r"\[0, inf\) and finite, got inf"):
        optimizer.hyper["lr"] = np.inf


def test_a_number_that_overflows_is_not_taken_for_infinity(numpy_engine):
    p = np.ones(3, np.float32)
    with pytest.raises(gdopt.ArgumentError, match="most must be finite in float32"):
        gdopt.Optimizer(p, capped, lr=0.5, most=1e300)


def test_an_infinite_hyper_parameter_is_saved_and_loaded(numpy_engine):
    optimizer = gdopt.Rprop(np.ones(3), max_step_size=np.inf)
    saved = optimizer.state_dict()
    other = gdopt.Rprop(np.ones(3)).load_state_dict(saved)
    assert other.hyper["max_step_size"] == np.inf
