"""compose.yaml names services, files and folders that there are."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker" / "compose.yaml"
SERVICES = ("train", "bench", "test")
every_service = pytest.mark.parametrize("name", SERVICES)


def compose():
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def arguments(dockerfile):
    text = (ROOT / dockerfile).read_text(encoding="utf-8")
    return set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))


def test_the_services_are_those_of_the_readme():
    assert tuple(compose()["services"]) == SERVICES
    readme = (ROOT / "docker" / "README.md").read_text(encoding="utf-8")
    for name in SERVICES:
        assert f"run --rm {name}" in readme


@every_service
def test_a_service_is_built_from_the_project_by_a_file_that_is_there(name):
    build = compose()["services"][name]["build"]
    assert (FILE.parent / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    assert set(build["args"]) == arguments(build["dockerfile"])


@every_service
def test_results_land_in_a_mounted_folder(name):
    compose_file = compose()
    service = compose_file["services"][name]
    mounts = dict(volume.split(":") for volume in service["volumes"])
    assert mounts == {"../runs": "/work/runs", "cache": "/cache"}
    assert "cache" in compose_file["volumes"]


@pytest.mark.parametrize(
    ("name", "image", "gpu"),
    [
        ("train", "gdopt", True),
        ("bench", "gdopt", True),
        ("test", "gdopt:cpu", False),
    ],
)
def test_a_gpu_is_reserved_where_one_is_used(name, image, gpu):
    service = compose()["services"][name]
    assert service["image"] == image
    assert service["build"]["dockerfile"].startswith(
        "docker/gpu." if gpu else "docker/cpu."
    )
    wanted = [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    deploy = service.get("deploy", {"resources": {"reservations": {"devices": []}}})
    found = deploy["resources"]["reservations"]["devices"]
    assert found == (wanted if gpu else [])


@pytest.mark.parametrize("name", ["train", "bench"])
def test_the_commands_are_gdopts(name):
    command = compose()["services"][name]["command"]
    assert command[0] == name
    assert (ROOT / "bench" / "__main__.py").is_file()


def test_the_tests_are_those_of_the_suite():
    (entry,) = compose()["services"]["test"]["entrypoint"]
    script = ROOT / Path(entry).relative_to("/opt/gdopt/suite")
    assert script.stat().st_mode & 0o111
    for word in re.findall(
        r" (tests|README\.md)\b", script.read_text().split("exec")[1]
    ):
        assert (ROOT / word).exists()


def test_it_fits_the_schema_of_compose():
    beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    check = shutil.which("check-jsonschema", path=beside)
    if check is None:
        pytest.skip("check-jsonschema is not installed: pip install check-jsonschema")
    command = [check, "--builtin-schema", "vendor.compose-spec", FILE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
