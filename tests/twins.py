"""Two optimizers of the same kind, on the CPU and on the device, kept in step."""

import numpy as np
from rules import bits

import gdopt

SHAPES = {"W": (5, 13), "b": (13,), "scale": (), "none": (0, 3), "U": (130,)}
LAYOUTS = {
    "apart": (False, False),
    "gradients in an arena": (False, True),
    "parameters in an arena": (True, False),
    "arenas": (True, True),
}


def draw(seed, dtypes=("float32",), shapes=None):
    """Make arrays of all shapes in all dtypes, in turns."""
    generator = np.random.default_rng(seed)
    return {
        f"{name} {dtype}": _normal(generator, shape, dtype)
        for name, shape in (shapes or SHAPES).items()
        for dtype in dtypes
    }


def _normal(generator, shape, dtype):
    drawn = np.array(generator.standard_normal(shape))
    if dtype.startswith("complex"):
        drawn = drawn + 1j * generator.standard_normal(shape)
    return np.asarray(drawn).astype(dtype)


def send(cp, arrays):
    return {name: cp.asarray(array) for name, array in arrays.items()}


class Twins:
    """An optimizer on the CPU and its twin on the device."""

    def __init__(self, cp, make, start, layout="apart", place=None):
        self.cp = cp
        self.together, self.gradients_together = LAYOUTS[layout]
        place = place or (lambda array: array)
        host = {name: place(array.copy()) for name, array in start.items()}
        moved = {n: place(a) for n, a in send(cp, start).items()}
        if self.together:
            host, moved = gdopt.Arena.of(host), gdopt.Arena.of(moved)
        self.host, self.device = make(host), make(moved)
        self.arena = None

    def step(self, row, place=None):
        """Step both; give what both say."""
        place = place or (lambda array: array)
        moved = {name: place(array) for name, array in send(self.cp, row).items()}
        if self.gradients_together:
            self.arena = self.arena or gdopt.Arena.of(moved)
            for name, gradient in moved.items():
                self.arena[name] = gradient
            moved = self.arena
        row = {name: place(array) for name, array in row.items()}
        return self.host.step(row), self.device.step(moved)

    def assert_same(self):
        """Compare every bit of parameters and state."""
        for name, array in self.host.params.items():
            self._compare(name, array, self.device.params[name])
            for state, expected in self.host.state[name].items():
                self._compare(state, expected, self.device.state[name][state])
        assert self.host.t == self.device.t

    @staticmethod
    def _compare(name, expected, found):
        found = found.get()
        assert found.dtype == expected.dtype, name
        assert found.shape == expected.shape, name
        full = complex if expected.dtype.kind == "c" else np.float64
        wide = [
            np.array(a, full)[..., None].view(np.float64) for a in (expected, found)
        ]
        assert bits(wide[0]) == bits(wide[1]), (name, expected, found)


def snapshot(optimizer):
    """Freeze all that a step on the device changes."""
    arrays = [*optimizer.params.values()]
    for states in optimizer.state.values():
        arrays += states.values()
    return [array.get().tobytes() for array in arrays], optimizer._counter.array.item()


def full_from(first):
    """Return a trap that refuses all allocations from a number on."""

    def trap(number):
        if number >= first:
            raise MemoryError

    return trap
