"""What goes around a rule: each option, their order, and what is refused."""

import copy

import numpy as np
import pytest

import gdopt

SHAPES = {"W": (40, 7), "b": (7,), "scale": (), "V": (3, 50)}
LAST = -1
G, DOWN = (6.0, 8.0), (24.0, 32.0)
COUPLED = {"weight_decay": 0.5, "decay_mode": "coupled"}
DECOUPLED = {"weight_decay": 0.5, "decay_mode": "decoupled"}
INDEPENDENT = {"weight_decay": 0.5, "decay_mode": "independent"}


def draw(seed, dtype="float64", scale=1.0):
    generator = np.random.default_rng(seed)
    return {
        name: np.array(scale * generator.standard_normal(shape), dtype)
        for name, shape in SHAPES.items()
    }


def path(options, grads, start=(3.0, 4.0), kind=gdopt.SGD):
    """Return the parameter after each step with a rate of .1, and the optimizer."""
    p = np.array(start)
    optimizer = kind(p, lr=0.1, **options)
    steps = []
    for g in grads:
        optimizer.step(np.array(g, dtype=float))
        steps.append(p.tolist())
    return steps, optimizer


@pytest.mark.parametrize(
    ("options", "grads", "expected"),
    [
        ({"clip_norm": 5, **COUPLED}, [G], [(2.55, 3.4)]),
        ({"clip_norm": 5, **DECOUPLED}, [G], [(2.55, 3.4)]),
        ({"clip_value": 7, "clip_norm": 5}, [G], [(2.67460431, 3.6203717)]),
        ({"maximize": True, **COUPLED}, [G], [(3.45, 4.6)]),
        (DECOUPLED, [G], [(2.25, 3.0)]),
        ({"clip_norm": 5, "maximize": True, **INDEPENDENT}, [G], [(1.8, 2.4)]),
        ({"loss_scale": 4, "clip_norm": 5}, [DOWN], [(2.7, 3.6)]),
        ({"accumulate": 2, "clip_norm": 5}, [G, (0, 0)], [(3, 4), (2.7, 3.6)]),
        ({"accumulate": 2, "clip_norm": 5}, [G, (6, -8)], [(3, 4), (2.5, 4)]),
        (
            {"accumulate": 2, **DECOUPLED},
            [G] * 4,
            [(3, 4), (2.25, 3), (2.25, 3), (1.5375, 2.05)],
        ),
        ({"bounds": (0, np.inf)}, [(60, 8)], [(0, 3.2)]),
        ({"bounds": (-np.inf, [3.5, 3.25])}, [(-60, 8)], [(3.5, 3.2)]),
    ],
)
def test_the_order_is_that_of_the_worked_examples(options, grads, expected, engine):
    if "bounds" in options:
        low, high = options["bounds"]
        options = {"bounds": (low, np.array(high) if isinstance(high, list) else high)}
    steps, _ = path(options, grads)
    np.testing.assert_allclose(steps, expected, rtol=1e-8)


def test_adam_decays_its_coupled_weights_as_torch_does(engine):
    steps, _ = path({"maximize": True, **COUPLED}, [G], kind=gdopt.Adam)
    np.testing.assert_allclose(steps, [(3.1, 4.1)], rtol=1e-8)
    steps, _ = path({"maximize": True, "weight_decay": 0.5}, [G], kind=gdopt.AdamW)
    np.testing.assert_allclose(steps, [(2.95, 3.9)], rtol=1e-8)


def test_the_global_norm_is_of_what_each_array_s_own_has_left(engine):
    params = {"W": np.array([6.0, 8.0]), "b": np.array([3.0])}
    optimizer = gdopt.SGD(params, lr=1.0, clip_value=7, clip_each=5, clip_norm=4)
    optimizer.step({"W": np.array([6.0, 8.0]), "b": np.array([3.0])})
    np.testing.assert_allclose(params["W"], [6 - 2.232196, 8 - 2.60422866], rtol=1e-7)
    np.testing.assert_allclose(params["b"], [3 - 2.05798302], rtol=1e-7)
    assert optimizer.grad_norm == pytest.approx(5.83095189, rel=1e-8)


