"""One run of ``gdopt train``: its loop and its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from gdopt import plots
from gdopt.cli.parts.interrupt import Interrupt
from gdopt.cli.parts.progress import Progress
from gdopt.cli.parts.session import Session
from gdopt.errors import DivergenceError
from gdopt.tables import aligned
from gdopt.training import Record, RunFolder, fit

RECORDS = 2000  # a picture shows no more, and a GPU is waited for at each


def train(
    session: Session, folder: RunFolder
) -> KeyboardInterrupt | DivergenceError | None:
    """Run the loop; give what broke it off, if anything did.

    With `Session.stopping`, the best parameters are put back at the end, unless the
    training has diverged: then the last ones tell how.
    """
    epochs, steps = session.settings["epochs"], len(session.batches)
    records = fit(
        session.network,
        session.optimizer,
        session.batches,
        epochs=epochs,
        l2=session.settings["l2"],
        l1=session.settings["l1"],
        dev=session.problem.dev,
        record_every=max(1, epochs * steps // RECORDS),
        checked=True,
    )
    begin, stopped = time.perf_counter(), None
    try:
        with Progress() as shown, Interrupt() as interrupt:
            show = _reporter(shown, epochs, steps)
            for record in records:
                session.records.append(record)
                folder.write(record)
                show(record)
                enough = _judge(session, record)
                if interrupt.asked:
                    stopped = KeyboardInterrupt(f"after step {record.step}")
                    break
                if enough:
                    break
    except DivergenceError as error:
        return error
    finally:
        session.seconds = time.perf_counter() - begin
    _restore_best(session)
    return stopped


def _reporter(shown: Progress, epochs: int, steps: int) -> Callable[[Record], None]:
    """Return what shows a record, with the last dev accuracy before it."""
    width, accuracy = len(str(epochs)), "-"

    def show(record: Record) -> None:
        nonlocal accuracy
        if record.dev_accuracy is not None:
            accuracy = f"{record.dev_accuracy:.3f}"
        text = (
            f"epoch {record.epoch:{width}}/{epochs}"
            f"  cost {record.smoothed_cost:.4f}  dev accuracy {accuracy}"
        )
        shown.show(record.step, epochs * steps, text)
        if record.notice:
            shown.note(f"note: {record.notice}")

    return show


def _judge(session: Session, record: Record) -> bool:
    """Tell whether the dev accuracy has not got better for long enough."""
    if session.stopping is None or record.dev_accuracy is None:
        return False
    return session.stopping.update(record.dev_accuracy)


def _restore_best(session: Session) -> None:
    stopping = session.stopping
    if stopping is not None and stopping.best_update is not None:
        stopping.restore()
        measured = [r for r in session.records if r.dev_accuracy is not None]
        session.best = measured[stopping.best_update - 1]


def finish(session: Session, folder: RunFolder, stopped: BaseException | None) -> None:
    """Judge the network, save it, draw the picture and print the closing table."""
    with np.errstate(over="ignore", invalid="ignore"):  # where it has diverged
        accuracy = {
            name: session.network.accuracy(*part)
            for name, part in session.problem.parts.items()
        }
    last = session.records[-1] if session.records else None
    summary = {
        "finished": stopped is None,
        "stopped": None if stopped is None else f"{type(stopped).__name__}: {stopped}",
        "epoch": last and last.epoch,
        "steps": session.optimizer.t,
        "smoothed_cost": last and last.smoothed_cost,
        "accuracy": accuracy,
        "best_epoch": session.best and session.best.epoch,
        "seconds": session.seconds,
    }
    folder.finish(session.model(), summary)
    best = session.best
    if session.records:
        path = folder.path / "curves.png"
        plots.curves(session.records, path, title=session.title, best=best)
    if best is not None:
        sys.stdout.write(
            f"best dev accuracy {best.dev_accuracy:.3f} after epoch {best.epoch}, "
            f"{session.records[-1].epoch} epochs in all; its weights are kept\n"
        )
    if not isinstance(stopped, DivergenceError):
        sys.stdout.write(f"{_table(session, accuracy)}\n")
        sys.stdout.write(f"test accuracy {accuracy['test']:.3f}\n")
    sys.stdout.write(f"run folder {folder.path}\n")


def _table(session: Session, accuracy: dict[str, float]) -> str:
    steps, seconds = session.optimizer.t, session.seconds
    lines = [("part", "examples", "accuracy", "wrong")]
    for name, count in session.problem.counts.items():
        wrong = round((1 - accuracy[name]) * count)
        lines.append((name, f"{count:,}", f"{accuracy[name]:.3f}", f"{wrong:,}"))
    head = f"{steps} steps in {seconds:.1f} s, {steps / seconds:,.0f} a second"
    return "\n".join([head, *aligned(lines)])
