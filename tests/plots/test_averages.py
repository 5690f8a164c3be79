"""The picture of a series and its averages: every line, its name and its window."""

import re

import numpy as np
import pytest

import gdopt
from gdopt.plots import series as series_module
from gdopt.plots.series import averages

pytest.importorskip("matplotlib")
SERIES = 10 + np.random.default_rng(0).standard_normal(300).cumsum()


@pytest.fixture
def lines(monkeypatch, tmp_path):
    """Return ``lines(series, betas)``: what is drawn, by label and way of drawing."""

    def draw(series, betas, **words):
        figures = []
        monkeypatch.setattr(
            series_module, "save", lambda figure, *_: figures.append(figure)
        )
        averages(series, betas, tmp_path / "unwritten.png", **words)
        (axis,) = figures[0].axes
        return axis, axis.get_lines()

    return draw


def words(path):
    """Return the texts of an SVG, which matplotlib leaves as comments."""
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("count", [1, 2, 300, 12_000])
def test_a_picture_is_wide_enough_for_a_page(tmp_path, count):
    series = np.random.default_rng(0).standard_normal(count)
    averages(series, [0.9, 0.98], tmp_path / "averages.png")
    content = (tmp_path / "averages.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20]) == 1350


def test_everything_has_its_name_and_its_window(tmp_path):
    path = tmp_path / "averages.svg"
    averages(SERIES, [0.9, 0.9999, 0.7, 0.0], path, title="May", name="degrees")
    found = set(words(path))
    named = {"May", "degrees", "number of the value", "series", "not corrected"}
    windows = {"10 values", "10,000 values", "3.33 values", "1 value"}
    assert named | windows | {"beta 0.9: about"} <= found


def test_dots_are_the_series_and_lines_its_averages(lines):
    betas = [0.9, 0.98]
    _, (dots, *drawn, _) = lines(SERIES, betas)
    assert dots.get_linestyle() == "None"
    assert dots.get_alpha() < 0.5
    assert dots.get_ydata().tolist() == SERIES.tolist()
    assert dots.get_xdata().tolist() == list(range(1, 301))
    for k, beta in enumerate(betas):
        plain, fair = drawn[2 * k : 2 * k + 2]
        assert (plain.get_linestyle(), fair.get_linestyle()) == ("--", "-")
        assert plain.get_color() == fair.get_color()
        v = 0.0
        for t, x in enumerate(SERIES, 1):
            v = beta * v + (1 - beta) * x
            assert plain.get_ydata()[t - 1] == pytest.approx(v)
            assert fair.get_ydata()[t - 1] == pytest.approx(v / (1 - beta**t))
    assert len({line.get_color() for line in drawn}) == 2


def test_smoother_lines_lie_in_front(lines):
    _, (_, *drawn, _) = lines(SERIES, [0.98, 0.5, 0.9])
    front = [line.get_zorder() for line in drawn[1::2]]
    assert sorted(front) == [front[1], front[2], front[0]]


def test_a_long_series_is_averaged_whole_and_thinned_for_drawing(lines):
    series = np.random.default_rng(1).standard_normal(12_000)
    axis, (dots, _, fair, _) = lines(series, [0.9])
    assert axis.get_xlabel() == "number of the value (one in 3 is drawn)"
    assert dots.get_ydata().tolist() == series[::3].tolist()
    assert fair.get_xdata().tolist() == list(range(1, 12_001, 3))
    assert fair.get_ydata() == pytest.approx(gdopt.ewa(series, 0.9)[::3])


def test_half_precision_is_drawn_as_it_is(lines):
    _, (dots, *_) = lines(np.array([0.1, 0.2], np.float16), [0.5])
    assert dots.get_ydata().tolist() == np.array([0.1, 0.2], np.float16).tolist()


@pytest.mark.parametrize(
    ("series", "betas", "error", "message"),
    [
        (SERIES, [], gdopt.ArgumentError, "betas must be 1 to 6 numbers, got 0"),
        (SERIES, [0.5] * 7, gdopt.ArgumentError, "got 7"),
        (SERIES, [1.0], gdopt.ArgumentError, r"betas must be in \[0, 1\)"),
        (SERIES, 0.9, gdopt.ArgumentTypeError, "betas must be a list or tuple"),
        (SERIES[:0], [0.9], gdopt.ArgumentError, r"series must be of shape \(n,\)"),
        (SERIES[None], [0.9], gdopt.ArgumentError, r"got \(1, 300\)"),
        (np.arange(3), [0.9], gdopt.ArgumentTypeError, "int64"),
        ([1.0], [0.9], gdopt.ArgumentTypeError, "NumPy or CuPy"),
        (
            np.array([1, np.inf]),
            [0.9],
            gdopt.ArgumentError,
            r"finite numbers, and NaN for gaps, got inf at \[1\]",
        ),
    ],
)
def test_bad_input_is_refused(tmp_path, series, betas, error, message):
    with pytest.raises(error, match=message):
        averages(series, betas, tmp_path / "averages.png")
    assert not list(tmp_path.iterdir())
