import random

import numpy as np
import pytest

import gdopt
from gdopt.planner import throughput

SIZES = [64, 128, 256, 512, 1024]


def sizes_of(plan):
    return [row.batch_size for row in plan.rows]


def test_nothing_moves(work, quick, hashed):
    before = hashed(*work.things)
    plan = quick(work.step, work.data, work.state, gradient=work.gradient)
    assert plan.noise_scale is not None
    assert len(work.sizes) > 30
    assert hashed(*work.things) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("at", [1, 2, 3, 7, 20, 35, 48])
def test_nothing_moves_where_a_step_fails(work, quick, hashed, error, at):
    before = hashed(*work.things)

    def step(x, y):
        work.step(x, y)
        if len(work.sizes) == at:
            raise error

    if error is MemoryError:
        try:
            plan = quick(step, work.data, work.state)
        except gdopt.PlanError as failure:
            assert "ran out of it (MemoryError" in str(failure)  # noqa: PT017
        else:
            assert plan.micro_batch_size in SIZES
    else:
        with pytest.raises(error) as caught:
            quick(step, work.data, work.state)
        told = getattr(caught.value, "__notes__", [])
        assert (error is KeyboardInterrupt) or "a trial step of batch size" in told[0]
    assert hashed(*work.things) == before


def test_a_step_sees_whole_batches_and_the_last_smaller_one(work, quick):
    quick(work.step, work.data, work.state)
    tried = work.sizes
    assert tried[:3] == [32, 32, 3000 % 32]  # warm-up
    start = 3 + 4 + 4  # two steps of 32 and of 64, twice, tell what one takes
    for size in SIZES:
        found = tried[start : start + 2 + bool(3000 % size)]
        assert found == [size, size, *([3000 % size] if 3000 % size else [])]
        start += len(found)


def test_the_throughput_chooses_among_more_than_2000_examples(
    work, quick, clock, monkeypatch
):
    # 1 ms a step and 10 us an example, but beyond 300 examples 10 us more for each.
    def step(x, _):
        clock.now += 1e-3 + 1e-5 * len(x) + 1e-5 * max(0, len(x) - 300)

    plan = quick(step, work.data, repeats=20)
    rates = [row.examples_per_second for row in plan.rows]
    assert rates == pytest.approx(
        [64 / 1.64e-3, 128 / 2.28e-3, 256 / 3.56e-3, *rates[3:]]
    )
    assert (plan.micro_batch_size, plan.decided_by) == (256, "throughput")
    assert plan.rows[2].examples_per_second_low == pytest.approx(rates[2])
    monkeypatch.setattr(throughput, "SECONDS", 1e-9)
    assert quick(step, work.data, repeats=2).micro_batch_size == 256


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("count", [2000, 2001])
def test_up_to_2000_examples_are_tried_whole_and_goodput_decides(
    small, quick, clock, monkeypatch, *, count, fixed
):
    step, data = small(count)
    whole = [2000] if count == 2000 else []

    def timed(self, *batch):
        clock.now += 1.0 * len(batch[0])

    monkeypatch.setattr(type(step), "__call__", timed)
    plan = quick(step, data, fixed_epochs=fixed)
    assert (plan.micro_batch_size, plan.decided_by) == (64, "goodput")
    assert sizes_of(plan) == [*SIZES, *whole]
    assert all(row.examples_per_second and row.goodput for row in plan.rows)


@pytest.mark.parametrize("count", [1, 2, 3, 40, 64])
def test_up_to_the_smallest_size_examples_go_whole(small, quick, count):
    step, data = small(count)
    plan = quick(step, data)
    assert (plan.micro_batch_size, sizes_of(plan)) == (count, [count])


def test_one_array_and_columns_are_data_too(quick):
    seen = set()
    X = np.zeros((5, 3000))
    plan = quick(lambda x: seen.add(x.shape), X, axis=1)
    assert seen >= {(5, 64), (5, 1024), (5, 3000 % 1024)}
    assert plan.examples == 3000


def test_the_noise_scale_may_be_measured_later_in_training(small, quick):
    step, data = small(3000)
    now = quick(step, data, noise_after=0).noise_scale
    later = quick(step, data, noise_after=100).noise_scale
    # However many trials came before, it is that of the parameters as they were.
    assert now == quick(step, data, sizes=[64]).noise_scale
    assert now != later
    assert step.optimizer.t == 0


def test_a_batch_that_is_asked_for_is_tried_too(small, quick):
    step, data = small(3000)
    plan = quick(step, data, batch_size=300)
    assert (plan.micro_batch_size, plan.decided_by, plan.micro_batches) == (
        300,
        "asked",
        1,
    )
    assert sizes_of(plan) == [64, 128, 256, 300, 512, 1024]


