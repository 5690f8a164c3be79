"""The time of a step of every contender in every case: ``pytest bench``."""

from __future__ import annotations

import pytest
from adapters import ADAPTERS, UnsupportedError, check
from cases import CASES, HUGE, Case, Training

PEERS_HOLD = {"array", "arena"}  # what else there is differs in gdopt alone
STEPS = [
    (case, adapter)
    for case in CASES.values()
    for adapter in ADAPTERS.values()
    if case.memory in PEERS_HOLD or adapter.name.startswith("gdopt")
]


def _contender(adapter, case, benchmark):
    if adapter.missing:
        pytest.skip(f"{adapter.name}: not installed: {', '.join(adapter.missing)}")
    benchmark.group = case.name
    benchmark.extra_info.update(case=case.name, contender=adapter.name)
    try:
        contender = adapter.make(case)
    except UnsupportedError as error:
        pytest.skip(str(error))
    check(contender, case)
    return contender


@pytest.mark.parametrize(
    ("case", "adapter"), STEPS, ids=[f"{c.name}: {a.name}" for c, a in STEPS]
)
def test_step(case, adapter, benchmark, request):
    if case.elements >= HUGE and not request.config.getoption("--huge"):
        pytest.skip("1e8 elements only with --huge")
    contender = _contender(adapter, case, benchmark)
    with contender.setting():
        benchmark(contender.step)


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_training(adapter, benchmark):
    contender = _contender(adapter, Training(), benchmark)
    with contender.setting():
        benchmark(contender.step)


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_first_step(adapter, benchmark):
    """Copying the arrays, making the optimizer and its first step."""
    model = CASES["300 arrays of 256, in an arena"]
    case = Case("first step, 300 arrays of 256", model.shapes, memory=model.memory)
    contender = _contender(adapter, case, benchmark)
    with contender.setting():
        benchmark(lambda: adapter.make(case).step())
