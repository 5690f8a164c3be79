import re
import subprocess
import sys

import pytest

import gdopt
from gdopt.plots import curves
from gdopt.plots.series import _draw_loss
from gdopt.training import Record

Figure = pytest.importorskip("matplotlib.figure").Figure


def make(count, *, loss=lambda step: 2 / step, lr=0.1, every=4):
    return [
        Record(
            epoch=1 + step // every,
            step=step,
            loss=loss(step),
            smoothed_loss=loss(step),
            lr=lr,
            dev_accuracy=None if not every or step % every else 1 - 1 / step,
            examples_per_second=1e4,
        )
        for step in range(1, count + 1)
    ]


def words(path):
    """Return the texts of an SVG, which matplotlib leaves as comments."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_picture_is_wide_enough_for_a_page(tmp_path, count):
    curves(make(count), tmp_path / "curves.png")
    content = (tmp_path / "curves.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20]) == 1350


def test_every_curve_has_its_name(tmp_path):
    curves(make(100), tmp_path / "curves.svg", title="digits, seed 0")
    named = {"step", "loss", "mini-batch", "average", "dev accuracy", "learning rate"}
    assert named | {"digits, seed 0", "0.990"} <= set(words(tmp_path / "curves.svg"))


def test_the_dev_loss_of_a_regression_joins_the_losses(tmp_path):
    records = [
        Record(1, step, 1.0, 1.0, None, None, 1e4, dev_loss=2.0 if step == 2 else None)
        for step in (1, 2)
    ]
    curves(records, tmp_path / "curves.svg")
    found = words(tmp_path / "curves.svg")
    assert {"mini-batch", "average", "dev"} <= set(found)
    assert "dev accuracy" not in found


def test_what_the_records_do_not_tell_is_left_out(tmp_path):
    records = [Record(1, step, 1.0, 1.0, None, None, 1e4) for step in (1, 2)]
    curves(records, tmp_path / "curves.svg")
    found = words(tmp_path / "curves.svg")
    assert "loss" in found
    assert not {"dev accuracy", "learning rate"} & set(found)


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        (lambda step: 10 / step, "log"),
        (lambda step: 2 - step / 100, "linear"),
        (lambda step: 1 - step / 100, "linear"),  # ends at 0, which has no logarithm
    ],
)
def test_costs_that_span_decades_are_drawn_by_decades(loss, scale):
    axis = Figure().subplots()
    _draw_loss(axis, make(100, loss=loss))
    assert scale == axis.get_yscale()
    assert scale == "log" or axis.get_ylim()[0] == 0


def test_no_records_are_refused(tmp_path):
    with pytest.raises(gdopt.ArgumentError, match="records must hold at least one"):
        curves([], tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = r'drawing needs matplotlib, .* pip install "gdopt\[train\]"'
    with pytest.raises(gdopt.MissingExtraError, match=message):
        curves(make(2), tmp_path / "curves.png")


@pytest.mark.slow
def test_drawing_leaves_the_state_of_pyplot_alone(tmp_path):
    program = (
        "import sys; from gdopt.plots import curves; from gdopt.training import Record;"
        f"curves([Record(1, 1, 1.0, 1.0, 0.1, 0.5, 1e4)], {str(tmp_path / 'c.png')!r});"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
