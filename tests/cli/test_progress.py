import io

import pytest

from gdopt.cli.parts.progress import Bar, Lines, progress
from gdopt.training import Record

Console = pytest.importorskip("rich.console").Console


def record(step, epoch, accuracy=None):
    return Record(epoch, step, 0.5, 0.25, 0.1, accuracy, 1e4)


def test_the_bar_shows_epoch_cost_and_accuracy():
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)
    with Bar(console, epochs=3, steps=2) as bar:
        bar.show(record(2, 1, accuracy=0.875))
        bar.show(record(3, 2))
        bar.note("note: [the] cost rose")
    shown = file.getvalue()
    assert "\x1b[" in shown
    last = shown.rpartition("epoch")[2]
    assert " 2 of 3" in last
    assert "0.2500" in last
    assert "0.875" in last  # that of the epoch before
    assert "note: [the] cost rose" in shown


@pytest.mark.parametrize("width", [100, 80, 60])
def test_the_bar_fits_into_a_line(width):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width)
    with Bar(console, epochs=1000, steps=100) as bar:
        bar.show(record(2, 1, accuracy=0.875))
    assert "0.875" in file.getvalue().rpartition("epoch")[2]


def test_lines_come_ten_times_and_at_the_end(capsys):
    with Lines(epochs=25) as lines:
        for epoch in range(1, 26):
            lines.show(record(2 * epoch - 1, epoch))
            lines.show(record(2 * epoch, epoch, accuracy=0.5))
    out, err = capsys.readouterr()
    told = [line.split()[1] for line in err.splitlines()]
    assert out == ""
    assert told == [f"{epoch}/25" for epoch in (*range(2, 25, 2), 25)]


def test_progress_is_plain_where_there_is_no_terminal(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(progress(2, 3), Lines)
