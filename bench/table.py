"""Makes the tables of README.md from the results.

python bench/table.py [FOLDER] [--write]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import averages
import claims
import estimators
from adapters import ADAPTERS
from machine import HERE, folder

README = HERE / "README.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
RATIOS = ("what", "time of", "over that of", "before", "ratio (quartiles)", "target")
RATIOS += ("met",)


def ratio_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table of ratios."""
    rows = []
    for row in found["ratios"]:
        what = row["what"]
        if "left_out" in row:
            cells = (row["one"], row["other"], "", row["left_out"], "", "")
        else:
            seconds, before = row["seconds"], row.get("before")
            bound = "at least" if row.get("speed") else "at most"
            cells = (
                f"{row['one']}: {_amount(row, seconds['one'])}",
                f"{row['other']}: {_amount(row, seconds['other'])}",
                f"{before['ratio']:.3f}" if before else "",
                _ratio(row),
                "" if row["target"] is None else f"{bound} {row['target']}",
                _met(row),
            )
            if row.get("by", "median") != "median":
                what += f", {row['by']}"
            if row.get("difference"):
                what += ", seconds more"
        rows.append((what, *cells))
    return rows


def _met(row: dict[str, Any]) -> str:
    if row["target"] is not None and not row.get("turns", {}).get("quiet", True):
        return "not quiet"
    return {True: "yes", False: "**no**", None: ""}[row["ok"]]


def _ratio(row: dict[str, Any]) -> str:
    """Write a ratio with its quartiles, which minima do not have."""
    if "quartiles" not in row:
        return f"{row['ratio']:.3f}"
    low, high = row["quartiles"]
    return f"{row['ratio']:.3f} ({low:.3f}-{high:.3f})"


def _amount(row: dict[str, Any], seconds: float) -> str:
    """Say how long a step takes; results of old have samples a second as well."""
    if row.get("speed"):
        return f"{row['batch'] / seconds / 1e3:.1f} k/s"
    text = _microseconds(seconds)
    if "fresh" in row["what"]:
        text += f", {seconds * 1e6 / row['arrays']:.2f} µs an array"
    return text


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.{0 if seconds > 1e-4 else 1}f} µs"


def markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Write a table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def print_ratios(found: dict[str, Any]) -> None:
    """Show the ratios: by rich where it is installed, else as Markdown."""
    rows = ratio_rows(found)
    if found["quick"]:
        sys.stdout.write("Tried on small arrays: no figures to quote.\n")
    if importlib.util.find_spec("rich") is None:
        sys.stdout.write(markdown(RATIOS, rows) + "\n")
        return
    from rich.console import Console  # noqa: PLC0415 - an extra
    from rich.table import Table  # noqa: PLC0415

    table = Table(*RATIOS)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def speed_table(found: dict[str, Any]) -> str:
    """Return the times of all contenders: a row for each case."""
    times: dict[str, dict[str, float]] = {}
    for entry in found["benchmarks"]:
        case, contender = entry["params"]["case"], entry["params"]["contender"]
        times.setdefault(case, {})[contender] = entry["stats"]["median"]
    names = [name for name in ADAPTERS if any(name in by for by in times.values())]
    rows = [
        (case, *(_microseconds(by[n]) if n in by else "" for n in names))
        for case, by in times.items()
    ]
    return markdown(("case", *names), rows)


def describe(machine: dict[str, Any], dtypes: str = "float32") -> str:
    """Say in a line on what and when the figures were made."""
    versions = [f"{name} {v}" for name, v in machine["versions"].items() if v]
    changed = " and changes since" if machine["changed_since"] else ""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python "
        f"{machine['python']}, {', '.join(versions)}; {dtypes}; {machine['date']}, "
        f"commit {machine['commit'][:10]}{changed}."
    )


def tables(results: Sequence[Path]) -> str:
    """Return all that stands in README.md: each table of every folder that has it.

    Raises:
        FileNotFoundError: no folder holds any.
    """
    parts = []
    for name, section in (
        ("ratios.json", ratios_section),
        ("speed.json", speed_section),
        ("averages.json", averages_section),
        ("estimators.json", estimators_section),
        ("ranks.json", ranks_section),
        ("notes.json", notes_section),
        ("summary.json", gpu_section),
    ):
        for file in (path / name for path in results):
            if file.is_file():
                title, *body = section(json.loads(file.read_text(encoding="utf-8")))
                heading = f"## {title}: {file.parent.name}"
                parts += [heading, f"From `{file.relative_to(HERE)}`.", *body]
    if not parts:
        message = f"no results in {', '.join(map(str, results))}: run python bench"
        raise FileNotFoundError(message)
    return "\n\n".join(parts)


