"""``gdopt ewa``: averages of a column of a CSV file, as a table and a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.averages import ewa, ewa_window
from gdopt.averages.formula import BETA, WINDOW, check_beta
from gdopt.cli import flags
from gdopt.data.readers import read_column
from gdopt.errors import ArgumentError
from gdopt.files import free_name, write_json
from gdopt.imports import load_extra
from gdopt.plots.series import COLORS, averages, window_text
from gdopt.tables import aligned, write

BETAS = [0.9, 0.98, 0.5]
HEAD = ("beta", "window", "last, corrected", "not corrected", "lag")
NOTES = """\
window  values that an average is about, 1 / (1 - beta)
lag     steps behind a series that rises steadily, beta / (1 - beta)
"""
DESCRIPTION = "Exponentially weighted averages of a column of a CSV file."
EXAMPLES = """\
The average of beta is v = beta v + (1 - beta) x, which starts from zero; corrected, it
is divided by 1 - beta**t after t values.

examples:
  gdopt ewa temperatures.csv
  gdopt ewa temperatures.csv --column temperature --beta .9 .98 .5
  gdopt ewa temperatures.csv --window 10 50 2        the same averages
  gdopt ewa metrics.csv --column 3 --beta .99 --json averages.json
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its parser."""
    add = parser.add_argument
    text = "CSV in UTF-8, one value of the series a line, or a gap"
    add("file", metavar="FILE", help=text)
    text = "name in the first line, or number from 1 (the only column)"
    add("--column", metavar="NAME | N", help=text)
    flags.add_form(add)
    either = parser.add_mutually_exclusive_group().add_argument
    beta = flags.number(f"in {BETA.text}", BETA)
    text = f"one or several in {BETA.text} ({' '.join(map(str, BETAS))})"
    either("--beta", type=beta, nargs="+", default=BETAS, metavar="BETA", help=text)
    window = flags.number("a number of at least 1", WINDOW)
    text = "instead of beta, which is then 1 - 1 / window"
    either("--window", type=window, nargs="+", metavar="VALUES", help=text)
    add("--json", metavar="FILE", help="write the averages as JSON")
    flags.add_picture(add, "NAME-ewa")


def run(arguments: argparse.Namespace) -> int:
    """Read the column, print the table, and write the picture."""
    load_extra("matplotlib.figure", "train", "gdopt ewa")  # fails now, not at the end
    betas = [check_beta(None, window) for window in arguments.window or ()]
    betas = betas or arguments.beta
    if len(betas) > len(COLORS):
        option = "--window" if arguments.window else "--beta"
        message = f"{option} must be 1 to {len(COLORS)} numbers, got {len(betas)}"
        raise ArgumentError(message)
    form = {"delimiter": arguments.delimiter, "decimal": arguments.decimal}
    name, series = read_column(arguments.file, arguments.column, **form)
    known = series[~np.isnan(series)]
    if not known.size:
        message = f"{arguments.file}: column {name!r} must hold a value, got gaps alone"
        raise ArgumentError(message)
    rows = [_average(series, beta) for beta in betas]
    file = Path(arguments.file)
    title = f"{file.name}, {name}"
    gaps = series.size - known.size
    counted = f"{known.size:,} values" + (f" and {gaps:,} gaps" if gaps else "")
    last = f"{counted}, the last {known[-1]:.6g}"
    table = "\n".join(aligned([HEAD, *map(_cells, rows)]))
    write(f"{title}: {last}\n{table}\n{NOTES}")
    if arguments.json is not None:
        found = {
            "file": arguments.file,
            "column": name,
            "values": [None if np.isnan(x) else x for x in series.tolist()],
            "averages": rows,
        }
        write_json(arguments.json, found, indent=1)
    picture = arguments.picture or free_name(f"{file.stem}-ewa", ".png")
    averages(series, betas, picture, title=title, name=name)
    write(f"picture {picture}\n")
    return 0


def _average(values: np.ndarray, beta: float) -> dict[str, Any]:
    """Return the averages of a series with one beta, and what they are like."""
    gaps = bool(np.isnan(values).any())  # after them only the corrected is defined
    uncorrected = None if gaps else ewa(values, beta, bias_correction=False).tolist()
    return {
        "beta": beta,
        "window": ewa_window(beta),
        "lag": beta / (1 - beta),  # mean age of the values in the average
        "corrected": ewa(values, beta, ignore_na=gaps or None).tolist(),
        "uncorrected": uncorrected,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    lag, plain = row["lag"], row["uncorrected"]
    return (
        f"{row['beta']:g}",
        window_text(row["beta"]),
        f"{row['corrected'][-1]:.6g}",
        "-" if plain is None else f"{plain[-1]:.6g}",
        f"{lag:,.0f}" if lag >= 9.5 else f"{lag:.3g}",
    )
