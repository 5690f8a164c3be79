"""What a command does on several ranks: rank 0 prints, and makes files for all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.cli.prepare import PreparedData
from gdopt.errors import GdoptError
from gdopt.parallel import Ranks

LONGEST = 4096  # bytes of a path
OWN = ("device", "info")  # settings in which ranks may differ


@contextmanager
def shown_once(ranks: Ranks) -> Iterator[None]:
    """Let rank 0 alone print, and an error end all ranks with the command's message."""
    if ranks.size == 1:
        yield
        return
    try:
        with ExitStack() as stack:
            if not ranks.is_main:
                stack.enter_context(redirect_stdout(io.StringIO()))
                stack.enter_context(redirect_stderr(io.StringIO()))
            yield
    except KeyboardInterrupt as interrupt:
        raise SystemExit(f"gdopt: interrupted {interrupt}".rstrip()) from interrupt
    except (GdoptError, OSError) as error:
        raise SystemExit(f"gdopt: error: {error}") from error


def agree(ranks: Ranks, settings: Mapping[str, Any], problem: PreparedData) -> None:
    """Refuse ranks whose settings or examples differ."""
    same = {name: value for name, value in settings.items() if name not in OWN}
    ranks.agree("the setting", same)
    for name, part in problem.parts.items():
        ranks.agree(
            f"the {name}", dict(zip(("examples", "targets"), part, strict=True))
        )


def shared_path(ranks: Ranks, path: Path | None) -> Path:
    """Return the path that rank 0 has."""
    own = os.fsencode(path or "").ljust(LONGEST, b"\0")
    shared = ranks.share(np.frombuffer(own, np.uint8))
    return Path(os.fsdecode(shared[0].tobytes().rstrip(b"\0")))
