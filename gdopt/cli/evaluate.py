"""``gdopt evaluate``: how the predictions of a run's model compare with the truth."""

from __future__ import annotations

import argparse

from gdopt.cli.predict import add_run
from gdopt.tables import write
from gdopt.training import Model

DESCRIPTION = "Compare the predictions of a run's model with the truth in a file."
EXAMPLES = """\
Classes: accuracy, precision, recall and F1 of each class, and the confusion matrix.
Numbers: R2, and MAE, the mean absolute error.

examples:
  gdopt evaluate runs/points-1 test.csv
"""
add_options = add_run


def run(arguments: argparse.Namespace) -> int:
    """Print the tables."""
    write(f"{Model.load(arguments.model).evaluate(arguments.file)}\n")
    return 0
