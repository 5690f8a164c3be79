import numpy as np
from data.examples import rows

from gdopt.arrays.numpy_ import NumpyBackend
from gdopt.data import minibatches


def test_one_seed_gives_the_same_batches_on_a_device(device):
    X, y = rows(10), np.arange(10)
    columns = np.asfortranarray(rows(10).T)
    for options in ({}, {"shuffle": False}, {"drop_last": True}):
        here = minibatches(X, y, batch_size=4, seed=5, **options)
        there = minibatches(
            device.put(X), device.put(y), batch_size=4, seed=5, **options
        )
        for _ in range(2):
            for (x, labels), batch in zip(here, there, strict=True):
                np.testing.assert_array_equal(x, device.get(batch[0]))
                np.testing.assert_array_equal(labels, device.get(batch[1]))
    here = minibatches(columns, batch_size=4, seed=5, axis=1)
    there = minibatches(device.put(columns), batch_size=4, seed=5, axis=1)
    for x, batch in zip(here, there, strict=True):
        np.testing.assert_array_equal(x, device.get(batch))


def test_batches_kept_on_a_device_stay_as_they_were(device):
    batches = minibatches(device.put(rows(80)), batch_size=4, seed=0)
    kept = [batch[1:].T for batch in batches]
    expected = minibatches(rows(80), batch_size=4, seed=0)
    for one, other in zip(expected, kept, strict=True):
        np.testing.assert_array_equal(one[1:].T, device.get(other))


def test_indices_cross_to_the_device_once_an_epoch(monkeypatch):
    moved = []
    from_host = NumpyBackend.from_host

    def spy(self, array, device=None):
        moved.append(len(array))
        return from_host(self, array, device)

    monkeypatch.setattr(NumpyBackend, "from_host", spy)
    batches = minibatches(rows(10), np.arange(10), batch_size=2, seed=0)
    for _ in range(2):
        list(batches)
    assert moved == [10, 10]


def test_without_shuffling_nothing_crosses_to_the_device(device):
    list(minibatches(device.put(rows(10)), batch_size=4, shuffle=False))
    assert device.backend is None or not device.backend.moved
