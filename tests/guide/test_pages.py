"""Every code block of every page runs, and what pages say of the code is so.

Doctests are run as pytest's own; here are the other blocks: programs, lines of the
shell, and files for Docker.
"""

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import gdopt
from gdopt import errors
from gdopt.cli import main
from gdopt.schedules.names import LINES

guide = pytest.importorskip("gdopt.guide.hooks", reason="not in the wheel")
ROOT = Path(gdopt.__file__).parents[1]
GUIDE = ROOT / "gdopt" / "guide"
PAGES = [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))]
BLOCK = re.compile(r"^```([\w-]*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PEERS = {"torch", "jax", "keras", "optax"}


def blocks(*languages):
    """List the blocks of these languages as parameters, named by page and number."""
    rows = []
    for page in PAGES:
        found = BLOCK.findall(page.read_text(encoding="utf-8"))
        for number, (language, text) in enumerate(found, 1):
            if language in languages and not text.lstrip().startswith(">>>"):
                name = f"{page.name}-{number}"
                rows.append(pytest.param(text, id=name, marks=marks(text)))
    return rows


def marks(text):
    """Mark a program that needs other libraries, as peers."""
    needed = sorted({name.partition(".")[0] for name in imports(text)} & PEERS)
    return [pytest.mark.peers(*needed)] if needed else []


def imports(text):
    """Return the modules that a program imports, if it is one of Python."""
    if not re.search(r"^(import|from) ", text, re.MULTILINE) or "FROM " in text:
        return set()
    nodes = list(ast.walk(ast.parse(text)))
    found = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    return found | {n.module for n in nodes if isinstance(n, ast.ImportFrom)}


def lines(text):
    """Return the commands of a shell's lines, without comments; && separates two."""
    joined = text.replace("\\\n", " ")
    found = [shlex.split(line, comments=True) for line in joined.splitlines()]
    for words in found:
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]  # noqa: PLW2901 - the rest of them
        if words:
            yield words


def test_every_block_is_of_a_kind_that_a_test_runs():
    kinds = {k for page in PAGES for k, _ in BLOCK.findall(page.read_text("utf-8"))}
    assert kinds <= {"", "python", "dockerfile", "yaml"}


@pytest.mark.parametrize("text", blocks("python"))
def test_a_program_runs(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "a page", "exec"), {"__name__": "page"})  # noqa: S102 - our own


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with the files that the pages' commands read."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{k},{k % 7},{3 * k + k % 7}.5" for k in range(60)]
    for name in ("houses.csv", "test.csv", "new.csv"):
        (tmp_path / name).write_text("id,rooms,price\n" + "\n".join(rows) + "\n")
    return tmp_path


def run_gdopt(words, folder):
    """Run a command of gdopt; those that take minutes do less, or show their help."""
    less = {
        "tune": ["--trials", "2", "--fine", "1", "--epochs", "2"],
        "bench": ["--help"],
    }
    assert main([*words[1:], *less.get(words[1], [])]) == 0, words


@pytest.mark.slow
@pytest.mark.peers("pandas")
@pytest.mark.parametrize("text", blocks(""))
def test_the_lines_of_a_shell_are_commands_that_work(text, folder, capsys):
    for words in lines(text):
        assert known(words), words
        if words[0] == "gdopt":
            run_gdopt(words, folder)


def known(words):
    """Return whether a command is one that is checked, and names what is there."""
    program = words[0].rpartition("/")[2]
    if program in {"mpirun", "srun"}:  # -n N, perhaps --host, and a command
        return words[1] == "-n" and known(words[5 if words[3] == "--host" else 3 :])
    if program in {"pip", "docker"}:
        extras = re.findall(r"\.\[([\w,-]+)\]", " ".join(words))
        named = [w for w in words if w.startswith("docker/")]
        return extras_exist(extras) and all((ROOT / name).exists() for name in named)
    return program in {"gdopt", "python", "python3", "export", "mkdir"}


