"""gdopt train on several ranks, and signals to one of them."""

import json
from types import SimpleNamespace

import pytest
from parallel.ranks import run

import gdopt
from gdopt import cli
from gdopt.cli import main

pytest.importorskip("sklearn")
pytest.importorskip("rich")
SMALL = ["--hidden=8", "--keep-prob=.8", "--batch-norm", "--batch-size=200"]


def losses(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        (r["step"], r["loss"], r.get("dev_accuracy")) for r in map(json.loads, lines)
    ]


def test_a_run_has_the_bits_of_one_process_and_continues_without_ranks(
    tmp_path, numpy_engine
):
    one, many = tmp_path / "one", tmp_path / "many"
    first = ["train", "digits", *SMALL, "--epochs=2"]
    job = run(2, "command.py", *first, "--out", many)
    assert job.code == 0, job.text
    for said in ("examples 1079 train", "test accuracy", "run folder"):
        assert job.text.count(said) == 1, job.text
    assert json.loads((many / "settings.json").read_text())["replicas"] == 8
    main([*first, "--replicas=8", "--out", str(one)])
    for epochs in (2, 3):
        if epochs == 3:
            for folder in (one, many):
                main(["train", "--resume", str(folder), "--epochs=3"])
        assert (one / "model.npz").read_bytes() == (many / "model.npz").read_bytes()
        assert losses(one) == losses(many)
        assert len(losses(one)) == 6 * epochs
    names = [sorted(path.name for path in folder.iterdir()) for folder in (one, many)]
    assert names[0] == names[1]


def test_what_is_refused_is_said_once_and_writes_nothing(tmp_path):
    out = tmp_path / "out"
    job = run(2, "command.py", "train", "digits", "--l2=0.RANK", "--out", out)
    assert job.code != 0
    said = "gdopt: error: the setting l2 must be the same on all ranks"
    assert job.text.count(said) == 1, job.text
    assert "Traceback" not in job.text
    assert not out.exists()


def test_a_run_that_diverges_ends_all_ranks_after_its_files_are_written(tmp_path):
    how = ["--optimizer=sgd", "--lr=1e30", "--hidden=8", "--out", tmp_path / "out"]
    job = run(2, "command.py", "train", "digits", *how)
    assert job.code != 0
    said = "gdopt: error: loss must stay finite"
    assert job.text.count(said) == job.text.count("run folder") == 1, job.text
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["stopped"].startswith("DivergenceError")


def test_a_batch_size_is_not_planned_on_several_ranks():
    with pytest.raises(gdopt.ArgumentError, match="got auto: run gdopt plan first"):
        cli._answer(["train", "digits", "--batch-size=auto"], SimpleNamespace(size=2))


def test_a_signal_to_one_rank_saves_and_interrupts_all(tmp_path):
    job = run(3, "signalled_run.py", tmp_path / "run")
    assert job.code == 0, job.text
    assert len(job.lines("INTERRUPTED")) == 3, job.text
    assert len(set(job.lines("WHOLE"))) == 1, job.text
    assert len(job.lines("WHOLE")) == 6
    (begun,) = set(job.lines("FROM"))
    assert begun == "8"  # all have heard of it in step 7
