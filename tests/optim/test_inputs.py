"""A step may be given hyper-parameters of its own: numbers or arrays."""

import gc
import weakref

import numpy as np
import pytest

import gdopt

pytestmark = pytest.mark.newest

GENERATOR = np.random.default_rng(34)
SHAPES = {"W": (3, 2), "b": (2,), "U": (70,)}
START = {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
ROWS = [
    {name: GENERATOR.standard_normal(shape) for name, shape in SHAPES.items()}
    for _ in range(3)
]


@gdopt.rule(ranges={"scale": "[0, inf)"})
def scaled(p, m, g, *, lr, scale):
    m = 0.5 * m + scale * g
    return p - lr * m, m


RULES = {
    "of elements": scaled,
    "that reduces": gdopt.rule(
        lambda p, m, g, *, lr, scale: (
            p - lr * scale * g / (1.0 + np.linalg.norm(g)),
            m + scale * g,
        )
    ),
}


def cast(arrays, dtype):
    return {name: array.astype(dtype) for name, array in arrays.items()}


def weights(k, dtype=np.float64):
    return {n: np.abs(a).astype(dtype) for n, a in ROWS[(k + 1) % 3].items()}


def assert_same(one, other):
    for name in SHAPES:
        np.testing.assert_array_equal(one.params[name], other.params[name])
        for state, array in other.state[name].items():
            np.testing.assert_array_equal(one.state[name][state], array)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("make", [dict, gdopt.Arena.of])
@pytest.mark.parametrize("form", [dict, gdopt.Arena.of])
def test_arrays_of_a_step_are_hyper_parameters_of_that_step(
    rule, dtype, make, form, engine
):
    params = make(cast(START, dtype))
    optimizer = gdopt.Optimizer(params, RULES[rule], lr=0.5)
    expected = gdopt.Optimizer(cast(START, dtype), RULES[rule], lr=0.5, scale=1.0)
    for k, row in enumerate(ROWS):
        scale, grads = weights(k, dtype), cast(row, dtype)
        assert optimizer.step(form(grads), scale=form(scale))
        expected.hyper["scale"] = scale
        expected.step(grads)
        if k == 1:
            optimizer.lr = expected.lr = 0.25
    assert optimizer.t == 3
    assert_same(optimizer, expected)


NUMBERS = {
    "numbers": lambda k: 0.5 + k,
    "0-d arrays": lambda k: np.array(0.5 + k),
    "NumPy's numbers": lambda k: np.float32(0.5 + k),
    "by name": lambda k: {"W": 0.5 + k, "*": 0.25},
    "by equal numbers": lambda k: {"W": 0.5 + k, "*": 0.5},
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("make", [dict, gdopt.Arena.of])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5, "ema": 0.5}])
def test_numbers_of_a_step_hold_for_it_alone(kind, make, options, engine):
    optimizer = gdopt.Optimizer(make(START), scaled, lr=0.5, scale=2.0, **options)
    params = {name: array.copy() for name, array in optimizer.params.items()}
    expected = gdopt.Optimizer(params, scaled, lr=0.5, scale=2.0, **options)
    for k, row in enumerate(ROWS):
        scale = NUMBERS[kind](k)
        optimizer.step(row, scale=scale)
        assert optimizer.scale == 2.0
        expected.scale = scale
        expected.step(row)
        expected.scale = 2.0
        for one in (optimizer, expected):
            one.step(row)
    assert optimizer.grad_norm == expected.grad_norm
    assert_same(optimizer, expected)


def test_plans_are_kept_by_what_is_an_array(numpy_engine):
    optimizer = gdopt.Optimizer(dict(START), scaled, lr=0.5)
    kept = []
    for k in range(6):
        scale = weights(k) if k % 2 else float(k)
        optimizer.step(ROWS[k % 3], scale=scale, lr=0.1 * k)
        made = optimizer._inputs._made
        kept.append(
            [(key, hyper.version, hyper.plans.of()) for key, hyper in made.items()]
        )
    assert kept[1] == kept[3] == kept[5]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.usefixtures("unfrozen_objects")
