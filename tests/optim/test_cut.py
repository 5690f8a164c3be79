"""Optimizers of the parts of an arena do what that of the whole does, bit for bit."""

import copy

import ml_dtypes
import numpy as np
import pytest
from cuts import arrays, over, refused_alike

import gdopt
from gdopt import schedules

DTYPES = ("float32", "float64")
PARTS = (1, 2, 3, 7)
GENERATOR = np.random.default_rng(3)
COLUMN = GENERATOR.uniform(0.01, 0.1, (37, 1))
ROW = GENERATOR.uniform(0.01, 0.1, 11)
FULL = GENERATOR.uniform(0.01, 0.1, (37, 11))
SETTINGS = {
    "a number": {"lr": 0.3},
    "a schedule": {"lr": schedules.inverse_time(0.3, 0.5)},
    "a 0-d array": {"lr": np.array(0.3)},
    "by name": {"lr": {"W float32": 0.1, "*": 0.3}},
    "by pattern": {"lr": {"b*": 0.1, "*64": schedules.exponential(0.3, 0.5), "*": 0.2}},
    "decay by pattern": {"weight_decay": {"W*": 0.5}, "decay_mode": "decoupled"},
    "arrays": {"lr": {"W*": COLUMN, "U*": 0.2, "b*": ROW, "*": 0.1}},
    "rows": {"lr": {"W float32": FULL, "W float64": ROW[None], "*": 0.1}},
    "one array": {"lr": np.array([[[0.25]]])},
    "bounds": {"bounds": {"W*": (-FULL, FULL), "*": (-0.5, np.inf)}},
    "bounds by step": {"bounds": {"W*": (-0.2, schedules.constant(0.2)), "*": (-1, 1)}},
    "bounds by step and array": {
        "bounds": (-0.2 * np.ones(1), lambda step: 0.2 + step)
    },
    "frozen": {"frozen": ["W float32", "b*"], "lr": {"*": 0.3, "U*": 0.1}},
    "several": {"ema": 0.9, "lookahead": (2, 0.5), "maximize": True},
}


def run(whole, part_of, dtypes, steps, **options):
    """Step the whole and its parts with equal gradients; return both kinds."""
    plain = gdopt.Adam(whole, **options)
    parts = [gdopt.Adam(part, **options) for part in part_of]
    pieces = [part.like() for part in part_of]
    grads = whole.like()
    for seed in range(steps):
        for name, array in arrays(*dtypes, seed=seed).items():
            grads[name] = whole.backend.from_host(array, whole.device)
        plain.step(grads)
        for optimizer, piece in zip(parts, pieces, strict=True):
            for name, own in piece.items():
                first = piece.layout.slots[name].first
                own[...] = grads[name].reshape(-1)[first : first + own.size]
            optimizer.step(piece)
    return plain, parts


def assert_same(plain, parts):
    """Compare all elements of parameters and state with those of the pieces."""
    for optimizer in parts:
        for name, slot in optimizer.params.layout.slots.items():
            taken = slice(slot.first, slot.first + slot.stop - slot.start)
            pairs = [(plain.params, optimizer.params)]
            if name in plain.state:
                pairs.append((plain.state[name], optimizer.state[name]))
            for one, other in pairs:
                for key in other if one is not plain.params else [name]:
                    expected, found = one[key].reshape(-1)[taken], other[key]
                    assert expected.tobytes() == found.tobytes(), (name, key)


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("case", SETTINGS)
def test_every_element_sees_the_settings_of_the_whole(case, parts, engine):
    start = arrays(*DTYPES)
    cut = over(gdopt.Arena.of(start), parts)
    options = {"lr": 0.1, **SETTINGS[case]}
    frozen = options.get("frozen", ())
    cut = [part for part in cut if any(n[0] not in "Wb" for n in part) or not frozen]
    assert_same(*run(gdopt.Arena.of(start), cut, DTYPES, 3, **options))


@pytest.mark.gpu
@pytest.mark.parametrize("case", ["arrays", "rows", "by pattern", "frozen"])
def test_pieces_on_a_gpu(case, cp):
    dtypes, options = DTYPES, {"lr": 0.1, **SETTINGS[case]}
    if case in ("arrays", "rows"):
        given = options["lr"].items()
        moved = {n: cp.asarray(a) if np.ndim(a) else a for n, a in given}
        options["lr"] = moved
    start = {name: cp.asarray(array) for name, array in arrays(*dtypes).items()}
    cut = over(gdopt.Arena.of(start), 3)
    cut = [
        part for part in cut if any(n[0] not in "Wb" for n in part) or case != "frozen"
    ]
    assert_same(*run(gdopt.Arena.of(start), cut, dtypes, 2, **options))


