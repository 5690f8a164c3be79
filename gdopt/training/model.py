"""A trained model: a network, and all that turns a file's text into its numbers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np

from gdopt.checks import (
    check_kind,
    check_optional,
    check_sequence,
    check_state,
    holds_numbers,
    host_array,
    listed,
    shown,
)
from gdopt.data import Normalizer
from gdopt.data.csv import read_table
from gdopt.data.readers import read
from gdopt.data.schema import Schema
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.files import check_path
from gdopt.imports import load_extra
from gdopt.nn import Network
from gdopt.nn.inputs import check_classes, check_labels
from gdopt.tables import aligned
from gdopt.training.checkpoint import load, save

FILE = "model.npz"
SETTINGS = ("sizes", "activation", "output", "keep_prob", "batch_norm", "layer_norm")
PARTS = ("network", "params", "layers", "classes", "schema", "normalizer", "scale")


@dataclass(frozen=True, eq=False)
class Model:
    """A network with what it needs to predict from a file.

    Attributes:
        network: predicts normalized examples, float32.
        normalizer: of the features.
        classes: names of the classes 0, 1, ...; None for regression.
        scale: normalizer of the targets of a regression; None for classification.
        schema: how the columns of a CSV file become features; None for arrays.

    >>> import gdopt
    >>> X = np.array([[0.0, 1.0], [2.0, 5.0]])
    >>> network = gdopt.nn.Network((2, 2), seed=0, backend="numpy")
    >>> model = Model(network, gdopt.Normalizer.fit(X), classes=("no", "yes"))
    >>> model.predict(X).shape, model.predict_proba(X).shape
    ((2,), (2, 2))
    """

    network: Network
    normalizer: Normalizer
    classes: tuple[str, ...] | None = None
    scale: Normalizer | None = None
    schema: Schema | None = None

    def __post_init__(self) -> None:
        check_kind("network", self.network, Network)
        check_kind("normalizer", self.normalizer, Normalizer)
        check_optional(partial(check_kind, kind=Normalizer), "scale", self.scale)
        check_optional(partial(check_kind, kind=Schema), "schema", self.schema)
        if self.classes is None:
            return
        classes = tuple(map(str, check_sequence("classes", self.classes)))
        outputs = max(self.network.sizes[-1], 2)
        if len(classes) != outputs or self.network.output == "linear":
            rule = f"classes must name the {outputs} classes of the network, or be None"
            message = f"{rule} where its output is linear, got {shown(self.classes)}"
            raise ArgumentError(message)
        object.__setattr__(self, "classes", classes)

    @classmethod
    def load(cls, run: str | os.PathLike[str]) -> Self:
        """Load the model in the folder of a run, as ``gdopt train`` writes it.

        Raises:
            ArgumentError: there is none.
            StateError: it is damaged.
        """
        path = check_path("run", run) / FILE
        if not path.is_file():
            raise ArgumentError(f"run must be a folder with {FILE} in it, got '{run}'")
        state = check_state(str(path), load(path), PARTS)
        settings = check_state("network", state["network"], SETTINGS)
        network = Network(**settings, backend="numpy")
        params = check_state("params", state["params"], network.params)
        for name, array in params.items():
            network.params[name] = array
        network.load_state_dict(state["layers"])
        scale, schema, classes = (state[n] for n in ("scale", "schema", "classes"))
        return cls(
            network,
            Normalizer.from_state_dict(state["normalizer"]),
            classes and tuple(classes),
            scale and Normalizer.from_state_dict(scale),
            schema and Schema.from_state_dict(schema),
        )

    def save(self, run: str | os.PathLike[str]) -> None:
        """Save the model in a folder."""
        network, scale, schema = self.network, self.scale, self.schema
        tree = {
            "network": {name: getattr(network, name) for name in SETTINGS},
            "params": dict(network.params),
            "layers": network.state_dict(),
            "classes": self.classes,
            "schema": schema and schema.state_dict(),
            "normalizer": self.normalizer.state_dict(),
            "scale": scale and scale.state_dict(),
        }
        save(check_path("run", run) / FILE, tree)

    def predict(self, data: Any) -> np.ndarray:
        """Return what the model predicts, (m,): names of classes, or numbers.

        Args:
            data: a path of a file with the columns of the training file, in any order,
                with or without the target; or the features, (m, n) real numbers.

        Raises:
            ArgumentError: columns or features are missing or unknown; a cell is
                missing, or a number is NaN or infinite; the message names it.
        """
        found = self._call("predict", self._examples(data))
        return self.in_units(found.reshape(len(found)))

    def predict_proba(self, data: Any) -> np.ndarray:
        """Return the probabilities of the classes, (m, classes).

        Raises:
            ArgumentError: as in `predict`; the model is one of regression.
        """
        return self._call("predict_proba", self._examples(data))

    def evaluate(self, data: Any, y: Any = None) -> Evaluation:
        """Compare what the model predicts with the truth.

        Args:
            data: as in `predict`; a file holds the targets, too.
            y: (m,) names of classes, or numbers, where `data` is an array.

        Raises:
            ArgumentError: as in `predict`; there are no targets, or other classes.
        """
        if isinstance(data, str | os.PathLike):
            schema, path = self.schema, data
            if schema is None:
                found = read(path)
                data, y = found.X, found.y
                y = y if found.classes is None else np.array(found.classes)[y]
            else:
                table = read_table(path, **schema.form)
                data, y = schema.encode(table), schema.encode_target(table)
                y = y if self.classes is None else self.in_units(y)
        truth = host_array("y", y)
        predicted = self.predict(data)
        if truth.shape != predicted.shape:
            message = f"y must have shape {predicted.shape}, got {truth.shape}"
            raise ArgumentError(message)
        if self.classes is None:
            if not holds_numbers(truth):
                raise ArgumentTypeError(f"y must be numbers, got {shown(y)}")
            return Evaluation(truth.astype(np.float64), predicted, None)
        names = truth.astype(str)
        if unknown := sorted({*names.tolist()} - {*self.classes}):
            rule = f"y must be of the classes {listed(self.classes)}"
            raise ArgumentError(f"{rule}, got {listed(unknown)}")
        return Evaluation(names, predicted, self.classes)

    def _call(self, method: str, X: np.ndarray) -> np.ndarray:
        backend = self.network.params.backend
        examples = backend.from_host(normalized(self.normalizer, X))
        host: np.ndarray = backend.to_host(getattr(self.network, method)(examples))
        return host

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Return what a file would hold: names of classes, or numbers in its units."""
        found: np.ndarray
        outputs = host_array("outputs", outputs)
        if self.classes is not None:
            check_labels(outputs, (outputs.shape,))
            check_classes(outputs, len(self.classes))
            found = np.array(self.classes)[outputs]
        else:
            if outputs.dtype.kind not in "biuf":
                message = f"outputs must be real numbers, got {outputs.dtype}"
                raise ArgumentTypeError(message)
            own = self.scale
            mean, scale = (0.0, 1.0) if own is None else (own.mean, own.scale)
            found = outputs.astype(np.float64) * scale + mean
        return found

    def _examples(self, data: Any) -> np.ndarray:
        """Return the features of a file or an array, all finite."""
        if isinstance(data, str | os.PathLike):
            schema, path = self.schema, data
            if schema is None:
                data = read(path).X
            else:
                data = schema.encode(read_table(path, **schema.form))
        X = host_array("data", data)
        wanted = self.network.sizes[0]
        if X.ndim != 2 or X.shape[1] != wanted or X.dtype.kind not in "biuf":
            rule = f"data must be real numbers of shape (m, {wanted})"
            raise ArgumentError(f"{rule}, got {X.dtype} of shape {X.shape}")
        finite = np.isfinite(X)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            place = f"row {row}, feature {column}"
            raise ArgumentError(f"data must be finite, got {X[row, column]} in {place}")
        return X


