"""The course's claims are judged by ratios of sides in turns, and shown in tables."""

import json
import math

import claims
import interleave
import notes
import numpy as np
import pytest
import table

CLAIM = {
    "claim": "1,024 rather than 1,000",
    "one": 1000,
    "other": 1024,
    "of": "example",
    "ratio": 1.02,
    "quartiles": [1.01, 1.03],
    "verdict": "holds",
    "seconds": {"one": 5e-6, "other": 4e-6},
}
LATE = {
    "claim": "in between is fastest",
    "one": 1,
    "other": 64,
    "of": "target",
    "ratio": None,
    "quartiles": [3.0, None],
    "verdict": "holds",
    "seconds": {"one": None, "other": 0.25},
}
RUNS = [
    {
        "size": 64,
        "rate": 0.5,
        "steps": 1200,
        "epochs": 41.4,
        "seconds": 0.25,
        "quartiles": [0.2, 0.3],
        "reached": 25,
    },
    {"size": 1, "rate": 0.1, "seconds": None, "quartiles": [0.9, None], "reached": 9},
    {"size": 1797, "rate": None, "seconds": None, "reached": 0},
]
FOUND = {
    "machine": {
        "cpu": "A processor",
        "cores": 2,
        "system": "Linux",
        "python": "3.11",
        "versions": {"gdopt": "0.1.0"},
        "commit": "0123456789ab",
        "changed_since": False,
        "date": "2026-01-01",
    },
    "quick": False,
    "throughput": {"sizes": [784, 256, 10], "optimizer": "Adam", "examples": 8200},
    "target": {
        "data": "scikit-learn's digits",
        "examples": 1797,
        "sizes": [64, 64, 10],
        "optimizer": "SGD",
        "loss": 0.1,
        "rates": [0.5, 0.1],
        "allowed": 5.0,
        "rounds": 25,
        "runs": RUNS,
    },
    "claims": [CLAIM, LATE],
}


def test_a_ratio_whose_quartiles_lie_above_one_holds():
    assert claims.verdict(1.001, 1.1) == "holds"


def test_a_ratio_whose_quartiles_lie_below_one_does_not_hold():
    assert claims.verdict(0.9, 0.999) == "does not hold"


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.1), (1.0, 1.1), (0.9, 1.0)])
def test_a_ratio_whose_quartiles_enclose_one_is_within_noise(low, high):
    assert claims.verdict(low, high) == "within noise"


def test_quartiles_of_25_rounds_are_those_of_numpy():
    values = np.random.default_rng(0).random(25)
    expected = np.quantile(values, (0.25, 0.5, 0.75))
    assert claims.quartiles(values) == tuple(expected)


def test_a_claim_is_judged_by_all_rounds():
    figures = claims.judge([1.1, 1.3, 1.2, 1.5, 0.5], quick=False)
    assert figures == {
        "ratio": 1.2,
        "quartiles": [1.1, 1.3],
        "rounds": 5,
        "verdict": "holds",
    }


def test_a_quick_run_judges_nothing():
    assert claims.judge([1.1, 1.3, 1.2], quick=True)["verdict"] is None


def test_a_side_that_never_got_there_is_no_number_in_json():
    figures = claims.judge([2.0, 3.0, math.inf, math.inf, math.inf], quick=False)
    assert (figures["ratio"], figures["quartiles"]) == (None, [3.0, None])
    assert figures["verdict"] == "holds"
    json.dumps(figures, allow_nan=False)


def test_a_claim_shows_both_sides_the_ratio_and_the_verdict():
    assert claims.claim_rows(FOUND) == [
        (
            "1,024 rather than 1,000",
            "1,000: 5.00 µs an example, 200 k/s",
            "1,024: 4.00 µs an example, 250 k/s",
            "1.020 (1.010-1.030)",
            "holds",
        ),
        (
            "in between is fastest",
            "1: not reached",
            "64: 0.250 s",
            "∞ (3.000-∞)",
            "holds",
        ),
    ]


def test_a_claim_that_was_left_out_says_why():
    target, rows = notes.left_out()
    shown = claims.claim_rows({"claims": rows})
    assert {row[3] for row in shown} == {"not installed: scikit-learn"}
    assert claims.target_rows(target) == []
    assert "not installed" in claims.about(FOUND | {"target": target})