def test_arrays_are_not_kept_after_the_step(rule, engine):
    optimizer = gdopt.Optimizer(
        {name: array.copy() for name, array in START.items()}, RULES[rule], lr=0.5
    )
    scale = weights(0)
    together = gdopt.Arena.of(scale)
    references = [weakref.ref(array) for array in (*scale.values(), together)]
    optimizer.step(ROWS[0], scale=scale)
    for _ in range(2):
        optimizer.step(gdopt.Arena.of(ROWS[0]), scale=together)
    del scale, together
    gc.collect()
    assert [one() for one in references] == [None] * 4


def test_a_rule_may_be_given_everything_at_each_step(engine):
    p = np.zeros(3)
    optimizer = gdopt.Optimizer(p, scaled)
    assert optimizer.step(np.ones(3), lr=0.5, scale=np.array([1.0, 2.0, 4.0]))
    assert p.tolist() == [-0.5, -1.0, -2.0]
    assert gdopt.Adam(np.zeros(2)).step(np.ones(2), lr=0.5)


BAD = {
    "missing": ({}, "step needs scale: the rule takes it and it was not given when "),
    "unknown": ({"scal": 1.0}, "unknown keyword 'scal'; did you mean scale"),
    "t": ({"t": 1, "scale": 1.0}, "step must not be given t"),
    "out of range": ({"scale": -1.0}, r"scale must be in \[0, inf\) and"),
    "a schedule": ({"scale": lambda t: 1.0}, "scale must be a number or an array"),
    "text": ({"scale": "1"}, "scale must be a number"),
    "None": ({"scale": None}, "scale must be a number"),
    "one array": ({"scale": np.ones((3, 2))}, "scale must hold 3 arrays"),
    "a name missing": (
        {"scale": {"W": np.ones((3, 2))}},
        "scale must have the names of the parameters: missing 'b', 'U'",
    ),
    "another shape": (
        {"scale": weights(0) | {"b": np.ones(3)}},
        r"scale of 'b' must have shape \(2,\), got \(3,\)",
    ),
    "another dtype": (
        {"scale": weights(0) | {"b": np.ones(2, np.float32)}},
        "scale of 'b' must be float64",
    ),
    "a number among arrays": ({"scale": weights(0) | {"b": 1.0}}, "scale of 'b' must"),
    "None among arrays": ({"scale": weights(0) | {"b": None}}, "scale of 'b' must"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_step_cannot_be_given_changes_nothing(case, unchanged, numpy_engine):
    given, message = BAD[case]
    params = {name: array.copy() for name, array in START.items()}
    optimizer = gdopt.Optimizer(params, scaled, lr=0.5)
    optimizer.step(ROWS[0], scale=1.0)
    with unchanged(optimizer), pytest.raises(gdopt.GdoptError, match=message):
        optimizer.step(ROWS[1], **given)


def test_arrays_that_a_step_writes_to_are_refused(unchanged, numpy_engine):
    params = {name: array.copy() for name, array in START.items()}
    optimizer = gdopt.Optimizer(params, scaled, lr=0.5)
    for alias in (params["b"], optimizer.state["b"]["m"]):
        scale = weights(0) | {"b": alias}
        with unchanged(optimizer), pytest.raises(gdopt.ArgumentError, match="scale of"):
            optimizer.step(ROWS[0], scale=scale)


def test_the_call_that_updates_gives_the_values(engine):
    options = {"lr": 0.5, "accumulate": 2}
    p, q = np.zeros(2), np.zeros(2)
    optimizer = gdopt.Optimizer(p, scaled, **options)
    expected = gdopt.Optimizer(q, scaled, scale=2.0, **options)
    assert not optimizer.step(np.ones(2), scale=9.0)
    assert optimizer.step(np.ones(2), scale=np.full(2, 2.0))
    expected.step(np.ones(2))
    expected.step(np.ones(2))
    assert p.tolist() == q.tolist()


def test_arrays_without_a_gradient_need_none(engine):
    params, twin = (
        {name: array.copy() for name, array in START.items()} for _ in range(2)
    )
    optimizer = gdopt.Optimizer(params, scaled, lr=0.5)
    expected = gdopt.Optimizer(twin, scaled, lr=0.5, scale=weights(0))
    optimizer.step(ROWS[0] | {"b": None}, scale=weights(0))
    expected.step(ROWS[0] | {"b": None})
    assert_same(optimizer, expected)
    optimizer.frozen = "U"
    optimizer.step(ROWS[1], scale={n: a for n, a in weights(0).items() if n != "U"})
    expected.step(ROWS[1] | {"U": None})
    assert_same(optimizer, expected)


def test_rows_take_numbers_of_a_step(numpy_engine):
    params, twin = np.ones((4, 2)), np.ones((4, 2))
    optimizer = gdopt.Optimizer(params, scaled, lr=0.5)
    expected = gdopt.Optimizer(twin, scaled, lr=0.5, scale=3.0)
    optimizer.step(np.ones((1, 2)), at=[2], scale=3.0)
    expected.step(np.ones((1, 2)), at=[2])
    assert params.tolist() == twin.tolist()


def by_row(p, m, g, *, lr, scale):
    """Compute with a row's norm, which wants rows in their order."""
    m = m + scale * g / (1.0 + np.linalg.norm(g, axis=1, keepdims=True))
    return p - lr * scale * m, m


WITH_ROWS = {
    "of elements": (scaled, {}),
    "that takes the norm": (scaled, {"clip_norm": 0.5}),
    "that reduces rows": (by_row, {"clip_each": 2.0, "clip_norm": 1.0}),
    "rounded": (scaled, {"rounding": "stochastic", "state_dtype": "bfloat16"}),
}


@pytest.mark.parametrize("case", WITH_ROWS)
@pytest.mark.parametrize("rows", [[5, 0, 3], [1, 2, 6], slice(1, 6, 2)])
@pytest.mark.parametrize("form", [dict, gdopt.Arena.of])
def test_arrays_of_a_step_on_rows_have_a_row_for_each(case, rows, form, engine):
    rule, options = WITH_ROWS[case]
    dtype = np.float32
    if "rounding" in options:
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    generator = np.random.default_rng(5)
    shapes = {"E": (7, 4), "b": (3, 2)}
    start, g, scale = (
        {n: generator.uniform(0.1, 1, s).astype(dtype) for n, s in shapes.items()}
        for _ in range(3)
    )
    params = {name: array.copy() for name, array in start.items()}
    named = gdopt.Optimizer(params, rule, lr=0.5, **options)
    spread = {name: array.astype(np.float32) for name, array in scale.items()}
    whole = gdopt.Optimizer(start, rule, lr=0.5, scale=spread, **options)
    own = {"E": g["E"][rows], "b": g["b"]}
    for _ in range(2):
        given = form({"E": scale["E"][rows], "b": scale["b"]})
        assert named.step(own, at={"E": rows}, scale=given)
        whole.step(own, at={"E": rows})
    for name in shapes:
        assert named.params[name].tobytes() == whole.params[name].tobytes()
        m, expected = (one.state[name]["m"] for one in (named, whole))
        assert m.tobytes() == expected.tobytes()
    assert named.grad_norm == whole.grad_norm


@pytest.mark.parametrize(
    ("rows", "shape", "message"),
    [
        ([2, 0, 2], (3, 2), "scale must be a number where at= repeats rows of params"),
        ([2, 0], (4, 2), r"scale of params must have shape \(2, 2\)"),
    ],
)
def test_arrays_that_do_not_fit_the_rows_change_nothing(
    rows, shape, message, unchanged, numpy_engine
):
    optimizer = gdopt.Optimizer(np.ones((4, 2)), scaled, lr=0.5)
    with unchanged(optimizer), pytest.raises(gdopt.GdoptError, match=message):
        optimizer.step(np.ones((len(rows), 2)), at=rows, scale=np.ones(shape))


def test_numbers_of_a_step_on_rows_that_are_repeated(engine):
    p, q = np.ones((4, 2)), np.ones((4, 2))
    gdopt.Optimizer(p, scaled, lr=0.5).step(np.ones((3, 2)), at=[2, 0, 2], scale=3.0)
    dense = np.array([[1.0], [0], [2], [0]]) * np.ones(2)
    gdopt.Optimizer(q, scaled, lr=0.5, scale=3.0).step(dense)
    assert p.tolist() == q.tolist()


def test_an_arena_of_whole_arrays_is_not_taken_for_rows(numpy_engine):
    optimizer = gdopt.Optimizer({"E": np.ones((4, 2))}, scaled, lr=0.5)
    whole = gdopt.Arena.of({"E": np.ones((4, 2))})
    optimizer.step({"E": np.ones((4, 2))}, scale=whole)
    with pytest.raises(gdopt.ArgumentError, match=r"must have shape \(1, 2\)"):
        optimizer.step({"E": np.ones((1, 2))}, at={"E": [2]}, scale=whole)


def test_what_each_step_is_given_is_not_an_attribute(numpy_engine):
    optimizer = gdopt.Optimizer(np.zeros(2), scaled, lr=0.5)
    with pytest.raises(AttributeError, match=r"as step\(grads, scale=\.\.\.\)"):
        _ = optimizer.scale
    with pytest.raises(AttributeError, match="given to each step"):
        optimizer.scale = 1.0


def test_muon_says_what_to_write_instead(unchanged, numpy_engine):
    optimizer = gdopt.Muon(np.eye(2))
    message = r"Muon takes no eps, lr in step: write opt.eps = ..., opt.lr = ... before"
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentTypeError, match=message):
        optimizer.step(np.eye(2), eps=0.1, lr=0.5)
    with unchanged(optimizer), pytest.raises(gdopt.ArgumentTypeError, match="unknown"):
        optimizer.step(np.eye(2), scale=0.5)


def test_what_muon_is_given_is_for_the_rule_of_its_other_arrays(unchanged, engine):
    def others(params, lr):
        return gdopt.Optimizer(params, scaled, lr=lr)

    start = {"W": np.eye(3), "b": np.ones(2), "c": np.ones(4)}
    params, alone = ({n: a.copy() for n, a in start.items()} for _ in range(2))
    del alone["W"]
    muon = gdopt.Muon(params, 0.1, others=others)
    other = others(alone, 0.1)
    grads, scale = {"b": np.ones(2), "c": np.ones(4)}, {"b": ROWS[0]["b"] ** 2}
    scale["c"] = np.arange(4.0)
    for one in (scale, 3.0):
        muon.step({"W": np.ones((3, 3)), **grads}, scale=one)
        other.step(grads, scale=one)
    for name, array in alone.items():
        assert params[name].tolist() == array.tolist()
    refused = {
        "step needs scale": {},
        "unknown keyword 'scal'; did you mean scale": {"scal": 1.0},
        r"scale of 'b' must have shape": {"scale": scale | {"b": np.ones(3)}},
    }
    for message, given in refused.items():
        with unchanged(muon), pytest.raises(gdopt.GdoptError, match=message):
            muon.step({"W": np.ones((3, 3)), **grads}, **given)


@pytest.mark.gpu
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("make", [dict, gdopt.Arena.of])
@pytest.mark.parametrize("form", [dict, gdopt.Arena.of])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5, "non_finite": "skip"}])
def test_arrays_and_numbers_of_a_step_on_a_gpu(rule, make, form, options, cp):
    def there(arrays):
        return {name: cp.asarray(array) for name, array in arrays.items()}

    params = make(there(cast(START, np.float32)))
    optimizer = gdopt.Optimizer(params, RULES[rule], lr=0.5, **options)
    expected = gdopt.Optimizer(cast(START, np.float32), RULES[rule], lr=0.5, **options)
    for k, row in enumerate(ROWS):
        scale, grads = weights(k, np.float32), cast(row, np.float32)
        optimizer.step(form(there(grads)), scale=form(there(scale)))
        expected.step(grads, scale=scale)
        optimizer.step(form(there(grads)), scale=cp.asarray(0.25), lr=0.1 * k)
        expected.step(grads, scale=0.25, lr=0.1 * k)
    assert optimizer.t == expected.t == 6
    for name, array in expected.params.items():
        np.testing.assert_array_equal(cp.asnumpy(params[name]), array)
