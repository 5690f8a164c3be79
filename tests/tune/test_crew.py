import logging
import os
import signal
import subprocess
import sys
import time

import pytest

import gdopt
from gdopt.tune import tune, workers as crew

pytest.importorskip("optuna")
from tune.objectives import SPACE, die_at_two, near


@pytest.fixture(scope="module")
def beside():
    """Return the trials of two processes, of which one dies in trial 2."""
    return tune(die_at_two, SPACE, trials=7, seed=1, jobs=2).trials


@pytest.mark.slow
def test_processes_find_what_one_finds(beside):
    alone = tune(die_at_two, SPACE, trials=7, seed=1, jobs=1).trials
    for one, other in zip(alone, beside, strict=True):
        assert one.number == other.number
        if other.number != 2:
            assert one.values == other.values
            assert (one.score, one.reports) == (other.score, other.reports)


@pytest.mark.slow
def test_a_process_that_dies_is_a_trial_that_failed_and_takes_none_along(beside):
    states = [trial.state for trial in beside]
    assert states == ["complete"] * 2 + ["failed"] + ["complete"] * 4
    assert beside[2].error == "the process ended with exit code -9"


@pytest.mark.slow
def test_reports_from_processes_prune():
    study = tune(near, SPACE, trials=14, seed=1, jobs=2, prune=True)
    pruned = [trial for trial in study.trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        assert len(trial.reports) < 4 or trial.score is None


def test_processes_share_the_cores_and_the_environment_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    with crew._shared_cores(4):
        assert os.environ["OPENBLAS_NUM_THREADS"] == "2"
        assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    with crew._shared_cores(20):
        assert os.environ["OPENBLAS_NUM_THREADS"] == "1"


def test_an_objective_that_does_not_pickle_is_refused(tmp_path):
    message = "objective must be picklable if jobs is above 1"
    with pytest.raises(gdopt.ArgumentTypeError, match=message):
        tune(lambda _: 0.0, SPACE, trials=1, seed=0, jobs=2, storage=tmp_path / "j")
    assert not (tmp_path / "j").exists()


@pytest.mark.newest
@pytest.mark.slow
def test_a_script_without_a_guard_is_warned_of_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from gdopt.tune import tune, uniform\n"
        "def objective(trial):\n"
        "    return trial['x']\n"
        "tune(objective, {'x': uniform(0, 1)}, trials=2, seed=0, jobs=2)\n"
    )
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "a process for trials exited while starting" in done.stderr


@pytest.mark.newest
@pytest.mark.slow
def test_ctrl_c_ends_all_processes(tmp_path):
    told = tmp_path / "told"
    program = (
        "from gdopt.tune import tune\n"
        "from tune.objectives import SPACE, wait_and_tell\n"
        "if __name__ == '__main__':\n"
        "    tune(wait_and_tell, SPACE, trials=4, seed=0, jobs=2)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(program)
    environment = {
        **os.environ,
        "TOLD": str(told),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, str(script)]
    running = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        for _ in range(600):
            if told.exists() and len(told.read_text().split()) == 2:
                break
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        _, said = running.communicate(timeout=30)
    finally:
        running.kill()
    assert b"KeyboardInterrupt" in said
    assert said.count(b"Traceback") == 1  # the processes for trials say nothing
    assert running.returncode not in {0, None}
    for process in map(int, told.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@pytest.mark.slow
def test_optuna_is_quiet_in_every_process(beside):
    loud = [dict(trial.reports)[4] for trial in beside if trial.number != 2]
    assert loud == [logging.WARNING] * 6
