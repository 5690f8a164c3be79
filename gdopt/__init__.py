"""gdopt: gradient descent for people who hold arrays."""

from gdopt.arrays import Arena, backend_of, get_backend, use
from gdopt.errors import GdoptError

__version__ = "0.1.0"
__all__ = ["Arena", "GdoptError", "__version__", "backend_of", "get_backend", "use"]
