"""Sides are timed alternately, each in its own process that ends with the bench."""

import contextlib
import itertools
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import adapters
import interleave
import load
import machine
import pytest
import startup
import worker
from interleave import Effort, Side, SideError, Workers

TINY = adapters.Case("tiny", ((33,),))
TEXTBOOK = Side("one", "adapters.make", ("textbook NumPy", TINY), "adapters.verify")
QUICK = Effort(makes=1, rounds=1, seconds=0.001)


class Fake:
    """A side whose process writes down what is asked of it."""

    def __init__(self, key, calls):
        self.key, self.calls, self.place, self.pids = key, calls, key, []

    def start(self):
        self.calls.append(f"start {self.key}")
        return self

    def make(self, side, effort, *, first):
        self.calls.append(f"{'check' if first else 'make'} {self.key}")

    def time(self, side):
        self.calls.append(self.key)
        return {"median": {"a": 1.0, "b": 2.0}[self.key]}

    def close(self):
        self.calls.append(f"end {self.key}")


def test_sides_are_made_and_timed_in_turns_each_first_in_every_other_one():
    calls = []
    sides = Fake("a", calls), Fake("b", calls)
    effort = Effort(makes=2, rounds=2)
    assert interleave.interleave(sides, effort) == [(1.0, 2.0)] * 4
    first = ["start a", "check a", "start b", "check b", "a", "b", "b", "a"]
    second = ["make b", "make a", "b", "a", "a", "b", "end b", "end a"]
    assert calls == [*first, *second]


def test_on_busy_cores_every_make_is_a_new_process(monkeypatch):
    calls = []

    @contextlib.contextmanager
    def spinners():
        calls.append("spin")
        yield SimpleNamespace(pids=[])
        calls.append("stop")

    monkeypatch.setattr(interleave, "Spinners", spinners)
    interleave.interleave([Fake("a", calls)], Effort(makes=2, rounds=1, busy=True))
    one = ["start a", "check a", "spin", "a", "stop", "end a"]
    assert calls == [*one, *(c.replace("check", "make") for c in one)]


def test_a_contender_is_timed_in_its_own_process():
    with Workers() as workers:
        (turn,) = interleave.take_turns([TEXTBOOK], QUICK, workers)
        of = workers.of(TEXTBOOK)
        assert of is workers.of(TEXTBOOK)
        assert of.request("call", "os.getpid", ()) == of.pids[0] != os.getpid()
    (times,) = turn.times
    assert 0 < times["min"] <= times["median"] <= times["p90"]
    assert times["min"] <= times["mean"]
    with pytest.raises(ProcessLookupError):
        os.kill(of.pids[0], 0)


def test_sides_of_one_process_keep_their_own_contenders():
    sides = [replace(TEXTBOOK, key=key, process="both") for key in "ab"]
    with Workers() as workers:
        interleave.take_turns(sides, QUICK, workers)
        assert workers.of(sides[0]) is workers.of(sides[1])
        assert workers.of(sides[0]).request("time", "a")["min"] > 0


def test_an_error_in_another_process_is_raised_with_its_text(monkeypatch):
    with Workers() as workers:
        of = workers.of(TEXTBOOK)
        with pytest.raises(SideError, match=r"ValueError: math domain") as caught:
            of.request("call", "math.sqrt", (-1,))
        assert caught.value.kind == "ValueError"
        with pytest.raises(SideError, match="exit status 3"):
            of.request("call", "os._exit", (3,))


def test_a_contender_that_does_other_work_is_not_timed():
    side = Side("x", "adapters.make", TEXTBOOK.arguments, "numpy.testing.assert_equal")
    with pytest.raises(SideError, match="AssertionError"):
        interleave.take_turns([side], QUICK)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux limits cores")
def test_a_process_may_be_limited_to_a_core():
    with Workers() as workers:
        of = workers.of(Side("x", "", cores=1))
        assert len(of.request("call", "os.sched_getaffinity", (0,))) == 1


def test_an_earlier_checkout_takes_the_place_of_gdopt(tmp_path, monkeypatch):
    (tmp_path / "gdopt").mkdir()
    (tmp_path / "gdopt" / "__init__.py").write_text("def name(): return 'earlier'\n")
    with Workers() as workers:
        of = workers.of(Side("x", "", checkout=tmp_path))
        assert of.request("call", "gdopt.name", ()) == "earlier"


