import re
import subprocess
import sys

import numpy as np
import pytest

import gdopt
from gdopt.plots import averages, curves, runs
from gdopt.plots.runs import BLUE, DRAWN, _draw_lines, _thinned
from gdopt.plots.series import plain_numbers
from gdopt.training import History, Record

Figure = pytest.importorskip("matplotlib.figure").Figure


def history_of(records):
    history = History()
    for record in records:
        history.append(record)
    return history


def make(count, *, loss=lambda step: 2 / step, lr=0.1, every=4, **changes):
    return history_of(
        Record(
            step,
            1 + step // every,
            loss(step),
            loss(step),
            lr=lr,
            dev_accuracy=None if step % every else 1 - 1 / step,
            **changes,
        )
        for step in range(1, count + 1)
    )


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
    named = {"step", "loss", "mini-batch", "train, average", "accuracy"}
    named |= {"learning rate"}
    assert named | {"digits, seed 0", "0.990"} <= set(words(tmp_path / "curves.svg"))


def test_the_dev_loss_of_a_regression_joins_the_losses(tmp_path):
    records = [
        Record(step, 1, 1.0, 1.0, dev_loss=2.0 if step == 2 else None)
        for step in (1, 2)
    ]
    curves(history_of(records), tmp_path / "curves.svg")
    found = words(tmp_path / "curves.svg")
    assert {"mini-batch", "train, average", "dev"} <= set(found)
    assert "accuracy" not in found


def test_train_and_dev_accuracy_share_a_panel(tmp_path):
    history = dict(make(100)) | {"train_accuracy": np.linspace(0.1, 0.9, 100)}
    curves(history, tmp_path / "curves.svg")
    assert {"accuracy", "train", "dev"} <= set(words(tmp_path / "curves.svg"))


def test_small_last_batches_make_no_spikes(monkeypatch):
    # Every fifth batch holds one example, whose loss is 100 times that of the others.
    losses = [100.0 if step % 5 == 0 else 1.0 for step in range(1, 41)]
    history = history_of(
        Record(step, (step + 4) // 5, loss, 1.0)
        for step, loss in enumerate(losses, start=1)
    )
    drawn = runs._without_last_batches(history)
    assert np.nanmax(drawn["loss"]) == 1
    np.testing.assert_allclose(drawn["smoothed_loss"], 1)
    alone = history_of(Record(5 * k, k, float(k), float(k)) for k in range(1, 5))
    assert runs._without_last_batches(alone)["loss"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("text", ["a$x^2$b", "$", r"$\frac$", "a\x1b[2Jb"])
def test_the_text_of_a_file_is_drawn_as_it_is(tmp_path, text):
    averages(np.array([1.0, 2.0]), [0.5], tmp_path / "a.svg", title=text, name=text)
    shown = text.replace("\x1b", r"\x1b")
    assert words(tmp_path / "a.svg").count(shown) == 2


def test_what_the_records_do_not_tell_is_left_out(tmp_path):
    curves(history_of(Record(k, 1, 1.0, 1.0) for k in (1, 2)), tmp_path / "curves.svg")
    found = words(tmp_path / "curves.svg")
    assert "loss" in found
    assert not {"dev accuracy", "learning rate", "max |gradient|"} & set(found)


def test_a_run_without_data_has_its_loss_and_its_gradient(tmp_path):
    records = [Record(k, 1, 10.0**-k, 1.0, grad_norm=10.0**-k) for k in range(9)]
    curves(history_of(records), tmp_path / "curves.svg")
    found = words(tmp_path / "curves.svg")
    assert {"step", "loss", "max |gradient|"} <= set(found)
    assert all(rf"$\mathdefault{{10^{{{-k}}}}}$" in found for k in (0, 2, 4))
    assert not {"mini-batch", "average", "learning rate"} & set(found)


def drawn(values):
    """Return the axis of a loss."""
    axis = Figure().subplots()
    records = (Record(k, 1, value, value) for k, value in enumerate(values))
    _draw_lines(axis, history_of(records), {"loss": BLUE, "smoothed_loss": BLUE})
    return axis


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        (lambda step: 10 / step, "log"),
        (lambda step: 0.5**step if step < 95 else 0.0, "log"),
        (lambda step: 2 - step / 100, "linear"),
        (lambda step: 1 - step / 100, "linear"),  # ends at 0, which has no logarithm
        (lambda step: 1 - step / 100 + 1e-9, "linear"),
        (lambda step: 1.0 if step < 99 else 1e-9, "linear"),
        (lambda _: 0.0, "linear"),
    ],
)
def test_costs_that_span_decades_are_drawn_by_decades(loss, scale):
    axis = drawn(loss(step) for step in range(1, 101))
    assert scale == axis.get_yscale()
    assert scale == "log" or axis.get_ylim()[0] == 0


