"""What the course's notes claim, judged by ratios, and the tables of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

HOLDS, FAILS, NOISE = "holds", "does not hold", "within noise"
HEAD = ("the notes say", "time of", "over that of", "ratio (quartiles)", "here")
TARGET = ("batch", "rate", "steps", "epochs", "seconds (quartiles)", "reached")
Rows = list[tuple[str, ...]]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return three of the values: nothing between them, as some may be infinite."""
    ordered = sorted(values)
    last = len(ordered) - 1
    low, middle, high = (ordered[round(share * last)] for share in (0.25, 0.5, 0.75))
    return low, middle, high


def verdict(low: float, high: float) -> str:
    """Judge by the quartiles of what the claim calls slower over what is faster.

    Of 25 rounds without a difference, one set in 70 has both on the same side of 1.
    """
    if low > 1:
        return HOLDS
    return FAILS if high < 1 else NOISE


def judge(ratios: Sequence[float], *, quick: bool) -> dict[str, Any]:
    """Return the figures of a claim as JSON takes them, and what they say of it."""
    low, ratio, high = quartiles(ratios)
    return {
        "ratio": finite(ratio),
        "quartiles": [finite(low), finite(high)],
        "rounds": len(ratios),
        "verdict": None if quick else verdict(low, high),
    }


def finite(value: float) -> float | None:
    """Return None for what was never reached: JSON knows no infinity."""
    return float(value) if math.isfinite(value) else None


def claim_rows(found: dict[str, Any]) -> Rows:
    """Return the cells of the table of claims."""
    rows = []
    for row in found["claims"]:
        if "left_out" in row:
            rows.append((row["claim"], "", "", row["left_out"], ""))
            continue
        one, other = (
            f"{row[side]:,}: {_amount(row, row['seconds'][side])}"
            for side in ("one", "other")
        )
        figures = _ratio(row["ratio"], *row["quartiles"])
        rows.append((row["claim"], one, other, figures, row["verdict"] or ""))
    return rows


def _amount(row: dict[str, Any], seconds: float | None) -> str:
    if row["of"] == "example":
        return f"{seconds * 1e6:.2f} µs an example, {1e-3 / seconds:,.0f} k/s"
    return "not reached" if seconds is None else f"{seconds:.3f} s"


def _ratio(middle: float | None, low: float | None, high: float | None) -> str:
    middle, low, high = (
        "∞" if value is None else f"{value:.3f}" for value in (middle, low, high)
    )
    return f"{middle} ({low}-{high})"


def target_rows(target: dict[str, Any]) -> Rows:
    """Return the cells of the table of the times to a target loss."""
    rows = []
    for run in target.get("runs", []):
        reached = f"{run['reached']} of {target['rounds']}"
        if run["seconds"] is None:
            rate = "none" if run["rate"] is None else f"{run['rate']:g}"
            late = f"not reached in {target['allowed']:g} s of training"
            rows.append((f"{run['size']:,}", rate, "", "", late, reached))
            continue
        cells = (f"{run['size']:,}", f"{run['rate']:g}", f"{run['steps']:,}")
        figures = _ratio(run["seconds"], *run["quartiles"])
        rows.append((*cells, f"{run['epochs']:,.1f}", figures, reached))
    return rows


def about(found: dict[str, Any]) -> str:
    """Say what was measured."""
    speed, target = found["throughput"], found["target"]
    text = (
        f"Time of an example: gdopt's {speed['optimizer']} on {_layers(speed)}, "
        f"batches gathered from {speed['examples']:,} random examples."
    )
    if "left_out" in target:
        return f"{text} Time to a target loss: {target['left_out']}."
    rates = ", ".join(f"{rate:g}" for rate in sorted(target["rates"]))
    return (
        f"{text} Time to a training loss of {target['loss']:g}: gdopt's "
        f"{target['optimizer']} on {_layers(target)}, {target['data']}, "
        f"{target['examples']:,} examples; of the rates {rates} each batch size has "
        f"its best."
    )


def _layers(part: dict[str, Any]) -> str:
    return "-".join(map(str, part["sizes"]))


def plain(head: tuple[str, ...], rows: Rows) -> str:
    """Write a table as text, its columns one below the other."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)
