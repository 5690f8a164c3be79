"""Transforms of images one after the other, whose draws a resumed run repeats."""

from functools import partial

import numpy as np
import pytest

import gdopt
from gdopt.data import minibatches
from gdopt.data.augment import Augment, flip, rotate, shift

CHANGES = [partial(flip, axis=2), partial(shift, most=1), partial(rotate, degrees=9)]


def draw(count=12):
    """Make images that cannot be written to."""
    images = 10 * np.random.default_rng(1).random((count, 6, 7))
    images.flags.writeable = False
    return images


def epochs(augment, batches, count, left_after=None):
    """Run through epochs as a training does; give images and labels of each step."""
    steps = []
    for _ in range(count):
        for x, y in batches:
            steps.append((augment(x).tobytes(), y.tolist()))
            if len(steps) == left_after:
                return steps
    return steps


def parts(seed=0):
    images = draw(20)
    return Augment(CHANGES, seed=seed), minibatches(
        images, np.arange(20), batch_size=8, seed=0
    )


def test_one_seed_gives_the_same_and_every_call_another():
    first, second = epochs(*parts(), 3), epochs(*parts(), 3)
    assert first == second
    assert first != epochs(*parts(seed=1), 3)
    augment, images = parts()[0], draw()
    assert len({augment(images).tobytes() for _ in range(20)}) == 20


def test_labels_stay_with_their_images():
    images = np.ones((20, 6, 7)) * np.arange(1.0, 21)[:, None, None]
    augment = Augment(CHANGES, seed=0)
    for x, y in minibatches(images, np.arange(1, 21), batch_size=8, seed=0):
        assert augment(x).max(axis=(1, 2)) == pytest.approx(y)


def test_a_resumed_run_draws_what_an_uninterrupted_one_draws():
    expected = epochs(*parts(), 3)
    augment, batches = parts()
    begun = epochs(augment, batches, 3, left_after=4)
    states = augment.state_dict(), batches.state_dict()
    augment, batches = parts()
    augment(draw())
    augment.load_state_dict(states[0])
    batches.load_state_dict(states[1])
    assert begun + epochs(augment, batches, 2) == expected
    assert augment.state_dict() == {"seed": 0, "calls": 9}


def test_one_more_transform_leaves_the_draws_of_those_before():
    two, three = Augment(CHANGES[:2], seed=0), Augment(CHANGES, seed=0)
    images = draw()
    last = np.random.SeedSequence(0, spawn_key=(0x617567, 0, 2))
    turned = CHANGES[2](two(images), generator=np.random.default_rng(last))
    assert np.array_equal(turned, three(images))


def test_the_draws_are_not_those_of_the_batches_order():
    numbers = []
    see = lambda x, *, generator: numbers.append(generator.permutation(20)) or x  # noqa: E731
    augment, batches = Augment([see], seed=0), parts()[1]
    for _, (x, _labels) in zip(range(3), batches, strict=False):
        augment(x)
    orders = [batches.order(epoch).tolist() for epoch in range(3)]
    assert not [n for n in numbers if n.tolist() in orders]


def test_a_transform_that_fails_counts_no_call():
    augment = Augment([partial(shift, most=6)], seed=0)
    with pytest.raises(gdopt.ArgumentError, match=r"most must be less than h and w"):
        augment(draw())
    assert augment.calls == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([], 0), gdopt.ArgumentError, "transforms must hold at least one"),
        ((flip, 0), gdopt.ArgumentTypeError, "transforms must be a list or tuple"),
        (
            ([flip, 3], 0),
            gdopt.ArgumentTypeError,
            r"transforms\[1\] must be a function",
        ),
        (([flip], -1), gdopt.ArgumentError, "seed must be a whole number"),
        (([flip], None), gdopt.ArgumentTypeError, "seed must be a whole number"),
    ],
)
def test_bad_compositions_are_refused(arguments, error, message):
    transforms, seed = arguments
    with pytest.raises(error, match=message):
        Augment(transforms, seed=seed)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "state must be a mapping, got NoneType"),
        ({"seed": 0}, "must have the expected keys: missing 'calls'"),
        ({"seed": 1, "calls": 2}, "seed of state must be 0 to match, got 1"),
        ({"seed": 0, "calls": -1}, "damaged: calls must be a whole number"),
        ({"seed": 0, "calls": 1.5}, "damaged: calls must be a whole number"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(state, message):
    augment = Augment(CHANGES, seed=0)
    augment(draw())
    with pytest.raises(gdopt.StateError, match=message):
        augment.load_state_dict(state)
    assert augment.calls == 1
