"""Reads and writes bfloat16 in a Numba loop, as the upper halves of float32."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit
def widen(half: Any) -> Any:
    """Return the float32 of the bits of a bfloat16."""
    return np.uint32(np.uint32(half) << np.uint32(16)).view(np.float32)


@numba.njit
def narrow(value: Any) -> Any:
    """Return the bits of the nearest bfloat16, or of the even one of the two."""
    bits = np.float32(value).view(np.uint32)
    upper = bits >> np.uint32(16)
    if value != value:  # noqa: PLR0124 - NaN
        return np.uint16(upper | np.uint32(0x40))
    rounded = bits + np.uint32(0x7FFF) + (upper & np.uint32(1))
    return np.uint16(rounded >> np.uint32(16))