WRONG = {
    "unknown name": {"lr": {"X": 0.1, "*": 0.2}},
    "a name that is missing": {"lr": {"W*": 0.1}},
    "unknown frozen": {"frozen": "X*"},
    "all frozen": {"frozen": "*"},
    "out of the range of float32": {"lr": 1e60},
    "no half precision": {"master_weights": True},
    "state of another dtype": {"state_dtype": "bfloat16"},
    "out of range": {"lr": {"W float32": -1.0, "*": 0.1}},
    "another shape": {"lr": {"W*": np.ones((36, 11)), "*": 0.1}},
    "too many axes": {"lr": {"b*": np.ones((2, 1, 11)), "*": 0.1}},
    "arrays and schedules": {"lr": {"W*": FULL, "U*": schedules.constant(0.1), "*": 1}},
    "crossed bounds": {"bounds": {"W*": (1, 0), "*": (0, 1)}},
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_are_those_of_the_whole_in_every_part(case):
    whole = gdopt.Arena.of({**arrays(*DTYPES), "V float64": np.ones(2000)})
    options = {"lr": 0.1, **WRONG[case]}
    parts = over(whole, 20)
    assert any("float32" not in part.buffers for part in parts)
    message = refused_alike([whole, *parts], **options)
    assert message.count("\n") == 0


def test_crossed_bounds_at_a_step_are_refused_in_every_part():
    whole = gdopt.Arena.of(arrays(*DTYPES))
    falling = lambda step: 1.0 - step  # noqa: E731
    bounds = {"W float32": (0.5, falling), "*": (0.0, 1.0)}
    for arena in [whole, *over(whole, 5)]:
        optimizer = gdopt.SGD(arena, bounds=bounds)
        optimizer.step(arena.like())
        with pytest.raises(gdopt.ArgumentError, match="for 'W float32' at step 1"):
            optimizer.step(arena.like())


def test_a_part_of_which_all_is_frozen_has_nothing_to_update():
    first, *_ = over(gdopt.Arena.of(arrays(*DTYPES)), 5)
    assert {name[0] for name in first} <= {"W", "n"}
    with pytest.raises(gdopt.ArgumentError, match="frozen must leave an array to upd"):
        gdopt.SGD(first, frozen=["W*", "none*"])
    optimizer = gdopt.SGD(first)
    with pytest.raises(gdopt.ArgumentError, match="frozen must leave an array to upd"):
        optimizer.frozen = ["W*", "none*"]


def test_settings_and_their_values_have_the_names_of_the_whole():
    whole = gdopt.Arena.of(arrays(*DTYPES))
    lr = {"W*": 0.1, "*": 0.2}
    for optimizer in [gdopt.SGD(part, lr=lr) for part in over(whole, 4)]:
        assert optimizer.hyper["lr"] == gdopt.SGD(whole, lr=lr).hyper["lr"]
        optimizer.lr = {"*": 0.3}
        assert list(optimizer.hyper["lr"]) == list(whole)
        saved = optimizer.state_dict()
        assert saved["hyper"] == {"lr": {"*": 0.3}}
        optimizer.load_state_dict(saved)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: one])
def test_frozen_changes_and_copies_keep_places(copied):
    dtypes, start = ("float32",), arrays("float32")
    options = {"lr": 0.1, "state_dtype": "bfloat16", "frozen": "W*"}
    whole, cut = gdopt.Arena.of(start), over(gdopt.Arena.of(start), 3)[1:]
    plain = copied(gdopt.Adam(whole, **options))
    parts = [copied(gdopt.Adam(part, **options)) for part in cut]
    for frozen in ("W*", "b*", ()):
        plain.frozen = frozen
        grads = gdopt.Arena.of(arrays(*dtypes, seed=5))
        plain.step(grads)
        for optimizer in parts:
            optimizer.frozen = frozen
            optimizer.step(
                {
                    name: grads[name].reshape(-1)[slot.first :][
                        : slot.stop - slot.start
                    ]
                    for name, slot in optimizer.params.layout.slots.items()
                }
            )
    assert_same(plain, parts)


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("case", ["state", "parameters", "both", "masters", "frozen"])
def test_rounding_at_random_counts_places_from_the_start(case, parts, engine):
    dtypes, options = random_case(case)
    start = arrays(*dtypes)
    cut = over(gdopt.Arena.of(start), parts)
    cut = [
        part for part in cut if any(n[0] not in "Wb" for n in part) or case != "frozen"
    ]
    assert_same(*run(gdopt.Arena.of(start), cut, dtypes, 3, **options))


