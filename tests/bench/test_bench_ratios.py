"""Ratios come from sides that take turns, and are judged by their targets."""

import itertools
import json
from dataclasses import replace

import adapters
import interleave
import machine
import pytest
import ratios
from cases import Case


@pytest.mark.slow
@pytest.mark.peers("torch")
def test_quick_run_writes_every_ratio(tmp_path, capsys):
    pytest.importorskip("numba")
    file = tmp_path / "deeper" / "ratios.json"
    assert ratios.main(["--quick", "--json", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["quick"]
    assert found["machine"] == machine.describe()
    wanted = [(pair.what, pair.one, pair.other) for pair in ratios.pairs()]
    assert [(r["what"], r["one"], r["other"]) for r in found["ratios"]] == wanted
    for row in found["ratios"]:
        low, high = row["quartiles"]
        assert 0 < low <= row["ratio"] <= high
        assert row["rounds"] == ratios.QUICK.makes * ratios.QUICK.rounds
        assert row["dtype"] == "float32"
        assert row["ok"] is None  # small arrays are not what targets are for
    shown = capsys.readouterr()
    assert "no figures to quote" in shown.out
    assert "training 784-512-256-10" in shown.err


def test_a_quick_run_works_on_small_arrays():
    for pair in map(ratios.shrink, ratios.pairs()):
        assert pair.target is None
        assert getattr(pair.case, "elements", 0) <= 1000


def test_a_missing_competitor_is_left_out_and_named(monkeypatch):
    adapter = replace(ratios.ADAPTERS["torch fused"], needs=("no_such_package",))
    monkeypatch.setitem(ratios.ADAPTERS, "torch fused", adapter)
    row = ratios.measure(ratios.pairs()[0], ratios.QUICK)
    assert row["left_out"] == "not installed: no_such_package"
    assert "ratio" not in row


def test_sides_are_made_and_timed_in_turns_each_first_in_every_other_one():
    calls = []

    def maker(name, seconds):
        def make():
            calls.append(f"make {name}")
            return lambda: calls.append(name) or seconds

        return make

    effort = interleave.Effort(makes=2, rounds=2, seconds=0)
    makers = maker("a", 1.0), maker("b", 2.0)
    assert interleave.interleave(makers, effort) == [(1.0, 2.0)] * 4
    first = ["make a", "make b", "a", "b", "b", "a"]
    assert calls == [*first, "make b", "make a", "b", "a", "a", "b"]


def stopwatch(monkeypatch, durations):
    """Make a contender whose steps take so many seconds each, by a clock of its own."""
    clock, durations = [0.0], itertools.cycle(durations)
    monkeypatch.setattr(interleave.time, "perf_counter", lambda: clock[0])

    def step():
        clock[0] += next(durations)

    return adapters.Contender(step, list)


def test_a_round_lasts_as_long_as_asked_in_chunks_the_clock_can_tell(monkeypatch):
    second = 2**-15  # a power of two, so that sums are exact
    contender = stopwatch(monkeypatch, [second])
    chunks, steps = interleave._pace(contender, 0.5)
    assert steps == 8  # 4 take 122 us, less than the 200 us of a chunk
    assert chunks * steps * second == 0.5
    assert interleave._time(contender, chunks, steps) == second


def test_a_pause_of_the_machine_does_not_count(monkeypatch):
    contender = stopwatch(monkeypatch, [1.0, 1.0, 50.0])
    assert interleave._time(contender, 9) == 1.0


@pytest.mark.parametrize(
    ("speed", "ratio", "ok"),
    [(False, 1.0, True), (False, 1.1, False), (True, 1.0, True), (True, 0.9, False)],
)
def test_a_ratio_of_times_is_bounded_above_and_one_of_speeds_below(speed, ratio, ok):
    pair = ratios.Pair("x", Case("x", ((1,),)), "one", "other", 1.0, speed)
    assert ratios._judge(pair, ratio) is ok


def test_a_missed_target_shows_in_the_exit_status(monkeypatch, tmp_path):
    row = {"what": "x", "one": "a", "other": "b", "left_out": ""}
    rows = [row | {"ok": True}, row | {"ok": False}, row]
    found = {"quick": False, "ratios": rows}
    monkeypatch.setattr(ratios, "run", lambda **_: found)
    assert ratios.main(["--json", str(tmp_path / "x.json")]) == ratios.MISSED


def test_a_ratio_of_speeds_is_the_inverse_of_that_of_times(monkeypatch):
    monkeypatch.setattr(
        ratios, "_makers", lambda *_: (lambda: lambda: 2.0, lambda: lambda: 1.0)
    )
    pair = next(pair for pair in ratios.pairs() if "own" in pair.one)
    pair = replace(pair, one="gdopt NumPy", other="textbook NumPy")
    assert ratios.measure(pair, ratios.QUICK)["ratio"] == 2.0
    assert ratios.measure(replace(pair, speed=True), ratios.QUICK)["ratio"] == 0.5


@pytest.mark.parametrize(
    ("model", "slug"),
    [
        ("AMD EPYC", "amd-epyc-2-cores"),
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "intel-xeon-e5-2680-v4-2-cores"),
    ],
)
def test_results_have_a_folder_for_each_processor(monkeypatch, model, slug):
    monkeypatch.setattr(machine, "processor", lambda: model)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    assert machine.folder() == machine.HERE / "results" / slug
