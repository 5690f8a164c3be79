"""``gdopt train``: its options, and the order of its parts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gdopt.arrays import get_backend
from gdopt.cli import choices
from gdopt.cli.choices import OPTIMIZERS, SCHEDULES
from gdopt.cli.session import Session, finish, prepare, train
from gdopt.errors import ArgumentError
from gdopt.extras import load_extra
from gdopt.training import RunFolder

EXAMPLES = f"""\
learning rates, where --lr is not given:
  {", ".join(f"{name} {method.lr:g}" for name, method in OPTIMIZERS.items())}

schedules (e counts epochs from 0, T is the number of steps in all):
{chr(10).join(f"  {name:13} {decay.formula}" for name, decay in SCHEDULES.items())}

examples:
  gdopt train digits
  gdopt train digits --optimizer momentum --schedule inverse_time --hidden 64,32
  gdopt train points.csv --epochs 200 --l2 0.1 --out runs/points
  gdopt train train-images-idx3-ubyte.gz --batch-size 128 --epochs 10 --device gpu
"""
DEVICES = {"auto": None, "cpu": "numpy", "gpu": "cupy"}


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "train",
        help="train a network, with a picture and a checkpoint of it",
        description="Train a network on examples split 60:20:20 into train, dev, test.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_run(parser.add_argument)
    _add_method(parser.add_argument_group("how it is trained").add_argument)
    parser.set_defaults(run=run)


def _add_run(add: Callable[..., Any]) -> None:
    add(
        "data",
        nargs="?",
        default="digits",
        metavar="digits | FILE",
        help="scikit-learn's digits, or .npz, .csv, *-images-idx3-ubyte[.gz]",
    )
    add(
        "--device",
        choices=DEVICES,
        default="auto",
        help="auto is the GPU where there is one",
    )
    add(
        "--seed",
        type=choices.whole_number(least=0),
        default=0,
        metavar="N",
        help="of split, weights and mini-batches (%(default)s)",
    )
    add(
        "--out",
        metavar="FOLDER",
        help="new or empty; if not given, runs/NAME-1 and so on",
    )


def _add_method(add: Callable[..., Any]) -> None:
    for name, table, default, meaning in (
        ("--optimizer", OPTIMIZERS, "adam", "one of"),
        ("--schedule", SCHEDULES, "cosine", "decay of the learning rate, one of"),
    ):
        text = f"{meaning} {', '.join(table)} (%(default)s)"
        add(name, choices=table, default=default, metavar="NAME", help=text)
    add(
        "--lr",
        type=choices.positive,
        metavar="RATE",
        help="learning rate of the first step (by optimizer, see below)",
    )
    whole = choices.whole_number(least=1)
    for name, number, meaning in (
        ("--batch-size", 32, "examples in a mini-batch"),
        ("--epochs", 60, "passes over the training examples"),
    ):
        text = f"{meaning} (%(default)s)"
        add(name, type=whole, default=number, metavar="N", help=text)
    add(
        "--hidden",
        type=choices.sizes,
        nargs="+",
        default=[[256]],
        metavar="N",
        help="units of the hidden layers, as 64,32 (256)",
    )
    add(
        "--l2",
        type=choices.not_negative,
        default=0.03,
        metavar="LAMBDA",
        help="weight of the L2 cost, LAMBDA / (2 m) sum of W^2 (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train, and leave a folder with all there is to know about it.

    Raises:
        DivergenceError: the cost is no longer finite; the folder tells how it came.
        KeyboardInterrupt: Ctrl-C was pressed; the folder tells of what was done.
    """
    for module in ("rich.progress", "matplotlib.figure"):  # missed now, not at the end
        load_extra(module, "train", "gdopt train")
    session = prepare(arguments, get_backend(DEVICES[arguments.device]))
    with _folder(arguments.out, session) as folder:
        sys.stdout.write(session.describe())
        sys.stdout.flush()
        stopped = train(session, folder)
        finish(session, folder, stopped)
    if stopped is not None:
        raise stopped
    return 0


def _folder(out: str | None, session: Session) -> RunFolder:
    """Make the folder of the run; nothing that is there is overwritten."""
    if out is None:
        return RunFolder.numbered(Path("runs", session.problem.name), session.settings)
    try:
        return RunFolder(out, session.settings)
    except ArgumentError as error:
        message = f"--out: {error}"
        raise ArgumentError(message) from error
