"""``gdopt predict``: what the model of a run predicts for the rows of a file."""

from __future__ import annotations

import argparse
import csv
import io

from gdopt.files import write_whole
from gdopt.tables import write
from gdopt.training import Model

DESCRIPTION = "Predict the rows of a file with the model of a run."
EXAMPLES = """\
The columns of the file are found by their names; the target's may be missing.

examples:
  gdopt predict runs/points-1 new.csv
  gdopt predict runs/points-1 new.csv --proba --out predictions.csv
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its parser."""
    add = parser.add_argument
    add_run(parser)
    add("--out", metavar="CSV", help="write to this file, not to the terminal")
    add("--proba", action="store_true", help="add the probabilities of the classes")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the run and the file."""
    parser.add_argument("model", metavar="RUN", help="folder of a run of gdopt train")
    text = "with the columns of the training file"
    parser.add_argument("file", metavar="FILE", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Print or write a table with a row for each row of the file."""
    model = Model.load(arguments.model)
    name = model.schema.target if model.schema else "prediction"
    columns = {name: model.predict(arguments.file).tolist()}
    if arguments.proba:
        shares = model.predict_proba(arguments.file).T.tolist()
        for label, share in zip(model.classes or (), shares, strict=True):
            columns[f"p({label})"] = share
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(zip(*columns.values(), strict=True))
    if arguments.out is None:
        write(text.getvalue())
    else:
        write_whole(arguments.out, text.getvalue())
    return 0
