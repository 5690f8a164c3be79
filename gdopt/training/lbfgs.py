"""Placeholder until the line searches are merged."""

from typing import Any

LineSearchMethod = Any
LINE_SEARCH_METHODS: dict[str, Any] = {}