def test_the_slow_weights_and_the_averages_follow(engine):
    steps, _ = path({"lookahead": (2, 0.5)}, [[1.0]] * 5, [1.0])
    np.testing.assert_allclose(np.ravel(steps), [0.9, 0.9, 0.8, 0.8, 0.7], rtol=1e-12)
    averages = []
    p = np.array([1.0])
    optimizer = gdopt.SGD(p, 0.1, lookahead=(2, 0.5), ema=0.9)
    for _ in range(4):
        optimizer.step(np.array([1.0]))
        averages.append(optimizer.average["0"].item())
    np.testing.assert_allclose(averages, [0.99, 0.981, 0.9629, 0.94661], rtol=1e-12)
    _, optimizer = path({"bounds": (0, np.inf), "ema": 0.0}, [(60, 8)])
    np.testing.assert_allclose(optimizer.average["0"], [0, 3.2])
    _, optimizer = path({"ema": 0.9}, [G, G])
    np.testing.assert_allclose(optimizer.average["0"], [2.826, 3.768])


def test_everything_in_one_step(engine):
    options = {"loss_scale": 4, "maximize": True, "clip_norm": 5, **COUPLED}
    steps, optimizer = path(options | {"bounds": (0, 4.1), "ema": 0.9}, [DOWN])
    np.testing.assert_allclose(steps, [(3.15, 4.1)], rtol=1e-12)
    np.testing.assert_allclose(optimizer.average["0"], [3.015, 4.01], rtol=1e-12)
    assert optimizer.grad_norm == 10.0  # of the gradient that clip_norm compares


ALL = {
    "accumulate": 2,
    "loss_scale": 4.0,
    "maximize": True,
    "clip_value": 2.0,
    "clip_each": 1.5,
    "agc": 0.5,
    "unit_axis": 1,
    "clip_norm": 1.0,
    "weight_decay": {"W": 0.1, "b": 0.0, "scale": 0.0, "V": 0.2},
    "decay_mode": "decoupled",
    "bounds": (-1.0, np.inf),
    "lookahead": (2, 0.5),
    "ema": 0.9,
}


def bytes_of(optimizer):
    states = [a for own in optimizer.state.values() for a in own.values()]
    arrays = [*optimizer.params.values(), *states]
    return [np.ascontiguousarray(a).tobytes() for a in arrays]


def make(dtype="float32", kind=gdopt.Adam, *, together=False, **options):
    params = draw(0, dtype)
    params = gdopt.Arena.of(params) if together else params
    return kind(params, lr=0.1, **options)


def steps(optimizer, first, count, dtype="float32", *, together=False):
    for seed in range(first, first + count):
        grads = draw(seed, dtype, 3.0)
        optimizer.step(gdopt.Arena.of(grads) if together else grads)
    return optimizer


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_engines_and_layouts_have_the_same_bits(dtype, monkeypatch):
    found = []
    options = ALL | {"master_weights": dtype == "float16"}
    for name in ("numpy", "numba"):
        monkeypatch.setenv("GDOPT_CPU_ENGINE", name)
        for together in (False, True):
            optimizer = make(dtype, together=together, **options)
            found.append(steps(optimizer, 1, 6, dtype, together=together))
    assert found[0].t == 3
    for other in found[1:]:
        assert bytes_of(other) == bytes_of(found[0])
        assert other.grad_norm == found[0].grad_norm


def eager(options, rounds, lr=0.1):
    """Return Adam's parameters with all options, written down in NumPy."""
    params, t = draw(0), 0
    m = {n: 0.0 * p for n, p in params.items()}
    v, slow = dict(m), {n: p.copy() for n, p in params.items()}
    average = dict(slow)
    for first in range(1, rounds, 2):
        rows = [draw(first, scale=3.0), draw(first + 1, scale=3.0)]
        grads, t = {}, t + 1
        for n, p in params.items():
            g = -(rows[0][n] + rows[1][n]) / 2 / options["loss_scale"]
            g = np.clip(g, -options["clip_value"], options["clip_value"])
            g = g * min(1.0, options["clip_each"] / np.linalg.norm(g))
            axis = 0 if p.ndim == 2 else None
            own = np.sqrt((g * g).sum(axis=axis, keepdims=True))
            most = np.sqrt((p * p).sum(axis=axis, keepdims=True))
            most = options["agc"] * np.maximum(most, 1e-3)
            grads[n] = (g * np.where(own > most, most / own, 1.0)).reshape(p.shape)
        norm = np.sqrt(sum((g * g).sum() for g in grads.values()))
        for n, p in params.items():
            g = grads[n] * min(1.0, options["clip_norm"] / norm)
            m[n] = 0.9 * m[n] + 0.1 * g
            v[n] = 0.999 * v[n] + 0.001 * g * g
            u = m[n] / (1 - 0.9**t) / (np.sqrt(v[n] / (1 - 0.999**t)) + 1e-8)
            new = p * (1 - lr * options["weight_decay"][n]) - lr * u
            new = np.clip(new, *options["bounds"])
            if t % 2 == 0:
                slow[n] = np.clip(slow[n], *options["bounds"])
                slow[n] = new = slow[n] + 0.5 * (new - slow[n])
            params[n] = new
            average[n] = 0.9 * average[n] + 0.1 * new
    return params, average, norm


