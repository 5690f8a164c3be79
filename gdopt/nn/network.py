"""A network of dense layers, its loss, its gradients and its predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gdopt.arrays import Arena, Array, get_backend
from gdopt.arrays.backend import on_their_device
from gdopt.arrays.dtypes import check_dtype
from gdopt.checks import (
    check_choice,
    check_count,
    check_flag,
    check_function,
    check_not_negative,
    check_optional,
    check_seed,
    check_state,
)
from gdopt.errors import ArgumentError
from gdopt.interrupt import Uninterrupted, uninterrupted
from gdopt.kernels.cpu.pool import Phases
from gdopt.kernels.products import run_step
from gdopt.nn import formulas
from gdopt.nn.forward import Layers, phases, run
from gdopt.nn.initialization import Std, draw
from gdopt.nn.inputs import (
    InputChecks,
    check_finite,
    check_keep_prob,
    check_sizes,
    check_values,
    check_weights,
)
from gdopt.nn.losses import logistic, penalize, softmax
from gdopt.nn.masks import DropoutMasks
from gdopt.nn.statistics import Share, Statistics

LOSSES = {
    "softmax": formulas.softmax_cross_entropy,
    "sigmoid": formulas.binary_cross_entropy,
    "linear": formulas.squared_error,
}
ROWS = 4096  # examples evaluated at a time if no gradient is needed


class Network:
    """Dense layers with an activation between them, for classes or for regression.

    Its loss is ``mean_i(loss_i) + l2 / (2 m) * sum(W**2) + l1 / (2 m) * sum(|W|)``. The
    mean is over the examples of the batch; m is the batch size of the run, which a
    smaller last batch shares: `loss_and_grads` takes it as ``batch_size=``, and
    `gdopt.fit` passes it on. Biases are not decayed. Frameworks' ``weight_decay`` is
    ``l2 / m``. The loss of an example is the cross-entropy of its class, or with a
    linear output half its squared error, ``1/2 sum_k (p_ik - t_ik)**2``, summed over
    the outputs k.

    `loss_and_grads` trains: units are dropped, and batches normalized by their own
    statistics.
    All else uses what was learned: every unit, and averages of mean and variance.

    Args:
        sizes: of the input and of every layer, at least 1 each: ``(784, 256, 10)``.
        activation: between layers, ``"relu"``, ``"tanh"``, ``"sigmoid"`` or
            ``"identity"``.
        output: ``"softmax"`` over classes, ``"sigmoid"`` for two classes with a last
            size of 1, or ``"linear"`` for regression, with a size for each quantity.
        initialization: of the weights, which are normal: ``"he"``, ``"xavier"``,
            ``"glorot"`` or ``"zeros"``, a standard deviation, or a function of
            ``(fan_in, fan_out)`` that returns one; by default He for ReLU and Xavier
            for the others.
        seed: whole number, at least 0; the same weights on every backend. By default 0,
            so that a call without it is reproducible.
        keep_prob: probability to keep a hidden unit, in (0, 1], for all hidden layers
            or one for each; 1 turns dropout off. Which are dropped depends on `seed`,
            on how many batches were seen, and on the number of the example in its
            batch.
        batch_norm: whether hidden layers are normalized over a batch before their
            activation; their biases are then replaced by ``gamma`` and ``beta``.
        layer_norm: whether they are normalized over the units of an example instead,
            with ``gamma`` and ``beta`` in addition to the biases, as in torch's
            ``Sequential(Linear, LayerNorm, ReLU)``.
        statistics_beta: of the running averages of mean and variance, in [0, 1):
            Keras's ``momentum``, .99 there, and 1 - torch's ``momentum``, .1 there.
        statistics_bias_correction: whether these averages are corrected for their
            start; without it they start from 0 and 1 and keep a share of that, as
            ``running_mean`` and ``running_var`` in torch, ``moving_mean`` and
            ``moving_variance`` in Keras. torch's variances are divided by m - 1.
        l2: the course's lambda, at least 0.
        l1: that of the absolute values, at least 0.
        dtype: float32 or float64.
        backend: ``"numpy"``, ``"cupy"`` or ``"auto"``; by default the one in use.

    Attributes:
        params: the arena of ``W1, b1, W2, b2, ...``; Wk is (n_in, n_out). With batch
            normalization ``W1, gamma1, beta1, ..., WL, bL``, with layer normalization
            ``W1, b1, gamma1, beta1, ...``.
        grads: the arena of the same layout that `loss_and_grads` writes to.
        batches_seen: how many batches `loss_and_grads` has seen.
        l2, l1: as given; new values are used from the next step on.

    Raises:
        ArgumentError: a size, a name or a number breaks its rule.
        ArgumentTypeError: a size, a number or the dtype has the wrong type.
        BackendError: a GPU was asked for and is not there.

    Other libraries take another loss for regression: see `gdopt.nn.squared_error`.

    >>> import numpy as np
    >>> network = Network((2, 8, 1), output="sigmoid", seed=0, backend="numpy")
    >>> network
    Network(2-8-1, relu, sigmoid; float32 on cpu)
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    >>> y = np.array([0, 1, 1, 0])
    >>> for _ in range(300):
    ...     loss, grads = network.loss_and_grads(X, y)
    ...     for name in grads:
    ...         network.params[name] -= 0.5 * grads[name]
    >>> network.predict(X)
    array([0, 1, 1, 0])
    >>> line = Network((1, 1), output="linear", seed=0, dtype=float, backend="numpy")
    >>> x = np.array([[-1.0], [0.0], [1.0]])
    >>> for _ in range(300):
    ...     line.params.flat[...] -= 0.5 * line.loss_and_grads(x, 3 * x + 1)[1].flat
    >>> line.predict(np.array([[2.0]])).round(3)
    array([[7.]])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str = "relu",
        output: str = "softmax",
        initialization: str | float | Std | None = None,
        keep_prob: float | Sequence[float] = 1.0,
        batch_norm: bool = False,
        layer_norm: bool = False,
        statistics_beta: float = 0.9,
        statistics_bias_correction: bool = True,
        l2: float = 0.0,
        l1: float = 0.0,
        seed: int = 0,
        dtype: Any = np.float32,
        backend: str | None = None,
    ) -> None:
        check_choice("activation", activation, formulas.ACTIVATIONS)
        check_choice("output", output, LOSSES)
        if initialization is None:
            initialization = "he" if activation == "relu" else "xavier"
        self.sizes = check_sizes(sizes, output)
        self.dtype = check_dtype("dtype", dtype, ("float32", "float64"))
        self.activation = activation
        self.output = output
        self.keep_prob = check_keep_prob(keep_prob, len(self.sizes) - 2)
        self.batch_norm = check_flag("batch_norm", batch_norm)
        self.layer_norm = check_flag("layer_norm", layer_norm)
        if batch_norm and layer_norm:
            message = "layer_norm must be False where batch_norm is True, got both"
            raise ArgumentError(message)
        self.l2, self.l1 = l2, l1
        self._lambdas()
        seed = check_seed(seed)
        norms = {"batch_norm": batch_norm, "layer_norm": layer_norm}
        drawn = draw(self.sizes, initialization, seed, **norms)
        send = get_backend(backend).from_host
        arrays = {name: send(a.astype(self.dtype)) for name, a in drawn.items()}
        self.params = Arena.of(arrays)
        self.grads = self.params.like()
        self.batches_seen = 0
        self._checks = InputChecks(self.params["W1"], self.sizes, self.output)
        how = {"beta": statistics_beta, "bias_correction": statistics_bias_correction}
        self._layers = self._make_layers(seed, how)

    def _make_layers(self, seed: int, averages: dict[str, Any]) -> Layers:
        """Make the hidden layers and the last one, whose activation is its loss's."""
        hidden = self.sizes[1:-1]
        statistics = Statistics(hidden, self.params, averages)
        return Layers(
            (self.activation,) * len(hidden) + (None,),
            DropoutMasks(hidden, self.keep_prob, seed, self.params),
            self.params,
            self.grads,
            statistics if self.batch_norm else None,
        )

    def __repr__(self) -> str:
        shape = "-".join(map(str, self.sizes))
        return (
            f"Network({shape}, {self.activation}, {self.output}; "
            f"{self.dtype} on {self.params.device})"
        )

    @property
    def plain(self) -> bool:
        """Whether there is neither dropout nor normalization."""
        return not (self.batch_norm or self.layer_norm or self._layers.drops)

    @on_their_device
    def loss_and_grads(
        self,
        x: Array,
        y: Array,
        weights: Array | None = None,
        *,
        batch_size: int | None = None,
        validate: bool = True,
        part: Any = None,
    ) -> tuple[Array, Arena]:
        """Return the loss of a batch, and write its gradients into `grads`.

        ``dW = dW of the mean loss + l2 / m W + l1 / (2 m) sign(W)``, and db without
        these terms.

        Args:
            x: (m, sizes[0]), examples as rows, of the network's dtype and device.
            y: (m,), class numbers from 0, any integer dtype; 0 or 1 in (m,) or (m, 1)
                for a sigmoid output. For a linear one targets: (m, sizes[-1]), or (m,)
                where that is 1, finite, of the network's dtype.
            weights: (m,), of the examples, above 0 and of the network's dtype. The
                mean of the loss is then ``sum(w loss) / sum(w)``, and m of the L2 and
                L1 terms is multiplied by the mean weight of these examples.
            batch_size: m of the L2 and L1 terms, at least 1: that of the run, as
                ``batches.batch_size``, which the last batch of an epoch may not fill;
                by default the number of these examples.
            validate: whether to check labels or targets and weights, for which a GPU
                has to wait; False where `check_data` has seen them.
            part: of the batch that x is: with `batch`, the number of the batch, from 0;
                `first`, that of its first example in it; and `weight`, its share of the
                examples. By default the batch is whole, and its number `batches_seen`.

        Returns:
            The loss, a 0-d array of the backend (a NumPy scalar on the CPU), which is
            not copied from a GPU; and `grads`, always the same arena.

        Raises:
            ArgumentError: a shape or a label does not fit; a target is not finite;
                there is no example; a number breaks its rule.
            ArgumentTypeError: x or targets are of another dtype, or labels are not of
                an integer one; a number has the wrong type.
            BackendError: an array is on another device.
        """
        m = check_optional(check_count, "batch_size", batch_size)
        l2, l1 = self._lambdas()
        scale = None
        if weights is not None:
            check_weights(weights, x, validate=validate)
            scale = weights.mean()
            weights = weights / scale
        loss = self.propagate(x, y, weights=weights, validate=validate, part=part)
        if l2 or l1:
            m = (m or len(x)) * (1 if scale is None else scale)
            loss = penalize(loss, self.params, self.grads, l2=l2, l1=l1, m=m)
        return loss, self.grads

    def _lambdas(self) -> tuple[float, float]:
        l2, l1 = self.l2, self.l1
        return check_not_negative("l2", l2), check_not_negative("l1", l1)

    @on_their_device
    def propagate(
        self,
        x: Array,
        y: Array,
        *,
        weights: Array | None = None,
        layer: Any = None,
        validate: bool = True,
        part: Any = None,
    ) -> Array:
        """Run forward and back without penalties; return the loss, write into `grads`.

        `weights` have a mean of 1, and are not checked. `layer` makes the dense layers,
        as `gdopt.nn.dense` does: one that looks at what passes may take its place. All
        else is as in `loss_and_grads`.
        """
        self._checks.batch(x, y)
        if check_flag("validate", validate):
            check_values(y, self.sizes[-1], self.output)
        check_optional(check_function, "layer", layer)
        batch, masks = self._layers.begin(part, self.batches_seen, len(x))

        def step() -> Phases:
            done = yield from phases(
                self._layers, x, layer=layer, training=True, masks=masks
            )
            loss, gradient = self._loss(done.output, y, weights)
            yield from done.back(gradient)
            return loss, done.seen

        loss, seen = run_step(self.params.backend, step())
        with Uninterrupted():
            if self._layers.statistics is not None:
                self._layers.statistics.see(seen, part)
            self.batches_seen = batch + 1
        return loss

    @on_their_device
    def loss(self, x: Array, y: Array) -> float:
        """Return the mean loss of any number of examples, without L2 and L1.

        Raises:
            GdoptError: x or y does not fit, as in `loss_and_grads`.
        """
        return self.measure(x, y)["loss"]

    @on_their_device
    def measure(self, x: Array, y: Array) -> dict[str, float]:
        """Return ``loss`` and, of classes, ``accuracy`` by one pass; see both.

        Raises:
            GdoptError: x or y does not fit, as in `loss_and_grads`.
        """
        self._checks.labelled(x, y)
        total, right = 0.0, 0
        classifies, several = self.output != "linear", self.output == "softmax"
        for rows, logits in self._outputs(x):
            total += float(self._loss(logits, y[rows])[0]) * len(logits)
            if classifies:
                found = logits.argmax(axis=1) if several else logits[:, 0] > 0
                right += int((found == y[rows].reshape(-1)).sum())
        measured = {"loss": total / len(x)}
        return measured | ({"accuracy": right / len(x)} if classifies else {})

    @on_their_device
    def forward(self, x: Array, *, layer: int | None = None) -> Array:
        """Return the outputs of a layer, as they are in use, not in training.

        Args:
            x: (m, sizes[0]), as in `loss_and_grads`.
            layer: its number, from 1: of a hidden layer, the outputs after its
                activation. By default the last one, whose outputs are logits, before
                softmax or sigmoid.

        Returns:
            (m, sizes[layer]), a new array in the network's dtype.

        Raises:
            GdoptError: x does not fit, as in `loss_and_grads`, or the layer does not
                exist.

        torch's ``module.eval()(x)``; in Keras, ``Model(inputs, layer.output)(x)``.
        """
        number = check_optional(check_count, "layer", layer)
        if number is not None and number >= len(self.sizes):
            most = len(self.sizes) - 1
            message = f"layer must be at most {most}, the number of layers, got {layer}"
            raise ArgumentError(message)
        return self._of_outputs(x, lambda outputs: outputs, number)

    @on_their_device
    def predict_proba(self, x: Array) -> Array:
        """Return probabilities: (m, classes), or (m,) of class 1 for a sigmoid output.

        Raises:
            ArgumentError: the output is linear.
            GdoptError: x does not fit, as in `loss_and_grads`.
        """
        self._checks.classifies("predict_proba", "predict(x)")
        if self.output == "softmax":
            return self._of_outputs(x, softmax)
        return self._of_outputs(x, lambda logits: logistic(logits[:, 0]))

    @on_their_device
    def predict(self, x: Array) -> Array:
        """Return the most probable class numbers: (m,), int64.

        Of a linear output it returns the outputs: (m, sizes[-1]), also where that is 1,
        in the network's dtype.

        Raises:
            GdoptError: x does not fit, as in `loss_and_grads`.
        """
        if self.output == "linear":
            return self.forward(x)
        if self.output == "softmax":
            return self._of_outputs(x, lambda logits: logits.argmax(axis=1))
        return self._of_outputs(x, lambda logits: (logits[:, 0] > 0).astype(np.int64))

    @on_their_device
    def accuracy(self, x: Array, y: Array) -> float:
        """Return the share of examples whose class is predicted, from 0 to 1.

        Raises:
            ArgumentError: the output is linear, which predicts no classes: use
                `loss`.
            GdoptError: x or y does not fit, as in `loss_and_grads`.
        """
        self._checks.classifies("accuracy", "loss(x, y)")
        self._checks.labelled(x, y)
        return float((self.predict(x) == y.reshape(-1)).mean())

    @on_their_device
    def check_data(self, x: Array, y: Array) -> None:
        """Refuse what the network cannot be trained on; once for a whole data set.

        Raises:
            ArgumentError: x, or targets, hold NaN or infinities.
            GdoptError: x or y does not fit, as in `loss_and_grads`.
        """
        self._checks.labelled(x, y)
        check_finite(x)

    def _loss(
        self, outputs: Array, y: Array, weights: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the mean loss of checked labels or targets, and its gradient."""
        y = y.reshape(outputs.shape if self.output == "linear" else -1)
        return LOSSES[self.output](outputs, y, weights)

    def _outputs(
        self, x: Array, layer: int | None = None
    ) -> Iterator[tuple[slice, Array]]:
        """Run forward in slices, so that activations of a large set fit in memory."""
        layers = replace(self._layers, activations=self._layers.activations[:layer])
        for start in range(0, len(x), ROWS):
            rows = slice(start, start + ROWS)
            yield rows, run(layers, x[rows]).output

    def _of_outputs(
        self, x: Array, function: Callable[[Array], Array], layer: int | None = None
    ) -> Array:
        self._checks.x(x)
        parts = [function(outputs) for _, outputs in self._outputs(x, layer)]
        return self.params.backend.xp.concatenate(parts)

    @on_their_device
    def use_statistics_of(self, x: Array) -> None:
        """Normalize by mean and variance of these examples until one is trained on.

        The course's other way: statistics of the whole training set, layer by layer,
        in place of averages over the batches.

        Raises:
            ArgumentError: the network has no batch normalization.
            GdoptError: x does not fit, as in `loss_and_grads`.
        """
        self._checks.x(x)
        statistics = self._statistics("use_statistics_of")
        statistics.fix(run(self._layers, x, training=True).seen)

    def share_statistics(self, share: Share | None = None) -> None:
        """Update the averages of batch normalization by all parts of a batch, once.

        Those of mean and variance take in their means over the parts, weighted by the
        parts' shares of the examples. Until then they stay as they are.

        Args:
            share: takes the rows of the parts that this network has seen, (parts, n)
                float64, and returns those of the parts on every rank, in the order of
                the parts, and maybe rows of zeros. By default there are no others.

        Raises:
            ArgumentError: the network has no batch normalization; no part was seen.
        """
        check_optional(check_function, "share", share)
        self._statistics("share_statistics").share(share)

    def _statistics(self, name: str) -> Statistics:
        if self._layers.statistics is None:
            raise ArgumentError(f"{name} needs a network with batch_norm=True")
        return self._layers.statistics

    def state_dict(self) -> dict[str, Any]:
        """Copy what a resumed run needs in addition to the parameters."""
        statistics = self._layers.statistics
        averages = {} if statistics is None else statistics.state_dict()
        return {
            "batches_seen": self.batches_seen,
            "output": self.output,
            "statistics": averages,
        }

    @uninterrupted
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            StateError: it is of another network; nothing has changed.
        """
        same = {"output": self.output}
        counts = ["batches_seen"]
        state = check_state("state", state, ["statistics"], counts=counts, same=same)
        if self._layers.statistics is not None:
            self._layers.statistics.load_state_dict(state["statistics"])
        else:
            what = "statistics of a network without batch normalization"
            check_state(what, state["statistics"])
        self.batches_seen = state["batches_seen"]
