"""Transforms of images, one after the other, by a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array
from gdopt.checks import check_state, sequence, whole
from gdopt.errors import ArgumentError, ArgumentTypeError

KEY = 0x617567  # beside the seed, so that batches of that seed draw other numbers
Transform = Callable[..., Array]


class Augment:
    """Apply transforms to batches of images, one after the other, seeded.

    What is drawn depends on the seed, the number of the call and the transform's place
    alone. A step of a training is one call, so that a run which resumes with the state
    draws what an uninterrupted one draws; batches may be sent ahead of their turn.
    Transforms do not share their draws: one more leaves those before it as they were.

    Args:
        transforms: functions ``transform(images, generator=...) -> images``, such as
            ``functools.partial(flip, axis=2)``.
        seed: a whole number of at least 0; that of the batches will do.

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
    >>> for x, labels in minibatches(X, y, size=5, seed=0):
    ...     x = augment(x)
    ...     print(x.sum(axis=1))
    [42. 42. 48. 64. 42.]
    [49. 42. 48. 56. 42.]
    >>> augment.state_dict()
    {'seed': 0, 'calls': 2}
    """

    def __init__(self, transforms: Sequence[Transform], *, seed: int) -> None:
        self.transforms = tuple(sequence("transforms", transforms))
        if not self.transforms:
            message = "transforms must hold at least one, got none"
            raise ArgumentError(message)
        for place, transform in enumerate(self.transforms):
            if not callable(transform):
                message = f"transforms[{place}] must be a function, got {transform!r}"
                raise ArgumentTypeError(message)
        self.seed = whole("seed", seed, least=0)
        self.calls = 0

    def __call__(self, images: Array) -> Array:
        """Give changed images; those given stay as they are."""
        for place, transform in enumerate(self.transforms):
            key = KEY, self.calls, place
            entropy = np.random.SeedSequence(self.seed, spawn_key=key)
            images = transform(images, generator=np.random.default_rng(entropy))
        self.calls += 1
        return images

    def state_dict(self) -> dict[str, int]:
        """Give what a resumed run needs: the seed and the number of calls."""
        return {"seed": self.seed, "calls": self.calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken.

        Raises:
            StateError: it is of another seed, or damaged; nothing has changed.
        """
        same = {"seed": self.seed}
        self.calls = check_state("state", state, counts=["calls"], same=same)["calls"]
