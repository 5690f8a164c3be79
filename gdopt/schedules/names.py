"""What to write for a schedule of torch, Keras, optax or scikit-learn, by its name."""

_WARMUP = "join([polynomial(lr, peak_value, warmup_steps), {}], [warmup_steps])"
# Arguments have the names that they have there, but the first value is lr.
LINES = {
    "LambdaLR": "lambda step: lr * lr_lambda(step)",
    "MultiplicativeLR": "lambda t: lr * math.prod(map(lr_lambda, range(1, t + 1)))",
    "StepLR": "exponential(lr, gamma, step_size, staircase=True)",
    "MultiStepLR": "piecewise(milestones, [lr, lr * gamma, lr * gamma**2, ...])",
    "ConstantLR": "piecewise([total_iters], [lr * factor, lr])",
    "LinearLR": "polynomial(lr * start_factor, lr * end_factor, total_iters)",
    "ExponentialLR": "exponential(lr, gamma)",
    "SequentialLR": "join(schedulers, milestones)",
    "PolynomialLR": "polynomial(lr, 0, total_iters, power=power)",
    "CosineAnnealingLR": "cosine(lr, eta_min, T_max)",
    "ChainedScheduler": "a * b",
    "ReduceLROnPlateau": "callback=gdopt.training.ReduceOnPlateau(factor, patience)",
    "CyclicLR": "cyclic(base_lr, max_lr, step_size_up, step_size_down, form=mode, "
    "gamma=gamma)",
    "CosineAnnealingWarmRestarts": "cosine_restarts(lr, eta_min, T_0, t_mul=T_mult)",
    "OneCycleLR": "one_cycle(max_lr, total_steps)",
    "SWALR": "cosine(lr, swa_lr, anneal_epochs)",
    "LearningRateSchedule": "any function of the step",
    "ExponentialDecay": "exponential(lr, decay_rate, decay_steps, staircase=staircase)",
    "PiecewiseConstantDecay": 'piecewise(boundaries, values, at_boundary="old")',
    "PolynomialDecay": "polynomial(lr, end_learning_rate, decay_steps, power=power, "
    "cycle=cycle)",
    "InverseTimeDecay": "inverse_time(lr, decay_rate, decay_steps, "
    "staircase=staircase)",
    "CosineDecay": "cosine(lr, alpha * lr, decay_steps)",
    "CosineDecayRestarts": "cosine_restarts(lr, alpha * lr, first_decay_steps, "
    "t_mul=t_mul, m_mul=m_mul)",
    "constant_schedule": "constant(value)",
    "linear_schedule": "polynomial(lr, end_value, transition_steps)",
    "polynomial_schedule": "polynomial(lr, end_value, transition_steps, power=power)",
    "exponential_decay": "exponential(lr, decay_rate, transition_steps, "
    "staircase=staircase, end=end_value)",
    "cosine_decay_schedule": "cosine(lr, alpha * lr, decay_steps, power=exponent)",
    "piecewise_constant_schedule": "piecewise(boundaries, values)",
    "piecewise_interpolate_schedule": "interpolate([0, *boundaries], values)",
    "linear_onecycle_schedule": "interpolate([0, up, down, steps], values)",
    "cosine_onecycle_schedule": 'interpolate([0, up, steps], values, curve="cosine")',
    "warmup_constant_schedule": "polynomial(lr, peak_value, warmup_steps)",
    "warmup_cosine_decay_schedule": _WARMUP.format(
        "cosine(peak_value, end_value, decay_steps - warmup_steps, power=exponent)"
    ),
    "warmup_exponential_decay_schedule": _WARMUP.format(
        "exponential(peak_value, decay_rate, transition_steps, end=end_value)"
    ),
    "sgdr_schedule": "join(schedules, boundaries)",
    "join_schedules": "join(schedules, boundaries)",
    "invscaling": "inverse_time(eta0, 1, power=power_t)",
}
