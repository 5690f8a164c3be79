import json
import math
import re

import pytest

from gdopt import plots
from gdopt.planner import NoiseScale, Plan, Row
from gdopt.plots import planning


def make(**options):
    rows = [
        Row(64, 1_000_000, 990_000, 0, 1000, True, 1e5, 9e4, 1.1e5, 5e4),
        Row(128, 2_000_000, 2_010_000, 2_100_000, 1000, True, 2e5, 1.9e5, 2.1e5, 6e4),
        Row(1024, 16_000_000, None, 0, 1000, False, note="predicted not to fit"),
    ]
    usual = {
        "micro_batch_size": 128,
        "batch_size": 128,
        "micro_batches": 1,
        "decided_by": "throughput",
        "reason": "throughput: the most",
        "rows": rows,
        "noise_scale": NoiseScale(80.0, 60.0, math.inf, 4.0, 0.05, 2048),
        "buffers": {"state and data": 500_000, "two batches": 1_500_000},
        "examples": 12_000,
        "device": "cpu",
        "device_name": "the CPU",
        "memory_bytes": 8_000_000,
        "resident_bytes": 500_000,
        "notices": ["something odd"],
        "date": "2026-11-21T12:00:00+00:00",
    }
    return Plan(**usual | options)


def test_a_plan_prints_as_a_table():
    assert str(make()).splitlines() == [
        "batch size 128: throughput: the most",
        "",
        (
            "   size  updates  predicted  measured  fits  examples/s             95 %"
            "  goodput/s"
        ),
        (
            "     64      188    1.00 MB    990 kB  yes      100,000   90,000-110,000"
            "     50,000"
        ),
        (
            ">   128       94    2.00 MB   2.01 MB  yes      200,000  190,000-210,000"
            "     60,000"
        ),
        (
            "  1,024       12    16.0 MB         -  no             -                -"
            "          -  predicted not to fit"
        ),
        "",
        (
            "the course's rule, for comparison: a power of two that fits, 64 to 512 as "
            "a rule"
        ),
        (
            "gradient noise scale: 80 examples (95 % interval 60 to any), from 2,048 "
            "examples; it grows during training"
        ),
        "memory: 8.00 MB for this work on the CPU, of which 1.00 kB stay free",
        "a batch of 128 takes: state and data 500 kB, two batches 1.50 MB",
        "note: something odd",
    ]


def test_the_courses_rule_for_up_to_2000_examples_is_shown():
    assert (
        "\nthe course's rule, for comparison: up to 2,000 examples are one batch, so "
        "1,079\n"
    ) in str(make(examples=1079))
    assert "512 as a rule\n" in str(make(examples=2001))


def test_micro_batches_are_reported():
    plan = make(micro_batch_size=64, batch_size=200, micro_batches=4)
    assert "batch size 64, 4 of them accumulated to a batch of 200: " in str(plan)


def test_a_plan_without_noise_says_nothing_of_it():
    assert "noise" not in str(make(noise_scale=None))


def test_json_holds_everything(tmp_path):
    plan = make()
    plan.save(tmp_path / "plan.json")
    saved = json.loads((tmp_path / "plan.json").read_text())
    assert saved["micro_batch_size"] == 128
    assert saved["reason"] == "throughput: the most"
    assert saved["rows"][0]["batch_size"] == 64
    expected = {"predicted_bytes", "measured_bytes", "fits", "examples_per_second"}
    assert expected < saved["rows"][0].keys()
    assert saved["noise_scale"]["high"] is None  # JSON knows no infinity
    assert saved == plan.to_dict()
    assert saved.keys() == {"format", *vars(plan)}


def words(path):
    """Return the texts of an SVG, which matplotlib leaves as comments."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


@pytest.fixture
def drawn(tmp_path):
    """Return ``drawn(plan)``: the texts in its picture."""
    pytest.importorskip("matplotlib")

    def draw(plan):
        plots.batch_sizes(plan, tmp_path / "plan.svg")
        return words(tmp_path / "plan.svg")

    return draw


def test_the_picture_shows_memory_speed_and_goodput(drawn):
    texts = drawn(make())
    assert "batch size 128, chosen for: throughput" in texts
    assert {"predicted", "measured", "does not fit"} <= set(texts)
    assert {"peak memory (MB)", "1,000 examples/s", "goodput (1,000/s)"} <= set(texts)
    assert {"64", "128", "1,024", "batch size (examples)"} <= set(texts)
    assert "8.00 MB less the margin" in texts


def test_a_limit_far_above_is_reported_instead_of_drawn(drawn):
    assert "8.00 TB less the margin: far above" in drawn(make(memory_bytes=8 * 10**12))


def test_a_plan_without_speeds_shows_memory_alone(drawn):
    rows = [Row(64, 1_000_000, fits=True)]
    texts = drawn(make(rows=rows, micro_batch_size=64))
    assert "1,000 examples/s" not in texts
    assert "peak memory (MB)" in texts


def test_legends_are_above_the_panels_and_cover_no_data(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    figures = []
    monkeypatch.setattr(planning, "save", lambda figure, *_: figures.append(figure))
    plots.batch_sizes(make(), tmp_path / "plan.png")
    (figure,) = figures
    figure.draw_without_rendering()
    legends = [(axis, axis.get_legend()) for axis in figure.axes if axis.get_legend()]
    assert len(legends) == 2
    for axis, legend in legends:
        assert legend.get_window_extent().y0 >= axis.get_window_extent().y1
