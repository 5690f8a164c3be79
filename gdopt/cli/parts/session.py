"""One run of ``gdopt train``: its parts, its loop, its end."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gdopt import plots
from gdopt.arrays.backend import Backend
from gdopt.cli.choices import OPTIMIZERS, SCHEDULES
from gdopt.cli.info import surroundings
from gdopt.cli.options import hidden_units
from gdopt.cli.parts.interrupt import Interrupt
from gdopt.cli.parts.problem import Problem, load_problem
from gdopt.cli.parts.progress import planning_progress, progress
from gdopt.data import MiniBatches, minibatches
from gdopt.errors import ArgumentError, DivergenceError
from gdopt.extras import load_extra
from gdopt.nn import Network
from gdopt.optim import Optimizer
from gdopt.planner import NetworkStep, Plan, plan_batch_size
from gdopt.planner.request import SIZES
from gdopt.training import Record, RunFolder, capture, fit

RECORDS = 2000  # a picture shows no more, and a GPU is waited for at each


@dataclass
class Session:
    """The parts of a run, and the records that it has yielded."""

    problem: Problem
    network: Network
    optimizer: Optimizer
    batches: MiniBatches
    settings: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """The run in a line."""
        shape = "-".join(map(str, self.network.sizes))
        epochs = self.settings["epochs"]
        return (
            f"{self.problem.name}: network {shape}, {self.settings['optimizer']}, "
            f"{epochs} epochs, {epochs * len(self.batches)} steps"
        )

    def describe(self) -> str:
        """Say in three lines what is about to be done."""
        settings, counts = self.settings, self.problem.counts
        parts = ", ".join(f"{count} {name}" for name, count in counts.items())
        return (
            f"{self.title}\n"
            f"examples {parts}; mini-batches of {settings['batch_size']}; "
            f"seed {settings['seed']}\n"
            f"learning rate {settings['lr']:g} ({settings['schedule']}), "
            f"l2 {settings['l2']:g}, on {settings['device']}\n"
        )

    def model(self) -> dict[str, Any]:
        """Give all that predicting and going on need, as `gdopt.training.save` does."""
        network = self.network
        return {
            "network": {
                "sizes": network.sizes,
                "activation": network.activation,
                "output": network.output,
                "keep": network.keep,
                "batch_norm": network.batch_norm,
            },
            "classes": self.problem.classes,
            "normalizer": self.problem.normalizer.state_dict(),
            **capture(network, self.optimizer, self.batches),
        }


def make_network(
    arguments: argparse.Namespace, backend: Backend
) -> tuple[Problem, Network]:
    """Read the data, and make a network for them.

    Raises:
        GdoptError: the data cannot be read, or do not fit the arguments.
    """
    problem = load_problem(arguments.data, arguments.seed, backend)
    sizes = (problem.features, *hidden_units(arguments), len(problem.classes))
    network = Network(
        sizes,
        keep=arguments.keep,
        batch_norm=arguments.batch_norm,
        seed=arguments.seed,
        backend=backend.name,
    )
    for part in problem.parts.values():
        network.check_data(*part)
    return problem, network


def plan(arguments: argparse.Namespace, problem: Problem, network: Network) -> Plan:
    """Plan the batch size for training a network, with a bar on standard error.

    The noise of the gradients is measured after an epoch, or 200 steps.

    Raises:
        PlanError: no size fits the memory.
    """
    method = OPTIMIZERS[arguments.optimizer]
    optimizer = method.kind(network.params, lr=method.lr)
    step = NetworkStep(
        network,
        optimizer,
        l2=arguments.l2,
        l1=arguments.l1,
        dev=problem.dev,
        checked=True,
    )
    options = vars(arguments)
    sizes = options.get("sizes") or SIZES
    with planning_progress() as shown:
        return plan_batch_size(
            step,
            problem.train,
            sizes=sizes,
            memory=options.get("memory"),
            margin=options.get("margin"),
            small_data_rule=not arguments.no_small_data_rule,
            noise_after=min(200, problem.counts["train"] // min(sizes)),
            cache=not arguments.no_cache,
            progress=shown.show,
        )


def prepare(arguments: argparse.Namespace, backend: Backend) -> Session:
    """Make the parts of a run from the command's arguments.

    Raises:
        GdoptError: the data cannot be read, or do not fit the arguments.
    """
    problem, network = make_network(arguments, backend)
    size, seed = arguments.batch_size, arguments.seed
    planned = None
    if size is None:
        planned = plan(arguments, problem, network)
        size = planned.size
        sys.stdout.write(f"{planned.headline()}\n")
    if size > problem.counts["train"]:
        message = (
            f"--batch-size must be at most {problem.counts['train']}, the number of "
            f"training examples, got {size}"
        )
        raise ArgumentError(message)
    batches = minibatches(*problem.train, size=size, seed=seed)
    method = OPTIMIZERS[arguments.optimizer]
    lr = method.lr if arguments.lr is None else arguments.lr
    rate = SCHEDULES[arguments.schedule].make(lr, arguments.epochs, len(batches))
    asked = {name: value for name, value in vars(arguments).items() if name != "run"}
    settings = {
        **asked,
        "batch_size": size,
        "plan": planned and planned.to_dict(),
        "lr": lr,
        "hidden": hidden_units(arguments),
        "device": backend.describe(),
        "examples": problem.counts,
        "features": problem.features,
        "classes": problem.classes,
        "surroundings": surroundings(),
    }
    optimizer = method.kind(network.params, lr=rate)
    return Session(problem, network, optimizer, batches, settings)


def train(
    session: Session, folder: RunFolder
) -> KeyboardInterrupt | DivergenceError | None:
    """Run the loop; give what stopped it before its end, if anything did."""
    epochs, steps = session.settings["epochs"], len(session.batches)
    records = fit(
        session.network,
        session.optimizer,
        session.batches,
        epochs=epochs,
        l2=session.settings["l2"],
        l1=session.settings["l1"],
        dev=session.problem.dev,
        record_every=max(1, epochs * steps // RECORDS),
        checked=True,
    )
    begin = time.perf_counter()
    try:
        with progress(epochs, steps) as shown, Interrupt() as interrupt:
            for record in records:
                session.records.append(record)
                folder.write(record)
                shown.show(record)
                if record.notice:
                    shown.note(f"note: {record.notice}")
                if interrupt.asked:
                    return KeyboardInterrupt(f"after step {record.step}")
    except DivergenceError as error:
        return error
    finally:
        session.seconds = time.perf_counter() - begin
    return None


def finish(session: Session, folder: RunFolder, stopped: BaseException | None) -> None:
    """Judge the network, save it, draw the picture and print the closing table."""
    with np.errstate(over="ignore", invalid="ignore"):  # where it has diverged
        accuracy = {
            name: session.network.accuracy(*part)
            for name, part in session.problem.parts.items()
        }
    last = session.records[-1] if session.records else None
    summary = {
        "finished": stopped is None,
        "stopped": None if stopped is None else f"{type(stopped).__name__}: {stopped}",
        "epoch": last and last.epoch,
        "steps": session.optimizer.t,
        "smoothed_cost": last and last.smoothed_cost,
        "accuracy": accuracy,
        "seconds": session.seconds,
    }
    folder.finish(session.model(), summary)
    if session.records:
        plots.curves(session.records, folder.path / "curves.png", title=session.title)
    if not isinstance(stopped, DivergenceError):
        _print_table(session, accuracy)
        sys.stdout.write(f"test accuracy {accuracy['test']:.3f}\n")
    sys.stdout.write(f"run folder {folder.path}\n")


def _print_table(session: Session, accuracy: dict[str, float]) -> None:
    tables = load_extra("rich.table", "train", "gdopt train")
    console = load_extra("rich.console", "train", "gdopt train").Console()
    steps, seconds = session.optimizer.t, session.seconds
    table = tables.Table(
        title=f"{steps} steps in {seconds:.1f} s, {steps / seconds:,.0f} a second",
        title_justify="left",
    )
    table.add_column("part")
    for column in ("examples", "accuracy", "wrong"):
        table.add_column(column, justify="right")
    for name, count in session.problem.counts.items():
        wrong = round((1 - accuracy[name]) * count)
        table.add_row(name, str(count), f"{accuracy[name]:.3f}", str(wrong))
    console.print(table)
