"""The memory of devices: what is free, what work takes, and what "full" looks like."""
