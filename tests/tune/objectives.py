"""Objectives that other processes can import, and a search to be killed."""

import multiprocessing
import os
import signal
import sys
import time

from gdopt.tune import (
    choice,
    log_one_minus,
    log_uniform,
    power_of_two,
    tune,
    uniform_int,
)

SPACE = {
    "rate": log_uniform(1e-4, 1),
    "beta": log_one_minus(0.9, 0.999),
    "units": uniform_int(5, 9),
    "size": power_of_two(8, 64),
    "kind": choice(["a", "b", "c"]),
}


def near(trial):
    """Score how near the rate is to 0.1, and report it in four steps.

    At the trial and step in DIE_AT, the process that tunes is killed.
    """
    score = -abs(trial["rate"] - 0.1)
    for step in range(4):
        trial.report(score * (5 - step), step=step)
        if os.environ.get("DIE_AT") == f"{trial.number}-{step}":
            tuner = (
                multiprocessing.parent_process() or multiprocessing.current_process()
            )
            os.kill(tuner.pid, signal.SIGKILL)
            time.sleep(60)  # until this process has noticed
    return score


def slow_near(trial):
    """Score as `near`, in a tenth of a second, so that a search can be broken off."""
    time.sleep(0.1)
    return near(trial)


def die_at_two(trial):
    """Score as `near`, report how loud Optuna is, and kill a worker in trial 2."""
    import optuna

    if trial.number == 2 and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    score = near(trial)
    trial.report(float(optuna.logging.get_verbosity()), step=4)
    return score


def wait_and_tell(trial):
    """Say in a file who runs, and take long."""
    with open(os.environ["TOLD"], "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write(f"{os.getpid()}\n")
    time.sleep(60)
    return near(trial)


if __name__ == "__main__":
    path, method, jobs = sys.argv[1:]
    options = {"method": method, "prune": jobs == "1", "jobs": int(jobs)}
    tune(near, SPACE, trials=12, seed=3, storage=path, **options)
