"""Options that several commands have: the data, the device, the network."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from gdopt.arrays import get_backend
from gdopt.arrays.backend import Backend
from gdopt.cli.parts import choices
from gdopt.cli.parts.choices import OPTIMIZERS

DEVICES = {"auto": None, "cpu": "numpy", "gpu": "cupy"}


def add_problem(add: Callable[..., Any]) -> None:
    """Add what is trained on: data, device and seed."""
    add(
        "data",
        nargs="?",
        default="digits",
        metavar="digits | FILE",
        help="scikit-learn's digits, or .npz, .csv, *-images-idx3-ubyte[.gz]",
    )
    add_device(add)
    add(
        "--seed",
        type=choices.whole_number(least=0),
        default=0,
        metavar="N",
        help="of split, weights and mini-batches (%(default)s)",
    )


def add_device(add: Callable[..., Any]) -> None:
    """Add where it is computed."""
    text = "auto is the GPU where there is one"
    add("--device", choices=DEVICES, default="auto", help=text)


def add_network(add: Callable[..., Any]) -> None:
    """Add what is trained: the network, its optimizer, and what holds it back."""
    add_optimizer(add, default="adam")
    add(
        "--hidden",
        type=choices.sizes,
        nargs="+",
        default=[[256]],
        metavar="N",
        help="units of the hidden layers, as 64,32 (256)",
    )
    add_l2(add)
    add_regularization(add)


def add_optimizer(add: Callable[..., Any], *, default: str) -> None:
    """Add the optimizer."""
    text = f"one of {', '.join(OPTIMIZERS)} (%(default)s)"
    add("--optimizer", choices=OPTIMIZERS, default=default, metavar="NAME", help=text)


def add_l2(add: Callable[..., Any]) -> None:
    """Add the weight of the L2 cost."""
    add(
        "--l2",
        type=choices.not_negative,
        default=0.03,
        metavar="LAMBDA",
        help="weight of the L2 cost, LAMBDA / (2 m) sum of W^2 (%(default)s)",
    )


def add_regularization(add: Callable[..., Any]) -> None:
    """Add what keeps a network from learning its examples by heart."""
    add(
        "--l1",
        type=choices.not_negative,
        default=0.0,
        metavar="LAMBDA",
        help="weight of the L1 cost, LAMBDA / (2 m) sum of |W| (%(default)s)",
    )
    add(
        "--keep",
        type=choices.probability,
        default=1.0,
        metavar="P",
        help="probability to keep a hidden unit; below 1 is dropout (%(default)s)",
    )
    add(
        "--batch-norm",
        action="store_true",
        help="normalize hidden layers over each mini-batch",
    )


def add_planning(add: Callable[..., Any]) -> None:
    """Add what a plan of the batch size may be told."""
    add(
        "--no-small-data-rule",
        action="store_true",
        help="let measurements decide for up to 2,000 examples, too",
    )


def chosen_backend(arguments: argparse.Namespace) -> Backend:
    """Give the backend of the device that was asked for."""
    return get_backend(DEVICES[arguments.device])


def hidden_units(arguments: argparse.Namespace) -> list[int]:
    """Give the units of the hidden layers, however they were written."""
    return [units for sizes in arguments.hidden for units in sizes]
