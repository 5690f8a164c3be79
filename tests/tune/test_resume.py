import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

import gdopt
from gdopt.tune import log_uniform, tune, uniform

pytest.importorskip("optuna")
from tune import objectives
from tune.objectives import SPACE, near


@pytest.fixture
def file(tmp_path):
    return tmp_path / "search.db"


def facts(study):
    return [
        (t.number, dict(t.values), t.state, t.score, t.reports) for t in study.trials
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "jobs"), [("random", 1), ("tpe", 1), ("random", 2)])
def test_a_killed_search_goes_on_as_if_nothing_had_happened(method, jobs, file):
    options = {"trials": 12, "seed": 3, "method": method, "prune": jobs == 1}
    whole = tune(near, SPACE, **options)
    if jobs == 1:
        assert {trial.state for trial in whole.trials} == {"complete", "pruned"}
    command = [sys.executable, objectives.__file__, str(file), method, str(jobs)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run(
        command,
        env={**environment, "DIE_AT": "6-2"},
        check=False,
        timeout=60,
        stderr=subprocess.PIPE,
    )
    assert killed.returncode == -9
    with closing(sqlite3.connect(file)) as connection:
        states = connection.execute("SELECT number, state FROM trials").fetchall()
    assert (6, "RUNNING") in states
    reported = []
    resumed = tune(
        near,
        SPACE,
        **options,
        storage=file,
        progress=lambda trial, done, _: reported.append((trial.number, done)),
    )
    assert facts(resumed) == facts(whole)
    ended = sum(state != "RUNNING" for _, state in states)
    first = min(number for number, state in states if state == "RUNNING")
    assert reported[0] == (first, ended + 1)


@pytest.mark.slow
def test_an_interrupted_trial_is_run_anew_with_its_values(file):
    seen = []

    def objective(trial):
        seen.append((trial.number, dict(trial)))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return near(trial)

    with pytest.raises(KeyboardInterrupt):
        tune(objective, SPACE, trials=5, seed=1, storage=file)
    study = tune(objective, SPACE, trials=5, seed=1, storage=file)
    assert [number for number, _ in seen] == [0, 1, 2, 2, 3, 4]
    assert seen[2] == seen[3]
    assert facts(study) == facts(tune(near, SPACE, trials=5, seed=1))


@pytest.mark.slow
def test_a_search_takes_more_trials_but_no_fewer(file):
    first = tune(near, SPACE, trials=3, seed=1, storage=file)
    more = tune(near, SPACE, trials=6, seed=1, storage=file)
    assert facts(more)[:3] == facts(first)
    assert facts(more) == facts(tune(near, SPACE, trials=6, seed=1))
    calls = []
    again = tune(calls.append, SPACE, trials=2, seed=1, storage=file)
    assert calls == []
    assert facts(again) == facts(more)
    assert again.trials[4].seconds == more.trials[4].seconds > 0


def test_failures_are_kept_too(file):
    def objective(trial):
        message = f"trial {trial.number}"
        raise RuntimeError(message)

    tune(objective, SPACE, trials=2, seed=0, storage=file)
    study = tune(objective, SPACE, trials=2, seed=0, storage=file)
    assert [t.error for t in study.failed] == [
        "RuntimeError: trial 0",
        "RuntimeError: trial 1",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 2}, "seed must be 1, as when the search 'search' began, got 2"),
        ({"method": "tpe"}, "method must be 'random', as when"),
        ({"prune": True}, "prune must be False, as when"),
        ({"direction": "minimize"}, "direction must be 'maximize', as when"),
        (
            {"space": SPACE | {"rate": log_uniform(1e-3, 1)}},
            "space must be .*low=0.0001",
        ),
        ({"space": dict(reversed(SPACE.items()))}, "space must be"),
        ({"space": {f"my {k}": v for k, v in SPACE.items()}}, "space must be"),
    ],
)
def test_another_search_by_the_same_name_is_refused(options, message, file):
    tune(near, SPACE, trials=2, seed=1, storage=file)
    before = file.read_bytes()
    given = {"space": SPACE, "seed": 1, **options}
    with pytest.raises(gdopt.StateError, match=message):
        tune(near, given.pop("space"), trials=4, storage=file, **given)
    assert file.read_bytes() == before


@pytest.mark.slow
def test_one_file_keeps_several_searches(file):
    coarse = tune(near, SPACE, trials=3, seed=1, storage=file)
    fine = tune(near, {"rate": uniform(0, 1)}, trials=2, seed=1, storage=file, name="f")
    assert len(fine.trials) == 2
    assert facts(tune(near, SPACE, trials=3, seed=1, storage=file)) == facts(coarse)


@pytest.mark.parametrize("content", [b"not a database", b"{}\n", b"\xff\n", b" " * 600])
def test_another_file_is_refused_and_stays_as_it_is(content, file):
    file.write_bytes(content)
    message = (
        "storage must be an Optuna database, but .* is not: file is not a database"
    )
    with pytest.raises(gdopt.StateError, match=message):
        tune(near, SPACE, trials=1, seed=0, storage=file)
    assert file.read_bytes() == content


@pytest.mark.parametrize("table", ["bookmarks", "Trials_of_drugs"])
def test_the_database_of_another_program_stays_as_it_is(table, file):
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"CREATE TABLE {table} (name TEXT)")
    before = file.read_bytes()
    with pytest.raises(gdopt.StateError, match=f"an Optuna database, .*: {table}"):
        tune(near, SPACE, trials=1, seed=0, storage=file)
    assert file.read_bytes() == before


def test_a_database_of_another_version_of_optuna_stays_as_it_is(file):
    tune(near, SPACE, trials=1, seed=0, storage=file)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99'")
    before = file.read_bytes()
    with pytest.raises(gdopt.StateError, match="storage must fit the installed Optuna"):
        tune(near, SPACE, trials=2, seed=0, storage=file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["a?mode=memory.db", "50%25 {x}#1.db", "ä b.db"])
def test_the_file_may_have_any_name(name, tmp_path):
    first = tune(near, SPACE, trials=2, seed=0, storage=tmp_path / name)
    again = tune(near, SPACE, trials=2, seed=0, storage=tmp_path / name)
    assert facts(first) == facts(again)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.lock"]


def test_an_empty_file_is_taken(file):
    file.touch()
    assert len(tune(near, SPACE, trials=2, seed=0, storage=file).trials) == 2


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(gdopt.ArgumentError, match="storage must name a file"):
        tune(near, SPACE, trials=1, seed=0, storage=tmp_path)


def test_a_study_of_another_program_is_refused(file):
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(storage=storage, study_name="search")
    finally:
        optuna.logging.set_verbosity(level)
    study.ask()
    storage.remove_session()
    storage.engine.dispose()
    with pytest.raises(gdopt.StateError, match="must be that of a gdopt search"):
        tune(near, SPACE, trials=1, seed=0, storage=file, direction="minimize")


def test_a_file_with_a_running_search_is_refused(file):
    def objective(trial):
        with pytest.raises(gdopt.StateError, match="another search is running"):
            tune(near, SPACE, trials=1, seed=0, storage=file)
        return near(trial)

    study = tune(objective, SPACE, trials=2, seed=1, storage=file)
    assert study.failed == []
    assert len(tune(near, SPACE, trials=3, seed=1, storage=file).trials) == 3
    names = [file.name, f"{file.name}.lock"]
    assert sorted(path.name for path in file.parent.iterdir()) == names


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such device")
def test_a_device_is_refused():
    with pytest.raises(gdopt.ArgumentError, match=r"storage .* got '/dev/null'"):
        tune(near, SPACE, trials=1, storage="/dev/null")
