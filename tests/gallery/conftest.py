import functools
import itertools

import pytest

from gdopt import gallery

ROUNDS = (100.0, 4.0, 5.0, 3.0, 7.0, 4.0)  # seconds


class Clock:
    """Tells a time that passes by the rounds' seconds between two calls."""

    def __init__(self):
        pauses = itertools.chain.from_iterable((0.0, pause) for pause in ROUNDS)
        self._pauses, self._now = itertools.cycle(pauses), 0.0

    def __call__(self):
        self._now += next(self._pauses)
        return self._now


@functools.cache
def _measured(picture):
    options = {"clock": Clock()} if picture is gallery.cost_of_time else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GDOPT_CPU_ENGINE", "numpy")
        return picture.measure(**options)


@pytest.fixture
def numbers():
    """Give ``numbers(picture)``: what it draws, measured once for all tests."""
    return _measured


@pytest.fixture
def laid_out(monkeypatch):
    """Give the figures that were saved: laid out, but not turned into pixels."""
    figures = pytest.importorskip("matplotlib.figure")
    saved = []

    def keep(figure, _path, **_):
        figure.draw_without_rendering()
        saved.append(figure)

    monkeypatch.setattr(figures.Figure, "savefig", keep)
    return saved
