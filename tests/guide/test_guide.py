"""The guide shows every picture that its scripts draw, and all of them are there."""

import re
from pathlib import Path

import pytest

pictures = pytest.importorskip("gdopt.guide.pictures", reason="not in the wheel")
FOLDER = Path(pictures.__file__).parent
PAGES = {path.name: path.read_text("utf-8") for path in FOLDER.parent.glob("*.md")}
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
COURSE = [path.partition("/")[2] for _, path in PICTURE.findall(PAGES["course.md"])]
SIGNATURES = {".png": b"\x89PNG\r\n\x1a\n", ".gif": b"GIF89a"}


def test_the_course_shows_every_picture_once():
    there = [path.name for path in FOLDER.iterdir() if path.suffix in SIGNATURES]
    assert sorted(COURSE) == sorted(there)
    assert len(COURSE) == 25


@pytest.mark.parametrize("name", COURSE)
def test_a_picture_that_is_shown_is_there_and_small(name):
    file = FOLDER / name
    assert file.read_bytes().startswith(SIGNATURES[file.suffix])
    assert file.stat().st_size < 500_000  # a clone has all of them


@pytest.mark.parametrize("page", PAGES)
def test_a_picture_has_a_text_that_says_what_is_seen(page):
    for text, path in PICTURE.findall(PAGES[page]):
        assert (FOLDER.parent / path).is_file()
        assert len(text) > 80, (page, path)
        assert text.endswith(".")
