import numpy as np
import pytest

from gdopt import gallery


def test_through_relus_the_signal_lasts_with_he_and_vanishes_with_xavier(numbers):
    relu = numbers(gallery.depth)["norms"]["relu"]
    assert relu["he"].verdict == "healthy"
    assert 0.5 < relu["he"].forward < 2
    assert 0.5 < relu["he"].backward < 2
    assert relu["xavier"].verdict == relu["zeros"].verdict == "vanishing"
    assert relu["xavier"].forward < 0.01
    assert relu["xavier"].backward < 0.01


def test_xavier_loses_the_root_of_two_in_every_layer_of_relus(numbers):
    """Of 20 layers 19 are hidden: from the first to the last there are 18 steps."""
    relu = numbers(gallery.depth)["norms"]["relu"]
    assert len(relu["he"].layers) == 20
    lost = relu["xavier"].forward / relu["he"].forward
    assert lost == pytest.approx(2**-9, rel=1e-3)
    # On the way back the probabilities that it starts from differ, too.
    lost = relu["xavier"].backward / relu["he"].backward
    assert lost == pytest.approx(2**-9, rel=0.25)


def test_through_tanh_both_pass(numbers):
    tanh = numbers(gallery.depth)["norms"]["tanh"]
    assert tanh["he"].verdict == tanh["xavier"].verdict == "healthy"
    assert tanh["zeros"].verdict == "vanishing"
    assert tanh["he"].layers[0].activations == pytest.approx(0.72, abs=0.03)


def test_the_columns_say_how_much_is_left(numbers, laid_out):
    case = numbers(gallery.depth)
    gallery.depth.paint(case, "unused.png", "claim")
    heads = [axis.get_title() for axis in laid_out[0].axes if axis.get_title()]
    relu = case["norms"]["relu"]
    told = f"he {relu['he'].forward:.2g}, xavier {relu['xavier'].forward:.2g}"
    assert heads[1] == f"ReLU, left of a signal: {told}"


def test_normalization_makes_the_contours_round_and_descent_short(numbers):
    case = numbers(gallery.normalization)
    conditions, walks = case["conditions"], case["walks"]
    assert conditions["as it is"] == pytest.approx(405, abs=1)
    assert conditions["normalized"] == pytest.approx(1, abs=1e-12)
    assert walks["as it is"].arrived == pytest.approx(416, abs=2)
    assert walks["normalized"].arrived == 1
    costs = [walk.values[0] for walk in walks.values()]
    assert costs[0] == pytest.approx(costs[1], rel=1e-12)  # they start alike
    least = [problem.least for problem in case["problems"].values()]
    assert least[0] == pytest.approx(least[1], rel=1e-9)  # and fit alike


def test_the_condition_is_that_of_mean_and_deviation(numbers):
    """For (w, b): the matrix ((E x^2, E x), (E x, 1)), of mean about 3 and sd 1/2."""
    mean, deviation = 3.0, 0.5
    trace, determinant = mean**2 + deviation**2 + 1, deviation**2
    root = np.sqrt(trace**2 / 4 - determinant)
    expected = (trace / 2 + root) / (trace / 2 - root)
    found = numbers(gallery.normalization)["conditions"]["as it is"]
    assert found == pytest.approx(expected, rel=0.1)  # of a sample