def test_what_slows_down_products_is_unset_for_what_is_measured(monkeypatch):
    for name in machine.FORCED:
        monkeypatch.setenv(name, "Haswell")
    assert not set(machine.FORCED) & set(machine.environment())
    assert os.environ["OPENBLAS_CORETYPE"] == "Haswell"


def stopwatch(monkeypatch, durations, **made):
    """Return a timer of steps that take the given seconds each, by its own clock."""
    clock, durations = [0.0], itertools.cycle(durations)
    monkeypatch.setattr(worker.time, "perf_counter", lambda: clock[0])

    def step():
        clock[0] += next(durations)

    product = made.get("product")
    monkeypatch.setattr(worker, "product_of_two", lambda _: product)
    contender = adapters.Contender(step, list)
    return worker.Timer(contender, 0.5, made.get("calls"), product=product is not None)


def test_a_round_lasts_as_long_as_asked_in_chunks_the_clock_can_tell(monkeypatch):
    second = 2**-15  # a power of two, so that sums are exact
    timer = stopwatch(monkeypatch, [second])
    assert timer.steps == 8  # 4 take 122 us, less than the 200 us of a chunk
    assert timer.chunks * timer.steps * second == 0.5
    assert timer.time()["median"] == second


def test_a_pause_of_the_machine_does_not_count(monkeypatch):
    times = stopwatch(monkeypatch, [1.0, 1.0, 50.0], calls=9).time()
    assert (times["median"], times["min"], times["p90"]) == (1.0, 1.0, 50.0)
    assert times["mean"] == (3 * 50 + 6) / 9


def test_a_product_before_each_step_is_not_timed(monkeypatch):
    products = []
    timer = stopwatch(monkeypatch, [0.25], product=lambda: products.append("product"))
    assert (timer.chunks, timer.steps) == (2, 1)  # of .25 s, no chunks of several steps
    before = len(products)
    assert timer.time()["median"] == 0.25
    assert len(products) - before == 3  # a tenth, and both steps


def test_spinners_keep_cores_busy_and_end():
    with load.Spinners() as spinners:
        assert len(spinners.pids) == machine.cores()
        for pid in spinners.pids:
            os.kill(pid, 0)
    for pid in spinners.pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_spinners_end_with_the_bench_however_that_ends(end):
    program = (
        "import os, signal, load\n"
        "load.exit_on_sigterm()\n"
        "with load.Spinners() as spinners:\n"
        "    print(*spinners.pids, flush=True)\n"
        f"    os.kill(os.getpid(), signal.{end})\n"
        "    signal.pause()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=machine.HERE,
        env=machine.environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == {"SIGTERM": 143, "SIGKILL": -9}[end]
    pids = [int(pid) for pid in done.stdout.split()]
    assert pids
    while any(is_running(pid) for pid in pids):  # SIGKILL leaves them to end themselves
        time.sleep(0.01)


def is_running(pid):
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False


def test_the_time_of_others_is_without_that_of_the_own_processes(monkeypatch):
    ticks = {"machine": 100, 7: 30, os.getpid(): 20}
    clock = [0.0]
    monkeypatch.setattr(load.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(load.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(load.os, "sysconf", lambda _: 128)
    monkeypatch.setattr(load.Foreign, "_ticks", staticmethod(ticks.__getitem__))
    monkeypatch.setattr(
        load.Path,
        "read_text",
        lambda *_, **__: f"cpu {ticks['machine']} 0 0 9 9 0 0 0\n",
    )
    with load.Foreign([7]) as foreign:
        clock[0] += 1.0
        ticks.update({"machine": 226, 7: 90, os.getpid(): 70})
    assert foreign.share == 16 / 256  # 126 less 60 and 50 ticks, of two cores


def test_a_script_reports_its_own_seconds_or_is_timed_from_outside(monkeypatch):
    monkeypatch.setitem(startup.SCRIPTS, "inside", "print(0.5)")
    monkeypatch.setitem(startup.SCRIPTS, "outside", ["-c", "print(0.5)"])
    monkeypatch.setitem(startup.SCRIPTS, "fails", "raise SystemExit('no')")

    def run(key):
        script = startup.Script(key)
        with Workers() as workers:
            return workers.of(script).time(script)["min"]

    assert run("inside") == 0.5
    clock = itertools.count().__next__
    monkeypatch.setattr(startup.time, "perf_counter", clock)
    assert run("outside") == 1
    with pytest.raises(SideError, match="no"):
        run("fails")
