"""The guide beside the gallery shows every picture once, and all of them are there."""

import re
from pathlib import Path

import pytest

from gdopt import gallery

FOLDER = Path(gallery.__file__).parent
if not (FOLDER.parents[1] / "pyproject.toml").is_file():
    pytest.skip("the guide is in a checkout alone", allow_module_level=True)
GUIDE = (FOLDER / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"!\[[^\]]+\]\(pictures/([a-z-]+\.(?:png|gif))\)", GUIDE)
SIGNATURES = {".png": b"\x89PNG\r\n\x1a\n", ".gif": b"GIF89a"}


def test_the_guide_shows_every_picture_once_in_the_gallerys_order():
    assert [picture.file for picture in gallery.PICTURES] == SHOWN


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_that_is_shown_is_there_and_small(name):
    file = FOLDER / "pictures" / name
    assert file.read_bytes().startswith(SIGNATURES[file.suffix])
    assert file.stat().st_size < 500_000  # a clone has all of them


def test_headings_are_the_themes():
    headings = re.findall(r"^## (.+)$", GUIDE, re.MULTILINE)
    assert [theme for theme in headings if theme in gallery.THEMES] == [*gallery.THEMES]
