"""Optional libraries, imported where used, with an error that names the extra."""

from __future__ import annotations

import importlib
from typing import Any

from gdopt.errors import MissingExtraError


def load_extra(module: str, extra: str, purpose: str) -> Any:
    """Import an optional module, or say which extra brings it.

    Args:
        module: dotted name of the module.
        extra: name of the extra of gdopt that installs it.
        purpose: what it is needed for; the beginning of the error's sentence.

    Raises:
        MissingExtraError: the module is not installed.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != package:
            raise
        message = (
            f"{purpose} needs {package}, which is not installed: "
            f'pip install "gdopt[{extra}]"'
        )
        raise MissingExtraError(message, name=package) from None
