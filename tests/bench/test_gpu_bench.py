"""The GPU suite: rehearsed without one, its sums, and that it waits for the device."""

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH / "gpu"))

import cases  # noqa: E402 - beside the scripts of the bench
import cases_gpu  # noqa: E402
import run_tests  # noqa: E402
import summary  # noqa: E402
from cases import Case  # noqa: E402


def row(case, contender, seconds, **told):
    return {"case": case, "contender": contender, "seconds": seconds, **told}


META = {"device": "A GPU", "driver": "1.2", "commit": "abc", "versions": {"jax": "1"}}
ROWS = [
    {"jobs": ["copy-cupy", "ewa_f32_1e6-optax", "late-cupy"]},
    {"case": "meta", "contender": "machine", "meta": META},
    {"case": "copy", "contender": "cupy", "begun": True},
    row("copy", "cupy", 2.0, bytes=8),
    row("adam_f32_1e8", "gdopt", 4.0, bytes=28),
    row("adam_f32_1e8", "torch_fused", 5.0, bytes=28),
    row("own_f32_1e8", "gdopt", 5.0, bytes=28),
    row("adam_f32_1e8_apart", "gdopt", 10.0, bytes=28),
    row("mlp_b128_captured", "gdopt", 0.5, batch=128),
    row("mlp_b128_captured", "torch_reduce_overhead", 0.75, batch=128),
    row("only_a_peer", "optax", 1.0, bytes=1),
    {"case": "host", "contender": "a step", "host_seconds": 1e-5, "least": 9e-6},
    {"case": "host", "contender": "nodes of a step", "nodes": [48]},
    {"case": "ewa_f32_1e6", "contender": "optax", "failed": "XlaError: no\nmore"},
    {"case": "ewa_f32_1e7", "contender": "optax", "left_out": "ImportError: jax"},
]
WARM = [
    {"case": "a", "contender": "gdopt", "compiled": {"programs": 2, "seconds": 0.5}},
    {"case": "b", "contender": "gdopt", "compiled": {"programs": 1, "seconds": 0.25}},
    {"case": "b", "contender": "cupy", "compiled": {"programs": 9, "seconds": 9.0}},
]


def test_the_summary_sets_times_against_the_copy_and_the_peers():
    assert summary.summarize(ROWS, WARM) == {
        "meta": META,
        "cases": {
            "copy": {"seconds": 2.0, "bytes_per_second": 4.0},
            "adam_f32_1e8": {
                "seconds": 4.0,
                "bytes_per_second": 7.0,
                "share_of_copy": 1.75,
                "ratio_torch_fused": 1.25,
            },
            "own_f32_1e8": {
                "seconds": 5.0,
                "bytes_per_second": 5.6,
                "share_of_copy": 1.4,
                "ratio_built_in": 0.8,
            },
            "adam_f32_1e8_apart": {
                "seconds": 10.0,
                "bytes_per_second": 2.8,
                "share_of_copy": 0.7,
                "ratio_torch_fused": 0.5,
            },
            "mlp_b128_captured": {
                "seconds": 0.5,
                "samples_per_second": 256.0,
                "ratio_torch_reduce_overhead": 1.5,
            },
        },
        "host": {"a step": 1e-5, "nodes of a step": [48]},
        "compiled": {"programs": 3, "seconds": 0.75},
        "missing": {
            "ewa_f32_1e6-optax": "XlaError: no\nmore",
            "ewa_f32_1e7-optax": "ImportError: jax",
            "late-cupy": "the time was over",
        },
    }


def test_the_table_names_every_case_and_peer_and_what_is_missing():
    lines = summary.table(summary.summarize(ROWS, WARM)).splitlines()
    assert lines[:2] == ["device A GPU, driver 1.2, date None", "jax 1"]
    assert any("torch_reduce_overhead 1.50" in line for line in lines)
    assert lines[9:] == [
        "host: a step: 10.0 us",
        "host: nodes of a step: [48]",
        "gdopt compiled 3 programs for the benchmark in 0.8 s, all processes together",
        "no figure: the time was over: late-cupy",
        "no figure: XlaError: no: ewa_f32_1e6-optax",
        "no figure: ImportError: jax: ewa_f32_1e7-optax",
    ]


