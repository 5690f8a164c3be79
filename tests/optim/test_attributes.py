"""Hyper-parameters are attributes, and a name with a typing error is refused."""

import fractions
import inspect

import numpy as np
import pytest

import gdopt

pytestmark = pytest.mark.newest


def scaled(p, g, *, rate, power=2.0):
    return p - rate**power * g


def adam(**options):
    return gdopt.Adam(np.zeros(2), **options)


def test_hyper_parameters_are_read_and_set(engine):
    p = np.zeros(2)
    optimizer = gdopt.SGD(p, lr=1.0)
    assert optimizer.lr == 1.0
    optimizer.step(np.ones(2))
    optimizer.lr = 0.5
    assert optimizer.lr == optimizer.hyper["lr"] == 0.5
    optimizer.step(np.ones(2))
    assert p.tolist() == [-1.5, -1.5]
    optimizer.lr = lambda step: 1.0 / (2 + step)
    assert optimizer.lr == 0.25


def test_those_of_a_user_s_rule_are_attributes(numpy_engine):
    p = np.zeros(2)
    optimizer = gdopt.Optimizer(p, scaled, rate=3.0)
    assert (optimizer.rate, optimizer.power) == (3.0, 2.0)
    optimizer.rate = 2.0
    optimizer.step(np.ones(2))
    assert p.tolist() == [-4.0, -4.0]


def test_options_that_are_hyper_parameters_are_attributes(numpy_engine):
    optimizer = adam(clip_norm=1.0, loss_scale=2.0, ema=0.5)
    assert (optimizer.clip_norm, optimizer.loss_scale, optimizer.ema) == (1.0, 2.0, 0.5)
    optimizer.clip_norm = 3.0
    assert optimizer.hyper["clip_norm"] == 3.0


def test_a_bad_value_is_refused_and_changes_nothing(unchanged, numpy_engine):
    optimizer = adam()
    with unchanged(optimizer):
        with pytest.raises(gdopt.ArgumentError, match=r"beta1 must be in \[0, 1\)"):
            optimizer.beta1 = 1.0
        with pytest.raises(gdopt.ArgumentTypeError, match="lr must be a number"):
            optimizer.lr = "0.1"


HINTS = {
    "lrr": "Adam has no attribute 'lrr'; did you mean lr[?]",
    "learning_rate": "did you mean lr[?]",
    "beta_1": "did you mean beta1[?]",
    "param_groups": "did you mean lr[?]",
    "ema": r"no attribute 'ema': it is given as Adam\(params, ema=...\)",
    "bounds": r"it is given as Adam\(params, bounds=...\), with lower, upper to set",
    "quite_another": "Adam has no attribute 'quite_another'$",
    "_cache": "Adam has no attribute '_cache'$",
}


@pytest.mark.parametrize("name", HINTS)
def test_any_other_attribute_is_refused_with_a_hint(name, unchanged, numpy_engine):
    optimizer = adam()
    assert not hasattr(optimizer, name)
    with pytest.raises(AttributeError, match=HINTS[name]):
        getattr(optimizer, name)
    with unchanged(optimizer), pytest.raises(AttributeError, match=HINTS[name]):
        setattr(optimizer, name, 0.5)
    assert name not in vars(optimizer)


def test_members_are_not_replaced(numpy_engine):
    optimizer = adam()
    with pytest.raises(AttributeError, match="step is a method of Adam"):
        optimizer.step = print
    lines = {
        "params": r": write opt.params\[name\]\[...\] = value",
        "state": r": write opt.state\[name\]\[part\]\[...\] = value",
        "average": r": write opt.average\[name\]\[...\] = value",
        "hyper": r": write opt.hyper\[name\] = value",
        "t": ": load_state_dict sets it",
        "grad_norm": "$",
    }
    for name, line in lines.items():
        message = f"Adam.{name} cannot be assigned to{line}"
        with pytest.raises(AttributeError, match=message):
            setattr(optimizer, name, {})


