"""The locked requirements fit pyproject.toml, and each has the hashes of its files."""

import re
import tomllib
from pathlib import Path

import pytest

packaging = pytest.importorskip("packaging.requirements")
utils = pytest.importorskip("packaging.utils")

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "docker" / "requirements"
NAMES = ("build", "cpu", "gpu", "optax")
COMMON = ("numba", "bfloat16", "train", "tune", "mpi")
EXTRAS = {"cpu": (*COMMON, "bench"), "gpu": ("cuda12x", "nccl12x", *COMMON)}
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}
PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)(?: ; .*)?((?: --hash=sha256:\w{64})+)")
every_lock = pytest.mark.parametrize("name", NAMES)


def entries(name):
    """Return the lines of a lock that are no comments, each with its hashes."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    return [x for x in joined.splitlines() if x.strip() and x.strip()[0] != "#"]


def pins(name):
    """Return the locked versions by their normal names."""
    found = [PIN.fullmatch(line) for line in entries(name)]
    return {utils.canonicalize_name(m[1]): m[2] for m in found if m}


def project():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]


def python():
    """Return the Python of the images, as 3.13."""
    text = (ROOT / "docker" / "cpu.Dockerfile").read_text(encoding="utf-8")
    return re.search(r"python:(\d+\.\d+)\.", text)[1]


def needed(extras):
    """Return what gdopt needs with its extras, without gdopt itself."""
    lines = list(project()["dependencies"])
    for extra in extras:
        lines += project()["optional-dependencies"][extra]
    found = map(packaging.Requirement, lines)
    return [
        need
        for need in found
        if need.name != "gdopt" and (need.marker is None or need.marker.evaluate(LINUX))
    ]


def written(name):
    """Return the requirements of an input file."""
    text = (LOCKS / f"{name}.in").read_text(encoding="utf-8")
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    return [packaging.Requirement(line) for line in lines if line]


def unmet(locked, requirements):
    return [
        str(need)
        for need in requirements
        if not need.specifier.contains(locked.get(utils.canonicalize_name(need.name)))
    ]


@every_lock
def test_every_line_is_a_version_with_its_hashes(name):
    wrong = [line for line in entries(name) if not PIN.fullmatch(line)]
    assert wrong == []
    assert len(entries(name)) == len(pins(name)) > 3


@every_lock
def test_no_place_of_the_machine_that_made_it_is_named(name):
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    assert not re.search(r"file:|https?:|--index|--find-links|/opt/|/home/", text)


@pytest.mark.parametrize("name", EXTRAS)
def test_the_images_fit_the_projects_bounds_and_extras(name):
    assert unmet(pins(name), needed(EXTRAS[name])) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        *(2 * (name,) for name in ("build", "gpu", "optax")),
        ("cpu", "mpi"),
        ("gpu", "mpi"),
    ],
)
def test_what_the_images_add_is_locked(name, source):
    assert unmet(pins(name), written(source)) == []


def test_the_wheel_is_made_by_the_backend_that_the_project_names():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = tomllib.loads(text)["build-system"]["requires"]
    assert unmet(pins("build"), map(packaging.Requirement, wanted)) == []


@pytest.mark.parametrize("name", EXTRAS)
def test_the_script_renews_with_these_extras(name):
    script = (ROOT / "docker" / "lock.sh").read_text(encoding="utf-8")
    for extra in EXTRAS[name]:
        assert f"--extra {extra}" in script
    assert f"{python()}" in project()["classifiers"][-1] or any(
        kind.endswith(f":: {python()}") for kind in project()["classifiers"]
    )


def test_cuda_of_one_major_comes_in_wheels_with_headers_and_nccl():
    locked = pins("gpu")
    wanted = {"nvrtc", "runtime"}
    assert {f"nvidia-cuda-{part}-cu12" for part in wanted} <= set(locked)
    assert {"nvidia-cublas-cu12", "nvidia-nccl-cu12", "cupy-cuda12x"} <= set(locked)
    assert all(name.endswith("-cu12") for name in locked if name.startswith("nvidia-"))


def test_optax_is_locked_to_the_versions_of_the_gpus_image():
    image, peers = pins("gpu"), pins("optax")
    both = image.keys() & peers.keys()
    assert {"numpy", "nvidia-cublas-cu12"} <= both
    assert {name: image[name] for name in both} == {name: peers[name] for name in both}


def test_neither_image_brings_gigabytes_that_it_does_not_name():
    assert not any(name.startswith(("nvidia-", "cupy")) for name in pins("cpu"))
    assert "torch" not in pins("cpu").keys() | pins("gpu").keys()
    assert "jax" not in pins("gpu")