def test_all_together_are_what_numpy_gives(engine):
    optimizer = steps(make("float64", **ALL), 1, 8, "float64")
    params, average, norm = eager(ALL, 8)
    assert optimizer.grad_norm == pytest.approx(norm, rel=1e-12)
    for name, array in optimizer.params.items():
        np.testing.assert_allclose(array, params[name], rtol=1e-10)
        np.testing.assert_allclose(optimizer.average[name], average[name], rtol=1e-10)


@pytest.mark.parametrize("kind", [gdopt.LAMB, gdopt.Adafactor, gdopt.Muon, gdopt.Lion])
def test_every_optimizer_and_a_user_s_rule_take_them(kind, engine):
    own = {k: v for k, v in ALL.items() if k not in {"weight_decay", "decay_mode"}}
    optimizer = steps(make("float64", kind, **own), 1, 4, "float64")
    assert optimizer.t == 2
    assert all((p >= -1).all() for p in optimizer.params.values())
    assert optimizer.grad_norm > 1

    def rule(p, g, *, step_size, norm):
        return p - step_size * norm * g

    params = {"p": np.array([3.0, 4.0])}
    optimizer = gdopt.Optimizer(
        params, rule, step_size=0.1, clip_norm=5, loss_scale=2, **INDEPENDENT
    )
    optimizer.step({"p": np.array([12.0, 16.0])})
    np.testing.assert_allclose(params["p"], [1.5 - 1.5, 2 - 2.0], atol=1e-12)


@pytest.mark.parametrize("kind", [gdopt.Adam, gdopt.Muon])
@pytest.mark.parametrize("calls", [1, 4])
def test_all_are_saved_and_loaded(kind, calls, numpy_engine):
    own = dict(ALL)
    if kind is gdopt.Muon:
        own = {k: v for k, v in ALL.items() if k not in {"weight_decay", "decay_mode"}}
    own |= {"loss_scale": "dynamic", "accumulate": 3}
    whole = steps(make(kind=kind, **own), 1, calls)
    other = steps(make(kind=kind, **own), 40, 5).load_state_dict(whole.state_dict())
    for name, array in whole.params.items():
        other.params[name][...] = array
    for twin in (whole, other):
        steps(twin, 1 + calls, 4)
    assert bytes_of(whole) == bytes_of(other)
    assert (whole.t, whole.hyper["loss_scale"]) == (other.t, other.hyper["loss_scale"])
    with pytest.raises(gdopt.StateError, match=r"unknown 'calls'|rule of the saved"):
        make(kind=kind).load_state_dict(whole.state_dict())


def test_accumulating_changes_nothing_until_the_last_call(engine):
    optimizer = make(accumulate=3)
    before = {name: array.copy() for name, array in optimizer.params.items()}
    said = [optimizer.step(draw(seed, "float32")) for seed in (1, 2, 3, 4)]
    assert said == [False, False, True, False]
    assert optimizer.t == 1
    mean = make()
    total = [draw(seed, "float32") for seed in (1, 2, 3)]
    mean.step({n: np.asarray(sum(g[n] for g in total) / 3) for n in SHAPES})
    for name, array in optimizer.params.items():
        assert not np.array_equal(array, before[name])
        np.testing.assert_allclose(array, mean.params[name], rtol=1e-5)


def test_a_skipped_call_does_not_count(engine):
    optimizer = make(accumulate=2, non_finite="skip")
    bad = draw(1, "float32")
    bad["W"][3, 3] = np.nan
    said = [optimizer.step(g) for g in (draw(1, "float32"), bad, draw(2, "float32"))]
    assert said == [False, False, True]
    plain = make(accumulate=2)
    for seed in (1, 2):
        plain.step(draw(seed, "float32"))
    assert bytes_of(optimizer) == bytes_of(plain)


