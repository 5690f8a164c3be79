"""The whole state of a run, and continuing from it."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gdopt.arrays.arena import array_label
from gdopt.checks import (
    as_number,
    check_each,
    check_flag,
    check_format,
    check_kind,
    check_mapping,
    check_optional,
    check_saved_array,
    check_state,
    check_text,
    shown,
)
from gdopt.errors import GdoptError, StateError
from gdopt.interrupt import uninterrupted
from gdopt.parallel.sharded import Sharded
from gdopt.training.checkpoints import CheckpointFolder
from gdopt.training.methods import described, sums, varying
from gdopt.training.objectives import read_value
from gdopt.training.stops import Stops

if TYPE_CHECKING:
    from gdopt.training.run import Run
    from gdopt.training.sharded_folder import ShardedFolder

FORMAT = 1
TOLERANCE = 1e-3  # of float32, and of sums in another order
ROUNDING = 1e-6  # of a value, as a share of the first one, of which little is left
COUNTERS = (
    *("step", "epoch", "seconds", "fun", "grad_norm", "reason", "success"),
    *("last_loss", "has_warned"),
)
PARTS = ("params", "method", "sampler", "objective", "callbacks", "history", "average")


def state_of(run: Run, *, whole: bool = True) -> dict[str, Any]:
    """Copy everything that a resumed run needs.

    Of a run on several ranks, the arrays of the optimizer's state are left out unless
    `whole`, which is a call for all ranks.
    """
    own = run.parameters
    with own.on_device():
        params = {n: np.array(own.backend.to_host(a)) for n, a in own.arrays.items()}
    return {
        "format": FORMAT,
        "settings": run.settings,
        "stops": dict(vars(run.stops)),
        "counters": {name: getattr(run, name) for name in COUNTERS},
        "evaluations": run.objective.evaluations,
        "params": params,
        "method": (run.optimizer.state_dict if whole else run.optimizer.head)(),
        "norm": _norm(run),
        "sampler": run.source.state_dict(),
        "objective": run.objective.state_dict(),
        "callbacks": [dict(callback.state_dict()) for callback in _with_state(run)],
        "history": run.history.state_dict(),
        "average": run.average.state_dict(),
    }


def settings_of(run: Run) -> dict[str, Any]:
    """Describe the problem and how it is solved, for a comparison."""
    arrays, method = run.parameters.arrays.items(), run.optimizer
    return {
        **described(method),
        **{array_label(name): f"{a.dtype} {a.shape}" for name, a in arrays},
        "data": run.data is not None,
        "smoothing": run.average.beta,
        "callbacks": [_described(callback) for callback in _with_state(run)],
        **({"replicas": method.replicas} if isinstance(method, Sharded) else {}),
    }


def with_evidence(run: Run, state: dict[str, Any]) -> dict[str, Any]:
    """Add value and gradient here, or those of the next batch, to a state."""
    return state | {"evidence": _evidence(run)}


def _evidence(run: Run) -> dict[str, Any]:
    evidence: dict[str, Any] = {"value": None, "sums": {}}
    evidence["varying"] = varying(run.optimizer)
    found = run.source.evidence()
    if found is not None:
        with run.parameters.on_device():
            xp = run.parameters.backend.xp
            own = None if found[1] is None else sums(xp, found[1])
            evidence |= {"value": found[0], "sums": own}
    return evidence


def resume(run: Run, folder: CheckpointFolder | ShardedFolder) -> None:
    """Continue from the last checkpoint of a folder, if there is one.

    Raises:
        StateError: it is of another problem, or damaged; nothing has changed.
    """
    saved = folder.load()
    if saved is None:
        return
    name = str(folder.path)
    check_format(name, saved.get("format"), FORMAT)
    keys = (*PARTS, "settings", "stops", "counters", "evaluations", "norm", "evidence")
    counts = ("evaluations",)
    saved = check_state(name, saved, keys, counts=counts, same={"format": FORMAT})
    before = state_of(run)
    try:
        _check_parts(saved, run)
        _refuse_other_settings(saved, run.settings)
        _restore(run, saved)
        whole = "replicas" not in {**saved["settings"], **run.settings}
        _refuse_other_evidence(run, saved["evidence"], _evidence(run), whole=whole)
        if saved["stops"] != vars(run.stops):
            _take_new_stops(run, saved["stops"], name)
        put_back(run, saved)
    except BaseException as error:
        _restore(run, before)
        if not isinstance(error, StateError):
            raise
        raise StateError(
            f"{name} holds a run of another problem: {error}; take another folder, or "
            "delete this one to start over"
        ) from error


def _check_parts(saved: Mapping[str, Any], run: Run) -> None:
    """Refuse parts that lack keys, of those that are compared."""
    evidence = saved["evidence"]
    check_state("settings", saved["settings"], None)
    check_state("stops", saved["stops"], vars(run.stops))
    check_state("evidence", evidence, ("varying", "value", "sums"))
    check_state("varying", evidence["varying"], None)
    method = check_state("method", saved["method"], None)
    hyper = check_state("hyper", method.get("hyper", {}), None)
    for part in (saved["settings"], evidence["varying"], hyper):
        for name, value in part.items():
            if hasattr(value, "dtype"):
                raise StateError(f"{name} must not be an array, got {shown(value)}")
    counters = check_state("counters", saved["counters"], COUNTERS)
    try:
        Stops(**saved["stops"])
        for name in ("seconds", "fun", "grad_norm", "last_loss"):
            check_optional(as_number, name, counters[name])
        check_optional(as_number, "norm", saved["norm"])
        check_optional(as_number, "value", evidence["value"])
        for pair in dict(check_mapping("sums", evidence["sums"] or {})).values():
            if len(check_each(as_number, "sums", pair)) != 2:
                raise StateError(f"sums must hold pairs, got {shown(pair)}")
        check_flag("success", counters["success"])
        check_flag("has_warned", counters["has_warned"])
        check_kind("callbacks", saved["callbacks"], list, "a list")
        check_optional(check_text, "reason", counters["reason"])
    except GdoptError as error:
        raise StateError(str(error)) from error


def _take_new_stops(run: Run, saved: Mapping[str, Any], name: str) -> None:
    run.reason = run.stops.exhausted(run.step, run.epoch, run.seconds)
    run.success = False
    message = (
        f"{name} holds a run with {_changed(saved, vars(run.stops))}: it continues "
        f"from step {run.step} with the new rules"
    )
    warnings.warn(message, stacklevel=3)


def put_back(run: Run, state: Mapping[str, Any]) -> None:
    """Forget the evaluation of the evidence, and the batch that was drawn for it."""
    run.objective.evaluations = state["evaluations"]
    if run.data is not None:
        run.objective.load_state_dict(state["objective"])
        run.source.load_state_dict(state["sampler"])


@uninterrupted
def _restore(run: Run, state: Mapping[str, Any]) -> None:
    """Take over a state; what does not fit raises StateError."""
    own = run.parameters
    saved = check_state("params", state["params"], own.arrays)
    params = {}
    for name, array in own.arrays.items():
        held = check_saved_array(f"params[{name!r}]", saved[name], array)
        params[name] = own.backend.from_host(held, own.device)
    whole = ("step", "epoch")
    counters = check_state("counters", state["counters"], COUNTERS, counts=whole)
    run.optimizer.load_state_dict(state["method"])
    run.objective.load_state_dict(state["objective"])
    callbacks = {str(k): one for k, one in enumerate(_with_state(run))}
    held_by = {str(k): one for k, one in enumerate(state["callbacks"])}
    check_state("callbacks", held_by, callbacks)
    for callback, held in zip(callbacks.values(), held_by.values(), strict=True):
        callback.load_state_dict(held)
    run.history.load_state_dict(state["history"])
    run.average.load_state_dict(state["average"])
    own.write(params)
    if state["norm"] is not None:
        own_optimizer = getattr(run.optimizer, "optimizer", run.optimizer)
        own_optimizer.executor.grad_norm = state["norm"]
    vars(run).update(counters)
    run.objective.evaluations = state["evaluations"]
    run.source.load_state_dict(state["sampler"])


def _norm(run: Run) -> float | None:
    norm = getattr(run.optimizer, "grad_norm", None)
    return None if norm is None else read_value(norm)


def _with_state(run: Run) -> list[Any]:
    """Return the callbacks that are continued: others may come and go."""
    return [one for one in run.callbacks if hasattr(one, "state_dict")]


def _described(callback: Any) -> str:
    """Return the class of a callback, with the numbers that it was made with."""
    kind = type(callback)
    held = {n: getattr(callback, n, None) for n in inspect.signature(kind).parameters}
    numbers = (f"{n}={v}" for n, v in held.items() if isinstance(v, int | float))
    return f"{kind.__name__}({', '.join(numbers)})"


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], place: str = "") -> str:
    """Name what differs, with both values."""
    names = [n for n in {**before, **now} if before.get(n) != now.get(n)]
    return "; ".join(
        f"{n}{place} {shown(before.get(n))}, now {shown(now.get(n))}" for n in names
    )


def _refuse_other(
    saved: Mapping[str, Any], own: Mapping[str, Any], place: str = ""
) -> None:
    if saved != own:
        raise StateError(_changed(saved, own, place))


def _refuse_other_settings(saved: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse other settings than those at the start, or what they have become."""
    before, became = dict(saved["settings"]), saved["method"].get("hyper", {})
    replicas, ours = before.pop("replicas", None), own.get("replicas")
    own = {name: value for name, value in own.items() if name != "replicas"}
    if None not in {replicas, ours} and replicas != ours:
        rule = f"replicas, which decide the bits, must be {replicas}, got {ours}"
        raise StateError(f"{rule}: give replicas={replicas} to continue")
    kept = {n: before.get(n) for n, v in became.items() if n in own and own[n] == v}
    _refuse_other(before, {**own, **kept})


