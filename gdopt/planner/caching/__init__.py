"""Plans kept on disk, and the hash of a step that they are found by."""

from gdopt.planner.caching.cache import Cache

__all__ = ["Cache"]
