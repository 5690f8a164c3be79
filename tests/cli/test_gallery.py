import argparse
import subprocess
import sys

import pytest

import gdopt
from gdopt.cli import gallery
from gdopt.gallery import PICTURES, THEMES

pytest.importorskip("matplotlib")


@pytest.fixture
def run(tmp_path, monkeypatch, numpy_engine):
    """Give ``run(...)``: the command, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser(
        prog="gdopt",
        epilog=gallery.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    gallery.add_options(parser)

    def run(*arguments):
        return gallery.run(parser.parse_args(arguments))

    return run


def test_pictures_are_drawn(run, tmp_path, capsys):
    assert run("out", "--only", "weights", "correction") == 0
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["correction.png", "weights.png"]
    out, err = capsys.readouterr()
    assert out == "2 pictures in out\n"
    assert err == ""


def test_the_list_names_every_picture_with_its_claim_and_draws_none(
    run, tmp_path, capsys
):
    assert run("--list") == 0
    said = capsys.readouterr().out
    found = [line.split(maxsplit=1) for line in said.splitlines() if line[:2] == "  "]
    assert found == [[picture.name, picture.claim] for picture in PICTURES]
    assert not list(tmp_path.iterdir())


def test_the_list_has_headings_that_follow_the_course(run, capsys):
    run("--list")
    themes = capsys.readouterr().out.split("\n\n")
    heads = [theme.splitlines()[0] for theme in themes]
    assert heads == list(THEMES)
    assert heads[0] == "Setting up"
    assert heads[-2:] == ["Hyper-parameters", "Batch normalization"]
    for theme, pictures in zip(themes, THEMES.values(), strict=True):
        assert len(theme.splitlines()) == 1 + len(pictures)


def test_a_folder_with_something_in_it_is_refused(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(gdopt.ArgumentError, match=r"with notes\.txt in it"):
        run(".", "--only", "weights")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_without_a_folder_the_error_names_it(run):
    with pytest.raises(gdopt.ArgumentError, match="OUT must name a folder"):
        run("--only", "weights")


def test_an_unknown_name_is_refused_with_those_that_there_are(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_code:
        run("out", "--only", "sadle")
    assert exit_code.value.code == 2
    said = capsys.readouterr().err
    assert "sadle" in said
    assert "saddle-film" in said
    assert not list(tmp_path.iterdir())


def test_the_help_shows_examples(run, capsys):
    with pytest.raises(SystemExit) as exit_code:
        run("--help")
    assert exit_code.value.code == 0
    said = capsys.readouterr().out
    assert "gdopt gallery pictures --only saddle plateau" in said
    assert "--list" in said


def test_importing_the_command_imports_neither_matplotlib_nor_rich():
    program = (
        "import sys, gdopt.cli.gallery;"
        "print({'matplotlib', 'rich', 'PIL'} & set(sys.modules))"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
