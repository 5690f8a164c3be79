"""Images in one form, and their pixels at places that may lie outside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Backend, backend_of
from gdopt.checks import check_count, check_kind, each
from gdopt.errors import ArgumentError

FILLS = ("zero", "edge")


def as_images(images: Array, shape: Any, generator: Any) -> tuple[Backend, Array]:
    """Return images as (m, h, w) or (m, h, w, c), to be changed by a generator.

    Raises:
        ArgumentError: their shape is another, or does not fit `shape`.
        ArgumentTypeError: they are no array, `shape` is no list of whole numbers,
            `generator` is no generator: a seed would draw the same every time.
    """
    backend = backend_of(images)
    check_kind("generator", generator, np.random.Generator)
    if shape is None:
        if images.ndim not in (3, 4):
            rule = "images must be (m, h, w) or (m, h, w, c), or flat with a shape"
            message = f"{rule}, got {images.shape}"
            raise ArgumentError(message)
        return backend, images
    sizes = each(check_count, "shape", shape)
    if len(sizes) not in (2, 3) or images.shape[1:] != (math.prod(sizes),):
        rule = "images must be (m, h * w * c) with shape = (h, w) or (h, w, c)"
        message = f"{rule}, got {images.shape} with {shape}"
        raise ArgumentError(message)
    return backend, images.reshape(images.shape[0], *sizes)


def sent(backend: Backend, x: Array, *arrays: np.ndarray) -> list[Array]:
    """Move what was drawn to the images' device."""
    return [backend.from_host(array, backend.device(x)) for array in arrays]


def split_places(xp: Any, places: Array, size: int, fill: str) -> tuple[Array, Any]:
    """Give the pixel at or before each place, and the shares of it and of the next."""
    first, last = (0, size - 1) if fill == "edge" else (-1, size)
    places = xp.minimum(xp.maximum(places, first), last)
    before = (places + 1).astype(np.int64) - 1  # rounds down: nothing is negative
    share = places - before.astype(places.dtype)
    return before, (1 - share, share)


def pixels_at(
    backend: Backend, x: Array, rows: Array, columns: Array, fill: str
) -> Array:
    """Gather pixels by whole numbers that broadcast to (m, h, w), filled beyond."""
    xp, (m, h, w) = backend.xp, x.shape[:3]
    near_rows, near_columns = (
        xp.minimum(xp.maximum(places, 0), size - 1)
        for places, size in ((rows, h), (columns, w))
    )
    (image,) = sent(backend, x, np.arange(m)[:, None, None])
    found = x[image, near_rows, near_columns]
    if fill == "edge":
        return found
    inside = (near_rows == rows) & (near_columns == columns)
    zero = backend.zeros((), x.dtype, backend.device(x))
    return xp.where(inside.reshape(*inside.shape, *(1,) * (x.ndim - 3)), found, zero)
