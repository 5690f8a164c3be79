"""Mini-batches, and the paths of the optimizers."""
