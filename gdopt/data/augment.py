"""Images changed at random while training: flipped, shifted, rotated.

Images are (m, h, w) or (m, h, w, c); or flat, (m, h * w) or (m, h * w * c), where
`shape` is (h, w) or (h, w, c). All is drawn on the host, so that one seed gives the
same on every backend; images stay on their device, and new arrays are made of them.
Labels are not changed: choose transforms that leave a 6 a 6.

Source: Ng, Improving deep neural networks, week 1, "Other regularization methods".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gdopt.arrays.arena import refuse_unusable_dtype
from gdopt.arrays.backend import Array, Backend, common_backend, on_their_device
from gdopt.arrays.dtypes import compute_dtype
from gdopt.checks import (
    Range,
    as_scalar,
    check_choice,
    check_count,
    check_each,
    check_function,
    check_int,
    check_kind,
    check_number,
    check_seed,
    check_sequence,
    check_state,
    shows,
)
from gdopt.errors import ArgumentError

__all__ = ["Augment", "flip", "rotate", "shift"]

FILLS = ("zero", "edge")


def as_images(images: Array, shape: Any, generator: Any) -> tuple[Backend, Array]:
    """Return images as (m, h, w) or (m, h, w, c); refuse a seed for a generator."""
    backend = common_backend((("images", images),))
    check_kind("generator", generator, np.random.Generator)
    if shape is None:
        if images.ndim not in (3, 4):
            rule = "images must be (m, h, w) or (m, h, w, c), or flat with a shape"
            raise ArgumentError(f"{rule}, got {images.shape}")
        return backend, images
    sizes = check_each(check_count, "shape", shape)
    if len(sizes) not in (2, 3) or images.shape[1:] != (math.prod(sizes),):
        rule = "images must be (m, h * w * c) with shape = (h, w) or (h, w, c)"
        raise ArgumentError(f"{rule}, got {images.shape} with {shape}")
    return backend, images.reshape(images.shape[0], *sizes)


def sent(backend: Backend, x: Array, *arrays: np.ndarray) -> list[Array]:
    """Move what was drawn to the images' device."""
    return [backend.from_host(array, backend.device(x)) for array in arrays]


def split_places(xp: Any, places: Array, size: int, fill: str) -> tuple[Array, Any]:
    """Return the pixel at or before each place, and its share and the next one's."""
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


SHARE, DEGREES = Range.parse("[0, 1]"), Range.parse("[0, 180]")
KEY = 0x617567  # added to the seed, so that batches of that seed draw other numbers
Transform = Callable[..., Array]


