"""Training on several ranks: processes, machines or GPUs, with equal bits."""