def test_a_size_that_does_not_get_there_is_shown_as_such():
    late = "not reached in 5 s of training"
    assert claims.target_rows(FOUND["target"]) == [
        ("64", "0.5", "1,200", "41.4", "0.250 (0.200-0.300)", "25 of 25"),
        ("1", "0.1", "", "", late, "9 of 25"),
        ("1,797", "none", "", "", late, "0 of 25"),
    ]


def test_a_plain_table_has_its_columns_one_below_the_other():
    text = claims.plain(("a", "b"), [("long", "x"), ("c", "")])
    assert text == "a     b\nlong  x\nc"


@pytest.mark.parametrize("quick", [False, True])
def test_the_readme_gets_a_section_where_there_are_results(
    quick, tmp_path, monkeypatch
):
    monkeypatch.setattr(table, "HERE", tmp_path)
    file = tmp_path / "notes.json"
    file.write_text(json.dumps(FOUND | {"quick": quick}), encoding="utf-8")
    text = table.tables([tmp_path])
    assert text.startswith(f"## The course's claims: {tmp_path.name}\n\nFrom ")
    assert "Adam on 784-256-10" in text
    assert "| 1.020 (1.010-1.030) | holds |" in text
    assert "| 64 | 0.5 | 1,200 | 41.4 | 0.250 (0.200-0.300) | 25 of 25 |" in text
    assert ("no figures to quote" in text) is quick


def test_every_folder_that_has_results_has_its_table(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "HERE", tmp_path)
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    with pytest.raises(FileNotFoundError, match="run python bench"):
        table.tables([one, other])
    (other / "notes.json").write_text(json.dumps(FOUND), encoding="utf-8")
    assert "From `other/notes.json`." in table.tables([one, other])
    (one / "notes.json").write_text(json.dumps(FOUND), encoding="utf-8")
    text = table.tables([one, other])
    places = [
        f"claims: {name}\n\nFrom `{name}/notes.json`." for name in ("one", "other")
    ]
    assert [text.count(place) for place in places] == [1, 1]
    assert text.index(places[0]) < text.index(places[1])


def test_time_is_divided_by_the_size_of_the_batch(monkeypatch):
    sides = []

    def interleave_(pair, _effort, _workers):
        sides.extend(pair)
        return [(100.0, 64.0)] * 3  # a batch of 50 in 100 s, one of 64 in 64 s

    monkeypatch.setattr(notes, "interleave", interleave_)
    effort = interleave.Effort(makes=3, rounds=1, seconds=0)
    row = notes.compare("x", notes.SIZES, (50, 64), effort)
    assert [side.arguments[1] for side in sides] == [50, 64]
    assert row["seconds"] == {"one": 2.0, "other": 1.0}
    assert row["examples_per_second"] == {"one": 0.5, "other": 1.0}
    assert (row["ratio"], row["verdict"]) == (2.0, "holds")


def test_every_power_of_two_meets_both_neighbours():
    sizes = [(one, other) for _, one, other in notes.pairs()]
    assert sizes[0] == (1000, 1024)
    expected = [(p + d, p) for p in (64, 128, 256, 512, 1024) for d in (-1, 1)]
    assert sizes[1:] == expected
    assert max(map(max, sizes)) * 8 == notes.EXAMPLES


@pytest.mark.slow
def test_a_quick_run_writes_every_claim(tmp_path, capsys):
    pytest.importorskip("sklearn")
    file = tmp_path / "deeper" / "notes.json"
    assert notes.main(["--quick", "--json", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["quick"]
    names = [(row["claim"], row["one"], row["other"]) for row in found["claims"]]
    assert names[:-3] == notes.pairs()
    assert [name for name, *_ in names[-3:]] == [notes.IN_BETWEEN] * 2 + [notes.SMALL]
    for row in found["claims"]:
        low, high = row["quartiles"]
        assert 0 < low <= row["ratio"] <= high
        assert row["verdict"] is None
    runs = found["target"]["runs"]
    assert [run["size"] for run in runs] == [1, 64, 256, 1797]
    shown = capsys.readouterr()
    assert "no figures to quote" in shown.out
    assert len(shown.out.splitlines()) == 2 + 1 + 1 + 14 + 1 + 1 + 4
    assert "the best rate for batches of 1,797" in shown.err