def normalized(normalizer: Normalizer, X: np.ndarray) -> np.ndarray:
    """Return examples as a network takes them, float32."""
    with np.errstate(invalid="ignore", over="ignore"):  # what differs is refused
        cast = X.astype(normalizer.dtype)
    if normalizer.dtype.kind in "iu" and not np.array_equal(cast, X):
        message = f"data must be numbers of {normalizer.dtype}, as in training"
        raise ArgumentError(message)
    shared = normalizer.mean.ndim == 0  # by all pixels
    flat = normalizer.transform(cast.reshape(-1) if shared else cast)
    examples: np.ndarray = flat.reshape(X.shape).astype(np.float32, copy=False)
    return examples


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How predictions compare with the truth; ``print`` shows tables.

    Attributes:
        truth: (m,) names of classes, or numbers.
        predicted: (m,), the same.
        classes: their names; None for regression.
    """

    truth: np.ndarray
    predicted: np.ndarray
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("truth", "predicted"):
            object.__setattr__(self, name, host_array(name, getattr(self, name)))
        truth, predicted = self.truth.shape, self.predicted.shape
        if truth != predicted or len(truth) != 1:
            rule = "truth and predicted must be of one shape (m,)"
            raise ArgumentError(f"{rule}, got {truth} and {predicted}")

    @property
    def metrics(self) -> dict[str, float]:
        """``accuracy``; or ``r2`` and ``mae``, the mean absolute error."""
        if self.classes is not None:
            return {"accuracy": float((self.truth == self.predicted).mean())}
        wrong = self.truth - self.predicted
        spread = float(((self.truth - self.truth.mean()) ** 2).sum())
        share = float((wrong**2).sum()) / spread if spread else np.nan
        return {"r2": 1 - share, "mae": float(abs(wrong).mean())}

    @property
    def confusion(self) -> np.ndarray:
        """(k, k) int: rows are true classes, columns predicted ones."""
        return np.asarray(self._by("confusion_matrix", labels=self.classes))

    @property
    def per_class(self) -> dict[str, tuple[float, ...]]:
        """Precision, recall, F1 and number of examples of each class; 0 for 0 / 0."""
        options = {"labels": self.classes, "zero_division": 0}
        rows = self._by("precision_recall_fscore_support", **options)
        return dict(zip(self.classes or (), zip(*rows, strict=True), strict=True))

    def _by(self, name: str, **options: Any) -> Any:
        metrics = load_extra("sklearn.metrics", "train", "a table of classes")
        return getattr(metrics, name)(self.truth, self.predicted, **options)

    def __str__(self) -> str:
        size, found = f"{len(self.truth):,} examples", self.metrics
        if self.classes is None:
            return f"{size}, R2 {found['r2']:.3f}, MAE {found['mae']:.6g}"
        rows: list[tuple[str, ...]] = []
        rows.append(("", "precision", "recall", "f1-score", "support"))
        for name, (*shares, count) in self.per_class.items():
            rows.append((name, *(f"{share:.3f}" for share in shares), f"{count:,}"))
        table = [("true \\ predicted", *self.classes)]
        for name, counts in zip(self.classes, self.confusion.tolist(), strict=True):
            table.append((name, *map(str, counts)))
        head = f"{size}, accuracy {found['accuracy']:.3f}"
        return "\n".join([head, "", *aligned(rows), "", *aligned(table)])
