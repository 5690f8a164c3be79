import numpy as np
import pytest

from gdopt.nn.initialization import INITIALIZATIONS

setting_up = pytest.importorskip("gdopt.guide.pictures.setting_up")
KINDS = ("activations", "signals", "gradients")


@pytest.fixture
def numbers(run_script):
    """Return what was computed for each picture."""
    return run_script(setting_up).numbers


@pytest.fixture
def axes(run_script):
    """Return the panels of the depth's picture, (3, 2)."""
    return np.reshape(run_script(setting_up).figures["depth.png"].axes, (3, 2))


def test_through_relus_the_signal_lasts_with_he_and_vanishes_with_xavier(numbers):
    relu = numbers["depth"]["relu"]
    assert relu["he"].verdict == "healthy"
    assert 0.5 < relu["he"].forward < 2
    assert 0.5 < relu["he"].backward < 2
    assert relu["xavier"].verdict == relu["zeros"].verdict == "vanishing"
    assert relu["xavier"].forward < 0.01
    assert relu["xavier"].backward < 0.01


def test_xavier_loses_the_root_of_two_in_every_layer_of_relus(numbers):
    """Of 20 layers 19 are hidden: from the first to the last there are 18 steps."""
    relu = numbers["depth"]["relu"]
    assert len(relu["he"].layers) == 20
    lost = relu["xavier"].forward / relu["he"].forward
    assert lost == pytest.approx(2**-9, rel=1e-3)
    # On the way back the probabilities that it starts from differ, too.
    lost = relu["xavier"].backward / relu["he"].backward
    assert lost == pytest.approx(2**-9, rel=0.25)


def test_through_tanh_both_pass(numbers):
    tanh = numbers["depth"]["tanh"]
    assert tanh["he"].verdict == tanh["xavier"].verdict == "healthy"
    assert tanh["zeros"].verdict == "vanishing"
    assert tanh["he"].layers[0].activations == pytest.approx(0.72, abs=0.03)


def test_the_columns_say_how_much_is_left(numbers, axes):
    relu = numbers["depth"]["relu"]
    text = f"he {relu['he'].forward:.2g}, xavier {relu['xavier'].forward:.2g}"
    assert axes[0, 1].get_title("left") == f"ReLU, left of a signal: {text}"


def test_all_initializations_are_drawn_as_they_were_measured(numbers, axes):
    assert set(setting_up.LINES) == set(INITIALIZATIONS)
    for column, lines in zip(axes.T, numbers["depth"].values(), strict=True):
        for axis, kind in zip(column, KINDS, strict=True):
            drawn = {line.get_label(): line for line in axis.get_lines()}
            for name in ("he", "xavier", "glorot"):
                expected = [getattr(layer, kind) for layer in lines[name].layers]
                assert drawn[name].get_ydata().tolist() == expected
                assert drawn[name].get_xdata().tolist() == list(range(1, 21))


def test_what_is_exactly_zero_stands_on_the_edge_with_room_above(axes):
    for axis in axes.flat:
        assert [text.get_text() for text in axis.texts] == ["zeros: exactly 0"]
        *_, zeros, marks = axis.get_lines()
        gone = np.isnan(zeros.get_ydata())
        assert marks.get_xdata().tolist() == zeros.get_xdata()[gone].tolist()
        assert len(marks.get_xdata()) >= 19  # the last layer's signals are not zero
        assert set(marks.get_ydata()) == {setting_up.FLOOR}
        low, high = axis.get_ylim()
        values = [line.get_ydata() for line in axis.get_lines() if line is not marks]
        least = min(v[v > 0].min() for v in values if (v > 0).any())
        place = np.log(least / low) / np.log(high / low)
        assert place > setting_up.STRIP > setting_up.FLOOR


def test_normalization_makes_the_contours_round_and_descent_short(numbers):
    case = numbers["normalization"]
    conditions, trajectories = case["conditions"], case["trajectories"]
    assert conditions["as it is"] == pytest.approx(405, abs=1)
    assert conditions["normalized"] == pytest.approx(1, abs=1e-12)
    assert trajectories["as it is"].arrived == pytest.approx(416, abs=2)
    assert trajectories["normalized"].arrived == 1
    losses = [trajectory.values[0] for trajectory in trajectories.values()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)  # they start alike
    least = [problem.least for problem in case["problems"].values()]
    assert least[0] == pytest.approx(least[1], rel=1e-9)  # and fit alike


def test_the_condition_is_that_of_mean_and_deviation(numbers):
    """For (w, b): the matrix ((E x^2, E x), (E x, 1)), of mean about 3 and sd 1/2."""
    mean, deviation = 3.0, 0.5
    trace, determinant = mean**2 + deviation**2 + 1, deviation**2
    root = np.sqrt(trace**2 / 4 - determinant)
    expected = (trace / 2 + root) / (trace / 2 - root)
    found = numbers["normalization"]["conditions"]["as it is"]
    assert found == pytest.approx(expected, rel=0.1)  # of a sample
