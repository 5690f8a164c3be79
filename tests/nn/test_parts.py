"""Parts of a batch: which units they drop, and averages that several ranks share."""

import dataclasses

import numpy as np
import pytest

import gdopt
from gdopt.errors import ArgumentError, ArgumentTypeError


@dataclasses.dataclass
class Part:
    batch: int
    first: int
    weight: float


def make(backend, **options):
    usual = {"seed": 5, "dtype": np.float64, "backend": backend.name}
    return gdopt.nn.Network((6, 40, 30, 3), **usual | options)


def data(backend, count=24):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((count, 6)), rng.integers(0, 3, count)
    return backend.from_host(X), backend.from_host(y)


def dropped(network, x, y, **options):
    """Return which inputs of the second and third layer are 0."""
    inputs = []

    def watched(given, *rest, **how):
        inputs.append(network.params.backend.to_host(given == 0))
        return gdopt.nn.dense(given, *rest, **how)

    network.propagate(x, y, layer=watched, **options)
    return inputs[1:]


def mixed(x):
    """Spread 32 bits, with Python's numbers: C. Wellons' lowbias32."""
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def test_bits_depend_on_seed_batch_example_and_unit_alone(backend):
    network = make(backend, keep_prob=[0.25, 0.75], activation="tanh")
    x, y = data(backend, 7)
    found = dropped(network, x, y, part=Part(batch=9, first=2**32 - 3, weight=0.5))
    for layer, first_unit, keep in ((0, 0, 0.25), (1, 40, 0.75)):
        expected = np.zeros(found[layer].shape, bool)
        for row, unit in np.ndindex(expected.shape):
            key = mixed((2**32 - 3 + row) % 2**32 ^ mixed(9 ^ mixed(5)))
            bits = mixed(first_unit + unit ^ key)
            expected[row, unit] = bits >= keep * 2**32
        np.testing.assert_array_equal(found[layer], expected)
    assert network.batches_seen == 10


def test_an_example_drops_the_same_units_with_whatever_others(backend, monkeypatch):
    monkeypatch.setattr("gdopt.nn.masks.DRAWN", 500)  # several blocks of rows
    network, (x, y) = make(backend, keep_prob=[1, 0.5]), data(backend)
    network.batches_seen = 3
    whole = dropped(network, x, y)
    assert not (whole[1] == dropped(network, x, y)[1]).all()  # another batch
    for rows in (slice(0, 1), slice(1, 10), slice(10, 24)):
        part = Part(batch=3, first=rows.start, weight=0.25)
        found = dropped(network, x[rows], y[rows], part=part)
        np.testing.assert_array_equal(found[1], whole[1][rows])


def test_drawn_units_are_independent():
    network = make(gdopt.get_backend("numpy"), keep_prob=0.5)
    drawn = [network._layers.masks.draw(batch, 0, 2000)[1] > 0 for batch in (0, 1)]
    one = drawn[0].astype(float) - 0.5
    for other in (one[:, ::-1], one[::-1], np.roll(one, 1, 0), drawn[1] - 0.5):
        # 80,000 products of +-1/4: five standard deviations are .0044.
        assert abs((one * other).mean()) < 0.0044


def test_parts_add_up_to_the_gradients_of_the_batch(backend):
    network, (x, y) = make(backend, keep_prob=0.5, l2=0.1, l1=0.1), data(backend)
    loss, grads = network.loss_and_grads(x, y, batch_size=30)
    expected, total = grads.flat.copy(), 0.0
    sums = np.zeros(expected.shape)
    for rows in (slice(0, 7), slice(7, 24)):
        weight = (rows.stop - rows.start) / 24
        part = Part(batch=0, first=rows.start, weight=weight)
        found, grads = network.loss_and_grads(
            x[rows], y[rows], batch_size=30, part=part
        )
        total += weight * float(found)
        sums += weight * backend.to_host(grads.flat)
    assert total == pytest.approx(float(loss), rel=1e-12)
    np.testing.assert_allclose(sums, backend.to_host(expected), rtol=1e-9, atol=1e-12)


ROWS = {0: slice(0, 5), 5: slice(5, 14), 14: slice(14, 24)}  # three parts of a batch


def see(network, x, y, firsts, batch=0):
    for first in firsts:
        part = Part(batch, first, len(x[ROWS[first]]) / 24)
        network.loss_and_grads(x[ROWS[first]], y[ROWS[first]], part=part)


