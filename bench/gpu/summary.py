"""Makes summary.json and a table from what the GPU suite measured.

python bench/gpu/summary.py OUTDIR
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = ("seconds", "bytes_per_second", "share_of_copy")


def times(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the median seconds of a step, by case and contender."""
    by_case: dict[str, dict[str, float]] = {}
    for entry in found["benchmarks"]:
        told = entry["extra_info"]
        seconds = entry["stats"]["median"] / told["steps"]
        by_case.setdefault(told["case"], {})[told["contender"]] = seconds
    return by_case


def summarize(found: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"meta": ..., "cases": {name: figures}}``.

    A ratio is a peer's time over gdopt's: above 1 gdopt is faster.
    """
    moved = {e["extra_info"]["case"]: e["extra_info"] for e in found["benchmarks"]}
    measured = times(found)
    copy = measured.get("copy", {}).get("cupy")
    bandwidth = moved["copy"]["bytes"] / copy if copy else None
    cases: dict[str, dict[str, float]] = {}
    if copy:
        cases["copy"] = {"seconds": copy, "bytes_per_second": bandwidth}
    for name, by_contender in measured.items():
        own = by_contender.get("gdopt")
        if own is None:
            continue
        figures = {"seconds": own}
        if "bytes" in moved[name]:
            figures["bytes_per_second"] = moved[name]["bytes"] / own
            if bandwidth:
                figures["share_of_copy"] = figures["bytes_per_second"] / bandwidth
        else:
            figures["samples_per_second"] = moved[name]["batch"] / own
        for peer, seconds in by_contender.items():
            if peer != "gdopt":
                figures[f"ratio_{peer}"] = seconds / own
        cases[name] = figures
    for name, figures in cases.items():
        built_in = cases.get(name.replace("own_", "adam_"))
        if name.startswith("own_") and built_in:
            figures["ratio_built_in"] = built_in["seconds"] / figures["seconds"]
    return {"meta": found["machine_info"], "cases": cases}


def table(summary: dict[str, Any]) -> str:
    """Write the figures as text, a line for each case."""
    meta = summary["meta"]
    lines = [
        ", ".join(f"{key} {meta.get(key)}" for key in ("device", "driver", "date")),
        f"commit {meta.get('commit')}",
        f"{'case':32}{'us':>12}{'GB/s':>9}{'of copy':>9}  the peer's time over gdopt's",
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
            f"{name:32}{figures['seconds'] * 1e6:12.1f}"
            f"{'' if speed is None else f'{speed / 1e9:.0f}':>9}"
            f"{'' if share is None else f'{share:.3f}':>9}  {', '.join(ratios)}"
        )
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Read benchmark.json of a folder, and write what it says beside it."""
    found = json.loads((folder / "benchmark.json").read_text(encoding="utf-8"))
    summary = summarize(found)
    text = json.dumps(summary, indent=1) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")
    (folder / "summary.txt").write_text(table(summary), encoding="utf-8")
    sys.stdout.write(table(summary))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