@pytest.mark.parametrize("arena", [False, True])
def test_arrays_are_not_replaced_but_written_to(arena, unchanged, engine):
    params = {"W": np.zeros(2), "b": np.zeros(3)}
    params = gdopt.Arena.of(params) if arena else params
    optimizer = gdopt.Adam(params, 1.0, ema=0.5)
    views = [optimizer.state, optimizer.state["W"], optimizer.average]
    views += [] if arena else [optimizer.params]
    with unchanged(optimizer):
        for view in views:
            for key in (*view, "other"):
                with pytest.raises(TypeError, match="does not support item assignment"):
                    view[key] = np.zeros(5)
        if arena:
            with pytest.raises(gdopt.ArgumentError, match=r"shape \(2,\), got \(5,\)"):
                optimizer.params["W"] = np.zeros(5)
        with pytest.raises(gdopt.ArgumentError, match="hyper must be one of"):
            optimizer.hyper["lrr"] = 1.0
    optimizer.params["W"][...] = 3
    optimizer.state["b"]["m"][...] = 5
    optimizer.average["b"][...] = 7
    assert params["W"].tolist() == [3, 3]
    assert optimizer.state["b"]["m"].tolist() == [5] * 3
    assert optimizer.average["b"].tolist() == [7] * 3


class Paced(gdopt.Adam):
    """Declares an attribute by an annotation, a value and a property."""

    pace: float
    count = 0

    def __init__(self, params, pace):
        self.pace = pace
        super().__init__(params, lr=1e-3 * pace)
        self.beta1 = 0.5

    @property
    def doubled(self):
        return 2 * self.pace

    @doubled.setter
    def doubled(self, value):
        self.pace = value / 2


class Slotted(gdopt.Adam):
    __slots__ = ("pace",)


def test_a_subclass_keeps_the_attributes_that_it_declares(numpy_engine):
    optimizer = Paced(np.zeros(2), 2.0)
    optimizer.count += 1
    optimizer.doubled = 12.0
    assert (optimizer.pace, optimizer.count, optimizer.beta1) == (6.0, 1, 0.5)
    slotted = Slotted(np.zeros(2))
    slotted.pace = 3.0
    assert slotted.pace == 3.0
    for one in (optimizer, slotted):
        message = "did you mean pace[?]; a class declares its own .*, as pac: Any"
        with pytest.raises(AttributeError, match=message):
            one.pac = 1.0


def test_a_subclass_sets_hyper_parameters_after_they_are_there(numpy_engine):
    class Early(gdopt.Adam):
        def __init__(self, params):
            self.lr = 0.5

    message = r"Early has no attribute 'lr' before super\(\).__init__\(...\)$"
    with pytest.raises(AttributeError, match=message):
        Early(np.zeros(2))


def test_completion_lists_hyper_parameters_and_members():
    listed = dir(adam(clip_norm=1.0))
    assert {"lr", "beta1", "clip_norm", "step", "hyper"} <= set(listed)
    assert "ema" not in listed


MEMBERS = {
    name
    for name in (*dir(gdopt.Optimizer), *vars(adam()))
    if name.isidentifier() and not name.startswith("_")
}
OPTIONS = {
    name
    for name, one in inspect.signature(gdopt.Optimizer).parameters.items()
    if one.kind is one.KEYWORD_ONLY
} - {"weight_decay"}  # a rule's own takes its place


@pytest.mark.parametrize("name", sorted((MEMBERS | OPTIONS) - {"t"}))
def test_a_rule_has_no_hyper_parameter_of_a_member_s_or_an_option_s_name(name):
    def rule(p, g, **scalars):
        return p - scalars[name] * g

    own = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)
    arrays = [inspect.Parameter(a, inspect.Parameter.POSITIONAL_ONLY) for a in "pg"]
    rule.__signature__ = inspect.Signature([*arrays, own])
    for make in (gdopt.rule, lambda f: gdopt.optim.Rule(f, {})):
        with pytest.raises(gdopt.RuleError, match=f"'{name}' is a member or an option"):
            make(rule)


