import itertools

import numpy as np
import pytest

import gdopt
from gdopt.schedules import cosine
from gdopt.training import capture, fit, load, restore, save


def bits(run):
    return gdopt.backend_of(run.X).to_host(run.network.params.flat).tobytes()


def train(run, epochs):
    return list(fit(run.network, run.optimizer, run.batches, epochs=epochs))


def through_a_file(run, path):
    save(path, capture(run.network, run.optimizer, run.batches))
    return load(path)


@pytest.mark.parametrize("rule", [gdopt.SGD, gdopt.Momentum, gdopt.AdamW])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(
    make_run, tmp_path, engine, rule
):
    settings = {"optimizer": rule, "lr": cosine(0.1, 0.0, steps=15), "l2": 0.1}
    whole, first, rest = (make_run(**settings) for _ in range(3))
    expected = train(whole, 3)
    train(first, 1)
    tree = through_a_file(first, tmp_path / "model.npz")
    restore(tree, rest.network, rest.optimizer, rest.batches)
    records = train(rest, 2)
    assert bits(whole) == bits(rest)
    assert expected[-1].loss == records[-1].loss
    assert expected[-1].step == records[-1].step
    assert expected[-1].lr == records[-1].lr


def test_a_run_left_in_the_middle_of_an_epoch_is_resumed_there(make_run, tmp_path):
    whole, first, rest = (make_run(l2=0.1) for _ in range(3))
    train(whole, 3)
    records = fit(first.network, first.optimizer, first.batches, epochs=3)
    assert len(list(itertools.islice(records, 7))) == 7  # 5 steps an epoch
    tree = through_a_file(first, tmp_path / "model.npz")
    restore(tree, rest.network, rest.optimizer, rest.batches)
    assert [record.step for record in train(rest, 2)] == [8, 9, 10, 11, 12, 13, 14, 15]
    assert bits(whole) == bits(rest)


def test_what_was_captured_is_a_copy(make_run):
    run = make_run()
    tree = capture(run.network, run.optimizer, run.batches)
    before = tree["params"]["W1"].copy()
    train(run, 1)
    np.testing.assert_array_equal(before, tree["params"]["W1"])
    assert tree["optimizer"]["t"] == 0


def misfits(run, tree):
    params, optimizer = tree["params"], tree["optimizer"]
    W = np.zeros((2, 2), np.float32)
    return {
        "no part": ({"params": params}, "got no optimizer, batches"),
        "params": (
            {**tree, "params": {"W1": W}},
            "expected keys: missing 'W2', 'b1', 'b2'$",
        ),
        "no dict": ({**tree, "params": 3}, "params must be a mapping, got int"),
        "shape": (
            {**tree, "params": {**params, "W1": W}},
            r"params\['W1'\] must be float32 of shape \(3, 16\)",
        ),
        "dtype": (
            {**tree, "params": {**params, "b1": np.zeros(16)}},
            r"params\['b1'\] must be float32 .* got float64 of",
        ),
        "rule": (
            {**tree, "optimizer": {**optimizer, "rule": "sgd"}},
            "rule of the saved state must be",
        ),
        "batches": (
            {**tree, "batches": {**tree["batches"], "batch_size": 9}},
            "batch_size of state must be 8 to match, got 9",
        ),
    }


@pytest.mark.parametrize(
    "case", ["no part", "params", "no dict", "shape", "dtype", "rule", "batches"]
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changed(make_run, case):
    run, other = make_run(), make_run(seed=0)
    train(other, 2)
    captured = capture(other.network, other.optimizer, other.batches)
    tree, message = misfits(run, captured)[case]
    before = bits(run), run.optimizer.state_dict(), run.batches.state_dict()
    with pytest.raises(gdopt.StateError, match=message):
        restore(tree, run.network, run.optimizer, run.batches)
    state = run.optimizer.state_dict()
    assert before[0] == bits(run)
    assert before[1]["t"] == state["t"]
    np.testing.assert_array_equal(
        before[1]["state"]["W1"]["m"], state["state"]["W1"]["m"]
    )
    assert before[2] == run.batches.state_dict()
