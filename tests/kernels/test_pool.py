"""The pool: every piece once, errors, signals, forks, several callers, no threads."""

import functools
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from loads import Load
from rules import bits

import gdopt
from gdopt.kernels.cpu import pool as pools
from gdopt.kernels.cpu.flush import FlushToZero, can_flush
from gdopt.kernels.cpu.pool import CHUNK, GRAIN, Pool, piece, piece_count

WORKERS = (1, 2, 4)


def cut(size, parts, grain):
    count = piece_count(size, parts, grain)
    return [piece(k, count, size, grain) for k in range(count)]


def run(pool, tasks):
    pool.run(lambda k: tasks[k](), len(tasks))


def make_pool(size):
    pool = Pool()
    pool.size = size
    return pool


@pytest.fixture(params=WORKERS)
def pool(request):
    return make_pool(request.param)


@pytest.mark.parametrize(
    ("size", "parts", "grain", "expected"),
    [
        (0, 4, 16, [(0, 0)]),
        (10, 2, 16, [(0, 10)]),
        (31, 2, 16, [(0, 31)]),
        (32, 2, 16, [(0, 16), (16, 32)]),
        (40, 4, 16, [(0, 16), (16, 40)]),
        (100, 0.9, 16, [(0, 100)]),
        (100, 1, 16, [(0, 100)]),
        (100, 1.1, 16, [(0, 48), (48, 100)]),
        (100, 2.9, 16, [(0, 48), (48, 100)]),
        (100, 3.1, 16, [(0, 16), (16, 48), (48, 64), (64, 100)]),
        (1024, 2.0, 16, [(0, 512), (512, 1024)]),
        (6, 5, 1, [(0, 1), (1, 3), (3, 4), (4, 6)]),
    ],
)
def test_lengths_are_cut_into_an_even_number_of_pieces(size, parts, grain, expected):
    assert cut(size, parts, grain) == expected


def test_pieces_are_equal_but_for_the_grain():
    for size in (4 * CHUNK, 1_000_000, 1_330_000, 10**7, 3 * 2**30 + 1):
        spans = cut(size, size / CHUNK, GRAIN)
        lengths = [stop - start for start, stop in spans]
        assert len(spans) % 2 == 0
        assert sum(lengths) == size
        assert max(lengths) - min(lengths) <= 2 * GRAIN
        assert CHUNK / 2 <= min(lengths)
        assert max(lengths) <= 1.5 * CHUNK


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 200])
def test_every_task_runs_once(pool, count):
    for _ in range(20):
        done = []
        pool.run(done.append, count)
        assert sorted(done) == list(range(count))


def test_threads_and_the_caller_share_the_tasks():
    pool, meeting = make_pool(3), threading.Barrier(3)
    names = []

    def task():
        meeting.wait(60)  # three threads have to be here
        names.append(threading.current_thread().name)

    run(pool, [task] * 3)
    assert sorted(names) == sorted([threading.current_thread().name, "gdopt", "gdopt"])


def test_the_caller_waits_for_no_thread_that_has_taken_nothing(monkeypatch):
    pool = make_pool(2)
    asleep = threading.Event()
    monkeypatch.setattr(pools, "_serve", lambda inbox: asleep.wait())
    done = []
    pool.run(done.append, 5)
    assert done == [0, 1, 2, 3, 4]
    asleep.set()


def test_an_error_is_raised_when_all_that_have_started_are_done():
    pool, both, ended = make_pool(2), threading.Barrier(2), []

    def fail():
        both.wait(60)
        message = "a task failed"
        raise LookupError(message)

    def work():
        both.wait(60)
        time.sleep(0.05)
        ended.append(True)

    for tasks in ([fail, work], [work, fail]):
        with pytest.raises(LookupError, match="a task failed"):
            run(pool, tasks)
        assert ended.pop()
    test_every_task_runs_once(pool, 7)


def test_phases_run_one_after_the_other_and_their_result_is_returned(pool):
    done = []

    def phases():
        for number in range(5):
            expected = len(done)
            yield done.append, 3
            assert sorted(done[expected:]) == [0, 1, 2]
            done.append(number)
        return "result"

    for _ in range(20):
        assert pool.follow(phases()) == "result"
    assert len(done) == 400


@pytest.mark.parametrize("place", ["task", "between"])
def test_an_error_ends_the_phases_and_is_raised(pool, place):
    done, closed = [], []

    def fail(k):
        if k == 1 and place == "task":
            raise LookupError(place)

    def phases():
        try:
            yield done.append, 3
            yield fail, 3
            if place == "between":
                raise LookupError(place)
            yield done.append, 3
        finally:
            closed.append(True)

    with pytest.raises(LookupError, match=place):
        pool.follow(phases())
    assert sorted(done) == [0, 1, 2]
    assert closed == [True]


