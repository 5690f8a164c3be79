"""Arenas that are cut into parts, for tests."""

import numpy as np
import pytest

import gdopt
from gdopt import Arena

SHAPES = {"W": (37, 11), "none": (0, 3), "b": (11,), "scale": (), "U": (130,)}


def arrays(*dtypes, seed=0):
    """Draw arrays of all shapes in all dtypes, in turns."""
    generator = np.random.default_rng(seed)
    return {
        f"{name} {np.dtype(dtype).name}": np.array(
            generator.standard_normal(shape)
        ).astype(dtype)
        for name, shape in SHAPES.items()
        for dtype in dtypes
    }


def slices(part, arena):
    """Return the buffers of a part of an arena's layout."""
    return {
        group: arena.buffers[group][part.origin[group] :][:size]
        for group, size in part.sizes.items()
    }


def over(arena, parts):
    """Return arenas over the parts of an arena that hold an array."""
    cuts = arena.layout.cut(parts)
    return [Arena.over(cut, slices(cut, arena)) for cut in cuts if cut.slots]


def refused_alike(arenas, **options):
    """Return the one message with which no optimizer of the arenas can be made."""
    found = set()
    for arena in arenas:
        with pytest.raises(gdopt.GdoptError) as caught:
            gdopt.Adam(arena, **options)
        found.add(str(caught.value))
    assert len(found) == 1, found
    return found.pop()