def averages(network):
    layers = network.state_dict()["statistics"]
    return [layers[n][name]["value"] for n in "12" for name in ("mean", "variance")]


def test_averages_take_in_the_weighted_mean_of_the_parts_once(backend):
    options = {"batch_norm": True, "statistics_bias_correction": False}
    network, (x, y) = make(backend, **options), data(backend)
    see(network, x, y, ROWS)
    assert averages(network)[0] is None
    network.share_statistics()
    hidden = backend.to_host(x @ network.params["W1"])
    for found, start, measure in zip(
        averages(network), (0, 1), (np.mean, np.var), strict=False
    ):
        parts = [len(hidden[r]) / 24 * measure(hidden[r], 0) for r in ROWS.values()]
        np.testing.assert_allclose(found, 0.9 * start + 0.1 * sum(parts), rtol=1e-12)
    assert network.batches_seen == 1


def own_rows(network):
    """Return what a network shares, and let the sharing fail."""
    rows = []

    def share(own):
        rows.append(own)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        network.share_statistics(share)
    return rows[0]


@pytest.mark.parametrize("cuts", [((0, 5, 14),), ((0,), (5, 14)), ((0,), (5,), (14,))])
def test_averages_have_the_same_bits_however_the_parts_are_spread(cuts, backend):
    alone, (x, y) = make(backend, batch_norm=True), data(backend)
    ranks = [make(backend, batch_norm=True) for _ in cuts]
    for batch in (0, 1):
        see(alone, x, y, ROWS, batch)
        alone.share_statistics()
        rows = []
        for network, firsts in zip(ranks, cuts, strict=True):
            see(network, x, y, firsts, batch)
            rows.append(own_rows(network))
        # Each rank holds as many rows, some of them empty.
        padded = [np.vstack([own, np.zeros((2, own.shape[1]))]) for own in rows]
        for network in ranks:
            network.share_statistics(lambda _, padded=padded: np.vstack(padded))
    expected = [array.tobytes() for array in averages(alone)]
    for network in ranks:
        assert [array.tobytes() for array in averages(network)] == expected


def test_a_part_that_is_evaluated_again_counts_once():
    backend = gdopt.get_backend("numpy")
    one, two = (make(backend, batch_norm=True) for _ in range(2))
    x, y = data(backend)
    see(one, x, y, ROWS)
    see(two, x, y, [0, *ROWS])
    one.share_statistics()
    two.share_statistics()
    for own, other in zip(averages(one), averages(two), strict=True):
        np.testing.assert_array_equal(own, other)


def test_parts_whose_averages_are_not_shared_are_refused():
    backend = gdopt.get_backend("numpy")
    network, (x, y) = make(backend, batch_norm=True), data(backend)
    with pytest.raises(ArgumentError, match="share_statistics needs parts"):
        network.share_statistics()
    start = network.state_dict()
    see(network, x, y, [0, 5])
    with pytest.raises(ArgumentError, match="batch 0 were not shared, got batch 1"):
        see(network, x, y, [0], batch=1)
    network.load_state_dict(start)  # forgets them
    see(network, x, y, [0], batch=1)
    with pytest.raises(ArgumentError, match="needs a network with batch_norm=True"):
        make(backend).share_statistics()


def test_a_part_of_one_example_cannot_be_normalized_over():
    backend = gdopt.get_backend("numpy")
    network, (x, y) = make(backend, batch_norm=True), data(backend)
    with pytest.raises(ArgumentError, match=r"fewer replicas, .* drop_last=True"):
        network.loss_and_grads(x[:1], y[:1], part=Part(0, 0, 1 / 24))
    assert network.batches_seen == 0


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        (3, ArgumentTypeError, "part must have batch, first and weight, got 3"),
        (Part(-1, 0, 1), ArgumentError, r"part\.batch must be"),
        (Part(0, -1, 1), ArgumentError, r"part\.first must be"),
        (Part(0, 1.5, 1), ArgumentTypeError, r"part\.first must be"),
        (Part(0, 0, 0), ArgumentError, r"part\.weight must be in \(0, 1\]"),
        (Part(0, 0, "1"), ArgumentTypeError, r"part\.weight must be a number"),
    ],
)
def test_what_is_not_a_part_is_refused(part, error, message):
    network = make(gdopt.get_backend("numpy"), keep_prob=0.5)
    with pytest.raises(error, match=message):
        network.loss_and_grads(*data(network.params.backend), part=part)
    assert network.batches_seen == 0