@shows("_names", "seed", "calls")
class Augment:
    """Apply transforms to batches of images, one after the other, seeded.

    What is drawn depends on the seed, the number of the call and the transform's place
    alone. A step of a training is one call, so that a run which resumes with the state
    draws what an uninterrupted one draws; batches may be prefetched.
    Transforms do not share their draws: one more leaves those before it as they were.

    Args:
        transforms: functions ``transform(images, generator=...) -> images``, such as
            ``functools.partial(flip, axis=2)``.
        seed: a whole number of at least 0; it may be that of the batches; 0 is the
            default.

    Attributes:
        calls: how many there have been.

    Raises:
        ArgumentError: there is no transform; `seed` is negative.
        ArgumentTypeError: an argument is of the wrong kind.

    >>> from functools import partial
    >>> from gdopt.data import minibatches
    >>> from gdopt.data.augment import Augment, flip, shift
    >>> flat = {"shape": (8, 8)}
    >>> changes = [partial(shift, most=2, **flat), partial(flip, axis=2, **flat)]
    >>> augment = Augment(changes, seed=0)
    >>> X, y = np.ones((10, 64)), np.arange(10)
    >>> for x, labels in minibatches(X, y, batch_size=5, seed=0):
    ...     x = augment(x)
    ...     print(x.sum(axis=1))
    [42. 42. 48. 64. 42.]
    [49. 42. 48. 56. 42.]
    >>> augment.state_dict()
    {'seed': 0, 'calls': 2}
    """

    def __init__(self, transforms: Sequence[Transform], *, seed: int = 0) -> None:
        self.transforms = tuple(check_sequence("transforms", transforms))
        if not self.transforms:
            raise ArgumentError("transforms must hold at least one, got none")
        for place, transform in enumerate(self.transforms):
            check_function(f"transforms[{place}]", transform)
        functions = (getattr(one, "func", one) for one in self.transforms)
        self._names = [getattr(f, "__name__", type(f).__name__) for f in functions]
        self.seed = check_seed(seed)
        self.calls = 0

    @on_their_device
    def __call__(self, images: Array) -> Array:
        """Return changed images; those given stay as they are."""
        for place, transform in enumerate(self.transforms):
            key = KEY, self.calls, place
            entropy = np.random.SeedSequence(self.seed, spawn_key=key)
            images = transform(images, generator=np.random.default_rng(entropy))
        self.calls += 1
        return images

    def state_dict(self) -> dict[str, int]:
        """Return what a resumed run needs: the seed and the number of calls."""
        return {"seed": self.seed, "calls": self.calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            StateError: it is of another seed, or damaged; nothing has changed.
        """
        same = {"seed": self.seed}
        self.calls = check_state("state", state, counts=["calls"], same=same)["calls"]


def flip(
    images: Array,
    *,
    generator: np.random.Generator,
    axis: int,
    share: float = 0.5,
    shape: tuple[int, ...] | None = None,
) -> Array:
    """Flip some of the images: ``x[i, j] <- x[i, w - 1 - j]`` where ``rand < share``.

    Args:
        images: as `gdopt.data.augment` says; of any dtype.
        generator: of NumPy.
        axis: 2 swaps left and right, 1 top and bottom.
        share: of the images, each by a draw of its own; in [0, 1].
        shape: of an image, where images are flat.

    Returns:
        A new array of the same shape and dtype.

    Raises:
        ArgumentError: an argument is out of its range, `shape` does not fit.
        ArgumentTypeError: an argument is of the wrong kind.

    >>> generator = np.random.default_rng(0)
    >>> flip(np.array([[[1, 2], [3, 4]]]), axis=2, share=1, generator=generator)
    array([[[2, 1],
            [4, 3]]])
    """
    backend, x = as_images(images, shape, generator)
    share = check_number("share", share, SHARE)
    if type(as_scalar(axis)) is not int or axis not in (1, 2):
        message = f"axis must be 1 (top and bottom) or 2 (left and right), got {axis!r}"
        raise ArgumentError(message)
    flipped = x[:, ::-1] if axis == 1 else x[:, :, ::-1]
    with backend.on(backend.device(images)):
        chosen = generator.random(len(x)) < share
        (mask,) = sent(backend, x, chosen.reshape(-1, *(1,) * (x.ndim - 1)))
        return backend.xp.where(mask, flipped, x).reshape(images.shape)


def shift(
    images: Array,
    *,
    generator: np.random.Generator,
    most: int,
    fill: str = "zero",
    shape: tuple[int, ...] | None = None,
) -> Array:
    """Shift images by whole pixels: ``x[i, j] <- x[i - down, j - right]``.

    `down` and `right` are drawn from -most to most pixels, uniformly; `most` is at
    least 0, and less than h and w. `fill` says what comes in: ``"zero"``, which is the
    mean where images are normalized pixel by pixel, or ``"edge"``, the nearest pixel's
    value. The other arguments, the result and errors are those of `flip`.

    >>> generator = np.random.default_rng(0)
    >>> shift(np.array([[[1, 2], [3, 4]]]), most=1, generator=generator)
    array([[[0, 0],
            [1, 2]]])
    """
    backend, x = as_images(images, shape, generator)
    most = check_int("most", most, least=0)
    check_choice("fill", fill, FILLS)
    if most >= min(x.shape[1:3]):
        message = f"most must be less than h and w, {x.shape[1:3]}, got {most}"
        raise ArgumentError(message)
    count = 2, len(x), 1
    steps = generator.integers(-most, most, count, endpoint=True)
    rows, columns = (np.arange(x.shape[k + 1]) - steps[k] for k in (0, 1))
    with backend.on(backend.device(images)):
        rows, columns = sent(backend, x, rows[:, :, None], columns[:, None, :])
        return pixels_at(backend, x, rows, columns, fill).reshape(images.shape)


def rotate(
    images: Array,
    *,
    generator: np.random.Generator,
    degrees: float,
    fill: str = "zero",
    shape: tuple[int, ...] | None = None,
) -> Array:
    """Rotate images about their centre, with bilinear interpolation.

        x[i, j] <- x[cos a (i - i0) + sin a (j - j0) + i0,
                     cos a (j - j0) - sin a (i - i0) + j0],    i0 = (h - 1) / 2

    The angle a is drawn from -degrees to degrees, uniformly; `degrees` is in [0, 180].
    `fill` says what an image is surrounded by: ``"zero"``, or ``"edge"``, the values at
    its edge. SciPy's ``ndimage.rotate`` calls them ``"grid-constant"`` and
    ``"nearest"``; its default cuts off what lies beyond the outermost pixels. The other
    arguments, the result and errors are those of `flip`, but images must be floating.

    >>> generator = np.random.default_rng(0)
    >>> rotate(np.eye(3)[None], degrees=20, generator=generator).round(1)
    array([[[0.8, 0. , 0. ],
            [0.1, 1. , 0.1],
            [0. , 0. , 0.8]]])
    """
    backend, x = as_images(images, shape, generator)
    refuse_unusable_dtype("images", x.dtype)
    degrees = check_number("degrees", degrees, DEGREES)
    check_choice("fill", fill, FILLS)
    dtype, (h, w) = compute_dtype(x.dtype), x.shape[1:3]
    drawn = generator.uniform(-degrees, degrees, (len(x), 1, 1))
    angles, i0, j0 = np.deg2rad(drawn), (h - 1) / 2, (w - 1) / 2
    parts = np.cos(angles), np.sin(angles), np.arange(h)[:, None], np.arange(w)
    with backend.on(backend.device(images)):
        cos, sin, i, j = sent(backend, x, *(part.astype(dtype) for part in parts))
        down, right = i - i0, j - j0
        turned = cos * down + sin * right + i0, cos * right - sin * down + j0
        (rows, row_share), (columns, column_share) = (
            split_places(backend.xp, places, size, fill)
            for places, size in zip(turned, (h, w), strict=True)
        )
        total: Any = 0
        for below, across in itertools.product((0, 1), (0, 1)):
            pixels = pixels_at(backend, x, rows + below, columns + across, fill)
            weight = row_share[below] * column_share[across]
            total = total + pixels * weight.reshape(*weight.shape, *(1,) * (x.ndim - 3))
        return total.astype(x.dtype).reshape(images.shape)
