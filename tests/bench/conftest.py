"""The bench is no package: its scripts find each other beside them, as do its tests."""

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))


@pytest.fixture
def without(monkeypatch):
    """Return ``without(*names)``: packages that are as if they were not installed."""
    find = importlib.util.find_spec

    def hide(*names):
        def found(name, package=None):
            return None if name in names else find(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", found)

    return hide
