"""Learning rates: too large, fixed, decaying, and every schedule."""
