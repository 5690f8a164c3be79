"""``gdopt train``: its options, and the order of its parts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gdopt.cli import flags
from gdopt.cli.flags import LEARNING_RATES, SCHEDULES, by_epoch
from gdopt.cli.info import environment
from gdopt.cli.plan import plan
from gdopt.cli.prepare import PreparedData, make_network
from gdopt.cli.ranks import agree, shared_path
from gdopt.cli.session import CHECKPOINTS, Session
from gdopt.cli.tune import best_settings
from gdopt.data import MiniBatches, minibatches
from gdopt.errors import ArgumentError, GdoptError
from gdopt.files import (
    empty_folder,
    numbered_folder,
    read_json,
    write_json,
    write_whole,
)
from gdopt.imports import load_extra
from gdopt.nn import Network
from gdopt.optim import OPTIMIZERS
from gdopt.parallel import Ranks
from gdopt.parallel.batches import ReplicaBatches
from gdopt.parallel.tree import REPLICAS
from gdopt.planner import Plan
from gdopt.schedules import Schedule, inverse_time
from gdopt.tables import write
from gdopt.training import EarlyStopping
from gdopt.training.checkpoints import NAMES
from gdopt.training.sharded_folder import together

SETTINGS = "settings.json"
WRITTEN = (  # options with one value, which a file may hold
    *("optimizer", "epochs", "lr", "schedule", "batch_size", "patience"),
    *("replicas", "l2", "l1", "keep_prob", "seed", "backend", "task"),
)
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
  gdopt train points.csv --target side --epochs 200 --l2 0.1 --out runs/points
  gdopt train houses.csv --target price --task regression --exclude id
  gdopt train points.csv --from tune.json
  gdopt train --resume runs/points --epochs 300
  gdopt train train-images-idx3-ubyte.gz --batch-size 128 --epochs 10 --backend cupy
  mpirun -n 4 gdopt train digits --replicas 8
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its parser."""
    flags.add_problem(parser.add_argument)
    flags.add_folder(parser.add_argument, "NAME")
    _add_earlier(parser.add_argument)
    parser.set_defaults(betas={}, decay_rate=0.1, lengths=[])
    add = parser.add_argument_group("how it is trained").add_argument
    flags.add_network(add)
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
    text = (
        "parts of each mini-batch, a power of two: the same bits on up to N ranks, "
        f"which mpirun starts ({REPLICAS} there; else a mini-batch is whole)"
    )
    add("--replicas", type=flags.count, metavar="N", help=text)


def _add_earlier(add: Callable[..., Any]) -> None:
    text = "train the best trial in a file that gdopt tune --json has written"
    add("--from", metavar="FILE", dest="start", help=text)
    text = "continue a run that was killed or has ended, with its own settings"
    add("--resume", metavar="RUN", help=text)


def presets(given: Sequence[str]) -> dict[str, Any]:
    """Return the defaults of the options, where an earlier result decides them."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    _add_earlier(parser.add_argument)
    try:
        chosen = parser.parse_known_args(given)[0]
    except argparse.ArgumentError:
        return {}  # the command's own parser says what is wrong
    if chosen.resume is not None:
        path = Path(chosen.resume, SETTINGS)
        rule = f"{path} must hold the settings of a run"
        saved = read_json(path, rule, ("data", "hidden", "epochs", "lengths"))
        saved["hidden"] = [saved["hidden"]]
        apart = {"out", "resume", "start"}
        return _checked(path, {n: v for n, v in saved.items() if n not in apart})
    if chosen.start is None:
        return {}
    return _checked(chosen.start, best_settings(chosen.start))


def _checked(path: str | Path, found: dict[str, Any]) -> dict[str, Any]:
    """Take options from a file that the command line would take."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    add_options(parser)
    given = {n: found[n] for n in (*WRITTEN, "hidden") if n in found}
    with suppress(TypeError):
        given["hidden"] = ",".join(str(units) for units in found["hidden"][0])
    words = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in given.items()
        if value not in ("", parser.get_default(name))
    ]
    try:
        parser.parse_args(words)
    except argparse.ArgumentError as error:
        raise ArgumentError(f"{path}: {error}") from None
    return found


def _batch_size(text: str) -> int | None:
    return None if text == "auto" else flags.count(text)


def run(arguments: argparse.Namespace, ranks: Ranks) -> int:
    """Train, on these ranks, and write a folder with everything about the run.

    Raises:
        DivergenceError: the loss is no longer finite; the folder shows how.
        KeyboardInterrupt: Ctrl-C was pressed; the folder holds what was done.
    """
    for module in ("rich.progress", "matplotlib.figure"):  # fails now, not at the end
        load_extra(module, "train", "gdopt train")
    session = _prepare(arguments, ranks)
    made, before = None, None
    if ranks.is_main:
        folder, before = _folder(arguments, session.problem.name)
        with folder as made:
            write_json(made / SETTINGS, session.settings)
    path = shared_path(ranks, made)
    write(session.describe())
    sys.stdout.flush()
    try:
        stopped = session.train(path)
    except GdoptError:
        if arguments.resume is not None:  # its checkpoints are of another problem
            restore = partial(write_whole, path / SETTINGS, before or "")
            together(ranks, restore, on_main=True)
        raise
    # The others wait: an error that they raise would end rank 0 before its files.
    together(ranks, partial(session.finish, path, stopped), on_main=True)
    if stopped is not None:
        raise stopped
    return 0


