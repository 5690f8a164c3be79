"""How to search for hyper-parameters: at random, on scales, from coarse to fine."""
