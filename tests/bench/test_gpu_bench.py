"""The GPU suite: rehearsed without one, its sums, and that it waits for the device."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_cupy
import pytest

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH / "gpu"))

import cases_gpu  # noqa: E402 - beside the scripts of the bench
import summary  # noqa: E402


def entry(case, contender, seconds, **told):
    info = {"case": case, "contender": contender, "steps": 10, **told}
    return {"extra_info": info, "stats": {"median": 10 * seconds}}


FOUND = {
    "machine_info": {"device": "A GPU", "driver": "1.2", "commit": "abc"},
    "benchmarks": [
        entry("copy", "cupy", 2.0, bytes=8),
        entry("adam_f32_1e8", "gdopt", 4.0, bytes=28),
        entry("adam_f32_1e8", "torch_fused", 5.0, bytes=28),
        entry("own_f32_1e8", "gdopt", 5.0, bytes=28),
        entry("mlp_b128_captured", "gdopt", 0.5, batch=128),
        entry("mlp_b128_captured", "torch_reduce_overhead", 0.75, batch=128),
        entry("only_a_peer", "optax", 1.0, bytes=1),
    ],
}


def test_the_summary_sets_times_against_the_copy_and_the_peers():
    assert summary.summarize(FOUND) == {
        "meta": FOUND["machine_info"],
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
            "mlp_b128_captured": {
                "seconds": 0.5,
                "samples_per_second": 256.0,
                "ratio_torch_reduce_overhead": 1.5,
            },
        },
    }


def test_the_table_names_every_case_and_peer():
    text = summary.table(summary.summarize(FOUND))
    assert "device A GPU, driver 1.2" in text
    assert "torch_reduce_overhead 1.50" in text
    assert len(text.splitlines()) == 3 + 4


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


def test_the_clock_of_the_device_waits_for_all_that_was_asked_for(monkeypatch):
    done = []

    class Event:
        def record(self):
            done.append("record")

        def synchronize(self):
            done.append("synchronize")

    with fake_cupy.installed() as cupy:
        monkeypatch.setattr(cupy.cuda, "Event", Event)
        monkeypatch.setattr(cupy.cuda, "get_elapsed_time", lambda *_: 1500.0)
        names = runpy.run_path(str(BENCH / "gpu" / "gpu_clock.py"))
        clock = names["DeviceClock"](lambda: done.append("wait"))
        assert clock() == 1.5
    assert done == ["wait", "record", "synchronize"] * 2


@pytest.mark.slow
@pytest.mark.peers("jax", "optax", "pytest_benchmark", "torch")
def test_the_script_is_rehearsed(tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("the stand-in for CuPy needs g++")
    only = "copy or prefetch or mlp_b128_captured-gdopt or 1000x1024_apart-gdopt"
    only += " or adam_clip_f32_1e8-gdopt or adam_f32_1e6 or adam_ema_f32_1e8-gdopt"
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
    told = "exit 0; benchmark: exit 0; plan: exit 0; summary: exit 0"
    assert told in done.stdout
    planned = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert planned["rehearsed"]
    assert max(planned["predicted_over_measured"]) < 1.05
    assert set(planned["meta"]) == set(found["meta"])


@pytest.mark.skipif(os.name != "posix", reason="groups of processes are POSIX's")
def test_the_gpus_script_ends_by_ctrl_c(tmp_path):
    bash = shutil.which("bash")
    if bash is None or shutil.which("timeout") is None:
        pytest.skip("needs bash and timeout")
    waiting = tmp_path / "python"
    program = f"cd '{tmp_path}'; touch ready-$$; sleep 20; touch late"
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
