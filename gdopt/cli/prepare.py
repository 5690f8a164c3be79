"""Prepares training: a network, and examples read, split, normalized and moved."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Backend
from gdopt.checks import listed
from gdopt.cli.flags import chosen_backend
from gdopt.data import Dataset, Normalizer, read, split
from gdopt.data.schema import Schema
from gdopt.errors import ArgumentError
from gdopt.imports import load_extra
from gdopt.nn import Network
from gdopt.tables import aligned, write
from gdopt.training.model import Evaluation, Model, normalized

Part = tuple[Array, Array]
OF_TABLES = ("target", "task", "columns", "exclude", "delimiter", "decimal")
MOST_COLUMNS = 12  # in the table of what was read


@dataclass(frozen=True)
class PreparedData:
    """The training, dev and test examples, and what is known of them.

    A part is examples (m, n_x), float32, and class numbers or targets (m,): on the
    device.
    """

    name: str  # short, for the folder of the run
    train: Part
    dev: Part
    test: Part
    normalizer: Normalizer  # fitted on the features of the training part
    classes: tuple[str, ...] | None = None  # of 0, 1, ...; None for regression
    scale: Normalizer | None = None  # of the targets of a regression in training
    schema: Schema | None = None  # of CSV, how its columns become features

    @property
    def parts(self) -> dict[str, Part]:
        """The three parts by name."""
        return {"train": self.train, "dev": self.dev, "test": self.test}

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of examples in each part."""
        return {name: len(part[1]) for name, part in self.parts.items()}

    @property
    def measured(self) -> str:
        """What is measured on the dev examples."""
        return "accuracy" if self.classes else "loss"

    def model(self, network: Network) -> Model:
        """Return a model that predicts from files like this one."""
        return Model(network, self.normalizer, self.classes, self.scale, self.schema)

    def evaluate(self, network: Network, part: Part) -> Evaluation:
        """Compare predictions with the truth, in the units of the file."""
        to_host, restore = network.params.backend.to_host, self.model(network).in_units
        found = to_host(network.predict(part[0])).reshape(len(part[1]))
        return Evaluation(restore(to_host(part[1])), restore(found), self.classes)


def make_network(arguments: argparse.Namespace) -> tuple[PreparedData, Network]:
    """Read the data, and make a network for them on the device that was asked for."""
    backend = chosen_backend(arguments)
    problem = load_problem(
        arguments.data, arguments.seed, backend, **table_options(arguments)
    )
    hidden = (units for sizes in arguments.hidden for units in sizes)
    classes = problem.classes
    network = Network(
        (problem.train[0].shape[1], *hidden, len(classes) if classes else 1),
        output="softmax" if classes else "linear",
        keep_prob=arguments.keep_prob,
        batch_norm=arguments.batch_norm,
        layer_norm=arguments.layer_norm,
        l2=arguments.l2,
        l1=arguments.l1,
        seed=arguments.seed,
        backend=backend.name,
    )
    for part in problem.parts.values():
        network.check_data(*part)
    return problem, network


def table_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `gdopt.data.read_csv` that were given."""
    given = {name: getattr(arguments, name) for name in OF_TABLES}
    return {name: value for name, value in given.items() if value is not None}


def load_problem(
    source: str, seed: int, backend: Backend, **options: Any
) -> PreparedData:
    """Read ``digits`` or a file, and split it 60:20:20 by the seed and the classes.

    Pixels, whole numbers of one byte, are normalized by one mean and one scale: they
    share a unit, and a pixel that is nearly always dark would be blown up by a scale of
    its own. (The digits gain .006 in dev accuracy.) Other features get their own, and
    so do the targets of a regression.
    """
    data = _digits(**options) if source == "digits" else _file(source, **options)
    X, y, classes = data.X, data.y, data.classes
    parts = split(X, y, seed=seed, stratify=None if classes is None else y)
    normalizer = Normalizer.fit(
        parts.train[0].reshape(-1) if X.dtype == np.uint8 else parts.train[0]
    )
    scale = None if classes else Normalizer.fit(parts.train[1])

    def ready(part: Any) -> Part:
        examples, targets = normalized(normalizer, part[0]), part[1]
        if scale is not None:
            targets = normalized(scale, targets)
        return backend.from_host(examples), backend.from_host(targets)

    name = Path(source).name.partition(".")[0] or "run"
    train, dev, test = (ready(part) for part in parts)
    known = normalizer, classes, scale, data.schema
    return PreparedData(name, train, dev, test, *known)


def _digits(**options: Any) -> Dataset:
    if options:
        raise ArgumentError(f"--{next(iter(options))} is of a CSV file, got digits")
    datasets = load_extra("sklearn.datasets", "train", "gdopt train digits")
    X, y = datasets.load_digits(return_X_y=True)
    return Dataset(X.astype(np.uint8), y, "digits", None, tuple("0123456789"))


def _file(source: str, **options: Any) -> Dataset:
    if not Path(source).is_file():
        message = f"data must be digits or a file that exists, got {source!r}"
        raise ArgumentError(message)
    data = read(source, **options)
    schema, y = data.schema, data.y
    if schema is not None:
        write(f"{source}: {len(y):,} rows, {schema.task}\n")
        write("\n".join(aligned(_columns(schema))) + "\n")
    if y.ndim != 1:
        raise ArgumentError(f"{source}: targets must be of shape (m,), got {y.shape}")
    if schema is None and y.dtype.kind in "iu":
        found, y = np.unique(y, return_inverse=True)
        names: Any = data.classes or found.tolist()
        data = Dataset(data.X, y, source, None, tuple(map(str, names)))
    classes = data.classes
    if classes is not None and not 2 <= len(classes) <= len(y) / 2:
        raise ArgumentError(
            f"{source}: targets must be of 2 classes or more, each of 2 examples or "
            f"more on average, got {len(classes)} in {len(y)} examples"
        )
    return data


def _columns(schema: Schema) -> list[tuple[str, ...]]:
    """Return a line for each column: the target, features, and what is left out."""
    classes = schema.classes
    target = (
        "numbers" if classes is None else f"{len(classes)} classes: {listed(classes)}"
    )
    lines: list[tuple[str, ...]] = [("column", "used as", "holds")]
    lines.append((schema.target, "target", target))
    for name, kinds in schema.columns.items():
        text = f"{len(kinds)} categories: {listed(kinds)}" if kinds else "numbers"
        lines.append((name, "feature", text))
    shown, more = lines[: MOST_COLUMNS + 2], lines[MOST_COLUMNS + 2 :]
    if more:
        encoded = sum("categories" in holds for *_, holds in more)
        text = f"numbers, but for {encoded} of categories" if encoded else "numbers"
        shown.append((f"{len(more)} more", "feature", text))
    if schema.ignored:
        shown.append((listed(schema.ignored), "-", "left out"))
    return shown
