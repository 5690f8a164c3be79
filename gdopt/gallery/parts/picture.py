"""What a picture of the gallery is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gdopt.extras import load_extra

Numbers = dict[str, Any]
Path = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, which shows what its numbers say; call it with a path to draw it.

    Attributes:
        name: in lower case, with hyphens.
        claim: what it shows, in a sentence without its point; stands above it.
        measure: makes the numbers that are drawn, always the same but for a clock's.
        paint: draws numbers into a file: ``paint(numbers, path, claim)``.
        ending: of its file.
    """

    name: str
    claim: str
    measure: Callable[[], Numbers]
    paint: Callable[[Numbers, Path, str], None]
    ending: str = ".png"

    @property
    def file(self) -> str:
        """Name of its file in a folder."""
        return self.name + self.ending

    def __call__(self, path: Path) -> Numbers:
        """Draw the picture.

        Args:
            path: of the file, which is written anew where it is there.

        Returns:
            The numbers that it shows.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        load_extra("matplotlib.figure", "train", "drawing")  # missed before measuring
        numbers = self.measure()
        self.paint(numbers, path, self.claim)
        return numbers
