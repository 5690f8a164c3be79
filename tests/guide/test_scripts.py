"""What all scripts have in common: what they announce, and what they draw."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gdopt

pictures = pytest.importorskip("gdopt.guide.pictures", reason="not in the wheel")
FOLDER = Path(pictures.__file__).parent
SHARED = {"__init__", "canvas"}
NAMES = sorted({path.stem for path in FOLDER.glob("*.py")} - SHARED)
SCRIPTS = [importlib.import_module(f"gdopt.guide.pictures.{name}") for name in NAMES]


def announced(script):
    return re.findall(r"[a-z-]+\.(?:png|gif)", script.__doc__)


@pytest.fixture(params=SCRIPTS, ids=NAMES)
def script(request):
    """Return each script in turn."""
    return request.param


def test_every_picture_is_announced_by_one_script():
    names = [name for script in SCRIPTS for name in announced(script)]
    there = [path.name for path in FOLDER.iterdir() if path.suffix in {".png", ".gif"}]
    assert sorted(names) == sorted(there)


def test_what_a_script_announces_is_drawn_as_large_as_in_the_guide(script, run_script):
    images = pytest.importorskip("PIL.Image")
    folder = run_script(script).folder
    assert {path.name for path in folder.iterdir()} == set(announced(script))
    for name in announced(script):
        with images.open(folder / name) as drawn, images.open(FOLDER / name) as shown:
            assert drawn.size == shown.size
            assert drawn.format.lower() == Path(name).suffix[1:]
            assert drawn.mode == shown.mode == "P"
            colours = drawn.getcolors()
            assert len(colours) > 16  # not an empty sheet
            assert len(colours) <= 128 or name.endswith(".gif")


def test_nothing_that_is_written_on_a_picture_is_cut_off(script, run_script):
    drawn = run_script(script).figures
    for name, figure in drawn.items():
        assert figure.get_suptitle()
        assert not figure.get_suptitle().endswith(".")
        texts = [*figure.texts]
        for axis in figure.axes:
            texts += [axis.title, axis._left_title, axis.xaxis.label, axis.yaxis.label]
            legend = axis.get_legend()
            if legend is not None:
                texts += legend.get_texts()
                inside = legend.get_window_extent().padded(-2)
                assert axis.bbox.fully_containsx(inside.x0)
                assert axis.bbox.fully_containsx(inside.x1)
                assert axis.bbox.fully_containsy(inside.y0)
        for text in texts:
            if text.get_text() and text.get_visible():
                box = text.get_window_extent()
                where = (name, text.get_text())
                assert figure.bbox.x0 <= box.x0, where
                assert box.x1 <= figure.bbox.x1, where
                assert figure.bbox.y0 <= box.y0, where
                assert box.y1 <= figure.bbox.y1, where


def test_what_has_numbers_along_it_has_a_name(script, run_script):
    for name, figure in run_script(script).figures.items():
        for axis in filter(lambda axis: axis.axison, figure.axes):
            for side in (axis.xaxis, axis.yaxis):
                ticks = [t for t in side.get_ticklabels() if t.get_visible()]
                if any(tick.get_text() for tick in ticks):
                    assert side.label.get_text(), (name, axis.get_title("left"))


def test_powers_of_ten_are_written_as_such(script, run_script):
    for name, figure in run_script(script).figures.items():
        for axis in figure.axes:
            for side in (axis.xaxis, axis.yaxis):
                ticks = [tick.get_text() for tick in side.get_ticklabels()]
                assert not [text for text in ticks if re.search(r"e[+-]\d", text)], name


def test_a_caption_stays_within_the_width_of_its_panel(script, run_script):
    for name, figure in run_script(script).figures.items():
        for axis in figure.axes:
            title = axis._left_title
            if title.get_text():
                end, edge = title.get_window_extent().x1, axis.bbox.x1
                assert end <= edge + 0.01 * figure.bbox.width, (name, title.get_text())


def hidden_share(axis, legend):
    """Return the largest share of a line's points that lie behind a legend."""
    box, largest = legend.get_window_extent(), 0.0
    for line in axis.get_lines():
        if line.get_transform() != axis.transData or len(line.get_xdata()) < 2:
            continue
        points = axis.transData.transform(line.get_xydata())
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            largest = max(largest, np.mean([box.contains(*p) for p in points]))
    return largest


def test_no_legend_hides_a_line(script, run_script):
    for name, figure in run_script(script).figures.items():
        for axis in figure.axes:
            legend = axis.get_legend()
            if legend is not None:
                assert hidden_share(axis, legend) < 0.005, name


def test_panel_titles_do_not_reach_into_each_other(script, run_script):
    for figure in run_script(script).figures.values():
        titles = [axis._left_title for axis in figure.axes]
        boxes = [title.get_window_extent() for title in titles if title.get_text()]
        for k, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:k])


def test_the_film_has_its_frames_and_then_rests(run_script):
    image = pytest.importorskip("PIL.Image")
    film = importlib.import_module("gdopt.guide.pictures.saddle_film")
    drawn = run_script(film)
    with image.open(drawn.folder / "saddle-film.gif") as shown:
        assert shown.is_animated
        durations = []
        for frame in range(shown.n_frames):
            shown.seek(frame)
            durations.append(shown.info["duration"])
    # Equal frames become one that lasts.
    expected = film.PAUSE * len(drawn.numbers["film"]["frames"]) + film.REST
    assert sum(durations) == expected
    assert durations[-1] >= film.PAUSE + film.REST


def test_the_help_lists_the_pictures(script, capsys):
    with pytest.raises(SystemExit) as done:
        script.main(["--help"])
    assert done.value.code == 0
    said = capsys.readouterr().out
    assert "OUT" in said
    assert all(name in said for name in announced(script))


PROGRAM = """
import runpy, sys
sys.argv[1:] = ["--help"]
try:
    runpy.run_module("gdopt.guide.pictures.averages", run_name="__main__")
except SystemExit as done:
    assert done.code == 0
import {modules}
print({{"matplotlib", "PIL"}} & set(sys.modules))
"""


def test_a_script_runs_as_a_module_and_draws_only_under_main():
    modules = ", ".join(script.__name__ for script in SCRIPTS)
    program = PROGRAM.format(modules=modules)
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "averages.png" in done.stdout
    assert done.stdout.endswith("set()\n")


def test_without_matplotlib_the_error_names_the_extra(script, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = r'drawing needs matplotlib, .* pip install -e "\.\[train\]"'
    with pytest.raises(gdopt.MissingExtraError, match=message):
        script.main([str(tmp_path / "new")])
    assert not list(tmp_path.iterdir())
