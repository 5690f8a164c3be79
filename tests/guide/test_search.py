import math

import numpy as np
import pytest

search = pytest.importorskip("gdopt.guide.pictures.search")
narrowed, score = search.narrowed, search.score


@pytest.fixture
def numbers(run_script):
    """Return what was computed for each picture."""
    return run_script(search).numbers


def decade_shares(numbers, kind, way):
    """Count the draws between the edges of the decades."""
    case = numbers["scales"][kind]
    return np.histogram(case[way], case["edges"])[0] / search.DRAWS


def test_random_search_tries_more_values_and_finds_better_ones(numbers):
    trials = numbers["random_search"]["trials"]
    assert trials["grid"].shape == trials["random"].shape == (25, 2)
    for points, count in zip(trials.values(), (5, 25), strict=True):
        assert [len(np.unique(column)) for column in points.T] == [count, count]
    grid, random = numbers["random_search"]["found"].values()
    assert len(grid) == len(random) == 2000
    assert random.mean() == pytest.approx(0.956, abs=0.005)
    assert grid.mean() == pytest.approx(0.857, abs=0.005)
    assert (random > grid).mean() == pytest.approx(0.75, abs=0.03)


def test_the_grids_mean_is_that_of_an_integral(numbers):
    """The best of the important setting is within 0.1 of a line, evenly: so the mean
    of exp(-50 d^2) is sqrt(pi / 50) / 0.2 erf(0.1 sqrt 50); the other costs little.
    """
    expected = math.sqrt(math.pi / 50) / 0.2 * math.erf(0.1 * math.sqrt(50))
    found = numbers["random_search"]["found"]["grid"].mean()
    assert found == pytest.approx(expected, abs=0.008)


def test_drawn_evenly_nine_rates_of_ten_lie_in_the_top_decade(numbers):
    shares = decade_shares(numbers, "rates", "evenly")
    assert shares.sum() == 1
    expected = np.diff([1e-4, 1e-3, 1e-2, 1e-1, 1]) / (1 - 1e-4)
    np.testing.assert_allclose(expected[-1], 0.9, rtol=1e-3)
    np.testing.assert_allclose(shares, expected, atol=4 * 0.015)  # 4 deviations


def test_drawn_by_decades_each_has_a_quarter(numbers):
    shares = decade_shares(numbers, "rates", "evenly by decades")
    assert shares.sum() == 1
    np.testing.assert_allclose(
        shares, 0.25, atol=3 * math.sqrt(0.25 * 0.75 / search.DRAWS)
    )


def test_of_betas_drawn_evenly_one_in_ten_is_above_099(numbers):
    even = decade_shares(numbers, "rests", "evenly")
    by_decades = decade_shares(numbers, "rests", "evenly by decades")
    assert even[0] == pytest.approx(0.1, abs=4 * 0.015)
    assert by_decades[0] == pytest.approx(0.5, abs=3 * 0.025)
    rests = numbers["scales"]["rests"]["evenly by decades"]
    assert (rests <= 0.01).mean() == by_decades[0]


def test_the_shares_of_the_decades_are_written_above_them(run_script):
    figure = run_script(search).figures["scales.png"]
    written = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert written[0] == ["0.2%", "0.5%", "10%", "90%", "23%", "22%", "25%", "29%"]
    assert written[1] == ["10%", "90%", "46%", "54%"]


def test_draws_are_those_of_the_scales_to_tune_on(numbers):
    tune = pytest.importorskip("gdopt.tune.scales")
    case = numbers["scales"]
    even = [tune.uniform(*search.RATE).place(rate) for rate in case["rates"]["evenly"]]
    by_decades = [
        tune.log_uniform(*search.RATE).place(rate)
        for rate in case["rates"]["evenly by decades"]
    ]
    np.testing.assert_allclose(by_decades, even, atol=1e-9)
    betas = 1 - case["rests"]["evenly by decades"]
    places = [tune.log_one_minus(*search.BETA).place(beta) for beta in betas]
    np.testing.assert_allclose(places, 1 - np.array(even), atol=1e-9)


def test_from_coarse_to_fine_a_search_comes_nearer(numbers):
    case = numbers["coarse_to_fine"]
    one, two = case["found"].values()
    assert len(one) == len(two) == 2000
    assert one.mean() == pytest.approx(0.861, abs=0.01)
    assert two.mean() == pytest.approx(0.946, abs=0.01)
    assert (two > one).mean() == pytest.approx(0.76, abs=0.02)
    assert (two < one).mean() < 0.15
    gain = (two - one)[case["shown"]]
    assert gain == pytest.approx(np.median(two - one), abs=1e-4)


def test_both_searches_have_as_many_trials_and_begin_alike(numbers):
    case = numbers["coarse_to_fine"]
    coarse, *others = case["trials"].values()
    assert len(coarse) == search.TRIALS / 2 == 16
    for found, later in zip(case["found"].values(), others, strict=True):
        assert later.shape == coarse.shape
        tried = np.concatenate([coarse, later])
        assert found[case["shown"]] == score(tried, case["best"]).max()


def test_the_coarse_half_is_spread_over_all_and_the_fine_one_over_a_box(numbers):
    case = numbers["coarse_to_fine"]
    coarse, more, fine = case["trials"].values()
    wide = np.concatenate([coarse, more])
    for axis, (low, high) in enumerate((search.RATES, search.LAMBDAS)):
        assert low <= wide[:, axis].min() < low + 0.5
        assert high - 0.5 < wide[:, axis].max() <= high
    low, high = case["box"]
    assert ((low <= fine) & (fine <= high)).all()
    best = np.argsort(score(coarse, case["best"]))[-4:]
    np.testing.assert_array_equal(low, coarse[best].min(axis=0))
    np.testing.assert_array_equal(high, coarse[best].max(axis=0))


def test_the_box_is_the_one_that_tune_zooms_into():
    tune = pytest.importorskip("gdopt.tune")
    rng = np.random.default_rng(2)
    points, scores = rng.uniform(-3, 0, (10, 2)), rng.uniform(size=10)
    space = tune.Space({"a": tune.uniform(-3, 0), "b": tune.uniform(-3, 0)})
    trials = [
        tune.Outcome(k, {"a": float(a), "b": float(b)}, "complete", float(scores[k]))
        for k, (a, b) in enumerate(points)
    ]
    zoomed = tune.zoom(tune.Study(space, trials))
    low, high = narrowed(points, scores)
    assert [scale.low for scale in zoomed.values()] == low.tolist()
    assert [scale.high for scale in zoomed.values()] == high.tolist()


def test_a_score_falls_as_a_bell_by_decades():
    best = np.array([-2.0, -3.0])
    points = np.array([[-2.0, -3.0], [-1.5, -3.0], [-2.0, -4.0], [-1.0, -3.0]])
    expected = [1, math.exp(-0.5), math.exp(-0.5), math.exp(-2)]
    np.testing.assert_allclose(score(points, best), expected)
