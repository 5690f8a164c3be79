"""``gdopt tune``: a search for hyper-parameters, with a table and a picture."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gdopt.cli import flags
from gdopt.cli.prepare import OF_TABLES, PreparedData, load_problem, table_options
from gdopt.cli.session import Progress
from gdopt.errors import ArgumentError
from gdopt.files import free_name, read_json, write_json
from gdopt.imports import load_extra
from gdopt.nn.inputs import check_finite
from gdopt.optim import OPTIMIZERS
from gdopt.tables import write
from gdopt.tune import NetworkObjective, Outcome, Space, Study, course_space, tune, zoom
from gdopt.tune.networks import BATCH_SIZE, BETAS, LAYERS, UNITS
from gdopt.tune.picture import parallel_coordinates

DESCRIPTION = "Search for the hyper-parameters of a network."
EXAMPLES = """\
What is searched, the most important first: the learning rate; beta of momentum, hidden
units, batch size; layers, decay of the learning rate. Trials are judged by the accuracy
on the dev examples; the test examples are not used.

examples:
  gdopt tune digits
  gdopt tune digits --trials 100 --prune --storage digits.db
  gdopt tune points.csv --trials 40 --fine 20 --jobs 4
  gdopt tune train-images-idx3-ubyte.gz --optimizer adam --method tpe --backend cupy
"""
MOMENTA = ("momentum", "nesterov")
KEPT = ("optimizer", "epochs", "l2", "seed", *OF_TABLES)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its parser."""
    add = parser.add_argument
    flags.add_problem(add)
    add("--json", metavar="FILE", help="write every trial as JSON")
    flags.add_picture(add, "tune-NAME")
    add = parser.add_argument_group("a trial").add_argument
    flags.add_optimizer(add, default="momentum")
    text = "of each trial (%(default)s)"
    add("--epochs", type=flags.count, default=10, metavar="N", help=text)
    flags.add_l2(add)
    add = parser.add_argument_group("the search").add_argument
    text = "number of trials, with those of a resumed search (%(default)s)"
    add("--trials", type=flags.count, default=30, metavar="N", help=text)
    text = "more trials around the best quarter, of at least 2 trials"
    add("--fine", type=flags.count, metavar="N", help=text)
    text = "how values are drawn: at random, or by Optuna's TPE (%(default)s)"
    add("--method", choices=("random", "tpe"), default="random", help=text)
    text = "end trials that are worse than the median of those before"
    add("--prune", action="store_true", help=text)
    text = "processes that run trials at the same time (%(default)s)"
    add("--jobs", type=flags.count, default=1, metavar="N", help=text)
    text = "keep the search in this file, to resume it later"
    add("--storage", metavar="FILE", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Search, print the table, and write the picture.

    Raises:
        GdoptError: the data cannot be read, or no trial was complete.
        KeyboardInterrupt: Ctrl-C was pressed; it says whether the search can be
            resumed.
    """
    for module in ("rich.progress", "matplotlib.figure"):  # fails now, not at the end
        load_extra(module, "train", "gdopt tune")
    load_extra("optuna", "tune", "gdopt tune")
    problem = load_problem(
        arguments.data,
        arguments.seed,
        flags.chosen_backend(arguments),
        **table_options(arguments),
    )
    for X, _ in problem.parts.values():
        check_finite(X)
    examples = problem.counts["train"]
    momentum = arguments.optimizer in MOMENTA
    space = course_space(momentum=momentum, examples=examples)
    write(
        f"{problem.name}: {examples:,} training examples; {arguments.optimizer}, "
        f"{arguments.epochs} epochs a trial\n"
    )
    studies = {"search": _search(arguments, problem, space, "search", arguments.trials)}
    if arguments.fine is not None:
        box = zoom(studies["search"])
        studies["fine"] = _search(arguments, problem, box, "fine", arguments.fine)
    if arguments.json is not None:
        kept = {name: getattr(arguments, name) for name in KEPT}
        found = {name: study.to_dict() for name, study in studies.items()}
        write_json(arguments.json, {"settings": kept, **found}, indent=1)
    _draw(arguments, problem, studies)
    return 0


def _search(
    arguments: argparse.Namespace,
    problem: PreparedData,
    space: Space,
    name: str,
    trials: int,
) -> Study:
    objective = NetworkObjective(
        problem.train,
        problem.dev,
        classes=len(problem.classes) if problem.classes else None,
        epochs=arguments.epochs,
        optimizer=OPTIMIZERS[arguments.optimizer],
        l2=arguments.l2,
        seed=arguments.seed,
    )
    shown = Progress(f"{trials} trials")
    try:
        with shown:
            study = tune(
                objective,
                space,
                direction="maximize" if problem.classes else "minimize",
                trials=trials,
                seed=arguments.seed,
                method=arguments.method,
                prune=arguments.prune,
                storage=arguments.storage,
                name=name,
                jobs=arguments.jobs,
                progress=_reporter(shown, measured=problem.measured),
            )
    except KeyboardInterrupt:
        kept = f"; the same command resumes from '{arguments.storage}'"
        said = f"after {shown.done} of {trials} trials"
        raise KeyboardInterrupt(said + (kept if arguments.storage else "")) from None
    write(f"{study}\nbest dev {problem.measured} {study.best.score:.3f}\n")
    sys.stdout.flush()
    return study


def _reporter(
    shown: Progress, measured: str = "accuracy"
) -> Callable[[Outcome, int, int], None]:
    """Return what shows the best trial so far, and each one that failed."""
    scores: list[float] = []
    choose = max if measured == "accuracy" else min

    def show(trial: Outcome, done: int, total: int) -> None:
        if trial.score is not None:
            scores[:] = [choose([trial.score, *scores])]
        if trial.error is not None:
            shown.note(f"trial {trial.number} failed: {trial.error}")
        best = f"{scores[0]:.3f}" if scores else "-"
        text = f"trial {done}/{total}, best dev {measured} {best}"
        shown.show(done, total, text)

    return show


def best_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the options of ``gdopt train`` for the best trial in a file of ours."""
    rule = "--from must name a file by gdopt tune --json with a complete trial"
    found = read_json(path, rule, ("settings", "search"))
    try:
        studies = [found[name] for name in ("search", "fine") if name in found]
        ranked = [
            (trial["score"], trial["values"])
            for study in studies
            for trial in study["trials"]
            if trial["score"] is not None and isinstance(trial["values"], dict)
        ]
        choose = {"maximize": max, "minimize": min}[studies[0]["direction"]]
        values = choose(ranked, key=lambda pair: pair[0])[1]
        layers = values.get("layers", LAYERS)
        hidden = [values.get("hidden_units", UNITS)] * (layers - 1)
        return {
            **found["settings"],
            "lr": values["learning_rate"],
            "batch_size": values.get("batch_size", BATCH_SIZE),
            "hidden": [hidden],
            "schedule": "inverse_time",
            "decay_rate": values.get("decay_rate", 0.0),
            "betas": {name: values[name] for name in BETAS if name in values},
        }
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"{rule}, got '{path}'") from error


def _draw(
    arguments: argparse.Namespace, problem: PreparedData, studies: dict[str, Study]
) -> None:
    for name, study in studies.items():
        path = free_name(f"tune-{problem.name}", ".png")
        if arguments.picture is not None:
            path = Path(arguments.picture)
            if name == "fine":
                path = path.with_stem(f"{path.stem}-fine")
        title = f"{problem.name}: dev {problem.measured} of {len(study.trials)} trials"
        parallel_coordinates(study, path, title=title)
        write(f"picture {path}\n")
