"""The whole state of a run, and continuing from it."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gdopt.checks import check_format, check_saved_array, check_state, shown
from gdopt.errors import StateError
from gdopt.training.checkpoints import CheckpointFolder
from gdopt.training.methods import sums
from gdopt.training.objectives import read_value

if TYPE_CHECKING:
    from gdopt.training.run import Run

FORMAT = 1
TOLERANCE = 1e-3  # of float32, and of sums in another order
COUNTERS = (
    *("step", "epoch", "seconds", "fun", "grad_norm", "reason", "success"),
    *("last_loss", "has_warned"),
)
PARTS = ("params", "method", "sampler", "objective", "callbacks", "history", "average")


def state_of(run: Run) -> dict[str, Any]:
    """Copy everything that a resumed run needs."""
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
        "method": run.optimizer.state_dict(),
        "norm": _norm(run),
        "sampler": run.source.state_dict(),
        "objective": run.objective.state_dict(),
        "callbacks": [_state_of(callback) for callback in run.callbacks],
        "history": run.history.state_dict(),
        "average": run.average.state_dict(),
    }


def settings_of(run: Run) -> dict[str, Any]:
    """Describe the problem and how it is solved, in text that can be compared."""
    hyper = getattr(run.optimizer, "hyper", None)
    text = "" if hyper is None else hyper.text()
    arrays = run.parameters.arrays.items()
    return {
        "method": type(run.optimizer).__name__,
        "hyper": re.sub(r" at 0x[0-9a-f]+", "", text),
        "arrays": {name: f"{a.dtype} {a.shape}" for name, a in arrays},
        "data": run.data is not None,
        "smoothing": run.average.beta,
        "callbacks": [type(callback).__name__ for callback in run.callbacks],
    }


def with_evidence(run: Run, state: dict[str, Any]) -> dict[str, Any]:
    """Add value and gradient here, or those of the next batch, to a state."""
    return state | {"evidence": _evidence(run)}


def _evidence(run: Run) -> dict[str, Any] | None:
    found = run.source.evidence()
    if found is None:
        return None
    with run.parameters.on_device():
        xp = run.parameters.backend.xp
        return {"value": found[0], "sums": sums(xp, found[1])}


def resume(run: Run, folder: CheckpointFolder) -> None:
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
    saved = check_state(name, saved, keys, same={"format": FORMAT})
    _refuse_other_settings(name, saved["settings"], run.settings)
    before = state_of(run)
    try:
        _restore(run, saved)
        _refuse_other_evidence(name, saved["evidence"], _evidence(run))
    except BaseException:
        _restore(run, before)
        raise
    if saved["stops"] != vars(run.stops):
        run.reason = run.stops.exhausted(run.step, run.epoch, run.seconds)
        run.success = False
        message = (
            f"{name} holds a run with {_changed(saved['stops'], vars(run.stops))}: it "
            f"continues from step {run.step} with the new rules"
        )
        warnings.warn(message, stacklevel=2)
    if run.data is None or run.reason is not None:  # the evidence is not an update's
        put_back(run, saved)


def put_back(run: Run, state: Mapping[str, Any]) -> None:
    """Forget the evaluation of the evidence, and the batch that was drawn for it."""
    run.objective.evaluations = state["evaluations"]
    if run.data is not None:
        run.objective.load_state_dict(state["objective"])
        run.source.load_state_dict(state["sampler"])


def _restore(run: Run, state: Mapping[str, Any]) -> None:
    """Take over a state; what does not fit raises StateError."""
    own = run.parameters
    saved = check_state("params", state["params"], own.arrays)
    params = {
        n: own.backend.from_host(
            check_saved_array(f"params[{n!r}]", saved[n], a), own.device
        )
        for n, a in own.arrays.items()
    }
    counters = check_state("counters", state["counters"], COUNTERS)
    run.optimizer.load_state_dict(state["method"])
    run.objective.load_state_dict(state["objective"])
    for callback, held in zip(run.callbacks, state["callbacks"], strict=True):
        if held is not None:
            callback.load_state_dict(held)  # type: ignore[attr-defined]
    run.history.load_state_dict(state["history"])
    run.average.load_state_dict(state["average"])
    own.write(params)
    if state["norm"] is not None:
        run.optimizer.executor.grad_norm = state["norm"]
    vars(run).update(counters)
    run.objective.evaluations = state["evaluations"]
    run.source.load_state_dict(state["sampler"])


def _norm(run: Run) -> float | None:
    """Return the norm that the optimizer has measured in its last step."""
    norm = getattr(run.optimizer, "grad_norm", None)
    return None if norm is None else read_value(norm)


def _state_of(callback: Any) -> dict[str, Any] | None:
    return dict(callback.state_dict()) if hasattr(callback, "state_dict") else None


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Name what differs, with both values."""
    names = [n for n in {**before, **now} if before.get(n) != now.get(n)]
    return "; ".join(
        f"{n} {shown(before.get(n))}, now {shown(now.get(n))}" for n in names
    )


def _refuse_other_settings(
    name: str, saved: Mapping[str, Any], own: Mapping[str, Any]
) -> None:
    if saved != own:
        message = (
            f"{name} holds a run of another problem: {_changed(saved, own)}; take "
            "another folder, or delete this one to start over"
        )
        raise StateError(message)


def _refuse_other_evidence(name: str, saved: Any, own: Any) -> None:
    """Refuse another value or gradient; the last digits may be another machine's."""
    if saved is None or own is None:
        return
    values = saved["value"], own["value"]
    if not math.isclose(*values, rel_tol=TOLERANCE) and values[0] == values[0]:
        found = f"at its parameters the value was {values[0]:.6g}, now {values[1]:.6g}"
    else:
        others = [
            key
            for key, (total, size) in own["sums"].items()
            if abs(total - saved["sums"].get(key, [math.inf])[0]) > TOLERANCE * size
            or not math.isclose(size, saved["sums"][key][1], rel_tol=TOLERANCE)
        ]
        if not others:
            return
        found = f"the gradient of {others[0]!r} at its parameters differs"
    message = (
        f"{name} holds a run of another problem: {found}; take another folder, or "
        "delete this one to start over"
    )
    raise StateError(message)
