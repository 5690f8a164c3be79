"""Pictures that teach: each draws what was computed, and its claim has a test.

>>> from gdopt import gallery
>>> len(gallery.PICTURES), gallery.saddle_paths.file
(18, 'saddle.png')
>>> gallery.plateau_paths.measure()["left"]  # steps until half of the way is done
{'SGD': 290, 'Momentum': 54, 'RMSprop': 31, 'Adam': 8}
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from gdopt.checks import sequence
from gdopt.errors import ArgumentError
from gdopt.extras import load_extra
from gdopt.gallery.averages import averages, correction, weights
from gdopt.gallery.batches import batch_sizes, normalization
from gdopt.gallery.family import family_tree
from gdopt.gallery.film import saddle_film
from gdopt.gallery.parts.picture import Numbers, Picture
from gdopt.gallery.paths import (
    bowl_paths,
    many_minima_paths,
    plateau_paths,
    rosenbrock_paths,
    saddle_paths,
)
from gdopt.gallery.rates import decay, large_rate, stalling
from gdopt.gallery.schedules import decay_schedules
from gdopt.gallery.search import random_search, share_of_minima

PICTURES = (
    family_tree,
    bowl_paths,
    rosenbrock_paths,
    saddle_paths,
    saddle_film,
    plateau_paths,
    many_minima_paths,
    batch_sizes,
    normalization,
    decay,
    decay_schedules,
    large_rate,
    stalling,
    averages,
    correction,
    weights,
    share_of_minima,
    random_search,
)

__all__ = [
    "PICTURES",
    "Numbers",
    "Picture",
    "averages",
    "batch_sizes",
    "bowl_paths",
    "correction",
    "decay",
    "decay_schedules",
    "draw",
    "family_tree",
    "large_rate",
    "many_minima_paths",
    "normalization",
    "plateau_paths",
    "random_search",
    "rosenbrock_paths",
    "saddle_film",
    "saddle_paths",
    "share_of_minima",
    "stalling",
    "weights",
]


def draw(
    folder: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Numbers]:
    """Draw pictures into a new folder: ``NAME.png`` each, and ``saddle-film.gif``.

    Args:
        folder: one that does not exist yet, or is empty.
        names: of the pictures, as their `Picture.name` has it; by default all.
        progress: called with how many are done, how many there are to draw in all, and
            the name of the next one; at the end with "".

    Returns:
        The numbers that each shows, by name.

    Raises:
        ArgumentError: a name is unknown or comes twice, or something is in the folder;
            nothing is drawn then.
        ArgumentTypeError: the names are no list or tuple.
        MissingExtraError: matplotlib is not installed.
        OSError: the folder or a file cannot be written.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     numbers = draw(folder, ["correction"])
    ...     [path.name for path in pathlib.Path(folder).iterdir()]
    ['correction.png']
    >>> numbers["correction"]["uncorrected"][:2].round(1)
    array([0.7, 1.4])
    """
    load_extra("matplotlib.figure", "train", "drawing")
    pictures = PICTURES if names is None else _chosen(names)
    path = _empty(folder)
    numbers = {}
    for done, picture in enumerate(pictures):
        if progress is not None:
            progress(done, len(pictures), picture.name)
        file = path / picture.file
        try:
            numbers[picture.name] = picture(file)
        except BaseException:
            file.unlink(missing_ok=True)  # what was written of it
            raise
    if progress is not None:
        progress(len(pictures), len(pictures), "")
    return numbers


def _chosen(names: Sequence[str]) -> tuple[Picture, ...]:
    """Give the pictures of these names, in their order."""
    known = {picture.name: picture for picture in PICTURES}
    for k, name in enumerate(sequence("names", names)):
        if name not in known:
            message = f"names must be of {', '.join(known)}, got {name!r}"
            raise ArgumentError(message)
        if name in names[:k]:
            message = f"names must differ from each other, got {name!r} twice"
            raise ArgumentError(message)
    return tuple(known[name] for name in names)


def _empty(folder: str | os.PathLike[str]) -> Path:
    """Make a folder, or take an empty one; nothing that is there is overwritten."""
    path = Path(folder)
    if path.exists() and not path.is_dir():
        message = f"folder must be a new folder, got a file: '{path}'"
        raise ArgumentError(message)
    path.mkdir(parents=True, exist_ok=True)
    there = sorted(entry.name for entry in path.iterdir())
    if there:
        message = (
            f"folder must be new or empty, got '{path}' with {', '.join(there[:3])} "
            "in it"
        )
        raise ArgumentError(message)
    return path
