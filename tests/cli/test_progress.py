import io
import sys

import pytest

from gdopt.cli.session import Progress, _reporter
from gdopt.training import Record

pytest.importorskip("rich")
TRAINING = "epoch    1/1000  loss 0.2500  dev accuracy 0.875"


@pytest.fixture
def terminal(monkeypatch):
    """Return ``terminal(width)``: what is written to a terminal from here on."""

    def prepare(width, kind="xterm-256color"):
        written = io.StringIO()
        written.isatty = lambda: True
        monkeypatch.setattr(sys, "stderr", written)
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", kind)
        for name in ("TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        return written

    return prepare


@pytest.fixture
def pipe(monkeypatch):
    """Remove what makes rich take a pipe for a terminal."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("width", [100, 80, 60])
def test_the_bar_fits_into_a_line_of_the_terminal(terminal, width):
    written = terminal(width)
    with Progress() as shown:
        shown.show(1, 100, TRAINING)
    assert "\x1b[" in written.getvalue()
    assert TRAINING in written.getvalue().splitlines()[-2]


def test_the_bar_shows_its_text_before_the_first_call_and_the_last_one_at_the_end(
    terminal,
):
    written = terminal(100)
    with Progress("30 trials [all]") as shown:
        shown._bar.refresh()
        assert "30 trials [all]" in written.getvalue()
        assert shown.done == 0
        shown.show(1, 3, "trial 1/3")
        shown.show(2, 3, "trial 2/3")
        assert shown.done == 2
    assert "trial 2/3" in written.getvalue().splitlines()[-2]


def test_a_note_stands_above_the_bar_as_it_is(terminal):
    written, note = terminal(60), f"note: [the] loss :x: rose{' and rose' * 9}"
    with Progress() as shown:
        shown.show(1, 3, "trial 1/3")
        shown.note(note)
    before, _, after = written.getvalue().partition(note)
    assert "trial 1/3" in after
    assert "trial 1/3" not in before.replace(note, "")


def test_the_time_that_remains_is_known_where_a_trial_takes_minutes(terminal):
    terminal(100)
    with Progress() as shown:
        now = 0.0
        shown._bar.get_time = shown._bar.tasks[0]._get_time = lambda: now
        for done in (1, 2, 3):
            now += 300
            shown.show(done, 5, "")
        assert shown._bar.tasks[0].time_remaining == 600


@pytest.mark.usefixtures("pipe")
@pytest.mark.parametrize(
    ("total", "lines"),
    [
        (3, [1, 2, 3]),
        (19, [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 19]),
        (1000, [1, *range(100, 1001, 100)]),
    ],
)
def test_a_pipe_gets_a_line_at_first_and_after_every_tenth(capsys, total, lines):
    with Progress("hidden") as shown:
        for done in range(1, total + 1):
            shown.show(done, total, str(done))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "".join(f"{done}\n" for done in lines)


@pytest.mark.usefixtures("pipe")
def test_the_caller_may_choose_the_lines(capsys):
    with Progress() as shown:
        for done in range(1, 11):
            shown.show(done, 10, str(done), line=done in {2, 7})
    assert capsys.readouterr().err == "2\n7\n"


@pytest.mark.usefixtures("pipe")
def test_a_pipe_gets_every_note_whole(capsys):
    note = f"note: [the] loss :x: rose{' and rose' * 20}"
    with Progress() as shown:
        for done in range(1, 31):
            shown.show(done, 1000, "text")
            shown.note(note)
    assert capsys.readouterr().err == f"text\n{note}\n" + 29 * f"{note}\n"


def test_a_terminal_without_a_cursor_gets_lines(terminal):
    written = terminal(80, kind="dumb")
    with Progress() as shown:
        shown.show(1, 3, "trial 1/3")
    assert written.getvalue() == "trial 1/3\n"


@pytest.mark.usefixtures("pipe")
def test_a_training_shows_the_accuracy_of_the_epoch_before(capsys):
    with Progress() as shown:
        show = _reporter(shown, epochs=12, steps=2)
        show(Record(2, 1, 0.5, 0.25, dev_accuracy=0.875))
        show(Record(3, 2, 0.5, 0.75, warning="the loss rose"))
        show(Record(24, 12, 0.5, 0.125, dev_accuracy=0.5))
    assert capsys.readouterr().err.splitlines() == [
        "epoch  1/12  loss 0.2500  dev accuracy 0.875",
        "epoch  2/12  loss 0.7500  dev accuracy 0.875",
        "note: the loss rose",
        "epoch 12/12  loss 0.1250  dev accuracy 0.500",
    ]
