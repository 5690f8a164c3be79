"""Pictures that teach: each draws what was computed, and its claim has a test.

`THEMES` are the pictures under headings in the order of the course, `PICTURES` all of
them in that order.

>>> from gdopt import gallery
>>> len(gallery.PICTURES), gallery.saddle_paths.file
(26, 'saddle.png')
>>> gallery.plateau_paths.measure()["left"]  # steps until half of the way is done
{'SGD': 290, 'Momentum': 54, 'RMSprop': 31, 'Adam': 8}
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from gdopt.checks import check_flag, sequence
from gdopt.errors import ArgumentError
from gdopt.extras import load_extra
from gdopt.files import empty_folder
from gdopt.gallery.averages import averages, correction, weights
from gdopt.gallery.batch_norm import input_shift
from gdopt.gallery.optimization.batches import batch_sizes
from gdopt.gallery.optimization.cost_of_time import cost_of_time
from gdopt.gallery.optimization.family import family_tree
from gdopt.gallery.optimization.film import saddle_film
from gdopt.gallery.optimization.minima import share_of_minima
from gdopt.gallery.optimization.paths import (
    bowl_paths,
    many_minima_paths,
    plateau_paths,
    rosenbrock_paths,
    saddle_paths,
)
from gdopt.gallery.parts.picture import Numbers, Picture
from gdopt.gallery.parts.shrink import shrink
from gdopt.gallery.rates.descents import decay, large_rate, stalling
from gdopt.gallery.rates.schedules import decay_schedules
from gdopt.gallery.regularization.boundaries import boundaries
from gdopt.gallery.regularization.dropout import dropout_mean
from gdopt.gallery.regularization.stopping import patience
from gdopt.gallery.search.random_search import random_search
from gdopt.gallery.search.scales import scales
from gdopt.gallery.search.zoom import coarse_to_fine
from gdopt.gallery.setting_up.depth import depth
from gdopt.gallery.setting_up.normalization import normalization

THEMES = {
    "Setting up": (normalization, depth),
    "Regularization": (boundaries, dropout_mean, patience),
    "Mini-batches": (batch_sizes, cost_of_time),
    "Exponentially weighted averages": (averages, weights, correction),
    "Optimizers": (
        family_tree,
        bowl_paths,
        large_rate,
        stalling,
        rosenbrock_paths,
        saddle_paths,
        saddle_film,
        plateau_paths,
        share_of_minima,
        many_minima_paths,
    ),
    "Learning-rate decay": (decay, decay_schedules),
    "Hyper-parameters": (random_search, scales, coarse_to_fine),
    "Batch normalization": (input_shift,),
}
PICTURES = tuple(picture for pictures in THEMES.values() for picture in pictures)

__all__ = [
    "PICTURES",
    "THEMES",
    "Numbers",
    "Picture",
    "averages",
    "batch_sizes",
    "boundaries",
    "bowl_paths",
    "coarse_to_fine",
    "correction",
    "cost_of_time",
    "decay",
    "decay_schedules",
    "depth",
    "draw",
    "dropout_mean",
    "family_tree",
    "input_shift",
    "large_rate",
    "many_minima_paths",
    "normalization",
    "patience",
    "plateau_paths",
    "random_search",
    "rosenbrock_paths",
    "saddle_film",
    "saddle_paths",
    "scales",
    "share_of_minima",
    "stalling",
    "weights",
]


def draw(
    folder: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    *,
    small: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Numbers]:
    """Draw pictures into a new folder: ``NAME.png`` each, and ``saddle-film.gif``.

    Args:
        folder: one that does not exist yet, or is empty.
        names: of the pictures, as their `Picture.name` has it; by default all.
        small: halve the PNGs in both directions, in 128 colours: for a page of many.
        progress: called with how many are done, how many there are to draw in all, and
            the name of the next one; at the end with "".

    Returns:
        The numbers that each shows, by name.

    Raises:
        ArgumentError: a name is unknown or comes twice, or something is in the folder;
            nothing is drawn then.
        ArgumentTypeError: the names are no list or tuple, or `small` is no truth value.
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
    shrinking = check_flag("small", small)
    path = empty_folder("folder", folder)
    numbers = {}
    for done, picture in enumerate(pictures):
        if progress is not None:
            progress(done, len(pictures), picture.name)
        file = path / picture.file
        try:
            numbers[picture.name] = picture(file)
            if shrinking and picture.ending == ".png":
                shrink(file)
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
