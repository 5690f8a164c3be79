"""Ratios come from sides that take turns, and are judged by their targets."""

import json
from dataclasses import replace

import adapters
import figures
import interleave
import machine
import pytest
import ratios
import table
from cases import Case

TINY = Case("tiny", ((33,),))
FIGURE = figures.Figure("x", "gdopt NumPy", ("textbook NumPy",), TINY, 1.0)
QUICK = interleave.Effort(makes=1, rounds=2, seconds=0.001)


def measured(figure, monkeypatch, times, before=None, **more):
    """Measure with sides that take these seconds in every turn, by contender."""

    def take_turns(sides, _effort, _workers):
        turn = []
        for side in sides:
            seconds = times[side.key, side.checkout is not None]
            turn.append(dict.fromkeys(("median", "min", "p90", "mean"), seconds))
        return [interleave.Turn(turn, 0.0)] * 3

    monkeypatch.setattr(ratios, "take_turns", take_turns)
    return ratios.measure(replace(figure, **more), None, before)


@pytest.mark.slow
@pytest.mark.peers("torch")
def test_a_quick_run_writes_every_ratio(tmp_path, capsys):
    pytest.importorskip("numba")
    file = tmp_path / "deeper" / "ratios.json"
    assert ratios.main(["--quick", "--json", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["quick"]
    assert found["machine"] == machine.describe()
    assert found["blas_kernel"]
    wanted = [(f.what, f.one, by) for f in figures.figures() for by in f.by]
    rows = [(r["what"], r["one"], r.get("by")) for r in found["ratios"]]
    assert [row[:2] for row in rows] == [row[:2] for row in wanted]
    for row, (_, _, by) in zip(found["ratios"], wanted, strict=True):
        if "left_out" in row:
            assert "--before" in row["left_out"]
            continue
        assert row["by"] == by
        if by != "min":
            low, high = row["quartiles"]
            assert 0 < low <= row["ratio"] <= high
        assert row["turns"]["of"] == 1
        assert row["dtype"] == "float32"
        assert row["ok"] is None  # small arrays are not what targets are for
    shown = capsys.readouterr()
    assert "no figures to quote" in shown.out
    assert "training 784-512-256-10" in shown.err


def test_a_quick_run_works_on_small_arrays():
    for figure in map(figures.shrink, figures.figures()):
        assert figure.target is None
        for case in (figure.case, figure.other_case):
            assert getattr(case, "elements", 0) <= 1000


def test_contenders_of_figures_and_of_the_table_are_known():
    for figure in figures.figures():
        for name in (figure.one, *figure.others):
            assert name in ratios.SCRIPTS or adapters.find(name).name == name


def test_a_missing_competitor_is_left_out_and_named(monkeypatch):
    adapter = replace(adapters.ADAPTERS["torch fused"], needs=("no_such_package",))
    monkeypatch.setitem(adapters.ADAPTERS, "torch fused", adapter)
    figure = replace(FIGURE, others=("torch fused",))
    (row,) = ratios.measure(figure, None)
    assert row["left_out"] == "not installed: no_such_package"
    assert "ratio" not in row


def test_what_a_contender_cannot_do_is_left_out():
    figure = replace(FIGURE, case=replace(TINY, rule="sgd"), effort=QUICK)
    figure = replace(figure, others=("gdopt NumPy, own rule",))
    with interleave.Workers() as workers:
        (row,) = ratios.measure(figure, workers)
    assert row["left_out"] == "the rule of one's own is a copy of Adam"


def test_only_the_figures_that_are_asked_for_are_measured(monkeypatch):
    monkeypatch.setattr(ratios, "measure", lambda figure, *_: [figure.what])
    found = ratios.run(only="minimum or clip, ", quick=True)["ratios"]
    assert found == ["minimum, one array of 1e6", "clip, one array of 1e6"]


@pytest.mark.parametrize(("ours", "ok"), [(1.0, True), (1.1, False)])
def test_a_ratio_of_times_is_bounded_above(monkeypatch, ours, ok):
    times = {("gdopt NumPy", False): ours, ("textbook NumPy", False): 1.0}
    (row,) = measured(FIGURE, monkeypatch, times)
    assert (row["ratio"], row["ok"]) == (ours, ok)
    assert row["quartiles"] == [ours, ours]


def test_the_fastest_of_several_peers_counts(monkeypatch):
    times = {("gdopt NumPy", False): 1.0, ("textbook NumPy", False): 4.0}
    times["optax under jit", False] = 2.0
    others = ("textbook NumPy", "optax under jit")
    monkeypatch.setattr(adapters.Adapter, "missing", [])
    (row,) = measured(FIGURE, monkeypatch, times, others=others)
    assert (row["ratio"], row["other"]) == (0.5, "optax under jit")


def test_the_earlier_checkout_is_compared_with_the_same_peer(monkeypatch, tmp_path):
    times = {("gdopt NumPy", False): 1.0, ("gdopt NumPy", True): 3.0}
    times["textbook NumPy", False] = 2.0
    (row,) = measured(FIGURE, monkeypatch, times, tmp_path)
    assert (row["ratio"], row["before"]["ratio"]) == (0.5, 1.5)


def test_the_earlier_checkout_is_compared_with_its_own_case(monkeypatch, tmp_path):
    below = "gdopt NumPy, below the line"
    times = {("gdopt NumPy", False): 1.0, ("gdopt NumPy", True): 3.0}
    times |= {(below, False): 2.0, (below, True): 1.0}
    more = {"others": ("gdopt NumPy",), "other_case": TINY}
    (row,) = measured(FIGURE, monkeypatch, times, tmp_path, **more)
    assert (row["ratio"], row["before"]["ratio"]) == (0.5, 3.0)


def test_below_the_line_may_stand_the_earlier_checkout(monkeypatch, tmp_path):
    times = {("gdopt NumPy", False): 1.0, ("gdopt NumPy", True): 4.0}
    more = {"others": (), "earlier": True, "by": ("min",)}
    (row,) = measured(FIGURE, monkeypatch, times, tmp_path, **more)
    assert row["ratio"] == 0.25
    assert "before" not in row
    (row,) = measured(FIGURE, monkeypatch, times, None, **more)
    assert row["left_out"] == "needs --before CHECKOUT"


def test_a_difference_is_in_seconds(monkeypatch):
    times = {("gdopt NumPy", False): 3.0, ("textbook NumPy", False): 2.5}
    (row,) = measured(FIGURE, monkeypatch, times, by=("min",), difference=True)
    assert (row["ratio"], row["ok"]) == (0.5, True)


def test_turns_with_busy_strangers_are_set_aside_unless_most_are():
    quiet, busy = interleave.Turn([], 0.01), interleave.Turn([], 0.3)
    used, shares = ratios._quiet([quiet, busy, quiet])
    assert used == [quiet, quiet]
    assert shares == {"used": 2, "of": 3, "foreign": 0.01, "quiet": True}
    used, shares = ratios._quiet([quiet, busy, busy])
    assert shares == {"used": 3, "of": 3, "foreign": 0.3, "quiet": False}


@pytest.mark.parametrize(("foreign", "ok"), [([0.3, 0.0], True), ([0.3, 0.3], None)])
def test_what_is_not_quiet_is_measured_again_and_else_not_judged(
    foreign, ok, monkeypatch
):
    shares = iter(foreign)

    def take_turns(sides, _effort, _workers):
        times = [dict.fromkeys(("median", "min", "p90", "mean"), 1.0) for _ in sides]
        return [interleave.Turn(times, next(shares))]

    monkeypatch.setattr(ratios, "take_turns", take_turns)
    (row,) = ratios.measure(FIGURE, None)
    assert row["ok"] is ok
    assert table.ratio_rows({"ratios": [row]})[0][-1] == ("yes" if ok else "not quiet")


def test_a_missed_target_shows_in_the_exit_status(monkeypatch, tmp_path):
    row = {"what": "x", "one": "a", "other": "b", "left_out": ""}
    rows = [row | {"ok": True}, row | {"ok": False}, row]
    found = {"quick": False, "ratios": rows}
    monkeypatch.setattr(ratios, "run", lambda **_: found)
    assert ratios.main(["--json", str(tmp_path / "x.json")]) == ratios.MISSED


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