def _refuse_other_evidence(run: Run, saved: Any, own: Any, *, whole: bool) -> None:
    """Refuse another value or gradient; the last digits may be another machine's.

    Unless `whole`, a rank has neither all gradients nor what varies by their names.
    """
    then, here = saved["varying"], own["varying"]
    if not whole:
        then = {name: value for name, value in then.items() if name in here}
        here = {name: value for name, value in here.items() if name in then}
    _refuse_other(then, here, f" at step {run.step}")
    value, now = saved["value"], own["value"]
    if whole:
        check_state("sums", saved["sums"], None if now is None else own["sums"])
    if value is None or now is None or not math.isfinite(value):
        return
    first = np.abs(run.history["loss"][:1]).max(initial=0)
    rounding = ROUNDING * float(first)
    if not math.isclose(value, now, rel_tol=TOLERANCE, abs_tol=rounding):
        raise StateError(f"at its parameters the value was {value:.6g}, now {now:.6g}")
    for key, (total, size) in own["sums"].items() if whole else ():
        before = saved["sums"].get(key, [math.inf, math.inf])
        near = abs(total - before[0]) <= TOLERANCE * size
        if not near or not math.isclose(size, before[1], rel_tol=TOLERANCE):
            message = f"the gradient of {array_label(key)} at its parameters differs"
            raise StateError(message)
