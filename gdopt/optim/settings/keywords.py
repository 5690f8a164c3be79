"""Keywords that an optimizer does not know, and what says the same here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from gdopt.errors import ArgumentTypeError

ELSEWHERE = {  # keywords of other libraries, and what says the same here
    "learning_rate": "lr",
    "alpha": "lr (the course's alpha) or beta (torch's RMSprop)",
    "rho": "beta",
    "decay": "beta, or a schedule as lr",
    "betas": "beta1 and beta2",
    "beta_1": "beta1",
    "beta_2": "beta2",
    "epsilon": "eps",
    "momentum": "Momentum(beta=...) or Nesterov(beta=...)",
    "nesterov": "Nesterov(beta=...)",
    "max_norm": "clip_norm",
    "clipnorm": "clip_norm",
    "global_clipnorm": "clip_norm",
    "use_ema": "ema, which is the average's beta",
    "ema_momentum": "ema",
    "loss_scale_factor": "loss_scale",
    "dampening": 'Momentum(form="ewa")',
    "weight_decay": "AdamW(weight_decay=...)",
}


def refuse_keywords(kind: str, known: Sequence[str], given: Mapping[str, Any]) -> None:
    """Refuse hyper-parameters that a rule does not have, and miss those it has.

    Args:
        kind: the optimizer's name.
        known: the rule's hyper-parameters.
        given: the keyword arguments.

    Raises:
        ArgumentTypeError: one is unknown, with what may be meant; or one is missing.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = ELSEWHERE.get(name) or (near[0] if near else "")
            message = (
                f"{kind} got an unknown keyword {name!r}"
                + (f"; did you mean {hint}?" if hint else "")
                + f" It takes {', '.join(known)}"
            )
            raise ArgumentTypeError(message)
    for name in known:
        if name not in given:
            message = f"{kind} needs {name}, a number or a schedule, got none"
            raise ArgumentTypeError(message)