class Foreign:
    """A number of another library, which may change."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return self.value


def test_a_foreign_scalar_is_read_and_checked_at_every_step(unchanged, engine):
    rate, p = Foreign(1.0), np.zeros(2)
    optimizer = gdopt.SGD(p, lr=rate)
    optimizer.step(np.ones(2))
    rate.value = 0.5
    assert optimizer.lr == 0.5
    optimizer.step(np.ones(2))
    assert p.tolist() == [-1.5, -1.5]
    rate.value = -1.0
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=r"got -1\.0$"):
        optimizer.step(np.ones(2))
    with pytest.raises(gdopt.ArgumentError, match=r"lr must be in .*, got -1.0"):
        gdopt.SGD(p, lr=rate)


def test_a_schedule_may_give_what_converts_to_a_number(numpy_engine):
    p = np.zeros(2)
    given = [np.float32(1), np.array(2.0), fractions.Fraction(1, 2), Foreign(4.0), 8]
    optimizer = gdopt.SGD(p, lr=lambda step: given[step])
    for _ in given:
        optimizer.step(np.ones(2))
    assert p.tolist() == [-15.5, -15.5]


@pytest.mark.peers("torch", "jax")
def test_scalars_of_torch_and_jax_are_read_and_checked(jax, torch, numpy_engine):
    for own in (torch.tensor(0.5), jax.numpy.asarray(0.5)):
        p = np.zeros(2)
        optimizer = gdopt.SGD(p, lr=own)
        optimizer.step(np.ones(2))
        optimizer.lr = lambda step, own=own: own
        optimizer.step(np.ones(2))
        assert p.tolist() == [-1.0, -1.0]
        optimizer.lr = lambda step, own=own: -own
        with pytest.raises(gdopt.ArgumentError, match="lr at step 2 must be in"):
            optimizer.step(np.ones(2))
    with pytest.raises(gdopt.ArgumentTypeError, match="lr must be a number, got True"):
        gdopt.SGD(p, lr=torch.tensor(True))
    rate = torch.tensor(1.0)
    optimizer = gdopt.SGD(p, lr=rate)
    rate.fill_(2.0)
    assert optimizer.lr == 2.0


CHANGES = {
    "numbers": lambda k: 0.5 + k,
    "NumPy's numbers": lambda k: np.float32(0.5 + k),
    "0-d arrays": lambda k: np.array(0.5 + k),
    "schedules": lambda k: lambda _step: 0.5 + k,
    "a number by name": lambda k: {"W0": 0.5 + k, "*": 0.25},
    "numbers by all names": lambda k: {f"W{j}": 0.5 + k * j + j for j in range(4)},
}


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("arena", [False, True])
def test_a_value_assigned_before_each_step_prepares_nothing_again(kind, arena, engine):
    def params():
        arrays = {f"W{j}": np.zeros(3) for j in range(4)}
        return gdopt.Arena.of(arrays) if arena else arrays

    grads = {f"W{j}": np.ones(3) for j in range(4)}
    if arena:
        grads = gdopt.Arena.of(grads)
    optimizer = gdopt.Adam(params(), lr=CHANGES[kind](0))
    optimizer.step(grads)
    prepared = []
    real = optimizer.executor._prepare
    optimizer.executor._prepare = lambda: prepared.append(1) or real()
    for k in range(1, 4):
        optimizer.lr = CHANGES[kind](k)
        optimizer.step(grads)
    assert prepared == []
    expected = gdopt.Adam(params())
    for k in range(4):
        expected.lr = CHANGES[kind](k)
        expected.step(grads)
    for name, array in expected.params.items():
        np.testing.assert_array_equal(optimizer.params[name], array)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", CHANGES)
def test_on_a_gpu_a_value_assigned_before_each_step_prepares_nothing_again(kind, cp):
    params = {f"W{j}": cp.zeros(3) for j in range(4)}
    grads = {name: cp.ones(3) for name in params}
    optimizer = gdopt.SGD(params, lr=CHANGES[kind](0))
    optimizer.step(grads)
    version = optimizer.executor.prepare()
    for k in range(1, 4):
        optimizer.lr = CHANGES[kind](k)
        optimizer.step(grads)
    assert optimizer.executor.prepare() == version
    expected = gdopt.SGD({name: np.zeros(3) for name in params})
    for k in range(4):
        expected.lr = CHANGES[kind](k)
        expected.step({name: np.ones(3) for name in params})
    for name, array in expected.params.items():
        np.testing.assert_array_equal(cp.asnumpy(params[name]), array)


@pytest.mark.gpu
def test_where_the_device_counts_an_assigned_value_is_sent_for_one_step(cp):
    seen = []

    def beta(step):
        seen.append(step)
        return 0.5

    p, own = cp.zeros(2), np.zeros(2)
    kinds = {"form": "heavy_ball", "beta": lambda _step: 0.5}
    optimizer = gdopt.Momentum(p, non_finite="skip", **kinds | {"beta": beta})
    expected = gdopt.Momentum(own, **kinds)
    optimizer.step(cp.ones(2))
    expected.step(np.ones(2))
    seen.clear()
    for k in range(3):
        optimizer.lr = expected.lr = 0.5 + k
        optimizer.step(cp.ones(2))
        expected.step(np.ones(2))
    assert seen == [1, 2, 3]
    for _ in range(9):
        optimizer.step(cp.ones(2))
        expected.step(np.ones(2))
    assert seen[3:9] == [4, 5, 6, 7, 8, 9]  # four steps together, then sixteen
    np.testing.assert_array_equal(cp.asnumpy(p), own)