def test_another_devices_memory_decides(small, quick):
    step, data = small(3000, features=1000)
    need = quick(step, data, margin=0).rows[2].predicted_bytes + 100_000
    plan = quick(step, data, memory=need, margin=0, batch_size=1000)
    assert [row.fits for row in plan.rows] == [True] * 3 + [False] * 3
    assert sizes_of(plan) == [64, 128, 256, 512, 1000, 1024]
    assert plan.memory_bytes == need
    assert "speeds are this device's" in plan.notices[-1]
    assert plan.rows[-1].measured_bytes is None
    assert plan.rows[-1].note == "predicted not to fit"
    assert (plan.decided_by, plan.batch_size) == ("memory", 1000)
    assert plan.micro_batches == -(-1000 // plan.micro_batch_size)
    assert f"{plan.micro_batches} of them accumulated to a batch of 1,000" in str(plan)


def test_a_size_too_large_for_this_machine_may_fit_another(small, quick, free):
    step, data = small(3000)
    free.bytes = quick(step, data, margin=0).rows[1].measured_bytes
    plan = quick(step, data, memory="1TB", margin=0)
    assert all(row.fits for row in plan.rows)
    tried = [row.measured_bytes is not None for row in plan.rows]
    assert tried == [True, True, *tried[2:]]
    assert not tried[-1]
    assert plan.rows[-1].note == "predicted to fit there; too large to be tried here"


def test_nothing_that_fits_is_an_error_with_the_table_and_a_way_out(small, quick):
    step, data = small(3000)
    need = quick(step, data, sizes=[16]).rows[0].predicted_bytes
    with pytest.raises(gdopt.PlanError) as caught:
        quick(step, data, memory=need, margin=0)
    error = caught.value
    assert isinstance(error, MemoryError)
    assert [row.batch_size for row in error.rows] == SIZES
    assert not any(row.fits for row in error.rows)
    text = str(error)
    assert "1,024" in text
    assert "predicted not to fit" in text
    assert "batches of 1" in text  # 16 or a few more
    assert "of them accumulated make 64" in text


def test_where_not_even_one_example_fits_the_error_says_what_would(small, quick):
    step, data = small(3000)
    with pytest.raises(gdopt.PlanError, match=r"even 1 example takes .* a device with"):
        quick(step, data, memory=1000, margin=0)


def test_the_margin_is_5_percent_or_256_mib(small, quick, free):
    step, data = small(3000)
    free.bytes = 1 << 33
    assert quick(step, data).rows[0].margin_bytes == pytest.approx(
        0.05 * 2**33, rel=0.01
    )
    free.bytes = 1 << 30
    assert quick(step, data).rows[0].margin_bytes == 256 << 20
    assert quick(step, data, margin="1MB").rows[0].margin_bytes == 1_000_000


def test_what_was_predicted_too_low_widens_the_margin(quick):
    def step(x):
        np.zeros(len(x) ** 2 * 100)  # not a line

    memory = 100_000_000
    plan = quick(step, np.zeros((3000, 2)), margin=0, memory=memory)
    rows = plan.rows
    assert [row.measured_bytes is not None for row in rows] == [True] * 3 + [False] * 2
    assert rows[2].measured_bytes > 2 * rows[2].predicted_bytes
    assert rows[4].predicted_bytes < memory  # but for what was seen at 256
    assert rows[4].margin_bytes >= 3.9 * (
        rows[2].measured_bytes - rows[2].predicted_bytes
    )


def test_progress_goes_up_to_its_end(small, quick):
    told = []
    step, data = small(3000)
    quick(step, data, progress=lambda *now: told.append(now))
    done, total, texts = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert set(total) == {total[0]}
    assert done[-1] <= total[0]
    assert done[-1] >= 0.5 * total[0]
    assert "memory of 1,024 examples" in texts


def test_evaluation_counts_as_memory(quick):
    X = np.zeros((3000, 2))
    plan = quick(lambda x: None, X, evaluate=lambda: np.zeros(1_000_000))
    assert plan.rows[0].measured_bytes > 8_000_000
    assert plan.rows[0].predicted_bytes == pytest.approx(
        plan.rows[0].measured_bytes, rel=0.05
    )


def test_global_random_numbers_come_back(quick):
    state = random.getstate()
    quick(lambda x: random.random(), np.zeros((100, 2)))  # noqa: S311
    assert random.getstate() == state
