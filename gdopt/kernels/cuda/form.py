"""The forms in which a pass over a layout is printed."""

from __future__ import annotations

from dataclasses import dataclass

from gdopt.arrays.storage import Stored
from gdopt.kernels.cuda.packs import BYTES, preamble
from gdopt.kernels.cuda.text import SIGNS

BLOCK_BITS = 6  # a block is 64 elements, what an arena pads its arrays to
ACCESS = 16  # bytes


@dataclass(frozen=True)
class Form:
    """What distinguishes the kernels of one program.

    Attributes:
        stored: each input of the program.
        compute: the dtype of the arithmetic, float32 or float64.
        copy: where a rounded copy of the first result goes, if anywhere.
        table: hoisted values are read from the device, not passed by value.
        rows: the table has several rows; a block names its own.
        gated: a flag on the device may turn the pass into a no-op.
        clocked: the step is counted on the device.
        strided: the arrays kept apart have strides.
    """

    stored: tuple[Stored, ...]
    compute: str
    copy: Stored | None = None
    table: bool = False
    rows: bool = False
    gated: bool = False
    clocked: bool = False
    strided: bool = False

    @property
    def all_stored(self) -> tuple[Stored, ...]:
        """Every array of the pass: the inputs, then the copy."""
        return self.stored + ((self.copy,) if self.copy else ())

    @property
    def width(self) -> int:
        """How many neighbours a thread updates; with strides there are none."""
        if self.strided:
            return 1
        narrowest = min(BYTES[stored.dtype] for stored in self.all_stored)
        # Values from a table take registers that eight halves or two doubles need.
        crowded = self.table and narrowest != BYTES["float32"]
        return ACCESS // narrowest // (2 if crowded else 1)

    @property
    def apart(self) -> int:
        """How many arrays a row of the table of pointers holds."""
        return sum(stored.apart for stored in self.all_stored)

    @property
    def random(self) -> bool:
        """Tell whether something is rounded at random."""
        return any(stored.draw is not None for stored in self.all_stored)

    def preamble(self) -> str:
        """Give the C functions that the kernel needs."""
        dtypes = {stored.dtype for stored in self.all_stored} | {self.compute}
        return SIGNS + preamble(
            dtypes, apart=self.apart > 0, strided=self.strided, random=self.random
        )
