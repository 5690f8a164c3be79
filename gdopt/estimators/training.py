"""A network with its optimizer, and its training by scikit-learn's rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from gdopt.arrays import Arena, Array
from gdopt.data import MiniBatches
from gdopt.errors import DivergenceError
from gdopt.estimators.settings import ACTIVATIONS, utils
from gdopt.nn import Network
from gdopt.optim import Adam, Optimizer
from gdopt.optim.families.descent import keras_momentum
from gdopt.training import Record, Result, minimize

Part = tuple[np.ndarray, ...]  # examples, targets, and weights where there are some
FTOL = 2.220446049250313e-09  # SciPy's, which scikit-learn leaves as it is
LEAST_RATE = 1e-6  # at which learning_rate="adaptive" ends


def nesterov(p: Any, v: Any, g: Any, *, lr: Any, beta: Any) -> Any:
    """Nesterov's momentum with the rate in the velocity, as in scikit-learn."""
    v = beta * v - lr * g
    return p + beta * v - lr * g, v


def make_optimizer(settings: SimpleNamespace, params: Arena) -> Optimizer | None:
    """Return the optimizer that the settings name; None for L-BFGS."""
    lr, solver = settings.learning_rate_init, settings.solver
    if callable(solver):
        made: Optimizer = solver(params, lr=lr)
        return made
    if solver == "lbfgs":
        return None
    if solver == "sgd":
        rule = nesterov if settings.nesterovs_momentum else keras_momentum
        return Optimizer(params, rule, lr=lr, beta=settings.momentum)
    betas = {"beta1": settings.beta_1, "beta2": settings.beta_2}
    return Adam(params, lr, **betas, eps=settings.epsilon, eps_mode="raw")


class TrainedNetwork:
    """A network and the optimizer of its parameters.

    Copies and pickles are made of the parts' settings, parameters and state, as NumPy
    arrays, and have the bits of the original.

    Args:
        settings: checked parameters of an estimator.
        **shape: sizes, output and dtype of the network.
    """

    def __init__(self, settings: SimpleNamespace, **shape: Any) -> None:
        self.settings, self.shape = settings, shape
        self.network = Network(
            **shape,
            activation=ACTIVATIONS[settings.activation],
            initialization="zeros",
            backend=settings.backend,
        )
        self.optimizer = make_optimizer(settings, self.network.params)

    def draw(self, random: Any) -> None:
        """Draw the weights as scikit-learn does, by the same random numbers."""
        factor = 2 if self.settings.activation == "logistic" else 6
        for k, (inputs, units) in enumerate(pairwise(self.network.sizes), start=1):
            bound = math.sqrt(factor / (inputs + units))
            for name, shape in ((f"W{k}", (inputs, units)), (f"b{k}", (units,))):
                self.write(name, random.uniform(-bound, bound, shape))

    def write(self, name: str, array: np.ndarray) -> None:
        """Replace a parameter by an array of the host."""
        self.network.params[name] = self.to_device(array.astype(self.network.dtype))

    def continued(self, settings: SimpleNamespace) -> TrainedNetwork:
        """Return a model of these settings with the same parameters."""
        new = TrainedNetwork(settings, **self.shape)
        for name, array in self.network.params.items():
            new.write(name, self.to_host(array))
        return new

    def to_device(self, array: np.ndarray) -> Array:
        """Copy an array of the host to where the parameters are."""
        params = self.network.params
        return params.backend.from_host(array, params.device)

    def to_host(self, array: Array) -> np.ndarray:
        """Copy an array back to the host."""
        host: np.ndarray = self.network.params.backend.to_host(array)
        return host

    def call(self, method: str, X: np.ndarray) -> np.ndarray:
        """Call a method of the network, by its name, with examples of the host."""
        return self.to_host(getattr(self.network, method)(self.to_device(X)))

    def arrays(self, letter: str) -> list[np.ndarray]:
        """Return the weights of each layer, ``"W"``, or the biases, ``"b"``."""
        layers = range(1, len(self.network.sizes))
        return [self.to_host(self.network.params[f"{letter}{k}"]) for k in layers]

    def __getstate__(self) -> dict[str, Any]:
        params = self.network.params
        return {
            "settings": self.settings,
            "shape": self.shape,
            "params": {name: np.array(self.to_host(a)) for name, a in params.items()},
            "optimizer": self.optimizer and self.optimizer.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["settings"], **state["shape"])  # type: ignore[misc]
        for name, array in state["params"].items():
            self.write(name, array)
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])


class Shuffled(MiniBatches):
    """Mini-batches in the orders that scikit-learn draws from a random state."""

    def __init__(self, *arrays: Array, random: Any, **options: Any) -> None:
        super().__init__(*arrays, allow_nan=True, **options)  # it was looked for
        self._random, self._last = random, np.arange(self._count)

    def order(self, _epoch: int) -> Array:
        """Shuffle the order of the epoch before."""
        self._last = utils.shuffle(self._last, random_state=self._random)
        return self._backend.from_host(self._last, self._backend.device(self.arrays[0]))


