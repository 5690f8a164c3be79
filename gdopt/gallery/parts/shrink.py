"""Pictures small enough for a page that shows many of them."""

from __future__ import annotations

from pathlib import Path

from gdopt.extras import load_extra

COLOURS = 128


def shrink(path: Path) -> None:
    """Halve a PNG in both directions, in 128 colours: a quarter of the bytes or less.

    Args:
        path: of the PNG, which is overwritten.

    Raises:
        MissingExtraError: Pillow is not installed; matplotlib brings it.
    """
    images = load_extra("PIL.Image", "train", "shrinking")
    with images.open(path) as image:
        size = (image.width // 2, image.height // 2)
        half = image.convert("RGB").resize(size, images.Resampling.LANCZOS)
    few = half.quantize(COLOURS, dither=images.Dither.NONE)
    few.save(path, optimize=True)
