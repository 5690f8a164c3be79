"""The rows of the table of optimizers, by families: see `oracles`."""
