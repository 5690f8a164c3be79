"""One run of ``gdopt train``: its parts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gdopt.arrays.backend import Backend
from gdopt.cli.info import surroundings
from gdopt.cli.parts.options import OPTIMIZERS, SCHEDULES
from gdopt.cli.parts.problem import Problem, load_problem
from gdopt.cli.parts.progress import Progress
from gdopt.data import MiniBatches, minibatches
from gdopt.errors import ArgumentError
from gdopt.nn import Network
from gdopt.optim import Optimizer
from gdopt.planner import NetworkStep, Plan, plan_batch_size
from gdopt.planner.request import SIZES
from gdopt.training import EarlyStopping, Record, capture


@dataclass
class Session:
    """The parts of a run, its records, and the one whose parameters were put back."""

    problem: Problem
    network: Network
    optimizer: Optimizer
    batches: MiniBatches
    settings: dict[str, Any]
    stopping: EarlyStopping | None = None
    records: list[Record] = field(default_factory=list)
    best: Record | None = None
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """The run in a line."""
        shape = "-".join(map(str, self.network.sizes))
        epochs = self.settings["epochs"]
        most = "at most " if self.stopping else ""
        return (
            f"{self.problem.name}: network {shape}, {self.settings['optimizer']}, "
            f"{most}{epochs} epochs, {epochs * len(self.batches)} steps"
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
    hidden = (units for sizes in arguments.hidden for units in sizes)
    network = Network(
        (problem.features, *hidden, len(problem.classes)),
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
    with Progress("planning") as shown:
        return plan_batch_size(
            step,
            problem.train,
            sizes=sizes,
            memory=options.get("memory"),
            margin=options.get("margin"),
            small_data_rule=not arguments.no_small_data_rule,
            noise_after=min(200, problem.counts["train"] // min(sizes)),
            progress=_reporter(shown),
        )


def _reporter(shown: Progress) -> Callable[[int, int, str], None]:
    """Return what shows a trial of a plan, in a line of its own if it is a new kind."""
    tried = set()

    def show(done: int, total: int, kind: str) -> None:
        text = f"planning {done}/{total}: {kind}"
        shown.show(done, total, text, line=kind not in tried)
        tried.add(kind)

    return show


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
        "hidden": network.sizes[1:-1],
        "device": backend.describe(),
        "examples": problem.counts,
        "features": problem.features,
        "classes": problem.classes,
        "surroundings": surroundings(),
    }
    optimizer = method.kind(network.params, lr=rate)
    stopping = _stopping(network, arguments.patience)
    return Session(problem, network, optimizer, batches, settings, stopping)


def _stopping(network: Network, patience: int | None) -> EarlyStopping | None:
    if patience is None:
        return None
    layers = network if network.batch_norm else None
    return EarlyStopping(network.params, patience=patience, layers=layers)
