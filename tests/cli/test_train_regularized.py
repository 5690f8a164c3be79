import json

import numpy as np
import pytest

from gdopt.training import load

pytest.importorskip("rich")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


@pytest.fixture
def trained(quick, tmp_path):
    """Return ``trained(...)``: what a short run with some options has saved."""

    def run(*options):
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        assert quick("--out", folder, *options).code == 0
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        return load(folder / "model.npz"), settings

    return run


def test_the_model_tells_what_is_dropped_and_normalized(trained):
    tree, settings = trained("--keep-prob", 0.75, "--batch-norm")
    assert tree["network"]["keep_prob"] == [0.75]
    assert tree["network"]["batch_norm"] is True
    assert list(tree["params"]) == ["W1", "gamma1", "beta1", "W2", "b2"]
    assert tree["layers"]["batches_seen"] == 68
    assert tree["layers"]["statistics"]["1"]["mean"]["value"].shape == (16,)
    assert (settings["keep_prob"], settings["batch_norm"]) == (0.75, True)


def test_layers_are_normalized_over_their_units(trained):
    tree, settings = trained("--layer-norm")
    assert tree["network"]["layer_norm"] is settings["layer_norm"] is True
    assert list(tree["params"]) == ["W1", "b1", "gamma1", "beta1", "W2", "b2"]
    assert (tree["params"]["gamma1"] != 1).any()


def test_a_plain_network_has_no_statistics(trained):
    tree, _ = trained()
    expected = {"batches_seen": 68, "output": "softmax", "statistics": {}}
    assert tree["layers"] == expected


@pytest.mark.newest
@pytest.mark.slow
def test_l1_makes_more_weights_small_than_l2(trained):
    def small(*options):
        tree, _ = trained("--epochs", 30, *options)
        return float((np.abs(tree["params"]["W1"]) < 1e-2).mean())

    with_l1, without = small("--l1", 3, "--l2", 0), small("--l2", 0)
    assert with_l1 > 2 * without


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--keep-prob", "0", "must be a number above 0, up to 1, got '0'"),
        ("--keep-prob", "1.1", "must be a number above 0, up to 1, got '1.1'"),
        ("--l1", "-1", "must be a number of at least 0, got '-1'"),
    ],
)
def test_bad_values_are_refused(quick, option, value, message):
    found = quick(option, value)
    assert found.code == 2
    assert message in found.err


@pytest.mark.parametrize(("examples", "last"), [(161, 1), (213, 31)])
def test_a_smaller_last_batch_is_penalized_as_the_others_are(
    command, numpy_engine, tmp_path, examples, last
):
    np.savez("still.npz", X=np.zeros((examples, 2)), y=np.arange(examples) % 2)
    weights = []
    for l2 in (0, 5):
        options = ("--l2", l2, "--lr", 0.1, "--optimizer", "sgd", "--hidden", 3)
        options += ("--schedule", "constant", "--epochs", 1, "--backend", "numpy")
        found = command("train", "still.npz", *options, "--out", f"run{l2}")
        assert f"examples {96 + last} train, " in found.out
        weights.append(load(tmp_path / f"run{l2}" / "model.npz")["params"]["W1"])
    np.testing.assert_allclose(weights[1], weights[0] * (1 - 0.5 / 32) ** 4, rtol=1e-5)
