"""How many devices: by arithmetic, and by an exchange that is measured."""

import dataclasses

import numpy as np
import pytest
from parallel.threads import on_ranks

import gdopt
from gdopt.planner.devices import (
    DeviceRow,
    ExchangeCost,
    describe_devices,
    device_rows,
    measure_exchange,
)
from gdopt.planner.noise import NoiseScale
from gdopt.planner.plan import Plan, Row


def plan(rows, noise, examples=10**9):
    scale = NoiseScale(noise, noise, noise, 1.0, 1.0, 100)
    names = {field.name: None for field in dataclasses.fields(Plan)}
    given = {"rows": rows, "noise_scale": scale, "examples": examples}
    return Plan(**{**names, **given})


def row(size, rate, *, fits=True):
    return Row(size, 0, fits=fits, examples_per_second=rate)


def test_an_exchange_grows_with_others_and_with_bytes():
    exchange = ExchangeCost(2, bytes=1000, latency=1.0, rate=100.0)
    assert exchange.seconds(1) == 0
    assert exchange.seconds(2) == 1 + 2 * 500 / 100
    assert exchange.seconds(4) == 3 + 2 * 750 / 100


def test_the_time_to_a_loss_counts_steps_and_their_seconds():
    """Worked by hand: 1 + B_noise / B steps, each of compute and exchange."""
    exchange = ExchangeCost(2, bytes=100, latency=0.0, rate=100.0)
    found = device_rows(plan([row(10, 10.0)], noise=30.0), exchange, 3)
    assert [one.devices for one in found] == [1, 2, 3]
    one, two, three = (
        (1 + 30 / 10) * 1,
        (1 + 30 / 20) * (1 + 1),
        (1 + 30 / 30) * (1 + 4 / 3),
    )
    speedups = [one / one, one / two, one / three]
    np.testing.assert_allclose([each.speedup for each in found], speedups, rtol=1e-12)


def test_each_number_of_devices_takes_its_own_best_batch():
    exchange = ExchangeCost(2, bytes=0, latency=0.0, rate=1.0)
    rows = [row(8, 800.0), row(64, 3200.0), row(512, 1e9, fits=False)]
    found = device_rows(plan(rows, noise=16.0), exchange, 8)
    # One step takes 10 ms of 8 examples and 20 ms of 64.
    expected = [
        min((1 + 16 / (8 * n)) * 10, (1 + 16 / (64 * n)) * 20) for n in (1, 2, 4, 8)
    ]
    np.testing.assert_allclose(
        [each.speedup for each in found], [expected[0] / e for e in expected]
    )
    assert [each.batch_size for each in found] == [64, 8, 8, 8]


def test_a_batch_of_all_devices_is_of_different_examples():
    exchange = ExchangeCost(2, bytes=0, latency=0.0, rate=1.0)
    found = device_rows(plan([row(100, 1.0)], 10.0, examples=300), exchange, 8)
    assert [one.devices for one in found] == [1, 2]


@pytest.mark.parametrize(
    ("speedups", "head"),
    [
        ((1, 1.9, 3.0), "train on 4 devices: 3 times as fast as 1\n"),
        (
            (1, 1.9, 0.5),
            (
                "train on 2 devices: 1.9 times as fast as 1; "
                "4 would be slower, 0.5 times\n"
            ),
        ),
        ((1, 0.5, 0.2), "train on 1 device: 4 would be slower, 0.2 times\n"),
        (
            (1, 1.9, 1.951),
            (
                "train on 2 devices: 1.9 times as fast as 1; "
                "4 would be hardly faster, 2 times\n"
            ),
        ),
    ],
)
def test_a_larger_number_is_recommended_where_it_is_faster(speedups, head):
    rows = [DeviceRow(2**k, 8, 0.01, 0.001 * k, s) for k, s in enumerate(speedups)]
    text = describe_devices(rows, ExchangeCost(2, 10**6, 1e-5, 1e9))
    assert text.startswith(head)
    assert "measured between 2" in text
    line = next(line for line in text.splitlines() if line.startswith("4 "))
    assert line.split()[-1] == f"{4 / speedups[2]:.2f}"


def test_an_exchange_is_measured_alike_on_all_ranks():
    params = {"W": np.ones((300, 40), np.float32)}

    def measure(ranks):
        return measure_exchange(ranks, gdopt.Arena.of(params))

    one, other = on_ranks(2, measure)
    assert one == other
    assert one.ranks == 2
    assert one.bytes == 48128
    assert one.latency > 0
    assert one.rate > 0


def test_one_rank_measures_no_exchange():
    with (
        gdopt.parallel.world() as ranks,
        pytest.raises(gdopt.ParallelError, match="mpirun -n 2"),
    ):
        measure_exchange(ranks, gdopt.Arena.of(np.ones(3)))
