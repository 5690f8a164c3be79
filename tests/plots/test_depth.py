"""The picture of activations and gradients against depth."""

import math
import re
import sys

import pytest

import gdopt
from gdopt.plots import depth
from gdopt.plots.depth import initializations
from gdopt.training.diagnosis import Layer, LayerNorms, initialization_norms

Figure = pytest.importorskip("matplotlib.figure").Figure


@pytest.fixture(scope="module")
def norms():
    options = {"layers": 6, "width": 20, "examples": 50, "backend": "numpy"}
    return {name: initialization_norms(name, **options) for name in ("tanh", "relu")}


def words(path):
    """Give the texts of an SVG, which matplotlib leaves as comments."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def made(*values):
    """Norms of as many layers, of which all that is measured is one number."""
    layers = [Layer(k, 1.0, v, v, v) for k, v in enumerate(values, start=1)]
    return LayerNorms(tuple(layers), 100.0)


def panel(lines, kind="activations"):
    """Draw one panel, and give its axis."""
    axis = Figure().subplots()
    depth._draw(axis, lines, kind, dict(zip(lines, depth.LINES, strict=False)))
    return axis


def test_every_line_and_panel_has_its_name(norms, tmp_path):
    initializations(norms, tmp_path / "depth.svg", title="six layers")
    found = words(tmp_path / "depth.svg")
    named = {"he", "xavier", "glorot", "zeros", "tanh", "relu", "layer", "six layers"}
    assert named | {"activations", "gradients of units", "norm of dW"} <= {
        word.strip("()") for word in found
    }
    assert found.count("zeros: exactly 0") == 6
    assert found.count("he") == 1  # one legend for all


def test_a_column_for_each_network(norms, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(depth, "save", lambda figure, *_: kept.append(figure))
    for columns in ({"relu": norms["relu"]}, norms):
        initializations(columns, tmp_path / "depth.png")
    assert [len(figure.axes) for figure in kept] == [3, 6]
    assert [figure.get_figwidth() for figure in kept] == [5.7, 9.9]
    titles = [axis.get_title() for axis in kept[1].axes[:2]]
    assert titles == ["tanh", "relu"]


@pytest.mark.parametrize("kind", ["activations", "signals", "gradients"])
def test_the_lines_are_what_was_measured(norms, kind):
    lines = norms["relu"]
    axis = panel({"he": lines["he"]}, kind)
    (line,) = axis.get_lines()
    assert line.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    expected = [getattr(layer, kind) for layer in lines["he"].layers]
    assert line.get_ydata().tolist() == expected
    assert axis.get_yscale() == "log"
    assert len(axis.texts) == 0


def test_what_is_zero_stands_on_the_edge_by_name():
    axis = panel({"a": made(1.0, 0.0, 2.0), "b": made(0.0, 0.0, 0.0)})
    a, zeros_of_a, b, zeros_of_b = axis.get_lines()
    assert math.isnan(a.get_ydata()[1])
    assert list(zeros_of_a.get_xdata()) == [2]
    assert list(zeros_of_b.get_xdata()) == [1, 2, 3]
    assert list(zeros_of_b.get_ydata()) == [depth.FLOOR] * 3
    assert (a.get_color(), b.get_color()) == (depth.BLUE, depth.ORANGE)
    assert zeros_of_a.get_color() == depth.BLUE
    assert [text.get_text() for text in axis.texts] == ["a, b: exactly 0"]


def test_there_is_room_for_zeros_below_the_lines():
    lines = {"a": made(1e-3, 1.0), "b": made(0.0, 0.0)}
    axis = panel(lines)
    high = axis.get_ylim()[1]
    depth._leave_room(axis, {"one": lines}, "activations")
    low = axis.get_ylim()[0]
    place = math.log(1e-3 / low) / math.log(high / low)
    assert place > depth.STRIP > depth.FLOOR
    axis = panel({"a": lines["a"]})
    limits = axis.get_ylim()
    depth._leave_room(axis, {"one": {"a": lines["a"]}}, "activations")
    assert axis.get_ylim() == limits


def test_every_row_of_a_picture_has_that_room(norms, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(depth, "save", lambda figure, *_: kept.append(figure))
    initializations(norms, tmp_path / "depth.png")
    for axis in kept[0].axes:
        low, high = axis.get_ylim()
        named = [one for one in axis.get_lines() if one.get_label() in norms["relu"]]
        values = [value for one in named for value in one.get_ydata()]
        least = min(value for value in values if value > 0)  # gaps are NaN
        assert math.log(least / low) / math.log(high / low) > depth.STRIP


def test_what_is_all_zero_or_not_finite_is_drawn_without_a_warning(tmp_path):
    lines = {"a": made(0.0, 0.0), "b": made(math.inf, math.nan), "c": made(0.0, 1e-40)}
    columns = {"mixed": lines, "strange": {"b": lines["b"]}, "zero": {"a": lines["a"]}}
    initializations(columns, tmp_path / "depth.png")
    assert (tmp_path / "depth.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "got 0 columns with 0 names"),
        ({"relu": {}}, "got 1 columns with 0 names"),
        ({"a": {"he": made(1.0)}, "b": {}}, "got 2 columns with 1 names"),
        ({"a": {str(k): made(1.0) for k in range(5)}}, "got 1 columns with 5 names"),
    ],
)
def test_what_cannot_be_drawn_is_refused(columns, message, tmp_path):
    with pytest.raises(gdopt.ArgumentError, match=message):
        initializations(columns, tmp_path / "depth.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_error_names_the_extra(norms, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(gdopt.MissingExtraError, match=r'pip install "gdopt\[train\]"'):
        initializations(norms, tmp_path / "depth.png")
