"""Makes summary.json and a table from what was measured on a GPU.

python bench/gpu/summary.py OUTDIR
"""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path
from typing import Any

SHOWN = ("numpy", "cupy-cuda12x", "cupy-cuda13x", "torch", "jax", "optax")
Row = dict[str, Any]


def summarize(rows: list[Row], warm: list[Row]) -> dict[str, Any]:
    """Return ``{"meta": ..., "cases": {name: figures}, "host": ..., ...}``.

    A ratio is a peer's time over gdopt's: above 1 gdopt is faster.
    """
    meta = next((row["meta"] for row in rows if "meta" in row), {})
    measured = [row for row in rows if "seconds" in row]
    host = {
        row["contender"]: row.get("host_seconds", row.get("nodes"))
        for row in rows
        if "host_seconds" in row or "nodes" in row
    }
    return {
        "meta": meta,
        "cases": summarize_cases(measured),
        "host": host,
        "compiled": summarize_compiling(warm),
        "missing": find_missing(rows),
    }


def find_missing(rows: list[Row]) -> dict[str, str]:
    """Return why there is no figure, by the names of what was to be measured."""
    keys = [key for row in rows for key in row.get("jobs", [])]
    missing = dict.fromkeys(keys, "the time was over")
    for row in rows:
        if "case" in row and "begun" not in row:
            key = f"{row['case']}-{row['contender']}"
            missing.pop(key, None)
            if "failed" in row or "left_out" in row:
                missing[key] = row.get("failed") or row["left_out"]
    return missing


def summarize_cases(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Return the figures of every case that gdopt was measured in."""
    moved = {row["case"]: row for row in rows}
    times: dict[str, dict[str, float]] = {}
    for row in rows:
        times.setdefault(row["case"], {})[row["contender"]] = row["seconds"]
    copy = times.get("copy", {}).get("cupy")
    bandwidth = moved["copy"]["bytes"] / copy if copy else None
    cases: dict[str, dict[str, float]] = {}
    if copy:
        cases["copy"] = {"seconds": copy, "bytes_per_second": bandwidth}
    for name, by_contender in times.items():
        if "gdopt" in by_contender:
            # To the peers it is one whether gdopt's arrays lie apart.
            peers = times.get(name.removesuffix("_apart"), {}) | by_contender
            cases[name] = figures_of(moved[name], peers, bandwidth)
    for name, figures in cases.items():
        built_in = cases.get(name.replace("own_", "adam_"))
        if name.startswith("own_") and built_in:
            figures["ratio_built_in"] = built_in["seconds"] / figures["seconds"]
    return cases


def figures_of(
    moved: Row, times: dict[str, float], bandwidth: float | None
) -> dict[str, float]:
    """Return a case's figures, from the seconds of a step by contender."""
    own = times["gdopt"]
    figures = {"seconds": own}
    if "bytes" in moved:
        figures["bytes_per_second"] = moved["bytes"] / own
        if bandwidth:
            figures["share_of_copy"] = figures["bytes_per_second"] / bandwidth
    else:
        figures["samples_per_second"] = moved["batch"] / own
    peers = (item for item in times.items() if item[0] != "gdopt")
    return figures | {f"ratio_{peer}": seconds / own for peer, seconds in peers}


def summarize_compiling(warm: list[Row]) -> dict[str, float]:
    """Return how many programs gdopt's first steps compiled, and in what time."""
    own = [row["compiled"] for row in warm if row["contender"] == "gdopt"]
    return {
        "programs": sum(row["programs"] for row in own),
        "seconds": sum(row["seconds"] for row in own),
    }


def table(summary: dict[str, Any]) -> str:
    """Write the figures as text, a line for each case."""
    meta = summary["meta"]
    versions = meta.get("versions", {})
    lines = [
        ", ".join(f"{key} {meta.get(key)}" for key in ("device", "driver", "date")),
        ", ".join(f"{name} {versions[name]}" for name in SHOWN if versions.get(name)),
        f"commit {meta.get('commit')}",
        f"{'case':27}{'us':>10}{'GB/s':>7}{'of copy':>8}  the peer's time over gdopt's",
    ]
    for name, figures in summary["cases"].items():
        speed = figures.get("bytes_per_second")
        share = figures.get("share_of_copy")
        ratios = [
            f"{key.removeprefix('ratio_')} {value:.2f}"
            for key, value in figures.items()
            if key.startswith("ratio_")
        ]
        lines.append(
            f"{name:27}{figures['seconds'] * 1e6:10.1f}"
            f"{'' if speed is None else f'{speed / 1e9:.0f}':>7}"
            f"{'' if share is None else f'{share:.3f}':>8}  {', '.join(ratios)}"
        )
    for name, value in summary["host"].items():
        shown = value if isinstance(value, list) else f"{value * 1e6:.1f} us"
        lines.append(f"host: {name}: {shown}")
    compiled = summary["compiled"]
    lines.append(
        f"gdopt compiled {compiled['programs']} programs for the benchmark in "
        f"{compiled['seconds']:.1f} s, all processes together"
    )
    return "\n".join([*lines, *missing_lines(summary["missing"])]) + "\n"


def missing_lines(missing: dict[str, str]) -> list[str]:
    """Write what has no figure, together where the reason is the same."""
    by_reason = collections.defaultdict(list)
    for name, reason in missing.items():
        by_reason[reason.strip().splitlines()[0][:120]].append(name)
    lines = []
    for reason, names in by_reason.items():
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        lines.append(f"no figure: {reason}: {', '.join(names[:6])}{more}")
    return lines


def read(file: Path) -> list[Row]:
    """Return the rows of a file that may not be there, or end within a line."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if "\n" in line]


def main(folder: Path) -> None:
    """Read the rows of a folder, and write what they say next to them."""
    rows, warm = read(folder / "results.jsonl"), read(folder / "warm.jsonl")
    summary = summarize(rows, warm)
    text = json.dumps(summary, indent=1) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")
    (folder / "summary.txt").write_text(table(summary), encoding="utf-8")
    sys.stdout.write(table(summary))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
