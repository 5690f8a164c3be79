"""What the course's notes contain, and the test that shows each item."""

import ast
import functools
from pathlib import Path

import pytest

HERE = Path(__file__).parent

COURSE = {
    # Setting up
    "parts of 60:20:20, or 70:30 without dev": (
        "data/test_split.py::test_the_default_is_60_20_20",
        "data/test_split.py::test_without_dev_the_default_is_70_30",
    ),
    "dev and test from one distribution": (
        "data/test_distribution.py::test_a_shift_of_half_a_deviation_is_found",
    ),
    "subtract the mean, divide by the deviation": (
        "data/test_normalize.py::test_the_training_part_gets_mean_0_and_deviation_1",
        "data/test_normalize.py::test_it_agrees_with_scikit_learn",
    ),
    "random initialization: He for ReLU, Xavier for tanh": (
        "nn/test_initialization.py::test_he_is_the_root_of_two_over_the_inputs",
        "nn/test_initialization.py::test_xavier_is_the_root_of_one_over_the_inputs",
        "nn/test_initialization.py::test_drawn_weights_have_their_mean_and_spread",
    ),
    # Regularization
    "the L2 cost, by the size of the mini-batch, biases left out": (
        "nn/test_network.py::test_a_ragged_batch_is_decayed_by_its_own_size",
        "nn/test_network.py::test_biases_are_not_decayed",
    ),
    "a larger lambda: smaller weights, a simpler boundary": (
        "training/test_regularization.py::test_a_larger_lambda_gives_smaller_weights",
        (
            "training/test_regularization.py"
            "::test_a_network_that_is_held_back_draws_a_simpler_boundary"
        ),
    ),
    "weight decay": (
        (
            "optim/test_worked_figures.py"
            "::test_weight_decay_shrinks_by_rate_times_decay_where_there_is_no_gradient"
        ),
    ),
    "the L1 cost": (
        "training/test_regularization.py::test_l1_leaves_most_weights_at_nothing",
        "nn/test_batch_norm.py::test_the_networks_gradients_are_those_of_differences",
    ),
    "inverted dropout, off when predicting": (
        (
            "nn/test_dropout.py"
            "::test_units_are_kept_with_that_probability_and_the_mean_stays"
        ),
        "nn/test_network_dropout.py::test_units_are_dropped_while_training_alone",
        "nn/test_network_dropout.py::test_the_expected_activation_is_unchanged",
    ),
    # Gradient checking
    "two-sided differences, |a - n| / (|a| + |n|), 1e-7, 1e-5, 1e-3": (
        "nn/test_gradient_check.py::test_the_verdicts_are_the_courses",
        "nn/test_gradient_check_mistakes.py::test_planted_mistakes_are_found_and_named",
    ),
    # Mini-batches
    "an epoch is one pass through all examples": (
        "data/test_batches.py::test_an_epoch_visits_every_example_once",
    ),
    "examples as columns": (
        "data/test_batches.py::test_columns_are_examples_with_axis_1",
    ),
    "a batch of m is batch gradient descent": (
        "data/test_batches.py::test_size_m_is_batch_gradient_descent",
    ),
    "its cost must fall, or the rate is too large; that of mini-batches may rise": (
        (
            "training/test_loop.py"
            "::test_full_batch_descent_whose_cost_rises_is_told_once_with_the_cause"
        ),
        "training/test_loop.py::test_the_cost_of_mini_batches_may_rise",
    ),
    "up to 2,000 examples go whole": (
        (
            "planner/test_decision.py"
            "::test_up_to_2000_examples_go_whole_and_the_cost_is_told"
        ),
    ),
    "64 to 1,024, powers of two, that fit the memory": (
        (
            "planner/test_planning.py"
            "::test_the_throughput_chooses_among_more_than_2000_examples"
        ),
        (
            "planner/test_limits.py"
            "::test_a_limit_that_makes_1024_impossible_gives_a_size_that_fits"
        ),
    ),
    "1,024 rather than 1,000; in between is fastest": (
        "bench/test_bench_table.py::test_the_readme_shows_what_the_results_say",
    ),
    # Exponentially weighted averages
    "v = beta v + (1 - beta) theta, from zero: .8 on a first day of 40 degrees": (
        (
            "optim/test_worked_figures.py"
            "::test_a_first_day_at_40_degrees_gives_an_average_of_point_8"
        ),
        "test_ewa.py::test_a_series_follows_the_recurrence",
    ),
    "a window of 1 / (1 - beta)": (
        (
            "optim/test_worked_figures.py"
            "::test_a_beta_of_point_9_averages_about_10_values_and_98_hundredths_50"
        ),
    ),
    "bias correction": (
        (
            "optim/test_worked_figures.py"
            "::test_the_second_days_weights_are_0196_and_02_and_their_divisor_0396"
        ),
        "test_ewa.py::test_a_series_equals_pandas",
    ),
    # Optimizers
    "momentum, RMSprop and Adam": (
        (
            "optim/test_worked_figures.py"
            "::test_the_moments_of_the_optimizers_are_the_courses_averages"
        ),
        "optim/test_parity.py::test_agrees_with_torch",
        (
            "optim/test_worked_figures.py"
            "::test_the_defaults_are_the_courses_where_it_gives_some"
        ),
    ),
    "Adam's two corrections": (
        "optim/test_worked_figures.py::test_adams_first_step_has_the_size_of_the_rate",
        "optim/test_worked_figures.py::test_adam_without_correction_starts_too_fast",
    ),
    # Learning-rate decay
    "alpha0 / (1 + rate epoch): .1, .067, .05, .04": (
        (
            "schedules/test_schedule_values.py"
            "::test_inverse_time_by_epochs_from_one_gives_the_figures_of_the_course"
        ),
    ),
    ".95 ** epoch alpha0": (
        (
            "schedules/test_schedule_values.py"
            "::test_exponential_by_epochs_from_one_gives_powers_of_95_hundredths"
        ),
    ),
    "k / sqrt(epoch) alpha0, k / sqrt(t) alpha0": (
        (
            "schedules/test_schedule_values.py"
            "::test_inv_sqrt_by_epochs_counts_epochs_from_one"
        ),
        "schedules/test_schedule_values.py::test_inv_sqrt_counts_mini_batches_from_one",
    ),
    "a staircase, halving": (
        (
            "schedules/test_schedule_values.py"
            "::test_staircase_holds_each_value_for_its_steps"
        ),
        "schedules/test_schedule_values.py::test_halving_halves_at_once",
    ),
    # Batch normalization
    "gamma and beta are learned": (
        (
            "nn/test_batch_norm.py"
            "::test_each_column_gets_the_mean_and_deviation_that_are_learned"
        ),
        "nn/test_batch_norm.py::test_it_agrees_with_torch",
    ),
    "the bias before it is redundant": (
        "nn/test_batch_norm.py::test_the_redundant_bias_gives_way_to_gamma_and_beta",
    ),
    "averages of mean and variance when predicting": (
        "nn/test_batch_norm.py::test_what_is_used_are_the_averages_of_the_batches",
    ),
    "or those of the whole training set": (
        (
            "nn/test_batch_norm.py"
            "::test_the_statistics_of_the_whole_training_set_may_be_used_instead"
        ),
    ),
    "hidden distributions stay where the input shifts": (
        "nn/test_batch_norm.py::test_hidden_distributions_stay_where_the_input_shifts",
    ),
}


@functools.cache
def functions(path):
    """Name the functions of a file of tests."""
    tree = ast.parse((HERE / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("item", COURSE)
def test_the_course_is_shown_by_tests_that_exist(item):
    for place in COURSE[item]:
        path, name = place.split("::")
        assert name in functions(path), place
