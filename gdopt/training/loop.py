"""One loop with three ways in: `steps`, `minimize` and `fit`."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypedDict, Unpack

from gdopt.arrays import Array
from gdopt.checks import check_flag, check_function, check_kind, check_positive
from gdopt.data import MiniBatches
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.nn import Network
from gdopt.optim import Optimizer
from gdopt.optim.options import suggest
from gdopt.parallel.sharded import Sharded
from gdopt.training.graph import TrainingGraph, check_pair
from gdopt.training.methods import make_method, refuse_others
from gdopt.training.objectives import Function, ModelObjective, NetworkLoss, Objective
from gdopt.training.parts import check_parts
from gdopt.training.records import Record, Result
from gdopt.training.run import Callback, Run, check_dev
from gdopt.training.sources import refuse_iterators
from gdopt.training.stops import CHECKS, Stops


class RunOptions(TypedDict, total=False):
    """What `steps` and `minimize` take besides the function and its parameters."""

    data: Any
    method: Any
    lr: Any
    epochs: int | None
    max_iter: int | None
    max_seconds: float | None
    gtol: float | None
    ftol: float | None
    xtol: float | None
    target: float | None
    bounds: Any
    dev: tuple[Array, ...] | None
    callback: Callback | Sequence[Callback] | None
    checkpoint: Any
    checkpoint_seconds: float
    record_every: int | str
    smoothing: float


def minimize(fg: Function, params: Any, **options: Unpack[RunOptions]) -> Result:
    """Minimize a function of arrays, by its gradient, in place.

    Without `data`, each update uses value and gradient of the whole problem. With it,
    each update uses those of the next mini-batch.

    Args:
        fg: ``fg(params)``, or with data ``fg(params, *batch)``, returns a value and the
            gradients: of the form of `params`, or a mapping of the course's, ``dW1``
            for ``W1``; None where torch's parameters carry them. It may return the same
            arrays each time, which are read until the next call.
        params: an array, or a container of arrays, as `gdopt.Optimizer` takes it; it is
            updated in place, and is `Result.x`. Others must not change it during a run
            without data.
        data: batches, such as ``gdopt.minibatches(X, y, batch_size=64)``: each loop
            over it is an epoch. On several ranks, by `Ranks.minibatches`: ``fg`` is
            called with each part, and the `method` is by `Ranks.sharded`.
        method: of an optimizer the name, such as ``"adam"``, class or instance; a rule;
            ``"l-bfgs"``, ``"cg"`` (nonlinear conjugate gradients) or ``"gd"`` (gradient
            descent), which search along a line for a step that fulfils the strong Wolfe
            conditions and take no data.
        lr: learning rate of an optimizer that is given by its name or class, or its
            schedule; by default the optimizer's own.
        epochs: passes over the data, after which the run ends.
        max_iter: updates after which it ends; 10,000 without data and `max_seconds`.
        max_seconds: seconds after which it ends.
        gtol: largest magnitude of an element of the gradient at which it has converged,
            projected under bounds; 1e-5 without data, `ftol`, `xtol` and `target`.
        ftol: change of the value in an update, in proportion to
            ``max(|before|, |after|, 1)``, at which it has converged.
        xtol: largest change of a parameter in an update at which it has converged.
        target: value, or smoothed loss of a run with data, at which it has converged.
        bounds: (lower, upper), as `gdopt.Optimizer` takes them.
        dev: arrays: ``fg(params, *dev)`` is `Record.dev_loss` at the end of each epoch.
        callback: a function of a `Record`, or a list of them; one that returns True
            ends the run. See `gdopt.training.EarlyStopping` and `ReduceOnPlateau`.
        checkpoint: path of a folder that keeps the run: the same call continues it,
            with the same bits, after it was interrupted in any way. Ctrl-C, SIGTERM and
            SIGHUP save before they end the run.
        checkpoint_seconds: between two checkpoints, above 0; the first is written after
            an epoch or a second.
        record_every: number of updates from record to record; ``"epoch"``; or seconds,
            ``"2.5 s"``. The last update is recorded in any case, and so is the end of
            an epoch of several batches where a number is given.
        smoothing: beta of the average of the recorded losses, in [0, 1).

    Returns:
        A `Result`; ``success`` says whether a rule of convergence has ended the run.

    Raises:
        ArgumentError: an option is out of its range, or has no meaning for the method.
        ArgumentTypeError: an argument is of the wrong kind.
        DivergenceError: a value, a loss or a gradient is NaN or infinite; the update
            that would use it is not done.
        StateError: the checkpoint is of another problem; nothing has changed.

    Other libraries: SciPy's ``minimize(jac=True)`` copies x, stops "L-BFGS-B" by the
    value, too (``ftol``), and takes a flat array of float64; here nothing is copied.
    A rule of convergence that is given takes the place of ``gtol=1e-5``.

    >>> import numpy as np
    >>> import gdopt
    >>> def rosenbrock(x):
    ...     u, v = 1 - x[0], x[1] - x[0] ** 2
    ...     return u**2 + 100 * v**2, np.array([-2 * u - 400 * x[0] * v, 200 * v])
    >>> result = gdopt.minimize(rosenbrock, np.array([-1.2, 1.0]), method="l-bfgs")
    >>> result.success, result.x.round(4)
    (True, array([1., 1.]))
    """
    refuse_unknown("minimize", options)
    return make_run(fg, params, **options).finish()


def steps(fg: Function, params: Any, **options: Unpack[RunOptions]) -> Iterator[Record]:
    """Minimize as `minimize` does, and yield the records on the way.

    Arguments are checked at the call, and the run begins when the first record is asked
    for. Without data that is the record of the start, step 0. The loop may be left at
    any record.

    Args:
        fg: as in `minimize`.
        params: as there.
        **options: as there.

    Yields:
        `Record`: after each update, as `record_every` says.

    Raises:
        GdoptError: as in `minimize`.

    >>> import numpy as np
    >>> x = np.array([3.0, -4.0])
    >>> for record in steps(lambda x: (x @ x, 2 * x), x, method="sgd", lr=0.25):
    ...     if record.loss < 0.5:
    ...         break
    >>> record.step, record.loss, x
    (3, 0.390625, array([ 0.375, -0.5  ]))
    """
    refuse_unknown("steps", options)
    return make_run(fg, params, **options).records()


def refuse_unknown(name: str, options: Collection[str]) -> None:
    """Refuse keywords that are not in `RunOptions`, and say which may be meant."""
    known = [*RunOptions.__annotations__]
    for option in options:
        if option not in known:
            near = "".join(f"; did you mean {n}?" for n in suggest(option, known)[:1])
            raise ArgumentTypeError(f"{name} got an unknown keyword {option!r}{near}")


def make_run(
    fg: Function,
    params: Any,
    *,
    data: Any = None,
    method: Any = "adam",
    lr: Any = None,
    epochs: int | None = None,
    max_iter: int | None = None,
    max_seconds: float | None = None,
    gtol: float | None = None,
    ftol: float | None = None,
    xtol: float | None = None,
    target: float | None = None,
    bounds: Any = None,
    dev: tuple[Array, ...] | None = None,
    callback: Callback | Sequence[Callback] | None = None,
    checkpoint: Any = None,
    checkpoint_seconds: float = 60.0,
    record_every: int | str = 1,
    smoothing: float = 0.9,
) -> Run:
    """Check the arguments of `minimize`, and return the run."""
    given = locals()
    if data is not None:
        refuse_iterators("data", data)
    elif check_dev(dev) is not None:
        message = "dev must be None without data, as it is measured after each epoch"
        raise ArgumentError(message)
    rules = {name: given[name] for name in CHECKS}
    stops = Stops.of(with_data=data is not None, **rules)
    return Run(
        Objective(fg, params),
        make_method(method, params, lr=lr, bounds=bounds),
        stops,
        data=data,
        dev=dev,
        callbacks=check_callbacks(callback),
        record_every=record_every,
        smoothing=smoothing,
        checkpoint=checkpoint,
        checkpoint_seconds=check_positive("checkpoint_seconds", checkpoint_seconds),
    )


for public in (minimize, steps):  # which show the options by name
    returned = inspect.signature(public).return_annotation
    shown_as = inspect.signature(make_run).replace(return_annotation=returned)
    vars(public)["__signature__"] = shown_as


def fit(
    network: Any,
    optimizer: Optimizer | Sharded,
    batches: Any,
    *,
    epochs: int,
    max_iter: int | None = None,
    max_seconds: float | None = None,
    target: float | None = None,
    dev: tuple[Array, ...] | None = None,
    callback: Callback | Sequence[Callback] | None = None,
    checkpoint: Any = None,
    checkpoint_seconds: float = 60.0,
    record_every: int | str = 1,
    smoothing: float = 0.9,
    validate: bool = True,
    cuda_graph: bool = False,
) -> Result:
    """Train epoch after epoch: for each mini-batch its gradients, then one update.

    In batch gradient descent, one batch an epoch, the loss must fall at every step: the
    first record where it rises says so in `Record.warning`, with the likely cause.

    Args:
        network: gives the loss and the gradients: a `gdopt.nn.Network`, or any object
            with ``params`` and ``loss_and_grads(*batch)``. If it has them,
            ``accuracy(*dev)``, or else ``loss(*dev)``, measures on the dev examples,
            and ``state_dict()`` and ``load_state_dict(state)`` save what else it has
            learned.
        optimizer: of ``network.params``; on several ranks, by `Ranks.sharded`, with
            batches by `Ranks.minibatches`.
        batches: of examples and labels, from `gdopt.minibatches`; their ``batch_size``,
            times the optimizer's ``accumulate``, is m of the network's L2 and L1 terms,
            also in a smaller last batch.
        epochs: how many to run, at least 1. The rest of an epoch, where `batches`
            continues within one, counts as one.
        max_iter: updates after which the run ends.
        max_seconds: seconds after which it ends.
        target: smoothed loss at which it has converged.
        dev: examples and labels whose accuracy is measured at the end of each epoch;
            examples and targets whose loss is, where the network's output is linear.
        callback: as in `minimize`.
        checkpoint: as there.
        checkpoint_seconds: as there.
        record_every: as there.
        smoothing: as there.
        validate: whether to check every batch; False where ``network.check_data`` has
            seen the examples.
        cuda_graph: whether a GPU is to replay the whole step as a graph, with the same
            bits; see `gdopt.training.TrainingGraph`. Where a loss is not finite, its
            update has then been done.

    Returns:
        A `Result`, whose ``x`` is ``network.params`` and whose ``fun`` is the smoothed
        loss.

    Raises:
        ArgumentError: a number is out of its range; a batch is not a pair, or does not
            fit the network; the last batch holds one example, with batch normalization.
        ArgumentTypeError: an argument is of the wrong kind; the optimizer is of other
            arrays than the network's.
        DivergenceError: a loss is NaN or infinite. The update with its gradients has
            not been done; on a GPU, a loss that is not recorded is looked at one update
            later.
        StateError: the checkpoint is of another problem; nothing has changed.

    Source:
        Ng, Improving deep neural networks, week 2, "Understanding mini-batch gradient
        descent".

    >>> import gdopt
    >>> import numpy as np
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    >>> y = np.array([0, 1, 1, 0])
    >>> network = gdopt.nn.Network((2, 8, 2), seed=0, backend="numpy")
    >>> optimizer = gdopt.Adam(network.params, lr=0.05)
    >>> batches = gdopt.minibatches(X, y, batch_size=2, seed=0)
    >>> result = fit(network, optimizer, batches, epochs=50, dev=(X, y))
    >>> result.nit, result.history["dev_accuracy"][-1]
    (100, np.float64(1.0))
    """
    if not isinstance(optimizer, Sharded):
        check_kind("optimizer", optimizer, Optimizer, "a gdopt.Optimizer")
    refuse_iterators("batches", batches)
    objective = objective_of(network, optimizer, batches, validate=validate)
    _check_dev_pair(network, dev, validate=validate)
    limits = {"max_iter": max_iter, "max_seconds": max_seconds, "target": target}
    stops = Stops.of(with_data=True, epochs=epochs, **limits)
    graph = None
    if check_flag("cuda_graph", cuda_graph):
        graph = _graph_of(network, optimizer, batches, validate=validate)
    return Run(
        objective,
        optimizer,
        stops,
        data=batches,
        dev=dev,
        callbacks=check_callbacks(callback),
        record_every=record_every,
        smoothing=smoothing,
        checkpoint=checkpoint,
        checkpoint_seconds=check_positive("checkpoint_seconds", checkpoint_seconds),
        graph=graph,
    ).finish()


def _graph_of(
    network: Any, optimizer: Any, batches: Any, *, validate: bool
) -> TrainingGraph:
    """Return what replays the steps, whose batches are not checked one by one."""
    if isinstance(optimizer, Sharded):
        message = "cuda_graph must be False for an optimizer by ranks.sharded: the "
        raise ArgumentError(message + "host exchanges gradients at every step")
    graph = TrainingGraph(network, optimizer, batches)
    if validate:
        network.check_data(*batches.arrays)
    return graph


def _check_dev_pair(network: Any, dev: Any, *, validate: bool) -> None:
    """Refuse dev examples that do not fit a network of gdopt."""
    if dev is not None and isinstance(network, Network):
        pair = check_pair(check_dev(dev), "dev")
        if validate:
            network.check_data(*pair)


def objective_of(
    network: Any,
    optimizer: Optimizer | Sharded,
    batches: Any,
    *,
    validate: bool = True,
) -> ModelObjective:
    """Return a model, of whose parameters the optimizer is, as an objective."""
    check_flag("validate", validate)
    objective = ModelObjective(network)
    check_parts(optimizer, batches)
    if isinstance(network, Network):
        whole = getattr(batches, "global_batches", batches)
        check_kind("batches", whole, MiniBatches, "gdopt.minibatches")
        size = whole.batch_size * getattr(optimizer, "accumulate", 1)
        objective = NetworkLoss(network, batches, batch_size=size, validate=validate)
    refuse_others(optimizer, network.params, "network.params")
    return objective


def check_callbacks(given: Any) -> tuple[Callback, ...]:
    """Return the callbacks as a tuple."""
    if given is None:
        return ()
    found = tuple(given) if isinstance(given, list | tuple) else (given,)
    for one in found:
        check_function("callback", one, "a function of a record")
    return found
