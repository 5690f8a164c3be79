from types import SimpleNamespace

import pytest

from gdopt.planner.throughput import (
    is_noisy,
    measure_throughput,
    summarize,
)


class Meter:
    """A clock that moves where a step says so."""

    def __init__(self):
        self.now, self.tidied = 0.0, 0

    def time(self, work):
        before = self.now
        work()
        return self.now - before

    def tidy(self):
        self.tidied += 1


@pytest.fixture
def machine():
    """Return a machine on which a step takes 1 ms, and 10 us for each example."""
    made = SimpleNamespace(meter=Meter(), turns=[], slow=1.0, done=[])

    def make(size):
        made.turns.append(size)

        def step():
            made.meter.now += made.slow * (1e-3 + 1e-5 * size)

        return step

    def measure(sizes, repeats, own=make):
        return measure_throughput(
            made.meter,
            sizes,
            own,
            repeats=repeats,
            done=lambda: made.done.append(1),
        )

    made.make, made.measure = make, measure
    return made


def test_the_rate_is_examples_over_seconds(machine):
    found = machine.measure([100, 400], 3)
    assert found[100].median == pytest.approx(100 / 2e-3)
    assert found[400].low == pytest.approx(400 / 5e-3)


def test_every_round_begins_with_another_size(machine):
    machine.measure([1, 2, 3], 4)
    rounds = [tuple(machine.turns[k : k + 3]) for k in range(0, 12, 3)]
    assert rounds == [(1, 2, 3), (1, 3, 2), (3, 1, 2), (3, 2, 1)]
    assert len(machine.done) == 12


def test_a_machine_that_slows_down_does_not_decide(machine):
    ordinary = machine.make

    def slowing(size):
        machine.slow *= 1.02
        return ordinary(size)

    found = machine.measure([100, 101], 20, slowing)
    assert found[100].median == pytest.approx(found[101].median, rel=0.02)


@pytest.mark.parametrize(("disturbed", "rounds"), [(0, 6), (1, 12), (99, 18)])
def test_noisy_timings_are_measured_again_up_to_three_times(machine, disturbed, rounds):
    ordinary, own = machine.make, {100: 0, 400: 0}

    def make(size):
        own[size] += 1
        machine.slow = 13.0 if own[size] <= disturbed and own[size] % 2 else 1.0
        return ordinary(size)

    found = machine.measure([100, 400], 6, make)
    assert own == {100: rounds, 400: rounds}
    assert len(machine.done) == 12  # the first rounds alone
    noisy = is_noisy(found[100].low, found[100].high)
    assert noisy == (disturbed == 99)


def test_a_turn_lasts_long_enough_however_slow_the_first_step_was(machine):
    taken = []

    def make(size):
        taken.append(0)

        def step():
            taken[-1] += 1
            slow = len(taken) == 1  # another process has the machine
            machine.meter.now += 1.0 if slow else 2**-10

        return step

    machine.measure([100], 3, make)
    # One is not counted; one in the first turn finds out how many there should be.
    assert taken == [3, 2, *[22] * 7]


def test_a_size_that_runs_out_of_memory_is_left_out(machine):
    ordinary = machine.make

    def make(size):
        step = ordinary(size)

        def limited():
            step()
            if size == 200 and machine.meter.now > 0.2:
                raise MemoryError

        return limited

    found = machine.measure([100, 200], 9, make)
    assert list(found) == [100]
    assert machine.meter.tidied == 1


def test_another_error_is_raised(machine):
    def make(size):
        def step():
            message = "a bug"
            raise ValueError(message)

        return step

    with pytest.raises(ValueError, match="a bug"):
        machine.measure([100], 2, make)


def test_the_interval_of_the_median_is_that_of_order_statistics():
    # Twenty values: the 6th and the 15th, Hollander & Wolfe 1999, table A.2 (95.9 %).
    found = summarize([float(k) for k in range(1, 21)])
    assert (found.low, found.high) == (6, 15)
    # Six values: the least and the greatest (96.9 %); five cannot reach 95 %.
    assert summarize([4.0, 1, 2, 6, 3, 5]).low == 1
    assert summarize([4.0, 1, 2, 3, 5]).high == 5
    assert summarize([2.0]).median == 2