def test_an_accuracy_is_drawn_as_it_is_and_not_by_decades():
    axis = Figure().subplots()
    shares = [0.001] * 30 + [0.5] * 70
    records = (Record(k, k, 1.0, 1.0, dev_accuracy=v) for k, v in enumerate(shares))
    _draw_lines(axis, history_of(records), {"dev_accuracy": BLUE})
    assert axis.get_yscale() == "linear"


@pytest.mark.parametrize("shift", [-0.5, -1e9, 100.0])
def test_small_changes_and_values_below_zero_are_seen(shift):
    axis = drawn(shift + 0.5**step for step in range(30))
    low, high = axis.get_ylim()
    assert shift - 0.1 < low < shift
    assert shift + 1 < high < shift + 1.1


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 1, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (0, 4e-6, ["0", "1e-06", "2e-06", "3e-06", "4e-06"]),
        (1e6, 1e6 + 0.4, ["1000000", "1000000.1", "1000000.2", "1000000.3"]),
        (-3e7, 0, ["-3e+07", "-2e+07", "-1e+07", "0"]),
    ],
)
def test_ticks_are_numbers_without_a_common_factor(low, high, labels):
    axis = Figure().subplots()
    axis.set_ylim(low, high)
    plain_numbers(axis)
    texts = " ".join(text.get_text() for text in axis.get_yticklabels())
    assert set(labels) <= set(texts.replace("\N{MINUS SIGN}", "-").split())
    assert axis.yaxis.get_offset_text().get_text() == ""


def test_of_many_values_the_extremes_are_drawn():
    values = np.random.default_rng(0).standard_normal(100_003)
    values[::7] = np.nan
    values[[0, 777, 100_002]] = [9.0, -8.0, 7.0]
    steps, kept = _thinned(np.arange(100_003), values)
    assert DRAWN * 0.9 < len(kept) < DRAWN * 1.1
    assert np.array_equal(values[steps], kept)
    assert np.all(np.diff(steps) > 0)
    assert (kept.min(), kept.max()) == (np.nanmin(values), np.nanmax(values))
    assert kept[-1] == 7.0
    for count in (1, DRAWN // 3, DRAWN):
        few = np.arange(count)
        assert np.array_equal(_thinned(few, few)[1], few)


@pytest.mark.parametrize(
    ("step", "text"), [(8, "best: epoch 3"), (92, "best: epoch 24")]
)
def test_the_best_record_is_marked_and_the_legend_is_above_the_curves(
    step, text, tmp_path, monkeypatch
):
    figures = []
    monkeypatch.setattr("gdopt.plots.runs.save", lambda f, *_: figures.append(f))
    history = make(100)
    history.plot("unused", best=Record(step, 1, 0.0, 0.0))
    (figure,) = figures
    axis = figure.axes[0]
    figure.draw_without_rendering()
    legend, (note,) = axis.get_legend().get_window_extent(), axis.texts
    assert note.get_text() == text
    assert legend.y0 >= axis.bbox.y1
    assert axis.bbox.x0 <= legend.x0 < legend.x1 <= axis.bbox.x1
    assert note.get_window_extent().y0 >= axis.bbox.y1
    assert not legend.overlaps(note.get_window_extent())
    for other in figure.axes:
        assert [line.get_xdata()[0] for line in other.lines].count(step) >= 1


def test_a_run_without_data_marks_its_best_step(tmp_path):
    history = make(9, grad_norm=1.0)
    history.plot(tmp_path / "curves.svg", "title", best=Record(3, 1, 0.0, 0.0))
    assert {"title", "best: step 3"} <= set(words(tmp_path / "curves.svg"))


def test_no_records_are_refused(tmp_path):
    unknown = history_of([Record(1, 1, np.nan, np.nan)])
    for history in (History(), unknown):
        with pytest.raises(
            gdopt.ArgumentError, match="a record with a finite loss, got"
        ):
            curves(history, tmp_path / "curves.png")
    with pytest.raises(
        gdopt.ArgumentError, match="must hold a record of step 7, got 2"
    ):
        curves(make(2), tmp_path / "curves.png", best=7)
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = r'drawing needs matplotlib, .* pip install -e "\.\[train\]"'
    with pytest.raises(gdopt.MissingExtraError, match=message):
        curves(make(2), tmp_path / "curves.png")


@pytest.mark.slow
def test_drawing_leaves_the_state_of_pyplot_alone(tmp_path):
    program = (
        "import sys; from gdopt.training import History, Record; run = History();"
        "run.append(Record(1, 1, 1.0, 1.0, lr=0.1, dev_accuracy=0.5));"
        f"run.plot({str(tmp_path / 'c.png')!r});"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