def ratios_section(found: dict[str, Any]) -> list[str]:
    """Return the section on what gdopt promises."""
    about = describe(found["machine"])
    if "blas_kernel" in found:
        about += f" NumPy multiplies by {found['blas_kernel']}."
    if "before" in found:
        about += f" Before: commit {found['before'][:10]}."
    return ["Ratios", about, markdown(RATIOS, ratio_rows(found))]


def speed_section(found: dict[str, Any]) -> list[str]:
    """Return the section on the time of a step."""
    return ["Time of a step", describe(found["machine_info"]), speed_table(found)]


def averages_section(found: dict[str, Any]) -> list[str]:
    """Return the section on averages of a long series."""
    return _tried(
        "Averages of a series", found, "float64", averages.HEAD, averages.rows(found)
    )


def estimators_section(found: dict[str, Any]) -> list[str]:
    """Return the section on the classifier beside scikit-learn's."""
    dtypes, head = "float32 and float64", estimators.HEAD
    parts = _tried("Classifiers", found, dtypes, head, estimators.rows(found))
    if "folds" in found:
        parts.append(markdown(estimators.FOLD_HEAD, estimators.fold_rows(found)))
    return parts


def ranks_section(found: dict[str, Any]) -> list[str]:
    """Return the section on a step on several ranks, and torch's DDP."""
    rows = []
    for size, times in found["figures"].items():
        (peer,) = [
            each for name, each in times.items() if name.startswith("torch DDP, f")
        ]
        for name, each in times.items():
            ratios = [f"{peer[kind] / each[kind]:.2f}" for kind in ("median", "min")]
            rows.append(
                (size, name, f"{each['median']:.2f}", f"{each['min']:.2f}", *ratios)
            )
    head = (
        "parameters",
        f"a step on {found['ranks']} ranks",
        "median, ms",
        "least, ms",
    )
    head += ("torch's DDP over it: medians", "least")
    return ["Several ranks", describe(found["machine"]), markdown(head, rows)]


def _tried(
    title: str, found: dict[str, Any], dtypes: str, head: tuple[str, ...], rows: Any
) -> list[str]:
    tried = ["Tried in a hurry: no figures to quote."] if found["quick"] else []
    return [title, describe(found["machine"], dtypes), *tried, markdown(head, rows)]


def notes_section(found: dict[str, Any]) -> list[str]:
    """Return the section on what the course's notes claim."""
    parts = ["The course's claims", describe(found["machine"]), claims.about(found)]
    if found["quick"]:
        parts.append("Tried on small sizes: no figures to quote.")
    parts.append(markdown(claims.HEAD, claims.claim_rows(found)))
    if rows := claims.target_rows(found["target"]):
        parts.append(markdown(claims.TARGET, rows))
    return parts


def gpu_section(found: dict[str, Any]) -> list[str]:
    """Return the section on what `bench/on_gpu.sh` measured."""
    meta, cases = found["meta"], found["cases"]
    peers = dict.fromkeys(
        key for figures in cases.values() for key in figures if key.startswith("ratio_")
    )
    head = ("case", "time", "GB/s", "of a copy's")
    head += tuple(f"{key.removeprefix('ratio_')} over gdopt" for key in peers)
    rows = [
        (
            name,
            _microseconds(figures["seconds"]),
            *(
                f"{figures[key] / scale:.{digits}f}" if key in figures else ""
                for key, scale, digits in (
                    ("bytes_per_second", 1e9, 0),
                    ("share_of_copy", 1, 3),
                )
            ),
            *(f"{figures[key]:.2f}" if key in figures else "" for key in peers),
        )
        for name, figures in cases.items()
    ]
    host = [
        (name, _microseconds(value) if isinstance(value, float) else str(value[0]))
        for name, value in found["host"].items()
    ]
    about = f"{meta['device']}, driver {meta['driver']}; {describe(meta)}"
    host_head = ("on the host, or counted", "")
    return ["On a GPU", about, markdown(head, rows), markdown(host_head, host)]


def write(results: Sequence[Path], readme: Path = README) -> None:
    """Put the tables between the marks of README.md."""
    text = readme.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    text = f"{head}{BEGIN}\n\n{tables(results)}\n\n{END}{tail}"
    readme.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folders",
        type=Path,
        nargs="*",
        metavar="FOLDER",
        help="of results (this machine's)",
    )
    parser.add_argument("--write", action="store_true", help="into README.md")
    options = parser.parse_args()
    results = [path.resolve() for path in options.folders or [folder()]]
    if options.write:
        write(results)
    else:
        sys.stdout.write(tables(results) + "\n")


if __name__ == "__main__":
    main()
