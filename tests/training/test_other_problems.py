"""A checkpoint of another problem is refused; the same one is known in any form."""

import numpy as np
import pytest

import gdopt
from gdopt.schedules import cosine
from gdopt.training import EarlyStopping

X = np.arange(1.0, 13.0)


def bowl(x):
    return float(x @ x), 2 * x


def adam(**options):
    return {"lr": None, "method": lambda params: gdopt.Adam(params, lr=0.1, **options)}


def data(value=0.0, count=12, **how):
    examples = np.random.default_rng(1).standard_normal((count, 12)) + value

    def fg(x, part):
        return float(((part @ x) ** 2).sum()), 2 * part.T @ (part @ x)

    batches = gdopt.minibatches(examples, **{"batch_size": 4, "seed": 0} | how)
    return {"fg": fg, "data": batches, "max_iter": 7, "lr": 0.01}


def by_name(name):
    def fg(params):
        return bowl(params[name])[0], {name: 2 * params[name]}

    return {"x": {name: X.copy()}, "fg": fg}


def raised(at):
    array = np.full(12, 9.0)
    array[at] = 8.0
    return array


class Constant:
    """A schedule without a name of its own."""

    def __init__(self, rate):
        self._rate = rate

    def __call__(self, step):
        return self._rate


def minimize(folder, x=None, fg=bowl, **options):
    x = X.copy() if x is None else x
    return gdopt.minimize(
        fg, x, checkpoint=folder, **{"lr": 0.1, "max_iter": 20} | options
    )


def bits(tree):
    if isinstance(tree, dict):
        return {name: bits(part) for name, part in tree.items()}
    return tree.tobytes() if isinstance(tree, np.ndarray) else tree


SAME = {
    "lambdas": lambda: {"lr": lambda step: 0.1},
    "objects": lambda: {"lr": Constant(0.1)},
    "schedules": lambda: {"lr": cosine(0.1, 0.0, steps=30)},
    "a table that ends with the run": lambda: {"lr": table},
    "lambdas by name": lambda: {"lr": {"*": lambda step: 0.1}},
    "arrays": lambda: {"lr": np.full(12, 0.1)},
    "0-d arrays": lambda: {"lr": np.array(0.1)},
    "bounds": lambda: {"bounds": (-1, raised(6))},
    "other callbacks": lambda: {"callback": [lambda record: None]},
}


def table(step):
    return ([0.1] * 20)[step]


@pytest.mark.parametrize("case", SAME)
def test_the_same_settings_made_anew_are_the_same(tmp_path, case):
    first = minimize(tmp_path, **SAME[case]())
    again = minimize(tmp_path, **SAME[case]())
    assert first.x.tobytes() == again.x.tobytes()


@pytest.mark.parametrize(
    ("first", "second"),
    [(np.float64(0.1), 0.1), (np.float32(0.5), 0.5), (1, np.int64(1)), (1, 1.0)],
)
def test_numbers_of_any_kind_are_the_same(tmp_path, first, second):
    minimize(tmp_path, lr=first, max_iter=2, gtol=0.0)
    assert minimize(tmp_path, lr=second, max_iter=2, gtol=0.0).nit == 2


def test_a_rate_that_a_callback_changed_is_the_same_in_the_same_process(tmp_path):
    """The call names the optimizer, whose rate is no longer the one at the start."""
    x = X.copy()
    optimizer = gdopt.Adam(x, lr=0.1)

    def halve(record):
        optimizer.lr = optimizer.lr / 2

    how = {"method": optimizer, "callback": halve}
    for record in gdopt.steps(bowl, x, checkpoint=tmp_path, max_iter=20, **how):
        if record.step == 5:
            break
    assert minimize(tmp_path, x, lr=None, **how).nit == 20
    assert optimizer.lr == 0.1 / 2**21


