"""``gdopt ewa``: averages of a column of a CSV file, as a table and a picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.averages import ewa, ewa_window
from gdopt.averages.formula import BETA, WINDOW, check_beta
from gdopt.cli import flags
from gdopt.data.csv import read_column
from gdopt.errors import ArgumentError
from gdopt.files import free_name, write_json
from gdopt.imports import load_extra
from gdopt.plots.series import COLORS, averages, window_text
from gdopt.tables import aligned

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
    add("file", metavar="FILE", help="CSV in UTF-8, one value of the series a line")
    text = "number from 1, or name in the first line (the only column)"
    add("--column", metavar="N | NAME", help=text)
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
    """Read the column, print the table, and write the picture.

    Raises:
        ArgumentError: the file has no such column, or a cell of it holds no number.
    """
    load_extra("matplotlib.figure", "train", "gdopt ewa")  # fails now, not at the end
    betas = [check_beta(None, window) for window in arguments.window or ()]
    betas = betas or arguments.beta
    if len(betas) > len(COLORS):
        option = "--window" if arguments.window else "--beta"
        message = f"{option} must be 1 to {len(COLORS)} numbers, got {len(betas)}"
        raise ArgumentError(message)
    column = read_column(arguments.file, arguments.column)
    rows = [_average(column.values, beta) for beta in betas]
    file = Path(arguments.file)
    title = f"{file.name}, {column.label}"
    last = f"{column.values.size:,} values, the last {column.values[-1]:.6g}"
    table = "\n".join(aligned([HEAD, *map(_cells, rows)]))
    sys.stdout.write(f"{title}: {last}\n{table}\n{NOTES}")
    if arguments.json is not None:
        found = {
            "file": arguments.file,
            "column": column.label,
            "values": column.values.tolist(),
            "averages": rows,
        }
        write_json(arguments.json, found, indent=1)
    picture = arguments.picture or free_name(f"{file.stem}-ewa", ".png")
    averages(column.values, betas, picture, title=title, name=column.name)
    sys.stdout.write(f"picture {picture}\n")
    return 0


def _average(values: np.ndarray, beta: float) -> dict[str, Any]:
    """Return the averages of a series with one beta, and what they are like."""
    corrected, uncorrected = (
        ewa(values, beta, bias_correction=way).tolist() for way in (True, False)
    )
    return {
        "beta": beta,
        "window": ewa_window(beta),
        "lag": beta / (1 - beta),  # mean age of the values in the average
        "corrected": corrected,
        "uncorrected": uncorrected,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of the table."""
    lag = row["lag"]
    return (
        f"{row['beta']:g}",
        window_text(row["beta"]),
        f"{row['corrected'][-1]:.6g}",
        f"{row['uncorrected'][-1]:.6g}",
        f"{lag:,.0f}" if lag >= 9.5 else f"{lag:.3g}",
    )