def test_a_summary_is_made_of_what_was_written_before_a_kill(tmp_path, capsys):
    lines = [json.dumps(row) for row in ROWS[:5]]
    (tmp_path / "results.jsonl").write_text("\n".join([*lines, '{"case": "ad']))
    summary.main(tmp_path)
    found = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert set(found["cases"]) == {"copy", "adam_f32_1e8"}
    assert set(found["missing"]) == {"ewa_f32_1e6-optax", "late-cupy"}
    assert found["meta"] == META
    (tmp_path / "results.jsonl").unlink()
    summary.main(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["cases"] == {}


@pytest.mark.parametrize(
    ("name", "each"),
    [
        ("ewa_f32_1e8", 12),
        ("momentum_f32_1e8", 20),
        ("rmsprop_f32_1e8", 20),
        ("adam_f32_1e8", 28),
        ("adam_clip_f32_1e8", 32),
        ("adam_ema_f32_1e8", 36),
        ("adam_f32_state_bf16_1e8", 20),
        ("adam_bf16_1e8", 22),
        ("adam_bf16_master_1e8", 28),
        ("adam_bf16_all_1e8", 14),
    ],
)
def test_the_bytes_of_a_step_are_counted(name, each):
    (case,) = [case for case in cases_gpu.cases() if case.name == name]
    assert case.bytes == each * case.elements


def test_the_cases_are_those_that_results_are_quoted_by():
    names = [case.name for case in (*cases_gpu.cases(), *cases_gpu.trainings())]
    assert len(names) == len(set(names))
    assert {
        "adam_f32_1e8",
        "adam_f32_200x1M",
        "adam_f32_1000x1024",
        "adam_f32_10000x64",
        "adam_f32_10000x64_apart",
        "adam_clip_f32_1e8",
        "mlp_b128_captured",
        "mlp_b1024",
    } <= set(names)


def test_the_clock_of_the_device_waits_for_all_that_was_asked_for(cp, monkeypatch):
    done = []

    class Event:
        def record(self):
            done.append("record")

        def synchronize(self):
            done.append("synchronize")

    monkeypatch.setattr(cp.cuda, "Event", Event)
    monkeypatch.setattr(cp.cuda, "get_elapsed_time", lambda *_: 1500.0)
    names = runpy.run_path(str(BENCH / "gpu" / "gpu_clock.py"))
    clock = names["DeviceClock"](lambda: done.append("wait"))
    assert clock() == 1.5
    assert done == ["wait", "record", "synchronize"] * 2


def test_arrays_are_drawn_on_the_device_and_are_the_hosts(cp, monkeypatch):
    monkeypatch.setattr(cases, "NOISE", 100)
    shapes = ((70,), (3, 50), (64,))
    case = cases_gpu.GpuCase("three", shapes)
    host = Case("three", shapes)
    for made, expected in (
        (case.params(), host.params()),
        (case.gradients(), host.gradients()),
    ):
        assert all(isinstance(array, cp.ndarray) for array in made)
        for one, other in zip(made, expected, strict=True):
            np.testing.assert_array_equal(one.get(), other)
    assert all(isinstance(array, np.ndarray) for array in case.small().params())


SUITE = """
import os, time
import pytest
pytestmark = pytest.mark.gpu

def test_passes(): pass
def test_fails(): assert 1 + 1 == 3
def test_skips(): pytest.skip("not here")
def test_crashes(): os._exit(3)
def test_goes_on(): pass
def test_hangs(): time.sleep(60)
@pytest.mark.parametrize("word", ["a b", "c-d"])
def test_takes(word): assert word == "a b"
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Return the names of tests of which some fail, crash or hang."""
    folder = tmp_path / "tests" / "device"
    folder.mkdir(parents=True)
    (folder / "test_some.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu")
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    path = {"PYTHONPATH": str(BENCH / "gpu")}
    monkeypatch.setattr(run_tests, "ENVIRONMENT", run_tests.ENVIRONMENT | path)
    names, wrong = run_tests.collect(None)
    assert not wrong
    return names


@pytest.mark.slow
def test_a_test_that_crashes_or_hangs_fails_alone(suite, monkeypatch):
    monkeypatch.setattr(run_tests, "STALL", 10.0)
    run = run_tests.Run(time.monotonic() + 100)
    run.take(suite)
    found = {name.split("test_")[-1]: result for name, result in run.results.items()}
    assert {name: result.outcome for name, result in found.items()} == {
        "passes": "passed",
        "fails": "failed",
        "skips": "skipped",
        "crashes": "failed",
        "goes_on": "passed",
        "hangs": "failed",
        "takes[a b]": "passed",
        "takes[c-d]": "failed",
    }
    assert "assert (1 + 1) == 3" in found["fails"].text
    assert "not here" in found["skips"].text
    assert "ended with 3" in found["crashes"].text
    assert "no end in 10 s" in found["hangs"].text
    whole, short = run_tests.report(suite, run, "")
    assert whole.startswith("8 GPU tests: 3 passed, 4 failed, 1 skipped\n")
    assert len(short.splitlines()) == 5


def test_what_the_time_is_not_enough_for_was_not_run(suite):
    run = run_tests.Run(time.monotonic() - 1)
    run.take(suite)
    assert run.results == {}
    whole, _ = run_tests.report(suite, run, "ImportError")
    assert whole.startswith("8 GPU tests: 8 not run\nnot all could be collected")


def test_shares_have_every_test_once():
    names = [f"tests/test_a.py::test_{k}" for k in range(101)]
    parts = run_tests.shares(names, 12)
    assert [name for part in parts for name in part] == names
    assert max(map(len, parts)) == 4
    assert run_tests.shares([], 12) == []


@pytest.mark.slow
@pytest.mark.peers("jax", "optax", "torch")
@pytest.mark.usefixtures("cuda")
def test_the_script_is_rehearsed(tmp_path):
    only = "copy or prefetch or mlp_b128_captured-gdopt or 1000x1024_apart-gdopt"
    only += " or adam_clip_f32_1e8-gdopt or adam_f32_1e6 or adam_ema_f32_1e8-gdopt"
    only += " or host-loss_and_grads or host-gdopt:"
    chosen = {"GDOPT_BENCH_REHEARSE": "1", "PYTHON": sys.executable}
    done = subprocess.run(
        [str(BENCH / "on_gpu.sh"), str(tmp_path)],
        env=os.environ | chosen | {"GDOPT_BENCH_ONLY": only},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert set(found["cases"]) == {
        "copy",
        "mlp_b128_captured",
        "adam_f32_1000x1024_apart",
        "adam_clip_f32_1e8",
        "adam_ema_f32_1e8",
        "adam_f32_1e6",
    }
    peers = {"torch_fused", "torch_foreach", "optax", "cupy"}
    assert {f"ratio_{peer}" for peer in peers} <= set(found["cases"]["adam_f32_1e6"])
    assert {"device", "driver", "versions", "commit", "date"} <= set(found["meta"])
    assert {"loss_and_grads, b128", "gdopt: step, 200 arrays apart"} <= set(
        found["host"]
    )
    told = "exit 0; benchmark: exit 0; plan: exit 0; summary: exit 0"
    assert told in done.stdout
    planned = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert planned["rehearsed"]
    assert max(planned["predicted_over_measured"]) < 1.05
    assert set(planned["meta"]) == set(found["meta"])
    assert len(list(tmp_path.iterdir())) <= 8
    tests = (tmp_path / "tests.txt").read_text(encoding="utf-8")
    assert re.match(r"\d+ GPU tests: \d+ passed\n", tests)
    goes_on_behind_what_died(tmp_path)


def goes_on_behind_what_died(folder):
    """See that a second run measures what has no row, but not what it died in."""
    file = folder / "results.jsonl"
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    keys = [(one.get("case"), one.get("contender")) for one in lines]
    died, late = keys[-1], keys[-3]
    kept = [one for one, key in zip(lines, keys, strict=True) if key != late]
    kept = [one for one in kept if "begun" in one or one is not lines[-1]]
    file.write_text("".join(json.dumps(one) + "\n" for one in kept), "utf-8")
    only = " or ".join("-".join(key) for key in (died, late))
    done = subprocess.run(
        [sys.executable, BENCH / "gpu" / "speed.py", folder],
        env=os.environ
        | {"GDOPT_BENCH_REHEARSE": "1", "GDOPT_BENCH_SCALE": "100000"}
        | {"GDOPT_BENCH_ONLY": only},
        check=False,
    )
    assert done.returncode == 3
    new = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    new = {(one["case"], one["contender"]): one for one in new[len(kept) :]}
    assert set(new) == {died, late}
    assert new[died]["failed"] == "the process died, or took too long"
    assert new[late]["seconds"] > 0


@pytest.mark.skipif(os.name != "posix", reason="groups of processes are POSIX's")
def test_the_gpus_script_ends_by_ctrl_c(tmp_path):
    bash = shutil.which("bash")
    if bash is None or shutil.which("timeout") is None:
        pytest.skip("needs bash and timeout")
    waiting = tmp_path / "python"
    program = f"cd '{tmp_path}'; : > ready-$$; sleep 20; touch late"
    waiting.write_text(f"#!{bash}\n{program}\n")
    waiting.chmod(0o755)
    with subprocess.Popen(
        [bash, BENCH / "on_gpu.sh", tmp_path / "out"],
        env=os.environ | {"PYTHON": str(waiting)},
        stdout=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        while not list(tmp_path.glob("ready-*")):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 130
    assert len(list(tmp_path.glob("ready-*"))) == 1
    assert not (tmp_path / "late").exists()
