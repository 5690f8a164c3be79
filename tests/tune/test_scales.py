import math
from collections import Counter

import numpy as np
import pytest

import gdopt
from gdopt.tune import (
    choice,
    log_one_minus,
    log_uniform,
    log_uniform_int,
    power_of_two,
    tune,
    uniform,
    uniform_int,
)

DRAWS = 900


@pytest.fixture(scope="module")
def drawn():
    """Return 900 draws of every scale, by name."""
    pytest.importorskip("optuna")
    space = {
        "log": log_uniform(1e-3, 1),
        "beta": log_one_minus(0.9, 0.9999),
        "even": uniform(-1, 2),
        "whole": uniform_int(3, 5),
        "whole log": log_uniform_int(1, 27),
        "size": power_of_two(64, 256),
        "kind": choice(["relu", None, 2.5]),
    }
    study = tune(lambda _: 0.0, space, trials=DRAWS, seed=0)
    return {name: [t.values[name] for t in study.trials] for name in space}


def assert_thirds(counts):
    # The standard deviation of a third of 900 is 14: five of them.
    assert sum(counts) == DRAWS
    assert np.abs(np.array(counts) - 300).max() < 70


@pytest.mark.slow
def test_each_decade_gets_a_third_of_the_draws(drawn):
    assert_thirds(np.histogram(np.log10(drawn["log"]), (-3, -2, -1, 0))[0])


def test_each_decade_of_one_minus_beta_gets_a_third_of_the_draws(drawn):
    rest = np.log10(1 - np.array(drawn["beta"]))
    assert_thirds(np.histogram(rest, (-4.0001, -3, -2, -0.9999))[0])


def test_whole_numbers_are_drawn_by_their_logarithm_up_to_both_ends(drawn):
    values = drawn["whole log"]
    assert all(type(value) is int for value in values)
    assert set(values) == set(range(1, 28))
    # Of k the draws between k - 1/2 and k + 1/2, by their logarithm.
    edges = np.log([0.5, 1.5, 4.5, 27.5])
    expected = DRAWS * np.diff(edges) / (edges[-1] - edges[0])
    counts = np.histogram(values, (0.5, 1.5, 4.5, 27.5))[0]
    assert np.abs(counts - expected).max() < 70


def test_even_draws_are_even(drawn):
    assert_thirds(np.histogram(drawn["even"], (-1, 0, 1, 2))[0])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("whole", {3, 4, 5}),
        ("size", {64, 128, 256}),
        ("kind", {"relu", None, 2.5}),
    ],
)
def test_whole_numbers_powers_and_options_are_drawn_equally_often(drawn, name, values):
    counts = Counter(drawn[name])
    assert counts.keys() == values
    assert_thirds(list(counts.values()))
    kinds = {int} if name != "kind" else {str, type(None), float}
    assert {type(value) for value in drawn[name]} == kinds


def test_scales_are_drawn_independently(drawn):
    places = np.array([np.log(drawn["log"]), drawn["even"], drawn["whole"]])
    others = np.corrcoef(places)[np.triu_indices(3, 1)]
    assert np.abs(others).max() < 5 / math.sqrt(DRAWS)


def test_the_ends_come_back_as_they_were_given():
    scale = log_one_minus(0.9, 0.999)
    assert scale.value(1 - 0.9) == 0.9
    assert scale.value(1 - 0.999) == 0.999
    assert scale.value(0.1 + 1e-16) == 0.9  # 1 - low is rounded
    assert power_of_two(64, 512).value(9) == 512


@pytest.mark.parametrize(
    ("scale", "value", "place"),
    [
        (uniform(2, 6), 3, 0.25),
        (log_uniform(1e-4, 1), 1e-3, 0.25),
        (log_one_minus(0.9, 0.99999), 0.99, 0.25),
        (uniform_int(0, 8), 2, 0.25),
        (log_uniform_int(1, 256), 4, 0.25),
        (power_of_two(16, 256), 32, 0.25),
        (choice(list("abcde")), "b", 0.25),
        (uniform(3, 3), 3, 0.5),
        (choice(["one"]), "one", 0.5),
    ],
)
def test_places_are_what_draws_see(scale, value, place):
    assert scale.place(value) == pytest.approx(place, abs=1e-12)


@pytest.mark.parametrize(
    ("scale", "values", "expected"),
    [
        (log_uniform(1e-4, 1), [0.1, 0.01, 0.05], log_uniform(0.01, 0.1)),
        (log_one_minus(0.9, 0.999), [0.95, 0.97], log_one_minus(0.95, 0.97)),
        (power_of_two(8, 512), [64, 16], power_of_two(16, 64)),
        (uniform_int(1, 9), [4, 4], uniform_int(4, 4)),
        (log_uniform_int(1, 90), [4, 40], log_uniform_int(4, 40)),
        (choice(["a", "b", "c"]), ["c", "a", "c"], choice(["a", "c"])),
    ],
)
def test_a_scale_is_narrowed_to_the_values_that_did_well(scale, values, expected):
    assert scale.narrowed(values) == expected


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: log_uniform(0, 1),
            "ArgumentError",
            r"low must be in \(0, inf\) .*got 0",
        ),
        (
            lambda: log_uniform(1e-4, math.inf),
            "ArgumentError",
            "high must be in .*got inf",
        ),
        (
            lambda: log_uniform(1, 0.1),
            "ArgumentError",
            r"low must be at most high.*low=1",
        ),
        (lambda: log_uniform("1e-4", 1), "ArgumentTypeError", "low must be a number"),
        (lambda: log_one_minus(0.9, 1), "ArgumentError", r"high must be in \[0, 1\)"),
        (lambda: log_one_minus(-0.1, 0.9), "ArgumentError", "low must be in"),
        (lambda: uniform(math.nan, 1), "ArgumentError", "low must be in .*got nan"),
        (lambda: uniform(True, 2), "ArgumentTypeError", "low must be a number"),
        (lambda: uniform_int(1.0, 2), "ArgumentTypeError", "low must be a whole"),
        (lambda: uniform_int(-1, 2), "ArgumentError", "at least 0, got -1"),
        (lambda: uniform_int(3, 2), "ArgumentError", "low must be at most high"),
        (lambda: log_uniform_int(0, 2), "ArgumentError", "of at least 1, got 0"),
        (lambda: log_uniform_int(1, 2.0), "ArgumentTypeError", "high must be a whole"),
        (lambda: power_of_two(48, 64), "ArgumentError", "low must be a power of two"),
        (lambda: power_of_two(64, 100), "ArgumentError", "high must be a power of two"),
        (lambda: power_of_two(0, 64), "ArgumentError", "low must be a whole number"),
        (lambda: choice([]), "ArgumentError", "options must hold at least one"),
        (lambda: choice("abc"), "ArgumentTypeError", "options must be a list or tuple"),
        (lambda: choice([1, True]), "ArgumentError", "options must all be different"),
        (lambda: choice([math.nan]), "ArgumentError", "options must all be different"),
        (lambda: choice([[64]]), "ArgumentTypeError", r"options must be text.*\[64\]"),
    ],
)
def test_a_scale_that_makes_no_sense_is_refused(make, error, message):
    with pytest.raises(getattr(gdopt, error), match=message):
        make()