@dataclass
class EpochJudge:
    """Follows training by scikit-learn's rules; a callback.

    An epoch brings no gain where its value, the score or else minus the loss, lies
    below ``best + tol``; more than n_iter_no_change of them in a row are the end, or
    lower an adaptive learning rate. `gdopt.training.EarlyStopping` compares with the
    best value that was a gain, and with no score of weighted examples.
    """

    model: TrainedNetwork
    settings: SimpleNamespace
    kept: Part | None  # examples to judge by
    score: Callable[[TrainedNetwork, Part], float]  # of the model on them
    count: int = 0  # examples in an epoch
    size: int = 0  # of a batch
    seen: int = 0  # examples in all epochs
    losses: list[float] = field(default_factory=list)  # of epochs, or of iterations
    scores: list[float] = field(default_factory=list)
    loss: float = math.nan  # the last one, or the one that L-BFGS began with
    unrested: str | None = None  # why training has ended before it converged
    _total: float = 0.0
    _examples: int = 0
    _highest: float = -math.inf
    _without_gain: int = 0
    _best: Any = None
    _stopped: bool = False

    def begin(self, run: Any) -> None:
        """Take the run."""
        self._run = run

    def __call__(self, record: Record) -> bool:
        """Add the loss of a batch and judge the epoch that it ends; or an iteration."""
        if self._run.data is None:
            if record.step:
                self._note(record.loss)
            return bool(self._run.objective.evaluations >= self.settings.max_fun)
        size = min(self.size, self.count - self._examples)
        self._examples += size
        self._total += record.loss * size
        if self._examples < self.count:
            return False
        self._note(self._total / self.count)
        self._examples, self._total = 0, 0.0
        self.seen += self.count
        return self._end_epoch()

    def _note(self, loss: float) -> None:
        self.losses.append(loss)
        self._say(f"Iteration {len(self.losses)}, loss = {loss:.8f}")

    def _say(self, text: str) -> None:
        if self.settings.verbose:
            print(text)  # noqa: T201 - what verbose asks for

    def _end_epoch(self) -> bool:
        settings, value = self.settings, -self.losses[-1]
        if self.kept is not None:
            value = self._judge(self.kept)
        gained = value >= self._highest + settings.tol
        self._without_gain = 0 if gained else self._without_gain + 1
        self._highest = max(self._highest, value)
        if settings.solver == "sgd" and settings.learning_rate == "invscaling":
            rate = settings.learning_rate_init / (self.seen + 1) ** settings.power_t
            self._run.optimizer.hyper["lr"] = rate
        return self._without_gain > settings.n_iter_no_change and self._stop()

    def _judge(self, kept: Part) -> float:
        if not np.isfinite(self.model.call("predict", kept[0])).all():
            epoch = len(self.losses)
            message = f"predictions must stay finite, got others after epoch {epoch}"
            raise DivergenceError(message)
        value = self.score(self.model, kept)
        self.scores.append(value)
        self._say(f"Validation score: {value:f}")
        if value > self._highest:
            self._best = self.model.network.params.flat.copy()
        return value

    def _stop(self) -> bool:
        """Stop, unless the learning rate is adaptive and can still be lowered."""
        settings, hyper = self.settings, self._run.optimizer.hyper
        said = (
            f"{'Training loss' if self.kept is None else 'Validation score'} did not "
            f"improve more than tol={settings.tol:f} for {settings.n_iter_no_change} "
            "consecutive epochs."
        )
        if settings.solver == "sgd" and settings.learning_rate == "adaptive":
            if hyper["lr"] > LEAST_RATE:
                hyper["lr"], self._without_gain = hyper["lr"] / 5, 0
                self._say(f"{said} Setting learning rate to {hyper['lr']:f}")
                return False
            said += " Learning rate too small."
        self._say(f"{said} Stopping.")
        self._stopped = True
        return True

    def end(self, _run: Any) -> None:
        """Restore the weights of the best epoch."""
        if self._best is not None:
            self.model.network.params.flat[...] = self._best

    def finish(self, result: Result) -> None:
        """Say, in scikit-learn's words, whether the run has converged."""
        most, count = self.settings.max_iter, len(self.losses)
        self.loss = self.losses[-1] if self.losses else result.fun
        if self.model.optimizer is None and not result.success:
            self.unrested = (
                f"lbfgs failed to converge after {count} iteration(s): {result.reason}"
            )
            if count == most:
                self.unrested += (
                    "\nIncrease the number of iterations to improve the convergence "
                    f"(max_iter={most})."
                )
        elif self.model.optimizer is not None and not self._stopped:
            self.unrested = (
                f"Stochastic Optimizer: Maximum iterations ({most}) reached and the "
                "optimization hasn't converged yet."
            )


def train(part: Part, judge: EpochJudge, *, epochs: int, random: Any) -> None:
    """Train for `epochs`, of L-BFGS iterations, or until some bring no gain in a row.

    `random` draws the order of the examples.
    """
    model, settings = judge.model, judge.settings
    network, size = model.network, judge.size
    network.l2 = settings.alpha
    arrays = [model.to_device(array) for array in part]

    def loss_and_grads(_: Any, *batch: Array) -> Any:
        batch = batch or tuple(arrays)
        return network.loss_and_grads(*batch, batch_size=size, validate=False)

    options: Any = {"method": "l-bfgs", "max_iter": epochs, "ftol": FTOL}
    options["gtol"] = settings.tol
    if model.optimizer is not None:
        how = {"batch_size": size, "shuffle": settings.shuffle, "random": random}
        options = {"method": model.optimizer, "epochs": epochs}
        options["data"] = Shuffled(*arrays, **how)
    result = minimize(loss_and_grads, network.params, callback=judge, **options)
    judge.finish(result)
