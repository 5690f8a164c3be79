"""Where arrays live, and named arrays as views of one buffer."""

from gdopt.arrays.arena import Arena, Layout
from gdopt.arrays.backend import Array, Backend, backend_of, get_backend, use
from gdopt.arrays.interop import as_array

__all__ = [
    "Arena",
    "Array",
    "Backend",
    "Layout",
    "as_array",
    "backend_of",
    "get_backend",
    "use",
]
