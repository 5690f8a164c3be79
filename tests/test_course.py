"""What the course's notes contain, and the tests that show each item."""

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent

COURSE = {
    # Setting up
    "parts of 60:20:20, or 70:30 without dev": """
        the_default_is_60_20_20
        without_dev_the_default_is_70_30
    """,
    "dev and test from one distribution": """
        a_shift_of_half_a_deviation_is_found
    """,
    "subtract the mean, divide by the deviation": """
        the_training_part_gets_mean_0_and_deviation_1
        it_agrees_with_scikit_learn
    """,
    "random initialization: He for ReLU, Xavier for tanh": """
        he_is_the_root_of_two_over_the_inputs
        xavier_is_the_root_of_one_over_the_inputs
        drawn_weights_have_their_mean_and_spread
    """,
    "high bias, high variance, and what to do": """
        bias_and_variance_have_their_own_advice
        the_courses_examples
    """,
    "normalized inputs have rounder contours": """
        normalization_makes_the_contours_round_and_descent_short
    """,
    "vanishing and exploding gradients": """
        half_the_weights_vanish_and_twice_as_large_ones_explode
        he_with_relu_keeps_signals_within_a_factor_of_four
    """,
    # Regularization
    "the L2 loss, by the batch size, biases left out": """
        a_batch_is_decayed_by_the_batch_size_or_by_its_own
        a_smaller_last_batch_is_penalized_as_the_others_are
        biases_are_not_decayed
    """,
    "a larger lambda: smaller weights, a simpler boundary": """
        a_larger_lambda_gives_smaller_weights
        a_network_that_is_held_back_draws_a_simpler_boundary
        a_larger_lambda_gives_smaller_weights_and_a_shorter_boundary
    """,
    "weight decay": """
        weight_decay_shrinks_by_rate_times_decay_where_there_is_no_gradient
    """,
    "the L1 loss": """
        l1_leaves_most_weights_at_nothing
        the_networks_gradients_are_those_of_differences
    """,
    "inverted dropout, off when predicting": """
        units_are_kept_with_that_probability_and_the_mean_stays
        units_are_dropped_while_training_alone
        the_expected_activation_is_unchanged
        dropout_divided_by_keep_leaves_the_mean_of_all_units
    """,
    "data augmentation: rotations, reflections, shifts": """
        a_share_of_the_images_is_flipped
        shifts_equal_scipys
        rotations_equal_scipys
        labels_stay_with_their_images
    """,
    "early stopping": """
        a_network_that_overfits_is_stopped_and_gets_its_best_weights_back
        had_it_gone_on_only_the_training_loss_would_have_fallen
    """,
    # Gradient checking
    "two-sided differences, |a - n| / (|a| + |n|), 1e-7, 1e-5, 1e-3": """
        the_verdicts_are_the_courses
        planted_mistakes_are_found_and_named
    """,
    # Mini-batches
    "an epoch is one pass through all examples": """
        an_epoch_visits_every_example_once
    """,
    "examples as columns": """
        columns_are_examples_with_axis_1
    """,
    "a batch of m is batch gradient descent": """
        size_m_is_batch_gradient_descent
    """,
    "its loss must fall, or the rate is too large; that of mini-batches may rise": """
        full_batch_descent_whose_loss_rises_is_reported_once_with_the_cause
        the_loss_of_mini_batches_may_rise
    """,
    "up to 2,000 examples go whole": """
        up_to_2000_examples_are_tried_whole_and_goodput_decides
    """,
    "64 to 1,024, powers of two, that fit the memory": """
        the_throughput_chooses_among_more_than_2000_examples
        a_limit_that_makes_1024_impossible_gives_a_size_that_fits
    """,
    "1,024 rather than 1,000; in between is fastest": """
        the_readme_shows_what_the_results_say
        one_example_takes_many_more_steps_and_all_many_more_examples
    """,
    "batch, mini-batch and stochastic losses and paths": """
        the_loss_of_batches_falls_always_that_of_smaller_ones_jumps_the_more
        only_small_batches_wander_around_the_minimum
    """,
    # Exponentially weighted averages
    "v = beta v + (1 - beta) theta, from zero: .8 on a first day of 40 degrees": """
        a_first_day_at_40_degrees_gives_an_average_of_point_8
        a_series_follows_the_recurrence
    """,
    "a window of 1 / (1 - beta)": """
        a_beta_of_point_9_averages_about_10_values_and_98_hundredths_50
    """,
    "bias correction": """
        the_second_days_weights_are_0196_and_02_and_their_divisor_0396
        a_series_equals_pandas
    """,
    "a larger beta is smoother, but later": """
        the_larger_beta_the_smoother_and_the_later
    """,
    "the weights of old values": """
        the_weights_fall_to_1_over_e_at_about_the_window
    """,
    # Optimizers
    "momentum, RMSprop and Adam": """
        the_moments_of_the_optimizers_are_the_courses_averages
        agrees_with_torch
        the_defaults_are_the_courses_where_it_gives_some
    """,
    "Adagrad; RMSprop centered, and with momentum; AMSGrad": """
        every_optimizer_agrees_with_its_textbook
        agrees_with_keras
        a_planted_variant_is_found
    """,
    "Adam's two corrections": """
        adams_first_step_has_the_size_of_the_rate
        adam_without_correction_starts_too_fast
    """,
    "momentum is faster through a long bowl": """
        through_the_bowl_momentum_needs_a_quarter_of_the_steps
    """,
    "RMSprop allows a larger rate": """
        descent_diverges_at_a_rate_at_which_rmsprop_converges
    """,
    "Adagrad stalls where RMSprop goes on": """
        adagrad_stalls_at_its_best_rate_and_rmsprop_goes_on
    """,
    "saddles, plateaus and local minima": """
        the_saddle_is_left_and_the_minimum_reached_sooner_than_by_descent
        the_plateau_is_crossed_sooner_than_by_descent
    """,
    "the exercise of week 2, with its own dictionaries and columns": """
        an_optimizers_steps_are_the_updates_of_the_exercise
        minimize_does_the_exercise_in_one_call
        fit_does_the_exercise_for_an_object
    """,
    # Learning-rate decay
    "a decaying rate ends nearer to a noisy minimum": """
        a_decaying_rate_is_as_fast_at_first_and_ends_nearer
    """,
    "alpha0 / (1 + rate epoch): .1, .067, .05, .04": """
        inverse_time_by_epochs_from_one_gives_the_figures_of_the_course
    """,
    ".95 ** epoch alpha0": """
        exponential_by_epochs_from_one_gives_powers_of_95_hundredths
    """,
    "k / sqrt(epoch) alpha0, k / sqrt(t) alpha0": """
        inv_sqrt_by_epochs_counts_epochs_from_one
        inv_sqrt_counts_mini_batches_from_one
    """,
    "a staircase, halving": """
        staircase_holds_each_value_for_its_steps
        halving_halves_at_once
    """,
    # Hyper-parameters
    "random search rather than a grid": """
        random_search_tries_more_values_and_finds_better_ones
    """,
    "their order: the rate; beta, units, batch; layers, decay": """
        the_course_has_its_order_and_its_scales
        adams_betas_are_left_alone_unless_asked_for
    """,
    "rates by their logarithm, beta by that of 1 - beta": """
        each_decade_gets_a_third_of_the_draws
        each_decade_of_one_minus_beta_gets_a_third_of_the_draws
        drawn_evenly_nine_rates_of_ten_lie_in_the_top_decade
    """,
    "from coarse to fine": """
        the_course_is_searched_from_coarse_to_fine
        zooming_gives_the_box_around_the_best_share
        from_coarse_to_fine_a_search_comes_nearer
    """,
    "caviar: many models at once": """
        processes_find_what_one_finds
    """,
    "panda: one that is looked after, and decay by hand": """
        the_rate_is_changed_by_hand_between_epochs_and_a_list_logs_it
        assigning_takes_effect_with_the_next_step
    """,
    # Batch normalization
    "gamma and beta are learned": """
        each_column_gets_the_mean_and_deviation_that_are_learned
        it_agrees_with_torch
    """,
    "the bias before it is redundant": """
        the_redundant_bias_gives_way_to_gamma_and_beta
    """,
    "averages of mean and variance when predicting": """
        what_is_used_are_the_averages_of_the_batches
    """,
    "or those of the whole training set": """
        the_statistics_of_the_whole_training_set_may_be_used_instead
    """,
    "hidden distributions stay where the input shifts": """
        hidden_distributions_stay_where_the_input_shifts
        normalized_by_their_own_batch_units_keep_mean_and_spread
    """,
}


@pytest.fixture(scope="module")
def tests():
    """Name all tests that there are, but for their first word."""
    found = set()
    for path in HERE.rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    return {name.removeprefix("test_") for name in found}


@pytest.mark.parametrize("item", COURSE)
def test_the_course_is_shown_by_tests_that_exist(item, tests):
    shown = COURSE[item].split()
    assert shown
    assert set(shown) - tests == set()
