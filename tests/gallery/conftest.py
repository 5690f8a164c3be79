import functools

import pytest


@functools.cache
def _measured(picture):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GDOPT_CPU_ENGINE", "numpy")
        return picture.measure()


@pytest.fixture
def numbers():
    """Give ``numbers(picture)``: what it draws, measured once for all tests."""
    return _measured
