"""README.md's tables are the results, which it names."""

import re
import sys

import pytest
import table
from machine import HERE

TEXT = (HERE / "README.md").read_text(encoding="utf-8")
FILES = ["ratios", "ratios", "speed", "averages", "estimators", "ranks"]
FILES += ["notes"] * 2 + ["summary"] * 2  # the latter of each GPU
ROW = {
    "what": "fresh arrays",
    "one": "gdopt NumPy",
    "other": "torch fused",
    "speed": False,
    "target": 0.6,
    "ok": False,
    "ratio": 0.61234,
    "quartiles": [0.6, 0.7],
    "seconds": {"one": 3e-4, "other": 5e-5},
    "arrays": 100,
}


def test_the_readme_shows_what_the_results_say():
    shown = TEXT.split(table.BEGIN)[1].split(table.END)[0].strip()
    files = re.findall(r"^From `(results/.*/.*\.json)`\.$", shown, re.MULTILINE)
    assert [file.rpartition("/")[2] for file in files] == [f"{f}.json" for f in FILES]
    folders = dict.fromkeys((HERE / file).parent for file in files)
    assert {*folders} == {*(HERE / "results").iterdir()}
    assert shown == table.tables([*folders])


def test_writing_replaces_what_is_between_the_marks(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"head\n{table.BEGIN}\nold\n{table.END}\ntail\n", "utf-8")
    monkeypatch.setattr(table, "tables", lambda _: "new")
    for _ in range(2):
        table.write([tmp_path], readme)
    expected = f"head\n{table.BEGIN}\n\nnew\n\n{table.END}\ntail\n"
    assert readme.read_text(encoding="utf-8") == expected


def test_a_row_tells_both_times_the_ratio_and_whether_it_is_met():
    assert table.ratio_rows({"ratios": [ROW]}) == [
        (
            "fresh arrays",
            "gdopt NumPy: 300 µs, 3.00 µs an array",
            "torch fused: 50.0 µs, 0.50 µs an array",
            "",
            "0.612 (0.600-0.700)",
            "at most 0.6",
            "**no**",
        )
    ]


def test_a_ratio_of_speeds_shows_samples_a_second():
    row = ROW | {"what": "x", "speed": True, "batch": 128, "ok": True}
    ((_, one, other, _, _, target, met),) = table.ratio_rows({"ratios": [row]})
    assert (one, other) == ("gdopt NumPy: 426.7 k/s", "torch fused: 2560.0 k/s")
    assert (target, met) == ("at least 0.6", "yes")


def test_what_is_left_out_says_why():
    row = {"what": "x", "one": "a", "other": "b", "left_out": "not installed: b"}
    assert table.ratio_rows({"ratios": [row]}) == [
        ("x", "a", "b", "", "not installed: b", "", "")
    ]


def test_a_row_says_what_the_earlier_checkout_took_and_by_what_it_is_compared():
    row = ROW | {"by": "min", "difference": True, "before": {"ratio": 1.9}}
    del row["quartiles"]
    ((what, _, _, before, now, *_),) = table.ratio_rows({"ratios": [row]})
    assert what == "fresh arrays, min, seconds more"
    assert (before, now) == ("1.900", "0.612")


def test_the_section_names_the_kernel_and_the_earlier_commit(monkeypatch):
    monkeypatch.setattr(table, "describe", lambda _: "A machine.")
    found = {"machine": {}, "ratios": [ROW], "blas_kernel": "openblas Zen"}
    _, about, _ = table.ratios_section(found | {"before": "0123456789abcdef"})
    expected = "NumPy multiplies by openblas Zen. Before: commit 0123456789."
    assert about == f"A machine. {expected}"


@pytest.mark.parametrize("rich", [True, False])
def test_ratios_are_shown_with_rich_and_without(rich, monkeypatch, without, capsys):
    if rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich", None)
        without("rich")
    table.print_ratios({"quick": False, "ratios": [ROW]})
    shown = capsys.readouterr().out
    assert "0.612" in shown
    assert ("| fresh arrays |" in shown) is not rich


def test_a_case_is_a_row_and_a_contender_a_column():
    times = {"gdopt NumPy": 2e-6, "torch fused": 0.5, "textbook NumPy": 3e-3}
    entries = [
        {"params": {"case": "x", "contender": name}, "stats": {"median": seconds}}
        for name, seconds in times.items()
    ]
    assert table.speed_table({"benchmarks": entries}).splitlines() == [
        "| case | textbook NumPy | torch fused | gdopt NumPy |",
        "| --- | --- | --- | --- |",
        "| x | 3,000 µs | 500,000 µs | 2.0 µs |",
    ]
