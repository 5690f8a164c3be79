"""Where arrays live, and named arrays as views of one buffer."""

from gdopt.arrays.arena import Arena, Layout
from gdopt.arrays.backend import Array, Backend, backend_of, get_backend, use

__all__ = ["Arena", "Array", "Backend", "Layout", "backend_of", "get_backend", "use"]