def test_a_dynamic_loss_scale_halves_and_doubles(numpy_engine):
    p = np.ones(2)
    optimizer = gdopt.SGD(p, lr=0.1, loss_scale="dynamic")
    assert optimizer.step(np.array([np.inf, 1.0])) is False
    assert (optimizer.hyper["loss_scale"], optimizer.t) == (2.0**15, 0)
    np.testing.assert_array_equal(p, 1.0)
    assert optimizer.step(np.full(2, 2.0**15)) is True
    np.testing.assert_allclose(p, 0.9)
    for _ in range(1999):
        optimizer.step(np.zeros(2))
    assert optimizer.hyper["loss_scale"] == 2.0**16
    for _ in range(40):
        optimizer.step(np.array([np.nan, 1.0]))
    with pytest.raises(gdopt.ArgumentError, match=r"not even with loss_scale 5\.9"):
        optimizer.step(np.array([np.nan, 1.0]))


@pytest.mark.peers("torch")
def test_the_dynamic_scale_is_torch_s(torch, numpy_engine):
    scaler = torch.amp.GradScaler("cpu")
    p, theirs = np.ones(2), torch.ones(2, requires_grad=True)
    descent = torch.optim.SGD([theirs], lr=0.1)
    optimizer = gdopt.SGD(p, lr=0.1, loss_scale="dynamic")
    scaler.scale(theirs.sum())
    for k in range(2010):
        g = [np.inf, 1.0] if k in {0, 1, 5} else [3.0, 65536.0]
        theirs.grad = torch.tensor(g)
        scaler.step(descent)
        scaler.update()
        optimizer.step(np.array(g))
        assert optimizer.hyper["loss_scale"] == scaler.get_scale()
    np.testing.assert_allclose(p, theirs.detach().numpy(), rtol=1e-4)


def test_a_skip_within_a_window_drops_it_with_a_dynamic_scale(numpy_engine):
    p = np.zeros(1)
    optimizer = gdopt.SGD(p, lr=1.0, loss_scale="dynamic", accumulate=2)
    scale = 2.0**15
    for g in (1.0, np.inf, 3 * scale, 5 * scale):
        optimizer.step(np.array([g]))
    assert (p.item(), optimizer.t) == (-4.0, 1)


def test_the_mean_of_the_parameters_begins_after_its_start(engine):
    p = np.array([1.0])
    optimizer = gdopt.SGD(p, lr=0.1, swa_start=2)
    path = []
    for k in range(5):
        if k < 3:
            with pytest.raises(gdopt.ArgumentError, match="average begins with upda"):
                _ = optimizer.average
        optimizer.step(np.array([1.0]))
        path.append(p.item())
    assert optimizer.average["0"].item() == pytest.approx(np.mean(path[2:]))
    with optimizer.averaged():
        assert p.item() == pytest.approx(np.mean(path[2:]))
    assert p.item() == path[LAST]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_decay": 0.1}, "weight_decay and decay_mode go together.*'coupled'"),
        ({"decay_mode": "coupled"}, "go together, .* got weight_decay=None"),
        ({"weight_decay": 0.1, "decay_mode": "l2"}, "go together, .* decay_mode='l2'"),
        ({"weight_decay": -1, "decay_mode": "coupled"}, r"weight_decay must be in \[0"),
        ({"agc": 0.1}, "agc and unit_axis go together"),
        ({"unit_axis": 0}, "agc and unit_axis go together"),
        ({"agc": 0.1, "unit_axis": 2}, "agc and unit_axis go together"),
        ({"agc": 0.1, "unit_axis": True}, "agc and unit_axis go together"),
        ({"ema": 0.9, "swa_start": 3}, "swa_start must be None with ema"),
        ({"swa_start": -1}, "swa_start must be a whole number of at least 0"),
        ({"lookahead": 5}, "lookahead must be a list or tuple"),
        ({"lookahead": (5,)}, r"lookahead must be \(steps, step size\)"),
        ({"lookahead": (0, 0.5)}, "the steps of lookahead must be a whole number of"),
        ({"lookahead": (5, 1.5)}, r"slow_step_size must be in \(0, 1\]"),
        ({"bounds": 3.0}, r"bounds must be a pair \(lower, upper\), got 3.0"),
        ({"bounds": {"W": 3}}, r"bounds\['W'\] must be a pair"),
        ({"bounds": (2.0, 1.0)}, "lower must be at most upper, got 2.0 and 1.0"),
        (
            {"bounds": {"W": (0, 1), "b*": (0, [1] * 7), "*": (1, 0)}},
            r"upper\['b\*'\] must be a number",
        ),
        ({"bounds": {"W": (0, 1), "*": (1, 0)}}, "at most upper, got 1 and 0 for 'b'"),
        (
            {"bounds": {"W": (np.arange(7.0), np.float32(5)), "*": (0, 1)}},
            "lower must be at most upper, got array",
        ),
        ({"bounds": (np.nan, 1.0)}, "lower must be in"),
        ({"bounds": (np.inf, np.inf)}, r"lower must be in \[-inf, inf\)"),
        ({"clip_value": 0}, r"clip_value must be in \(0, inf\]"),
        ({"clip_each": -1}, r"clip_each must be in \(0, inf\]"),
        ({"agc": 0.0, "unit_axis": 0}, r"agc must be in \(0, inf\]"),
        ({"accumulate": 0}, "accumulate must be a whole number of at least 1"),
        ({"accumulate": 2.0}, "accumulate must be a whole number of at least 1"),
        ({"maximize": 1}, "maximize must be True or False"),
        ({"loss_scale": "auto"}, "loss_scale must be a number"),
        ({"loss_scale": "dynamic", "non_finite": "raise"}, "must not be 'raise'"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(gdopt.GdoptError, match=message):
        make(**options)


def test_bounds_that_are_assigned_stay_in_order(engine):
    p = np.ones(3)
    optimizer = gdopt.SGD(p, lr=1.0, bounds=(0, 2))
    for name, value in (("lower", 3), ("upper", -0.5), ("upper", -np.ones(3))):
        with pytest.raises(gdopt.ArgumentError, match="lower must be at most upper"):
            optimizer.hyper[name] = value
    assert (optimizer.lower, optimizer.upper) == (0, 2)
    optimizer.upper = 0.25
    optimizer.step(np.zeros(3))
    np.testing.assert_array_equal(p, 0.25)


@pytest.mark.parametrize("name", [None, "p"])
def test_bounds_that_cross_at_a_step_are_refused(name, unchanged, engine):
    def falling(step):
        return 1.0 - step

    pair = (0.0, falling)
    bounds = pair if name is None else {name: pair, "q": (-1.0, 3.0)}
    params = {"p": np.full(3, 5.0), "q": np.zeros(3)}
    optimizer = gdopt.SGD(params, lr=1.0, bounds=bounds)
    grads = {"p": np.zeros(3), "q": np.zeros(3)}
    for most in (1.0, 0.0):
        optimizer.step(grads)
        np.testing.assert_array_equal(params["p"], most)
    message = "lower must be at most upper, got 0.0 and -1.0 for 'p' at step 2"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match=message):
        optimizer.step(grads)


