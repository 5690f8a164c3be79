import json
import re

import numpy as np
import pytest

from gdopt.planner import throughput
from gdopt.training import load

pytest.importorskip("rich")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
CPU = ("--backend", "numpy")


@pytest.fixture(autouse=True)
def short(monkeypatch, numpy_engine):
    """Make the turns of timing short."""
    monkeypatch.setattr(throughput, "SECONDS", 1e-4)
    monkeypatch.setattr(throughput, "ATTEMPTS", 1)


@pytest.fixture
def many(tmp_path):
    """Return the path of a file of 20,000 examples, of which 12,000 are trained on."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 20_000)
    X = rng.standard_normal((20_000, 10), dtype=np.float32) + y[:, None]
    np.savez(tmp_path / "many.npz", X=X.astype(np.float32), y=y)
    return tmp_path / "many.npz"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_digits_are_planned_with_a_table_json_and_a_picture(command, tmp_path):
    found = command("plan", "digits", *CPU, "--json", "plan.json")
    assert found.code == 0
    assert found.out.startswith("digits: 1,079 training examples\nbatch size 32: ")
    assert "\n>    32       34 " in found.out
    assert "the course's rule, for comparison: up to 2,000 examples" in found.out
    assert found.out.endswith("\npicture plan-digits.png\n")
    plan = read(tmp_path / "plan.json")
    assert plan["micro_batch_size"] == 32
    sizes = [row["batch_size"] for row in plan["rows"]]
    assert sizes == [32, 64, 128, 256, 512, 1024, 1079]
    for row in plan["rows"]:
        assert row["fits"]
        assert row["examples_per_second"] > 0
        assert row["predicted_bytes"] == pytest.approx(row["measured_bytes"], rel=0.05)
    assert (tmp_path / "plan-digits.png").read_bytes()[:4] == b"\x89PNG"


def test_a_file_of_many_examples_is_planned(command, many, tmp_path):
    found = command("plan", many, *CPU, "--json", "plan.json", "--picture", "my.png")
    assert found.code == 0
    plan = read(tmp_path / "plan.json")
    assert plan["decided_by"] in {"goodput", "epochs"}
    assert plan["examples"] == 12_000
    assert plan["noise_scale"]["examples"] == 2048
    assert (tmp_path / "my.png").exists()


@pytest.mark.newest
def test_pictures_that_are_there_are_let_be(command, tmp_path):
    (tmp_path / "plan-digits.png").write_text("mine")
    options = ("--sizes", "64,128")
    assert "picture plan-digits-2.png" in command("plan", *CPU, *options).out
    assert "picture plan-digits-3.png" in command("plan", *CPU, *options).out
    assert (tmp_path / "plan-digits.png").read_text() == "mine"


def test_another_devices_memory_and_margin_decide(command, tmp_path):
    options = ("--memory", "2.5MB", "--margin", "100kB", "--json", "plan.json")
    found = command("plan", "digits", *CPU, *options)
    assert found.code == 0
    plan = read(tmp_path / "plan.json")
    assert plan["micro_batch_size"] == 32
    assert [row["fits"] for row in plan["rows"]][::6] == [True, False]


def test_nothing_that_fits_is_an_error_with_the_table(command, tmp_path):
    found = command("plan", "digits", *CPU, "--memory", "1MB")
    assert found.code == 2
    assert "gdopt: error: no mini-batch fits the memory: 1.00 MB" in found.err
    assert "predicted not to fit" in found.err
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sizes", "64,32"), "must rise, as 64,128,256, got '64,32'"),
        (("--sizes", "0"), "must be whole numbers of at least 1"),
        (("--memory", "lots"), "memory must be bytes, or a number with one of the"),
        (("nowhere.csv",), "data must be digits or a file that exists"),
    ],
)
def test_bad_options_are_refused(command, options, message):
    found = command("plan", *options, *CPU)
    assert found.code == 2
    assert message in found.err


@pytest.mark.newest
def test_training_may_plan_its_batch_size(command, tmp_path):
    options = ("--batch-size", "auto", "--epochs", 2)
    found = command("train", "digits", *CPU, *options, "--out", "planned")
    assert found.code == 0
    settings = read(tmp_path / "planned" / "settings.json")
    size = settings["batch_size"]
    assert found.out.startswith(f"batch size {size}: ")
    assert f"mini-batches of {size};" in found.out
    assert settings["plan"]["micro_batch_size"] == size
    # Planning has moved nothing: the same size gives the same bits.
    again = command(
        "train", *CPU, "--batch-size", size, "--epochs", 2, "--out", "given"
    )
    assert again.code == 0
    one, other = (load(tmp_path / name / "model.npz") for name in ("planned", "given"))
    for name, array in one["params"].items():
        assert array.tobytes() == other["params"][name].tobytes()


def test_a_pipe_gets_a_line_for_each_kind_of_trial(command):
    found = command("plan", "digits", *CPU, "--sizes", "64,128")
    kinds = [line.partition(": ")[2] for line in found.err.splitlines()]
    assert kinds == [
        "first steps, 32 examples",
        *(f"memory of {size} examples" for size in ("64", "128", "1,079")),
        "examples a second",
        "noise of the gradients",
        "64 examples once more",
    ]
    assert re.match(r"planning 1/\d+: ", found.err)
