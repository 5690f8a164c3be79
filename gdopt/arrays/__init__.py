"""Where arrays live, and named arrays as views of one buffer."""

from gdopt.arrays.arena import Arena, Layout
from gdopt.arrays.backend import Array, Backend, backend_of, get_backend, use
from gdopt.arrays.foreign import as_array
from gdopt.imports import public_dir

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
__dir__ = public_dir(__name__)