OTHERS = {
    "rate": ({}, {"lr": 0.2}, r"lr 0\.1, now 0\.2"),
    "lambda": (
        {"lr": lambda step: 0.1},
        {"lr": lambda step: 0.2},
        r"lr at step 20 0\.1, now 0\.2",
    ),
    "lambda by name": (
        {"lr": {"*": lambda step: 0.1}},
        {"lr": {"*": lambda step: 0.3}},
        r"lr at step 20 0\.1, now 0\.3",
    ),
    "schedule": (
        {"lr": cosine(0.1, 0, steps=30)},
        {"lr": cosine(0.1, 0, steps=40)},
        "lr 'cosine.*steps=30.*, now 'cosine.*steps=40",
    ),
    "0-d array": (
        {"lr": np.array(0.1)},
        {"lr": np.array(0.2)},
        r"lr at step 20 0\.1, now 0\.2",
    ),
    "array": ({"lr": raised(5)}, {"lr": raised(6)}, "lr 'array.*, now 'array"),
    "bounds": (
        {"bounds": (0, raised(5))},
        {"bounds": (0, raised(6))},
        "upper 'array.*, now 'array",
    ),
    "no bounds": ({"bounds": (0, 9)}, {}, r"lower 0\.0, now None; upper 9\.0, now"),
    "bounds of a line search": (
        {"lr": None, "method": "l-bfgs", "bounds": (-20, raised(5) + 20)},
        {"lr": None, "method": "l-bfgs", "bounds": (-20, raised(6) + 20)},
        "upper 'array.*, now 'array",
    ),
    "clip_norm": (adam(clip_norm=1.0), adam(clip_norm=2.0), r"clip_norm 1\.0, now 2"),
    "no clip_norm": (adam(clip_norm=1.0), adam(), r"clip_norm 1\.0, now None"),
    "maximize": (
        adam(bounds=(-20, 20)),
        adam(bounds=(-20, 20), maximize=True),
        "maximize False, now True",
    ),
    "accumulate": (adam(accumulate=2), adam(accumulate=4), "accumulate 2, now 4"),
    "non_finite": (adam(non_finite="skip"), adam(), "non_finite 'skip', now 'ignore'"),
    "method": ({}, {"method": "momentum"}, "method 'adam', now 'momentum'"),
    "smoothing": ({}, {"smoothing": 0.5}, "smoothing 0.9, now 0.5"),
    "names": (by_name("a"), by_name("b"), r"'a' 'float64 \(12,\)', now None"),
    "dtype": ({}, {"x": X.astype("f4")}, "params 'float64 .*, now 'float32"),
    "shape": ({}, {"x": X[:4].copy()}, r"\(12,\)', now 'float64 \(4,\)'"),
    "value": ({}, {"fg": lambda x: (bowl(x)[0] + 1, 2 * x)}, "value was .*, now "),
    "sign": (
        {},
        {"fg": lambda x: (bowl(x)[0], -2 * x)},
        "the gradient of params at its parameters differs",
    ),
    "callbacks": (
        {"callback": EarlyStopping(3)},
        {},
        r"callbacks \['EarlyStopping\(patience=3, .*\)'\], now \[\]",
    ),
    "patience": (
        {"callback": EarlyStopping(3)},
        {"callback": EarlyStopping(4)},
        r"callbacks .*patience=3, .*, now .*patience=4",
    ),
    "no data": (data(), {"lr": 0.01}, "data True, now False"),
    "seed": (data(), data(seed=1), "seed of state must be 1 to match, got 0"),
    "batch size": (data(), data(batch_size=3), "batch_size of state must be 3"),
    "values": (data(), data(0.1), "at its parameters the value was .*, now "),
    "examples": (data(), data(count=13), "count of state must be 13 to match"),
    "order": (data(), data(shuffle=False), "shuffle of state must be False"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_problem_is_refused_and_nothing_changed(tmp_path, case):
    first, second, message = OTHERS[case]
    minimize(tmp_path, **first)
    second = {"x": X.copy()} | second
    x, batches = second["x"], second.get("data")
    before = bits(x), batches and batches.state_dict()
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(gdopt.StateError, match=message) as refused:
        minimize(tmp_path, **second)
    assert refused.match("^.* holds a run of another problem: ")
    assert refused.match("; take another folder, or delete this one to start over$")
    assert before == (bits(x), batches and batches.state_dict())
    assert files == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_an_optimizer_that_is_refused_has_the_state_it_had(tmp_path, unchanged):
    minimize(tmp_path)
    x = np.ones(12)
    optimizer = gdopt.Adam(x, lr=0.1)
    optimizer.step(x.copy())
    with unchanged(optimizer), pytest.raises(gdopt.StateError, match="value was"):
        minimize(tmp_path, x, lambda x: (1.0, 2 * x), method=optimizer, lr=None)


def test_the_last_digits_of_a_value_near_0_may_be_those_of_another_machine(tmp_path):
    end = minimize(None).fun
    for noise in (1e-9, 5e-9):
        minimize(tmp_path, fg=lambda x, n=noise: (bowl(x)[0] - end + n, 2 * x))


def test_a_run_about_to_diverge_is_resumed_and_diverges(tmp_path):
    made = data()

    def fg(x, part):
        fg.count += 1
        loss, grads = made["fg"](x, part)
        return (np.nan if fg.count > 5 else loss), grads

    for begin in (0, 5):
        fg.count = begin
        with pytest.raises(gdopt.DivergenceError, match="at step 6"):
            minimize(tmp_path, **data() | {"fg": fg}, checkpoint_seconds=1e-9)
