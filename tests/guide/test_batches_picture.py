import numpy as np
import pytest

mini_batches = pytest.importorskip("gdopt.guide.pictures.mini_batches")


@pytest.fixture
def numbers(run_script):
    """Return what was computed."""
    return run_script(mini_batches).numbers["batches"]


def test_the_loss_of_batches_falls_always_that_of_smaller_ones_jumps_the_more(numbers):
    losses = numbers["losses"]
    assert [len(loss) for loss in losses.values()] == [20, 320, 10240]
    rises = {name: (np.diff(loss) > 0).mean() for name, loss in losses.items()}
    assert rises["batch"] == 0
    assert 0.3 < rises["mini-batch"] < 0.6
    # After half of the passes, what is left is the noise of the batches alone.
    noise = {name: loss[len(loss) // 2 :].std() for name, loss in losses.items()}
    assert noise["stochastic"] > 4 * noise["mini-batch"] > 4 * noise["batch"]
    # Examples are drawn alike: a mean of 32 has 1/32 of the variance of one.
    ratio = (noise["stochastic"] / noise["mini-batch"]) ** 2
    assert ratio == pytest.approx(32, rel=0.3)


def test_the_mean_loss_of_mini_batches_falls_all_the_same(numbers):
    losses = numbers["losses"]["mini-batch"].reshape(mini_batches.PASSES, -1)
    assert losses[0].mean() > 1.5 * losses[-1].mean()


def test_the_smaller_the_batch_the_sooner_the_whole_loss_falls(numbers):
    wholes, least = numbers["wholes"], numbers["problem"].least
    above = {
        name: wholes[name][updates] - least
        for name, updates in {"batch": 1, "mini-batch": 16, "stochastic": 512}.items()
    }
    start = wholes["batch"][0] - least
    assert above["batch"] > 0.9 * start
    assert 0.3 * start < above["mini-batch"] < 0.7 * start
    assert above["stochastic"] < 0.1 * start


def test_only_small_batches_wander_around_the_minimum(numbers):
    last = {
        name: numbers["points"][name][-512 // size :]
        for name, size in mini_batches.SIZES.items()
    }
    spread = {n: numbers["problem"].distance(p).mean() for n, p in last.items()}
    assert spread["stochastic"] > 3 * spread["mini-batch"]
    assert np.diff(numbers["problem"].distance(numbers["points"]["batch"])).max() < 0


def test_the_loss_of_a_regression_and_its_minimum_are_those_of_its_definition():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((30, 2)), rng.standard_normal(30)
    problem = mini_batches.regression_loss(X, y)
    points = rng.standard_normal((5, 2))
    expected = [np.mean((X @ p - y) ** 2) / 2 for p in points]
    np.testing.assert_allclose(problem.value(points), expected, rtol=1e-12)
    expected = [X.T @ (X @ p - y) / 30 for p in points]
    np.testing.assert_allclose(problem.gradient(points), expected, rtol=1e-11)
    assert problem.value(np.array(problem.minima[0])) == pytest.approx(problem.least)
    assert problem.gradient(np.array(problem.minima[0])) == pytest.approx(0, abs=1e-14)


STEPS = np.arange(200)


def noise(spread, count=200, seed=0):
    return spread * np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize(
    ("losses", "verb"),
    [
        (2 * 0.99**STEPS, "falls"),
        (2 * 0.99**STEPS + noise(0.05), "falls"),
        (0.5 * 1.01**STEPS, "rises"),
        (0.1 + np.abs(STEPS - 60.0), "rises"),  # fell first, and has risen since
        (1 + noise(0.2), "stays"),
        (np.full(200, 0.69), "stays"),
        (np.r_[np.ones(199), 5.0], "stays"),  # one outlier
    ],
)
def test_the_sentence_is_that_of_the_second_half(losses, verb):
    weights = 0.95 ** np.arange(200)[::-1]  # an average over 20
    end = weights @ losses / weights.sum()
    start = weights[100:] @ losses[:100] / weights[100:].sum()
    said = mini_batches.describe(losses, full_batch=False)
    way = (
        f"at {end:.2g}, noise" if verb == "stays" else f"from {start:.2g} to {end:.2g}"
    )
    assert said.startswith(f"the average {verb} {way}")


def test_the_noise_is_the_deviation_as_a_share_of_the_average():
    said = mini_batches.describe(2 + noise(0.5, 20_000), full_batch=False)
    assert said == "the average stays at 2, noise 25%"


def test_noise_alone_is_hardly_ever_taken_for_a_change():
    said = [
        mini_batches.describe(1 + noise(0.3, 300, seed), full_batch=False)
        for seed in range(200)
    ]
    # Three standard deviations: 199.5 of 200 expected.
    assert sum(one.startswith("the average stays") for one in said) >= 195


def test_any_rise_of_a_full_batchs_loss_is_a_fault():
    losses = 2 * 0.99**STEPS
    assert mini_batches.describe(losses, full_batch=True).endswith("at every step")
    losses[50] = losses[49] + 1e-6  # rounding in float32
    assert mini_batches.describe(losses, full_batch=True).endswith("at every step")
    losses[50] = losses[49] + 0.001
    said = "the loss rises after step 50: the rate is too large"
    assert mini_batches.describe(losses, full_batch=True) == said
    assert mini_batches.describe(losses, full_batch=False).startswith("the average f")


def test_each_sentence_stands_above_its_panel(run_script):
    top = run_script(mini_batches).figures["batches.png"].axes[:3]
    said = [axis.get_title("left").splitlines()[1] for axis in top]
    assert said == [
        "the loss falls at every step",
        "the average stays at 0.25, noise 24%",
        "the average stays at 0.27, noise 138%",
    ]
