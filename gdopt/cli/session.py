"""One run of ``gdopt train``: its parts, its loop, its end and its progress."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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
from gdopt.tables import aligned
from gdopt.training import EarlyStopping, History, Record, fit, save
from gdopt.training.run import Callback

LINES = 10  # in a run, after its first, where there is no terminal


class Progress:
    """Shows how far a command has come, on standard error; a context manager.

    On a terminal this is a bar with the time that remains. In a pipe, in a log and on a
    terminal that cannot move its cursor, it writes occasional lines.

    Args:
        text: shown on the bar until the first call of `show`.

    Attributes:
        done: as given to the last call of `show`; 0 before.

    Raises:
        MissingExtraError: rich is not installed.
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
        self._console.out(text, highlight=False)


RECORDS = 2000  # a picture shows no more, and a GPU is waited for at each


@dataclass
class Session:
    """The parts of a run, and its records."""

    problem: PreparedData
    network: Network
    optimizer: Optimizer
    batches: MiniBatches
    settings: dict[str, Any]
    stopping: EarlyStopping | None = None
    history: History = field(default_factory=History)
    last: Record | None = None
    seconds: float = 0.0

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
        stopping = [] if self.stopping is None else [self.stopping]
        begin = time.perf_counter()
        try:
            with Progress() as shown:
                fit(
                    self.network,
                    self.optimizer,
                    self.batches,
                    epochs=epochs,
                    dev=self.problem.dev,
                    callback=[*stopping, self._watch(shown, epochs, steps)],
                    checkpoint=folder / "checkpoints",
                    record_every=max(1, epochs * steps // RECORDS),
                    validate=False,
                )
        except KeyboardInterrupt:
            return KeyboardInterrupt(f"after step {self.optimizer.t}")
        except DivergenceError as error:
            return error
        finally:
            self.seconds = time.perf_counter() - begin
        return None

    def _watch(self, shown: Progress, epochs: int, steps: int) -> Callback:
        """Return what keeps the records, and shows them."""
        show = _reporter(shown, epochs, steps)

        def watch(record: Record) -> None:
            self.history.append(record)
            self.last = record
            show(record)

        return watch

    @property
    def best(self) -> Record | None:
        """The record whose parameters were restored."""
        return None if self.stopping is None else self.stopping.restored

    def finish(self, folder: Path, stopped: BaseException | None) -> None:
        """Evaluate the network, save it, draw the picture and print the final table."""
        with np.errstate(over="ignore", invalid="ignore"):  # where it has diverged
            accuracy = {
                name: self.network.accuracy(*part)
                for name, part in self.problem.parts.items()
            }
        last, best = self.last, self.best
        kind = type(stopped).__name__
        summary = {
            "finished": stopped is None,
            "stopped": None if stopped is None else f"{kind}: {stopped}",
            "epoch": last and last.epoch,
            "steps": self.optimizer.t,
            "smoothed_loss": last and last.smoothed_loss,
            "accuracy": accuracy,
            "best_epoch": best and best.epoch,
            "seconds": self.seconds,
        }
        save(folder / "model.npz", self._model())
        write_json(folder / "summary.json", summary)
        self.history.to_jsonl(folder / "metrics.jsonl")
        if last is not None:
            self.history.plot(folder / "curves.png", title=self.title, best=best)
        if best is not None and last is not None:
            sys.stdout.write(
                f"best dev accuracy {best.dev_accuracy:.3f} after epoch {best.epoch}, "
                f"{last.epoch} epochs in all; its weights are kept\n"
            )
        if not isinstance(stopped, DivergenceError):
            sys.stdout.write(f"{self._table(accuracy)}\n")
            sys.stdout.write(f"test accuracy {accuracy['test']:.3f}\n")
        sys.stdout.write(f"run folder {folder}\n")

    def _model(self) -> dict[str, Any]:
        """Return what predicting needs, for `gdopt.save`."""
        network = self.network
        return {
            "network": {
                "sizes": network.sizes,
                "activation": network.activation,
                "output": network.output,
                "keep_prob": network.keep_prob,
                "batch_norm": network.batch_norm,
                "layer_norm": network.layer_norm,
            },
            "classes": self.problem.classes,
            "normalizer": self.problem.normalizer.state_dict(),
            "params": dict(network.params),
            "layers": network.state_dict(),
        }

    def _table(self, accuracy: dict[str, float]) -> str:
        steps, seconds = self.optimizer.t, self.seconds
        lines = [("part", "examples", "accuracy", "wrong")]
        for name, count in self.problem.counts.items():
            wrong = round((1 - accuracy[name]) * count)
            lines.append((name, f"{count:,}", f"{accuracy[name]:.3f}", f"{wrong:,}"))
        head = f"{steps} steps in {seconds:.1f} s, {steps / seconds:,.0f} a second"
        return "\n".join([head, *aligned(lines)])


def _reporter(shown: Progress, epochs: int, steps: int) -> Callable[[Record], None]:
    """Return what shows a record, with the last dev accuracy before it."""
    width, accuracy = len(str(epochs)), "-"

    def show(record: Record) -> None:
        nonlocal accuracy
        if record.dev_accuracy is not None:
            accuracy = f"{record.dev_accuracy:.3f}"
        text = (
            f"epoch {record.epoch:{width}}/{epochs}"
            f"  loss {record.smoothed_loss:.4f}  dev accuracy {accuracy}"
        )
        shown.show(record.step, epochs * steps, text)
        if record.warning:
            shown.note(f"note: {record.warning}")

    return show
