"""Every rule gets to a minimum in as many steps as the same rule elsewhere."""

import numpy as np
import pytest
from oracles import CASES, MATRIX_CASES
from parity.case import at
from parity.muon import muon

from gdopt.problems import bowl, rosenbrock

MOST = 4000
# With the table's hyper-parameters, but for rates that suit the rule.
RATES = {
    "adadelta": 10.0,
    "adagrad outside": 1.0,
    "asgd": 0.2,
    "ftrl": 2.0,
    "ftrl with another power": 0.5,
    "schedule-free sgd": 0.2,
}
FIRST = {case.kind: name for name, case in reversed(CASES.items())}
SHARPER = {"rmsprop centered outside", "adam amsgrad", "adam nesterov"}
ROWS = sorted({*FIRST.values(), *SHARPER})


def steps_by(update, problem, share):
    """Count steps until the value stays below a share of the first one."""
    p = np.array(problem.start)
    bound = problem.least + share * (problem.value(p) - problem.least)
    for step in range(1, MOST + 1):
        p = update(p, problem.gradient(p), step)
        if problem.value(p) < bound:
            return step
    return None


def by_gdopt(case, problem, share, **changes):
    p = np.array(problem.start)
    optimizer = case.make(p, **changes)

    def update(_p, gradient, _step):
        optimizer.step(gradient)
        return p

    return steps_by(update, problem, share)


@pytest.mark.parametrize("name", ROWS)
def test_a_rule_converges_as_fast_as_its_textbook(name, numpy_engine):
    case, problem = CASES[name], bowl(4.0)
    changes = {"lr": RATES[name]} if name in RATES else {}
    hyper, states = {**case.hyper, **case.choices, **changes}, [{}, {}]

    def update(p, gradient, step):
        scalars = at(hyper, step - 1)
        if case.whole:
            return case.textbook(p, gradient, states[0], t=step, **scalars)
        rows = zip(p.tolist(), gradient.tolist(), states, strict=True)
        return np.array([case.textbook(*row, t=step, **scalars) for row in rows])

    expected = steps_by(update, problem, 0.02)
    assert expected is not None
    found = by_gdopt(case, problem, 0.02, **changes)
    assert found <= 1.1 * expected


def test_muon_converges_as_fast_as_its_textbook(numpy_engine):
    case, problem, states = next(iter(MATRIX_CASES.values())), bowl(4.0), {}
    rate = lambda step: 0.2 / (1 + 0.05 * step)  # noqa: E731 - its steps have one size
    hyper = {**case.hyper, "lr": rate, "weight_decay": 0.0}

    def update(p, gradient, step):
        scalars = {**at(hyper, step - 1), **case.choices, "t": step}
        matrices = p.reshape(1, 2), gradient.reshape(1, 2)
        return muon(*matrices, states, **scalars).reshape(2)

    expected = steps_by(update, problem, 0.02)
    assert expected is not None
    p = np.array(problem.start)
    optimizer = case.make(p.reshape(1, 2), lr=rate, weight_decay=0.0)

    def step(_p, gradient, _step):
        optimizer.step(gradient.reshape(1, 2))
        return p

    assert steps_by(step, problem, 0.02) <= 1.1 * expected


@pytest.mark.parametrize(
    "name",
    ["sgd with nesterov", "adam corrected", "adam amsgrad", "rmsprop centered outside"],
)
@pytest.mark.peers("torch")
def test_a_rule_crosses_rosenbrocks_valley_as_fast_as_in_torch(name, numpy_engine):
    import torch

    case, problem = CASES[name], rosenbrock()
    changes = {"lr": 5e-4 if "sgd" in name else 0.02}
    changes |= {"lr": 1e-3} if "rmsprop" in name else {}
    p = torch.tensor(problem.start, dtype=torch.float64, requires_grad=True)
    optimizer = case.torch(torch.optim, [p], {**case.hyper, **changes})

    def update(_p, gradient, _step):
        p.grad = torch.tensor(gradient)
        optimizer.step()
        return p.detach().numpy()

    expected = steps_by(update, problem, 1e-3)
    assert expected is not None
    assert by_gdopt(case, problem, 1e-3, **changes) <= 1.1 * expected
