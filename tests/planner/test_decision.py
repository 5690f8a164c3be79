import math

import pytest

from gdopt.planner import NoiseScale, Row
from gdopt.planner.decision import add_goodput, decide


def rows(rates, fitting=None, examples=None):
    return [
        Row(
            size,
            predicted_bytes=size * 1000,
            measured_bytes=size * 1000,
            fits=fitting is None or size in fitting,
            examples_per_second=rate if fitting is None or size in fitting else None,
        )
        for size, rate in rates.items()
    ]


def noise(value, low=None, high=None):
    low, high = low or value, high or value
    return NoiseScale(value, low, high, trace=1, squared_norm=1, examples=100)


RATES = {64: 40, 128: 70, 256: 98, 512: 100, 1024: 99}


def choose(rates=RATES, seen=None, *, fitting=None, **options):
    usual = {"examples": 5000, "wanted": None, "small_data_rule": True}
    return decide(rows(rates, fitting), seen, **usual | options)


def test_the_smallest_size_near_the_best_throughput_wins():
    found = choose()
    assert (found.micro_batch_size, found.decided_by, found.micro_batches) == (
        256,
        "throughput",
        1,
    )
    assert "98 examples a second" in found.reason
    assert "100 at 512" in found.reason


def test_the_noise_scale_wins_where_its_whole_interval_says_so():
    found = choose(seen=noise(30, 20, 60))
    assert (found.micro_batch_size, found.decided_by) == (128, "noise scale")
    assert "at 30 examples" in found.reason
    assert "by throughput alone it would be 256" in found.reason


@pytest.mark.parametrize("high", [5000, math.inf])
def test_a_noise_scale_that_may_be_large_does_not_decide(high):
    assert choose(seen=noise(30, 20, high)).decided_by == "throughput"


def test_memory_decides_where_larger_ones_were_better():
    found = choose({64: 40, 128: 70, 256: 100}, fitting={64, 128})
    assert (found.micro_batch_size, found.decided_by) == (128, "memory")
    assert "256 would take 256 kB" in found.reason


def test_memory_does_not_decide_where_a_smaller_size_is_as_good():
    found = choose({64: 70, 128: 71, 256: 100}, fitting={64, 128})
    assert (found.micro_batch_size, found.decided_by) == (64, "throughput")


def test_up_to_2000_examples_go_whole_and_the_time_is_reported():
    rates = {64: 300, 1500: 100}
    found = choose(rates, examples=1500)
    assert (found.micro_batch_size, found.decided_by) == (1500, "small data")
    assert "by measurement it would be 64: 3.00 times as many" in found.reason
    assert "24 updates" in found.reason


@pytest.mark.parametrize("count", [2000, 2001])
def test_the_rule_for_small_data_ends_at_2000(count):
    found = choose({64: 10, count: 100}, examples=count)
    expected = "small data" if count == 2000 else "throughput"
    assert found.decided_by == expected


def test_the_rule_for_small_data_may_be_turned_off():
    found = choose({64: 300, 1500: 100}, examples=1500, small_data_rule=False)
    assert (found.micro_batch_size, found.decided_by) == (64, "throughput")


def test_small_data_that_do_not_fit_are_accumulated():
    rates = {64: 10, 128: 20, 1500: 100}
    found = choose(rates, examples=1500, fitting={64, 128})
    assert (found.micro_batch_size, found.batch_size, found.micro_batches) == (
        128,
        1500,
        12,
    )
    assert found.decided_by == "memory"


def test_a_batch_that_is_asked_for_is_given_or_accumulated():
    assert choose(wanted=512).micro_batch_size == 512
    assert choose(wanted=512).decided_by == "asked"
    found = choose(wanted=512, fitting={64, 128})
    assert (found.micro_batch_size, found.batch_size, found.micro_batches) == (
        128,
        512,
        4,
    )


def test_a_piece_is_never_larger_than_the_batch():
    found = choose({64: 10, 300: 20, 512: 40}, wanted=300, fitting={64, 512})
    assert (found.micro_batch_size, found.micro_batches) == (64, 5)
    assert choose({300: 20, 512: 40}, wanted=300, fitting={512}) is None


def test_where_nothing_fits_nothing_is_chosen():
    assert choose(fitting=set()) is None


def test_where_no_speed_is_known_the_largest_that_fits_is_taken():
    found = choose(dict.fromkeys(RATES))
    assert (found.micro_batch_size, found.decided_by) == (1024, "memory")


def test_goodput_is_throughput_less_what_noise_does_not_need():
    table = rows({64: 1000, 192: 2000})
    add_goodput(table, noise(64))
    assert [row.goodput for row in table] == [500, 500]  # 1 + 64 / 64, 1 + 192 / 64
    table = rows({64: 1000})
    add_goodput(table, None)
    assert table[0].goodput is None