def test_threads_that_cannot_start_leave_everything_to_the_caller(monkeypatch):
    def refuse(_):
        message = "can't start new thread"
        raise RuntimeError(message)

    pool, done = make_pool(4), []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        pool.run(done.append, 9)
    assert done == list(range(9))
    test_every_task_runs_once(pool, 9)  # and once there are threads, they help


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
@pytest.mark.parametrize("first", range(4))
def test_an_update_is_done_once_whichever_thread_cannot_start(
    first, error, numpy_engine, monkeypatch
):
    def train():
        p = np.ones(6 * CHUNK)
        optimizer = gdopt.Momentum(p, lr=0.5)
        optimizer.step(np.full(p.size, 2.0))
        optimizer.step(np.full(p.size, 4.0))
        return p.tobytes()

    def start(thread):
        started.append(thread)
        if len(started) > first:
            raise error
        true_start(thread)

    true_start, started = threading.Thread.start, []
    monkeypatch.setattr(pools.POOL, "size", 1)
    expected = train()
    monkeypatch.setattr(pools.POOL, "size", 4)
    monkeypatch.setattr(pools.POOL, "_inboxes", [])
    monkeypatch.setattr(threading.Thread, "start", start)
    assert train() == expected
    assert len(started) > 1 or first == 3


def test_many_callers_at_once_each_get_their_own_work_done():
    pool, failures = make_pool(3), []

    def call():
        for _ in range(100):
            done = []
            pool.run(done.append, 6)
            if sorted(done) != list(range(6)):
                failures.append(done)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not failures


def test_a_task_may_use_the_pool():
    pool, done = make_pool(2), []
    inner = [lambda: done.append(1)] * 3
    run(pool, [lambda: run(pool, inner)] * 4)
    assert len(done) == 12


def test_threads_compute_in_the_callers_mode_and_with_its_errstate():
    pool, both, found = make_pool(2), threading.Barrier(2), []

    def task():
        both.wait(60)
        flushes = np.float32(1e-40) * np.float32(1) == 0
        found.append((np.geterr()["over"], bool(flushes)))

    for over in ("ignore", "raise"):
        with np.errstate(over=over):
            run(pool, [task] * 2)
            with FlushToZero():
                run(pool, [task] * 2)
        assert found == [(over, False)] * 2 + [(over, can_flush())] * 2
        found.clear()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="POSIX")
def test_signals_are_left_to_the_callers_threads():
    pool, both, blocked = make_pool(2), threading.Barrier(2), {}

    def task():
        both.wait(60)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        blocked[threading.current_thread().name] = signal.SIGINT in mask

    run(pool, [task] * 2)
    assert blocked == {threading.current_thread().name: False, "gdopt": True}


def test_ctrl_c_waits_until_all_tasks_are_done():
    pool, done = make_pool(2), []

    def task():
        signal.raise_signal(signal.SIGINT)
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        run(pool, [task, *[lambda: done.append(True)] * 5])
    assert len(done) == 6


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("load", [False, True])
def test_steps_have_the_same_bits_for_any_number_of_threads(
    workers, load, engine, monkeypatch
):
    @gdopt.rule
    def adam(p, m, v, g, *, lr):  # with engines of its own
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        return p - lr * m / (np.sqrt(v) + 1e-8), m, v

    def train():
        params, grads = special(0), special(1)
        optimizer = gdopt.Optimizer(params, rule=adam, lr=0.1)
        for _ in range(3):
            optimizer.step(grads)
        states = [arena.buffers["float32"] for arena in optimizer.state_arenas.values()]
        return [bits(array) for array in (params, *states)]

    monkeypatch.setattr(pools.POOL, "size", 1)
    expected = train()
    monkeypatch.setattr(pools.POOL, "size", workers)
    with Load() if load else np.errstate():
        assert train() == expected


def test_threads_are_woken_for_long_arrays_and_enough_operations_alone():
    pool, alone = make_pool(2), make_pool(1)
    assert pool.shares(2 * CHUNK, 12)
    assert pool.shares(10 * CHUNK, 2)
    assert not pool.shares(2 * CHUNK, 2)
    assert not pool.shares(CHUNK, 1000)
    assert not alone.shares(10 * CHUNK, 12)


def special(seed):
    array = np.random.default_rng(seed).standard_normal(2 * CHUNK + 1003)
    return array.astype(np.float32)


def test_a_thread_that_does_not_run_keeps_no_arrays(monkeypatch):
    pool, asleep = make_pool(2), threading.Event()
    monkeypatch.setattr(pools, "_serve", lambda inbox: asleep.wait(60))
    array = np.ones(3)
    references = sys.getrefcount(array)
    run(pool, [functools.partial(np.negative, array, array)] * 2)
    assert sys.getrefcount(array) == references
    asleep.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork with threads
def test_a_forked_child_makes_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(pools.POOL, "size", 2)
    meeting = threading.Barrier(2)
    run(pools.POOL, [functools.partial(meeting.wait, 60)] * 2)
    child = os.fork()
    if child == 0:
        meeting = threading.Barrier(2)
        try:
            run(pools.POOL, [functools.partial(meeting.wait, 20)] * 2)
        except threading.BrokenBarrierError:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
