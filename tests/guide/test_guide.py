"""The guide shows every picture that its scripts draw, and all of them are there."""

import re
from pathlib import Path

import pytest

pictures = pytest.importorskip("gdopt.guide.pictures", reason="not in the wheel")
FOLDER = Path(pictures.__file__).parent
GUIDE = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"!\[[^\]]+\]\(pictures/([a-z-]+\.(?:png|gif))\)", GUIDE)
SIGNATURES = {".png": b"\x89PNG\r\n\x1a\n", ".gif": b"GIF89a"}


def test_the_guide_shows_every_picture_once():
    there = [path.name for path in FOLDER.iterdir() if path.suffix in SIGNATURES]
    assert sorted(SHOWN) == sorted(there)
    assert len(SHOWN) == 25


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_that_is_shown_is_there_and_small(name):
    file = FOLDER / name
    assert file.read_bytes().startswith(SIGNATURES[file.suffix])
    assert file.stat().st_size < 500_000  # a clone has all of them
