import numpy as np
import pytest

import gdopt
from gdopt.tune import NetworkObjective, Pruned, Trial, course_space, tune, zoom

pytestmark = pytest.mark.usefixtures("numpy_engine")
VALUES = {
    "learning_rate": 0.2,
    "beta": 0.8,
    "hidden_units": 7,
    "batch_size": 32,
    "layers": 3,
    "decay_rate": 0.5,
}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4)).astype(np.float32)
    y = X[:, :3].argmax(axis=1)
    return (X[:128], y[:128]), (X[128:], y[128:])


def test_a_trial_is_the_training_that_it_says(data):
    train, dev = data
    network = gdopt.nn.Network((4, 7, 7, 3), l2=0.1, seed=5, backend="numpy")
    rate = gdopt.schedules.per_epoch(
        gdopt.schedules.inverse_time(0.2, rate=0.5), steps=4
    )
    optimizer = gdopt.Momentum(network.params, lr=rate, beta=0.8)
    batches = gdopt.minibatches(*train, batch_size=32, seed=5)
    measured = gdopt.fit(network, optimizer, batches, epochs=3, dev=dev).history[
        "dev_accuracy"
    ]
    expected = measured[~np.isnan(measured)].tolist()
    reports = []

    def told(score, step):
        reports.append((step, score))
        return False

    objective = NetworkObjective(train, dev, classes=3, epochs=3, l2=0.1, seed=5)
    assert objective(Trial(0, VALUES, told)) == expected[-1]
    assert reports == list(enumerate(expected, start=1))


def test_what_a_trial_does_not_name_has_defaults(data):
    made = []

    def optimizer(params, **options):
        made.append((params["W1"].shape, set(options)))
        return gdopt.SGD(params, lr=options["lr"])

    objective = NetworkObjective(*data, classes=3, epochs=1, optimizer=optimizer)
    objective(Trial(0, {"learning_rate": 0.1}))
    objective(Trial(0, {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.99}))
    assert made == [((4, 75), {"lr"}), ((4, 75), {"lr", "beta1", "beta2"})]


def test_a_report_may_end_it(data):
    objective = NetworkObjective(*data, classes=3, epochs=5)
    steps = []

    def told(_, step):
        steps.append(step)
        return step == 2

    with pytest.raises(Pruned, match="trial 4 is worse than the median at step 2"):
        objective(Trial(4, VALUES, told))
    assert steps == [1, 2]


@pytest.mark.newest
@pytest.mark.slow
def test_the_course_is_searched_from_coarse_to_fine(data):
    pytest.importorskip("optuna")
    objective = NetworkObjective(*data, classes=3, epochs=5)
    space = course_space(examples=128)
    gains = []
    for seed in range(5):
        coarse = tune(objective, space, trials=24, seed=seed)
        fine = tune(objective, zoom(coarse), trials=24, seed=seed)
        assert len(coarse.ranked) == 24
        before, after = (
            np.median([trial.score for trial in study.ranked])
            for study in (coarse, fine)
        )
        gains.append(after - before)
    assert np.median(gains) > 0.1