def _folder(
    arguments: argparse.Namespace, name: str
) -> tuple[AbstractContextManager[Path], str | None]:
    """Return the folder of a run, and the settings that are in it already."""
    if arguments.resume is not None:
        path = Path(arguments.resume)
        return nullcontext(path), (path / SETTINGS).read_text(encoding="utf-8")
    if arguments.out is not None:
        return nullcontext(empty_folder("--out: path", arguments.out)), None
    return numbered_folder(Path("runs", name)), None


def _batch_size_of(
    arguments: argparse.Namespace, ranks: Ranks, problem: PreparedData, network: Network
) -> tuple[int, Plan | None]:
    """Return the examples of a batch, and the plan that says so if there is one."""
    size, planned = arguments.batch_size, None
    if size is None and ranks.size > 1:
        message = "--batch-size must be a number on several ranks, got auto: run gdopt "
        raise ArgumentError(message + "plan first, which measures on one")
    if size is None:
        planned = plan(arguments, problem, network)
        size = planned.micro_batch_size
        write(f"{planned.headline()}\n")
    if size > problem.counts["train"]:
        raise ArgumentError(
            f"--batch-size must be at most {problem.counts['train']}, the number of "
            f"training examples, got {size}"
        )
    return size, planned


def _prepare(arguments: argparse.Namespace, ranks: Ranks) -> Session:
    """Make the parts of a run from the command's arguments."""
    problem, network = make_network(arguments)
    size, planned = _batch_size_of(arguments, ranks, problem, network)
    replicas = arguments.replicas or (REPLICAS if ranks.size > 1 else None)
    how: dict[str, Any] = {"batch_size": size, "seed": arguments.seed}
    batches: MiniBatches | ReplicaBatches
    if replicas is None:
        batches = minibatches(*problem.train, **how)
    else:
        batches = ranks.minibatches(*problem.train, replicas=replicas, **how)
    name, lr = arguments.optimizer, arguments.lr
    lr = LEARNING_RATES[name] if lr is None else lr
    lengths = _lengths(arguments, len(batches))
    rate = _rate(arguments, lr, len(batches), lengths)
    settings = {
        **vars(arguments),
        "data": arguments.data,
        "batch_size": size,
        "replicas": replicas,
        "lengths": lengths,
        "plan": planned and planned.to_dict(),
        "lr": lr,
        "hidden": network.sizes[1:-1],
        "device": network.params.backend.describe(),
        "examples": problem.counts,
        "features": network.sizes[0],
        "classes": problem.classes,
        "info": environment(),
    }
    if arguments.data != "digits":
        settings["data"] = str(Path(arguments.data).resolve())
    agree(ranks, settings, problem)
    kind: Any = OPTIMIZERS[name]
    given = {"lr": rate, **arguments.betas}
    if replicas is None:
        optimizer = kind(network.params, **given)
    else:
        optimizer = ranks.sharded(kind, network.params, replicas=replicas, **given)
    stopping = None
    if arguments.patience is not None:
        stopping = EarlyStopping(arguments.patience)
    return Session(problem, network, optimizer, batches, settings, stopping)


@dataclass(frozen=True)
class Continued:
    """A schedule that has become another one, each from a step on.

    Its `repr` is that of the first one, by which a checkpoint knows the run.
    """

    parts: Sequence[tuple[int, Schedule]]

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        return next(rate(step) for start, rate in reversed(self.parts) if step >= start)

    def __repr__(self) -> str:
        return repr(self.parts[0][1])


def _lengths(arguments: argparse.Namespace, steps: int) -> list[list[int]]:
    """Return from which step on a run was to have how many epochs."""
    lengths, epochs = arguments.lengths or [[0, arguments.epochs]], arguments.epochs
    if epochs == lengths[-1][1]:
        return lengths
    files = Path(arguments.resume, CHECKPOINTS).glob(NAMES)
    done = max((int(file.stem[-12:]) for file in files), default=0)
    if epochs * steps < done:
        message = f"--epochs must be at least {-(-done // steps)}, which are done"
        raise ArgumentError(message)
    return [*lengths, [done, epochs]] if done else [[0, epochs]]


def _rate(
    arguments: argparse.Namespace, lr: float, steps: int, lengths: list[list[int]]
) -> Schedule | Continued:
    """Return the schedule of the learning rate, which may have changed on the way."""
    make = SCHEDULES[arguments.schedule].make
    if arguments.schedule == "inverse_time":
        make = by_epoch(inverse_time, rate=arguments.decay_rate)
    parts = [(start, make(lr, epochs, steps)) for start, epochs in lengths]
    return parts[0][1] if len(parts) == 1 else Continued(parts)