def test_a_part_without_a_dtype_has_the_seeds_of_the_whole(engine):
    start = {"a": np.ones(3, "f"), "b": np.ones(300, ml_dtypes.bfloat16)}
    options = {"lr": 0.1, "state_dtype": "bfloat16", "rounding": "stochastic"}
    whole, (part, _) = gdopt.Arena.of(start), over(gdopt.Arena.of(start), 2)
    assert list(part) == ["b"]
    plain, own = gdopt.Adam(whole, **options), gdopt.Adam(part, **options)
    grads = gdopt.Arena.of({n: a * a.dtype.type(0.3) for n, a in start.items()})
    plain.step(grads)
    own.step({"b": grads["b"][: part["b"].size].copy()})
    assert_same(plain, [own])


@pytest.mark.gpu
@pytest.mark.parametrize("case", ["state", "parameters", "both", "masters", "frozen"])
def test_rounding_at_random_on_a_gpu(case, cp):
    dtypes, options = random_case(case)
    start = {name: cp.asarray(array) for name, array in arrays(*dtypes).items()}
    cut = over(gdopt.Arena.of(start), 3)
    cut = [
        part for part in cut if any(n[0] not in "Wb" for n in part) or case != "frozen"
    ]
    assert_same(*run(gdopt.Arena.of(start), cut, dtypes, 2, **options))


@gdopt.rule
def with_a_sum(p, m, g, *, lr):  # which is a rule that reduces
    m = 0.9 * m + g + 0 * np.sum(g)
    return p - lr * m, m


def assert_same_bits(xp, rule, rows):
    """Step one array and the last of three parts of it, whole or on some rows."""
    generator = np.random.default_rng(0)
    start = xp.asarray(generator.normal(size=300), "float32")
    options = {"lr": 0.1, "state_dtype": "bfloat16"}
    options |= {} if rule is with_a_sum else {"beta": 0.9}
    whole = gdopt.Arena.of({"U": start})
    part = over(gdopt.Arena.of({"U": start}), 3)[2]
    first = part.layout.slots["U"].first
    plain, own = (gdopt.Optimizer(one, rule, **options) for one in (whole, part))
    for _ in range(2):
        grad = xp.asarray(generator.normal(size=300), "float32")
        if rows:
            plain.step(grad[rows], at={"U": [first + row for row in rows]})
            own.step(grad[rows], at={"U": rows})
        else:
            plain.step(grad)
            own.step(grad[first:].copy())
    assert part["U"].tobytes() == whole["U"][first:].tobytes()
    for name, held in own.state["U"].items():
        assert held.tobytes() == plain.state["U"][name][first:].tobytes()


RANDOM = {
    "reductions": (with_a_sum, None),
    "rows": (gdopt.rules.momentum, [3, 50, 7]),
    "rows that repeat": (gdopt.rules.momentum, [9, 9, 4]),
}


@pytest.mark.parametrize("case", RANDOM)
def test_rules_that_reduce_and_rows_are_rounded_by_their_places(case, engine):
    assert_same_bits(np, *RANDOM[case])


@pytest.mark.gpu
@pytest.mark.parametrize("case", RANDOM)
def test_rules_that_reduce_and_rows_are_rounded_by_their_places_on_a_gpu(case, cp):
    assert_same_bits(cp, *RANDOM[case])


def random_case(case):
    """Return dtypes and options of an optimizer that rounds at random."""
    half, options = ml_dtypes.bfloat16, {"lr": 0.1, "seed": 7}
    if case != "parameters":
        options["state_dtype"] = "bfloat16"
    if case in ("parameters", "both"):
        options["rounding"] = "stochastic"
    if case == "masters":
        return (half, "float16"), options | {"master_weights": True}
    if case == "frozen":
        return ("float32", half), options | {"frozen": ["W*", "b*"]}
    return ("float32", half), options
