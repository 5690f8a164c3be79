"""The settings of an optimizer, for a comparison with those elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from gdopt.arrays import backend_of
from gdopt.checks import shown
from gdopt.files import digest
from gdopt.optim.settings import NUMBERS, is_read


def described_optimizer(optimizer: Any) -> dict[str, Any]:
    """Return rule, options and settings, for one in another process."""
    transforms = asdict(optimizer._transforms)  # noqa: SLF001 - what it was made with
    for own in ("options", "rule_norm"):  # are seen elsewhere
        del transforms[own]
    given = optimizer.hyper.settings.items()
    settings = {name: described_setting(setting) for name, setting in given}
    name = (optimizer.rule.inner or optimizer.rule).name
    return {"method": name, **asdict(optimizer.options), **transforms, **settings}


def described_setting(setting: Any) -> Any:
    """Return numbers, or text that is the same in another process."""
    if isinstance(setting, Mapping):
        return {name: described_setting(part) for name, part in setting.items()}
    if type(setting) in NUMBERS:
        return float(setting)
    if is_read(setting):
        text = repr(setting) if callable(setting) else type(setting).__name__
        return type(setting).__name__ if " at 0x" in text else text
    host = backend_of(setting).to_host(setting)
    return f"{shown(host)}, SHA-256 {digest(np.ascontiguousarray(host))[:8]}"
