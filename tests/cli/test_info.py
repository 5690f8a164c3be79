"""``gdopt info`` tells every version, the device and its driver, or what is missing."""

import json
import re
import sys
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest

from gdopt.arrays import backend
from gdopt.cli import info

PROPERTIES = {
    "name": b"NVIDIA H200",
    "major": 9,
    "minor": 0,
    "totalGlobalMem": 150_754_820_096,
}
OPENMP = {"user_api": "openmp", "internal_api": "openmp", "num_threads": 2}


@pytest.fixture
def no_cupy(monkeypatch):
    """Be without CuPy, and outside of the project's images."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setitem(info.PACKAGES, "cupy", ("no-such-distribution",))
    monkeypatch.delenv("GDOPT_IMAGE", raising=False)
    monkeypatch.setattr(info, "cuda_extra", lambda: "cuda12x")
    backend._cupy.cache_clear()
    yield
    backend._cupy.cache_clear()


@pytest.fixture
def no_driver(no_cupy, monkeypatch):
    """Be with CuPy, and without what it runs on."""
    cupy = SimpleNamespace(is_available=lambda: False, __version__="14.2.0")
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(info.PACKAGES, "cupy", ("numpy",))

    def no_library(name):
        raise OSError(name)

    monkeypatch.setattr("gdopt.arrays.backend.ctypes.CDLL", no_library)


@pytest.fixture
def gpu(stand_in_cupy, monkeypatch):
    """Put an H200 in place, with CUDA 12.9 under a driver of CUDA 13.0."""
    runtime = SimpleNamespace(
        getDeviceProperties=lambda number: {0: PROPERTIES}[number],
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 12090,
    )
    stand_in_cupy.cuda.runtime = runtime
    stand_in_cupy.cuda.Device = lambda: SimpleNamespace(id=0)
    stand_in_cupy.cuda.nvrtc = SimpleNamespace(getVersion=lambda: (12, 9))
    monkeypatch.setattr(info, "_driver", lambda: "580.65.06")


def rows(command):
    """Return what is printed for people: names and values, two spaces apart or more."""
    lines = command("info").out.splitlines()
    return dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines)


def test_every_installed_distribution_is_reported_with_its_version():
    found = info.collect()["distributions"]
    for name in ("numpy", "pytest"):
        assert found[name] == metadata.version(name)
    assert list(found) == sorted(found)


def test_the_blas_and_its_threads_are_those_of_numpy(command):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    if "openblas" not in built["name"]:
        pytest.skip("the BLAS is one that threadpoolctl may not know")
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        told = rows(command)["BLAS"]
    assert told == f"openblas {built['version']}, threads: 1"


def test_numpys_blas_is_reported_where_scipys_is_loaded_as_well(command, monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    pools = [
        {"user_api": "blas", "filepath": f"/lib/{package}.libs/libopenblas.so"}
        | {"internal_api": "openblas", "version": version, "num_threads": 2}
        for package, version in (("a", "1"), ("numpy", "2"), ("scipy", "3"))
    ]
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [OPENMP, *pools])
    assert rows(command)["BLAS"] == "openblas 2, threads: 2"


def test_the_threads_of_openmp_are_reported(command, monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [OPENMP])
    assert rows(command)["OpenMP"] == "openmp, threads: 2"


def test_without_a_driver_no_extra_is_named(no_cupy, command, monkeypatch):
    monkeypatch.setattr(info, "cuda_extra", lambda: None)
    advice = rows(command)["for a GPU"]
    assert advice.startswith("there is no NVIDIA driver; CUDA 12 needs")
    assert "pip" not in advice


def test_a_blas_that_threadpoolctl_does_not_know_is_unknown(command, monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [OPENMP])
    told = rows(command)["BLAS"]
    assert told == "unknown: no BLAS that threadpoolctl knows is loaded"


def test_without_threadpoolctl_the_blas_is_unknown(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    told = rows(command)["BLAS"]
    assert told.startswith("unknown: the name of BLAS needs threadpoolctl, which is")


def test_the_seed_of_a_training_is_reported(command):
    pytest.importorskip("rich")
    assert info.collect()["default_seed"] == 0
    assert "mini-batches (0)" in " ".join(command("train", "--help").out.split())


@pytest.mark.usefixtures("gpu")
def test_a_gpu_is_reported_with_its_driver_and_cuda(command):
    found = json.loads(command("info", "--json").out)
    assert found["gpu"] == "the GPU (NVIDIA H200), with CuPy"
    assert found["advice"] is None
    assert found["cuda"] == {
        "device": "NVIDIA H200",
        "capability": [9, 0],
        "memory_bytes": 150_754_820_096,
        "driver": "580.65.06",
        "driver_cuda": "13.0",
        "runtime": "12.9",
        "nvrtc": "12.9",
    }
    lines = rows(command)
    assert lines["driver"] == "580.65.06"
    assert lines["driver's CUDA"] == "13.0"
    assert lines["CUDA runtime"] == lines["NVRTC"] == "12.9"
    assert "for a GPU" not in lines


@pytest.mark.usefixtures("no_cupy")
def test_without_cupy_it_says_what_to_install(command):
    found = json.loads(command("info", "--json").out)
    assert found["cuda"] is None
    assert found["gpu"].startswith("none: CuPy is missing: pip install")
    line = 'pip install -e ".[cuda12x]" in a checkout of gdopt'
    assert found["advice"] == f"{line}, for the driver found"
    assert rows(command)["for a GPU"] == found["advice"]


@pytest.mark.usefixtures("no_driver")
def test_the_image_of_the_gpu_says_how_to_run_it(command, monkeypatch):
    monkeypatch.setenv("GDOPT_IMAGE", "gdopt")
    found = json.loads(command("info", "--json").out)
    assert found["gpu"].startswith("none: the NVIDIA driver is missing")
    assert "docker run --gpus all gdopt info" in found["advice"]
    assert "NVIDIA Container Toolkit" in found["advice"]
    assert "525" in found["advice"]


@pytest.mark.usefixtures("no_cupy")
def test_the_image_of_the_cpu_names_the_other_one(command, monkeypatch):
    monkeypatch.setenv("GDOPT_IMAGE", "gdopt:cpu")
    found = json.loads(command("info", "--json").out)
    assert "docker build -f docker/gpu.Dockerfile -t gdopt ." in found["advice"]
    assert "docker run --gpus all gdopt info" in found["advice"]
    assert found["environment"]["GDOPT_IMAGE"] == "gdopt:cpu"


@pytest.mark.usefixtures("no_driver")
def test_outside_an_image_no_container_is_spoken_of(command):
    advice = json.loads(command("info", "--json").out)["advice"]
    assert "nvidia-smi" in advice
    assert "docker" not in advice


@pytest.mark.parametrize(
    ("version", "text"), [(12090, "12.9"), (13020, "13.2"), (11080, "11.8")]
)
def test_cudas_numbers_are_written_as_people_do(version, text):
    assert info._dotted(version) == text


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
@pytest.mark.parametrize(
    ("script", "driver"),
    [
        ("echo 580.65.06; echo 580.65.06", "580.65.06"),
        ("echo no devices were found >&2; exit 6", None),
        ("true", None),
    ],
)
def test_the_driver_is_that_of_nvidia_smi(tmp_path, monkeypatch, script, driver):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert info._driver() == driver


def test_without_nvidia_smi_no_driver_is_made_up(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert info._driver() is None


def test_packages_that_are_not_there_are_named_in_a_line(command, monkeypatch):
    monkeypatch.setitem(info.PACKAGES, "torch", ("no-such-distribution",))
    found = json.loads(command("info", "--json").out)
    assert found["packages"]["torch"] is None
    lines = rows(command)
    assert "torch" in lines["not installed"].split(", ")
    assert "numpy" not in lines["not installed"].split(", ")
    assert "torch" not in lines
