"""One run of ``gdopt train``: its parts, its loop, its end and its progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from gdopt.cli.prepare import PreparedData
from gdopt.data import MiniBatches
from gdopt.errors import DivergenceError
from gdopt.files import write_json
from gdopt.imports import load_extra
from gdopt.nn import Network
from gdopt.optim import Optimizer
from gdopt.parallel.batches import ReplicaBatches
from gdopt.parallel.sharded import Sharded
from gdopt.plots import curves
from gdopt.tables import aligned, printable, write
from gdopt.training import EarlyStopping, Evaluation, Record, fit

CHECKPOINTS = "checkpoints"  # in the folder of a run
LINES = 10  # in a run, after its first, where there is no terminal


class Progress:
    """Shows how far a command has come, on standard error; a context manager.

    On a terminal this is a bar with the time that remains. In a pipe, in a log and on a
    terminal that cannot move its cursor, it writes occasional lines.

    Args:
        text: shown on the bar until the first call of `show`.

    Attributes:
        done: as given to the last call of `show`; 0 before.
    """

    def __init__(self, text: str = "") -> None:
        rich = load_extra("rich.progress", "train", "a progress bar")
        self._console = load_extra("rich.console", "train", "a progress bar").Console(
            stderr=True
        )
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._bar = rich.Progress(
            rich.BarColumn(bar_width=20),  # all that a training says fits into 80
            rich.TimeRemainingColumn(compact=True),
            rich.TextColumn("{task.description}", markup=False),
            console=self._console,
            speed_estimate_period=math.inf,  # one trial of a search may take minutes
        )
        self._task = self._bar.add_task(text, total=None)
        self._line_at = 0.0
        self.done = 0

    def __enter__(self) -> Self:
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live:
            self._bar.stop()

    def show(
        self, done: int, total: int, text: str, *, line: bool | None = None
    ) -> None:
        """Set the bar, or write a line where one is due.

        Args:
            done: steps, trials or whatever is counted, of which `total` are to be done.
            total: at least 1.
            text: what is known at this point.
            line: whether a line is due, where there is no bar; by default, one is at
                the first call and after every tenth of the total.
        """
        self.done = done
        if self._live:
            state = {"completed": done, "total": total, "description": text}
            self._bar.update(self._task, **state)
        elif done >= self._line_at if line is None else line:
            self._line_at = (done * LINES // total + 1) * total / LINES
            self.note(text)

    def note(self, text: str) -> None:
        """Write a line, above the bar where there is one."""
        self._console.out(printable(text), highlight=False)


RECORDS = 2000  # a picture shows no more, and a GPU is waited for at each


class Watch:
    """A callback: shows the records of a run, and measures training examples.

    They are as many as there are dev examples.
    """

    def __init__(
        self, problem: PreparedData, shown: Progress, epochs: int, steps: int
    ) -> None:
        size = problem.counts["dev"]
        self._sample = tuple(array[:size] for array in problem.train)
        self._show = _reporter(shown, epochs, steps)
        self._classifies = problem.classes is not None
        self.run: Any = None  # that is watched
        self.accuracy: dict[int, float] = {}  # of the training examples at a step

    def begin(self, run: Any) -> None:
        """Remember the run."""
        self.run = run

    def __call__(self, record: Record) -> None:
        """Show a record; at the end of an epoch, measure."""
        if self._classifies and record.dev_accuracy is not None:
            network = self.run.objective.model
            self.accuracy[record.step] = network.accuracy(*self._sample)
        self._show(record)

    def state_dict(self) -> dict[str, Any]:
        """Copy what was measured."""
        return {str(step): value for step, value in self.accuracy.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        self.accuracy = {int(step): value for step, value in state.items()}


@dataclass
class Session:
    """The parts of a run, and its records."""

    problem: PreparedData
    network: Network
    optimizer: Optimizer | Sharded
    batches: MiniBatches | ReplicaBatches
    settings: dict[str, Any]
    stopping: EarlyStopping | None = None
    watch: Watch | None = None

    @property
    def title(self) -> str:
        """The run in a line."""
        shape = "-".join(map(str, self.network.sizes))
        epochs = self.settings["epochs"]
        most = "at most " if self.stopping else ""
        return (
            f"{self.problem.name}: network {shape}, {self.settings['optimizer']}, "
            f"{most}{epochs} epochs, {epochs * len(self.batches)} steps"
        )

    def describe(self) -> str:
        """Describe the run in three lines."""
        settings, counts = self.settings, self.problem.counts
        parts = ", ".join(f"{count} {name}" for name, count in counts.items())
        return (
            f"{self.title}\n"
            f"examples {parts}; mini-batches of {settings['batch_size']}; "
            f"seed {settings['seed']}\n"
            f"learning rate {settings['lr']:g} ({settings['schedule']}), "
            f"l2 {settings['l2']:g}, on {settings['device']}\n"
        )

    def train(self, folder: Path) -> KeyboardInterrupt | DivergenceError | None:
        """Run the loop; return what interrupted it, if anything did."""
        epochs, steps = self.settings["epochs"], len(self.batches)
        try:
            with Progress() as shown:
                self.watch = Watch(self.problem, shown, epochs, steps)
                fit(
                    self.network,
                    self.optimizer,
                    self.batches,
                    epochs=epochs,
                    dev=self.problem.dev,
                    callback=[*filter(None, [self.stopping]), self.watch],
                    checkpoint=folder / CHECKPOINTS,
                    record_every=max(1, epochs * steps // RECORDS),
                    validate=False,
                )
        except KeyboardInterrupt:
            return KeyboardInterrupt(f"after step {self.optimizer.t}")
        except DivergenceError as error:
            return error
        return None

    @property
    def best(self) -> Record | None:
        """The record whose parameters were restored."""
        return None if self.stopping is None else self.stopping.restored

    def finish(self, folder: Path, stopped: BaseException | None) -> None:
        """Evaluate the network, save it, draw the picture and print the final table."""
        problem, watch = self.problem, self.watch
        assert watch is not None  # noqa: S101 - `train` has made it
        history, seconds = watch.run.history, watch.run.seconds
        found = {
            name: problem.evaluate(self.network, part)
            for name, part in problem.parts.items()
        }
        metrics = {name: one.metrics for name, one in found.items()}
        best = self.best
        kind = type(stopped).__name__
        recorded = history["step"].size > 0
        summary = {
            "finished": stopped is None,
            "stopped": None if stopped is None else f"{kind}: {stopped}",
            "epoch": int(history["epoch"][-1]) if recorded else None,
            "steps": self.optimizer.t,
            "smoothed_loss": float(history["smoothed_loss"][-1]) if recorded else None,
            **{
                n: {part: m[n] for part, m in metrics.items()} for n in metrics["train"]
            },
            "best_epoch": best and best.epoch,
            "seconds": seconds,
        }
        problem.model(self.network).save(folder)
        write_json(folder / "summary.json", summary, sha256=False)
        history.to_jsonl(folder / "metrics.jsonl")
        if recorded and np.isfinite(history["loss"]).any():
            train = [watch.accuracy.get(step, np.nan) for step in history["step"]]
            drawn = {**history, "train_accuracy": np.array(train)}
            step = None if best is None else best.step
            curves(drawn, folder / "curves.png", title=self.title, best=step)
        if best is not None:
            measured = "dev_loss" if best.dev_accuracy is None else "dev_accuracy"
            write(
                f"best {measured.replace('_', ' ')} {getattr(best, measured):.3f} "
                f"after epoch {best.epoch}, {summary['epoch']} epochs in all; its "
                "weights are kept\n"
            )
        if not isinstance(stopped, DivergenceError):
            speed = f"{self.optimizer.t / seconds:,.0f} a second" if seconds else "done"
            write(f"{self.optimizer.t} steps in {seconds:.1f} s, {speed}\n")
            write("\n".join(aligned(_rows(found))) + "\n")
            metric, name = ("accuracy",) * 2 if problem.classes else ("r2", "R2")
            write(f"test {name} {found['test'].metrics[metric]:.3f}\n")
        write(f"run folder {folder}\n")


def _rows(found: Mapping[str, Evaluation]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]]
    if found["train"].classes is None:
        lines = [("part", "examples", "R2", "mean absolute error")]
        for name, one in found.items():
            r2, mae = one.metrics.values()
            lines.append((name, f"{len(one.truth):,}", f"{r2:.3f}", f"{mae:.6g}"))
        return lines
    lines = [("part", "examples", "accuracy", "wrong")]
    for name, one in found.items():
        share, wrong = one.metrics["accuracy"], int((one.truth != one.predicted).sum())
        lines.append((name, f"{len(one.truth):,}", f"{share:.3f}", f"{wrong:,}"))
    return lines


def _reporter(shown: Progress, epochs: int, steps: int) -> Callable[[Record], None]:
    """Return what shows a record, with the last dev value before it."""
    width, dev = len(str(epochs)), "dev -"

    def show(record: Record) -> None:
        nonlocal dev
        if record.dev_accuracy is not None:
            dev = f"dev accuracy {record.dev_accuracy:.3f}"
        elif record.dev_loss is not None:
            dev = f"dev loss {record.dev_loss:.4f}"
        text = (
            f"epoch {record.epoch:{width}}/{epochs}"
            f"  loss {record.smoothed_loss:.4f}  {dev}"
        )
        shown.show(record.step, epochs * steps, text)
        if record.warning:
            shown.note(f"note: {record.warning}")

    return show