def extras_exist(extras):
    """Return whether pyproject.toml has all of these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = {name for names in extras for name in names.split(",")}
    return found <= project["optional-dependencies"].keys()


@pytest.mark.parametrize("text", blocks("dockerfile", "yaml"))
def test_a_file_for_docker_builds_on_the_image_and_its_python(text):
    assert re.search(
        r"^\s*FROM gdopt:cpu\n\s*USER root\n\s*RUN python -m ensurepip", text, 8
    )
    cpu = (ROOT / "docker" / "cpu.Dockerfile").read_text("utf-8")
    assert "pip uninstall" in cpu  # or ensurepip would not be needed
    assert "WORKDIR /work" in cpu  # where the folder is mounted


def documents():
    """Return the texts that users read: documents, and the library's source."""
    files = [*PAGES, ROOT / "docker" / "README.md", ROOT / "bench" / "README.md"]
    files += [ROOT / "CHANGELOG.md", ROOT / ".github" / "CONTRIBUTING.md"]
    files += (ROOT / "gdopt").rglob("*.py")
    return {file: file.read_text("utf-8") for file in files if file.exists()}


def test_no_text_installs_gdopt_from_an_index():
    wrong = re.compile(r"""pip install( -\S+)* ["']?gdopt(\[|["'\s]|$)""")
    assert wrong.search('pip install --upgrade "gdopt[numba]"')
    texts = documents()
    assert len(texts) > 200
    found = [(file.name, m[0]) for file, t in texts.items() for m in wrong.finditer(t)]
    assert found == []


def test_the_readme_is_short_and_its_figures_and_badges_are_none():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) < 200
    assert "http" not in text
    assert len(re.findall(r"!\[", text)) == 1


def test_every_error_is_in_the_table_of_faults_with_its_built_in_kind():
    text = (GUIDE / "faults.md").read_text("utf-8")
    rows = re.findall(r"^\| .*? \| .*?`(\w+)`[^|]* \| `(\w+)` \|", text, re.MULTILINE)
    kinds = {k for k in vars(errors).values() if isinstance(k, type)} - {
        gdopt.GdoptError
    }
    named = {
        k for k in kinds if k.__module__ == "gdopt.errors" and f"`{k.__name__}`" in text
    }
    assert {k.__name__ for k in kinds if k.__module__ == "gdopt.errors"} == {
        k.__name__ for k in named
    }
    for name, built_in in rows:
        kind = getattr(errors, name, None)
        assert kind is None or issubclass(
            kind, getattr(__builtins__, built_in, Exception)
        )


def test_the_page_on_other_libraries_has_every_schedule_of_theirs():
    text = (GUIDE / "coming.md").read_text("utf-8")
    for name, line in LINES.items():
        assert f"| `{name}` | `{line}` |" in text


def test_the_page_of_schedules_has_each_of_them():
    text = (GUIDE / "schedules.md").read_text("utf-8")
    for name in set(gdopt.schedules.__all__) - {"Schedule"}:
        assert re.search(rf"^\| `{name}\(", text, re.MULTILINE), name


def test_the_times_on_the_page_of_speed_are_those_of_the_results():
    text = (GUIDE / "speed.md").read_text("utf-8")
    file = ROOT / "bench" / "results" / "amd-epyc-2-cores" / "speed.json"
    times = {
        tuple(entry["params"].values()): entry["stats"]["median"] * 1e6
        for entry in json.loads(file.read_text("utf-8"))["benchmarks"]
    }
    head, _, *rows = re.search(r"(\| case \|.*\n)+(\|.*\n)+", text)[0].splitlines()
    _, *names = [cell.strip() for cell in head.strip("|").split("|")]
    assert len(rows) == 5
    for row in rows:
        case, *shown = [cell.strip() for cell in row.strip("|").split("|")]
        found = [times.get((case, name), times.get((name, case))) for name in names]
        assert shown == [f"{t:,.{0 if t > 100 else 1}f}" for t in found]
