"""``gdopt train``: its options, and the order of its parts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gdopt.cli import flags
from gdopt.cli.flags import LEARNING_RATES, SCHEDULES
from gdopt.cli.info import environment
from gdopt.cli.plan import plan
from gdopt.cli.prepare import make_network
from gdopt.cli.session import Session
from gdopt.data import minibatches
from gdopt.errors import ArgumentError
from gdopt.files import empty_folder, numbered_folder, write_json
from gdopt.imports import load_extra
from gdopt.optim import OPTIMIZERS
from gdopt.training import EarlyStopping

DESCRIPTION = "Train a network on examples split 60:20:20 into train, dev, test."
EXAMPLES = f"""\
learning rates, if --lr is not given:
  {", ".join(f"{name} {lr:g}" for name, lr in LEARNING_RATES.items())}

schedules (e counts epochs from 0, T is the number of steps in all):
{chr(10).join(f"  {name:13} {decay.formula}" for name, decay in SCHEDULES.items())}

examples:
  gdopt train digits
  gdopt train digits --batch-size auto
  gdopt train digits --epochs 500 --patience 20
  gdopt train digits --optimizer momentum --schedule inverse_time --hidden 64,32
  gdopt train points.csv --epochs 200 --l2 0.1 --out runs/points
  gdopt train train-images-idx3-ubyte.gz --batch-size 128 --epochs 10 --backend cupy
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its parser."""
    flags.add_problem(parser.add_argument)
    flags.add_folder(parser.add_argument, "NAME")
    method = parser.add_argument_group("how it is trained").add_argument
    flags.add_network(method)
    _add_method(method)


def _add_method(add: Callable[..., Any]) -> None:
    text = f"of the learning rate, one of {', '.join(SCHEDULES)} (%(default)s)"
    add("--schedule", choices=SCHEDULES, default="cosine", metavar="NAME", help=text)
    text = "learning rate of the first step (by optimizer, see below)"
    add("--lr", type=flags.positive, metavar="RATE", help=text)
    text = "examples in a mini-batch (%(default)s); auto: as gdopt plan says"
    add("--batch-size", type=_batch_size, default=32, metavar="N | auto", help=text)
    text = "passes over the training examples (%(default)s)"
    add("--epochs", type=flags.count, default=60, metavar="N", help=text)
    text = (
        "stop after N epochs without a better dev accuracy, and keep the best "
        "weights (early stopping; if not given, all epochs are run)"
    )
    add("--patience", type=flags.count, metavar="N", help=text)


def _batch_size(text: str) -> int | None:
    """Read a whole number of at least 1, or ``auto``, which is None."""
    return None if text == "auto" else flags.count(text)


def run(arguments: argparse.Namespace) -> int:
    """Train, and write a folder with everything about the run.

    Raises:
        DivergenceError: the loss is no longer finite; the folder shows how.
        KeyboardInterrupt: Ctrl-C was pressed; the folder holds what was done.
    """
    for module in ("rich.progress", "matplotlib.figure"):  # fails now, not at the end
        load_extra(module, "train", "gdopt train")
    session = _prepare(arguments)
    if arguments.out is None:
        path = numbered_folder(Path("runs", session.problem.name))
    else:
        path = empty_folder("--out: path", arguments.out)
    write_json(path / "settings.json", session.settings)
    sys.stdout.write(session.describe())
    sys.stdout.flush()
    stopped = session.train(path)
    session.finish(path, stopped)
    if stopped is not None:
        raise stopped
    return 0


def _prepare(arguments: argparse.Namespace) -> Session:
    """Make the parts of a run from the command's arguments.

    Raises:
        GdoptError: the data cannot be read, or do not fit the arguments.
    """
    problem, network = make_network(arguments)
    size, planned = arguments.batch_size, None
    if size is None:
        planned = plan(arguments, problem, network)
        size = planned.micro_batch_size
        sys.stdout.write(f"{planned.headline()}\n")
    if size > problem.counts["train"]:
        message = (
            f"--batch-size must be at most {problem.counts['train']}, the number of "
            f"training examples, got {size}"
        )
        raise ArgumentError(message)
    batches = minibatches(*problem.train, batch_size=size, seed=arguments.seed)
    name, lr = arguments.optimizer, arguments.lr
    lr = LEARNING_RATES[name] if lr is None else lr
    rate = SCHEDULES[arguments.schedule].make(lr, arguments.epochs, len(batches))
    settings = {
        **vars(arguments),
        "batch_size": size,
        "plan": planned and planned.to_dict(),
        "lr": lr,
        "hidden": network.sizes[1:-1],
        "device": network.params.backend.describe(),
        "examples": problem.counts,
        "features": network.sizes[0],
        "classes": problem.classes,
        "info": environment(),
    }
    optimizer = OPTIMIZERS[name](network.params, lr=rate)
    stopping = None
    if arguments.patience is not None:
        stopping = EarlyStopping(arguments.patience)
    return Session(problem, network, optimizer, batches, settings, stopping)
