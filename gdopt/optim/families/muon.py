"""Muon: steps that are orthogonal matrices, and another optimizer for other arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Unpack

import numpy as np

from gdopt.arrays.arena import Arena, array_label
from gdopt.arrays.backend import Array
from gdopt.arrays.containers import writeable
from gdopt.checks import (
    as_number,
    check_choice,
    check_each,
    check_flag,
    check_int,
    check_kind,
    check_saved_array,
    check_sequence,
    check_state,
    listed,
    shown,
)
from gdopt.copies import MappingProxy
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.optim.executors import Executor, start_state
from gdopt.optim.families.adam import AdamW
from gdopt.optim.families.orthogonal import RATIOS, muon_rule
from gdopt.optim.hyper import Hyper
from gdopt.optim.known import UNKNOWN, Known
from gdopt.optim.optimizer import Optimizer, with_options
from gdopt.optim.options import SharedOptions, refuse_keywords
from gdopt.optim.parameters import Parameters
from gdopt.optim.patterns import refuse_groups
from gdopt.optim.plans import weakly
from gdopt.optim.row_executor import norm_of
from gdopt.optim.rows import refuse_part
from gdopt.optim.rule import Rule
from gdopt.optim.state import INNER, MISSING
from gdopt.optim.transforms import ACCUMULATED, HYPER, accumulation, extended

__all__ = ["Muon"]

BEFORE = list(HYPER)[: list(HYPER).index("weight_decay")]  # options of gradients


class Muon(Optimizer):
    """Momentum, orthogonalized: steps whose singular values are all about 1.

    m <- momentum m + (1 - momentum) g, u = (1 - momentum) g + momentum m, or m without
    `nesterov`; X = u / (norm(u) + eps), and `ns_steps` times, with A = X X^T,
    X <- a X + (b A + c A A) X: Newton and Schulz's iteration. Then
    p <- (1 - lr weight_decay) p - lr ratio X.

    Its matrices are the 2-d arrays that `arrays` names; `others` updates the rest.
    A step computes new matrices before it writes any, next to the old ones. Where
    ``non_finite="skip"``, it waits for a GPU. On another engine, results agree to
    rounding, as those of the products of matrices.

    Args:
        params: see `Optimizer`; float32 or float64.
        lr: learning rate, in [0, inf).
        momentum: share of the mean that is kept, in [0, 1).
        weight_decay: of the matrices, in [0, inf).
        eps: in (0, inf); must not vanish in the dtype of the arithmetic.
        nesterov: look ahead along the mean.
        bias_correction: u = (1 - momentum) g / (1 - momentum**t) + momentum m / (1 -
            momentum**(t + 1)), as in optax; for nesterov alone, as elsewhere only the
            length of u would change.
        ns_coefficients: the numbers a, b and c.
        ns_steps: of the iteration, at least 1.
        adjust_lr: the ratio for m rows and n columns. ``"columns"`` is the root of
            max(1, n / m), where outputs are columns, as in `gdopt.nn.Network` and
            optax; ``"rows"`` that of max(1, m / n), as in torch;
            ``"match_rms_adamw"`` is .2 times the root of max(m, n), for rates of
            AdamW, as torch's option and Keras' default; ``"none"`` is 1.
        arrays: a name or a pattern such as ``"W*"``, or a list of them.
        others: ``f(params, lr)`` makes the optimizer of all other arrays, where lr is
            the schedule of Muon's rate; with `ema`, it takes that, too. Its own
            ``non_finite`` is ``"ignore"``: Muon's is for all arrays. What `step` is
            given, as ``step(grads, scale=s)``, is for its rule.
        **options: those of every optimizer but for master weights and a state in
            bfloat16; see `Optimizer`. Clipping and scaling are for all arrays.

    Source: Jordan 2024 (kellerjordan.github.io/posts/muon); ``"match_rms_adamw"``: Liu
    et al. 2025 (arXiv 2502.16982). Defaults are torch's, which computes in bfloat16 and
    takes max(norm(u), eps). optax has weight_decay 0 and eps 1e-8; Keras has
    weight_decay .004 and m + g in place of the mean, which here is the same.

    >>> import numpy as np
    >>> params = {"W": np.eye(2), "b": np.zeros(2)}
    >>> opt = Muon(params, 0.1, weight_decay=0.0)
    >>> opt.step({"W": np.array([[0.0, 5.0], [-5.0, 0.0]]), "b": np.ones(2)})
    True
    >>> params["W"].round(1)  # a rotation, of which singular values are .7 to 1.2
    array([[ 1. , -0.1],
           [ 0.1,  1. ]])
    >>> opt.others.lr, params["b"].round(6)
    (0.1, array([-0.1, -0.1]))
    """

    others: Optimizer | None
    _waits_to_skip = True
    _all: Parameters
    _sums: Arena | None  # of the gradients that are accumulated
    _given: Mapping[str, Any] = MappingProxyType({})  # to this step, for `others`

    @with_options
    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        *,
        momentum: Any = 0.95,
        weight_decay: Any = 0.1,
        eps: Any = 1e-7,
        nesterov: bool = True,
        bias_correction: bool = False,
        ns_coefficients: Sequence[float] = (3.4445, -4.7750, 2.0315),
        ns_steps: int = 5,
        adjust_lr: str = "columns",
        arrays: str | Sequence[str] = "*",
        others: Callable[..., Optimizer] = AdamW,
        **options: Unpack[SharedOptions],
    ) -> None:
        nesterov = check_flag("nesterov", nesterov)
        corrected = check_flag("bias_correction", bias_correction)
        if corrected and not nesterov:
            raise ArgumentError("bias_correction needs nesterov, got False")
        check_choice("adjust_lr", adjust_lr, RATIOS)
        kind = others if isinstance(others, type) else Optimizer
        if not (callable(others) and issubclass(kind, Optimizer)):
            message = f"others must be a class of optimizers, got {shown(others)}"
            raise ArgumentTypeError(message)
        if options.get("state_dtype") is not None:
            got = repr(options["state_dtype"])
            raise ArgumentError(f"state_dtype must be None for Muon, got {got}")
        coefficients = check_each(as_number, "ns_coefficients", ns_coefficients)
        if len(coefficients) != 3:
            message = f"ns_coefficients must be 3 numbers, got {shown(ns_coefficients)}"
            raise ArgumentError(message)
        given = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        refuse_groups(type(self), params, given)
        self._all = Parameters.of(params, options.pop("frozen", ()))
        _check_dtypes(self._all)
        matrices, rest = _divide(arrays, self._all.arrays)
        ahead = "corrected" if corrected else "nesterov" if nesterov else "mean"
        ns_steps = check_int("ns_steps", ns_steps, least=1)
        rule = muon_rule(ahead, coefficients, ns_steps, adjust_lr)
        self.others = self._sums = None
        super().__init__(matrices, rule, eps=eps, **given, **options)
        if rest:
            self.others = others(rest, self._follow("lr"), **self._after())
            _check_others(self.others, rest)
        self._bind_gradients()

    def _follow(self, name: str) -> Followed:
        """Return the schedule of a setting, for the other arrays."""
        return Followed(self.hyper, name)

    def _after(self) -> dict[str, Any]:
        """Return the options of what follows an update, for the other arrays."""
        own, follow = self._transforms, self._follow
        options: dict[str, Any] = {}
        if "bounds" in own.options:
            options["bounds"] = follow("lower"), follow("upper")
        if "lookahead" in own.options:
            options["lookahead"] = own.sync_period, follow("slow_step_size")
        if "ema" in own.options:
            options["ema"] = follow("ema")
        if own.swa_start is not None:
            options["swa_start"] = own.swa_start
        return options

    def _extend(self, rule: Rule) -> Rule:
        return extended(rule, replace(self._transforms, accumulate=1))

    @property
    def _every(self) -> Parameters:
        return self._all

    def _step_with(
        self, grads: Any, at: Any, given: Mapping[str, Any], known: Known
    ) -> Any:
        """Do a step whose other arrays have hyper-parameters of their own."""
        if at is not None:
            named = at if isinstance(at, Mapping) and at else self._all.arrays
            refuse_part(type(self).__name__, next(iter(named)))
        own, others = [name for name in given if name in self.rule.scalars], self.others
        if own:
            lines = listed(f"opt.{name} = ..." for name in own)
            message = f"Muon takes no {listed(own)} in step: write {lines} before it"
            raise ArgumentTypeError(message)
        refuse_keywords(type(self), self.rule if others is None else others.rule, given)
        self._given = given
        try:
            return self._step_around(self._gradients.check(grads), known=known)
        finally:
            self._given = {}

    @property
    def _real(self) -> Parameters:
        return self._all

    def _make_executor(
        self, parameters: Parameters, hyper: Hyper | None = None
    ) -> Executor:
        return MatrixExecutor(weakly(self._update), parameters)

    @property
    def _accumulated(self) -> Arena:
        if self._sums is None:
            made = start_state(accumulation(), self._all, self.options)
            self._sums = made[ACCUMULATED]
        return self._sums

    def _update(
        self, executor: MatrixExecutor, grads: Arena | list[Array], known: Known
    ) -> bool:
        from gdopt.kernels.products import in_step  # noqa: PLC0415 - as most need none

        parameters, others, t = self._parameters, self.others, self.t
        own = executor.parameters.arrays
        given = [grads[n] for n in own] if isinstance(grads, Arena) else grads
        named = dict(zip(own, given, strict=True))
        with self._all.on_device(), np.errstate(all="ignore"):
            with in_step(parameters.backend):
                results = self._compute(executor, named, t, known)
            if others is not None:  # first, as it may raise
                rest = {name: named.get(name) for name in others.params}
                if any(g is not None for g in rest.values()):
                    others.step(rest, **self._given)
                else:
                    others._counter.t = t + 1  # noqa: SLF001
            for name, (p, *states) in results.items():
                parameters.arrays[name][...] = p
                for state, value in zip(self.rule.states, states, strict=True):
                    self._state[state][name][...] = value
        self._counter.t = t + 1
        return True

    def _compute(
        self, executor: MatrixExecutor, named: dict[str, Array], t: int, known: Known
    ) -> dict[str, tuple[Array, ...]]:
        """Return the new parameter and states of each matrix; scale other gradients."""
        values = self.hyper.at(t)
        shared = {**values.shared, "t": t + 1}
        before = replace(self._transforms, accumulate=1)
        if self._sums is not None:
            count = self._transforms.accumulate
            for name, g in named.items():
                named[name] = (self._sums[name] + g) / count
        takes = [name for name in BEFORE if name in before.options]
        one = {name: self._follow(name)(t) for name in takes}
        if "clip_norm" in before.options:
            p, own = self._all.arrays, dict(named)
            if before.measures:
                own = {n: before.clipped(p[n], g, one) for n, g in named.items()}
            norm = known.norm
            if norm is None:
                norm = norm_of(self._all.backend, self._all.device, own)
            executor.grad_norm = norm
            one["norm"] = shared["norm"] = self._all.backend.xp.asarray(norm)[()]
        results = {}
        for name, g in named.items():
            if name in self._parameters.arrays:
                own = {n: by_name[name] for n, by_name in values.by_name.items()}
                own |= {n: arena[name] for n, arena in self.hyper.elements.items()}
                arrays = [self._state[state][name] for state in self.rule.states]
                p = self._parameters.arrays[name]
                results[name] = self.rule(p, *arrays, g, **shared, **own)
            elif one or before.maximize:
                own_g = before.gradient(self._all.arrays[name], g, one)
                named[name] = self._parameters.backend.xp.asarray(own_g, g.dtype)
        return results

    def _of_all(self, kind: str) -> MappingProxy[Any]:
        """Return what the matrices and the other arrays have, in their order."""
        found = dict(getattr(super(), kind))
        found |= getattr(self.others, kind) if self.others else {}
        return MappingProxy({name: found[name] for name in self._all.arrays})

    @property
    def state(self) -> Mapping[str, Mapping[str, Array]]:
        """The state by parameter and name, as live views."""
        return self._of_all("state")

    @property
    def state_arenas(self) -> Mapping[str, Arena]:
        """The memory of the state, by names of the rules, padding included."""
        others = self.others.state_arenas if self.others else {}
        named = {f"others.{name}": arena for name, arena in others.items()}
        return {**super().state_arenas, **named}

    @property
    def average(self) -> Mapping[str, Array]:
        """The average of the parameters by name, as live views."""
        return self._of_all("average")

    def _saved(self) -> dict[str, Any]:
        saved = super()._saved()
        saved["others"] = self.others.state_dict() if self.others else {}
        if self._sums is not None:
            to_host = self._all.backend.to_host
            saved[ACCUMULATED] = {
                name: np.array(to_host(total)) for name, total in self._sums.items()
            }
        return saved

    def _parts(self) -> dict[str, Any]:
        named, updated, others = self._all.named, self._all.arrays, self.others
        given: dict[str, Any] = {"params": self._source({}), "others": type(others)}
        given["frozen"] = [name for name in named if name not in updated]
        if others is not None:
            own = others._parts() | {"params": [*others.params]}  # noqa: SLF001
            given["own"], settings = own, own["settings"].items()
            kept = {n: v.name if isinstance(v, Followed) else [v] for n, v in settings}
            own["settings"] = kept
        return super()._parts() | {"params": [*self._parameters.arrays], "all": given}

    def _restore(self, given: Mapping[str, Any]) -> None:
        every = given["all"]
        self._all = Parameters.of(writeable(every["params"]), every["frozen"])
        self.others, self._sums, arrays = None, None, self._all.arrays
        super()._restore({**given, "params": {n: arrays[n] for n in given["params"]}})
        if "own" in every:
            own, self.others = every["own"], every["others"].__new__(every["others"])
            settings, follow = own["settings"].items(), self._follow
            kept = {n: follow(v) if isinstance(v, str) else v[0] for n, v in settings}
            rest = {name: arrays[name] for name in own["params"]}
            own = own | {"settings": kept, "params": rest}
            self.others._restore(own)  # noqa: SLF001
        self._bind_gradients()
        self._freeze(given["left_out"])

    def _swapped(
        self, given: dict[str, Any], frozen: Sequence[str], arrays: Mapping[str, Array]
    ) -> dict[str, Any]:
        every = given["all"] | {"params": self._source(arrays)}
        if frozen != every["frozen"]:
            message = "frozen must keep the arrays that were frozen when Muon was made"
            message += f", as they have no state, got {shown(frozen)}"
            raise ArgumentError(message)
        return given | {"all": every}

    def _rebind(self, *given: Any) -> None:
        others = self.others
        super()._rebind(*given)
        if others is not None and self.others is not None:  # which the caller may hold
            others.hyper.__dict__ = vars(self.others.hyper)
            vars(others).update(vars(self.others))

    def _start_again(self) -> None:
        super()._start_again()
        if self.others is not None:
            self.others.reset()

    def _checked(
        self, saved: Mapping[str, Any], *, hyper: bool, same_options: bool
    ) -> Callable[[], None]:
        how = {"hyper": hyper, "same_options": same_options}
        keys = ["format", "rule", "t", "hyper", "state", "others", *self._counts]
        keys += [ACCUMULATED] if self._sums is not None else []
        if isinstance(saved, Mapping):
            keys += [key for key in (INNER, MISSING) if key in saved]
        own = check_state("the saved state", saved, keys)
        theirs = own.pop("others")
        sums = own.pop(ACCUMULATED, {})
        totals: Mapping[str, Array] = self._sums or {}
        check_state(ACCUMULATED, sums, totals)
        for name, total in totals.items():
            check_saved_array(f"the {ACCUMULATED} of {name!r}", sums[name], total)
        same = {} if self.others is None else {"t": own["t"]}
        rest = () if self.others is None else None
        check_state("others of the saved state", theirs, rest, same=same)
        writes = [super()._checked(own, **how)]
        if self.others is not None:
            writes.append(self.others._checked(theirs, **how))  # noqa: SLF001
        with self._all.on_device():
            move, device = self._all.backend.from_host, self._all.device
            moved = {name: move(sums[name], device) for name in totals}

        def take_over() -> None:
            for write in writes:
                write()
            with self._all.on_device():
                for name, total in totals.items():
                    total[...] = moved[name]

        return take_over

    def snapshot(self) -> Callable[[], None]:
        """Return a function that restores settings, step count and norm."""
        restores = [super().snapshot()]
        restores += [self.others.snapshot()] if self.others else []

        def restore() -> None:
            for one in restores:
                one()

        return restore


@dataclass
class Followed:
    """A schedule of the values of a setting, one for all arrays."""

    hyper: Hyper
    name: str

    def __call__(self, step: int) -> Any:
        """Return the value at a step."""
        shared = self.hyper.at(step).shared
        if self.name not in shared:
            message = f"{self.name} must be one value for all arrays: others follows it"
            raise ArgumentTypeError(message)
        return shared[self.name]


@dataclass
class MatrixExecutor:
    """Runs a step that is a method of its optimizer."""

    update: Callable[[MatrixExecutor, Arena | list[Array], Known], bool]
    parameters: Parameters
    grad_norm: Any = None
    direct = False

    def run(self, grads: Arena | list[Array], known: Known = UNKNOWN) -> bool:
        """Do one step with checked gradients; return whether it was done."""
        return self.update(self, grads, known)

    def run_compiled(self, grads: Arena | list[Array]) -> bool:
        """Return False: a step is many calls."""
        return False


def _check_dtypes(parameters: Parameters) -> None:
    for name, slot in parameters.layout.slots.items():
        if slot.group not in {"float32", "float64"}:
            label = array_label(name)
            message = f"Muon needs float32 or float64, but {label} is {slot.group}"
            raise ArgumentError(message)


def _divide(
    arrays: Any, named: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the matrices that names or patterns choose, and all other arrays."""
    patterns = [arrays] if isinstance(arrays, str) else check_sequence("arrays", arrays)
    matrices = {name: array for name, array in named.items() if array.ndim == 2}
    chosen = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            message = f"arrays must be names or patterns, got {shown(pattern)}"
            raise ArgumentTypeError(message)
        found = {n for n in matrices if fnmatchcase(n, pattern)}
        found = {pattern} & named.keys() or found
        if not found or found - matrices.keys():
            message = "arrays must choose 2-d arrays, of which there are "
            message += f"{listed(map(repr, matrices)) or 'none'}, got {pattern!r}"
            raise ArgumentError(message)
        chosen |= found
    return (
        {name: array for name, array in named.items() if name in chosen},
        {name: array for name, array in named.items() if name not in chosen},
    )


def _check_others(others: Any, rest: Mapping[str, Array]) -> None:
    """Refuse what does not update the other arrays, or may skip a step by itself."""
    check_kind("others(params, lr)", others, Optimizer)
    if any(others.params.get(name) is not array for name, array in rest.items()):
        message = f"others must update {listed(map(repr, rest))}, got {others!r}"
        raise ArgumentError(message)
    if others.non_finite != "ignore":
        message = f"non_finite of others must be 'ignore', got {others.non_finite!r}"
        raise ArgumentError(message)