def test_a_rule_with_its_own_decay_has_no_mode():
    with pytest.raises(gdopt.ArgumentError, match="decay_mode must be left out, as Ad"):
        make(kind=gdopt.AdamW, decay_mode="decoupled")

    def no_rate(p, g, *, step_size):
        return p - step_size * g

    with pytest.raises(gdopt.ArgumentError, match="needs lr, which no_rate does not"):
        gdopt.Optimizer(np.ones(2), no_rate, step_size=1.0, **DECOUPLED)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_unit_moves_by_a_share_of_its_norm(axis, engine):
    p, g = np.array([[3.0], [4.0]]), np.array([[6.0], [8.0]])
    p, g = (p, g) if axis else (p.T.copy(), g.T.copy())
    gdopt.SGD(p, 1.0, agc=0.01, unit_axis=axis).step(g)
    np.testing.assert_allclose(p.ravel(), [2.97, 3.96], rtol=1e-15)


def test_units_are_columns_of_at_most_three_axes():
    with pytest.raises(
        gdopt.RuleError, match="unit_axis=1 takes arrays of at most thr"
    ):
        gdopt.SGD(np.ones((2, 3, 2, 2)), agc=0.1, unit_axis=1)
    gdopt.SGD(np.ones((2, 3, 2, 2)), agc=0.1, unit_axis=0).step(np.ones((2, 3, 2, 2)))


def test_adamw_clipped_decayed_averaged_and_bounded_is_one_pass():
    options = {"clip_norm": 1.0, "ema": 0.9, "bounds": (-1, 1)}
    optimizer = make(
        kind=gdopt.AdamW,
        weight_decay={"W": 0.1} | dict.fromkeys(("b", "scale", "V"), 0.0),
        **options,
    )
    program = optimizer.rule.kernel.element_program()
    assert (program.loads, program.stores) == (5, 4)  # p, m, v, average; and g


def test_a_copied_state_has_all_of_it(numpy_engine):
    optimizer = steps(make(**ALL), 1, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    assert saved["calls"] == 1
    twin = make(**ALL).load_state_dict(saved)
    for name, array in optimizer.params.items():
        twin.params[name][...] = array
    for one in (optimizer, twin):
        steps(one, 4, 3)
    assert bytes_of(optimizer) == bytes_of(twin)
