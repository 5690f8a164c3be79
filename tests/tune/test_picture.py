import itertools
import re

import pytest

import gdopt
from gdopt.tune import (
    Outcome,
    Space,
    Study,
    choice,
    course_space,
    log_one_minus,
    log_uniform,
    power_of_two,
    uniform,
    uniform_int,
)

pytest.importorskip("matplotlib")
from gdopt.plots.series import ORANGE
from gdopt.tune.picture import parallel_coordinates, ticks

SPACE = course_space() | {"activation": choice(["relu", None])}
VALUES = [
    (0.5, 0.95, 60, 64, 2, 0.01, "relu"),
    (0.02, 0.9, 100, 512, 4, 0.1, None),
    (0.001, 0.999, 50, 128, 3, 1.0, "relu"),
]


def study(*states):
    trials = []
    for number, state in enumerate(states):
        values = dict(zip(SPACE, VALUES[number % 3], strict=True))
        score = 0.5 + 0.1 * number if state == "complete" else None
        trials.append(Outcome(number, values, state, score))
    return Study(SPACE, trials)


def words(path):
    """Return the texts of an SVG, which matplotlib leaves as comments."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_axes_have_names_and_the_best_its_values(tmp_path):
    path = tmp_path / "trials.svg"
    parallel_coordinates(study(*["complete"] * 2, "failed", "pruned"), path, title="T")
    said = set(words(path))
    names = {"learning", "rate", "beta", "hidden", "activation", "score", "best"}
    assert names <= said
    assert {"0.02", "512", "None", "0.6"} <= said
    assert "T (1 pruned, dashed; 1 failed)" in said


def test_lines_lie_on_the_scales_and_the_best_above_all(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    plot = Axes.plot

    def watched(self, *values, **style):
        drawn.append((values, style))
        return plot(self, *values, **style)

    monkeypatch.setattr(Axes, "plot", watched)
    parallel_coordinates(study(*["complete"] * 3, "pruned"), tmp_path / "t.png")
    lines = [line for line in drawn if len(line[0][0]) > 2]
    dashed, *scored = lines
    assert dashed[0][1] == "--"
    assert len(dashed[0][0]) == 7
    best = scored[-1]
    assert best[1]["color"] == ORANGE
    # 0.001 of 0.0001 to 1; 0.999; 50; 128 of 64 to 512; 3 of 2 to 4; 1; relu; best.
    expected = [0.25, 1, 0, 1 / 3, 0.5, 1, 0, 1]
    assert best[0][0] == pytest.approx(expected)
    assert scored[0][0][0][-1] == 0  # the worst is drawn first
    assert len({str(style["color"]) for _, style in scored}) == 3


@pytest.mark.parametrize("count", [1, 2, 60])
def test_any_number_of_trials_can_be_drawn(count, tmp_path):
    parallel_coordinates(study(*["complete"] * count), tmp_path / "t.png")
    assert (tmp_path / "t.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("scale", "texts"),
    [
        (log_uniform(1e-4, 1), ["0.0001", "0.001", "0.01", "0.1", "1"]),
        (log_uniform(0.013, 0.3), ["0.013", "0.02", "0.05", "0.1", "0.2", "0.3"]),
        (log_one_minus(0.9, 0.999), ["0.9", "0.99", "0.999"]),
        (power_of_two(64, 512), ["64", "128", "256", "512"]),
        (uniform_int(2, 4), ["2", "3", "4"]),
        (uniform(0.5, 1), ["0.5", "0.6", "0.7", "0.8", "0.9", "1"]),
        (choice(["relu", None]), ["relu", "None"]),
        (uniform_int(7, 7), ["7"]),
        (log_uniform(0.3, 0.3), ["0.3"]),
        (uniform(0.5, 0.5), ["0.5"]),
    ],
)
def test_ticks_are_round_and_lie_where_they_belong(scale, texts):
    found = ticks(scale)
    assert list(found.values()) == texts
    assert min(found) >= 0
    assert max(found) <= 1


def test_ticks_do_not_run_into_each_other():
    for high in (3, 17, 100, 4321):
        heights = sorted(ticks(uniform_int(0, high)))
        gaps = [b - a for a, b in itertools.pairwise(heights)]
        assert min(gaps) > 0.08


def test_nothing_that_is_complete_is_refused(tmp_path):
    with pytest.raises(gdopt.ArgumentError, match="best needs a trial"):
        parallel_coordinates(study("pruned", "failed"), tmp_path / "t.png")
    empty = Study(Space({"x": log_uniform(1, 2)}), [])
    with pytest.raises(gdopt.ArgumentError, match="best needs a trial"):
        parallel_coordinates(empty, tmp_path / "t.png")
    assert not list(tmp_path.iterdir())


def test_options_are_drawn_as_they_are_written(tmp_path):
    options = ["\udcff", "$\\x$"]
    trials = [Outcome(k, {"a$": o}, "complete", k) for k, o in enumerate(options)]
    parallel_coordinates(Study(Space({"a$": choice(options)}), trials), tmp_path / "t")
    assert (tmp_path / "t.png").stat().st_size > 1000
